//! The removal of what has expired, in steps that hold up no request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::dir::{Dir, Locked, NEW};
use super::locks::Locks;
use super::owners::{self, Entry, OwnerDigest, OwnerList};
use super::tree::{self, ShardDir, Tree};
use super::{owned, revoke, session};
use crate::error::StoreError;
use crate::record::Tombstone;

/// The number of files that are removed under one lock.
const STEP: usize = 16;

/// The place of the shard with which the next call begins.
///
/// Shards of sessions come before those of owners, so an ended session and its entry go in the same round.
#[derive(Debug, Default)]
pub(super) struct Cursor(AtomicUsize);

impl Cursor {
    /// Removes up to `limit` records, tombstones and marks. Fewer went only if every shard was visited once.
    pub(super) async fn sweep(&self, locks: &Arc<Locks>, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        let places = ShardDir::all().count();
        let start = self.0.load(Ordering::Relaxed) % places;
        let mut gone = 0;
        for shard in ShardDir::all().cycle().skip(start).take(places) {
            // The cursor moves first, so that a shard which always fails does not keep the sweep from all others.
            self.0.store(shard.index() + 1, Ordering::Relaxed);
            gone += match shard {
                ShardDir::Sessions(byte) => sessions(locks, byte, limit - gone, now).await?,
                ShardDir::Owners(byte) => marks(locks, byte, limit - gone, now).await?,
            };
            if gone >= limit {
                self.0.store(shard.index(), Ordering::Relaxed);
                break;
            }
        }
        Ok(gone)
    }
}

async fn sessions(locks: &Locks, byte: u8, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
    let expired = locks.read(move |tree| expired(tree, byte, limit, now)).await?;
    let mut gone = 0;
    for names in expired.chunks(STEP) {
        let names = names.to_vec();
        let remove = move |[shard]: [&Locked<'static>; 1]| {
            let mut gone = 0;
            for name in &names {
                // The file may have been touched meanwhile. A file that is being written has its name by now, or is a stray one.
                if is_expired(shard, byte, name, now)? && shard.remove(name)? && name != NEW {
                    gone += 1;
                }
            }
            Ok(gone)
        };
        gone += locks.hold([ShardDir::Sessions(byte)], remove).await?;
    }
    Ok(gone)
}

/// Lists the names of the expired files in a shard, and of one that is being written or was left half-written.
fn expired(tree: &Tree, byte: u8, limit: usize, now: SystemTime) -> io::Result<Vec<String>> {
    let Some(shard) = tree.find(ShardDir::Sessions(byte))? else { return Ok(Vec::new()) };
    let expired = |name: String| Ok(is_expired(&shard, byte, &name, now)?.then_some(name));
    shard.names()?.filter_map(|name| name.and_then(expired).transpose()).take(limit).collect()
}

fn is_expired(shard: &Dir, byte: u8, name: &str, now: SystemTime) -> io::Result<bool> {
    let is_session = tree::parse_name(byte, name).is_some();
    Ok(name == NEW || is_session && session::peek(shard, name)?.is_some_and(|header| header.is_expired(now)))
}

async fn marks(locks: &Arc<Locks>, byte: u8, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
    let mut gone = 0;
    for Stale { owner, strays, mut ended, tombstone, is_untidy } in
        locks.read(move |tree| stale(tree, byte, now)).await?
    {
        if gone == limit {
            break;
        }
        for entry in strays {
            owned::prune(locks, owner, entry, now).await?;
        }
        ended.truncate(limit - gone);
        gone += revoke::end(locks, owner, ended, &tombstone, now).await?.len();
        if is_untidy {
            let tidy = move |[owners]: [&_; 1]| owners::tidy(owners, owner, SystemTime::now());
            gone += usize::from(locks.hold([owner.shard()], tidy).await?);
        }
    }
    Ok(gone)
}

/// The parts of an owner's directory that a sweep removes.
struct Stale {
    owner: OwnerDigest,
    /// The entries that have no record.
    strays: Vec<Entry>,
    /// The sessions that the mark has ended, once its tombstone has ended too.
    ended: Vec<Entry>,
    tombstone: Tombstone,
    is_untidy: bool,
}

/// Lists the owners of a shard.
///
/// A mark is untidy only if it had ended no session when the list was read. So it outlasts the sessions that it ends by a
/// round, and no reader that has found such a session misses the mark.
fn stale(tree: &Tree, byte: u8, now: SystemTime) -> io::Result<Vec<Stale>> {
    let mut found = Vec::new();
    for (owner, OwnerList { mark, entries }, is_untidy) in owners::all(tree, byte, SystemTime::now())? {
        let (mut strays, mut ended, tombstone) = (Vec::new(), Vec::new(), mark.tombstone());
        session::visit(tree, &entries, |shard, entry| {
            let header = shard.map_or(Ok(None), |shard| session::peek(shard, &tree::name(&entry.key)))?;
            if !header.is_some_and(|header| header.is_record()) {
                strays.push(entry);
            } else if mark.ends(&entry) && tombstone.until() <= now {
                ended.push(entry);
            }
            Ok(())
        })?;
        found.push(Stale { owner, strays, ended, tombstone, is_untidy });
    }
    Ok(found)
}
