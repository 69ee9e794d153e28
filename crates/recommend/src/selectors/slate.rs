//! Composes a varied slate from ranked candidates: caps on groups, and maximal marginal relevance. Knows nothing of items.

/// What is known of candidates, by position `0..len`.
pub(super) trait Pool {
    /// Number of candidates.
    fn len(&self) -> usize;
    /// The score of one.
    fn score(&self, position: u32) -> f32;
    /// The groups that one belongs to.
    fn groups(&self, position: u32) -> &[u32];
    /// How alike two are, up to 1.
    fn similarity(&self, a: u32, b: u32) -> f32;
}

/// What a slate should be like.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The most candidates of each group, by its number.
    pub(super) caps: Vec<u32>,
    /// Maximal marginal relevance for the first places: the weight of the score against difference, and how many places.
    pub(super) mmr: Option<(f32, usize)>,
}

/// The positions in `order` (best first), of which the first `take` are chosen: at each place the best that no cap forbids, where with maximal marginal
/// relevance the best is the one with the largest `λ · score / max |score| − (1 − λ) · max similarity to a chosen one` (Carbonell, Goldstein
/// 1998). What the caps forbid comes after all else, in order, so that no candidate is lost and a slate is full if it can be. When `expired`
/// says that the time is up, the places that are left are filled by score.
pub(super) fn compose(
    pool: &impl Pool,
    order: &[u32],
    take: usize,
    rules: &Rules,
    expired: impl Fn() -> bool,
) -> Vec<u32> {
    let mut room = rules.caps.clone();
    let mut rest: Vec<u32> = order.to_vec();
    let mut chosen = Vec::with_capacity(take.min(order.len()));
    if let Some((lambda, places)) = rules.mmr {
        marginal(pool, &mut rest, &mut chosen, &mut room, lambda, places.min(take), expired);
    }
    let mut forbidden = Vec::new();
    for position in rest {
        if chosen.len() >= take {
            break;
        }
        if fits(pool.groups(position), &room) {
            occupy(pool.groups(position), &mut room);
            chosen.push(position);
        } else {
            forbidden.push(position);
        }
    }
    let missing = take.saturating_sub(chosen.len());
    chosen.extend(forbidden.into_iter().take(missing));
    chosen
}

/// Moves up to `places` positions from `rest`, which is in order, to `chosen`.
fn marginal(
    pool: &impl Pool,
    rest: &mut Vec<u32>,
    chosen: &mut Vec<u32>,
    room: &mut [u32],
    lambda: f32,
    places: usize,
    expired: impl Fn() -> bool,
) {
    let largest = rest.iter().map(|position| pool.score(*position).abs()).fold(0f32, f32::max);
    let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
    // The largest similarity to a chosen one, kept up to date by comparing with the last chosen alone.
    let mut nearest = vec![f32::NEG_INFINITY; pool.len()];
    while chosen.len() < places {
        if expired() {
            return;
        }
        let last = chosen.last().copied();
        let mut best: Option<(usize, f32)> = None;
        for (place, &position) in rest.iter().enumerate() {
            let Some(nearest) = nearest.get_mut(position as usize) else { continue };
            if let Some(last) = last {
                *nearest = nearest.max(pool.similarity(position, last));
            }
            if !fits(pool.groups(position), room) {
                continue;
            }
            let likeness = if last.is_some() { *nearest } else { 0.0 };
            let value = lambda * pool.score(position) * scale - (1.0 - lambda) * likeness;
            if best.is_none_or(|(_, most)| value > most) {
                best = Some((place, value));
            }
        }
        let Some((place, _)) = best else { return };
        let position = rest.remove(place);
        occupy(pool.groups(position), room);
        chosen.push(position);
    }
}

fn fits(groups: &[u32], room: &[u32]) -> bool {
    groups.iter().all(|group| room.get(*group as usize).is_none_or(|left| *left > 0))
}

fn occupy(groups: &[u32], room: &mut [u32]) {
    for group in groups {
        if let Some(left) = room.get_mut(*group as usize) {
            *left = left.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Candidates on a line: the nearer, the more alike.
    #[derive(Debug, Clone)]
    struct Line {
        scores: Vec<f32>,
        groups: Vec<Vec<u32>>,
        places: Vec<f32>,
    }

    impl Pool for Line {
        fn len(&self) -> usize {
            self.scores.len()
        }
        fn score(&self, position: u32) -> f32 {
            self.scores[position as usize]
        }
        fn groups(&self, position: u32) -> &[u32] {
            &self.groups[position as usize]
        }
        fn similarity(&self, a: u32, b: u32) -> f32 {
            1.0 - (self.places[a as usize] - self.places[b as usize]).abs()
        }
    }

    fn order(pool: &Line) -> Vec<u32> {
        tastemaker_pipeline::rank(&pool.scores, pool.len(), |position| position)
    }

    fn line(candidates: &[(f32, &[u32], f32)]) -> Line {
        Line {
            scores: candidates.iter().map(|c| c.0).collect(),
            groups: candidates.iter().map(|c| c.1.to_vec()).collect(),
            places: candidates.iter().map(|c| c.2).collect(),
        }
    }

    #[test]
    fn when_the_time_is_up_the_rest_comes_by_score() {
        let pool = Line { scores: vec![1.0, 0.9, 0.8, 0.7], groups: vec![vec![]; 4], places: vec![0.0, 0.0, 0.0, 9.0] };
        let rules = Rules { caps: vec![], mmr: Some((0.1, 4)) };
        assert_eq!(compose(&pool, &order(&pool), 3, &rules, || false)[1], 3, "the most different one comes second");
        let asked = std::cell::Cell::new(0);
        let after_one = || asked.replace(asked.get() + 1) >= 1;
        assert_eq!(compose(&pool, &order(&pool), 3, &rules, after_one), [0, 1, 2]);
    }

    #[test]
    fn a_cap_lets_the_next_group_in_and_gives_way_when_nothing_else_is_left() {
        let pool = line(&[(5.0, &[0], 0.0), (4.0, &[0], 0.0), (3.0, &[1], 0.0), (2.0, &[0], 0.0), (1.0, &[], 0.0)]);
        let rules = Rules { caps: vec![1, 1], mmr: None };
        assert_eq!(compose(&pool, &order(&pool), 3, &rules, || false), [0, 2, 4]);
        assert_eq!(compose(&pool, &order(&pool), 4, &rules, || false), [0, 2, 4, 1]);
        assert_eq!(compose(&pool, &order(&pool), 9, &rules, || false), [0, 2, 4, 1, 3]);
    }

    #[test]
    fn a_candidate_of_two_groups_needs_room_in_both() {
        let pool = line(&[(3.0, &[0, 1], 0.0), (2.0, &[1], 0.0), (1.0, &[2], 0.0)]);
        let rules = Rules { caps: vec![1, 1, 1], mmr: None };
        assert_eq!(compose(&pool, &order(&pool), 2, &rules, || false), [0, 2]);
    }

    #[test]
    fn marginal_relevance_takes_the_different_one_before_the_second_of_a_kind() {
        let pool = line(&[(1.0, &[], 0.0), (0.9, &[], 0.01), (0.5, &[], 0.9)]);
        let varied = Rules { caps: vec![], mmr: Some((0.5, 10)) };
        assert_eq!(compose(&pool, &order(&pool), 3, &varied, || false), [0, 2, 1]);
        let plain = Rules { caps: vec![], mmr: Some((1.0, 10)) };
        assert_eq!(compose(&pool, &order(&pool), 3, &plain, || false), [0, 1, 2]);
    }

    /// Looks at everything anew for each place.
    fn slow(pool: &Line, order: &[u32], take: usize, rules: &Rules) -> Vec<u32> {
        let mut chosen: Vec<u32> = Vec::new();
        let largest = pool.scores.iter().fold(0f32, |most, score| most.max(score.abs()));
        let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
        let used =
            |chosen: &[u32], group: u32| chosen.iter().filter(|c| pool.groups(**c).contains(&group)).count() as u32;
        loop {
            let free: Vec<u32> = order.iter().copied().filter(|p| !chosen.contains(p)).collect();
            let mut fitting: Vec<u32> = free
                .iter()
                .copied()
                .filter(|p| pool.groups(*p).iter().all(|g| used(&chosen, *g) < rules.caps[*g as usize]))
                .collect();
            if chosen.len() == take || fitting.is_empty() {
                let missing = take - chosen.len();
                chosen.extend(free.into_iter().take(missing));
                return chosen;
            }
            if let Some((lambda, places)) = rules.mmr.filter(|(_, places)| chosen.len() < *places) {
                let _ = places;
                let value = |p: u32| {
                    let likeness = chosen.iter().map(|c| pool.similarity(p, *c)).fold(f32::NEG_INFINITY, f32::max);
                    let likeness = if chosen.is_empty() { 0.0 } else { likeness };
                    lambda * pool.score(p) * scale - (1.0 - lambda) * likeness
                };
                fitting.sort_by(|a, b| value(*b).total_cmp(&value(*a)));
            }
            chosen.push(fitting[0]);
        }
    }

    fn pools() -> impl Strategy<Value = (Line, Rules, usize)> {
        let candidate = (-4i8..5, proptest::collection::btree_set(0u32..4, 0..3), 0u8..20);
        let mmr = proptest::option::of(((0u8..5).prop_map(|l| f32::from(l) / 4.0), 0usize..12));
        (proptest::collection::vec(candidate, 0..25), proptest::collection::vec(1u32..4, 4), mmr, 0usize..30).prop_map(
            |(candidates, caps, mmr, take)| {
                let pool = Line {
                    scores: candidates.iter().map(|c| f32::from(c.0)).collect(),
                    groups: candidates.iter().map(|c| c.1.iter().copied().collect()).collect(),
                    places: candidates.iter().map(|c| f32::from(c.2) / 20.0).collect(),
                };
                (pool, Rules { caps, mmr }, take)
            },
        )
    }

    proptest! {
        #[test]
        fn the_fast_slate_is_the_slow_one((pool, rules, take) in pools()) {
            let order = order(&pool);
            prop_assert_eq!(compose(&pool, &order, take, &rules, || false), slow(&pool, &order, take.min(pool.len()), &rules));
        }

        #[test]
        fn no_candidate_is_lost_and_none_comes_twice((pool, rules, take) in pools()) {
            let slate = compose(&pool, &order(&pool), take, &rules, || false);
            prop_assert_eq!(slate.len(), take.min(pool.len()));
            prop_assert_eq!(slate.iter().collect::<BTreeSet<_>>().len(), slate.len());
            let all = compose(&pool, &order(&pool), pool.len(), &rules, || false);
            prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..pool.len() as u32).collect::<BTreeSet<_>>());
        }

        #[test]
        fn a_cap_is_exceeded_only_when_every_candidate_left_exceeds_one((pool, rules, take) in pools()) {
            let slate = compose(&pool, &order(&pool), take, &rules, || false);
            let mut used = vec![0u32; rules.caps.len()];
            for (place, position) in slate.iter().enumerate() {
                let over = |p: u32| pool.groups(p).iter().any(|g| used[*g as usize] >= rules.caps[*g as usize]);
                if over(*position) {
                    let left = (0..pool.len() as u32).filter(|p| !slate[..place].contains(p));
                    prop_assert!(left.clone().all(over), "place {} exceeds a cap for no need", place);
                }
                pool.groups(*position).iter().for_each(|g| used[*g as usize] += 1);
            }
        }
    }
}
