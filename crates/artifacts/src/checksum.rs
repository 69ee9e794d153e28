//! SHA-256 of files and bytes as lower-case hex, streamed.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use fs_err::File;
use sha2::{Digest, Sha256};

use crate::ArtifactError;
use crate::error::Doing;

/// The checksum and size of the file at `path`.
pub(crate) fn of_file(path: &Path) -> Result<(String, u64), ArtifactError> {
    let mut file = File::open(path).doing("read a model file")?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).doing("read a model file")? {
            0 => return Ok((hex(&hasher.finalize()), bytes)),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// The checksum of `content`.
pub(crate) fn of_bytes(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_sha256sum() {
        assert_eq!(super::of_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
