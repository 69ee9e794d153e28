//! Where the feed of changes was, kept in the data folder over a restart. It is written after the changes are in the log, and never before:
//! what is lost with it is read again. It counts for the settings it was made with alone, since others see other items.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tastemaker_config::{Config, ItemsConfig};
use tastemaker_types::Timestamp;

const FILE: &str = "items-source.json";

/// The file.
#[derive(Debug, Clone)]
pub(super) struct WatermarkFile {
    path: PathBuf,
    settings: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    /// Which settings it was made with.
    settings: String,
    watermark: Timestamp,
}

impl WatermarkFile {
    pub(super) fn of(config: &Config) -> Self {
        Self { path: config.storage.data_dir.join(FILE), settings: fingerprint(&config.items) }
    }

    /// The watermark, if there is one of these settings. A file that cannot be read is as none: reading everything again is right, and
    /// takes a while.
    pub(super) fn read(&self) -> Option<Timestamp> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{}: {error}; all items are read again", self.path.display());
                return None;
            }
        };
        match serde_json::from_slice::<Content>(&content) {
            Ok(content) if content.settings == self.settings => Some(content.watermark),
            Ok(_) => {
                tracing::info!("the settings of the items' database are others than before; all items are read again");
                None
            }
            Err(error) => {
                tracing::warn!("{}: {error}; all items are read again", self.path.display());
                None
            }
        }
    }

    /// Replaces it in one step.
    pub(super) fn write(&self, watermark: Timestamp) -> io::Result<()> {
        let content = serde_json::to_vec(&Content { settings: self.settings.clone(), watermark })?;
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)
    }
}

/// What decides which items there are, and what of them is seen. Neither who reads nor how often does.
fn fingerprint(items: &ItemsConfig) -> String {
    let source = &items.source;
    let url = source.postgres.as_deref().unwrap_or_default();
    let server = url.rsplit_once('@').map_or(url, |(_, server)| server);
    let attributes: Vec<String> = items.attributes.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let columns: Vec<_> = source.columns.iter().collect();
    let (table, id, updated) = (&source.table, &source.id_column, &source.updated_at_column);
    let seen = format!("{:?}", (server, table, id, updated, &source.deleted_column, attributes, columns));
    Sha256::digest(seen).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &std::path::Path, url: &str, more: &str) -> WatermarkFile {
        let toml = format!("[items.attributes]\nprice = \"number\"\n[items.source]\npostgres = \"{url}\"\n{more}");
        let mut config = Config::parse(&toml).unwrap();
        config.storage.data_dir = folder.to_owned();
        WatermarkFile::of(&config)
    }

    #[test]
    fn it_is_read_as_written_and_counts_for_its_settings_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = Timestamp::from_micros(1_234_567);
        let url = "postgres://a@db/shop";
        let mine = file(folder.path(), url, "");
        assert_eq!(mine.read(), None);
        mine.write(at).unwrap();
        mine.write(at).unwrap();
        assert_eq!(mine.read(), Some(at));
        assert_eq!(file(folder.path(), "postgres://b:secret@db/shop", "poll_interval = \"1s\"").read(), Some(at));
        assert_eq!(file(folder.path(), "postgres://a@db/other", "").read(), None);
        assert_eq!(file(folder.path(), url, "table = \"goods\"").read(), None);
        assert_eq!(file(folder.path(), url, "columns = { price = \"cost\" }").read(), None);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(mine.read(), None);
    }
}
