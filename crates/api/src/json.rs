//! Strict JSON: what does not fit is refused with the place of the fault and, for a field that does not exist, the name
//! that was probably meant.

use serde::de::{DeserializeOwned, Deserializer};

use crate::objects::Objects;
use crate::wording::reword;
use crate::{FieldError, Problem, ProblemKind};

/// Reads a request body.
///
/// # Errors
/// A [`Problem`] that says where the body is not JSON or does not fit `T`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Problem>> {
    // The second, slower reading is for the place of the fault alone.
    read(body).map_err(|_| Box::new(explain::<T>(body)))
}

/// Reads a structure that is one JSON object.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = T::deserialize(Objects(&mut deserializer))?;
    deserializer.end().map(|()| value)
}

fn explain<T: DeserializeOwned>(body: &[u8]) -> Problem {
    let value = match parse_value(body) {
        Ok(value) => value,
        Err(problem) => return *problem,
    };
    match fields::<T, _>(&value, "") {
        Err(error) if error.field.is_empty() => {
            Problem::new(ProblemKind::InvalidRequest, format!("the body: {}", error.message))
        }
        Err(error) => Problem::field(ProblemKind::InvalidRequest, error.field, error.message),
        Ok(_) => Problem::new(ProblemKind::InvalidRequest, "the body names a field twice"),
    }
}

/// Reads a body as any JSON.
pub(crate) fn parse_value(body: &[u8]) -> Result<serde_json::Value, Box<Problem>> {
    if body.is_empty() {
        return Err(Box::new(Problem::new(ProblemKind::InvalidRequest, "the body is empty; send JSON")));
    }
    serde_json::from_slice(body)
        .map_err(|e| Box::new(Problem::new(ProblemKind::InvalidRequest, format!("the body is not valid JSON: {e}"))))
}

/// Reads a `T`; a fault is given with its place, which starts with `at`.
pub(crate) fn fields<'de, T: serde::Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
    at: &str,
) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Objects(input)).map_err(|error| {
        let path = error.path().to_string();
        let message = reword(&error.into_inner().to_string());
        let field = match path.as_str() {
            "." => at.to_owned(),
            path if at.is_empty() => path.to_owned(),
            path => format!("{at}.{path}"),
        };
        FieldError { field, message }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        price: f64,
        title: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        items: Vec<Inner>,
    }

    #[test]
    fn a_slip_in_a_field_name_is_found_and_corrected() {
        let problem = parse::<Outer>(br#"{"items":[{"price":1},{"prise":2}]}"#).unwrap_err();
        assert_eq!(problem.errors[0].field, "items[1].prise");
        assert_eq!(problem.errors[0].message, "unknown field 'prise'; did you mean 'price'?");
    }

    #[test]
    fn a_wrong_type_names_its_place() {
        let problem = parse::<Outer>(br#"{"items":[{"price":"dear"}]}"#).unwrap_err();
        assert_eq!(problem.errors[0].field, "items[0].price");
        assert!(problem.errors[0].message == "the text \"dear\" is given; give a number", "{problem:?}");
    }

    #[test]
    fn a_list_of_values_in_order_is_no_object() {
        let problem = parse::<Inner>(br#"[1,"title"]"#).unwrap_err();
        assert_eq!(problem.detail, "the body: a list is given; give an object");
        assert!(parse::<Inner>(br#"{"price":1} {}"#).is_err());
    }

    #[test]
    fn broken_json_names_line_and_column_and_an_empty_body_is_said_to_be_empty() {
        assert!(parse::<Outer>(b"{\"items\":[").unwrap_err().detail.contains("line 1 column"));
        assert!(parse::<Outer>(b"").unwrap_err().detail.contains("empty"));
    }
}
