//! What the store asks of a database: one statement at a time, on a connection of the program's pool.

use std::future::Future;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::io;
use std::sync::Arc;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::time::Duration;

use sqlx::database::Database;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Connection as _, Decode, Encode, Executor, IntoArguments, Pool, Row as _, Type,
};

use super::dialect::Dialect;

/// What is bound to a `?`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Null,
}

/// The columns of every `SELECT`.
pub(super) struct Row {
    pub(super) id: Vec<u8>,
    pub(super) kind: i64,
    pub(super) version: i64,
    pub(super) deadline: i64,
    pub(super) seen: i64,
    pub(super) owner: Option<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

/// A database that speaks one of the [dialects](Dialect).
pub(super) trait Engine: Database {
    const DIALECT: Dialect;
}

/// A pool of connections.
pub(super) trait Driver: Clone + Send + Sync + 'static {
    const DIALECT: Dialect;

    /// Runs one statement, which is a transaction of its own, and returns how many rows it found.
    fn execute(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs one `SELECT` of the columns of a [`Row`].
    fn rows(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<Vec<Row>>> + Send;

    /// Runs several statements without arguments.
    fn script(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl<DB: Engine> Driver for Pool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'t> i64: Encode<'t, DB> + Decode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
    for<'t> Vec<u8>: Decode<'t, DB> + Type<DB>,
    for<'t> Option<Vec<u8>>: Decode<'t, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
    DB::QueryResult: Affected,
{
    const DIALECT: Dialect = DB::DIALECT;

    async fn execute(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<u64> {
        let mut lease = Lease::tested(self).await?;
        let done = bound::<DB>(sql, args).execute(lease.connection()).await;
        lease.give_back();
        done.map(|done| done.rows())
    }

    async fn rows(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        let mut lease = Lease::any(self).await?;
        let mut rows = bound::<DB>(sql, args).fetch_all(lease.connection()).await;
        if rows.is_err() && needs_test(self) {
            // The server may have closed the connection long ago. A `SELECT` can be sent twice.
            drop(lease);
            lease = Lease::tested(self).await?;
            rows = bound::<DB>(sql, args).fetch_all(lease.connection()).await;
        }
        lease.give_back();
        let read = |row: &DB::Row| {
            Ok(Row {
                id: row.try_get(0)?,
                kind: row.try_get(1)?,
                version: row.try_get(2)?,
                deadline: row.try_get(3)?,
                seen: row.try_get(4)?,
                owner: row.try_get(5)?,
                body: row.try_get(6)?,
            })
        };
        rows?.iter().map(read).collect()
    }

    async fn script(&self, sql: &str) -> sqlx::Result<()> {
        let mut lease = Lease::tested(self).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(lease.connection()).await;
        lease.give_back();
        done.map(drop)
    }
}

/// The text is ours but for the table's name, which was checked.
fn bound<'q, DB: Engine>(sql: &Arc<str>, args: &[Arg<'_>]) -> Query<'q, DB, DB::Arguments>
where
    for<'t> i64: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
{
    args.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(sql))), |query, arg| match *arg {
        Arg::Int(number) => query.bind(number),
        Arg::Bytes(bytes) => query.bind(Some(bytes)),
        Arg::Null => query.bind(None::<&[u8]>),
    })
}

/// Connects to a server and leaves again. A pool would wait for one that refuses, and then say only that it has waited.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) async fn reach<C: sqlx::Connection>(options: &C::Options) -> sqlx::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let reaching = async { C::connect_with(options).await?.close().await };
    let waited = |_| io::Error::new(io::ErrorKind::TimedOut, format!("the server did not answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, reaching).await.map_err(waited)?
}

/// Whether a connection of this pool may have been closed by the server when it is handed out.
fn needs_test<DB: Engine>(pool: &Pool<DB>) -> bool {
    DB::DIALECT.is_remote && !pool.options().get_test_before_acquire()
}

/// How many rows a statement found, whose method is not part of any trait of sqlx.
pub(super) trait Affected {
    fn rows(&self) -> u64;
}

/// A connection that goes back to the pool only when its command is through.
///
/// A command that was dropped half-way has an answer under way, which must never become that of the next; and where the
/// server hangs or has vanished, waiting for that answer would occupy the connection's place for as long as TCP does.
struct Lease<DB: Engine>(Option<PoolConnection<DB>>);

impl<DB: Engine> Lease<DB> {
    /// A connection that the server may have closed, unless the pool looks.
    async fn any(pool: &Pool<DB>) -> sqlx::Result<Self> {
        pool.acquire().await.map(|connection| Self(Some(connection)))
    }

    /// A connection that has just answered.
    async fn tested(pool: &Pool<DB>) -> sqlx::Result<Self> {
        let mut lease = Self::any(pool).await?;
        if needs_test(pool) {
            // After as many as the pool has, this one is new.
            for _ in 0..pool.options().get_max_connections() {
                if lease.connection().ping().await.is_ok() {
                    break;
                }
                drop(lease);
                lease = Self::any(pool).await?;
            }
        }
        Ok(lease)
    }

    fn connection(&mut self) -> &mut DB::Connection {
        self.0.as_mut().expect("only `give_back` takes it, with the lease")
    }

    /// Returns the connection to the pool, which tests it.
    fn give_back(mut self) {
        self.0 = None;
    }
}

impl<DB: Engine> Drop for Lease<DB> {
    fn drop(&mut self) {
        // A file has no answers under way, and a database in memory goes with its connection.
        if let Some(connection) = self.0.take()
            && DB::DIALECT.is_remote
        {
            drop(connection.detach());
        }
    }
}
