//! Publishing a generation: its vectors beside those that serve, its index, a check, and the flip of the alias. The one before stays for
//! `redis.retire_after`, so that going back to it is a flip alone.

use std::time::Duration;

use tastemaker_features::PortableUser;
use tastemaker_redis::layout::meta;
use tastemaker_redis::publish::{Exact, Loaded, Progress, Publication, Publisher, Verified};
use tastemaker_redis::{Client, Operation, RedisError, Value, cmd};
use tastemaker_types::Timestamp;

use crate::RemoteError;
use crate::follow::Follower;
use crate::meta::{Meta, PUBLISHED, PUBLISHING, RETIRED};
use crate::model::PublishedModel;
use crate::writes::fold_in;

const META: Operation = Operation::repeatable("meta").bulk();
/// A server that follows looks at `meta` each second: after this long it writes vectors of the new generation, too.
const NOTICE: Duration = Duration::from_millis(2_500);
/// Users whose neighbours are compared with those of an exact search.
const SAMPLE: usize = 32;
/// The share of them that the index must find.
const LEAST_RECALL: f64 = 0.97;

type BoxedIter<'a, T> = Box<dyn Iterator<Item = T> + Send + 'a>;

/// What a publication did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The generation.
    pub version: u64,
    /// Its items; none if it was in Redis already.
    pub items: Option<Loaded>,
    /// How its index does; none if it was in Redis already.
    pub index: Option<Verified>,
    /// Users whose vectors are of it.
    pub users: Loaded,
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
    if before.generation.is_some() && !follower.running() {
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
    let (items, index) = if is_published(client, version).await? {
        (None, None)
    } else {
        let mut exact = Exact::of(users.iter().filter_map(vector).take(SAMPLE));
        let catalog = writes.catalog().snapshot();
        let there = |id: &str| catalog.row(id).is_some_and(|row| catalog.alive(row));
        // Boxed, since the compiler cannot tell otherwise that this future may change threads.
        let factors: BoxedIter<'_, (&str, &[f32])> = Box::new(model.model().items().filter(|(id, _)| there(id)));
        let items = publisher.load_items(factors, &mut exact, progress.clone()).await?;
        publisher.build_index(progress.clone()).await?;
        let index = publisher.verify(items.written + items.resumed, &exact, LEAST_RECALL).await?;
        note_published(client, version, index.ef_runtime).await?;
        (Some(items), Some(index))
    };
    publisher.flip().await?;
    let again = before.generation == Some(version);
    let before = before.generation.filter(|before| *before != version);
    note_flip(client, version, before).await?;
    follower.look().await?;
    // What somebody else wrote later has a vector of the same generation, unless that changes now.
    let through = writes.state().position().filter(|_| again);
    let with_vectors: BoxedIter<'_, (&str, Vec<f32>)> =
        Box::new(users.iter().filter_map(|id| Some((id.as_str(), vector(id)?))));
    let users = publisher.load_users(with_vectors, through, progress).await?;
    set_publishing(client, None).await?;
    Ok(Published { version, items, index, users, before })
}

/// Removes generations whose time to stay is over. Says which.
///
/// # Errors
/// Redis fails; doing it again goes on from there.
pub(crate) async fn retire(follower: &Follower) -> Result<Vec<u64>, RemoteError> {
    let client = follower.client();
    let stays = client.config().retire_after;
    let over = Timestamp::now().minus(stays).as_micros();
    let mut removed = Vec::new();
    for (version, since) in Meta::of_generations(client, RETIRED).await? {
        if since > over {
            continue;
        }
        let attributes = follower.writes().catalog().attributes().clone();
        let publication = Publication { generation: version.to_string(), dimension: 1, max_norm: 1.0, attributes };
        let catalog = follower.writes().catalog().snapshot();
        let alive = (0..catalog.len() as u32).filter(|row| catalog.alive(*row));
        let ids: BoxedIter<'_, String> = Box::new(alive.filter_map(|row| catalog.id(row).map(|id| id.to_string())));
        Publisher::new(client.clone(), publication)?.remove(ids, |_| ()).await?;
        let mut forget = cmd("HDEL");
        forget.arg(client.layout().meta()).arg(format!("{RETIRED}{version}")).arg(format!("{PUBLISHED}{version}"));
        client.call(META, &forget).await?;
        removed.push(version);
    }
    Ok(removed)
}

fn publication(follower: &Follower, model: &PublishedModel) -> Publication {
    Publication {
        generation: model.name(),
        dimension: model.model().manifest().model.rank,
        max_norm: model.longest(),
        attributes: follower.writes().catalog().attributes().clone(),
    }
}

/// Whether a generation was loaded whole and is not removed yet.
async fn is_published(client: &Client, version: u64) -> Result<bool, RedisError> {
    let mut get = cmd("HEXISTS");
    get.arg(client.layout().meta()).arg(format!("{PUBLISHED}{version}"));
    let noted = client.call(META, &get).await? == Value::Int(1);
    let index = client.layout().index(&version.to_string());
    match client.index_info(&index).await {
        Ok(_) => Ok(noted),
        Err(RedisError::NoIndex { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Notes that a generation is whole and found, and with which breadth of the search; before anything is answered from it.
async fn note_published(client: &Client, version: u64, ef_runtime: usize) -> Result<(), RedisError> {
    let mut set = cmd("HSET");
    set.arg(client.layout().meta()).arg(format!("{PUBLISHED}{version}")).arg(ef_runtime);
    client.call(META, &set).await.map(|_| ())
}

/// The breadth that a generation's index needs; none is the configured one.
pub(crate) async fn ef_runtime(client: &Client, version: u64) -> Result<Option<usize>, RedisError> {
    let mut get = cmd("HGET");
    get.arg(client.layout().meta()).arg(format!("{PUBLISHED}{version}"));
    let Value::BulkString(breadth) = client.call(META, &get).await? else { return Ok(None) };
    Ok(std::str::from_utf8(&breadth).ok().and_then(|breadth| breadth.parse().ok()))
}

/// Has a generation serve no longer whose index is gone.
pub(crate) async fn unpublish(client: &Client, version: u64) -> Result<(), RemoteError> {
    let mut forget = cmd("HDEL");
    forget.arg(client.layout().meta()).arg(meta::GENERATION).arg(format!("{PUBLISHED}{version}"));
    client.call(META, &forget).await?;
    Ok(())
}

async fn note_flip(client: &Client, version: u64, before: Option<u64>) -> Result<(), RedisError> {
    let key = client.layout().meta();
    if let Some(before) = before {
        let mut set = cmd("HSET");
        set.arg(&key).arg(format!("{RETIRED}{before}")).arg(Timestamp::now().as_micros());
        client.call(META, &set).await?;
    }
    let mut stays = cmd("HDEL");
    stays.arg(&key).arg(format!("{RETIRED}{version}"));
    client.call(META, &stays).await.map(|_| ())
}

async fn set_publishing(client: &Client, version: Option<u64>) -> Result<(), RedisError> {
    let key = client.layout().meta();
    let mut set = cmd(if version.is_some() { "HSET" } else { "HDEL" });
    set.arg(key).arg(PUBLISHING).arg(version);
    client.call(META, &set).await.map(|_| ())
}
