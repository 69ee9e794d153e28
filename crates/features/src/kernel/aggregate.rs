//! The shape of every streaming feature.

use tastemaker_types::Timestamp;

/// A feature as a state machine over a stream of facts. The same `apply` and `read` run live and in a replay of the log, so what a model
/// is trained on and what it is served with cannot differ. Definitions hold settings only; all that changes is in the state.
pub trait Aggregate {
    /// One fact, already reduced to what the feature needs of it.
    type Input;
    /// What is remembered of one entity.
    type State: Default;
    /// What a read gives.
    type Output<'a>
    where
        Self: 'a;

    /// Takes one fact in. Facts may come in any order of their timestamps.
    fn apply(&self, state: &mut Self::State, input: Self::Input);

    /// The value at `now`. Windows move with `now` alone: no fact is needed for them to.
    fn read<'a>(&'a self, state: &'a Self::State, now: Timestamp) -> Self::Output<'a>;
}
