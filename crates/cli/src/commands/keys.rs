//! `keys`: API keys. A key is 256 random bits, so a plain SHA-256 of it is enough to keep.

use std::io::{self, Write};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;
use tastemaker_config::ApiKey;

use crate::context::Context;
use crate::output::Report;

/// Make API keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key, print it once, and print the lines for tastemaker.toml
    #[command(after_help = "Example:\n  tastemaker keys create \"shop backend\" --scope read --scope write")]
    Create {
        /// Whose key it is; shown in logs
        name: String,
        /// What it may do; may be repeated
        #[arg(long, value_name = "SCOPE", default_value = "read")]
        scope: Vec<Scope>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Read,
    Write,
    Admin,
}

#[derive(Serialize)]
struct Created {
    name: String,
    key: String,
    hash: String,
    scopes: Vec<Scope>,
}

impl Report for Created {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "The key, which is stored nowhere and not shown again:\n")?;
        writeln!(out, "  {}\n", self.key)?;
        writeln!(out, "Clients send it as `Authorization: Bearer {}…`. For tastemaker.toml:\n", &self.key[..6])?;
        writeln!(out, "[[server.api_keys]]")?;
        writeln!(out, "name = {}", quoted(&self.name)?)?;
        writeln!(out, "hash = {}", quoted(&self.hash)?)?;
        writeln!(out, "scopes = {}", quoted(&self.scopes)?)
    }
}

/// As TOML writes it, which for texts and lists of texts is as JSON does.
fn quoted(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let Verb::Create { name, scope } = &args.verb;
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).context("the system gave no random numbers")?;
    let key = bytes.iter().fold("tm_".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    let hash = ApiKey::hash_of(&key);
    Ok(context.output.print(&Created { name: name.clone(), key, hash, scopes: scope.clone() })?)
}
