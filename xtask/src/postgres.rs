//! A PostgreSQL found on this machine, and the check that it runs. Where it comes from when there is none is `provision`'s business.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::shell::{on_path, output};

/// Names the folder of its programs to the tests, and to us when set by the caller.
pub(crate) const PROGRAMS: &str = "TASTEMAKER_POSTGRES";

/// What the tests run of it.
const NEEDED: [&str; 3] = ["initdb", "postgres", "psql"];

/// Where Debian puts a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The folder of its programs.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pub(crate) programs: PathBuf,
}

impl Postgres {
    /// The one that the caller's environment names; one that is named and does not work is an error.
    pub(crate) fn named() -> anyhow::Result<Option<Self>> {
        let Some(programs) = env::var_os(PROGRAMS) else { return Ok(None) };
        let postgres = Self { programs: programs.into() };
        postgres.check().with_context(|| format!("the PostgreSQL that {PROGRAMS} names does not work"))?;
        Ok(Some(postgres))
    }

    /// One that is installed and works.
    pub(crate) fn installed() -> Option<Self> {
        let versions = Path::new(VERSIONS).read_dir().into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        // The newest first, as far as names tell.
        folders.sort();
        folders.reverse();
        folders.extend(on_path("initdb").and_then(|program| program.parent().map(Path::to_owned)));
        folders.into_iter().map(|programs| Self { programs }).find(|postgres| postgres.check().is_ok())
    }

    /// Asks each program for its version, as the user whom the tests run it as: PostgreSQL refuses to run as root.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let root = output(Command::new("id").arg("-u"))?.trim_end() == "0";
        for name in NEEDED {
            let program = self.programs.join(name);
            let mut command = match root {
                false => Command::new(&program),
                true => {
                    let mut command = Command::new("setpriv");
                    command.args(["--reuid", "nobody", "--clear-groups", "--"]).arg(&program);
                    command
                }
            };
            let version = output(command.arg("--version").current_dir("/"))?;
            ensure!(version.contains("PostgreSQL"), "{} says of itself: {}", program.display(), version.trim_end());
        }
        Ok(())
    }
}

/// Prints what a shell evaluates to run single tests with `postgres`.
#[allow(clippy::print_stdout, reason = "the printed lines are the result")]
pub(crate) fn print(postgres: &Postgres) -> anyhow::Result<()> {
    println!("export {PROGRAMS}='{}'", postgres.programs.display());
    Ok(())
}
