//! Generations: immutable, versioned, checksummed directories of model files, and the one pointer that says which of
//! them serves. Publishing is one rename, promotion is one rename, and a crash between any two steps leaves the old
//! champion serving. What is inside of the files is the business of `models` and `store`, apart from the lists of ids
//! ([`IdList`]) that give the rows of their matrices a meaning.
//!
//! On disk, in the project's `generations` folder:
//!
//! ```text
//! CURRENT                     the champion and those before it (JSON)
//! 0000000007/manifest.json    what the generation is and the checksum of each of its files
//! 0000000007/manifest.sha256  the manifest's own checksum, as `sha256sum -c` reads it
//! 0000000007/item_ids …       the files named by the manifest
//! drafts/                     generations in the making; leftovers of a crash are swept by the next draft
//! ```

mod checksum;
mod draft;
mod durable;
mod error;
mod generation;
mod ids;
mod manifest;
mod pointer;
mod stamp;
mod store;

pub use draft::Draft;
pub use error::ArtifactError;
pub use generation::Generation;
pub use ids::{IdList, write_ids};
pub use manifest::{Evaluation, FileEntry, Lineage, Manifest, Metrics, ModelInfo, NewGeneration, Version};
pub use stamp::Stamp;
pub use store::{GenerationStore, Listed};

/// Item ids, in the order of the rows of [`ITEM_FACTORS`] and of the labels in [`INDEX`]; an [`IdList`].
pub const ITEM_IDS: &str = "item_ids";
/// Item factors, one row per item; a matrix file of `models`.
pub const ITEM_FACTORS: &str = "item_factors.f32";
/// User ids, in the order of the rows of [`USER_FACTORS`]; an [`IdList`].
pub const USER_IDS: &str = "user_ids";
/// User factors as trained, one row per user; a matrix file of `models`.
pub const USER_FACTORS: &str = "user_factors.f32";
/// The query encoder of `models` that turns a history into a user vector.
pub const ENCODER: &str = "encoder.bin";
/// The vector index of `store` over [`ITEM_FACTORS`], labelled by row.
pub const INDEX: &str = "index.hnsw";
