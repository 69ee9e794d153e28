//! The bundled MovieLens data (GroupLens, ml-latest-small), unpacked as files that a person can look at. Its licence is in
//! its README.txt, which goes wherever the data goes.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use fs_err as fs;

const RATINGS: &[u8] = include_bytes!("../../data/movielens-small/ratings.csv.gz");
const MOVIES: &[u8] = include_bytes!("../../data/movielens-small/movies.csv.gz");
const README: &[u8] = include_bytes!("../../data/movielens-small/README.txt");

/// The unpacked files.
#[derive(Debug)]
pub(crate) struct Files {
    /// `userId,movieId,rating,timestamp`.
    pub(crate) ratings: PathBuf,
    /// `movieId,title,genres,year`: the original with the year of the title in a column of its own.
    pub(crate) movies: PathBuf,
}

/// Writes the data under `dir`.
pub(crate) fn unpack(dir: &Path) -> Result<Files> {
    let folder = dir.join("movielens-small");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("README.txt"), README)?;
    let files = Files { ratings: folder.join("ratings.csv"), movies: folder.join("movies.csv") };
    let mut ratings = BufWriter::new(fs::File::create(&files.ratings)?);
    io::copy(&mut GzDecoder::new(RATINGS), &mut ratings).context("the bundled ratings cannot be unpacked")?;
    ratings.flush()?;
    let mut movies = String::new();
    GzDecoder::new(MOVIES).read_to_string(&mut movies).context("the bundled movies cannot be unpacked")?;
    fs::write(&files.movies, with_years(&movies))?;
    Ok(files)
}

/// Appends to each line of `movies.csv` the year that its title ends with. Only titles hold commas and quotes, and they
/// stand in the middle, so a line can be added to as it is.
fn with_years(movies: &str) -> String {
    let mut text = String::with_capacity(movies.len() + movies.len() / 10);
    for (at, line) in movies.lines().enumerate() {
        text.push_str(line);
        text.push(',');
        text.push_str(if at == 0 { "year" } else { year(line).unwrap_or_default() });
        text.push('\n');
    }
    text
}

/// The last `(1995)` of a line.
fn year(line: &str) -> Option<&str> {
    let end = line.rmatch_indices(')').map(|(at, _)| at);
    end.filter_map(|end| line.get(end.checked_sub(5)?..end)?.strip_prefix('('))
        .find(|year| year.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_those_in_the_titles() {
        assert_eq!(year("1,Toy Story (1995),Adventure|Children"), Some("1995"));
        assert_eq!(year("7,\"City of Lost Children, The (Cité des enfants perdus, La) (1995)\",Drama"), Some("1995"));
        assert_eq!(year("8,\"Paper, The (1994) \",(no genres listed)"), Some("1994"));
        assert_eq!(year("9,Babylon 5,Sci-Fi"), None);
    }

    #[test]
    fn the_bundled_data_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let files = unpack(dir.path()).unwrap();
        let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&files.ratings), lines(&files.movies)), (100_837, 9_743));
        assert!(dir.path().join("movielens-small/README.txt").exists());
    }
}
