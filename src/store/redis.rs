//! Sessions in Redis or Valkey, on one server or a Cluster, shared by any number of machines.
//!
//! ```text
//! <prefix><the 32 bytes of the StoreKey>              a string: a record or a tombstone
//! <prefix>owner:{<the owner's SHA-256 in base64url>}  a sorted set of the owner's sessions, by StoreKey and handle
//! <prefix>mark:{<the owner's SHA-256 in base64url>}   a string: the owner's revocation mark
//! ```
//!
//! Loading is one `GET`. Each change of a session is one script, called by its hash, that works on the session's Redis
//! key alone and so runs on a Cluster. The scripts compare and move the times and versions in a header of fixed width, and
//! read the owner behind it. The deadline in the header decides whether a session lives. Every Redis key has an expiry too,
//! which only cleans up.
//!
//! # Owners
//!
//! An owner's list and mark are Redis keys of their own, in one slot. A sign-in enters the list and reads the mark in one
//! step, which also gives it its moment: Redis' own clock in microseconds, or the moment after the latest one of the list
//! and the mark. Then it writes its record, with the moment. Then it enters the list and reads the mark once more, and
//! removes its record again if the mark refuses it. A revocation writes the mark, then reads the list page by page and ends
//! the sessions that it finds. Of two steps on list and mark the second sees what the first has left, so no session
//! escapes. A revocation leaves its tombstone, too, for a session that is listed without a record: the record would come
//! too late.
//!
//! The entries of a list are hints: a session's record says who owns it and whether it lives. A session that ends leaves
//! its list in a call of its own. An entry whose session has ended, or whose removal was lost, goes when the list is next
//! read; if nothing stands under its key, not before an hour after the session was listed. A sign-in looks at up to four
//! entries that are a day old. The whole list expires with its last entry.
//!
//! # Commands
//!
//! | operation | commands |
//! |---|---|
//! | loading | `GET` |
//! | a new session, a write, a touch, an end | a script |
//! | signing in | 3 scripts, one after the other; where the owner has entries that are a day old, `MGET` |
//! | ending a signed-in session | a script and `ZREM` |
//! | listing | `ZRANGE` for each 512 sessions, `MGET` for each 64 |
//! | counting | `ZCARD` |
//! | revoking | 2 scripts, `ZRANGE` for each 512 sessions and at the end, a script for each session, `ZREM` for each 64 |
//!
//! # What the server needs
//!
//! Redis 6.2 or later, or Valkey. Its user needs no more than `~<prefix>* +get +mget +set +getrange +setrange +del
//! +pexpire +pttl +time +zadd +zrange +zrem +zcard +zcount +zscore +eval +evalsha +ping +info`, in a Cluster
//! `+cluster|slots` too.
//!
//! `maxmemory-policy noeviction`: under any other policy the server may evict a session, which then ends early, an owner's
//! list, without which a revocation does not find sessions that are in use, or a mark, without which a sign-in that was under
//! way may outlive a revocation. [`build`](RedisStoreBuilder::build) refuses such a server unless
//! [`insecure_eviction`](RedisStoreBuilder::insecure_eviction) is set. The user may do without `+info`; then the store
//! cannot ask, and warns.
//!
//! Where `maxmemory` is reached, nobody signs in and nothing is written, but sessions end and are revoked as ever. If a
//! server takes no tombstone, the session ends without one, and the store logs a warning.
//!
//! # Replicas, and a server that has forgotten
//!
//! On a server or with a user that may only read (`READONLY`, `NOPERM`), live sessions are read and each change is an error.
//! An expired session is absent as ever, and each load of it logs the warning `session.expired.kept`. A store that opened
//! its connection by a URL leaves a server that answers `READONLY` for the one to which the name then leads, and sends the
//! command there once more. So the first change after a promotion succeeds as soon as the name leads to the new master.
//!
//! A server that comes back empty is a store without sessions: tokens are unknown, and marks are forgotten with the
//! sessions that they ended. The first call after it is back loads its script again, and succeeds.
//!
//! # What it rests on
//!
//! Redis answers before a change is safe, unless it is set otherwise. After a loss, a session that had ended lives again
//! under its old token, and a revocation is forgotten with its mark.
//!
//! | setting of the server | may undo |
//! |---|---|
//! | the defaults: snapshots, no append-only file | at a crash, all since the last snapshot, up to an hour |
//! | `appendonly yes`, with the default `appendfsync everysec` | at a power loss, about the last second |
//! | `appendonly yes`, `appendfsync always` | nothing, while no replica takes over |
//! | replicas, with Sentinel or in a Cluster | at a failover, all that the new master had not received |
//!
//! Replication is asynchronous, whatever `appendfsync` says. `min-replicas-to-write 1` makes a master without replicas
//! refuse changes, ends among them, after `min-replicas-max-lag` (10 seconds by default), which bounds the loss. The store
//! sends no `WAIT`. A program that shares its connection with the store can send `WAIT` over it after
//! [`commit`](crate::Session::commit), to learn how many replicas have the end. It holds up the other commands of that
//! connection, and makes the loss less likely, not impossible.
//!
//! # Values that are not ours
//!
//! A value under a session's name that cannot be read (of another type, damaged, of a newer format) counts as absent,
//! with a warning each time it is loaded, and is never written over. It goes when its own expiry or deadline comes.

mod builder;
mod connect;
mod keyspace;
mod link;
mod owners;
mod policy;
mod revoke;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::Value;

pub use self::builder::RedisStoreBuilder;
pub use self::connect::RedisSource;
use self::keyspace::{Keyspace, Meant, read};
use self::link::RedisFailure;
use self::script::ScriptReply;
use super::format::{self, bounded, instant};
use super::log::unreadable;
use super::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::StoreError;
use crate::record::{DecodeError, Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// The most bytes of a record. Redis takes strings of up to 512 MiB; the rest is for the header.
const MAX_RECORD_LEN: usize = (512 << 20) - 1024;

/// A store of sessions in Redis or Valkey, standalone or Cluster, for any number of machines.
///
/// A clone shares the connection. All requests send over one connection, which is opened again when it is lost. While
/// there is no connection, calls fail at once; the first call after the server has come back succeeds. All methods must
/// be called within a Tokio runtime that has its I/O and timer enabled.
///
/// Loading costs one round trip and so does each change. Signing in costs three, and ending a signed-in session two, for
/// the owner's list. The [module](crate::store::redis) documents the Redis keys and commands.
///
/// # Cancel safety
///
/// A dropped call of any method was done whole or not at all, and its reply is never taken for that of another call: the
/// client keeps replies in order, and every reply to a change names its key.
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
/// A Cluster is named by some of its nodes, and a connection that the program has is shared:
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
pub struct RedisStore(Arc<Keyspace>);

fn updated(reply: &ScriptReply) -> Result<Updated, StoreError> {
    match &*reply.word {
        b"done" => Ok(Updated::Done),
        b"conflict" => Ok(Updated::Conflict),
        b"gone" | b"retired" | b"foreign" => Ok(Updated::Gone),
        _ => Err(RedisFailure::Reply.into()),
    }
}

impl SessionStore for RedisStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    /// Returns 512 MiB, which a string of Redis holds, less 1 KiB for the header.
    fn max_record_len(&self) -> Option<usize> {
        Some(MAX_RECORD_LEN)
    }

    /// Returns `None`, since every Redis key has an expiry of its own.
    fn sweep_interval(&self) -> Option<Duration> {
        None
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let key = token.key();
        let why = match self.0.link.send(redis::cmd("GET").arg(self.0.name(&key))).await {
            Ok(Value::Nil) => return Ok(Loaded::Absent),
            Ok(Value::BulkString(value)) => match format::decode(&key, &value, now) {
                // It may have been touched meanwhile.
                Ok(Loaded::Absent) => return self.0.settle_expired(&key, now).await,
                Ok(loaded) => return Ok(loaded),
                Err(why) => why,
            },
            Ok(_) => return Err(RedisFailure::Reply.into()),
            Err(RedisFailure::Redis(error)) if error.code() == Some("WRONGTYPE") => DecodeError("not a string"),
            Err(error) => return Err(error.into()),
        };
        // This reply names its key: a value of another session, out of replies that are no longer in order, is an error
        // rather than absence.
        Ok(self.0.settle(&key, now).await?.unwrap_or_else(|| unreadable(&key, why)))
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        bounded(record, self.max_record_len())?;
        let key = fresh.key();
        match record.owner() {
            Some(owner) => self.0.sign_in(owner, &key, record, now).await,
            None => Ok(self.0.insert(&key, record, now).await?.map_or(Created::Taken, |_| Created::Stored)),
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
            Change::Retire(tombstone) => {
                return updated(&self.0.retire(&key, &Meant::At(from), tombstone, now).await?);
            }
            Change::Replace(next, deadline) => (next, deadline),
        };
        bounded(next, self.max_record_len())?;
        if self.0.enlists_on_write
            && let Some(owner) = next.owner()
            && !self.0.keep_listed(owner, &key, next, now).await?
        {
            return Ok(Updated::Gone);
        }
        let deadline: &[u8] = match deadline {
            Deadline::Keep => b"keep",
            Deadline::Extend => b"extend",
            Deadline::Set => b"set",
        };
        let value = format::record(&key, next);
        let (from, keep) = (format::beginning(from, next.deadline()), owners::millis(next.deadline(), now));
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

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let tombstone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        let reply = self.0.retire(key, &Meant::Any, &tombstone, now).await?;
        match &*reply.word {
            b"done" => Ok(Deleted::Done),
            b"gone" | b"foreign" => Ok(Deleted::Absent),
            b"retired" => match read(key, reply.bytes(), now) {
                Loaded::Tombstone(stored) => Ok(Deleted::Retired(stored)),
                _ => Ok(Deleted::Absent),
            },
            _ => Err(RedisFailure::Reply.into()),
        }
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        self.0.owned(owner, now).await
    }

    /// Counts the entries of an owner's list. All sessions of the server cannot be counted.
    async fn count(&self, owner: Option<&str>, _now: SystemTime) -> Result<usize, StoreError> {
        match owner {
            Some(owner) => self.0.count(owner).await,
            None => Err(StoreError::unsupported()),
        }
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.0.revoke(owner, revocation, now).await
    }

    /// Does nothing, since every Redis key has an expiry of its own.
    async fn sweep(&self, _limit: usize, _now: SystemTime) -> Result<usize, StoreError> {
        Ok(0)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keyspace { place, prefix, .. } = &*self.0;
        f.debug_struct("RedisStore").field("place", place).field("prefix", prefix).finish_non_exhaustive()
    }
}

/// The bytes of a value, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "no user of the crate sees it")]
pub mod bytes {
    use std::time::SystemTime;

    use crate::store::{Loaded, Record, format};
    use crate::token::StoreKey;

    pub fn encode(key: &StoreKey, record: &Record) -> Vec<u8> {
        format::record(key, record)
    }

    pub fn decode(key: &StoreKey, value: &[u8], now: SystemTime) -> Loaded {
        super::read(key, value, now)
    }
}
