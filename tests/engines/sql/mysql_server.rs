//! A MariaDB server of the test's own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, MySql, MySqlConnection, MySqlPool, Row as _};

use super::process::{Place, find, is_root, run};

const PID: &str = "pid";

pub(crate) struct Server(Place, &'static [&'static str]);

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &'static [&'static str]) -> Self {
        // Without the package there is no user either.
        program("mariadb-install-db");
        let server = Self(Place::new("mysql", PID), options);
        let install = ["--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve"];
        run(server.program("mariadb-install-db").args(install));
        server.revive();
        server
    }

    /// A server and a read-only replica of it, which follows through a port that leads to a socket.
    pub(crate) async fn pair(port_to: impl AsyncFn(&Path) -> u16) -> (Self, Self) {
        let primary = Self::start_with(&["--server-id=1", "--log-bin=log"]);
        let replica = Self::start_with(&["--server-id=2", "--read-only"]);
        let port = port_to(&primary.socket()).await;
        replica
            .run(&format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'shop', \
                 MASTER_PASSWORD = 'hunter2', MASTER_USE_GTID = slave_pos; START SLAVE"
            ))
            .await;
        // A user with all rights may write to a server that is read-only.
        primary
            .run("CREATE USER plain@localhost IDENTIFIED BY 'hunter2'; GRANT ALL ON shop.* TO plain@localhost")
            .await;
        (primary, replica)
    }

    /// Waits until a replica has what its primary has.
    pub(crate) async fn catch_up_with(&self, primary: &Self) {
        let at = primary.run("SELECT @@gtid_binlog_pos").await.unwrap();
        let waited = self.run(&format!("SELECT CAST(MASTER_GTID_WAIT('{at}', 60) AS CHAR)")).await;
        assert_eq!(waited.as_deref(), Some("0"), "the replica does not follow");
    }

    pub(crate) async fn make_read_only(&self) {
        self.run("SET GLOBAL read_only = ON").await;
    }

    /// The connections of a server that is read-only know it at once.
    #[allow(clippy::unused_async, reason = "another server has to be asked")]
    pub(crate) async fn are_read_only(_: &mut Vec<PoolConnection<MySql>>) {}

    pub(crate) async fn promote(&self) {
        self.run("STOP SLAVE; SET GLOBAL read_only = OFF").await;
    }

    /// How many connections there have been.
    pub(crate) async fn connections(&self) -> u64 {
        let count = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'connections'";
        self.run(count).await.unwrap().parse().unwrap()
    }

    /// Runs statements, and returns the first value.
    async fn run(&self, sql: &str) -> Option<String> {
        let mut connection = MySqlConnection::connect(&self.url()).await.unwrap();
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_optional(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.map(|row| row.get(0))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path("socket")
    }

    /// A URL of the server that somebody at this port leads to.
    pub(crate) fn url_at(port: u16) -> String {
        format!("mysql://plain:hunter2@127.0.0.1:{port}/shop")
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
             CREATE USER IF NOT EXISTS shop@localhost IDENTIFIED BY 'hunter2';\nGRANT ALL ON *.* TO shop@localhost WITH GRANT OPTION;\n";
        std::fs::write(&init, statements).unwrap();
        let mut command = self.program("mariadbd");
        let option = |name, path: PathBuf| format!("--{name}={}", path.display());
        command.args([option("socket", self.0.path("socket")), option("pid-file", self.0.path(PID))]);
        command.args([option("init-file", init), "--skip-networking".into(), "--max-connections=300".into()]);
        // Only a machine that fails loses what is not synced.
        command.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M"]);
        command.args(self.1);
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
