//! Which files make up a table, in which order, and what the names of their folders say (`date=2026-01-02`).

use std::path::{Path, PathBuf};

use fs_err as fs;
use percent_encoding::percent_decode_str;

use super::TableError;

/// The most files of one table: their footers are held in memory.
const MAX_FILES: usize = 100_000;
/// The deepest folder below the one that was given; a loop of links ends here.
const MAX_DEPTH: usize = 32;
/// How Hive and Spark write that a partition's value is null.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The Parquet files of a file, a folder (with all folders below it) or a pattern, in order of their paths. What starts with `_` or `.`
/// below a folder is not the table's: Spark leaves unfinished work there.
pub(super) fn expand(path: &str) -> Result<Vec<PathBuf>, TableError> {
    let mut files = Vec::new();
    let exact = Path::new(path);
    let found = if exact.exists() { vec![exact.to_owned()] } else { matches_of(path)? };
    for place in found {
        if place.is_dir() {
            walk(&place, 0, &mut files)?;
        } else {
            files.push(place);
        }
    }
    // A pattern may match a folder and the files in it.
    files.sort_unstable();
    files.dedup();
    match files.len() {
        0 => Err(TableError::NoFiles { path: path.to_owned() }),
        n if n > MAX_FILES => Err(TableError::TooManyFiles { path: path.to_owned(), max: MAX_FILES }),
        _ => Ok(files),
    }
}

fn matches_of(pattern: &str) -> Result<Vec<PathBuf>, TableError> {
    let paths =
        glob::glob(pattern).map_err(|e| TableError::Pattern { path: pattern.to_owned(), reason: e.to_string() })?;
    paths
        .take(MAX_FILES + 1)
        .map(|path| path.map_err(|e| TableError::Open { path: e.path().to_owned(), source: e.into() }))
        .collect()
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), TableError> {
    if depth > MAX_DEPTH || files.len() > MAX_FILES {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(TableError::open(folder))? {
        let path = entry.map_err(TableError::open(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(['_', '.']) {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            files.push(path);
        }
    }
    Ok(())
}

/// What the folder names of `path` say of `column`: `Some(None)` is a null, `None` that they say nothing.
pub(super) fn partition_value(path: &Path, column: &str) -> Option<Option<String>> {
    let folders = path.parent()?.components().rev();
    folders
        .filter_map(|folder| folder.as_os_str().to_str()?.split_once('='))
        .find(|(name, _)| *name == column)
        .map(|(_, value)| (value != HIVE_NULL).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_parquet_files_in_order_and_leaves_unfinished_work() {
        let dir = tempfile::tempdir().unwrap();
        let names =
            ["b.parquet", "date=2026-01-02/a.parquet", "_temporary/x.parquet", ".y.parquet", "_SUCCESS", "n.csv"];
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = dir.path().to_str().unwrap();
        let expected = vec![dir.path().join("b.parquet"), dir.path().join("date=2026-01-02/a.parquet")];
        assert_eq!(expand(root).unwrap(), expected);
        assert_eq!(expand(&format!("{root}/**/*.parquet")).unwrap().len(), 4, "a pattern means what it says");
        assert_eq!(expand(&format!("{root}/date=*")).unwrap(), expected[1..]);
        for nothing in ["_temporary/none", "*.orc"] {
            let error = expand(&format!("{root}/{nothing}")).unwrap_err().to_string();
            assert!(error.starts_with("no Parquet file at '"), "{error}");
        }
        assert!(expand("a***b").unwrap_err().to_string().contains("is no valid pattern"));
    }

    #[test]
    fn folder_names_are_values() {
        let path = Path::new("t/country=de/tag=a%2Fb/empty=__HIVE_DEFAULT_PARTITION__/x=1.parquet");
        assert_eq!(partition_value(path, "country"), Some(Some("de".to_owned())));
        assert_eq!(partition_value(path, "tag"), Some(Some("a/b".to_owned())));
        assert_eq!(partition_value(path, "empty"), Some(None));
        assert_eq!(partition_value(path, "x"), None);
    }
}
