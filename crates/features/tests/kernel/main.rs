//! The aggregation kernel against a slow and obvious reference, and at its edges.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod edges;
mod properties;
mod reference;
mod stored;

use tastemaker_features::kernel::{Definition, EntityState, Input, InputValue, Kernel, Operation};
use tastemaker_types::{FeatureValue, Timestamp, Window};

fn seconds(seconds: i64) -> Window {
    Window::from_micros(seconds * 1_000_000)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn definition(operation: Operation, window: Option<Window>, groups: Option<u32>) -> Definition {
    Definition { operation, window, groups, inputs: "events = click".to_owned() }
}

/// One feature and what it has seen.
struct One {
    kernel: Kernel,
    state: EntityState,
}

impl One {
    fn new(operation: Operation, window: Option<Window>) -> Self {
        let kernel = Kernel::new(vec![definition(operation, window, None)]).unwrap();
        Self { kernel, state: EntityState::default() }
    }

    fn grouped(operation: Operation, groups: u32) -> Self {
        let kernel = Kernel::new(vec![definition(operation, None, Some(groups))]).unwrap();
        Self { kernel, state: EntityState::default() }
    }

    fn apply(&mut self, time: i64, value: InputValue<'_>) {
        let refused = self.kernel.apply(&mut self.state, at(time), &[Input { value, ..Input::default() }]);
        assert_eq!(refused, 0);
    }

    fn read(&self, now: i64) -> Option<FeatureValue> {
        self.kernel.read(&self.state, 0, at(now))
    }

    /// The value at `now`, for features that are numbers and not NULL.
    fn number(&self, now: i64) -> f64 {
        let Some(FeatureValue::Number(number)) = self.read(now) else { panic!("{:?}", self.read(now)) };
        number
    }
}
