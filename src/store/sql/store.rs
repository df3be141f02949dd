//! The store itself, the same for every database.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;

use super::dialect::{Statements, THESE, check_name};
use super::driver::SqlPool;
use super::file::DatabaseFile;
use super::row::Arg;
use super::table::Write;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::log::expired_kept;
use crate::store::{
    Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, Revoke, SessionStore, Updated,
};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// The table's name unless another is chosen.
const DEFAULT_TABLE: &str = "tower_session_layer";

/// A store on any kind of pool.
#[derive(Clone)]
pub(super) struct SqlStore<Pool> {
    pub(super) pool: Pool,
    pub(super) statements: Arc<Statements>,
    /// Serialises the writes to a file, where SQLite itself would have the writers sleep and try again.
    pub(super) writing: Option<Arc<Mutex<()>>>,
    pub(super) file: Option<Arc<DatabaseFile>>,
    /// The time at which a new connection found the server read-only.
    pub(super) read_only: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl<Pool: SqlPool> SqlStore<Pool> {
    pub(super) fn new(pool: Pool) -> Self {
        Self::with_table(pool, DEFAULT_TABLE)
    }

    pub(super) fn builder(pool: Pool) -> SqlStoreBuilder<Pool> {
        SqlStoreBuilder { pool, table: DEFAULT_TABLE.to_owned() }
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        self.written(|_| self.pool.script(&self.statements.schema)).await.map_err(|error| self.error(&error))?;
        self.rows(&self.statements.find, &[Arg::Bytes(&[])]).await.map(drop)
    }

    async fn read(&self, key: StoreKey, now: SystemTime) -> Result<Loaded, StoreError> {
        let row = self.find(&self.statements.find, key, now).await?;
        Ok(row.map_or(Loaded::Absent, |row| row.read(now)))
    }

    fn with_table(pool: Pool, name: &str) -> Self {
        let writing = (!Pool::DIALECT.is_remote).then(Arc::default);
        let file = pool.file().map(|path| Arc::new(DatabaseFile::at(path)));
        Self {
            pool,
            statements: Arc::new(Statements::new(name, &Pool::DIALECT)),
            writing,
            file,
            read_only: Arc::default(),
        }
    }
}

/// Settings of a [`SqlStore`].
#[derive(Clone)]
pub(super) struct SqlStoreBuilder<Pool> {
    pool: Pool,
    table: String,
}

impl<Pool: SqlPool> SqlStoreBuilder<Pool> {
    pub(super) fn table(self, table: String) -> Self {
        Self { table, ..self }
    }

    pub(super) fn build(self) -> Result<SqlStore<Pool>, ConfigError> {
        check_name(&self.table)?;
        Ok(SqlStore::with_table(self.pool, &self.table))
    }
}

impl<Pool: SqlPool> SessionStore for SqlStore<Pool> {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.read(token.key(), now).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        if let Some(owner) = record.owner() {
            return self.create_owned(fresh.key(), record, owner, now).await;
        }
        let standing = self.insert_record(fresh.key(), record, false, now).await?;
        let is_stored = standing.is_none_or(|row| row.is_of(record));
        Ok(if is_stored { Created::Stored } else { Created::Taken })
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (key, from) = (token.key(), Arg::version(from));
        let (id, now_arg) = (Arg::Bytes(key.as_bytes()), Arg::time(now));
        match change {
            Change::Replace(next, deadline) => {
                let body = next.encode();
                let (version, until) = (Arg::version(next.version()), Arg::time(next.deadline()));
                let threshold = match deadline {
                    Deadline::Keep => Arg::Int(0),
                    Deadline::Extend => until,
                    Deadline::Set => Arg::Int(i64::MAX),
                };
                let (seen, body) = (Arg::time(next.seen()), Arg::Bytes(&body));
                let args = [version, seen, body, threshold, until, id, from, now_arg];
                self.guarded(Write::Change(&self.statements.replace), &args, key, from, Some(version), now).await
            }
            Change::Retire(tombstone) => {
                let body = tombstone.encode();
                let args = [Arg::time(tombstone.until()), now_arg, Arg::Bytes(&body), id, from, now_arg];
                self.guarded(Write::End(&self.statements.retire), &args, key, from, None, now).await
            }
        }
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (key, version) = (token.key(), Arg::version(version));
        let (until, seen) = (Arg::time(deadline), Arg::time(now));
        let args = [until, until, seen, seen, Arg::Bytes(key.as_bytes()), version, seen];
        self.guarded(Write::Change(&self.statements.touch), &args, key, version, None, now).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let tombstone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        let (body, now_arg) = (tombstone.encode(), Arg::time(now));
        let args = [Arg::time(tombstone.until()), now_arg, Arg::Bytes(&body), Arg::Bytes(key.as_bytes()), now_arg];
        loop {
            if self.end(&self.statements.end, &args, Some(key)).await? > 0 {
                return Ok(Deleted::Done);
            }
            match self.read(*key, now).await? {
                Loaded::Tombstone(standing) => return Ok(Deleted::Retired(standing)),
                // The session was created, or its deadline moved, after the statement looked.
                Loaded::Live(_) => {}
                _ => return Ok(Deleted::Absent),
            }
        }
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let rows = loop {
            let rows = self.rows(&self.statements.owned, &[Arg::Bytes(owner.as_bytes())]).await?;
            let expired = rows.iter().filter(|row| row.is_expired(now)).count() as u64;
            // Fewer are deleted where a deadline moved meanwhile: then the rows are read again.
            if expired == 0 {
                break rows;
            }
            match self.expire_owned(owner, now).await {
                Ok(removed) if removed < expired => {}
                Ok(_) => break rows,
                Err(error) => {
                    expired_kept("several", error);
                    break rows;
                }
            }
        };
        let live = rows.into_iter().filter(|row| !row.is_expired(now)).filter_map(|row| match row.read(now) {
            Loaded::Live(record) => Some(OwnedSession::from(&*record)),
            _ => None,
        });
        Ok(live.collect())
    }

    /// Counts an owner's sessions in the index. All sessions of the table cannot be counted without a look at each.
    async fn count(&self, owner: Option<&str>, _: SystemTime) -> Result<usize, StoreError> {
        let owner = owner.ok_or_else(StoreError::unsupported)?;
        self.number(&self.statements.count, &[Arg::Bytes(owner.as_bytes())]).await
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let tombstone = revocation.tombstone(now);
        let (name, now_arg, body) = (Arg::Bytes(owner.as_bytes()), Arg::time(now), tombstone.encode());
        let tombstone = [Arg::time(tombstone.until()), now_arg, Arg::Bytes(&body)];
        // Expired rows go before the live ones end, so that none of them is counted.
        let ended = if let Revoke::These(these) = &revocation.which {
            self.expire_owned(owner, now).await?;
            let mut ended = 0;
            for handles in these.chunks(THESE) {
                ended += self.end_these(tombstone, name, handles).await?;
            }
            ended
        } else {
            // No session has a handle of no bytes.
            let kept = if let Revoke::Others(handle) = &revocation.which { &handle.as_bytes()[..] } else { &[] };
            let mut marked = self.mark(owner, revocation).await;
            let mut ended = 0;
            loop {
                self.execute(&self.statements.turn_away, &[name, now_arg]).await?;
                // Without a mark, the sessions make room for one as they end. Those that signed in meanwhile end after it.
                let moment = *marked.as_ref().unwrap_or(&u64::MAX);
                ended += self.end_others(tombstone, name, kept, moment).await?;
                match marked {
                    Ok(_) => break ended,
                    Err(_) => marked = Ok(self.mark(owner, revocation).await?),
                }
            }
        };
        Ok(usize::try_from(ended).unwrap_or(usize::MAX))
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let limit = Arg::Int(i64::try_from(limit).unwrap_or(i64::MAX));
        let swept = self.execute(&self.statements.sweep, &[Arg::time(now), limit]).await?;
        Ok(usize::try_from(swept).unwrap_or(usize::MAX))
    }
}

impl<Pool: SqlPool> fmt::Debug for SqlStore<Pool> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(Pool::DIALECT.store).field("table", &self.statements.table).finish_non_exhaustive()
    }
}

impl<Pool: SqlPool> fmt::Debug for SqlStoreBuilder<Pool> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{}Builder", Pool::DIALECT.store);
        f.debug_struct(&name).field("table", &self.table).finish_non_exhaustive()
    }
}
