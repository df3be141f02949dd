//! MySQL and MariaDB.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions, MySqlQueryResult};
use sqlx::{MySql, MySqlPool};

use super::DEFAULT_TABLE;
use super::dialect::Dialect;
use super::driver::{Affected, Engine, reach};
use super::failure::connect_error;
use super::table::Table;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, TokenShape};

sql_store! {
    /// Sessions in a table of a MySQL (8.0 or newer) or MariaDB (10.6 or newer) database.
    ///
    /// A clone is another handle on the same pool. The [module](super) says what stands in the table and how it is kept
    /// right.
    ///
    /// # A pool of the program's own
    ///
    /// Any will do. `READ COMMITTED` spares the server the locks on gaps that its default brings, and some repetition
    /// with them; [`connect`](Self::connect) sets it. The server's `max_allowed_packet` must be larger than the layer's
    /// `max_record_bytes`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tower_session_layer::{MySqlStore, SessionLayer};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = sqlx::MySqlPool::connect("mysql://shop:secret@db.example/shop").await?;
    /// let store = MySqlStore::builder(pool).table("shop_sessions").build()?;
    /// store.migrate().await?;
    /// let sessions = SessionLayer::new(store);
    /// # let _ = sessions;
    /// # Ok(())
    /// # }
    /// ```
    MySqlStore,
    /// Settings of a [`MySqlStore`].
    MySqlStoreBuilder,
    MySqlPool
}

impl MySqlStore {
    /// Connects to a database, with the default table.
    ///
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE`, with a pool of up to ten connections, which are opened as they are
    /// needed and replaced where they break. Where others can listen or answer on the way, add
    /// `?ssl-mode=VERIFY_IDENTITY`: by default the connection is encrypted only if the server offers it. The table is made
    /// by [`migrate`](Self::migrate).
    ///
    /// # Errors
    ///
    /// Something else than a URL of this kind, or a server that cannot be reached, refuses or does not answer within 5
    /// seconds. No message holds the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays open.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_up_to(Self::CONNECTIONS, url).await
    }

    /// How many connections the pool of [`connect`](Self::connect) may have.
    pub(crate) const CONNECTIONS: u32 = 10;

    pub(crate) async fn connect_up_to(connections: u32, url: &str) -> Result<Self, StoreError> {
        let shape = "mysql://USER:PASSWORD@HOST:PORT/DATABASE";
        let error = |error| connect_error(&error, MySql::DIALECT.name, shape);
        let options = MySqlConnectOptions::from_str(url).map_err(error)?;
        reach::<MySqlConnection>(&options).await.map_err(error)?;
        let pool = MySqlPoolOptions::new().max_connections(connections).test_before_acquire(false).after_connect(
            |connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").execute(connection).await?;
                    Ok(())
                })
            },
        );
        Ok(Self::new(pool.connect_lazy_with(options)))
    }
}

impl Engine for MySql {
    const DIALECT: Dialect = Dialect {
        name: "MySQL",
        quote: '`',
        numbers_arguments: false,
        // What MySQL has to ignore a key that is taken either hides other errors or cannot be told from an insert.
        or_nothing: "",
        // Text of any length, none of it cut off, whatever the SQL mode; the index knows its first 255 bytes.
        schema: "CREATE TABLE IF NOT EXISTS {table} (
                id BINARY(32) NOT NULL PRIMARY KEY,
                kind BIGINT NOT NULL,
                version BIGINT NOT NULL,
                deadline BIGINT NOT NULL,
                seen BIGINT NOT NULL,
                owner LONGBLOB,
                handle VARBINARY(16),
                body LONGBLOB NOT NULL,
                INDEX (deadline),
                INDEX (owner(255))
            ) ENGINE = InnoDB",
        sweep: "DELETE FROM {table} WHERE deadline <= ? ORDER BY deadline LIMIT ?",
        is_remote: true,
    };
}

impl Affected for MySqlQueryResult {
    fn rows(&self) -> u64 {
        self.rows_affected()
    }
}
