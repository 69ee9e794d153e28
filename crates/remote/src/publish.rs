//! Publishing a generation: its vectors beside those that serve, its index, a check, and the flip of the alias.

use std::time::Duration;

use tastemaker_features::PortableUser;
use tastemaker_redis::publish::{Exact, Loaded, Progress, Publication, Publisher, Verified};
use tastemaker_redis::{Client, Operation, RedisError, cmd};

use crate::RemoteError;
use crate::follow::Follower;
use crate::meta::{Meta, PUBLISHING};
use crate::model::PublishedModel;
use crate::writes::fold_in;

const META: Operation = Operation::repeatable("meta");
/// Servers that follow look at `meta` each second: after this long they write vectors of the new generation, too.
const NOTICE: Duration = Duration::from_millis(2_500);
/// Users whose neighbours are compared with those of an exact search.
const SAMPLE: usize = 32;
/// The share of them that the index must find.
const LEAST_RECALL: f64 = 0.95;

/// What a publication did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The generation.
    pub version: u64,
    /// Its items.
    pub items: Loaded,
    /// Users whose vectors are of it.
    pub users: Loaded,
    /// How its index does.
    pub index: Verified,
    /// The one that served before.
    pub before: Option<u64>,
}

/// Publishes a generation, after everything else is in Redis. One that is there already is only flipped to.
///
/// # Errors
/// The generation's files are not here or not what they should be; Redis fails (doing it again goes on from there); the index does not find what it
/// should, and then the one before keeps serving.
pub async fn publish(
    follower: &Follower,
    version: u64,
    progress: impl FnMut(Progress) + Clone,
) -> Result<Published, RemoteError> {
    let (client, writes) = (follower.client(), follower.writes());
    let model = follower.model(version)?;
    let before = Meta::read(client).await?;
    set_publishing(client, Some(version)).await?;
    if before.whole && before.generation.is_some() {
        tokio::time::sleep(NOTICE).await;
    }
    follower.look().await?;
    follower.flush(|_| ()).await?;
    follower.advance().await?;

    let publisher = Publisher::new(client.clone(), publication(follower, &model))?;
    let users = writes.state().user_ids_after(None, usize::MAX >> 1);
    let vector = |id: &String| {
        let state = writes.state().export_user(id)?;
        fold_in(&PortableUser::decode(writes.state().features(), &state).ok()?, &model)
    };
    let mut exact = Exact::of(users.iter().filter_map(vector).take(SAMPLE));
    let catalog = writes.catalog().snapshot();
    let there = |id: &str| catalog.row(id).is_some_and(|row| catalog.alive(row));
    let factors = model.model().items().filter(|(id, _)| there(id));
    let items = publisher.load_items(factors, &mut exact, progress.clone()).await?;
    publisher.build_index(progress.clone()).await?;
    let index = publisher.verify(items.written + items.resumed, &exact, LEAST_RECALL).await?;
    publisher.flip().await?;
    let with_vectors = users.iter().filter_map(|id| Some((id.as_str(), vector(id)?)));
    let users = publisher.load_users(with_vectors, progress).await?;
    set_publishing(client, None).await?;
    follower.look().await?;
    Ok(Published { version, items, users, index, before: before.generation.filter(|before| *before != version) })
}

fn publication(follower: &Follower, model: &PublishedModel) -> Publication {
    Publication {
        generation: model.name(),
        dimension: model.model().manifest().model.rank,
        max_norm: model.longest(),
        attributes: follower.writes().catalog().attributes().clone(),
    }
}

async fn set_publishing(client: &Client, version: Option<u64>) -> Result<(), RedisError> {
    let key = client.layout().meta();
    let mut set = cmd(if version.is_some() { "HSET" } else { "HDEL" });
    set.arg(key).arg(PUBLISHING).arg(version);
    client.call(META, &set).await.map(|_| ())
}
