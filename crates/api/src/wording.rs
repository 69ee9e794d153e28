//! What serde has to say, in the words of this API: no names of another language's types, and the field that was probably
//! meant.

use tastemaker_types::did_you_mean;

/// A message of serde as one for clients; one that is none of the known stays as it is.
pub fn reword(message: &str) -> String {
    let quoted = |rest: &str| rest.split('`').next().unwrap_or_default().to_owned();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        return format!(
            "unknown field '{}'{}",
            quoted(rest),
            did_you_mean(&quoted(rest), rest.split('`').skip(2).step_by(2))
        );
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        return format!(
            "unknown value '{}'{}",
            quoted(rest),
            did_you_mean(&quoted(rest), rest.split('`').skip(2).step_by(2))
        );
    }
    if let Some(rest) = message.strip_prefix("missing field `") {
        return format!("the field '{}' is missing", quoted(rest));
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        return format!("the field '{}' is given twice", quoted(rest));
    }
    if message.starts_with("data did not match any variant of untagged enum") {
        return "give a text, a number, true, false or a list of texts".to_owned();
    }
    if message.starts_with("invalid digit found in string") || message.starts_with("cannot parse integer") {
        return "give a whole number".to_owned();
    }
    let mistyped = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match mistyped.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((given, expected)) => format!("{} is given; give {}", given_words(given), expected_words(expected)),
        None => message.to_owned(),
    }
}

fn given_words(given: &str) -> String {
    let plain = given.strip_prefix("integer `").or_else(|| given.strip_prefix("floating point `"));
    match given {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "unit value" => "null".to_owned(),
        _ => match plain.or_else(|| given.strip_prefix("boolean `")).and_then(|rest| rest.strip_suffix('`')) {
            Some(value) => value.to_owned(),
            None => given.strip_prefix("string ").map_or_else(|| given.to_owned(), |text| format!("the text {text}")),
        },
    }
}

fn expected_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("a string") => "a text",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_another_language_is_left() {
        for (serde, ours) in [
            ("unknown field `prise`, expected `price` or `title`", "unknown field 'prise'; did you mean 'price'?"),
            (
                "unknown variant `onlin`, expected one of `online`, `offline`, `both`",
                "unknown value 'onlin'; did you mean 'online'?",
            ),
            ("missing field `item_id`", "the field 'item_id' is missing"),
            ("invalid type: string \"dear\", expected f64", "the text \"dear\" is given; give a number"),
            ("invalid type: integer `5`, expected a string", "5 is given; give a text"),
            ("invalid value: integer `-1`, expected usize", "-1 is given; give a whole number, 0 or more"),
            ("invalid type: floating point `1.5`, expected usize", "1.5 is given; give a whole number, 0 or more"),
            ("invalid type: sequence, expected struct RecommendationsRequest", "a list is given; give an object"),
            ("invalid type: null, expected a boolean", "null is given; give true or false"),
            (
                "data did not match any variant of untagged enum ParamValue",
                "give a text, a number, true, false or a list of texts",
            ),
            ("'soon' is not a time", "'soon' is not a time"),
        ] {
            assert_eq!(reword(serde), ours);
        }
    }
}
