//! SQLite.

use std::fmt;
#[cfg(unix)]
use std::fs::OpenOptions;
#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
#[cfg(unix)]
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult};
use sqlx::{Sqlite, SqlitePool};

use super::DEFAULT_TABLE;
use super::dialect::Dialect;
use super::driver::{Affected, Engine};
use super::failure::connect_error;
use super::table::Table;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, TokenShape};

sql_store! {
    /// Sessions in a table of an SQLite database, shared by the processes of one machine.
    ///
    /// No server is needed, and a power loss takes nothing back that was answered for. One connection writes at a time:
    /// the requests of a store take turns, those of other processes wait as SQLite does, asleep for ever longer.
    /// A clone is another handle on the same pool. The [module](super) says what stands in the table and how it is
    /// kept right.
    ///
    /// # A pool of the program's own
    ///
    /// Its connections should have the journal mode WAL, so that readers and the writer do not wait for each other, and
    /// a busy timeout shorter than the layer's store timeout, 5 seconds by default: whoever finds the database locked waits for
    /// that long and then fails. [`connect`](Self::connect) sets both. `synchronous = NORMAL` is faster, but after a power
    /// loss a session that had ended may live again. A database in memory needs a pool of one connection that never
    /// closes.
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
    /// let pool = sqlx::SqlitePool::connect(&url).await?; // of the program's own
    /// assert!(SqliteStore::builder(pool.clone()).table("shop_sessions").build().is_ok());
    /// assert!(SqliteStore::builder(pool.clone()).table("a b").build().is_err());
    /// SqliteStore::new(pool).migrate().await?; // does nothing where the table is there
    /// # Ok(())
    /// # }
    /// ```
    SqliteStore,
    /// Settings of a [`SqliteStore`].
    SqliteStoreBuilder,
    SqlitePool
}

impl SqliteStore {
    /// How long a connection of [`connect`](Self::connect) waits where another one has locked the database: less than
    /// the layer's store timeout, so that the error says what was in the way.
    const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

    /// Opens a database file, made if it is not there, with the default table.
    ///
    /// `sqlite:PATH`, in WAL mode, with a busy timeout of 4 seconds and up to four connections. A file that is made has
    /// mode 0600 on Unix, however open the umask is, and those that SQLite puts beside it follow it. The table is made by
    /// [`migrate`](Self::migrate).
    ///
    /// # Errors
    ///
    /// Something else than a URL of this kind, that of a database in memory included, or a file that cannot be opened.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays open; the file may have been made.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_up_to(Self::CONNECTIONS, url).await
    }

    /// How many connections the pool of [`connect`](Self::connect) may have.
    pub(crate) const CONNECTIONS: u32 = 4;

    pub(crate) async fn connect_up_to(connections: u32, url: &str) -> Result<Self, StoreError> {
        let error = |error| connect_error(&error, Sqlite::DIALECT.name, "sqlite:PATH");
        let options = SqliteConnectOptions::from_str(url).map_err(error)?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            // A pool that closes its last connection would lose it.
            return Err(error(sqlx::Error::Configuration(
                "a database in memory, for which there is MemoryStore".into(),
            )));
        }
        #[cfg(unix)]
        make(options.get_filename()).map_err(|failed| error(failed.into()))?;
        let options =
            options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal).busy_timeout(Self::BUSY_TIMEOUT);
        // A file does not hang up.
        let pool = SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
        let pool = pool.connect_with(options).await.map_err(error)?;
        Ok(Self::new(pool))
    }
}

/// Makes a file that is nobody else's, unless it is there.
#[cfg(unix)]
fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Engine for Sqlite {
    const DIALECT: Dialect = Dialect {
        name: "SQLite",
        quote: '"',
        numbers_arguments: false,
        or_nothing: " ON CONFLICT (id) DO NOTHING",
        schema: "CREATE TABLE IF NOT EXISTS {table} (
                id BLOB NOT NULL PRIMARY KEY,
                kind INTEGER NOT NULL,
                version INTEGER NOT NULL,
                deadline INTEGER NOT NULL,
                seen INTEGER NOT NULL,
                owner BLOB,
                handle BLOB,
                body BLOB NOT NULL
            ) STRICT;
            CREATE INDEX IF NOT EXISTS \"{name}_deadline\" ON {table} (deadline);
            CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {table} (owner) WHERE owner IS NOT NULL;",
        sweep: "DELETE FROM {table} WHERE deadline <= ?1 \
                AND id IN (SELECT id FROM {table} WHERE deadline <= ?1 LIMIT ?2)",
        is_remote: false,
    };
}

impl Affected for SqliteQueryResult {
    fn rows(&self) -> u64 {
        self.rows_affected()
    }
}
