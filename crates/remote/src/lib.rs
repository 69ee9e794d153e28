//! Serving from Redis. One server has the event log and follows it into Redis ([`Follower`]); any number of others, which keep nothing of their own
//! but a model's files, answer from there ([`Remote`]). A request is two round trips: the user, then the nearest items and the popular ones. What they
//! return becomes a small [`World`](tastemaker_recommend::World), which is answered by the same stages as everything else, so that where data lives
//! changes no answer. How Redis is spoken to is `tastemaker-redis`'s business, what is served is `tastemaker-recommend`'s.

mod base;
mod error;
mod follow;
mod inspect;
mod items;
mod keep;
mod load;
mod meta;
mod model;
mod pending;
mod publish;
mod rebuild;
mod remote;
mod row;
mod writes;

pub use error::RemoteError;
pub use follow::{Follower, Lag};
pub use inspect::{Inspected, inspect};
pub use items::{Items, TierStats};
pub use model::{Models, PublishedModel};
pub use publish::{Published, publish};
pub use rebuild::{Rebuilt, rebuild};
pub use remote::{Remote, Standing, Within, degraded_by};
pub use tastemaker_redis::publish::{Progress, Step};
