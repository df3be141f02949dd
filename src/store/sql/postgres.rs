//! PostgreSQL.

use sqlx::postgres::{PgPoolOptions, PgQueryResult};
use sqlx::{PgPool, Postgres};

use super::dialect::Dialect;
use super::driver::Engine;
use super::engine::engine_store;
use super::server::connect;
use super::store::{SqlStore, SqlStoreBuilder};
use crate::error::StoreError;

engine_store! {
    /// Sessions in a table of a PostgreSQL database, 12 or newer.
    ///
    /// A clone shares the pool. The [module](super) says what stands in the table and how it is kept right.
    ///
    /// # A pool of the program's own
    ///
    /// Any pool will do. The schema is the first one in the connection's `search_path`. A record may be as long as the
    /// layer allows, up to 1 GB.
    ///
    /// # Behind a proxy
    ///
    /// A proxy between the pool and the server must pool by session: PgBouncer with `pool_mode = session`. If it pools by
    /// transaction, the statements that clients prepare are mixed up, whatever the pool's `statement_cache_capacity`. Most
    /// calls are then errors that say so. No session is given to another client, and no end is acknowledged that did not
    /// happen: each statement carries a mark of its own, which the server compares and the reply must show. The store is
    /// tested with PgBouncer 1.18 in both modes. Later versions that keep track of prepared statements
    /// (`max_prepared_statements`) are not tested.
    ///
    /// # What it rests on
    ///
    /// An end is one commit of the server. With `fsync = on` and `synchronous_commit = on`, which are the defaults, no crash
    /// undoes it. With `synchronous_commit = off` a crash may undo the last changes, and a session that had ended lives
    /// again.
    ///
    /// Standbys are asynchronous by default: a failover to one undoes what it had not received. With
    /// `synchronous_standby_names` a commit also waits for a standby, and a failover to that standby undoes nothing. The
    /// program that promotes standbys must choose it, as Patroni does in its synchronous mode.
    ///
    /// A failover needs an address that leads to the new primary, such as a virtual IP, a DNS name or a proxy: the pool's URL
    /// names one host. A write that an old primary refuses, since it is read-only now, is sent again on a new connection,
    /// and the old connections are closed. A server that stays read-only answers loads, and every write is an error.
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
    PostgresStore, PostgresStoreBuilder, PgPool
}

impl PostgresStore {
    /// Connects to a PostgreSQL database, with the default table.
    ///
    /// The URL is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. The pool has up to ten connections, which are opened as
    /// they are needed and replaced where they break. By default a connection is encrypted only if the server offers it:
    /// where others can listen or answer on the way, add `?sslmode=verify-full`. [`migrate`](Self::migrate) makes the table.
    ///
    /// # Errors
    ///
    /// The text is no URL of this kind, or the server cannot be reached, refuses or does not answer within 5 seconds. No
    /// message holds the password.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays open.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_up_to(Self::CONNECTIONS, url).await
    }

    /// The most connections in the pool of [`connect`](Self::connect).
    pub(crate) const CONNECTIONS: u32 = 10;

    pub(crate) async fn connect_up_to(connections: u32, url: &str) -> Result<Self, StoreError> {
        connect(PgPoolOptions::new().max_connections(connections), url).await.map(Self::new)
    }
}

impl Engine for Postgres {
    const DIALECT: Dialect = Dialect {
        name: "PostgreSQL",
        store: "PostgresStore",
        url: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        quote: '"',
        is_marked: true,
        or_nothing: " ON CONFLICT (id) DO NOTHING",
        greatest: "GREATEST",
        clock: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        chunk: None,
        // Sent as one text, the statements are one transaction. Without the lock, two processes that make the same table
        // may both fail. A ninth column would lengthen the header of each row, and a fixed width after a variable one would
        // cost padding. A hash index takes names of any length, unlike a tree, and no NULL.
        schema: "SELECT pg_advisory_xact_lock(7308614529071837025);
            CREATE TABLE IF NOT EXISTS {table} (
                version BIGINT,
                deadline BIGINT NOT NULL,
                seen BIGINT,
                sign_in BIGINT,
                id BYTEA PRIMARY KEY,
                owner BYTEA,
                handle BYTEA,
                body BYTEA NOT NULL
            );
            CREATE INDEX IF NOT EXISTS \"{name}_deadline\" ON {table} (deadline);
            CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {table} USING hash (owner) WHERE owner IS NOT NULL;",
        // With an array the selection, which locks its rows, is evaluated once. Rows that others have locked can wait.
        sweep: "DELETE FROM {table} WHERE deadline <= $2 AND id = ANY (ARRAY(\
                SELECT id FROM {table} WHERE deadline <= $2 AND (version IS NOT NULL OR deadline <= {clock}) \
                LIMIT $3 FOR UPDATE SKIP LOCKED))",
        is_remote: true,
    };

    const AFFECTED: Option<fn(&PgQueryResult) -> u64> = None;
}
