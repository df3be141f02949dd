//! The steps of the store, each one guarded statement.
//!
//! Every statement is a transaction of its own, and none relies on the snapshot of an earlier one, so the isolation
//! level of the program's connections does not matter. An `UPDATE` that meets a row which another transaction is
//! changing waits for it and evaluates its condition again. Where the level makes that an error instead, the statement
//! has changed nothing and is sent again.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use super::dialect::End;
use super::driver::SqlPool;
use super::failure::{SqlFailure, message};
use super::owners::{Order, mark_id};
use super::row::{Arg, Row};
use super::statement::Statement;
use super::store::SqlStore;
use crate::clock::time;
use crate::error::StoreError;
use crate::record::{Record, SessionHandle};
use crate::store::log::{expired_kept, given_up};
use crate::store::{RevocationMark, Updated};
use crate::token::StoreKey;

/// The number of times that a statement which loses against others is sent, over about four seconds.
const MAX_TRIES: u32 = 64;
/// The time for which a server counts as read-only after a new connection has found it so. A server that stays read-only
/// should not be connected to for each write.
const READ_ONLY: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_millis(64);

/// A statement on a live session.
#[derive(Clone, Copy)]
pub(super) enum Write<'a> {
    Change(&'a Statement),
    End(&'a End),
}

impl<Pool: SqlPool> SqlStore<Pool> {
    /// Runs a statement on what is live at version `from`, and returns why it found nothing. `to` is the version that the
    /// statement itself leaves.
    pub(super) async fn guarded(
        &self,
        statement: Write<'_>,
        args: &[Arg<'_>],
        key: StoreKey,
        from: Arg<'_>,
        to: Option<Arg<'_>>,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        loop {
            let found = match statement {
                Write::Change(sql) => self.execute(sql, args).await?,
                Write::End(end) => self.end(end, args, Some(&key)).await?,
            };
            if found > 0 {
                return Ok(Updated::Done);
            }
            let row = self.find(&self.statements.peek, key, now).await?;
            match row.filter(Row::is_live).and_then(|row| row.version).map(Arg::Int) {
                None => return Ok(Updated::Gone),
                standing if to.is_some() && standing == to => return Ok(Updated::Done),
                Some(standing) if standing != from => return Ok(Updated::Conflict),
                // The deadline moved after the statement looked.
                Some(_) => {}
            }
        }
    }

    /// Finds a row, and removes it if it has expired. An expired row that cannot be removed is absent all the same.
    pub(super) async fn find(
        &self,
        select: &Statement,
        key: StoreKey,
        now: SystemTime,
    ) -> Result<Option<Row>, StoreError> {
        let id = Arg::Bytes(key.as_bytes());
        loop {
            let row = self.rows(select, &[id]).await?.pop();
            if !row.as_ref().is_some_and(|row| row.is_expired(now)) {
                return Ok(row);
            }
            match self.execute(&self.statements.expire, &[id, Arg::time(now)]).await {
                // The row stays if its deadline moved after the `SELECT`.
                Ok(0) => {}
                Ok(_) => return Ok(None),
                Err(error) => {
                    expired_kept(key, error);
                    return Ok(None);
                }
            }
        }
    }

    /// Inserts a record, live or arriving, or returns the row that stands under its key.
    pub(super) async fn insert_record(
        &self,
        key: StoreKey,
        record: &Record,
        is_arriving: bool,
        now: SystemTime,
    ) -> Result<Option<Row>, StoreError> {
        let body = record.encode();
        let row = [
            Arg::Bytes(key.as_bytes()),
            Arg::version(record.version()),
            Arg::time(record.deadline()),
            if is_arriving { Arg::NoInt } else { Arg::time(record.seen()) },
            record.owner().map_or(Arg::Null, |owner| Arg::Bytes(owner.as_bytes())),
            // Every session of an owner can be told by its handle.
            if record.owner().is_none() && record.handle == SessionHandle::NONE {
                Arg::Null
            } else {
                Arg::Bytes(record.handle.as_bytes())
            },
            match record.sign_in {
                0 if is_arriving => Arg::time(Self::machine_clock()),
                0 => Arg::NoInt,
                moment => Arg::Int(moment.cast_signed()),
            },
            Arg::Bytes(&body),
        ];
        let is_without_moment = is_arriving && record.sign_in == 0;
        let insert = if is_without_moment { &self.statements.arrive } else { &self.statements.insert };
        while self.execute(insert, &row).await? == 0 {
            let standing = self.rows(&self.statements.find, &row[..1]).await?.pop();
            if standing.as_ref().is_some_and(|row| !row.is_expired(now)) {
                return Ok(standing);
            }
            // An expired row does not count, but it occupies the key.
            self.execute(&self.statements.expire, &[row[0], Arg::time(now)]).await?;
        }
        Ok(None)
    }

    /// Ends sessions, and returns their number: the one of this key, or several.
    pub(super) async fn end(
        &self,
        statement: &End,
        args: &[Arg<'_>],
        key: Option<&StoreKey>,
    ) -> Result<u64, StoreError> {
        match self.executed(&statement.retire, args).await {
            Err(error) if SqlFailure::of(&error) == SqlFailure::Full => {
                match key {
                    Some(key) => given_up(key, message(&error)),
                    None => given_up("several", message(&error)),
                }
                self.execute(&statement.remove, &args[3..]).await
            }
            ended => ended.map_err(|error| self.error(&error)),
        }
    }

    /// Runs a statement and returns how many rows it found: none where it inserts under a key that is taken.
    pub(super) async fn execute(&self, sql: &Statement, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        match self.executed(sql, args).await {
            Err(error) if SqlFailure::of(&error) == SqlFailure::Taken => Ok(0),
            done => done.map_err(|error| self.error(&error)),
        }
    }

    async fn executed(&self, sql: &Statement, args: &[Arg<'_>]) -> sqlx::Result<u64> {
        let _turn = match &self.writing {
            Some(writing) => Some(writing.lock().await),
            None => None,
        };
        self.written(|expected| self.pool.execute(sql, args, expected)).await
    }

    /// Reads the order of an owner's sign-ins and revocations: of the session of this key and version, if there is one.
    pub(super) async fn order(&self, owner: &str, session: &[Arg<'_>; 2]) -> Result<Order, StoreError> {
        let (sql, mark) = (&self.statements.order, mark_id(owner));
        let args = [Arg::Bytes(owner.as_bytes()), session[0], session[1], Arg::Bytes(&mark)];
        let (_, latest, sign_in, mark_bytes, clock) =
            self.retried(|| self.pool.order(sql, &args)).await.map_err(|error| self.error(&error))?;
        Ok(Order {
            latest: latest.unwrap_or_default().cast_unsigned(),
            sign_in: sign_in.map(i64::cast_unsigned),
            mark: mark_bytes.as_deref().and_then(RevocationMark::decode).unwrap_or_default(),
            mark_bytes,
            // After the answer, as the mark is.
            clock: time(clock.cast_unsigned()).max(Self::machine_clock()),
        })
    }

    /// Returns the clock of this machine if that is the database's, or else the Unix epoch.
    pub(super) fn machine_clock() -> SystemTime {
        if Pool::DIALECT.is_remote { SystemTime::UNIX_EPOCH } else { SystemTime::now() }
    }

    pub(super) async fn number(&self, sql: &Statement, args: &[Arg<'_>]) -> Result<usize, StoreError> {
        let number = self.retried(|| self.pool.number(sql, args)).await.map_err(|error| self.error(&error))?;
        Ok(usize::try_from(number).unwrap_or_default())
    }

    pub(super) async fn rows(&self, sql: &Statement, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.retried(|| self.pool.rows(sql, args)).await.map_err(|error| self.error(&error))
    }

    /// Sends a statement again that lost against others: at once, and then after longer and longer pauses.
    ///
    /// A transaction that PostgreSQL is just committing, or that was prepared, beats every statement that reads what it
    /// wrote until its commit is complete, which may take as long as a disk does.
    async fn retried<T, F: Future<Output = sqlx::Result<T>>>(&self, send: impl Fn() -> F) -> sqlx::Result<T> {
        if let Some(file) = &self.file {
            file.check()?;
        }
        let mut pause = Duration::ZERO;
        for _ in 1..MAX_TRIES {
            match send().await {
                Err(error) if SqlFailure::of(&error) == SqlFailure::Again => {}
                done => return done,
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            pause = (pause * 2).clamp(Duration::from_millis(1), MAX_PAUSE);
        }
        send().await
    }

    /// Sends a statement that writes, if need be until its connection leads to a server that can be written. `send` is
    /// told whether the server is expected to be read-only.
    ///
    /// A server that is read-only since a failover still answers, so its connections pass every test of the pool. A write
    /// that it refuses has changed nothing. So all connections are closed, and a new one leads to the new primary if the
    /// server's name does.
    pub(super) async fn written<T, F: Future<Output = sqlx::Result<T>>>(
        &self,
        send: impl Fn(bool) -> F,
    ) -> sqlx::Result<T> {
        let is_read_only = |done: &sqlx::Result<T>| {
            Pool::DIALECT.is_remote && matches!(done, Err(error) if SqlFailure::of(error) == SqlFailure::ReadOnly)
        };
        let known = *self.read_only.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|since| since.elapsed() < READ_ONLY) {
            return self.retried(|| send(true)).await;
        }
        // Other calls may return connections that they took before, at most as many as the pool has.
        for _ in 0..self.pool.most_connections() {
            let done = self.retried(|| send(false)).await;
            if !is_read_only(&done) {
                return done;
            }
            if self.pool.close_idle() {
                break;
            }
        }
        let done = self.retried(|| send(false)).await;
        if is_read_only(&done) {
            *self.read_only.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        done
    }

    /// Describes an error of a statement.
    pub(super) fn error(&self, error: &sqlx::Error) -> StoreError {
        let why = match SqlFailure::of(error) {
            SqlFailure::NoTable => {
                format!("the table `{}` is missing or of another format, run migrate(): ", self.statements.table)
            }
            SqlFailure::Shared => "the pool must lead to the server or to a proxy that pools by session: ".to_owned(),
            SqlFailure::ReadOnly if Pool::DIALECT.is_remote => "the server is read-only: ".to_owned(),
            SqlFailure::ReadOnly => "the database is read-only: ".to_owned(),
            SqlFailure::Locked => "another connection kept the database locked for too long: ".to_owned(),
            _ => String::new(),
        };
        StoreError::new(format!("{}: {why}{}", Pool::DIALECT.name, message(error)))
    }
}
