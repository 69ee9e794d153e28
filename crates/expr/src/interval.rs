//! Lengths of time as SQL writes them: `7 days`, `1 day 12 hours`, `-30 minutes`, and this project's own `7d`.

use tastemaker_types::Window;

const SECOND: i64 = 1_000_000;

const UNITS: [(&str, i64); 15] = [
    ("microsecond", 1),
    ("us", 1),
    ("millisecond", 1_000),
    ("ms", 1_000),
    ("second", SECOND),
    ("sec", SECOND),
    ("minute", 60 * SECOND),
    ("min", 60 * SECOND),
    ("hour", 3_600 * SECOND),
    ("day", 86_400 * SECOND),
    ("week", 7 * 86_400 * SECOND),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];

/// Microseconds of a number of a unit (`day`, `days`, `h` …).
pub(crate) fn of_unit(number: &str, unit: &str) -> Result<i64, String> {
    let lower = unit.to_lowercase();
    let singular = if lower.len() > 2 { lower.strip_suffix('s').unwrap_or(&lower) } else { &lower };
    if matches!(singular, "month" | "year" | "quarter" | "decade" | "century") {
        return Err(format!("a {singular} has no fixed length; use days"));
    }
    let (_, micros) = UNITS
        .iter()
        .find(|(name, _)| *name == singular)
        .ok_or_else(|| format!("'{unit}' is not a unit of time; use microseconds to weeks"))?;
    let too_long = || format!("{number} {unit} is too long an interval");
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(*micros).ok_or_else(too_long);
    }
    let fraction: f64 = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    let total = (fraction * *micros as f64).round();
    if total.abs() < 9.0e18 { Ok(total as i64) } else { Err(too_long()) }
}

/// Microseconds of a text of numbers and units.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(window) = text.parse::<Window>() {
        return Ok(window.as_micros());
    }
    let unreadable = || format!("'{text}' is not an interval; write a number and a unit, such as '7 days'");
    let mut words = text.split_whitespace();
    let mut total = 0i64;
    let mut any = false;
    while let Some(number) = words.next() {
        if number.parse::<f64>().is_err() {
            return Err(unreadable());
        }
        let micros = of_unit(number, words.next().ok_or_else(unreadable)?)?;
        total = total.checked_add(micros).ok_or_else(|| format!("'{text}' is too long an interval"))?;
        any = true;
    }
    if any { Ok(total) } else { Err(unreadable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_numbers_and_units() {
        for (text, seconds) in [
            ("7 days", 604_800),
            ("1 day 12 hours", 129_600),
            ("-30 minutes", -1_800),
            ("1.5 hours", 5_400),
            ("2w", 1_209_600),
            ("30 s", 30),
            ("90 SECONDS", 90),
        ] {
            assert_eq!(parse(text), Ok(seconds * SECOND), "{text}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_sense_is_refused() {
        assert_eq!(parse("1 month").unwrap_err(), "a month has no fixed length; use days");
        for text in ["", "7", "days", "7 fortnights", "1e300 days", "9e18 us 9e18 us", "NaN days"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
