//! `LIKE` and `ILIKE` patterns: `%` stands for any run of characters, `_` for any one, and a backslash takes the next
//! character as it is. A pattern is cut at its `%` once; a text is then searched for the parts from left to right, taking
//! the leftmost place of each, so nothing is ever tried twice.

use std::fmt;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikePattern {
    source: String,
    case_insensitive: bool,
    /// What stands between the `%`: at least one part; the first is anchored to the start and the last to the end.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// No `_` in it.
    Plain(String),
    /// None is `_`.
    Wild(Vec<Option<char>>),
}

impl Part {
    fn new(chars: Vec<Option<char>>) -> Self {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(plain) => Self::Plain(plain),
            None => Self::Wild(chars),
        }
    }

    /// The length in bytes of the text's start that this part matches.
    fn match_start(&self, text: &str) -> Option<usize> {
        match self {
            Self::Plain(plain) => text.starts_with(plain.as_str()).then_some(plain.len()),
            Self::Wild(pattern) => {
                let mut chars = text.chars();
                for expected in pattern {
                    let found = chars.next()?;
                    if expected.is_some_and(|c| c != found) {
                        return None;
                    }
                }
                Some(text.len() - chars.as_str().len())
            }
        }
    }

    fn matches_end(&self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => text.ends_with(plain.as_str()),
            Self::Wild(pattern) => {
                let mut chars = text.chars().rev();
                pattern.iter().rev().all(|expected| match (expected, chars.next()) {
                    (_, None) => false,
                    (Some(c), Some(found)) => *c == found,
                    (None, Some(_)) => true,
                })
            }
        }
    }

    /// Where the text goes on after the leftmost match.
    fn find_end(&self, text: &str) -> Option<usize> {
        match self {
            Self::Plain(plain) => text.find(plain.as_str()).map(|at| at + plain.len()),
            Self::Wild(_) => text
                .char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .find_map(|at| text.get(at..).and_then(|rest| self.match_start(rest)).map(|len| at + len)),
        }
    }
}

impl LikePattern {
    /// Compiles a pattern. A trailing backslash stands for itself.
    pub fn new(pattern: &str, case_insensitive: bool) -> Self {
        let folded = if case_insensitive { pattern.to_lowercase() } else { pattern.to_owned() };
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut chars = folded.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => parts.push(Part::new(std::mem::take(&mut part))),
                '_' => part.push(None),
                '\\' => part.push(Some(chars.next().unwrap_or('\\'))),
                c => part.push(Some(c)),
            }
        }
        parts.push(Part::new(part));
        Self { source: pattern.to_owned(), case_insensitive, parts }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it was `ILIKE`.
    pub fn is_case_insensitive(&self) -> bool {
        self.case_insensitive
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        if self.case_insensitive { self.matches_folded(&text.to_lowercase()) } else { self.matches_folded(text) }
    }

    fn matches_folded(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(mut at) = first.match_start(text) else { return false };
        let Some((last, middle)) = rest.split_last() else { return at == text.len() };
        for part in middle {
            match text.get(at..).and_then(|rest| part.find_end(rest)) {
                Some(len) => at += len,
                None => return false,
            }
        }
        text.get(at..).is_some_and(|rest| last.matches_end(rest))
    }
}

impl fmt::Display for LikePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.case_insensitive { "ILIKE " } else { "LIKE " })?;
        crate::render::quote(&self.source, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, tried in every way.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some(('%', rest)), _) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            (Some(('\\', rest)), _) if !rest.is_empty() => text.first() == rest.first() && slow(&rest[1..], &text[1..]),
            (Some(('_', rest)), Some((_, tail))) => slow(rest, tail),
            (Some((c, rest)), Some((d, tail))) => c == d && slow(rest, tail),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_compiled_pattern_agrees_with_the_definition(pattern in "[aäb%_\\\\]{0,7}", text in "[aäb%]{0,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(LikePattern::new(&pattern, false).matches(&text), slow(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn ilike_ignores_case() {
        assert!(LikePattern::new("%STRASSE", true).matches("Hauptstrasse"));
        assert!(LikePattern::new("ä%", true).matches("Äpfel"));
        assert!(!LikePattern::new("ä%", false).matches("Äpfel"));
    }

    #[test]
    fn many_wildcards_do_not_explode() {
        let pattern = LikePattern::new(&"%a_".repeat(80), false);
        assert!(!pattern.matches(&"ab".repeat(30_000)[..59_999].replace('a', "b")));
        assert!(pattern.matches(&"ab".repeat(30_000)));
    }
}
