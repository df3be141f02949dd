//! The Redis keys of a store, and the steps on a session's key.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::link::{Link, RedisFailure};
use super::script::{Script, ScriptReply, Scripts};
use crate::error::StoreError;
use crate::record::{Record, SessionHandle, Tombstone, Version};
use crate::store::Loaded;
use crate::store::format::{self, instant};
use crate::store::log::{entry_left, expired_kept, given_up, unreadable};
use crate::token::StoreKey;

/// The Redis keys of a store, which share a prefix, and the connection to them.
pub(super) struct Keyspace {
    pub(super) link: Link,
    /// The place of the server, without secrets: its address, or that the program gave the connection.
    pub(super) place: Arc<str>,
    pub(super) prefix: String,
    pub(super) scripts: Scripts,
    /// The server may evict lists, so every write enters its session again.
    pub(super) enlists_on_write: bool,
}

/// A member of the sorted set that is an owner's list: 48 bytes, the `StoreKey` and the handle of a session.
///
/// The handle tells a session that ended from one that is stored under its `StoreKey` later, whose entry must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) key: StoreKey,
    pub(super) handle: SessionHandle,
}

/// The choice of the session to end under a key.
pub(super) enum Meant<'a> {
    Any,
    At(Version),
    /// The session with this handle of this owner, if it signed in at this moment at the latest.
    Listed(SessionHandle, &'a str, u64),
}

impl Meant<'_> {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Any => Vec::new(),
            Self::At(version) => version.get().to_be_bytes().to_vec(),
            Self::Listed(handle, owner, latest) => {
                [handle.as_bytes().as_slice(), &latest.to_be_bytes(), owner.as_bytes()].concat()
            }
        }
    }
}

impl Member {
    pub(super) fn of(key: StoreKey, record: &Record) -> Self {
        Self { key, handle: record.handle() }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        [self.key.as_bytes().as_slice(), self.handle.as_bytes()].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, handle) = bytes.split_first_chunk()?;
        Some(Self { key: StoreKey::from_bytes(*key), handle: SessionHandle::from_bytes(handle.try_into().ok()?) })
    }
}

impl Keyspace {
    /// Returns the Redis key of a session. The digest is not in text, which would take a third of a small session's bytes.
    pub(super) fn name(&self, key: &StoreKey) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// Calls a script on a session.
    pub(super) async fn step(
        &self,
        script: &Script,
        key: &StoreKey,
        args: &[&[u8]],
    ) -> Result<ScriptReply, StoreError> {
        Ok(script.call(&self.link, &[self.name(key)], args).await?)
    }

    /// Removes a value that has expired, and returns any other that is ours.
    pub(super) async fn settle(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Loaded>, RedisFailure> {
        let reply = self.scripts.settle.call(&self.link, &[self.name(key)], &[&instant(now)]).await?;
        if reply.word == b"kept" {
            expired_kept(key, format_args!("redis answered {}", String::from_utf8_lossy(reply.bytes())));
        }
        Ok((reply.word == b"found").then(|| read(key, reply.bytes(), now)))
    }

    /// Removes a value that was read as expired, unless it was touched meanwhile. It is absent even if it cannot be removed.
    pub(super) async fn settle_expired(&self, key: &StoreKey, now: SystemTime) -> Result<Loaded, StoreError> {
        match self.settle(key, now).await {
            Err(failure) if failure.is_refusal() => expired_kept(key, failure),
            settled => return Ok(settled?.unwrap_or(Loaded::Absent)),
        }
        Ok(Loaded::Absent)
    }

    /// Writes a new record, and returns the moment of the sign-in that it stands with; `None` if anything else stands
    /// under the key.
    pub(super) async fn insert(
        &self,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<Option<u64>, StoreError> {
        let value = format::record(key, record);
        let reply = self.step(&self.scripts.create, key, &[&instant(now), &value]).await?;
        match &*reply.word {
            b"done" => Ok(Some(reply.bytes().try_into().map_or(record.sign_in(), u64::from_be_bytes))),
            b"taken" => Ok(None),
            _ => Err(RedisFailure::Reply.into()),
        }
    }

    /// Ends a session, and leaves it in its owner's list. `place` is that in the list from which the session comes.
    pub(super) async fn end(
        &self,
        key: &StoreKey,
        meant: &Meant<'_>,
        place: Option<u64>,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<ScriptReply, StoreError> {
        let (now_bytes, meant, value) = (instant(now), meant.encode(), format::tombstone(key, tombstone, now));
        let place = place.map(|place| place.to_string());
        let mut arguments = vec![&now_bytes[..], &meant, &value];
        arguments.extend(place.as_ref().map(String::as_bytes));
        let mut reply = self.step(&self.scripts.retire, key, &arguments).await?;
        if reply.word == b"bare" {
            given_up(key, "the server is at its maxmemory");
            reply.word = b"done".to_vec();
        }
        Ok(reply)
    }

    /// Ends a session, and removes it from its owner's list.
    pub(super) async fn retire(
        &self,
        key: &StoreKey,
        meant: &Meant<'_>,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<ScriptReply, StoreError> {
        let reply = self.end(key, meant, None, tombstone, now).await?;
        if reply.word == b"done"
            && let Some((handle, owner)) = reply.bytes().split_first_chunk()
            && let Ok(owner) = str::from_utf8(owner)
        {
            self.strike_ended(owner, &[Member { key: *key, handle: SessionHandle::from_bytes(*handle) }]).await;
        }
        Ok(reply)
    }

    /// Removes sessions from an owner's list.
    pub(super) async fn strike(&self, owner: &str, ended: &[Member]) -> Result<(), StoreError> {
        if !ended.is_empty() {
            let members: Vec<_> = ended.iter().map(|member| member.encode()).collect();
            let [list, _] = self.names(owner);
            self.link.send(redis::cmd("ZREM").arg(list).arg(members)).await?;
        }
        Ok(())
    }

    /// Removes sessions that have ended from an owner's list. What fails is made up for when the list is next read.
    pub(super) async fn strike_ended(&self, owner: &str, ended: &[Member]) {
        if let Err(error) = self.strike(owner, ended).await
            && let Some(member) = ended.first()
        {
            entry_left(&member.key, error);
        }
    }

    /// Removes sessions without a record from an owner's list, unless the record may be on its way.
    pub(super) async fn strike_absent(&self, owner: &str, absent: &[Member]) -> Result<(), StoreError> {
        if !absent.is_empty() {
            let members: Vec<_> = absent.iter().map(|member| member.encode()).collect();
            let members: Vec<_> = members.iter().map(Vec::as_slice).collect();
            let [list, _] = self.names(owner);
            self.scripts.strike.call(&self.link, &[list], &members).await?;
        }
        Ok(())
    }

    /// Returns the Redis keys of an owner's list and mark.
    pub(super) fn names(&self, owner: &str) -> [Vec<u8>; 2] {
        let digest = StoreKey::from_bytes(Sha256::digest(owner).into()).base64();
        // The part in braces decides about the slot. It is text, since a brace among its bytes would end it.
        ["owner", "mark"].map(|kind| format!("{}{kind}:{{{digest}}}", self.prefix).into_bytes())
    }
}

/// Reads a value, and warns of one that cannot be read.
pub(super) fn read(key: &StoreKey, value: &[u8], now: SystemTime) -> Loaded {
    format::decode(key, value, now).unwrap_or_else(|why| unreadable(key, why))
}
