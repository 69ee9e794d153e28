//! Which arrays an index keeps in its file, and how positions become rows at load.

use std::path::Path;

use super::{
    IndexError,
    codes::{Codes, stride},
    file::{self, IndexFile},
    memory::{Arena, Floats},
    vectors::Vectors,
};

const FLOATS: u32 = 1;
const CODES: u32 = 2;
const SCALES: u32 = 3;
const POSITIONS: u32 = 4;

/// Writes `vectors`, all of which have rows, and the `extra` sections of the kind of index.
pub(crate) fn save(path: &Path, vectors: &Vectors, extra: &[(u32, &[u8])]) -> Result<(), IndexError> {
    let mut sections: Vec<(u32, &[u8])> = vec![
        (CODES, bytemuck::cast_slice(vectors.codes.codes())),
        (SCALES, bytemuck::cast_slice(vectors.codes.scales())),
        (POSITIONS, bytemuck::cast_slice(&vectors.rows)),
    ];
    sections.extend_from_slice(extra);
    sections.push((FLOATS, bytemuck::cast_slice(vectors.floats.as_slice())));
    file::write(path, vectors.dim, vectors.len(), &sections)
}

/// Reads what [`save`] wrote; `graph` reads the extra sections.
pub(crate) fn load<G>(
    path: &Path,
    rows: Option<&[u32]>,
    graph: impl FnOnce(&IndexFile) -> Result<G, IndexError>,
) -> Result<(Vectors, G), IndexError> {
    let file = IndexFile::open(path)?;
    let (dim, nodes) = (file.dim, file.nodes);
    let values = nodes.checked_mul(dim).ok_or_else(|| file.corrupt("impossible size"))?;
    let scales: &[f32] = file.section(SCALES, nodes)?;
    if !scales.iter().all(|scale| (0.0..f32::MAX).contains(scale)) {
        return Err(file.corrupt("a vector's scale is not a positive number"));
    }
    let codes = Arena::copy_of(file.section(CODES, nodes * stride(dim))?)?;
    let codes =
        Codes::from_parts(dim, codes, Arena::copy_of(scales)?).ok_or_else(|| file.corrupt("impossible size"))?;
    let rows = map_rows(file.section(POSITIONS, nodes)?.to_vec(), rows)?;
    let graph = graph(&file)?;
    file.section::<f32>(FLOATS, values)?;
    let (map, offset) = file.into_map(FLOATS)?;
    Ok((Vectors { dim, codes, floats: Floats::Mapped { map, offset, len: values }, rows }, graph))
}

/// Replaces each position by its row.
pub(crate) fn map_rows(mut positions: Vec<u32>, rows: Option<&[u32]>) -> Result<Vec<u32>, IndexError> {
    if let Some(rows) = rows {
        for position in &mut positions {
            let row = rows.get(*position as usize);
            *position = *row.ok_or(IndexError::RowMap { position: *position, mapped: rows.len() })?;
        }
    }
    Ok(positions)
}
