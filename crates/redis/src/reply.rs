//! Reading answers: what RESP2 gives as lists and texts, RESP3 gives as maps and numbers. Both are read alike.

use redis::Value;

/// The bytes of a text; numbers as they are written.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.into_bytes(),
        Value::Okay => b"OK".to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Double(number) => number.to_string().into_bytes(),
        Value::Boolean(truth) => if truth { "1" } else { "0" }.as_bytes().to_vec(),
        _ => return None,
    })
}

pub(crate) fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.parse().ok(),
        _ => None,
    }
}

/// A whole number; also where the module writes it as a float.
pub(crate) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => number(other).filter(|n| n.is_finite() && *n >= 0.0).map(|n| n as u64),
    }
}

pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Some(values),
        _ => None,
    }
}

/// Keys and values: of a map, or of a list in which they take turns.
pub(crate) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs),
        Value::Array(values) if values.len().is_multiple_of(2) => {
            let mut values = values.into_iter();
            let mut pairs = Vec::with_capacity(values.len() / 2);
            while let (Some(key), Some(value)) = (values.next(), values.next()) {
                pairs.push((key, value));
            }
            Some(pairs)
        }
        _ => None,
    }
}

/// The fields of a hash, as `HGETALL` answers them.
pub fn fields(value: Value) -> Option<Vec<(String, Vec<u8>)>> {
    if matches!(value, Value::Nil) {
        return Some(Vec::new());
    }
    pairs(value)?.into_iter().map(|(key, value)| Some((text(key)?, bytes(value)?))).collect()
}
