//! The Redis keys of a store, and the steps on a session's key.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::link::Link;
use super::script::{Script, ScriptReply, Scripts};
use crate::error::StoreError;
use crate::record::{Record, Tombstone, Version};
use crate::store::Loaded;
use crate::store::format::{self, HANDLE_LEN, instant};
use crate::store::log::{entry_left, unreadable};
use crate::token::StoreKey;

/// The Redis keys of a store, which share a prefix, and the connection to them.
pub(super) struct Keyspace {
    pub(super) link: Link,
    /// The place of the server, without secrets: its address, or that the program gave the connection.
    pub(super) place: Arc<str>,
    pub(super) prefix: String,
    pub(super) scripts: Scripts,
}

/// A member of the sorted set that is an owner's list: 48 bytes, the `StoreKey` and the handle of a session.
///
/// The handle tells a session that ended from one that is stored under its `StoreKey` later, whose entry must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) key: StoreKey,
    handle: [u8; HANDLE_LEN],
}

impl Member {
    pub(super) fn of(key: StoreKey, record: &Record) -> Self {
        Self { key, handle: *record.handle().as_bytes() }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        [self.key.as_bytes().as_slice(), &self.handle].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, handle) = bytes.split_first_chunk()?;
        Some(Self { key: StoreKey::from_bytes(*key), handle: handle.try_into().ok()? })
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
    pub(super) async fn settle(&self, key: &StoreKey, now: SystemTime) -> Result<Option<Loaded>, StoreError> {
        let reply = self.step(&self.scripts.settle, key, &[&instant(now)]).await?;
        Ok((reply.word == b"found").then(|| read(key, reply.bytes(), now)))
    }

    /// Ends a session, and removes it from its owner's list.
    pub(super) async fn retire(
        &self,
        key: &StoreKey,
        from: Option<Version>,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<ScriptReply, StoreError> {
        let from = from.map_or_else(Vec::new, |version| version.get().to_be_bytes().to_vec());
        let value = format::tombstone(key, tombstone, now);
        let reply = self.step(&self.scripts.retire, key, &[&instant(now), &from, &value]).await?;
        if reply.word == b"done"
            && let Some((handle, owner)) = reply.bytes().split_first_chunk()
            && let Ok(owner) = str::from_utf8(owner)
            && let Err(error) = self.strike(owner, &[Member { key: *key, handle: *handle }]).await
        {
            entry_left(key, error);
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
