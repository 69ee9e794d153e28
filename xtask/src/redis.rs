//! A Redis server with its search module, found on this machine, and the check that the two work together. Where they
//! come from when there are none is `provision`'s business.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::shell::on_path;

/// Names the server's binary to the tests, and to us when set by the caller.
pub(crate) const SERVER: &str = "TASTEMAKER_REDIS_SERVER";
/// Names the search module's file, likewise.
pub(crate) const SEARCH: &str = "TASTEMAKER_REDISEARCH";

/// Where distributions of Redis 8 put the search module.
const MODULES: [&str; 3] = ["/usr/local/lib/redis/modules", "/usr/lib/redis/modules", "/opt/redis-stack/lib"];

/// A server and the module to load into it.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    /// `redis-server`.
    pub(crate) server: PathBuf,
    /// `redisearch.so`.
    pub(crate) search: PathBuf,
}

impl Redis {
    /// The one that the caller's environment names; one that is named and does not work is an error.
    pub(crate) fn named() -> anyhow::Result<Option<Self>> {
        match (env::var_os(SERVER), env::var_os(SEARCH)) {
            (Some(server), Some(search)) => {
                let redis = Self { server: server.into(), search: search.into() };
                redis.check().with_context(|| format!("the Redis that {SERVER} and {SEARCH} name does not work"))?;
                Ok(Some(redis))
            }
            (None, None) => Ok(None),
            _ => bail!("set both {SERVER} and {SEARCH}, or neither"),
        }
    }

    /// The one that is installed, if it is there and works.
    pub(crate) fn installed() -> Option<Self> {
        let server = on_path("redis-server")?;
        let modules = MODULES.iter().map(|dir| Path::new(dir).join("redisearch.so")).filter(|module| module.is_file());
        modules.map(|search| Self { server: server.clone(), search }).find(|redis| redis.check().is_ok())
    }

    /// Starts the server once and makes an index in it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let socket = env::temp_dir().join(format!("tastemaker-redis-{}.sock", std::process::id()));
        let mut server = Running(
            Command::new(&self.server)
                .args(["--port", "0", "--save", "", "--unixsocket"])
                .arg(&socket)
                .arg("--loadmodule")
                .arg(&self.search)
                .current_dir(env::temp_dir())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("cannot start {}", self.server.display()))?,
        );
        let mut stream = server.connect(&socket)?;
        for (command, expected) in [("PING", "+PONG"), ("FT.CREATE checked SCHEMA category TAG", "+OK")] {
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            let mut answer = String::new();
            BufReader::new(&stream).read_line(&mut answer)?;
            ensure!(
                answer.trim_end() == expected,
                "{} answered `{command}` with `{}`",
                self.server.display(),
                answer.trim_end()
            );
        }
        Ok(())
    }
}

/// Prints what a shell evaluates to run single tests with `redis`.
#[allow(clippy::print_stdout, reason = "the printed lines are the result")]
pub(crate) fn print(redis: &Redis) -> anyhow::Result<()> {
    println!("export {SERVER}='{}' {SEARCH}='{}'", redis.server.display(), redis.search.display());
    Ok(())
}

/// A server that stops when this is dropped.
struct Running(Child);

impl Running {
    /// Connects as soon as the server listens.
    fn connect(&mut self, socket: &Path) -> anyhow::Result<UnixStream> {
        let limit = Duration::from_secs(30);
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait()? {
                bail!("redis-server stopped with {status} before it listened");
            }
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(limit))?;
                return Ok(stream);
            }
            sleep(Duration::from_millis(20));
        }
        bail!("redis-server did not listen within {} s", limit.as_secs())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
