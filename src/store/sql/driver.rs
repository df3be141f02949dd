//! One statement on one connection of the program's pool.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::database::Database;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Encode, Executor, FromRow, IntoArguments, Pool, Type};

use super::dialect::Dialect;
use super::failure::{ANOTHER_REPLY, SqlFailure};
use super::row::{Arg, Row};
use super::statement::Statement;

/// The mark, the owner's latest moment, the moment of a session, the mark of the owner's revocations, and the database's
/// clock.
pub(super) type OrderColumns = (i64, Option<i64>, Option<i64>, Option<Vec<u8>>, i64);
/// The mark, and the columns of a [`Row`], all null where nothing was found.
type Columns = (
    i64,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<Vec<u8>>,
);

/// A database with its [`Dialect`].
pub(super) trait Engine: Database {
    const DIALECT: Dialect;

    /// Returns how many rows a statement changed: a method of every result, but of no trait of sqlx. A statement with a
    /// mark counts them itself.
    const AFFECTED: Option<fn(&Self::QueryResult) -> u64>;

    /// Returns the path of the database's file, if it is one.
    fn file(_: &<Self::Connection as Connection>::Options) -> Option<&Path> {
        None
    }
}

/// A pool of connections to an [`Engine`].
///
/// It names none of the bounds that sqlx needs, so that the store need not repeat them.
pub(super) trait SqlPool: Clone + Send + Sync + 'static {
    const DIALECT: Dialect;

    /// Runs one statement, which is a transaction of its own, and returns how many rows it found. If the server is
    /// read-only, its connection is closed, unless that was `expected`.
    fn execute(
        &self,
        statement: &Statement,
        args: &[Arg<'_>],
        expected: bool,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Runs one `SELECT` of the columns of a [`Row`].
    fn rows(&self, statement: &Statement, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<Vec<Row>>> + Send;

    /// Runs the `SELECT` of a sign-in or a revocation, which returns one row.
    fn order(&self, statement: &Statement, args: &[Arg<'_>])
    -> impl Future<Output = sqlx::Result<OrderColumns>> + Send;

    /// Runs a `SELECT` of one number.
    fn number(&self, statement: &Statement, args: &[Arg<'_>]) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Runs several statements without arguments.
    fn script(&self, sql: &str) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Closes the connections that are idle, and returns whether the pool has none any more.
    fn close_idle(&self) -> bool;

    /// The most connections that the pool opens.
    fn most_connections(&self) -> u32;

    /// The path of the database's file, if it is one.
    fn file(&self) -> Option<PathBuf>;
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
    for<'r> (i64, i64): FromRow<'r, DB::Row>,
{
    const DIALECT: Dialect = DB::DIALECT;

    async fn execute(&self, statement: &Statement, args: &[Arg<'_>], expected: bool) -> sqlx::Result<u64> {
        let mut lease = Lease::tested(self).await?;
        let Some(affected) = DB::AFFECTED else {
            let rows = fetched(&mut lease, statement, args).await;
            lease.give_back_after(&rows, expected);
            let rows = rows?;
            let count = if statement.always_replies {
                only::<_, (i64, i64)>(&rows)?.1.cast_unsigned()
            } else {
                rows.len() as u64
            };
            return Ok(count);
        };
        let done = bound::<DB>(statement, args).execute(lease.connection()).await;
        lease.give_back_after(&done, expected);
        done.map(|done| affected(&done))
    }

    async fn rows(&self, statement: &Statement, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        let read = |row: &DB::Row| {
            let (_, id, version, deadline, seen, owner, handle, sign_in, body): Columns = FromRow::from_row(row)?;
            // A marked reply has a row where nothing was found.
            let (Some(id), Some(deadline), Some(body)) = (id, deadline, body) else { return Ok(None) };
            Ok(Some(Row { id, version, deadline, seen, owner, handle, sign_in, body }))
        };
        selected(self, statement, args).await?.iter().filter_map(|row| read(row).transpose()).collect()
    }

    async fn order(&self, statement: &Statement, args: &[Arg<'_>]) -> sqlx::Result<OrderColumns> {
        only(&selected(self, statement, args).await?)
    }

    async fn number(&self, statement: &Statement, args: &[Arg<'_>]) -> sqlx::Result<i64> {
        let (_, number): (i64, i64) = only(&selected(self, statement, args).await?)?;
        Ok(number)
    }

    async fn script(&self, sql: &str) -> sqlx::Result<()> {
        let mut lease = Lease::tested(self).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(lease.connection()).await;
        lease.give_back_after(&done, false);
        done.map(drop)
    }

    fn close_idle(&self) -> bool {
        for _ in 0..self.num_idle() {
            // Without a farewell, for which a server that has vanished would have to be waited for.
            let Some(connection) = self.try_acquire() else { break };
            drop(connection.detach());
        }
        self.size() == 0
    }

    fn most_connections(&self) -> u32 {
        self.options().get_max_connections()
    }

    fn file(&self) -> Option<PathBuf> {
        DB::file(&self.connect_options()).map(Path::to_owned)
    }
}

/// Runs one `SELECT`.
async fn selected<DB: Engine>(pool: &Pool<DB>, statement: &Statement, args: &[Arg<'_>]) -> sqlx::Result<Vec<DB::Row>>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
{
    let mut lease = Lease::any(pool).await?;
    let mut rows = fetched(&mut lease, statement, args).await;
    if rows.is_err() && needs_test(pool) {
        // The server may have closed the connection long ago. A `SELECT` may be sent twice.
        drop(lease);
        lease = Lease::tested(pool).await?;
        rows = fetched(&mut lease, statement, args).await;
    }
    lease.give_back();
    rows
}

/// Runs a statement that replies with rows, and looks for its mark in them before anything else.
async fn fetched<DB: Engine>(
    lease: &mut Lease<DB>,
    statement: &Statement,
    args: &[Arg<'_>],
) -> sqlx::Result<Vec<DB::Row>>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
{
    let rows = bound::<DB>(statement, args).fetch_all(lease.connection()).await?;
    let is_own = |row| <(i64,)>::from_row(row).is_ok_and(|(mark,)| mark == statement.mark);
    if DB::DIALECT.is_marked && (rows.is_empty() && statement.always_replies || !rows.iter().all(is_own)) {
        return Err(sqlx::Error::Protocol(ANOTHER_REPLY.to_owned()));
    }
    Ok(rows)
}

/// Reads the row of a statement that always replies with one.
fn only<'r, R, T: FromRow<'r, R>>(rows: &'r [R]) -> sqlx::Result<T>
where
    R: sqlx::Row,
{
    T::from_row(rows.first().ok_or(sqlx::Error::RowNotFound)?)
}

/// Binds the arguments of a statement. Its text is this crate's but for the table's name, which was checked.
fn bound<'q, DB: Engine>(statement: &Statement, args: &[Arg<'_>]) -> Query<'q, DB, DB::Arguments>
where
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<&'t [u8]>: Encode<'t, DB> + Type<DB>,
{
    let query = sqlx::query(AssertSqlSafe(Arc::clone(&statement.sql)));
    let query = if DB::DIALECT.is_marked { query.bind(Some(statement.mark)) } else { query };
    args.iter().fold(query, |query, arg| match *arg {
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

    /// Returns the connection to the pool after a write, unless its server is read-only and that was not expected: the
    /// pool's test would pass.
    fn give_back_after<T>(self, done: &sqlx::Result<T>, expected: bool) {
        if expected || !matches!(done, Err(error) if SqlFailure::of(error) == SqlFailure::ReadOnly) {
            self.give_back();
        }
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
