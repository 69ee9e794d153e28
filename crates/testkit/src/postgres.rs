//! A real PostgreSQL, on a free port, for one test.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::free_port;

/// Whom the server runs as if we are root, which it refuses to.
const NOBODY: &str = "nobody";
const DATA: &str = "data";
const LOG: &str = "log";

/// A running `postgres` with a database of its own; killed when dropped.
#[derive(Debug)]
pub struct PostgresServer {
    child: Child,
    port: u16,
    /// Its files; deleted when it is dropped.
    folder: TempDir,
}

impl PostgresServer {
    /// With an empty database.
    ///
    /// # Panics
    /// If there is no PostgreSQL to start, or it does not answer within 30 seconds.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its permissions");
        let data = folder.path().join(DATA);
        std::fs::create_dir(&data).expect("a folder for the data");
        if is_root() {
            run(Command::new("chown").arg(NOBODY).arg(&data));
        }
        let mut initdb = program("initdb");
        initdb.args(["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]);
        run(initdb.arg("--pgdata").arg(&data));
        // Between our finding a free port and its taking it, another test may have it.
        let mut port = free_port();
        let mut server = Self { child: spawn(folder.path(), port), port, folder };
        for _ in 0..5 {
            if server.answers() {
                return server;
            }
            port = free_port();
            server.child = spawn(server.folder.path(), port);
            server.port = port;
        }
        panic!("postgres does not start:\n{}", server.log());
    }

    /// `postgres://USER@127.0.0.1:PORT/postgres`.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL as its owner, several statements in one transaction, and returns the rows with `|` between columns.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, sql: &str) -> String {
        let output = self.psql(sql);
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// What it has logged since it began, every statement among it.
    ///
    /// # Panics
    /// If there is no log.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join(LOG)).expect("a log");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in the middle of whatever it does, its connections too, as a machine that hangs.
    pub fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets it go on after [`PostgresServer::freeze`].
    pub fn thaw(&self) {
        self.signal_all("-CONT");
    }

    /// `kill -9` of all of it, and waits for the end. What was committed is kept.
    ///
    /// # Panics
    /// If that fails.
    pub fn kill(&mut self) {
        let children = self.children();
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        for child in children {
            signal("-KILL", &child);
        }
    }

    /// Starts it again on the same port after [`PostgresServer::kill`].
    ///
    /// # Panics
    /// If it does not answer within 30 seconds.
    pub fn restart(&mut self) {
        // The children of the one that was killed hold its memory until they have ended.
        for _ in 0..50 {
            self.child = spawn(self.folder.path(), self.port);
            if self.answers() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("postgres does not start again");
    }

    fn psql(&self, sql: &str) -> Output {
        let mut psql = program("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", "postgres"]);
        psql.args(["--dbname", "postgres", "--command", sql]).stdin(Stdio::null());
        psql.output().expect("psql starts")
    }

    /// Waits until it answers; false if it ended.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.child.try_wait().expect("the state of postgres").is_some() {
                return false;
            }
            if self.psql("SELECT 1").status.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("postgres does not answer");
    }

    fn signal_all(&self, name: &str) {
        for pid in self.children().into_iter().chain([self.pid().to_string()]) {
            signal(name, &pid);
        }
    }

    /// The processes of its connections and of its own work.
    fn children(&self) -> Vec<String> {
        let pid = self.pid();
        let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        listed.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        // It may have ended already, which is just as well. SIGINT ends its connections and then itself.
        signal("-INT", &self.pid().to_string());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join(LOG)).expect("a log");
    let mut postgres = program("postgres");
    postgres.arg("-D").arg(folder.join(DATA)).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    for setting in ["fsync=off", "shared_buffers=16MB", "log_statement=all", "max_connections=50"] {
        postgres.args(["-c", setting]);
    }
    postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts")
}

/// A program of PostgreSQL, as a user that it accepts.
fn program(name: &str) -> Command {
    let Some(folder) = std::env::var_os("TASTEMAKER_POSTGRES") else {
        panic!(
            "this test needs a real PostgreSQL: run `cargo xtask test`, which provides one, or set TASTEMAKER_POSTGRES to the \
             folder of its programs, such as /usr/lib/postgresql/15/bin"
        )
    };
    let program = PathBuf::from(folder).join(name);
    let mut command = match is_root() {
        false => Command::new(program),
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--clear-groups", "--"]).arg(program);
            command
        }
    };
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn signal(name: &str, pid: &str) {
    // A process that has just ended needs no signal.
    let _ = Command::new("kill").args([name, pid]).stderr(Stdio::null()).status();
}
