//! Facts that can be checked by hand.

use tastemaker_features::kernel::{DefinitionProblem, MAX_TEXT_BYTES, Role};

use super::*;

fn count(times: &[i64]) -> One {
    // The hop is 10 s.
    let mut one = One::new(Operation::Count, Some(seconds(320)));
    times.iter().for_each(|time| one.apply(*time, InputValue::None));
    one
}

#[test]
fn an_event_leaves_with_its_tile_and_needs_no_other_event_to_do_so() {
    let one = count(&[1_005]);
    for (now, expected) in [(999, 0.0), (1_000, 1.0), (1_005, 1.0), (1_325, 1.0), (1_329, 1.0), (1_330, 0.0)] {
        assert_eq!(one.number(now), expected, "at {now}: the tile [1000, 1010) counts while 1000 ≤ now < 1330");
    }
}

#[test]
fn the_end_of_a_tile_is_open_and_its_beginning_closed() {
    let one = count(&[1_000, 999]);
    assert_eq!(one.number(1_319), 2.0);
    assert_eq!(one.number(1_320), 1.0, "1320 − 320 begins the tile of 1000 and ends that of 999");
}

#[test]
fn times_before_1970_have_tiles_too() {
    assert_eq!(count(&[-5, -320]).number(0), 2.0);
    assert_eq!(count(&[-5, -321]).number(0), 1.0);
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let gap = seconds(30);
    for operation in [
        Operation::Count,
        Operation::Decayed { half_life: seconds(1) },
        Operation::TimeSinceLast,
        Operation::SessionItems { gap, k: 2 },
    ] {
        let mut one = One::new(operation, None);
        for micros in [i64::MIN, i64::MAX, 0, i64::MAX, i64::MIN] {
            let input = Input { value: InputValue::Number(1.0), ..Input::default() };
            one.kernel.apply(&mut one.state, Timestamp::from_micros(micros), &[input]);
        }
        for micros in [i64::MIN, 0, i64::MAX] {
            assert!(one.kernel.read(&one.state, 0, Timestamp::from_micros(micros)).is_some());
        }
    }
}

#[test]
fn of_equal_times_the_later_applied_is_the_last() {
    let mut one = One::new(Operation::Last, None);
    one.apply(10, InputValue::Text("first"));
    one.apply(10, InputValue::Text("second"));
    one.apply(9, InputValue::Text("late"));
    assert_eq!(one.read(10), Some(FeatureValue::Text("second".to_owned())));
}

#[test]
fn the_last_value_is_the_last_before_now_and_within_the_window() {
    let mut one = One::new(Operation::Last, Some(seconds(100)));
    for time in [10, 20, 30] {
        one.apply(time, InputValue::Number(time as f64));
    }
    assert_eq!(one.read(9), None);
    assert_eq!(one.number(10), 10.0);
    assert_eq!(one.number(29), 20.0);
    assert_eq!(one.number(130), 30.0);
    assert_eq!(one.read(131), None);
}

#[test]
fn the_time_since_the_last_event_is_in_seconds() {
    let mut one = One::new(Operation::TimeSinceLast, None);
    assert_eq!(one.read(0), None);
    one.apply(10, InputValue::None);
    one.apply(500, InputValue::None);
    assert_eq!(one.number(70), 60.0);
    assert_eq!(one.number(501), 1.0);
    assert_eq!(one.kernel.event_time(&one.state, 0, at(501)), Some(at(500)));
    assert_eq!(one.kernel.event_time(&one.state, 1, at(501)), None);
}

#[test]
fn an_event_of_a_clock_that_runs_ahead_waits_for_its_time() {
    let mut one = One::new(Operation::Count, None);
    let input = Input::default();
    one.apply(10, InputValue::None);
    assert_eq!(one.kernel.apply_ahead(&mut one.state, at(86_400), at(20), &[input]), 0);
    let unknown = Input { feature: 9, ..input };
    assert_eq!(one.kernel.apply_ahead(&mut one.state, at(86_400), at(20), &[unknown]), 1);
    let time = |one: &One, now| one.kernel.event_time(&one.state, 0, at(now));
    assert_eq!((one.number(20), time(&one, 20)), (1.0, Some(at(10))));
    assert_eq!((one.number(86_400), time(&one, 86_400)), (2.0, Some(at(86_400))));
    // It is waiting still.
    one.apply(30, InputValue::None);
    assert_eq!((one.number(86_399), time(&one, 86_399)), (2.0, Some(at(30))));
    // Whoever sends very many of them is counted early, and takes no more memory.
    for n in 0..1_000 {
        one.kernel.apply_ahead(&mut one.state, at(86_401 + n), at(40), &[input]);
    }
    assert_eq!((one.number(50), one.number(100_000)), (2.0 + 937.0, 1_003.0));
    assert!(one.kernel.encode(&one.state).len() < 1_000);
}

#[test]
fn a_pause_of_the_gap_belongs_to_the_session_and_one_longer_ends_it() {
    let mut one = One::new(Operation::SessionDuration { gap: seconds(30) }, None);
    assert_eq!(one.read(0), None, "nothing ever");
    for time in [100, 130, 161] {
        one.apply(time, InputValue::None);
    }
    assert_eq!(one.read(99), None, "none has begun");
    assert_eq!(one.number(130), 30.0);
    assert_eq!(one.number(160), 30.0);
    assert_eq!(one.number(161), 0.0, "a session of one event");
    assert_eq!(one.number(192), 0.0, "over");
    one.apply(131, InputValue::None);
    assert_eq!(one.number(161), 61.0, "the late event joins both");
}

#[test]
fn the_item_of_a_session_that_was_met_last_comes_first_and_of_equal_times_the_later_applied() {
    let mut one = One::new(Operation::SessionItems { gap: seconds(30), k: 2 }, None);
    let items = |items: [&str; 2]| Some(FeatureValue::Texts(items.map(str::to_owned).to_vec()));
    [(1, "a"), (2, "b"), (2, "c"), (2, "b")]
        .into_iter()
        .for_each(|(time, item)| one.apply(time, InputValue::Text(item)));
    assert_eq!(one.read(2), items(["b", "c"]));
    one.apply(0, InputValue::Text("b"));
    one.apply(1, InputValue::Text("d"));
    assert_eq!(one.read(2), items(["b", "c"]), "what comes late does not count as met last");
}

#[test]
fn events_before_the_sixteen_latest_sessions_are_dropped() {
    let mut one = One::new(Operation::SessionEventCount { gap: seconds(30) }, None);
    for time in (1..=17).map(|session| session * 1_000).chain([1_001]) {
        one.apply(time, InputValue::None);
    }
    assert_eq!(one.read(1_001), None);
    assert_eq!(one.number(2_000), 1.0);
}

#[test]
fn a_value_halves_with_each_half_life_and_is_forgotten_after_64() {
    let mut one = One::new(Operation::Decayed { half_life: seconds(10) }, None);
    one.apply(0, InputValue::Number(8.0));
    assert_eq!(one.number(0), 8.0);
    assert_eq!(one.number(10), 4.0);
    assert_eq!(one.number(30), 1.0);
    assert_eq!(one.number(640), 8.0 * 0.5_f64.powi(64));
    assert_eq!(one.number(660), 0.0);
}

#[test]
fn a_rate_without_events_is_its_prior_and_without_prior_null() {
    let role = |role| [Input { role, ..Input::default() }];
    for (prior, smoothed, empty) in [(8.0, Some(0.25), Some(0.125)), (0.0, Some(0.75), None)] {
        let mut one = One::new(Operation::Rate { prior, prior_mean: 0.125 }, Some(seconds(320)));
        assert_eq!(one.read(100), None, "nothing ever");
        for (input, times) in [(role(Role::Numerator), 3), (role(Role::Denominator), 4)] {
            (0..times).for_each(|_| assert_eq!(one.kernel.apply(&mut one.state, at(100), &input), 0));
        }
        let close = smoothed.map(|rate| if prior > 0.0 { (3.0 + 1.0) / 12.0 } else { rate });
        assert_eq!(one.read(100), close.map(FeatureValue::Number));
        assert_eq!(one.read(9_999), empty.map(FeatureValue::Number));
    }
}

#[test]
fn nothing_in_the_window_is_zero_for_counts_and_null_for_means() {
    for operation in [Operation::Count, Operation::Sum, Operation::Distinct] {
        let mut one = One::new(operation, Some(seconds(320)));
        assert_eq!(one.read(0), None, "nothing ever");
        one.apply(0, InputValue::Number(3.0));
        assert_eq!(one.number(9_999), 0.0);
    }
    for operation in [Operation::Mean, Operation::Min, Operation::Max, Operation::Variance, Operation::Last] {
        let mut one = One::new(operation, Some(seconds(320)));
        one.apply(0, InputValue::Number(3.0));
        assert!(one.read(0).is_some());
        assert_eq!(one.read(9_999), None);
    }
    let mut one = One::new(Operation::TopK { k: 3 }, Some(seconds(320)));
    one.apply(0, InputValue::Text("a"));
    assert_eq!(one.read(9_999), Some(FeatureValue::Map(vec![])));
}

#[test]
fn the_variance_is_that_of_the_population() {
    let mut one = One::new(Operation::Variance, None);
    [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|x| one.apply(0, InputValue::Number(x)));
    assert_eq!(one.number(0), 4.0);
}

#[test]
fn sums_saturate_and_never_become_infinite_or_nan() {
    let half_life = seconds(1);
    for operation in [Operation::Sum, Operation::Mean, Operation::Variance, Operation::Decayed { half_life }] {
        let mut one = One::new(operation, None);
        for value in [f64::MAX, f64::MAX, f64::MIN, f64::MAX, f64::MIN, f64::MIN, f64::MIN] {
            one.apply(0, InputValue::Number(value));
            assert!(one.number(0).is_finite());
        }
    }
}

#[test]
fn the_group_whose_latest_event_is_the_earliest_is_forgotten_first() {
    let mut one = One::grouped(Operation::Count, 2);
    for (time, group) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (0, "d")] {
        one.kernel.apply(&mut one.state, at(time), &[Input { group: Some(group), ..Input::default() }]);
    }
    assert_eq!(one.read(9), Some(FeatureValue::Map(vec![("a".to_owned(), 2.0), ("c".to_owned(), 1.0)])));
    assert_eq!(one.kernel.read_group(&one.state, 0, "a", at(9)), Some(2.0));
    assert_eq!(one.kernel.read_group(&one.state, 0, "b", at(9)), None);
}

#[test]
fn wrong_clocks_cannot_fill_memory() {
    let gap = seconds(30);
    for (operation, most) in [
        (Operation::Sum, 66 * 24),
        (Operation::Variance, 66 * 32),
        (Operation::LastK { k: 100 }, 104 * 32),
        (Operation::TimeSinceLast, 5 * 16),
        (Operation::SessionItems { gap, k: 100 }, 400 * 32),
    ] {
        let window = (!matches!(operation, Operation::SessionItems { .. })).then(|| seconds(320));
        let mut one = One::new(operation.clone(), window);
        for n in 0..10_000 {
            one.apply(n * 7_919 % 10_007 * 1_000, InputValue::Number(1.0));
        }
        let stored = one.kernel.encode(&one.state).len();
        assert!(stored < most, "{operation:?}: {stored} bytes");
    }
}

#[test]
fn what_is_not_as_the_operation_needs_it_is_refused_and_leaves_no_trace() {
    let mut one = One::new(Operation::Sum, None);
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let of = |value| Input { value, ..Input::default() };
    let bad = [
        of(InputValue::Number(f64::NAN)),
        of(InputValue::Number(f64::INFINITY)),
        of(InputValue::Text("7")),
        Input { feature: 1, ..Input::default() },
    ];
    assert_eq!(one.kernel.apply(&mut one.state, at(0), &bad), 4);
    assert_eq!(one.kernel.apply(&mut one.state, at(0), &[of(InputValue::None)]), 0, "NULL says nothing");
    assert!(one.state.is_empty());

    let mut one = One::new(Operation::Distinct, None);
    assert_eq!(one.kernel.apply(&mut one.state, at(0), &[of(InputValue::Text(&long))]), 1);
    let mut one = One::grouped(Operation::Count, 2);
    let grouped = |group| Input { group, ..Input::default() };
    assert_eq!(one.kernel.apply(&mut one.state, at(0), &[grouped(Some(&long)), grouped(None)]), 1);
    assert!(one.state.is_empty());
}

#[test]
fn impossible_definitions_are_refused_with_their_place() {
    let gap = seconds(30);
    let problem = |operation, window, groups| {
        let definitions = vec![definition(Operation::Count, None, None), definition(operation, window, groups)];
        let error = Kernel::new(definitions).unwrap_err();
        assert_eq!(error.feature, 1);
        error.problem
    };
    assert_eq!(problem(Operation::TopK { k: 0 }, None, None), DefinitionProblem::K(0));
    assert_eq!(problem(Operation::SessionItems { gap, k: 101 }, None, None), DefinitionProblem::K(101));
    assert_eq!(problem(Operation::SessionDuration { gap }, Some(gap), None), DefinitionProblem::Window);
    assert_eq!(problem(Operation::Decayed { half_life: gap }, Some(gap), None), DefinitionProblem::Window);
    assert_eq!(problem(Operation::LastK { k: 3 }, None, Some(3)), DefinitionProblem::NotGrouped);
    assert_eq!(problem(Operation::Count, None, Some(0)), DefinitionProblem::Groups { given: 0, most: 1_024 });
    assert_eq!(problem(Operation::Distinct, None, Some(65)), DefinitionProblem::Groups { given: 65, most: 64 });
    for prior in [-1.0, f64::NAN, f64::INFINITY] {
        let rate = Operation::Rate { prior, prior_mean: 1.0 };
        assert!(matches!(problem(rate, None, None), DefinitionProblem::Prior { .. }));
    }
    for window in [seconds(0), Window::from_millis(999), Window::from_days(36_501)] {
        assert!(matches!(problem(Operation::Count, Some(window), None), DefinitionProblem::Length { .. }));
    }
    let error = Kernel::new(vec![definition(Operation::TopK { k: 0 }, None, None)]).unwrap_err();
    assert_eq!(error.to_string(), "feature 0 (top_k): k is 0; give 1 to 100");
}
