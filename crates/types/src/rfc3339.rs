//! The RFC 3339 text of an instant. An answer may have one for each of two million values, so it is written in place, an
//! order of magnitude faster than by the library that reads it, whose text it is.

const MICROS: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS;
/// 0000-03-01 is so many days before 1970-01-01.
const MARCH_OF_YEAR_0: i64 = 719_468;
const DAYS_PER_400_YEARS: i64 = 146_097;

/// A text of at most 27 bytes: `2026-01-02T03:04:05.678901Z`.
#[derive(Default)]
pub(crate) struct Rfc3339 {
    bytes: [u8; 27],
    length: usize,
}

impl Rfc3339 {
    /// The text of the instant so many microseconds after 1970; none outside of the years 0 to 9999, which it cannot say.
    pub(crate) fn of(micros: i64) -> Option<Self> {
        let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY));
        let year = u32::try_from(year).ok().filter(|year| *year <= 9_999)?;
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (second, fraction) = ((of_day / MICROS) as u32, (of_day % MICROS) as u32);
        let mut text = Self::default();
        text.pair(year / 100);
        text.pair(year % 100);
        let pairs = [(b'-', month), (b'-', day), (b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)];
        for (before, pair) in pairs {
            text.byte(before);
            text.pair(pair);
        }
        if fraction != 0 {
            text.byte(b'.');
            text.pair(fraction / 10_000);
            text.pair(fraction / 100 % 100);
            text.pair(fraction % 100);
            while text.bytes.get(text.length - 1) == Some(&b'0') {
                text.length -= 1;
            }
        }
        text.byte(b'Z');
        Some(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// A number below 100 in two digits.
    fn pair(&mut self, number: u32) {
        self.byte(b'0' + (number / 10) as u8);
        self.byte(b'0' + (number % 10) as u8);
    }
}

/// Year, month and day of a day since 1970 (Hinnant 2013, `civil_from_days`): years begin in March there, so that the day which some
/// years lack is their last.
fn civil(day: i64) -> (i64, u32, u32) {
    let day = day + MARCH_OF_YEAR_0;
    let era = day.div_euclid(DAYS_PER_400_YEARS);
    let of_era = day.rem_euclid(DAYS_PER_400_YEARS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, (of_year - (153 * from_march + 2) / 5 + 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(micros: i64) {
        let expected = jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
        assert_eq!(Rfc3339::of(micros).unwrap().as_str(), expected, "{micros}");
    }

    #[test]
    fn it_is_the_librarys_text_at_edges_of_days_months_years_and_fractions() {
        for year in [1, 4, 100, 400, 1_900, 1_969, 1_970, 2_000, 2_023, 2_024, 2_100, 9_999] {
            for month in 1..=12 {
                let first = jiff::civil::date(year, month, 1).at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
                let first = first.timestamp().as_microsecond();
                [-1, 0, 1, 100_000, 120_000, MICROS_PER_DAY - 1].into_iter().for_each(|after| agrees(first + after));
            }
        }
    }

    #[test]
    fn it_is_the_librarys_text_at_random_instants() {
        let mut random = 88_172_645_463_325_252_u64;
        for _ in 0..100_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            agrees((random % 315_000_000_000_000_000) as i64 - 62_135_596_800 * MICROS);
        }
    }

    #[test]
    fn years_that_have_no_four_digits_are_left_to_others() {
        let after_9999 = 253_402_300_800 * MICROS;
        assert_eq!(Rfc3339::of(after_9999 - 1).unwrap().as_str(), "9999-12-31T23:59:59.999999Z");
        for micros in [after_9999, -62_167_219_200 * MICROS - 1, i64::MAX, i64::MIN] {
            assert!(Rfc3339::of(micros).is_none(), "{micros}");
        }
    }
}
