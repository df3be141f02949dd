//! A PostgreSQL server of the test's own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Row as _};

use super::process::{Place, as_user, find, run};

const PID: &str = "data/postmaster.pid";

pub(crate) struct Server(Place);

impl Server {
    pub(crate) fn start() -> Self {
        // Without the package there is no user either.
        program("initdb");
        let server = Self(Place::new("postgres", PID));
        run(server.program("initdb").args(["--auth=trust", "--username=postgres", "--no-sync"]));
        let mut config = OpenOptions::new().append(true).open(server.0.path("data/postgresql.conf")).unwrap();
        let directory = server.0.directory.display();
        // A killed server loses nothing without fsync, only a machine does.
        write!(
            config,
            "listen_addresses = ''\nunix_socket_directories = '{directory}'\nfsync = off\nmax_connections = 300\n\
             max_prepared_transactions = 4\n\
             shared_preload_libraries = 'pg_stat_statements'\n"
        )
        .unwrap();
        server.revive();
        server
    }

    /// A server and a standby of it, which follows through the socket.
    #[allow(clippy::unused_async, reason = "another server has to be asked")]
    pub(crate) async fn pair(_: impl AsyncFn(&Path) -> u16) -> (Self, Self) {
        let primary = Self::start();
        let standby = Self(Place::new("postgres", PID));
        let mut copying = standby.program("pg_basebackup");
        let options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--username=postgres", "--host"];
        run(copying.args(options).arg(&primary.0.directory));
        let mut config = OpenOptions::new().append(true).open(standby.0.path("data/postgresql.conf")).unwrap();
        writeln!(config, "unix_socket_directories = '{}'", standby.0.directory.display()).unwrap();
        standby.revive();
        (primary, standby)
    }

    /// Waits until a standby has what its primary has.
    pub(crate) async fn catch_up_with(&self, primary: &Self) {
        let at: String = primary.ask("SELECT pg_current_wal_lsn()::text").await;
        let has_it = format!("SELECT (pg_last_wal_replay_lsn() >= '{at}'::pg_lsn)::text");
        for _ in 0..100_000 {
            if self.ask(&has_it).await == "true" {
                return;
            }
        }
        panic!("the standby does not follow");
    }

    pub(crate) async fn make_read_only(&self) {
        self.ask("ALTER SYSTEM SET default_transaction_read_only = on").await;
        self.ask("SELECT pg_reload_conf()::text").await;
    }

    /// Waits until connections know that their server is read-only.
    pub(crate) async fn are_read_only(connections: &mut Vec<PoolConnection<Postgres>>) {
        for connection in connections {
            for _ in 0..100_000 {
                let row = sqlx::raw_sql("SHOW default_transaction_read_only").fetch_one(&mut **connection).await;
                if row.unwrap().get::<String, _>(0) == "on" {
                    break;
                }
            }
        }
    }

    #[allow(clippy::unused_async, reason = "another server has to be asked")]
    pub(crate) async fn promote(&self) {
        run(self.program("pg_ctl").args(["promote", "-w", "-s"]));
    }

    /// How many connections there have been.
    pub(crate) async fn connections(&self) -> u64 {
        self.ask("SELECT pg_stat_clear_snapshot()::text").await;
        let count = "SELECT sessions::text FROM pg_stat_database WHERE datname = current_database()";
        self.ask(count).await.parse().unwrap()
    }

    /// The one value that a statement returns, as text, or nothing.
    async fn ask(&self, sql: &str) -> String {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_optional(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.map_or_else(String::new, |row| row.get(0))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path(".s.PGSQL.5432")
    }

    /// A URL of the server that somebody at this port leads to.
    pub(crate) fn url_at(port: u16) -> String {
        format!("postgres://postgres:hunter2@127.0.0.1:{port}/postgres")
    }

    /// A `postgres:` URL of the database that is always there.
    pub(crate) fn url(&self) -> String {
        let socket = self.0.directory.display().to_string().replace('/', "%2F");
        format!("postgres://postgres:hunter2@{socket}/postgres")
    }

    pub(crate) async fn pool_with(&self, set: impl FnOnce(PgPoolOptions) -> PgPoolOptions) -> PgPool {
        let options: PgConnectOptions = self.url().parse().unwrap();
        set(PgPoolOptions::new().max_connections(4)).connect_with(options).await.unwrap()
    }

    /// Stops all processes where they are.
    pub(crate) fn freeze(&self) {
        self.0.signal(PID, Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.0.signal(PID, Signal::CONT);
    }

    /// Kills all processes.
    pub(crate) fn kill(&self) {
        self.0.signal(PID, Signal::KILL);
        std::fs::remove_file(self.0.path(PID)).unwrap();
    }

    /// Starts the server on the data that is there, and waits until it answers.
    pub(crate) fn revive(&self) {
        run(self.program("pg_ctl").args(["start", "-w", "-s", "-l"]).arg(self.0.path("log")));
    }

    /// Ends the server, which breaks off all commands, and starts it again.
    pub(crate) fn restart(&self) {
        let mut command = self.program("pg_ctl");
        run(command.args(["restart", "-m", "fast", "-w", "-s", "-l"]).arg(self.0.path("log")));
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    fn program(&self, name: &str) -> Command {
        let mut command = as_user("postgres", &program(name));
        command.current_dir(&self.0.directory).arg("-D").arg(self.0.path("data"));
        command
    }
}

fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    directories.sort();
    find("postgresql", directories, name)
}
