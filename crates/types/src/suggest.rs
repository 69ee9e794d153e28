//! "Did you mean …?": the nearest known word to a mistyped one.

/// The candidate nearest to `word` by Damerau–Levenshtein distance (case-insensitive), if it is near enough to be a
/// likely slip: at most a third of the word's length, and at least one edit is always allowed.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The end of an error sentence: `; did you mean 'price'?` if a candidate is near, else `; known: a, b, c` (at most
/// twelve names), else nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let mut known: Vec<&str> = candidates.into_iter().collect();
    if let Some(name) = nearest(word, known.iter().copied()) {
        return format!("; did you mean '{name}'?");
    }
    if known.is_empty() {
        return String::new();
    }
    known.sort_unstable();
    let more = if known.len() > LISTED { ", …" } else { "" };
    known.truncate(LISTED);
    format!("; known: {}{more}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_suggested_and_a_stranger_gets_the_list() {
        assert_eq!(did_you_mean("prise", ["price", "brand"]), "; did you mean 'price'?");
        assert_eq!(did_you_mean("CATEGORY", ["category"]), "; did you mean 'category'?");
        assert_eq!(did_you_mean("zzz", ["price", "brand"]), "; known: brand, price");
        assert_eq!(did_you_mean("x", []), "");
    }
}
