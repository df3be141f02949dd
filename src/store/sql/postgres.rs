//! PostgreSQL.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult};
use sqlx::{PgPool, Postgres};

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
    /// Sessions in a table of a PostgreSQL database, 12 or newer.
    ///
    /// A clone is another handle on the same pool. The [module](super) says what stands in the table and how it is kept
    /// right.
    ///
    /// # A pool of the program's own
    ///
    /// Any will do. With a proxy that hands out connections by transaction (PgBouncer before 1.21), its
    /// `statement_cache_capacity` must be 0. The schema is the first one in the connection's `search_path`. A record may
    /// be as long as the layer allows, up to 1 GB.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tower_session_layer::{PostgresStore, SessionLayer};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = sqlx::PgPool::connect("postgres://shop:secret@db.example/shop").await?;
    /// let store = PostgresStore::builder(pool).table("shop_sessions").build()?;
    /// store.migrate().await?;
    /// let sessions = SessionLayer::new(store);
    /// # let _ = sessions;
    /// # Ok(())
    /// # }
    /// ```
    PostgresStore,
    /// Settings of a [`PostgresStore`].
    PostgresStoreBuilder,
    PgPool
}

impl PostgresStore {
    /// Connects to a database, with the default table.
    ///
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with a pool of up to ten connections, which are opened as they are
    /// needed and replaced where they break. Where others can listen or answer on the way, add `?sslmode=verify-full`: by
    /// default the connection is encrypted only if the server offers it. The table is made by [`migrate`](Self::migrate).
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
        let shape = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        let error = |error| connect_error(&error, Postgres::DIALECT.name, shape);
        let options = PgConnectOptions::from_str(url).map_err(error)?;
        reach::<PgConnection>(&options).await.map_err(error)?;
        Ok(Self::new(
            PgPoolOptions::new().max_connections(connections).test_before_acquire(false).connect_lazy_with(options),
        ))
    }
}

impl Engine for Postgres {
    const DIALECT: Dialect = Dialect {
        name: "PostgreSQL",
        quote: '"',
        numbers_arguments: true,
        or_nothing: " ON CONFLICT (id) DO NOTHING",
        // Sent as one, these are one transaction. Without the lock, two that make the same table may both fail. A hash
        // index takes names of any length, which a tree does not, and no NULL.
        schema: "SELECT pg_advisory_xact_lock(7308614529071837025);
            CREATE TABLE IF NOT EXISTS {table} (
                id BYTEA PRIMARY KEY,
                kind BIGINT NOT NULL,
                version BIGINT NOT NULL,
                deadline BIGINT NOT NULL,
                seen BIGINT NOT NULL,
                owner BYTEA,
                handle BYTEA,
                body BYTEA NOT NULL
            );
            CREATE INDEX IF NOT EXISTS \"{name}_deadline\" ON {table} (deadline);
            CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {table} USING hash (owner) WHERE owner IS NOT NULL;",
        // An array, so that the selection, which locks, is made once. What others have locked can wait.
        sweep: "DELETE FROM {table} WHERE deadline <= $1 AND id = ANY (ARRAY(\
                SELECT id FROM {table} WHERE deadline <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        is_remote: true,
    };
}

impl Affected for PgQueryResult {
    fn rows(&self) -> u64 {
        self.rows_affected()
    }
}
