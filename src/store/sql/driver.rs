//! One statement on one connection of the program's pool.

use std::future::Future;
use std::sync::Arc;

use sqlx::database::Database;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Encode, Executor, FromRow, IntoArguments, Pool, Type};

use super::dialect::Dialect;
use super::row::{Arg, Row};

/// The owner's latest moment, the moment of a session, the owner's mark, and the database's clock.
pub(super) type OrderColumns = (Option<i64>, Option<i64>, Option<Vec<u8>>, i64);
type Columns = (Vec<u8>, Option<i64>, i64, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Vec<u8>);

/// A database with its [`Dialect`].
pub(super) trait Engine: Database {
    const DIALECT: Dialect;

    /// Returns how many rows a statement found: a method of every result, but of no trait of sqlx.
    fn affected(result: &Self::QueryResult) -> u64;
}

/// A pool of connections to an [`Engine`].
///
/// It names none of the bounds that sqlx needs, so that the store need not repeat them.
pub(super) trait SqlPool: Clone + Send + Sync + 'static {
    const DIALECT: Dialect;

    /// Runs one statement, which is a transaction of its own, and returns how many rows it found.
    fn execute(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs one `SELECT` of the columns of a [`Row`].
    fn rows(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<Vec<Row>>> + Send;

    /// Runs the `SELECT` of a sign-in or a revocation, which returns one row.
    fn order(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<OrderColumns>> + Send;

    /// Runs a `SELECT` of one number.
    fn number(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Runs several statements without arguments.
    fn script(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send;
}

impl<DB: Engine> SqlPool for Pool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
    for<'r> Columns: FromRow<'r, DB::Row>,
    for<'r> OrderColumns: FromRow<'r, DB::Row>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
{
    const DIALECT: Dialect = DB::DIALECT;

    async fn execute(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<u64> {
        let mut lease = Lease::tested(self).await?;
        let done = bound::<DB>(sql, args).execute(lease.connection()).await;
        lease.give_back();
        done.map(|done| DB::affected(&done))
    }

    async fn rows(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        let read = |row: &DB::Row| {
            let (id, version, deadline, seen, owner, handle, sign_in, body) = FromRow::from_row(row)?;
            Ok(Row { id, version, deadline, seen, owner, handle, sign_in, body })
        };
        selected(self, sql, args).await?.iter().map(read).collect()
    }

    async fn order(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<OrderColumns> {
        FromRow::from_row(selected(self, sql, args).await?.first().ok_or(sqlx::Error::RowNotFound)?)
    }

    async fn number(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<i64> {
        let rows = selected(self, sql, args).await?;
        let (number,) = FromRow::from_row(rows.first().ok_or(sqlx::Error::RowNotFound)?)?;
        Ok(number)
    }

    async fn script(&self, sql: &str) -> sqlx::Result<()> {
        let mut lease = Lease::tested(self).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(lease.connection()).await;
        lease.give_back();
        done.map(drop)
    }
}

/// Runs one `SELECT`.
async fn selected<DB: Engine>(pool: &Pool<DB>, sql: &Arc<str>, args: &[Arg<'_>]) -> sqlx::Result<Vec<DB::Row>>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
{
    let mut lease = Lease::any(pool).await?;
    let mut rows = bound::<DB>(sql, args).fetch_all(lease.connection()).await;
    if rows.is_err() && needs_test(pool) {
        // The server may have closed the connection long ago. A `SELECT` may be sent twice.
        drop(lease);
        lease = Lease::tested(pool).await?;
        rows = bound::<DB>(sql, args).fetch_all(lease.connection()).await;
    }
    lease.give_back();
    rows
}

/// Binds the arguments of a statement. Its text is this crate's but for the table's name, which was checked.
fn bound<'q, DB: Engine>(sql: &Arc<str>, args: &[Arg<'_>]) -> Query<'q, DB, DB::Arguments>
where
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
{
    args.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(sql))), |query, arg| match *arg {
        Arg::Int(number) => query.bind(Some(number)),
        Arg::Bytes(bytes) => query.bind(Some(bytes)),
        Arg::Null => query.bind(None::<&[u8]>),
        Arg::NoInt => query.bind(None::<i64>),
    })
}

/// Returns whether a connection of this pool may have been closed by the server when it is handed out.
fn needs_test<DB: Engine>(pool: &Pool<DB>) -> bool {
    DB::DIALECT.is_remote && !pool.options().get_test_before_acquire()
}

/// A connection that returns to the pool only when its statement is complete.
///
/// A statement that was dropped half-way has an answer under way, which must never become the answer of the next one.
/// Waiting for that answer where the server hangs or has vanished would occupy the connection's place in the pool for as
/// long as TCP keeps trying.
struct Lease<DB: Engine>(Option<PoolConnection<DB>>);

impl<DB: Engine> Lease<DB> {
    /// Takes a connection that the server may have closed, unless the pool tests it.
    async fn any(pool: &Pool<DB>) -> sqlx::Result<Self> {
        pool.acquire().await.map(|connection| Self(Some(connection)))
    }

    /// Takes a connection that has just answered.
    async fn tested(pool: &Pool<DB>) -> sqlx::Result<Self> {
        let mut lease = Self::any(pool).await?;
        if needs_test(pool) {
            // After as many tries as the pool has connections, the connection is a new one.
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
        // A file has no answers under way, and a database in memory would vanish with its connection.
        if let Some(connection) = self.0.take()
            && DB::DIALECT.is_remote
        {
            drop(connection.detach());
        }
    }
}
