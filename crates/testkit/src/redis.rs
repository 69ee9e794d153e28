//! A real Redis with its search module, on a free port, for one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::free_port;

/// A running `redis-server` that keeps nothing on disk; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    /// Its files; deleted when it is dropped.
    _folder: TempDir,
}

/// What a test needs beside a Rust toolchain.
fn provisioned(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!(
            "this test needs a real Redis with its search module: run `cargo xtask test`, which provides one, or set \
             TASTEMAKER_REDIS_SERVER to a redis-server and TASTEMAKER_REDISEARCH to a redisearch.so"
        ),
    }
}

impl RedisServer {
    /// With the search module, and with more command-line arguments such as `["--maxmemory", "20mb"]`.
    ///
    /// # Panics
    /// If there is no Redis to start, or it does not answer within 20 seconds.
    pub fn start(arguments: &[&str]) -> Self {
        let module = provisioned("TASTEMAKER_REDISEARCH");
        let module = module.to_str().expect("a path in UTF-8");
        Self::start_bare(&[&["--loadmodule", module], arguments].concat())
    }

    /// Without any module.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_bare(arguments: &[&str]) -> Self {
        Self::launch(|port, folder| {
            let own = [
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                folder,
            ];
            own.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
        })
    }

    /// A sentinel that watches over `master` by this name, and is alone in deciding.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn sentinel(master: &Self, name: &str) -> Self {
        Self::launch(|port, folder| {
            let file = format!("{folder}/sentinel.conf");
            let settings = format!(
                "port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {name} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 2000\n",
                master.port
            );
            std::fs::write(&file, settings).expect("a file of settings");
            vec![file, "--sentinel".to_owned()]
        })
    }

    fn launch(arguments: impl Fn(u16, &str) -> Vec<String>) -> Self {
        // Between our finding a free port and Redis's taking it, another test may have it.
        for _ in 0..5 {
            let port = free_port();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let arguments = arguments(port, folder.path().to_str().expect("a path in UTF-8"));
            let mut server = Self { child: spawn(&arguments), port, arguments, _folder: folder };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server does not start; its arguments: {:?}", arguments(7777, "/tmp"));
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in the middle of whatever it does, as a machine that hangs: connections stay, answers do not come.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`RedisServer::freeze`].
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// `kill -9`, and waits for the end. Everything in it is lost.
    ///
    /// # Panics
    /// If that fails.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Starts it again, empty, on the same port after [`RedisServer::kill`].
    ///
    /// # Panics
    /// If it does not answer within 20 seconds.
    pub fn restart(&mut self) {
        self.child = spawn(&self.arguments);
        assert!(self.answers(), "redis-server does not start again");
    }

    /// Sends a command of words without spaces and returns the first part of the raw answer: for settings that a test changes.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn raw(&self, command: &str) -> String {
        self.try_raw(command).expect("an answer")
    }

    fn try_raw(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Waits until it answers; false if it ended. Any answer will do: one that wants a password is one.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.child.try_wait().expect("the state of redis-server").is_some() {
                return false;
            }
            if self.try_raw("PING").is_ok_and(|answer| answer.starts_with(['+', '-'])) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "{signal} was not sent");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already, which is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> Child {
    Command::new(provisioned("TASTEMAKER_REDIS_SERVER"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts")
}

/// A cluster of masters, each with an equal part of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Of so many nodes with the search module; waits until all agree.
    ///
    /// # Panics
    /// If they do not within 30 seconds.
    pub fn start(count: u16) -> Self {
        const SLOTS: u16 = 16_384;
        let nodes: Vec<RedisServer> = (0..count)
            .map(|_| {
                let bus = free_port().to_string();
                RedisServer::start(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "5000",
                ])
            })
            .collect();
        for (node, part) in nodes.iter().zip(0..) {
            let (first, next) =
                (SLOTS / count * part, if part + 1 == count { SLOTS } else { SLOTS / count * (part + 1) });
            node.raw(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1));
            node.raw("CONFIG SET cluster-announce-ip 127.0.0.1");
        }
        for node in &nodes[1..] {
            let bus = node.raw("CONFIG GET cluster-port");
            let bus = bus.split("\r\n").nth(4).expect("the port of the bus");
            nodes[0].raw(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port));
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        let agreed = |node: &RedisServer| {
            let info = node.raw("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{count}"))
        };
        while !nodes.iter().all(agreed) {
            assert!(Instant::now() < deadline, "the nodes do not become a cluster");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { nodes }
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }
}
