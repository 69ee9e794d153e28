//! An item as one field of its hash, so that a search returns what a recommendation needs in one piece, bit for bit: the module shortens the numbers
//! that it indexes. The first byte is the format; then one past the log position of the last change of any item that this one was read with (u64, little-endian;
//! 0: none), and the time of first sight (i64, microseconds since 1970); then for each attribute
//! that the item has its place in the declaration (u16), the length (u32) and the bytes of its value, encoded as the field of its own name is.

use tastemaker_redis::{decode_value, encode_value};
use tastemaker_types::{AttributeSchema, Attributes, Position, Timestamp};

/// The field.
pub(crate) const ROW: &str = ":row";
/// Rises when older bytes would be misread.
const FORMAT: u8 = 1;

/// An item as it was at some time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ItemRow {
    /// The last change of any item that is in it.
    pub(crate) through: Option<Position>,
    pub(crate) first_seen: Timestamp,
    pub(crate) attributes: Attributes,
}

impl ItemRow {
    /// Attributes that are not declared are left out.
    pub(crate) fn encode(&self, schema: &AttributeSchema) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(self.through.map_or(0, |position| position.0 + 1).to_le_bytes());
        bytes.extend(self.first_seen.as_micros().to_le_bytes());
        for (place, (name, kind)) in (0u16..).zip(schema.fields()) {
            let Some(value) = self.attributes.get(name) else { continue };
            let value = encode_value(*kind, value);
            let Ok(length) = u32::try_from(value.len()) else { continue };
            bytes.extend(place.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(value);
        }
        bytes
    }

    /// None if it is not one of this declaration.
    pub(crate) fn decode(schema: &AttributeSchema, bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        if *format != FORMAT {
            return None;
        }
        let (through, rest) = rest.split_first_chunk::<8>()?;
        let (first_seen, mut rest) = rest.split_first_chunk::<8>()?;
        let mut attributes = Attributes::new();
        while !rest.is_empty() {
            let (place, after) = rest.split_first_chunk::<2>()?;
            let (length, after) = after.split_first_chunk::<4>()?;
            let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let (name, kind) = schema.fields().get(usize::from(u16::from_le_bytes(*place)))?;
            attributes.insert(name.clone(), decode_value(*kind, value)?);
            rest = after;
        }
        let through = u64::from_le_bytes(*through).checked_sub(1).map(Position);
        Some(Self { through, first_seen: Timestamp::from_micros(i64::from_le_bytes(*first_seen)), attributes })
    }
}

#[cfg(test)]
mod tests {
    use tastemaker_types::{AttributeType, Value};

    use super::*;

    fn schema() -> AttributeSchema {
        let kinds = [("price", AttributeType::Number), ("genres", AttributeType::Tags), ("since", AttributeType::Time)];
        AttributeSchema::new(kinds.map(|(name, kind)| (name.to_owned(), kind)))
    }

    #[test]
    fn an_item_comes_back_bit_for_bit() {
        let attributes = Attributes::from([
            ("price".to_owned(), Value::Number(0.1 + 0.2)),
            ("genres".to_owned(), Value::Tags(vec!["Ä, b".into(), String::new()])),
            ("since".to_owned(), Value::Time(Timestamp::from_micros(1_764_057_600_123_457))),
        ]);
        let bare = ItemRow { through: None, first_seen: Timestamp::from_micros(-5), attributes: Attributes::new() };
        for row in [ItemRow { through: Some(Position(7)), attributes, ..bare.clone() }, bare] {
            assert_eq!(ItemRow::decode(&schema(), &row.encode(&schema())), Some(row));
        }
    }

    #[test]
    fn what_is_cut_off_or_of_another_declaration_is_no_item() {
        let attributes = Attributes::from([("since".to_owned(), Value::Time(Timestamp::from_micros(7)))]);
        let bytes = ItemRow { through: None, first_seen: Timestamp::EPOCH, attributes }.encode(&schema());
        let whole = |end: &usize| ItemRow::decode(&schema(), &bytes[..*end]).is_some();
        let ends: Vec<usize> = (0..=bytes.len()).filter(whole).collect();
        assert_eq!(ends, [17, bytes.len()], "after the time, and the whole");
        assert_eq!(ItemRow::decode(&AttributeSchema::new([]), &bytes), None);
    }
}
