//! The README is a promise: this runs the commands that it shows in blocks marked `sh`, in order, each with `bash -eu`.
//! Blocks that call cargo run in the repository, the others in an empty folder with the built binary on the PATH. Blocks
//! marked `console` are for reading only.

use std::env;
use std::ffi::OsString;
use std::fs;

use anyhow::{Context, ensure};

use crate::shell::{self, cargo, command, root, target_dir};

/// Runs every checked block of the README.
pub(crate) fn run() -> anyhow::Result<()> {
    let readme = fs::read_to_string(root().join("README.md")).context("cannot read README.md")?;
    let blocks = checked_blocks(&readme);
    ensure!(!blocks.is_empty(), "README.md shows no command in a block marked `sh`");
    shell::run(cargo().args(["build", "--release"]))?;
    let scratch = target_dir().join("readme");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    for block in blocks {
        let folder = if block.contains("cargo ") { root() } else { scratch.clone() };
        shell::run(command("bash").arg("-euc").arg(block).env("PATH", path()?).current_dir(folder))?;
    }
    Ok(())
}

/// The PATH, with the release build first.
fn path() -> anyhow::Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(target_dir().join("release")).chain(env::split_paths(&rest));
    Ok(env::join_paths(folders)?)
}

/// The text of each block marked `sh`.
fn checked_blocks(markdown: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line.trim_end() {
            "```sh" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            command if inside => {
                if let Some(block) = blocks.last_mut() {
                    block.push_str(command);
                    block.push('\n');
                }
            }
            _ => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::checked_blocks;

    #[test]
    fn only_blocks_marked_sh_are_run() {
        let markdown = "a\n```sh\none\ntwo\n```\nb\n```console\nthree\n```\n```sh\nfour\n```\n";
        assert_eq!(checked_blocks(markdown), ["one\ntwo\n", "four\n"]);
    }
}
