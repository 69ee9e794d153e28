//! Strict JSON: what does not fit is refused with the place of the fault and, for a field that does not exist, the name
//! that was probably meant.

use serde::de::{DeserializeOwned, Deserializer};
use tastemaker_types::did_you_mean;

use crate::{FieldError, Problem, ProblemKind};

/// Reads a request body.
///
/// # Errors
/// A [`Problem`] that says where the body is not JSON or does not fit `T`.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Problem>> {
    // The second, slower reading is for the place of the fault alone.
    serde_json::from_slice(body).map_err(|_| Box::new(explain::<T>(body)))
}

fn explain<T: DeserializeOwned>(body: &[u8]) -> Problem {
    let value = match parse_value(body) {
        Ok(value) => value,
        Err(problem) => return *problem,
    };
    match fields::<T, _>(&value, "") {
        Err(error) if error.field.is_empty() => Problem::new(ProblemKind::InvalidRequest, error.message),
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
    serde_path_to_error::deserialize(input).map_err(|error| {
        let path = error.path().to_string();
        let message = suggest(&error.into_inner().to_string());
        let field = match path.as_str() {
            "." => at.to_owned(),
            path if at.is_empty() => path.to_owned(),
            path => format!("{at}.{path}"),
        };
        FieldError { field, message }
    })
}

/// Turns serde's "unknown field `a`, expected one of `b`, `c`" into ours, with the nearest name; other messages stay.
pub fn suggest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let mut names = rest.split('`');
    let name = names.next().unwrap_or_default();
    let known = names.skip(1).step_by(2);
    format!("unknown field '{name}'{}", did_you_mean(name, known))
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
        assert!(problem.errors[0].message.contains("expected f64"), "{problem:?}");
    }

    #[test]
    fn broken_json_names_line_and_column_and_an_empty_body_is_said_to_be_empty() {
        assert!(parse::<Outer>(b"{\"items\":[").unwrap_err().detail.contains("line 1 column"));
        assert!(parse::<Outer>(b"").unwrap_err().detail.contains("empty"));
    }
}
