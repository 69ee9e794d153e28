//! Being told of changes as they happen, by `NOTIFY`.

use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::{Notice, SourceError};

/// A connection that listens.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
}

impl Listener {
    pub(crate) async fn new(pool: &PgPool, channel: &str) -> Result<Self, sqlx::Error> {
        let mut inner = PgListener::connect_with(pool).await?;
        inner.eager_reconnect(false);
        inner.listen(channel).await?;
        Ok(Self { inner })
    }

    /// Waits for the next notice. May be dropped while it waits.
    ///
    /// # Errors
    /// The database is away.
    pub async fn next(&mut self) -> Result<Notice, SourceError> {
        match self.inner.try_recv().await {
            Ok(Some(notice)) => Ok(match notice.payload() {
                "" => Notice::Anything,
                id => Notice::Item(id.to_owned()),
            }),
            Ok(None) => Ok(Notice::Lost),
            Err(error) => Err(SourceError::of("", &error)),
        }
    }
}
