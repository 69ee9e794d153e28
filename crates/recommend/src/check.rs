//! Whether a generation could serve: the checks of one that is about to, for whoever promotes it without a server.

use tastemaker_artifacts::{Generation, ITEM_IDS, IdList, USER_FACTORS, USER_IDS};
use tastemaker_models::Matrix;
use tastemaker_store::{Catalog, ItemChange};
use tastemaker_types::{AttributeSchema, Timestamp};

use crate::{GenerationError, ServingGeneration};

/// Checks `generation`, whose checksums were verified when it was opened, as a server does before it serves it, for a catalog
/// that knows all of its items.
///
/// # Errors
/// As [`ServingGeneration::load`].
pub fn check_generation(generation: &Generation) -> Result<(), GenerationError> {
    let version = generation.version().0;
    let artifact = |source| GenerationError::Artifact { version, source };
    let ids = IdList::read(&generation.file(ITEM_IDS).map_err(artifact)?).map_err(artifact)?;
    let catalog = Catalog::new(AttributeSchema::default());
    let seen: Vec<_> = ids.iter().map(|id| ItemChange::Seen { id, timestamp: Timestamp::EPOCH }).collect();
    catalog.apply(&seen);
    ServingGeneration::load(generation, &catalog).map(drop)
}

/// Checks the users' vectors, which no answer needs, but exports give out.
pub(crate) fn check_users(generation: &Generation) -> Result<(), GenerationError> {
    let manifest = generation.manifest();
    let version = manifest.version.0;
    if !manifest.files.iter().any(|file| file.name == USER_FACTORS) {
        return Ok(());
    }
    let artifact = |source| GenerationError::Artifact { version, source };
    let check = |what, found: usize, expected: usize| {
        let fits = found == expected;
        if fits { Ok(()) } else { Err(GenerationError::Mismatch { version, what, found, expected }) }
    };
    let ids = IdList::read(&generation.file(USER_IDS).map_err(artifact)?).map_err(artifact)?;
    let factors = Matrix::from_bytes(generation.map(USER_FACTORS).map_err(artifact)?)
        .map_err(|source| GenerationError::Model { version, file: USER_FACTORS, source })?;
    check("the number of user ids", ids.len(), manifest.model.users)?;
    check("the number of user vectors", factors.rows(), manifest.model.users)?;
    check("the length of the user vectors", factors.cols(), manifest.model.rank)
}
