//! SQLite.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult};
use sqlx::{Sqlite, SqlitePool};

use super::dialect::Dialect;
use super::driver::Engine;
use super::engine::engine_store;
use super::failure::connect_error;
use super::store::{SqlStore, SqlStoreBuilder};
use crate::error::StoreError;

engine_store! {
    /// Sessions in a table of an SQLite database, shared by the processes of one machine.
    ///
    /// No server is needed. One connection writes at a time: the requests of one store take turns, and other processes wait
    /// as SQLite does, asleep for longer and longer. A clone shares the pool. The [module](super) says what stands in the
    /// table and how it is kept right.
    ///
    /// # A pool of the program's own
    ///
    /// Its connections should have the journal mode WAL, so that readers and the writer do not wait for each other, and a
    /// busy timeout shorter than the layer's store timeout, 5 seconds by default: a statement that finds the database locked
    /// waits for that long and then fails. [`connect`](SqliteStore::connect) sets both. Its path should be absolute: each
    /// connection resolves a relative one when it is opened. A database in memory needs a pool of
    /// one connection that never closes.
    ///
    /// # What it rests on
    ///
    /// With `synchronous = FULL`, SQLite's default and that of [`connect`](SqliteStore::connect), a power loss undoes no write
    /// that was answered. `synchronous = NORMAL` is faster, but after a power loss a session that had ended may live again.
    /// The file must be on a local file system: SQLite's journal mode WAL shares memory between processes.
    ///
    /// If the file is moved away, removed or replaced while it is open, every call is an error, on Unix. A file that is moved
    /// back is in use again. To restore a backup, stop the program, remove the files that end with `-wal` and `-shm`, which
    /// SQLite would apply to the backup, replace the file and start the program. A database that is read-only answers loads,
    /// and every write is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{SessionLayer, SqliteStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("shop.db");
    /// # let url = format!("sqlite:{}", file.display());
    /// let store = SqliteStore::connect(&url).await?; // "sqlite:/var/lib/shop/shop.db"
    /// store.migrate().await?;
    /// let sessions = SessionLayer::new(store);
    /// # let _ = sessions;
    ///
    /// let pool = sqlx::SqlitePool::connect(&url).await?; // a pool of the program's own
    /// assert!(SqliteStore::builder(pool.clone()).table("shop_sessions").build().is_ok());
    /// assert!(SqliteStore::builder(pool.clone()).table("a b").build().is_err());
    /// SqliteStore::new(pool).migrate().await?; // does nothing where the table exists
    /// # Ok(())
    /// # }
    /// ```
    SqliteStore, SqliteStoreBuilder, SqlitePool
}

impl SqliteStore {
    /// The time that a connection of [`connect`](Self::connect) waits where another one has locked the database: less than
    /// the layer's store timeout, so that the error names the lock.
    const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

    /// Opens a database file, made if it is missing, with the default table.
    ///
    /// The URL is `sqlite:PATH`; a relative path begins at the present working directory. The database is in WAL mode, with a busy timeout of 4 seconds and up to four
    /// connections. A new file has mode 0600 on Unix, however open the umask is, and the files that SQLite puts beside it
    /// have its mode. [`migrate`](Self::migrate) makes the table.
    ///
    /// # Errors
    ///
    /// The text is no URL of this kind, the URL is that of a database in memory, or the file cannot be opened.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays open; the file may exist afterwards.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_up_to(Self::CONNECTIONS, url).await
    }

    /// The most connections in the pool of [`connect`](Self::connect).
    pub(crate) const CONNECTIONS: u32 = 4;

    pub(crate) async fn connect_up_to(connections: u32, url: &str) -> Result<Self, StoreError> {
        let error = |error| connect_error(&error, &Sqlite::DIALECT);
        let options = SqliteConnectOptions::from_str(url).map_err(error)?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            // A pool that closes its last connection would lose the database.
            return Err(error(sqlx::Error::Configuration(
                "a database in memory, for which there is MemoryStore".into(),
            )));
        }
        // A connection that is opened later must find the same file, though the program may change its working directory.
        let options = match std::path::absolute(options.get_filename()) {
            Ok(path) if uri_path(options.get_filename()).is_none() => options.filename(path),
            _ => options,
        };
        #[cfg(unix)]
        make(options.get_filename()).map_err(|failed| error(failed.into()))?;
        let options =
            options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal).busy_timeout(Self::BUSY_TIMEOUT);
        // A file closes no connection, so none needs a test.
        let pool = SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
        pool.connect_with(options).await.map(Self::new).map_err(error)
    }
}

/// Returns the path in a name that is a URI, which SQLite takes apart itself.
fn uri_path(name: &Path) -> Option<&Path> {
    let path = name.to_str()?.strip_prefix("file:")?.split(['?', '#']).next()?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// Makes a file that only its owner can read, unless the file exists.
#[cfg(unix)]
fn make(path: &Path) -> std::io::Result<()> {
    use std::fs::OpenOptions;
    use std::io::ErrorKind;
    use std::os::unix::fs::OpenOptionsExt as _;

    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Engine for Sqlite {
    const DIALECT: Dialect = Dialect {
        name: "SQLite",
        store: "SqliteStore",
        url: "sqlite:PATH",
        quote: '"',
        is_marked: false,
        or_nothing: " ON CONFLICT (id) DO NOTHING",
        greatest: "MAX",
        // To the millisecond, where the program's own clock is finer.
        clock: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        chunk: Some(1_000),
        schema: "CREATE TABLE IF NOT EXISTS {table} (
                version INTEGER,
                deadline INTEGER NOT NULL,
                seen INTEGER,
                sign_in INTEGER,
                id BLOB NOT NULL PRIMARY KEY,
                owner BLOB,
                handle BLOB,
                body BLOB NOT NULL
            ) STRICT;
            CREATE INDEX IF NOT EXISTS \"{name}_deadline\" ON {table} (deadline);
            CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {table} (owner, sign_in) WHERE owner IS NOT NULL;",
        sweep: "DELETE FROM {table} WHERE deadline <= ?1 \
                AND id IN (SELECT id FROM {table} WHERE deadline <= ?1 \
                AND (version IS NOT NULL OR deadline <= {clock}) LIMIT ?2)",
        is_remote: false,
    };

    const AFFECTED: Option<fn(&SqliteQueryResult) -> u64> = Some(SqliteQueryResult::rows_affected);

    fn file(options: &SqliteConnectOptions) -> Option<&Path> {
        let name = options.get_filename();
        Some(uri_path(name).unwrap_or(name))
    }
}
