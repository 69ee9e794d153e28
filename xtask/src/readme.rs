//! The README is a promise: this runs the commands that it shows in blocks marked `sh`, in order, in one shell, in an
//! empty folder, with `set -eu`. Blocks marked `console` are for reading only.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::shell::{self, command, root, target_dir};

/// Runs every checked command of the README.
pub(crate) fn run() -> anyhow::Result<()> {
    let readme = fs::read_to_string(root().join("README.md")).context("cannot read README.md")?;
    let script = checked_commands(&readme);
    ensure!(!script.trim().is_empty(), "README.md shows no command in a block marked `sh`");
    let dir = target_dir().join("readme");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    let status: &mut Command = &mut command("bash");
    shell::run(status.arg("-euc").arg(script).env("TASTEMAKER_README", "1").env("REPO", root()).env("SCRATCH", dir))
}

/// The text of all blocks marked `sh`, joined.
fn checked_commands(markdown: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line.trim_end() {
            "```sh" => inside = true,
            "```" => inside = false,
            command if inside => {
                script.push_str(command);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::checked_commands;

    #[test]
    fn only_blocks_marked_sh_are_run() {
        let markdown = "a\n```sh\none\ntwo\n```\nb\n```console\nthree\n```\n```sh\nfour\n```\n";
        assert_eq!(checked_commands(markdown), "one\ntwo\nfour\n");
    }
}
