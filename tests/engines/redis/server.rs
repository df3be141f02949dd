//! Real servers, started on ports of their own and stopped when they are dropped.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redis::Value;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A `redis-server`.
pub struct Server {
    pub port: u16,
    options: Vec<String>,
    running: Mutex<(Child, Receiver<String>)>,
    directory: TempDir,
}

impl Server {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        for _ in 0..20 {
            // Somebody else may take the port before the server does.
            let port = free_port();
            if let Some(running) = run(port, &options, &directory) {
                return Self { port, options, running: Mutex::new(running), directory };
            }
        }
        panic!("redis-server did not start on any of 20 ports");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Stops the process without ending it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.running.lock().unwrap().0.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub fn kill(&self) {
        let (child, _) = &mut *self.running.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port.
    pub fn restart(&self) {
        *self.running.lock().unwrap() = run(self.port, &self.options, &self.directory).expect("the port is still free");
    }

    /// Waits until the server's log says so.
    pub fn wait_for(&self, text: &str) {
        let (_, log) = &*self.running.lock().unwrap();
        assert!(log.iter().any(|line| line.contains(text)), "redis-server ended before it said {text:?}");
    }

    /// Sends one command, over a connection of its own.
    pub async fn command(&self, words: &[impl AsRef<[u8]>]) -> Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| _ = command.arg(word.as_ref()));
        command.query_async(&mut connection).await.unwrap()
    }

    pub async fn text(&self, words: &[impl AsRef<[u8]>]) -> String {
        redis::from_redis_value(self.command(words).await).unwrap()
    }

    pub async fn list(&self, words: &[impl AsRef<[u8]>]) -> Vec<String> {
        redis::from_redis_value(self.command(words).await).unwrap()
    }

    /// Lists the keys, which are bytes.
    pub async fn keys(&self, pattern: &str) -> Vec<Vec<u8>> {
        redis::from_redis_value(self.command(&["KEYS", pattern]).await).unwrap()
    }

    pub async fn number(&self, words: &[impl AsRef<[u8]>]) -> i64 {
        redis::from_redis_value(self.command(words).await).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (child, _) = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts the process; `None` if it ends before it is ready.
fn run(port: u16, options: &[String], directory: &TempDir) -> Option<(Child, Receiver<String>)> {
    let started = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.expect("these tests need the program redis-server: `apt-get install redis-server`");
    let output = BufReader::new(child.stdout.take().unwrap());
    let (lines, log) = channel();
    std::thread::spawn(move || {
        // A server whose log nobody reads would stop when the pipe is full.
        for line in output.lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    if log.iter().any(|line| line.contains("Ready to accept connections")) {
        return Some((child, log));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Three masters that share all slots, and as many replicas of each as asked for.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start(replicas: usize) -> Self {
        let node = |_| {
            let bus = free_port().to_string();
            let timeout = ["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"];
            let options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus];
            Server::with(&[&options[..], &timeout[..]].concat())
        };
        let cluster = Self { nodes: (0..3 + 3 * replicas).map(node).collect() };
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .expect("these tests need the program redis-cli: `apt-get install redis-server`");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        for node in &cluster.nodes {
            node.wait_for("Cluster state changed: ok");
        }
        cluster
    }

    /// The one that all tests share that run at this moment: it takes seconds until a Cluster is one.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start(0));
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }
}
