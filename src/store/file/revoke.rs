//! The revocation of an owner's sessions.
//!
//! A mark ends all sessions at once. If there are few, they are then replaced by tombstones; if there are many, they are
//! left to the sweep.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinSet;

use super::dir::{Locked, is_full};
use super::locks::Locks;
use super::owners::{self, Entry, OwnerDigest, OwnerList};
use super::session::{self, SessionFile};
use super::tree::{ShardDir, Tree};
use crate::error::StoreError;
use crate::record::{SessionHandle, Tombstone};
use crate::store::{Revocation, Revoke};

/// The most sessions that a revocation replaces by tombstones, where its mark has ended them already.
const REPLACED: usize = 256;
/// The number of files that are changed under one lock.
const STEP: usize = 8;
/// The number of files that are read in one go.
const READ: usize = 1_024;
/// The number of steps at once. It leaves most of the store's threads to others.
const AT_ONCE: usize = 8;
/// The number of entries that are removed under one lock.
const STRUCK: usize = 256;

/// Ends an owner's sessions, and returns how many it ended.
pub(super) async fn revoke(
    locks: &Arc<Locks>,
    owner: OwnerDigest,
    revocation: &Revocation,
    now: SystemTime,
) -> Result<usize, StoreError> {
    let tombstone = revocation.tombstone(now);
    if let Revoke::These(handles) = revocation.which() {
        return these(locks, owner, handles.iter().copied().collect(), &tombstone, now).await;
    }
    let (before, is_marked) = mark(locks, owner, revocation, now).await?;
    // Those that an earlier mark has ended are not counted again.
    let meant: Vec<_> = before.standing().filter(|entry| revocation.includes(entry.handle)).collect();
    if is_marked && meant.len() > REPLACED {
        return living(locks, &meant, now).await;
    }
    let ended = end(locks, owner, meant, &tombstone, now).await?;
    if !is_marked {
        // The sessions that are gone may have left room.
        locks.hold([owner.shard()], again(owner, revocation, now)).await?;
    }
    Ok(ended.len())
}

/// Ends the sessions with these handles.
async fn these(
    locks: &Arc<Locks>,
    owner: OwnerDigest,
    handles: HashSet<SessionHandle>,
    tombstone: &Tombstone,
    now: SystemTime,
) -> Result<usize, StoreError> {
    let (mut ended, mut visited) = (HashSet::new(), HashSet::new());
    loop {
        let list = locks.read(move |tree| OwnerList::find(tree, owner)).await?;
        let listed = list.standing().filter(|entry| handles.contains(&entry.handle) && visited.insert(*entry));
        let listed: Vec<_> = listed.collect();
        // A renewal lists its new record before the old one ends, so a renewed session shows in the next list.
        if listed.is_empty() {
            return Ok(ended.len());
        }
        ended.extend(end(locks, owner, listed, tombstone, now).await?);
    }
}

/// Writes the mark. Returns the list as it was before, and whether there was room for the mark.
async fn mark(
    locks: &Locks,
    owner: OwnerDigest,
    revocation: &Revocation,
    now: SystemTime,
) -> Result<(OwnerList, bool), StoreError> {
    let revocation = revocation.clone();
    let mark = move |[owners]: [&_; 1]| {
        let before = owners::list(owners, owner)?;
        match owners::add_mark(owners, owner, &revocation, now) {
            Err(error) if is_full(&error) => Ok((before, false)),
            marked => marked.map(|()| (before, true)),
        }
    };
    locks.hold([owner.shard()], mark).await
}

fn again(
    owner: OwnerDigest,
    revocation: &Revocation,
    now: SystemTime,
) -> impl Fn([&Locked<'static>; 1]) -> io::Result<()> + Send + Sync + 'static {
    let revocation = revocation.clone();
    move |[owners]| owners::add_mark(owners, owner, &revocation, now)
}

/// Ends listed sessions that live, removes their entries and those of sessions that do not live, and returns the sessions
/// that it ended.
///
/// A failure in one shard does not keep the sessions of others alive.
pub(super) async fn end(
    locks: &Arc<Locks>,
    owner: OwnerDigest,
    entries: Vec<Entry>,
    tombstone: &Tombstone,
    now: SystemTime,
) -> Result<HashSet<SessionHandle>, StoreError> {
    let mut shards: BTreeMap<u8, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        shards.entry(entry.key.as_bytes()[0]).or_default().push(entry);
    }
    let steps: Vec<_> = shards
        .into_iter()
        .flat_map(|(byte, entries)| entries.chunks(STEP).map(move |step| (byte, step.to_vec())).collect::<Vec<_>>())
        .collect();
    let work = |(byte, step): (u8, Vec<Entry>)| {
        let (locks, tombstone) = (Arc::clone(locks), tombstone.clone());
        let end = move |[shard]: [&Locked<'static>; 1]| {
            let fate =
                |entry: &Entry| Ok((*entry, SessionFile::new(shard, &entry.key, now).end(owner, entry, &tombstone)?));
            let fates = step.iter().map(fate).collect::<io::Result<Vec<_>>>()?;
            shard.sync().map(|()| fates)
        };
        async move { locks.hold([ShardDir::Sessions(byte)], end).await }
    };
    let (fates, failed) = all(steps.into_iter().map(work)).await;
    let gone: Vec<_> = fates.iter().filter(|(_, fate)| fate.is_some()).map(|(entry, _)| *entry).collect();
    for entries in gone.chunks(STRUCK) {
        let entries = entries.to_vec();
        locks.hold([owner.shard()], move |[owners]| owners::strike(owners, owner, &entries)).await?;
    }
    let ended = fates.into_iter().filter(|(_, fate)| *fate == Some(true)).map(|(entry, _)| entry.handle).collect();
    failed.map_or(Ok(ended), Err)
}

/// Counts the listed sessions that live but for the mark.
async fn living(locks: &Arc<Locks>, entries: &[Entry], now: SystemTime) -> Result<usize, StoreError> {
    let work = |step: &[Entry]| {
        let (locks, step) = (Arc::clone(locks), step.to_vec());
        let read = move |tree: &Tree| {
            session::visit(tree, &step, |shard, entry| {
                let stands = shard.map_or(Ok(false), |shard| session::stands(shard, &entry.key, now))?;
                Ok(stands.then_some(entry.handle))
            })
        };
        async move { locks.read(read).await }
    };
    let (found, failed) = all(entries.chunks(READ).map(work)).await;
    // A session that is being renewed is listed twice.
    let handles: HashSet<_> = found.into_iter().flatten().collect();
    failed.map_or(Ok(handles.len()), Err)
}

/// Runs steps, a few at once, to their end. Returns what they found, and the first failure.
async fn all<T: Send + 'static>(
    steps: impl Iterator<Item = impl Future<Output = Result<Vec<T>, StoreError>> + Send + 'static>,
) -> (Vec<T>, Option<StoreError>) {
    let (mut running, mut found, mut failed) = (JoinSet::new(), Vec::new(), None);
    let mut add = |done: Result<Result<Vec<T>, StoreError>, tokio::task::JoinError>| match done {
        Ok(Ok(more)) => found.extend(more),
        Ok(Err(error)) => drop(failed.get_or_insert(error)),
        Err(error) => drop(failed.get_or_insert(StoreError::new(error))),
    };
    for step in steps {
        if running.len() == AT_ONCE
            && let Some(done) = running.join_next().await
        {
            add(done);
        }
        running.spawn(step);
    }
    while let Some(done) = running.join_next().await {
        add(done);
    }
    (found, failed)
}
