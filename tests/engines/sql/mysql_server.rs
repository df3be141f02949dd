//! A MariaDB server of the test's own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sqlx::MySqlPool;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use super::process::{Place, find, is_root, run};

const PID: &str = "pid";

pub(crate) struct Server(Place);

impl Server {
    pub(crate) fn start() -> Self {
        // Without the package there is no user either.
        program("mariadb-install-db");
        let server = Self(Place::new("mysql", PID));
        let install = ["--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve"];
        run(server.program("mariadb-install-db").args(install));
        server.revive();
        server
    }

    /// A `mysql:` URL of the database that is always there.
    pub(crate) fn url(&self) -> String {
        let socket = self.0.path("socket").display().to_string().replace('/', "%2F");
        format!("mysql://shop:hunter2@localhost/shop?socket={socket}")
    }

    pub(crate) async fn pool_with(&self, set: impl FnOnce(MySqlPoolOptions) -> MySqlPoolOptions) -> MySqlPool {
        let options: MySqlConnectOptions = self.url().parse().unwrap();
        set(MySqlPoolOptions::new().max_connections(4)).connect_with(options).await.unwrap()
    }

    /// Stops the server where it is.
    pub(crate) fn freeze(&self) {
        self.0.signal(PID, Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.0.signal(PID, Signal::CONT);
    }

    pub(crate) fn kill(&self) {
        self.0.signal(PID, Signal::KILL);
    }

    /// Starts the server on the data that is there, and waits until it answers.
    pub(crate) fn revive(&self) {
        let init = self.0.path("init.sql");
        let statements = "CREATE DATABASE IF NOT EXISTS shop;\n\
             CREATE USER IF NOT EXISTS shop@localhost IDENTIFIED BY 'hunter2';\nGRANT ALL ON *.* TO shop@localhost;\n";
        std::fs::write(&init, statements).unwrap();
        let mut command = self.program("mariadbd");
        let option = |name, path: PathBuf| format!("--{name}={}", path.display());
        command.args([option("socket", self.0.path("socket")), option("pid-file", self.0.path(PID))]);
        command.args([option("init-file", init), "--skip-networking".into(), "--max-connections=300".into()]);
        // Only a machine that fails loses what is not synced.
        command.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut server = command.spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("ready for connections")) {
            said.push(log.next().unwrap_or_else(|| panic!("{command:?} ended:\n{}", said.join("\n"))).unwrap());
        }
        // Its pipe must not fill up, and its end be noticed.
        std::thread::spawn(move || {
            log.for_each(drop);
            server.wait()
        });
    }

    /// Ends the server, which breaks off all commands, and starts it again.
    pub(crate) fn restart(&self) {
        self.0.signal(PID, Signal::TERM);
        self.revive();
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.current_dir(&self.0.directory).arg("--no-defaults");
        if is_root() {
            command.arg("--user=mysql");
        }
        command.arg(format!("--datadir={}", self.0.path("data").display()));
        // Several that are installed at once would meet in the common one.
        command.arg(format!("--tmpdir={}", self.0.directory.display()));
        command
    }
}

fn program(name: &str) -> PathBuf {
    find("mariadb-server", ["/usr/bin", "/usr/sbin", "/usr/libexec"].map(PathBuf::from).to_vec(), name)
}
