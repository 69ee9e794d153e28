//! A project in a temporary folder, and the binary run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Users of [`Project::with_events`].
pub(crate) const USERS: usize = 60;
/// Its items.
pub(crate) const ITEMS: usize = 40;

const SETTINGS: &str = r#"
[items.attributes]
title = "text"
parity = "tag"
number = "number"

[embeddings]
rank = 8
iterations = 5

[training]
holdout = 0.3
metrics_at = 5
"#;

pub(crate) struct Project {
    dir: TempDir,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The output of a run that went well and had nothing to complain about.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "stdout: {}", self.stdout);
        self.stdout
    }

    /// The document of a run with `--json` that went well.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// The message of a run that failed with this status and printed nothing else.
    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "stderr: {}", self.stderr);
        self.stderr
    }
}

impl Project {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A project without data.
    pub(crate) fn new() -> Self {
        let project = Self::empty();
        project.write("tastemaker.toml", SETTINGS);
        project
    }

    /// A project whose even users like even items and odd users odd ones.
    pub(crate) fn with_events() -> Self {
        let project = Self::new();
        project.write("items.csv", &items());
        project.write("events.csv", &events());
        project.run(&["import", "items", "items.csv"]).ok();
        project.run(&["import", "events", "events.csv", "--type", "click"]).ok();
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.file(name), content).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tastemaker"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TASTEMAKER_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(self.command(arguments).output().unwrap())
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

pub(crate) fn items() -> String {
    (0..ITEMS).fold("item,title,parity,number,warehouse\n".to_owned(), |text, item| {
        let parity = if item % 2 == 0 { "even" } else { "odd" };
        text + &format!("i{item},Number {item},{parity},{item},north\n")
    })
}

pub(crate) fn events() -> String {
    let mut text = "user,item,timestamp\n".to_owned();
    for day in 0..12 {
        for user in 0..USERS {
            let item = (user % 2) + 2 * ((user * 7 + day * 3) % (ITEMS / 2));
            text += &format!("u{user},i{item},{}\n", 1_700_000_000 + day * 86_400 + user);
        }
    }
    text
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until `done` holds; panics after half a minute.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what} did not happen");
}
