//! A PostgreSQL server of the test's own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

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
