//! The steps of the store, each one guarded statement.
//!
//! Every statement is a transaction of its own. None reads what an earlier one of the same call has seen under an
//! older snapshot, so the isolation level that the program's connections have is of no importance: an `UPDATE` that
//! meets a row which another transaction is changing waits for it and looks at its condition again, and where the level
//! makes that an error instead, the statement has changed nothing and is sent again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::dialect::{Statements, kind};
use super::driver::{Arg, Driver, Row};
use super::failure::{Failure, store_error};
use crate::clock::{micros, time};
use crate::error::{ConfigError, StoreError};
use crate::record::{Head, Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, Updated, log};
use crate::token::StoreKey;

/// How often a statement that loses against others is sent, over about four seconds.
const MAX_TRIES: u32 = 64;
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_millis(64);

/// A table, and a pool of connections to its database.
#[derive(Clone)]
pub(super) struct Table<D> {
    pub(super) pool: D,
    pub(super) statements: Arc<Statements>,
    /// Who may write to a file: SQLite would have the others sleep and try again.
    writing: Option<Arc<Mutex<()>>>,
}

/// What an insert found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// Nothing, and inserted.
    New,
    /// A row of this version, and of this kind.
    Again(i64),
    /// Another row.
    Taken,
}

/// A row to insert.
pub(super) struct NewRow<'a> {
    pub(super) id: &'a [u8],
    pub(super) kind: i64,
    pub(super) version: i64,
    pub(super) deadline: i64,
    pub(super) seen: i64,
    pub(super) owner: Option<&'a [u8]>,
    pub(super) handle: Option<&'a [u8]>,
    pub(super) body: &'a [u8],
}

impl<D: Driver> Table<D> {
    pub(super) fn new(pool: D, name: &str) -> Result<Self, ConfigError> {
        let writing = (!D::DIALECT.is_remote).then(Arc::default);
        Ok(Self { pool, statements: Arc::new(Statements::new(name, &D::DIALECT)?), writing })
    }

    /// Makes the table unless it is there, and looks whether it is of this format.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        self.pool.script(&self.statements.schema).await.map_err(|error| self.error(&error))?;
        self.rows(&self.statements.probe, &[Arg::Bytes(&[]), Arg::Bytes(&[])]).await.map(drop)
    }

    pub(super) async fn load(&self, key: StoreKey, now: SystemTime) -> Result<Loaded, StoreError> {
        match self.find(&self.statements.find, key, now).await? {
            Some(row) => Ok(read(row, now)),
            None => Ok(Loaded::Absent),
        }
    }

    pub(super) async fn create(&self, key: StoreKey, record: &Record, now: SystemTime) -> Result<Created, StoreError> {
        match self.insert_record(key, kind::LIVE, record, now).await? {
            Inserted::New | Inserted::Again(kind::LIVE) => Ok(Created::Stored),
            Inserted::Again(_) | Inserted::Taken => Ok(Created::Taken),
        }
    }

    pub(super) async fn update(
        &self,
        key: StoreKey,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let body = match change {
            Change::Replace(next, _) => next.encode(),
            Change::Retire(stone) => stone.encode(),
        };
        let (statement, set) = match change {
            Change::Replace(next, deadline) => {
                let until = int(next.deadline());
                let threshold = match deadline {
                    Deadline::Keep => Arg::Int(0),
                    Deadline::Extend => until,
                    Deadline::Set => Arg::Int(i64::MAX),
                };
                let version = Arg::Int(next.version().get().cast_signed());
                (&self.statements.replace, vec![version, int(next.seen()), Arg::Bytes(&body), threshold, until])
            }
            Change::Retire(stone) => (&self.statements.retire, vec![int(stone.until()), int(now), Arg::Bytes(&body)]),
        };
        let args = [&set[..], &[Arg::Bytes(key.as_bytes()), Arg::Int(from.get().cast_signed()), int(now)]].concat();
        let is_there = |version| matches!(change, Change::Replace(next, _) if next.version().get() == version);
        self.guarded(statement, &args, key, from, is_there, now).await
    }

    pub(super) async fn touch(
        &self,
        key: StoreKey,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (until, seen) = (int(deadline), int(now));
        let at_version = Arg::Int(version.get().cast_signed());
        let args = [until, until, seen, seen, Arg::Bytes(key.as_bytes()), at_version, int(now)];
        self.guarded(&self.statements.touch, &args, key, version, |_| false, now).await
    }

    pub(super) async fn delete(
        &self,
        key: StoreKey,
        tombstone: Duration,
        now: SystemTime,
    ) -> Result<Deleted, StoreError> {
        let stone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        let body = stone.encode();
        let args = [int(stone.until()), int(now), Arg::Bytes(&body), Arg::Bytes(key.as_bytes()), int(now)];
        loop {
            if self.execute(&self.statements.end, &args).await? > 0 {
                return Ok(Deleted::Done);
            }
            match self.load(key, now).await? {
                Loaded::Tombstone(stone) => return Ok(Deleted::Retired(stone)),
                // It came, or its deadline moved, after this looked.
                Loaded::Live(_) => {}
                _ => return Ok(Deleted::Absent),
            }
        }
    }

    pub(super) async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let swept = self.execute(&self.statements.sweep, &[int(now), Arg::Int(limit)]).await?;
        Ok(usize::try_from(swept).unwrap_or(usize::MAX))
    }

    /// Runs a statement on what is live at a version, and says why where there is nothing of the kind. `is_there` tells
    /// the version that the statement itself leaves.
    async fn guarded(
        &self,
        statement: &Arc<str>,
        args: &[Arg<'_>],
        key: StoreKey,
        from: Version,
        is_there: impl Fn(u64) -> bool + Send,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        loop {
            if self.execute(statement, args).await? > 0 {
                return Ok(Updated::Done);
            }
            let row = self.find(&self.statements.peek, key, now).await?;
            match row.filter(|row| row.kind == kind::LIVE).map(|row| row.version.cast_unsigned()) {
                None => return Ok(Updated::Gone),
                Some(version) if is_there(version) => return Ok(Updated::Done),
                Some(version) if version != from.get() => return Ok(Updated::Conflict),
                // Its deadline moved after this looked.
                Some(_) => {}
            }
        }
    }

    /// Finds a row; one that has expired goes.
    async fn find(&self, select: &Arc<str>, key: StoreKey, now: SystemTime) -> Result<Option<Row>, StoreError> {
        let id = Arg::Bytes(key.as_bytes());
        loop {
            let row = self.rows(select, &[id]).await?.pop();
            if !row.as_ref().is_some_and(|row| is_expired(row, now)) {
                return Ok(row);
            }
            // Unless its deadline moved after this looked.
            if self.execute(&self.statements.expire, &[id, int(now)]).await? > 0 {
                return Ok(None);
            }
        }
    }

    pub(super) async fn insert_record(
        &self,
        key: StoreKey,
        kind: i64,
        record: &Record,
        now: SystemTime,
    ) -> Result<Inserted, StoreError> {
        let body = record.encode();
        let row = NewRow {
            id: key.as_bytes(),
            kind,
            version: record.version().get().cast_signed(),
            deadline: signed(record.deadline()),
            seen: signed(record.seen()),
            owner: record.owner().map(str::as_bytes),
            handle: Some(record.handle.as_bytes()),
            body: &body,
        };
        // An expired row does not count, but is in the way.
        while !self.insert(&row).await? {
            if let Some(found) = self.find(&self.statements.peek, key, now).await? {
                let is_same = found.version == row.version;
                return Ok(if is_same { Inserted::Again(found.kind) } else { Inserted::Taken });
            }
        }
        Ok(Inserted::New)
    }

    /// Inserts a row and returns whether its key was free.
    pub(super) async fn insert(&self, row: &NewRow<'_>) -> Result<bool, StoreError> {
        let optional = |bytes: Option<_>| bytes.map_or(Arg::Null, Arg::Bytes);
        let args = [
            Arg::Bytes(row.id),
            Arg::Int(row.kind),
            Arg::Int(row.version),
            Arg::Int(row.deadline),
            Arg::Int(row.seen),
            optional(row.owner),
            optional(row.handle),
            Arg::Bytes(row.body),
        ];
        self.execute(&self.statements.insert, &args).await.map(|inserted| inserted > 0)
    }

    /// Runs a statement and returns how many rows it found: none where it inserts under a key that is taken.
    pub(super) async fn execute(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let _turn = match &self.writing {
            Some(writing) => Some(writing.lock().await),
            None => None,
        };
        let done = self.retried(|| self.pool.execute(sql, args)).await;
        done.or_else(|error| if Failure::of(&error) == Failure::Taken { Ok(0) } else { Err(self.error(&error)) })
    }

    pub(super) async fn rows(&self, sql: &Arc<str>, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.retried(|| self.pool.rows(sql, args)).await.map_err(|error| self.error(&error))
    }

    /// Sends a statement again that lost against others: at once, and then after longer and longer pauses. A transaction
    /// that PostgreSQL is just committing, or that was prepared, beats every statement that reads what it wrote until it
    /// is through, which may take as long as a disk does.
    async fn retried<T, F: Future<Output = sqlx::Result<T>>>(&self, send: impl Fn() -> F) -> sqlx::Result<T> {
        let mut pause = Duration::ZERO;
        for _ in 1..MAX_TRIES {
            match send().await {
                Err(error) if Failure::of(&error) == Failure::Again => {}
                done => return done,
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            pause = (pause * 2).clamp(Duration::from_millis(1), MAX_PAUSE);
        }
        send().await
    }

    fn error(&self, error: &sqlx::Error) -> StoreError {
        store_error(error, D::DIALECT.name, &self.statements)
    }
}

/// Reads a row that has not expired.
pub(super) fn read(row: Row, now: SystemTime) -> Loaded {
    let unreadable = |why: &dyn fmt::Display| {
        let key = StoreKey::from_bytes(row.id.as_slice().try_into().unwrap_or_default());
        log::unreadable(&key, tracing::field::display(why))
    };
    let version = match row.kind {
        kind::LIVE => Version::new(row.version.cast_unsigned()),
        kind::TOMBSTONE => None,
        kind::ARRIVING | kind::MARK => return Loaded::Absent,
        _ => return unreadable(&"a row of an unknown kind"),
    };
    let owner = match row.owner.map(String::from_utf8).transpose() {
        Ok(owner) => owner.map(Arc::from),
        Err(_) => return unreadable(&"an owner that is not UTF-8"),
    };
    let head = Head::new(version, at(row.deadline), at(row.seen), owner);
    Loaded::decode(head, &row.body, now).unwrap_or_else(|error| unreadable(&error))
}

pub(super) fn is_expired(row: &Row, now: SystemTime) -> bool {
    row.deadline <= signed(now)
}

/// Microseconds since the Unix epoch, as a column holds them.
pub(super) fn signed(time: SystemTime) -> i64 {
    micros(time).cast_signed()
}

pub(super) fn int(time: SystemTime) -> Arg<'static> {
    Arg::Int(signed(time))
}

fn at(column: i64) -> SystemTime {
    time(column.cast_unsigned())
}
