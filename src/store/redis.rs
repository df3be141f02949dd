//! Sessions in Redis or Valkey, on one server or a Cluster, shared by any number of machines.
//!
//! ```text
//! <prefix><the StoreKey in hex>                   a string: a record or a tombstone
//! <prefix>owner:{<the owner's SHA-256 in hex>}    a sorted set of the owner's sessions, by StoreKey and handle
//! <prefix>mark:{<the owner's SHA-256 in hex>}     a string: the owner's revocation mark
//! ```
//!
//! Loading is one `GET`; each change of a session is one script, called by its hash, that works on the session's key
//! alone and so runs on a Cluster. The scripts compare and move the times and versions in a header of fixed width and
//! look at nothing behind it. The deadline in the header decides whether a session lives. Redis' own expiry, which every
//! key has, cleans up behind it.
//!
//! # Owners
//!
//! An owner's list and mark are keys of their own, in one slot. A sign-in writes its record, then in one step enters
//! the list and looks at the mark, and removes its record again if the mark refuses it. A revocation writes the mark and
//! reads the list in one step, then ends the sessions that it found. Whichever step comes second sees what the first
//! has left, so no session escapes.
//!
//! Entries of a list are hints: the record says whose it is and whether it lives. A session that ends leaves its list,
//! in a call of its own. An entry whose session has expired, or whose removal was lost, goes when the list is next read
//! or, after the last moment at which its session could live and a day, when its owner next signs in; the whole list
//! expires with its last entry.
//!
//! # What the server needs
//!
//! Redis 6.2 or later, or Valkey, and for its user no more than `~<prefix>* +get +mget +set +getrange +setrange +del
//! +pexpire +pttl +time +zadd +zrange +zrem +zremrangebyscore +eval +evalsha +ping`, in a Cluster `+cluster|slots` too.
//!
//! `maxmemory-policy noeviction`: under any other the server may evict a session, which then ends early, or an owner's
//! mark, without which a sign-in that was under way may outlive a revocation.
//!
//! What survives a crash of the server is up to its persistence. What survives a failover is up to its replication,
//! which is asynchronous: the last changes before it may be lost, and a session that had just ended may live again.
//!
//! # What is not ours
//!
//! A value under a session's name that cannot be read (of another type, damaged, of a newer format) is absent, with a
//! warning each time it is loaded, and is never written over. It goes when its own expiry or deadline comes.

mod builder;
mod connect;
mod link;
mod owners;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::Value;

pub use self::builder::RedisStoreBuilder;
pub use self::connect::RedisSource;
use self::link::{Failure, Link};
use self::owners::Entry;
use self::script::{Reply, Script, Scripts};
use super::format::{self, instant};
use super::log::{entry_left, unreadable};
use super::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// Redis takes strings of up to 512 MiB; the rest is for the header.
const MAX_RECORD_LEN: usize = (512 << 20) - 1024;

/// Sessions in Redis or Valkey, standalone or Cluster, for any number of machines.
///
/// A clone shares the connection. All requests send over one connection, which is opened again when it is lost; while
/// there is none, calls fail at once, and the first call after the server has come back succeeds. All methods must be
/// called within a Tokio runtime that has its I/O and timer enabled.
///
/// Loading costs one round trip and so does each change; signing in and ending a signed-in session cost a second one,
/// for the owner's list. The [module](crate::store::redis) says what stands under which key.
///
/// # Cancel safety
///
/// Of all methods: a call that is dropped was done whole or not at all, and its reply is never taken for another
/// call's. Both the client's order and the key in every reply see to that.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use tower_session_layer::{RedisStore, SessionLayer};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("redis://:password@127.0.0.1:6379/0")
///     .prefix("shop:")
///     .connect_timeout(Duration::from_secs(1))
///     .response_timeout(Duration::from_secs(2))
///     .build()
///     .await?;
/// let sessions = SessionLayer::new(store);
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
///
/// A Cluster, by some of its nodes; or a connection that the program has already:
///
/// ```no_run
/// use tower_session_layer::{RedisSource, RedisStore};
///
/// # async fn example(manager: redis::aio::ConnectionManager) -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = RedisStore::new("redis+cluster://10.0.0.1:6379,10.0.0.2:6379").await?;
/// let shared = RedisStore::new(RedisSource::from(manager)).await?;
/// # let _ = (cluster, shared);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    link: Link,
    /// Where the connection leads, without secrets.
    place: Arc<str>,
    prefix: String,
    scripts: Scripts,
}

impl RedisStore {
    /// Connects with the default settings, as [`RedisStoreBuilder::build`] does.
    pub async fn new(source: impl Into<RedisSource>) -> Result<Self, StoreError> {
        Self::builder(source).build().await
    }

    /// Starts with the default settings.
    pub fn builder(source: impl Into<RedisSource>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(source.into())
    }
}

impl Inner {
    fn name(&self, key: &StoreKey) -> String {
        [&self.prefix, key.hex_in(&mut [0; 64])].concat()
    }

    /// Calls a script on a session.
    async fn step(&self, script: &Script, key: &StoreKey, arguments: &[&[u8]]) -> Result<Reply, StoreError> {
        Ok(script.call(&self.link, &[&self.name(key)], arguments).await?)
    }

    async fn load(&self, key: &StoreKey, now: SystemTime) -> Result<Loaded, StoreError> {
        let name = self.name(key);
        let got = self.link.send(redis::Cmd::with_capacity(2, 3 + name.len()).arg("GET").arg(&name)).await;
        let found = match got {
            Ok(Value::Nil) => return Ok(Loaded::Absent),
            Ok(Value::BulkString(value)) => format::decode(key, &value, now),
            Ok(_) => return Err(Failure::Reply.into()),
            Err(error) if error.code() == Some("WRONGTYPE") => Err("not a string".to_owned()),
            Err(error) => return Err(Failure::from(error).into()),
        };
        let why = match found {
            Ok(Loaded::Absent) => return self.settle(key, now).await,
            Ok(loaded) => return Ok(loaded),
            Err(why) => why,
        };
        // A second look, whose answer says to which key it belongs: were this another session's value, out of a row of
        // replies that has slipped, it would be an error rather than absence.
        match self.step(&self.scripts.settle, key, &[&instant(now)]).await?.into_bytes() {
            Some(value) => Ok(read(key, &value, now)),
            None => Ok(unreadable(key, &*why)),
        }
    }

    /// Removes what has expired, and returns what stands there if it was touched meanwhile.
    async fn settle(&self, key: &StoreKey, now: SystemTime) -> Result<Loaded, StoreError> {
        let found = self.step(&self.scripts.settle, key, &[&instant(now)]).await?.into_bytes();
        Ok(found.map_or(Loaded::Absent, |value| read(key, &value, now)))
    }

    /// Ends a session, and takes it out of its owner's list.
    async fn retire(
        &self,
        key: &StoreKey,
        from: Option<Version>,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<Reply, StoreError> {
        let from = from.map(|version| version.get().to_be_bytes());
        let from = from.as_ref().map_or(&[][..], |version| version);
        let value = format::tombstone(key, tombstone, now);
        let reply = self.step(&self.scripts.retire, key, &[&instant(now), from, &value]).await?;
        if reply.word() == b"done"
            && let Some((handle, owner)) = reply.bytes().split_first_chunk()
            && let Ok(owner) = str::from_utf8(owner)
            && let Err(error) = self.strike(owner, &[Entry { key: *key, handle: *handle }]).await
        {
            entry_left(key, error);
        }
        Ok(reply)
    }
}

fn read(key: &StoreKey, value: &[u8], now: SystemTime) -> Loaded {
    match format::decode(key, value, now) {
        Ok(loaded) => loaded,
        Err(why) => unreadable(key, &*why),
    }
}

fn bounded(record: &Record) -> Result<(), StoreError> {
    let len = record.encoded_len();
    if len > MAX_RECORD_LEN { Err(StoreError::too_large(len, MAX_RECORD_LEN)) } else { Ok(()) }
}

fn updated(reply: &Reply) -> Result<Updated, StoreError> {
    match reply.word() {
        b"done" => Ok(Updated::Done),
        b"conflict" => Ok(Updated::Conflict),
        b"gone" | b"retired" => Ok(Updated::Gone),
        _ => Err(Failure::Reply.into()),
    }
}

impl SessionStore for RedisStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    /// What a string of Redis holds: 512 MiB, less 1 KiB.
    fn max_record_len(&self) -> Option<usize> {
        Some(MAX_RECORD_LEN)
    }

    /// Never: every key has an expiry of its own.
    fn sweep_interval(&self) -> Option<Duration> {
        None
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.0.load(&token.key(), now).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        bounded(record)?;
        let key = fresh.key();
        let value = format::record(&key, record);
        let reply = self.0.step(&self.0.scripts.create, &key, &[&instant(now), &value]).await?;
        match (reply.word(), record.owner()) {
            (b"taken", _) => Ok(Created::Taken),
            (b"done", None) => Ok(Created::Stored),
            (b"done", Some(owner)) => self.0.enlist(owner, &key, record, now).await,
            _ => Err(Failure::Reply.into()),
        }
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let key = token.key();
        let (next, deadline) = match change {
            Change::Retire(tombstone) => return updated(&self.0.retire(&key, Some(from), tombstone, now).await?),
            Change::Replace(next, deadline) => (next, deadline),
        };
        bounded(next)?;
        let deadline: &[u8] = match deadline {
            Deadline::Keep => b"keep",
            Deadline::Extend => b"extend",
            Deadline::Set => b"set",
        };
        let value = format::record(&key, next);
        let (from, keep) = (format::beginning(from, &value), owners::millis(next.deadline(), now));
        let keep = if next.is_expired(now) { "0".to_owned() } else { keep.to_string() };
        let arguments = [&instant(now)[..], &from, &value, deadline, keep.as_bytes()];
        updated(&self.0.step(&self.0.scripts.replace, &key, &arguments).await?)
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (version, deadline) = (version.get().to_be_bytes(), instant(deadline));
        updated(&self.0.step(&self.0.scripts.touch, &token.key(), &[&instant(now), &version, &deadline]).await?)
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let key = token.key();
        let tombstone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        let reply = self.0.retire(&key, None, &tombstone, now).await?;
        match reply.word() {
            b"done" => Ok(Deleted::Done),
            b"gone" => Ok(Deleted::Absent),
            b"retired" => match read(&key, reply.bytes(), now) {
                Loaded::Tombstone(standing) => Ok(Deleted::Retired(standing)),
                _ => Ok(Deleted::Absent),
            },
            _ => Err(Failure::Reply.into()),
        }
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let listed = self.0.listed(owner).await?;
        Ok(self.0.visit(owner, &listed, now).await?.iter().map(|(_, record)| (&**record).into()).collect())
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.0.revoke(owner, revocation, now).await
    }

    /// Does nothing: every key has an expiry of its own.
    async fn sweep(&self, _limit: usize, _now: SystemTime) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { place, prefix, .. } = &*self.0;
        f.debug_struct("RedisStore").field("place", place).field("prefix", prefix).finish_non_exhaustive()
    }
}

/// What a value holds, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "nobody sees it")]
pub mod bytes {
    use std::time::SystemTime;

    use crate::store::format::{decode as read, record as write};
    use crate::store::{Loaded, Record};
    use crate::token::StoreKey;

    pub fn encode(key: &StoreKey, record: &Record) -> Vec<u8> {
        write(key, record)
    }

    pub fn decode(key: &StoreKey, value: &[u8], now: SystemTime) -> Loaded {
        read(key, value, now).unwrap_or(Loaded::Absent)
    }
}
