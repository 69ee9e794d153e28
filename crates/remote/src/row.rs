//! An item as one field of its hash, so that a search returns what a recommendation needs in one piece, bit for bit: the module shortens the numbers
//! that it indexes. The first byte is the format; then the time of first sight (i64, little-endian, microseconds since 1970); then for each attribute
//! that the item has its place in the declaration (u16), the length (u32) and the bytes of its value, encoded as the field of its own name is.

use tastemaker_redis::{decode_value, encode_value};
use tastemaker_types::{AttributeSchema, Attributes, Timestamp};

/// The field.
pub(crate) const ROW: &str = ":row";
/// Rises when older bytes would be misread.
const FORMAT: u8 = 1;

/// Writes an item. Attributes that are not declared are left out.
pub(crate) fn encode(schema: &AttributeSchema, first_seen: Timestamp, attributes: &Attributes) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(first_seen.as_micros().to_le_bytes());
    for (place, (name, kind)) in (0u16..).zip(schema.fields()) {
        let Some(value) = attributes.get(name) else { continue };
        let value = encode_value(*kind, value);
        let Ok(length) = u32::try_from(value.len()) else { continue };
        bytes.extend(place.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

/// Reads an item; none if it is not one of this declaration.
pub(crate) fn decode(schema: &AttributeSchema, bytes: &[u8]) -> Option<(Timestamp, Attributes)> {
    let (format, rest) = bytes.split_first()?;
    if *format != FORMAT {
        return None;
    }
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
    Some((Timestamp::from_micros(i64::from_le_bytes(*first_seen)), attributes))
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
        let at = Timestamp::from_micros(-5);
        assert_eq!(decode(&schema(), &encode(&schema(), at, &attributes)), Some((at, attributes)));
        assert_eq!(decode(&schema(), &encode(&schema(), at, &Attributes::new())), Some((at, Attributes::new())));
    }

    #[test]
    fn what_is_cut_off_or_of_another_declaration_is_no_item() {
        let attributes = Attributes::from([("since".to_owned(), Value::Time(Timestamp::from_micros(7)))]);
        let bytes = encode(&schema(), Timestamp::EPOCH, &attributes);
        let ends: Vec<usize> =
            (0..=bytes.len()).filter(|end| decode(&schema(), &bytes[..*end]).is_some()).collect();
        assert_eq!(ends, [9, bytes.len()], "after the time, and the whole");
        assert_eq!(decode(&AttributeSchema::new([]), &bytes), None);
    }
}
