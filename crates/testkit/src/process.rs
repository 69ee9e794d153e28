//! A real server process: the built binary on a free port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Client;

/// A running `tastemaker serve`; killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: String,
}

impl ServerProcess {
    /// Starts `binary serve` on the project file `config` and waits until it answers. What it logs goes to `log`.
    ///
    /// # Panics
    /// If it does not answer within a minute.
    pub async fn start(binary: &Path, config: &Path, log: &Path) -> Self {
        let address = free_address();
        let output = std::fs::File::options().create(true).append(true).open(log).expect("a log file");
        let child = Command::new(binary)
            .arg("serve")
            .args(["--listen", &address])
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the server binary starts");
        let mut server = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(60);
        let client = server.client();
        loop {
            if let Ok(answer) = client.try_send(hyper::Method::GET, "/health/ready", None).await
                && answer.status.is_success()
            {
                return server;
            }
            if let Some(status) = server.child.try_wait().expect("the state of the server") {
                panic!("the server ended ({status}):\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
            assert!(Instant::now() < deadline, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Panics
    /// If that fails.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Panics
    /// If that fails.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "SIGTERM was not sent");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If it does not end within `limit`.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of the server") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server is still running after {limit:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on which nobody listens at this moment.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// A port on which nobody listens at this moment.
pub(crate) fn free_port() -> u16 {
    free_address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}
