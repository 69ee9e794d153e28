//! Starts and stops the real binary on a project folder.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::{Connection, get};

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// How long it took until it was ready.
    pub(crate) start_up: Duration,
}

/// Runs `tastemaker ARGS` on the project and waits for it.
pub(crate) fn tastemaker(binary: &Path, project: &Path, args: &[&str]) -> anyhow::Result<()> {
    let start = Instant::now();
    let status = Command::new(binary).args(args).current_dir(project).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", binary.display()))?;
    ensure!(status.success(), "`tastemaker {}` failed: {status}", args.join(" "));
    eprintln!("tastemaker {}: {:.1} s", args.join(" "), start.elapsed().as_secs_f64());
    Ok(())
}

impl Server {
    /// Starts the server on a free port of loopback and waits until it is ready.
    pub(crate) async fn start(binary: &Path, project: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = File::options().create(true).append(true).open(project.join("server.log"))?;
        let begin = Instant::now();
        let child = Command::new(binary)
            .args(["serve", "--listen", &address.to_string(), "--set", "logging.level=warn"])
            .current_dir(project)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, address, start_up: Duration::ZERO };
        let limit = Duration::from_secs(600);
        while begin.elapsed() < limit {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server stopped with {status}; see {}", project.join("server.log").display());
            }
            let mut connection = Connection::new(address);
            if connection.send(&get("/health/ready")).await.is_ok_and(|status| status == 200) {
                server.start_up = begin.elapsed();
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server was not ready within {} s", limit.as_secs())
    }

    /// Resident memory in MiB, from `/proc`.
    pub(crate) fn resident_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{}/status", self.child.id()))).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
