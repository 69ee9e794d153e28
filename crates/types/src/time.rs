//! Instants ([`Timestamp`]: microseconds since the Unix epoch, UTC) and lengths of time ([`Window`]: `30m`, `7d`).

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::rfc3339::Rfc3339;

/// Why a text or number is not a time or a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not an instant in any accepted form.
    #[error(
        "'{text}' is not a time; give RFC 3339 (2026-01-02T03:04:05Z), a date, or seconds/milliseconds/microseconds since 1970"
    )]
    NotATime {
        /// What was given.
        text: String,
    },
    /// Outside of the years 1 to 9999.
    #[error("time {text} is outside of the years 1 to 9999")]
    OutOfRange {
        /// What was given.
        text: String,
    },
    /// Later than any right clock could say.
    #[error("{given} is in the future (it is {now} here); check the sender's clock and the unit of its timestamps")]
    Ahead {
        /// What was given.
        given: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// Not a length of time.
    #[error("'{text}' is not a length of time; write a whole number and a unit: 500ms, 30s, 15m, 12h, 7d or 2w")]
    NotAWindow {
        /// What was given.
        text: String,
    },
}

/// An instant: microseconds since 1970-01-01T00:00:00Z.
///
/// As JSON it is written in RFC 3339 and read from RFC 3339, a date, or a number since 1970, whose unit is told by its
/// size (below 10¹¹ seconds, below 10¹⁴ milliseconds, else microseconds). A time without a zone is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

const MICROS: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z and 9999-12-31T00:00:00Z, in microseconds: what RFC 3339 and Parquet readers agree on.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800 * MICROS..=253_402_214_400 * MICROS;

impl Timestamp {
    /// The epoch, 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// How far a sender's clock may be ahead of ours. What is later is a mistake that would stay at the head of every window for years.
    pub const MAX_AHEAD: Window = Window::from_days(1);

    /// Whether a sender at `now` could have meant this, or what to tell it.
    ///
    /// # Errors
    /// The time lies further ahead than [`Timestamp::MAX_AHEAD`].
    pub fn check_not_ahead(self, now: Self) -> Result<(), TimeError> {
        if self > now.plus(Self::MAX_AHEAD) { Err(TimeError::Ahead { given: self, now }) } else { Ok(()) }
    }

    /// From microseconds since the epoch, as read back from our own storage.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }

    /// The present, from the system clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// This instant moved earlier by `window`.
    pub fn minus(self, window: Window) -> Self {
        Self(self.0.saturating_sub(window.as_micros()))
    }

    /// This instant moved later by `window`.
    pub fn plus(self, window: Window) -> Self {
        Self(self.0.saturating_add(window.as_micros()))
    }

    /// From a number since the epoch; its size tells the unit (see [`Timestamp`]).
    ///
    /// # Errors
    /// [`TimeError`] if it is not finite or outside of the years 1 to 9999.
    pub fn from_number(number: f64) -> Result<Self, TimeError> {
        let out = || TimeError::OutOfRange { text: number.to_string() };
        let scale = match number.abs() {
            n if n < 1e11 => 1e6,
            n if n < 1e14 => 1e3,
            _ => 1.0,
        };
        let micros = (number * scale).round();
        if !micros.is_finite() || !RANGE.contains(&(micros as i64)) {
            return Err(out());
        }
        Ok(Self(micros as i64))
    }

    /// The UTC day, `2026-01-02`, as partition folders name it.
    pub fn utc_date(self) -> String {
        self.zoned().map_or_else(|| "invalid".to_owned(), |z| z.date().to_string())
    }

    fn zoned(self) -> Option<jiff::Zoned> {
        jiff::Timestamp::from_microsecond(self.0).ok().map(|t| t.to_zoned(TimeZone::UTC))
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let trimmed = text.trim();
        let checked = |micros: i64| {
            if RANGE.contains(&micros) {
                Ok(Self(micros))
            } else {
                Err(TimeError::OutOfRange { text: text.to_owned() })
            }
        };
        if let Ok(instant) = trimmed.parse::<jiff::Timestamp>() {
            return checked(instant.as_microsecond());
        }
        if let Ok(integer) = trimmed.parse::<i64>() {
            return Self::from_number(integer as f64);
        }
        if let Ok(number) = trimmed.parse::<f64>() {
            return Self::from_number(number);
        }
        let civil = trimmed
            .parse::<jiff::civil::DateTime>()
            .or_else(|_| trimmed.parse::<jiff::civil::Date>().map(|d| d.at(0, 0, 0, 0)));
        match civil.and_then(|c| c.to_zoned(TimeZone::UTC)) {
            Ok(zoned) => checked(zoned.timestamp().as_microsecond()),
            Err(_) => Err(TimeError::NotATime { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = Rfc3339::of(self.0) {
            return f.write_str(text.as_str());
        }
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Rfc3339::of(self.0) {
            Some(text) => serializer.serialize_str(text.as_str()),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time or a number since 1970")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Timestamp, E> {
                Timestamp::from_number(number as f64).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Timestamp, E> {
                Timestamp::from_number(number as f64).map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Timestamp, E> {
                Timestamp::from_number(number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A length of time, written `500ms`, `30s`, `15m`, `12h`, `7d` or `2w`; a day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, JsonSchema)]
#[schemars(transparent)]
pub struct Window(#[schemars(with = "String", regex(pattern = r"^[0-9]+(ms|s|m|h|d|w)$"))] i64);

const UNITS: [(&str, i64); 6] = [
    ("ms", 1_000),
    ("w", 7 * 86_400 * MICROS),
    ("d", 86_400 * MICROS),
    ("h", 3_600 * MICROS),
    ("m", 60 * MICROS),
    ("s", MICROS),
];

impl Window {
    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000)
    }

    /// From days of 24 hours.
    pub const fn from_days(days: i64) -> Self {
        Self(days * 86_400 * MICROS)
    }

    /// In microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// In seconds.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }

    /// As a standard duration.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
}

impl FromStr for Window {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let fail = || TimeError::NotAWindow { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, unit) = trimmed.split_at(digits);
        let count: i64 = count.parse().map_err(|_| fail())?;
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(fail)?;
        count.checked_mul(*micros).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, micros) = UNITS
            .iter()
            .filter(|(_, micros)| self.0 % micros == 0 && self.0 >= *micros)
            .max_by_key(|(_, micros)| *micros)
            .unwrap_or(&("ms", 1_000));
        write!(f, "{}{unit}", self.0 / micros)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_is_the_same_instant() {
        let expected = Timestamp::from_micros(1_767_323_045_000_000);
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T05:04:05+02:00",
            "2026-01-02 03:04:05",
            "2026-01-02T03:04:05",
            "1767323045",
            "1767323045000",
            "1767323045000000",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap(), expected, "{text}");
        }
        assert_eq!(serde_json::from_str::<Timestamp>("1767323045.0").unwrap(), expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), "\"2026-01-02T03:04:05Z\"");
        assert_eq!("2026-01-02".parse::<Timestamp>().unwrap().utc_date(), "2026-01-02");
    }

    #[test]
    fn nonsense_and_far_times_are_refused() {
        assert!(matches!("yesterday".parse::<Timestamp>(), Err(TimeError::NotATime { .. })));
        assert!(matches!("NaN".parse::<Timestamp>(), Err(TimeError::OutOfRange { .. })));
        assert!(matches!("1e300".parse::<Timestamp>(), Err(TimeError::OutOfRange { .. })));
    }

    #[test]
    fn windows_round_trip_and_nonsense_is_refused() {
        for text in ["500ms", "30s", "15m", "12h", "7d", "2w"] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
        }
        assert_eq!("90s".parse::<Window>().unwrap().to_string(), "90s");
        for text in ["", "5", "m", "-3s", "1.5h", "3 fortnights", "99999999999999w"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
