//! Where the client library of PostgreSQL is not built in: the same surface, of which nothing can be made.

use std::convert::Infallible;

use async_trait::async_trait;
use tastemaker_config::ItemsConfig;

use crate::origin::{Known, Origin};
use crate::{Cursor, Inspection, Notice, Page, SourceError};

/// A reader that this build does not have.
#[derive(Debug)]
pub struct Postgres(Infallible);

/// A connection that this build cannot make.
#[derive(Debug)]
pub struct Listener(Infallible);

fn missing() -> SourceError {
    SourceError::Setting {
        key: "items.source.postgres".to_owned(),
        reason: "this program was built without PostgreSQL; build it with `cargo build --release --features postgres`"
            .to_owned(),
    }
}

impl Postgres {
    /// Refuses.
    ///
    /// # Errors
    /// Always: how to get a build that can.
    pub fn check(_: &ItemsConfig) -> Result<(), SourceError> {
        Err(missing())
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always: how to get a build that can.
    pub fn new(_: &ItemsConfig) -> Result<Self, SourceError> {
        Err(missing())
    }

    /// There is nobody to ask.
    pub async fn changes(&self, _: &Cursor, _: usize) -> Result<Page, SourceError> {
        match self.0 {}
    }

    /// There is nobody to ask.
    pub async fn listen(&self, _: &str) -> Result<Listener, SourceError> {
        match self.0 {}
    }

    /// There is nobody to ask.
    pub async fn inspect(&self) -> Result<Inspection, SourceError> {
        match self.0 {}
    }
}

#[async_trait]
impl Origin for Postgres {
    async fn fetch(&self, _: &[String]) -> Result<Vec<Known>, SourceError> {
        match self.0 {}
    }
}

impl Listener {
    /// There is nobody to hear.
    pub async fn next(&mut self) -> Result<Notice, SourceError> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_it_says_how_to_get_one_with_it() {
        let error = Postgres::new(&ItemsConfig::default()).unwrap_err();
        assert!(error.to_string().contains("--features postgres"), "{error}");
        assert_eq!(error.key(), Some("items.source.postgres"));
    }
}
