//! A look at Redis before anything is served from it.

use std::sync::Arc;

use tastemaker_config::Config;
use tastemaker_redis::{Client, ServerHealth};

use crate::RemoteError;
use crate::meta::Meta;

/// How a project's Redis is.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// Host and port.
    pub server: String,
    /// Its servers together.
    pub health: ServerHealth,
    /// Whose data is under `redis.prefix`, if anyone's.
    pub project: Option<String>,
    /// The generation that serves.
    pub generation: Option<u64>,
}

/// Looks at the Redis of `storage.online`; nothing if the project serves from memory.
///
/// # Errors
/// It cannot be reached, does not let us in, or has no search module.
pub async fn inspect(config: &Config) -> Result<Option<Inspected>, RemoteError> {
    let Some(url) = &config.storage.online else { return Ok(None) };
    let client = Client::open(url, &config.redis, Arc::new(()))?;
    client.warm().await?;
    client.indexes().await?;
    let health = ServerHealth::together(&client.health().await?);
    let Meta { project, generation, .. } = Meta::read(&client).await?;
    Ok(Some(Inspected { server: client.server().to_owned(), health, project, generation }))
}
