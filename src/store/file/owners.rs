//! The directory of an owner: the list of the owner's sessions, an empty file for each, and the mark.
//!
//! The name of an entry says the moment of the sign-in, the handle and the `StoreKey`, so that counting opens no file and
//! the mark tells which of them it has ended. The entries of a list are hints: a session's record says who owns it and whether it lives, and
//! an entry without such a record is removed when it is met. Entries and mark change under the lock of the owner's shard
//! only. So a sign-in and a revocation find each other: the one that takes the lock second sees what the first has written.

use std::cmp::Reverse;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::dir::{self, Dir, Locked, NEW};
use super::mark::OwnerMark;
use super::tree::{self, ShardDir, Tree};
use crate::clock::micros;
use crate::record::{Record, SessionHandle};
use crate::store::Revocation;
use crate::token::StoreKey;

const MARK: &str = "mark";
/// The file of the latest moment in a shard of owners, as eight bytes.
///
/// It is written over without a sync. If its last changes are lost, the names of the entries still tell the moments, and
/// they are asked where the clock does not show that it is later than all of them.
const LAST: &str = "last";

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

/// A session in its owner's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// The moment of the sign-in.
    pub(super) sign_in: u64,
    pub(super) handle: SessionHandle,
    pub(super) key: StoreKey,
}

impl Entry {
    pub(super) fn of(key: &StoreKey, record: &Record) -> Self {
        Self { sign_in: record.sign_in(), handle: record.handle(), key: *key }
    }

    fn name(&self) -> String {
        format!("{:016x}-{:032x}-{}", self.sign_in, u128::from_be_bytes(*self.handle.as_bytes()), self.key.hex())
    }

    /// Reads what [`name`](Self::name) wrote, and returns `None` for any other name.
    fn parse(name: &str) -> Option<Self> {
        let (sign_in, rest) = name.split_once('-')?;
        let (handle, key) = rest.split_once('-')?;
        let handle = u128::from_str_radix(handle, 16).ok()?.to_be_bytes();
        let entry = Self {
            sign_in: u64::from_str_radix(sign_in, 16).ok()?,
            handle: SessionHandle::from_bytes(handle),
            key: tree::parse_hex(key)?,
        };
        (entry.name() == name).then_some(entry)
    }
}

/// An owner's directory.
#[derive(Default)]
pub(super) struct OwnerList {
    pub(super) mark: OwnerMark,
    pub(super) entries: Vec<Entry>,
}

impl OwnerList {
    /// Reads an owner's directory, with a lock or without.
    pub(super) fn find(tree: &Tree, owner: OwnerDigest) -> io::Result<Self> {
        let list = tree.find(owner.shard())?.map_or(Ok(None), |owners| owners.sub(&owner.dir_name()))?;
        list.map_or(Ok(Self::default()), |list| Self::read(&list))
    }

    fn read(list: &Dir) -> io::Result<Self> {
        Ok(Self { entries: entries(list)?, mark: OwnerMark::read(list, MARK)? })
    }

    /// Iterates over the sessions that the mark has not ended.
    pub(super) fn standing(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied().filter(|entry| !self.mark.ends(entry))
    }

    /// Returns whether the mark may be removed, or a directory without one.
    fn is_over(&self, clock: SystemTime) -> bool {
        if self.mark == OwnerMark::default() {
            return self.entries.is_empty();
        }
        self.mark.mark.is_expired(clock) && !self.entries.iter().any(|entry| self.mark.ends(entry))
    }
}

/// Lists the owners of a shard. An owner is untidy if [`tidy`] has something to remove.
pub(super) fn all(tree: &Tree, shard: u8, clock: SystemTime) -> io::Result<Vec<(OwnerDigest, OwnerList, bool)>> {
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
        let list = OwnerList::read(&list)?;
        let is_untidy = list.is_over(clock);
        found.push((owner, list, is_untidy));
    }
    Ok(found)
}

/// Reads the mark of an owner from beside the directory of a session's shard.
///
/// One call finds that there is none, as is usual. A planted link on the way would hide a mark, as removing the mark would.
pub(super) fn mark_beside(shard: &Dir, owner: OwnerDigest) -> io::Result<OwnerMark> {
    let path = format!("../{}/{}/{MARK}", owner.shard().path().display(), owner.dir_name());
    OwnerMark::read(shard, &path)
}

/// Reads an owner's mark, an empty one if there is none.
pub(super) fn mark(owners: &Dir, owner: OwnerDigest) -> io::Result<OwnerMark> {
    owners.sub(&owner.dir_name())?.map_or(Ok(OwnerMark::default()), |list| OwnerMark::read(&list, MARK))
}

/// Enters a session in its owner's list, and returns the moment of its sign-in.
pub(super) fn enter(
    owners: &Locked<'_>,
    owner: OwnerDigest,
    key: &StoreKey,
    record: &Record,
    (mark, clock): (&OwnerMark, SystemTime),
) -> io::Result<u64> {
    let list = owners.make_locked(&owner.dir_name())?;
    let sign_in = moment(owners, &list, record.sign_in(), mark, clock)?;
    list.note(&Entry { sign_in, ..Entry::of(key, record) }.name())?;
    Ok(sign_in)
}

/// Adds a revocation to an owner's mark.
pub(super) fn add_mark(
    owners: &Locked<'_>,
    owner: OwnerDigest,
    revocation: &Revocation,
    now: SystemTime,
) -> io::Result<()> {
    let (list, clock) = (owners.make_locked(&owner.dir_name())?, SystemTime::now());
    let mut mark = OwnerMark::read(&list, MARK)?;
    // The names are asked in any case, so that no session escapes.
    let latest = latest(&list)?;
    let moment = moment(owners, &list, 0, &mark, clock)?.max(latest);
    mark.add(revocation, moment, clock, now);
    list.replace(MARK, &mark.encode())
}

/// Reads the list of an owner under its lock.
pub(super) fn list(owners: &Locked<'_>, owner: OwnerDigest) -> io::Result<OwnerList> {
    owners.sub(&owner.dir_name())?.map_or(Ok(OwnerList::default()), |list| OwnerList::read(&list))
}

/// Removes sessions from their owner's list, and the directory if nothing is left in it.
pub(super) fn strike(owners: &Locked<'_>, owner: OwnerDigest, entries: &[Entry]) -> io::Result<()> {
    let Some(list) = owners.sub_locked(&owner.dir_name())? else { return Ok(()) };
    for entry in entries {
        list.remove(&entry.name())?;
    }
    owners.remove_empty(&owner.dir_name())
}

/// Removes an owner's mark if it has expired and ends no listed session, and the directory if nothing is left in it.
/// Returns whether a mark went.
pub(super) fn tidy(owners: &Locked<'_>, owner: OwnerDigest, clock: SystemTime) -> io::Result<bool> {
    let Some(list) = owners.sub_locked(&owner.dir_name())? else { return Ok(false) };
    let is_removed = OwnerList::read(&list)?.is_over(clock) && list.remove(MARK)?;
    list.remove(NEW)?;
    owners.remove_empty(&owner.dir_name())?;
    Ok(is_removed)
}

/// Gives out the next moment of an owner, or notes the one that a sign-in has.
fn moment(owners: &Locked<'_>, list: &Dir, given: u64, mark: &OwnerMark, clock: SystemTime) -> io::Result<u64> {
    let (file, mut last) = owners.number(LAST)?;
    let moment = if given > 0 {
        given
    } else {
        if last == 0 || micros(clock) <= last {
            last = last.max(latest(list)?);
        }
        mark.mark.next_moment(last, clock)
    };
    file.write_all_at(&moment.max(last).to_be_bytes(), 0)?;
    Ok(moment)
}

/// Returns the latest moment of the listed sessions.
fn latest(list: &Dir) -> io::Result<u64> {
    Ok(entries(list)?.iter().map(|entry| entry.sign_in).max().unwrap_or_default())
}

fn entries(list: &Dir) -> io::Result<Vec<Entry>> {
    let names = list.names()?.filter_map(|name| name.map(|name| Entry::parse(&name)).transpose());
    let mut entries = names.collect::<io::Result<Vec<_>>>()?;
    // A sign-in that was cut off and sent again has entered its session twice; the later entry has its moment.
    entries.sort_unstable_by_key(|entry| (*entry.key.as_bytes(), Reverse(entry.sign_in)));
    entries.dedup_by_key(|entry| entry.key);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_entry_is_pinned() {
        let entry = Entry {
            sign_in: 0x0102,
            handle: SessionHandle::from_bytes([9; 16]),
            key: StoreKey::from_bytes([0xab; 32]),
        };
        let name = format!("0000000000000102-{}-{}", "09".repeat(16), "ab".repeat(32));
        assert_eq!((entry.name(), Entry::parse(&name)), (name.clone(), Some(entry)));
        for strange in
            [&name[1..], &name.to_uppercase(), &format!("+{}", &name[1..]), &format!("{name}0"), "mark", "-", ""]
        {
            assert_eq!(Entry::parse(strange), None, "{strange}");
        }
    }
}
