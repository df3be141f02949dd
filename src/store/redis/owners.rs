//! Whose sessions are whose: see the parent module for what stands where.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use redis::Value;
use sha2::{Digest as _, Sha256};

use super::Inner;
use super::link::Failure;
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::format::{self, HANDLE_LEN};
use crate::store::{Created, Loaded, Revocation, RevocationMark};
use crate::token::StoreKey;

/// How many records are read at once.
const BATCH: usize = 64;

/// What stands in an owner's list: 48 bytes, the key and the handle of a session.
///
/// The handle tells a session from one that stands under its key later, whose entry must not be struck with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) key: StoreKey,
    pub(super) handle: [u8; HANDLE_LEN],
}

impl Entry {
    fn of(key: StoreKey, record: &Record) -> Self {
        Self { key, handle: *record.handle().as_bytes() }
    }

    fn encode(self) -> Vec<u8> {
        [self.key.as_bytes().as_slice(), &self.handle].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, handle) = bytes.split_first_chunk()?;
        Some(Self { key: StoreKey::from_bytes(*key), handle: handle.try_into().ok()? })
    }
}

/// The keys of an owner, of one slot.
struct Names {
    list: String,
    mark: String,
}

impl Inner {
    /// Enters a record that was just written in its owner's list, or removes it if the owner's mark refuses it.
    pub(super) async fn enlist(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<Created, StoreError> {
        let names = self.names(owner);
        let longest = record.deadline().max(record.absolute_deadline());
        // The day is for clocks that step back, after which a session outlasts what was foreseen.
        let longest = millis(longest, now).saturating_add(RevocationMark::LIFETIME.as_millis()).to_string();
        let keys = [names.list.as_str(), &names.mark];
        let arguments = [&Entry::of(*key, record).encode()[..], longest.as_bytes()];
        let reply = self.scripts.enlist.call(&self.link, &keys, &arguments).await?;
        match read_mark(reply.bytes())? {
            Some(mark) if mark.refuses(record) => {
                let nothing = Tombstone::new(TombstoneKind::Revoked, std::time::Duration::ZERO, now);
                // Whatever its version: who was given the token by other means may have written meanwhile.
                self.retire(key, None, &nothing, now).await?;
                Ok(Created::Revoked(mark))
            }
            _ => Ok(Created::Stored),
        }
    }

    /// Lists an owner's sessions, live or not.
    pub(super) async fn listed(&self, owner: &str) -> Result<Vec<Entry>, StoreError> {
        let list = self.names(owner).list;
        match self.link.send(redis::cmd("ZRANGE").arg(list).arg(0).arg(-1)).await.map_err(Failure::from)? {
            Value::Array(list) => Ok(entries(&list)),
            _ => Err(Failure::Reply.into()),
        }
    }

    /// Reads listed sessions, strikes from the list what does not live, and returns the rest.
    pub(super) async fn visit(
        &self,
        owner: &str,
        listed: &[Entry],
        now: SystemTime,
    ) -> Result<Vec<(Entry, Arc<Record>)>, StoreError> {
        let (mut live, mut stale) = (Vec::new(), Vec::new());
        for batch in listed.chunks(BATCH) {
            let names: Vec<_> = batch.iter().map(|entry| self.name(&entry.key)).collect();
            let Value::Array(values) = self.link.send(redis::cmd("MGET").arg(&names)).await.map_err(Failure::from)?
            else {
                return Err(Failure::Reply.into());
            };
            if values.len() != batch.len() {
                return Err(Failure::Reply.into());
            }
            for (entry, value) in batch.iter().zip(&values) {
                let Value::BulkString(value) = value else {
                    stale.push(*entry);
                    continue;
                };
                let loaded = match format::decode(&entry.key, value, now) {
                    Ok(Loaded::Absent) => self.settle(&entry.key, now).await?,
                    Ok(loaded) => loaded,
                    // Of a newer format, perhaps, and then whoever can read it needs the entry.
                    Err(_) => continue,
                };
                match loaded {
                    Loaded::Live(record)
                        if record.owner() == Some(owner) && Entry::of(entry.key, &record) == *entry =>
                    {
                        live.push((*entry, record));
                    }
                    _ => stale.push(*entry),
                }
            }
        }
        self.strike(owner, &stale).await?;
        Ok(live)
    }

    pub(super) async fn revoke(
        &self,
        owner: &str,
        revocation: &Revocation,
        now: SystemTime,
    ) -> Result<usize, StoreError> {
        let mut listed = if revocation.leaves_mark() {
            self.mark(owner, revocation, now).await?
        } else {
            self.listed(owner).await?
        };
        let (mut ended, mut visited) = (0, HashSet::new());
        loop {
            listed.retain(|entry| visited.insert(*entry));
            if listed.is_empty() {
                return Ok(ended);
            }
            for (entry, record) in self.visit(owner, &listed, now).await? {
                if revocation.includes(record.handle()) {
                    let reply = self.retire(&entry.key, None, &revocation.tombstone(now), now).await?;
                    ended += usize::from(reply.word() == b"done");
                }
            }
            // A renewal lists its new record before the old one ends: one that ended first shows in the next list.
            listed = self.listed(owner).await?;
        }
    }

    /// Adds a revocation to the owner's mark, and returns the list of the owner's sessions as of that moment.
    async fn mark(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<Vec<Entry>, StoreError> {
        let names = self.names(owner);
        let keys = [names.list.as_str(), &names.mark];
        let mut standing = Vec::new();
        loop {
            let mut mark = read_mark(&standing)?.unwrap_or_default();
            mark.add(revocation);
            let lasting = millis(mark.deadline(), now).to_string();
            let arguments = [standing.as_slice(), &mark.encode(), lasting.as_bytes()];
            let reply = self.scripts.mark.call(&self.link, &keys, &arguments).await?;
            match reply.word() {
                b"done" => return Ok(entries(&reply.into_list())),
                // Somebody else's revocation stands there, to which ours is added.
                b"conflict" => standing = reply.bytes().to_vec(),
                _ => return Err(Failure::Reply.into()),
            }
        }
    }

    /// Removes entries from an owner's list.
    pub(super) async fn strike(&self, owner: &str, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = entries.iter().map(|entry| entry.encode()).collect();
        let list = self.names(owner).list;
        self.link.send(redis::cmd("ZREM").arg(list).arg(entries)).await.map_err(Failure::from)?;
        Ok(())
    }

    fn names(&self, owner: &str) -> Names {
        let digest = StoreKey::from_bytes(Sha256::digest(owner).into());
        // What is in braces decides about the slot.
        let name = |kind| format!("{}{kind}:{{{digest}}}", self.prefix);
        Names { list: name("owner"), mark: name("mark") }
    }
}

/// `None` where there is no mark. Bytes of another length are no mark: a sign-in that cannot be checked must not count.
fn read_mark(bytes: &[u8]) -> Result<Option<RevocationMark>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    RevocationMark::decode(bytes).map(Some).ok_or(Failure::Mark)
}

/// How long it is from `now` to `end`: at least a millisecond, at most a century.
pub(super) fn millis(end: SystemTime, now: SystemTime) -> u128 {
    const CENTURY: u128 = 100 * 31_557_600_000;
    end.duration_since(now).map_or(1, |left| left.as_micros().div_ceil(1_000).clamp(1, CENTURY))
}

/// What among a list's members is an entry.
fn entries(list: &[Value]) -> Vec<Entry> {
    let entry = |member: &Value| match member {
        Value::BulkString(bytes) => Entry::decode(bytes),
        _ => None,
    };
    list.iter().filter_map(entry).collect()
}
