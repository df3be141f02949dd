//! The lists and marks of owners; the parent module documents the order in which they are written and read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::Value;

use super::keyspace::{Keyspace, Member};
use super::link::RedisFailure;
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Created, Loaded, Revocation, RevocationMark, format};
use crate::token::StoreKey;

/// The number of records that are read at once.
const BATCH: usize = 64;

impl Keyspace {
    /// Enters a record that was just written in its owner's list, or removes it if the owner's mark refuses it.
    pub(super) async fn enlist(&self, key: &StoreKey, record: &Record, now: SystemTime) -> Result<Created, StoreError> {
        let Some(owner) = record.owner() else { return Ok(Created::Stored) };
        let longest = record.deadline().max(record.absolute_deadline());
        // The day is for clocks that step back, after which a session lives longer than foreseen.
        let longest = millis(longest, now).saturating_add(RevocationMark::LIFETIME.as_millis()).to_string();
        let arguments = [&Member::of(*key, record).encode()[..], longest.as_bytes()];
        let reply = self.scripts.enlist.call(&self.link, &self.names(owner), &arguments).await?;
        match read_mark(reply.bytes())? {
            Some(mark) if mark.refuses(record) => {
                let nothing = Tombstone::new(TombstoneKind::Revoked, Duration::ZERO, now);
                // Any version, since a client that got the token by other means may have written meanwhile.
                self.retire(key, None, &nothing, now).await?;
                Ok(Created::Revoked(mark))
            }
            _ => Ok(Created::Stored),
        }
    }

    /// Lists an owner's sessions, live or not.
    pub(super) async fn listed(&self, owner: &str) -> Result<Vec<Member>, StoreError> {
        let [list, _] = self.names(owner);
        Ok(members(&self.link.send(redis::cmd("ZRANGE").arg(list).arg(0).arg(-1)).await?)?)
    }

    /// Reads listed sessions, removes those that do not live from the list, and returns the others.
    pub(super) async fn visit(
        &self,
        owner: &str,
        listed: &[Member],
        now: SystemTime,
    ) -> Result<Vec<(Member, Arc<Record>)>, StoreError> {
        let (mut live, mut stale) = (Vec::new(), Vec::new());
        for batch in listed.chunks(BATCH) {
            let names: Vec<_> = batch.iter().map(|member| self.name(&member.key)).collect();
            let values = match self.link.send(redis::cmd("MGET").arg(&names)).await? {
                Value::Array(values) if values.len() == batch.len() => values,
                _ => return Err(RedisFailure::Reply.into()),
            };
            for (member, value) in batch.iter().zip(&values) {
                let loaded = match value {
                    Value::BulkString(value) => match format::decode(&member.key, value, now) {
                        Ok(Loaded::Absent) => self.settle(&member.key, now).await?.unwrap_or(Loaded::Absent),
                        Ok(loaded) => loaded,
                        // A process that knows a newer format may read the value, and then needs the entry.
                        Err(_) => continue,
                    },
                    _ => Loaded::Absent,
                };
                match loaded {
                    Loaded::Live(record)
                        if record.owner() == Some(owner) && Member::of(member.key, &record) == *member =>
                    {
                        live.push((*member, record));
                    }
                    _ => stale.push(*member),
                }
            }
        }
        self.strike(owner, &stale).await?;
        Ok(live)
    }

    /// Adds a revocation to the owner's mark, and returns the list of the owner's sessions as of that moment.
    pub(super) async fn mark(&self, owner: &str, add: &Revocation, now: SystemTime) -> Result<Vec<Member>, StoreError> {
        let names = self.names(owner);
        let mut stored = Vec::new();
        loop {
            let mut mark = read_mark(&stored)?.unwrap_or_default();
            mark.add(add);
            let lifetime = millis(mark.deadline(), now).to_string();
            let arguments = [stored.as_slice(), &mark.encode(), lifetime.as_bytes()];
            let reply = self.scripts.mark.call(&self.link, &names, &arguments).await?;
            match &*reply.word {
                b"done" => return Ok(members(&reply.rest)?),
                // Another revocation has written the mark, to which this one is added.
                b"conflict" => stored = reply.bytes().to_vec(),
                _ => return Err(RedisFailure::Reply.into()),
            }
        }
    }
}

/// Reads a mark and returns `None` for no bytes.
///
/// Bytes of any other length than a mark's are an error, since a sign-in that cannot be checked must not count.
fn read_mark(bytes: &[u8]) -> Result<Option<RevocationMark>, RedisFailure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    RevocationMark::decode(bytes).map(Some).ok_or(RedisFailure::Mark)
}

/// Returns the time from `now` to `end` in milliseconds: at least one, at most a century.
pub(super) fn millis(end: SystemTime, now: SystemTime) -> u128 {
    const CENTURY: u128 = 100 * 31_557_600_000;
    end.duration_since(now).map_or(1, |left| left.as_micros().div_ceil(1_000).clamp(1, CENTURY))
}

/// Reads an owner's list, and leaves out members that the store did not write.
fn members(list: &Value) -> Result<Vec<Member>, RedisFailure> {
    let Value::Array(list) = list else { return Err(RedisFailure::Reply) };
    let member = |member: &Value| if let Value::BulkString(bytes) = member { Member::decode(bytes) } else { None };
    Ok(list.iter().filter_map(member).collect())
}
