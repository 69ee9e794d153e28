//! The `tastemaker` binary: parses the command line, runs one verb, and says what went wrong. What the verbs do is the
//! business of the other crates; here is how it looks to a person at a terminal.

mod args;
mod commands;
mod context;
mod demo;
mod importing;
mod interrupt;
mod logging;
mod materializing;
mod output;
mod progress;
#[cfg(feature = "sql")]
mod querying;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::context::Context;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A closed pipe is no reason to complain.
            let _ = error.print();
            return if help { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let json = cli.global.json;
    match commands::run(cli.verb, &Context::new(cli.global)) {
        Ok(status) => status,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&message(&error), json);
            if interrupt::interrupted() { ExitCode::from(interrupt::EXIT_STATUS) } else { ExitCode::FAILURE }
        }
    }
}

/// The reader of our output has gone, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<std::io::Error>() {
        Some(error) => Some(error.kind()),
        None => cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind),
    };
    error.chain().any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

/// The error and its causes in one message; a cause that the error quotes already is not said twice.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut text, cause| {
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.has_subcommands() {
                command.get_subcommands().for_each(|verb| check(verb, &path));
            } else {
                let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(after.contains("Example") && after.contains(path.trim()), "no example in `{path} --help`");
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full").context("could not write x: disk full").context("import failed");
        assert_eq!(message(&error), "import failed: could not write x: disk full");
    }
}
