//! What a system of record says of an item, whatever system that is.

use std::sync::Arc;

use async_trait::async_trait;
use tastemaker_types::{Attributes, Timestamp};

use crate::SourceError;

/// What is known of one id.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// When its row was last written, where the row says so.
    pub updated: Option<Timestamp>,
    /// What it is.
    pub state: State,
}

impl Known {
    /// No row.
    pub const ABSENT: Self = Self { updated: None, state: State::Absent };
}

/// Whether an item exists, and as what.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// With these attributes, each of its declared type.
    Present(Arc<Attributes>),
    /// There is no such item, or it was deleted.
    Absent,
    /// Its row cannot be an item, and why.
    Refused(Arc<str>),
}

/// A system of record.
#[async_trait]
pub trait Origin: Send + Sync + 'static {
    /// What it knows of each id, in their order. Called with no more ids than one query should have.
    async fn fetch(&self, ids: &[String]) -> Result<Vec<Known>, SourceError>;
}

#[async_trait]
impl<O: Origin> Origin for Arc<O> {
    async fn fetch(&self, ids: &[String]) -> Result<Vec<Known>, SourceError> {
        O::fetch(self, ids).await
    }
}
