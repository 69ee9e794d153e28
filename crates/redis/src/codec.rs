//! Attribute values as the fields of a hash, and back. Plain values look like themselves; what the index could not tell apart is written with
//! an escape, so that an indexed tag and the tag that was meant are the same thing.

use tastemaker_types::{AttributeSchema, AttributeType, Attributes, Timestamp, Value};

/// Between the tags of one field (ASCII's unit separator).
pub(crate) const SEPARATOR: char = '\x1f';
/// Before two hexadecimal digits of a byte that the index would lose; alone, the empty tag.
const ESCAPE: char = '\x1e';
/// The longest tag that the index tells from others, in bytes.
pub(crate) const MAX_INDEXED_TAG: usize = 4_095;

/// A label as it stands in a field. The index cuts spaces off the ends, splits at the separator, ends at a NUL, and knows no empty tag:
/// such characters are escaped.
pub(crate) fn encode_tag(tag: &str) -> String {
    if tag.is_empty() {
        return ESCAPE.to_string();
    }
    let first = tag.len() - tag.trim_start_matches(is_space).len();
    let last = tag.trim_end_matches(is_space).len();
    let mut encoded = String::with_capacity(tag.len());
    for (at, c) in tag.char_indices() {
        let at_an_end = is_space(c) && (at < first || at >= last);
        if at_an_end || c == '\0' || c == SEPARATOR || c == ESCAPE {
            encoded.push(ESCAPE);
            encoded.push_str(&format!("{:02x}", u32::from(c)));
        } else {
            encoded.push(c);
        }
    }
    encoded
}

/// What C's `isspace` says.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

fn decode_tag(encoded: &str) -> Option<String> {
    if encoded.len() == 1 && encoded.starts_with(ESCAPE) {
        return Some(String::new());
    }
    let mut parts = encoded.split(ESCAPE);
    let mut tag = parts.next()?.to_owned();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        tag.push(char::from(byte));
        tag.push_str(part.get(2..)?);
    }
    Some(tag)
}

/// The shortest decimal that is read back as the same number.
pub(crate) fn encode_number(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (1e-5..1e17).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

/// A value as a field.
pub fn encode_value(kind: AttributeType, value: &Value) -> Vec<u8> {
    match value {
        Value::Bool(truth) => if *truth { "1" } else { "0" }.to_owned(),
        Value::Number(number) => encode_number(*number),
        Value::Time(time) => time.as_micros().to_string(),
        Value::Text(text) if kind == AttributeType::Text => text.clone(),
        Value::Text(tag) => encode_tag(tag),
        Value::Tags(tags) => tags.iter().map(|tag| encode_tag(tag)).collect::<Vec<_>>().join(&SEPARATOR.to_string()),
    }
    .into_bytes()
}

/// The value in a field; none if it was not written by [`encode_value`] for this type.
pub fn decode_value(kind: AttributeType, bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(match kind {
        AttributeType::Bool => match text {
            "1" => Value::Bool(true),
            "0" => Value::Bool(false),
            _ => return None,
        },
        AttributeType::Number => Value::Number(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        AttributeType::Time => Value::Time(Timestamp::from_micros(text.parse().ok()?)),
        AttributeType::Text => Value::Text(text.to_owned()),
        AttributeType::Tag => Value::Text(decode_tag(text)?),
        AttributeType::Tags if text.is_empty() => Value::Tags(Vec::new()),
        AttributeType::Tags => Value::Tags(text.split(SEPARATOR).map(decode_tag).collect::<Option<_>>()?),
    })
}

/// Attributes as fields, in the order of their names. Values that the schema does not declare are written by what they are.
pub fn encode_attributes(schema: &AttributeSchema, attributes: &Attributes) -> Vec<(String, Vec<u8>)> {
    let kind = |name: &str, value: &Value| {
        schema.get(name).unwrap_or(match value {
            Value::Bool(_) => AttributeType::Bool,
            Value::Number(_) => AttributeType::Number,
            Value::Text(_) => AttributeType::Text,
            Value::Tags(_) => AttributeType::Tags,
            Value::Time(_) => AttributeType::Time,
        })
    };
    attributes.iter().map(|(name, value)| (name.clone(), encode_value(kind(name, value), value))).collect()
}

/// The declared attributes among the fields of a hash. A field that somebody else wrote in another form is left out.
pub fn decode_attributes<'f>(
    schema: &AttributeSchema,
    fields: impl IntoIterator<Item = (&'f str, &'f [u8])>,
) -> Attributes {
    let known = fields.into_iter().filter_map(|(name, bytes)| {
        let value = decode_value(schema.get(name)?, bytes)?;
        Some((name.to_owned(), value))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_values_look_like_themselves() {
        let shown = |kind, value| String::from_utf8(encode_value(kind, &value)).unwrap();
        assert_eq!(shown(AttributeType::Tag, Value::Text("käse & brot".into())), "käse & brot");
        assert_eq!(shown(AttributeType::Tags, Value::Tags(vec!["a".into(), "b".into()])), "a\x1fb");
        assert_eq!(shown(AttributeType::Number, Value::Number(9.5)), "9.5");
        assert_eq!(shown(AttributeType::Number, Value::Number(12.0)), "12");
        assert_eq!(shown(AttributeType::Bool, Value::Bool(true)), "1");
        assert_eq!(shown(AttributeType::Time, Value::Time(Timestamp::from_micros(1_000))), "1000");
        assert_eq!(shown(AttributeType::Text, Value::Text(" as it is ".into())), " as it is ");
    }

    #[test]
    fn no_tags_one_empty_tag_and_two_are_told_apart() {
        let decoded = |tags: &[&str]| {
            let value = Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
            let bytes = encode_value(AttributeType::Tags, &value);
            (decode_value(AttributeType::Tags, &bytes) == Some(value)).then_some(bytes)
        };
        let all = [decoded(&[]), decoded(&[""]), decoded(&["", ""]), decoded(&["a\x1fb"]), decoded(&["a", "b"])];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert!(all.iter().all(Option::is_some) && distinct.len() == all.len(), "{all:?}");
    }

    #[test]
    fn what_others_wrote_in_another_form_is_no_value() {
        assert_eq!(decode_value(AttributeType::Number, b"cheap"), None);
        assert_eq!(decode_value(AttributeType::Number, b"inf"), None);
        assert_eq!(decode_value(AttributeType::Bool, b"yes"), None);
        assert_eq!(decode_value(AttributeType::Tag, b"\x1ezz"), None);
        assert_eq!(decode_value(AttributeType::Tag, b"\xff"), None);
    }

    fn any_tag() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[ \t\u{1e}\u{1f}\u{0}a\\\\]{0,6}"]
    }

    fn any_value() -> impl Strategy<Value = (AttributeType, Value)> {
        prop_oneof![
            any_tag().prop_map(|tag| (AttributeType::Tag, Value::Text(tag))),
            any::<String>().prop_map(|text| (AttributeType::Text, Value::Text(text))),
            prop::collection::vec(any_tag(), 0..4).prop_map(|tags| (AttributeType::Tags, Value::Tags(tags))),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| (AttributeType::Number, Value::Number(n))),
            any::<bool>().prop_map(|truth| (AttributeType::Bool, Value::Bool(truth))),
            any::<i64>().prop_map(|us| (AttributeType::Time, Value::Time(Timestamp::from_micros(us)))),
        ]
    }

    proptest! {
        #[test]
        fn every_value_comes_back((kind, value) in any_value()) {
            prop_assert_eq!(decode_value(kind, &encode_value(kind, &value)), Some(value));
        }

        #[test]
        fn the_index_sees_every_tag_as_it_is_encoded(tag in any_tag()) {
            let encoded = encode_tag(&tag);
            prop_assert!(!encoded.is_empty() && !encoded.contains(['\0', SEPARATOR]));
            prop_assert_eq!(encoded.trim_matches(is_space), encoded.as_str());
        }
    }
}
