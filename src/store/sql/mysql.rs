//! MySQL and MariaDB.

use sqlx::mysql::{MySqlPoolOptions, MySqlQueryResult};
use sqlx::{MySql, MySqlPool};

use super::dialect::Dialect;
use super::driver::Engine;
use super::engine::engine_store;
use super::server::connect;
use super::store::{SqlStore, SqlStoreBuilder};
use crate::error::StoreError;

engine_store! {
    /// Sessions in a table of a MySQL (8.0 or newer) or MariaDB (10.6 or newer) database.
    ///
    /// A clone shares the pool. The [module](super) says what stands in the table and how it is kept right.
    ///
    /// # A pool of the program's own
    ///
    /// Any pool will do. The isolation level `READ COMMITTED` spares the server the locks on gaps of its default level, and
    /// with them some repeated statements; [`connect`](MySqlStore::connect) sets it. The server's `max_allowed_packet` must
    /// be larger than the layer's `max_record_bytes`.
    ///
    /// # What it rests on
    ///
    /// An end is one commit of the server. With `innodb_flush_log_at_trx_commit = 1`, which is the default, no crash undoes
    /// it. A server with a binary log also needs `sync_binlog = 1`, which is MySQL's default and not MariaDB's. With other
    /// values a crash may undo the last changes, and a session that had ended lives again.
    ///
    /// Replication is asynchronous by default: a failover undoes what the replica had not received. Semi-synchronous
    /// replication lets a commit wait until a replica has it, and a failover to that replica undoes nothing. If no replica
    /// answers in time (`rpl_semi_sync_source_timeout`, in MariaDB `rpl_semi_sync_master_timeout`, 10 seconds by default),
    /// the server goes on without.
    ///
    /// A failover needs an address that leads to the new primary, such as a virtual IP, a DNS name or a proxy: the pool's URL
    /// names one host. A write that an old primary refuses, since it is read-only now, is sent again on a new connection,
    /// and the old connections are closed. Somebody who may write to a read-only server goes on writing to the old primary,
    /// so the store's user must have neither `SUPER` nor `READ ONLY ADMIN`. A server that stays read-only answers loads, and
    /// every write is an error.
    ///
    /// In MariaDB Galera Cluster 12.1.2 to 12.2.2, [Jepsen found][jepsen] lost updates without any fault, and lost commits
    /// after crashes. Either may undo an end. The store is not tested on such a cluster.
    ///
    /// [jepsen]: https://jepsen.io/blog/2026-03-16-mariadb-galera-cluster-12.1.2
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
    MySqlStore, MySqlStoreBuilder, MySqlPool
}

impl MySqlStore {
    /// Connects to a MySQL or MariaDB database, with the default table.
    ///
    /// The URL is `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. The pool has up to ten connections, which are opened as
    /// they are needed and replaced where they break. By default a connection is encrypted only if the server offers it:
    /// where others can listen or answer on the way, add `?ssl-mode=VERIFY_IDENTITY`. [`migrate`](Self::migrate) makes the
    /// table.
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
        let pool = MySqlPoolOptions::new().max_connections(connections).after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").execute(connection).await?;
                Ok(())
            })
        });
        connect(pool, url).await.map(Self::new)
    }
}

impl Engine for MySql {
    const DIALECT: Dialect = Dialect {
        name: "MySQL",
        store: "MySqlStore",
        url: "mysql://USER:PASSWORD@HOST:PORT/DATABASE",
        quote: '`',
        is_marked: false,
        // MySQL's ways to ignore a key that is taken either hide other errors or cannot be distinguished from an insert.
        or_nothing: "",
        greatest: "GREATEST",
        // `SYSDATE` alone depends on the connection's time zone, in which an hour may come twice; the other two functions
        // give the time at which the statement began.
        clock: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) \
                + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)))",
        chunk: None,
        // A LONGBLOB takes an owner's name of any length and cuts off none, in every SQL mode. The index has its first 255
        // bytes.
        schema: "CREATE TABLE IF NOT EXISTS {table} (
                version BIGINT,
                deadline BIGINT NOT NULL,
                seen BIGINT,
                sign_in BIGINT,
                id BINARY(32) NOT NULL PRIMARY KEY,
                owner LONGBLOB,
                handle VARBINARY(16),
                body LONGBLOB NOT NULL,
                INDEX (deadline),
                INDEX (owner(255))
            ) ENGINE = InnoDB",
        sweep: "DELETE FROM {table} WHERE deadline <= ? AND (version IS NOT NULL OR deadline <= {clock}) \
                ORDER BY deadline LIMIT ?",
        is_remote: true,
    };

    const AFFECTED: Option<fn(&MySqlQueryResult) -> u64> = Some(MySqlQueryResult::rows_affected);
}
