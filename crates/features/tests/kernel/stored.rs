//! State as bytes: what is refused, and that nothing panics.

use proptest::prelude::*;
use tastemaker_features::kernel::StateError;

use super::*;

/// Format, fingerprint, checksum.
const HEADER: usize = 1 + 8 + 4;

fn definitions() -> Vec<Definition> {
    use Operation as O;
    let gap = seconds(30);
    let window = Some(seconds(320));
    vec![
        definition(O::Count, window, None),
        definition(O::Sum, window, Some(8)),
        definition(O::Mean, window, None),
        definition(O::Min, None, Some(8)),
        definition(O::Max, window, None),
        definition(O::Variance, window, None),
        definition(O::LastK { k: 3 }, None, None),
        definition(O::Distinct, window, None),
        definition(O::Distinct, None, None),
        definition(O::TopK { k: 3 }, window, None),
        definition(O::TimeSinceLast, None, None),
        definition(O::SessionItems { gap, k: 3 }, None, None),
        definition(O::Decayed { half_life: gap }, None, Some(2)),
    ]
}

fn apply(kernel: &Kernel, state: &mut EntityState, events: i64) {
    for n in 0..events {
        let value = InputValue::Number((n % 700) as f64);
        let group = Some(if n % 3 == 0 { "a" } else { "b" });
        let input = |feature| Input { feature, value, group, ..Input::default() };
        let inputs: Vec<_> = (0..kernel.len() as u16).map(input).collect();
        assert_eq!(kernel.apply(state, at(n * 13), &inputs), 0);
    }
}

fn read_all(kernel: &Kernel, state: &EntityState) -> Vec<Option<FeatureValue>> {
    let mut values = vec![];
    kernel.read_all(state, at(5_000), &mut values);
    values
}

#[test]
fn the_fingerprint_is_the_same_in_every_process_and_another_for_every_change() {
    let fingerprint = |change: fn(&mut Vec<Definition>)| {
        let mut definitions = definitions();
        change(&mut definitions);
        Kernel::new(definitions).unwrap().fingerprint()
    };
    let same = fingerprint(|_| ());
    assert_eq!(same, 12_882_946_357_920_197_696, "frozen: stored state of older versions must stay readable");
    let changed: [fn(&mut Vec<Definition>); 7] = [
        |all| all[0].window = None,
        |all| all[0].groups = Some(1),
        |all| all[0].inputs.push('!'),
        |all| all[0].operation = Operation::Sum,
        |all| all[6].operation = Operation::LastK { k: 4 },
        |all| all.swap(0, 1),
        |all| drop(all.pop()),
    ];
    for (place, change) in changed.into_iter().enumerate() {
        assert_ne!(fingerprint(change), same, "change {place}");
    }
}

#[test]
fn state_of_other_definitions_or_another_format_is_refused() {
    let kernel = Kernel::new(definitions()).unwrap();
    let mut state = EntityState::default();
    apply(&kernel, &mut state, 50);
    let mut bytes = kernel.encode(&state);
    assert_eq!(kernel.decode(&bytes).unwrap(), state);

    let mut changed = definitions();
    changed[3].inputs = "events = purchase".to_owned();
    let other = Kernel::new(changed).unwrap();
    let expected = StateError::Definitions { found: kernel.fingerprint(), expected: other.fingerprint() };
    assert_eq!(other.decode(&bytes), Err(expected));

    bytes[0] = 9;
    assert_eq!(kernel.decode(&bytes), Err(StateError::Format(9)));
}

#[test]
fn state_that_is_cut_or_changed_anywhere_is_refused() {
    let kernel = Kernel::new(definitions()).unwrap();
    let mut state = EntityState::default();
    apply(&kernel, &mut state, 30);
    let bytes = kernel.encode(&state);
    for length in 0..bytes.len() {
        assert_eq!(kernel.decode(&bytes[..length]), Err(StateError::Damaged), "{length} bytes");
    }
    for place in 1 + 8..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert_eq!(kernel.decode(&changed), Err(StateError::Damaged), "byte {place}");
    }
}

#[test]
fn a_replay_goes_on_from_stored_state_to_the_same_bits() {
    let kernel = Kernel::new(definitions()).unwrap();
    let (mut whole, mut resumed) = (EntityState::default(), EntityState::default());
    apply(&kernel, &mut resumed, 1_000);
    resumed = kernel.decode(&kernel.encode(&resumed)).unwrap();
    apply(&kernel, &mut resumed, 1_000);
    apply(&kernel, &mut whole, 1_000);
    apply(&kernel, &mut whole, 1_000);
    assert_eq!(kernel.encode(&resumed), kernel.encode(&whole));
    assert_eq!(read_all(&kernel, &resumed), read_all(&kernel, &whole));
}

/// A body behind a header that is right.
fn with_header(kernel: &Kernel, body: &[u8]) -> Vec<u8> {
    let mut bytes = kernel.encode(&EntityState::default())[..HEADER - 4].to_vec();
    bytes.extend(crc32c::crc32c(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

proptest! {
    /// Even when someone made the checksum right, nothing panics: not decoding, and not what is done with the state if it decodes.
    #[test]
    fn garbage_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let kernel = Kernel::new(definitions()).unwrap();
        let mut state = EntityState::default();
        apply(&kernel, &mut state, 20);
        let mut body = kernel.encode(&state)[HEADER..].to_vec();
        for (place, value) in changes {
            let place = place.index(body.len());
            body[place] = value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        for body in [&body, &noise] {
            let _ = kernel.decode(body);
            if let Ok(mut damaged) = kernel.decode(&with_header(&kernel, body)) {
                for value in read_all(&kernel, &damaged).into_iter().flatten() {
                    prop_assert!(!matches!(value, FeatureValue::Number(number) if !number.is_finite()));
                }
                apply(&kernel, &mut damaged, 20);
                kernel.merge(&mut state, &damaged);
                kernel.merge(&mut damaged, &state);
                read_all(&kernel, &damaged);
                kernel.encode(&damaged);
            }
        }
    }
}
