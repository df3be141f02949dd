//! The directory of an owner: the list of the owner's sessions, an empty file for each, and the mark.
//!
//! The entries of a list are hints. A session's record says who owns it and whether it lives; an entry without such a
//! record is removed when it is met. Entries and mark change under the lock of the owner's shard only. So a sign-in and a
//! revocation find each other: the one that takes the lock second sees what the first has written.

use std::io::{self, Read as _};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::dir::{self, Dir, Locked, Lookup, NEW};
use super::tree::{self, ShardDir, Tree};
use crate::store::{Revocation, RevocationMark};
use crate::token::StoreKey;

const MARK: &str = "mark";

/// The SHA-256 of an owner's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerDigest(StoreKey);

impl OwnerDigest {
    pub(super) fn of(name: &str) -> Self {
        Self(StoreKey::from_bytes(Sha256::digest(name).into()))
    }

    pub(super) fn shard(&self) -> ShardDir {
        ShardDir::Owners(self.0.as_bytes()[0])
    }

    fn dir_name(&self) -> String {
        tree::name(&self.0)
    }
}

/// An owner's directory, read without a lock.
pub(super) struct OwnerDir {
    pub(super) owner: OwnerDigest,
    pub(super) keys: Vec<StoreKey>,
    /// Set if [`tidy`] has something to remove.
    pub(super) is_untidy: bool,
}

/// Lists the owners of a shard.
pub(super) fn all(tree: &Tree, shard: u8, now: SystemTime) -> io::Result<Vec<OwnerDir>> {
    let Some(owners) = tree.find(ShardDir::Owners(shard))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in owners.names()? {
        let name = name?;
        let Some(owner) = tree::parse_name(shard, &name).map(OwnerDigest) else { continue };
        let list = match owners.sub(&name) {
            // A name that the store did not make is left alone.
            Err(error) if dir::is_foreign(&error) => continue,
            list => list?,
        };
        let Some(list) = list else { continue };
        let keys = read_keys(&list)?;
        let is_untidy = match list.file(MARK)? {
            Lookup::Absent => keys.is_empty(),
            Lookup::File(_) | Lookup::Foreign => is_over(&list, now)?,
        };
        found.push(OwnerDir { owner, keys, is_untidy });
    }
    Ok(found)
}

/// Lists the entries of an owner.
pub(super) fn keys(tree: &Tree, owner: OwnerDigest) -> io::Result<Vec<StoreKey>> {
    let list = tree.find(owner.shard())?.map_or(Ok(None), |owners| owners.sub(&owner.dir_name()))?;
    list.map_or(Ok(Vec::new()), |list| read_keys(&list))
}

/// Enters a session in its owner's list.
pub(super) fn enter(owners: &Locked<'_>, owner: OwnerDigest, key: &StoreKey) -> io::Result<()> {
    owners.make_locked(&owner.dir_name())?.note(&key.hex())
}

/// Removes a session from its owner's list, and the directory if nothing is left in it.
pub(super) fn strike(owners: &Locked<'_>, owner: OwnerDigest, key: &StoreKey) -> io::Result<()> {
    let Some(list) = owners.sub_locked(&owner.dir_name())? else { return Ok(()) };
    list.remove(&key.hex())?;
    owners.remove_empty(&owner.dir_name())
}

/// Reads an owner's mark, an empty one if there is none.
pub(super) fn mark(owners: &Dir, owner: OwnerDigest) -> io::Result<RevocationMark> {
    let mark = owners.sub(&owner.dir_name())?.map_or(Ok(None), |list| read_mark(&list))?;
    Ok(mark.unwrap_or_default())
}

/// Adds a revocation to an owner's mark.
pub(super) fn add_mark(owners: &Locked<'_>, owner: OwnerDigest, revocation: &Revocation) -> io::Result<()> {
    let list = owners.make_locked(&owner.dir_name())?;
    let mut mark = read_mark(&list)?.unwrap_or_default();
    mark.add(revocation);
    list.replace(MARK, &mark.encode())
}

/// Removes an owner's mark if it has expired, and the directory if nothing is left in it. Returns whether a mark went.
pub(super) fn tidy(owners: &Locked<'_>, owner: OwnerDigest, now: SystemTime) -> io::Result<bool> {
    let Some(list) = owners.sub_locked(&owner.dir_name())? else { return Ok(false) };
    let is_removed = is_over(&list, now)? && list.remove(MARK)?;
    list.remove(NEW)?;
    owners.remove_empty(&owner.dir_name())?;
    Ok(is_removed)
}

fn read_keys(list: &Dir) -> io::Result<Vec<StoreKey>> {
    list.names()?.filter_map(|name| name.map(|name| tree::parse_hex(&name)).transpose()).collect()
}

fn is_over(list: &Dir, now: SystemTime) -> io::Result<bool> {
    Ok(read_mark(list)?.is_none_or(|mark| mark.is_expired(now)))
}

/// Reads a mark and returns `None` if there is no readable one.
///
/// Only a power loss tears a mark, where nothing was synced, and no sign-in that the mark would have refused outlives
/// that.
fn read_mark(list: &Dir) -> io::Result<Option<RevocationMark>> {
    let Lookup::File(file) = list.file(MARK)? else { return Ok(None) };
    let mut bytes = Vec::new();
    // One byte more than a mark has, so that a longer file is refused.
    file.take(33).read_to_end(&mut bytes)?;
    Ok(RevocationMark::decode(&bytes))
}
