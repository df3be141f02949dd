//! The file of one session: what it holds, and how it changes.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::dir::{Dir, Locked, Lookup, is_full};
use super::format::{self, TIMES_AT};
use super::owned::live;
use super::owners::{self, Entry, OwnerDigest};
use super::tree::{ShardDir, Tree, name};
use crate::clock::micros;
use crate::record::{DecodeError, Record, RecordHead, Tombstone, Version};
use crate::store::format::Header;
use crate::store::log::{expired_kept, given_up};
use crate::store::{Change, Created, Deleted, Loaded, Updated};
use crate::token::StoreKey;

/// The state of a session on disk.
pub(super) enum OnDisk {
    Absent,
    /// A record or a tombstone past its deadline.
    Expired,
    Live(Arc<Record>, Header),
    Tombstone(Tombstone),
    /// A record that its owner's mark has ended.
    Ended(Tombstone),
    /// A damaged file or one that the store did not write.
    Unreadable(DecodeError),
}

impl From<OnDisk> for Loaded {
    fn from(found: OnDisk) -> Self {
        match found {
            OnDisk::Live(record, _) => Self::Live(record),
            OnDisk::Tombstone(tombstone) | OnDisk::Ended(tombstone) => Self::Tombstone(tombstone),
            OnDisk::Absent | OnDisk::Expired | OnDisk::Unreadable(_) => Self::Absent,
        }
    }
}

/// Reads a session without a lock: a whole file tells the truth, since files appear whole.
pub(super) fn find(tree: &Tree, key: &StoreKey, now: SystemTime) -> io::Result<OnDisk> {
    let Some(shard) = tree.find(ShardDir::of(key))? else { return Ok(OnDisk::Absent) };
    match judged(&shard, look(&shard, key, now)?)? {
        OnDisk::Ended(tombstone) if tombstone.until() <= now => Ok(OnDisk::Expired),
        found => Ok(found),
    }
}

/// Visits listed sessions without a lock, in the order of their keys, so that each shard is opened once.
pub(super) fn visit<T>(
    tree: &Tree,
    entries: &[Entry],
    mut visit: impl FnMut(Option<&Dir>, Entry) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    let mut found = Vec::with_capacity(entries.len());
    for entries in entries.chunk_by(|one, next| one.key.as_bytes()[0] == next.key.as_bytes()[0]) {
        let shard = tree.find(ShardDir::of(&entries[0].key))?;
        for entry in entries {
            found.push(visit(shard.as_ref(), *entry)?);
        }
    }
    Ok(found)
}

/// Returns whether a shard has a record under this key that has not expired by its header.
pub(super) fn stands(shard: &Dir, key: &StoreKey, now: SystemTime) -> io::Result<bool> {
    Ok(peek(shard, &name(key))?.is_some_and(|header| header.is_record() && !header.is_expired(now)))
}

/// Reads the header alone and returns `None` if there is no readable one.
pub(super) fn peek(shard: &Dir, name: &str) -> io::Result<Option<Header>> {
    match shard.file(name)? {
        Lookup::File(mut file) => Ok(read_header(&mut file)?.ok()),
        Lookup::Absent | Lookup::Shared(_) | Lookup::Foreign => Ok(None),
    }
}

/// The file of a session under the lock of its shard, at one time.
pub(super) struct SessionFile<'a> {
    shard: &'a Locked<'a>,
    key: &'a StoreKey,
    name: String,
    now: SystemTime,
}

impl<'a> SessionFile<'a> {
    pub(super) fn new(shard: &'a Locked<'_>, key: &'a StoreKey, now: SystemTime) -> Self {
        Self { shard, key, name: name(key), now }
    }

    /// Reads the session and removes it if it has expired.
    pub(super) fn settle(&self) -> io::Result<OnDisk> {
        Ok(match judged(self.shard, self.look()?)? {
            // The mark may go before the next sync, and must not leave the record behind.
            OnDisk::Ended(tombstone) if tombstone.until() <= self.now => self.absent(self.remove()),
            found => found,
        })
    }

    fn look(&self) -> io::Result<OnDisk> {
        Ok(match look(self.shard, self.key, self.now)? {
            OnDisk::Expired => self.absent(self.shard.remove(&self.name).map(drop)),
            found => found,
        })
    }

    /// Answers for an expired session, which is absent even if its file cannot be removed.
    fn absent(&self, removed: io::Result<()>) -> OnDisk {
        if let Err(error) = removed {
            expired_kept(self.key, error);
        }
        OnDisk::Absent
    }

    /// Writes a new session that has no owner.
    pub(super) fn create(&self, record: &Record) -> io::Result<Created> {
        match self.settle()? {
            OnDisk::Absent => self.write(record)?,
            // The call was sent before, and its answer was lost.
            OnDisk::Live(standing, _) if record.is_same(&standing) => self.sync()?,
            _ => return Ok(Created::Taken),
        }
        Ok(Created::Stored)
    }

    /// Ends the session if it is the listed one, whatever the owner's mark says. Returns whether the session lived until
    /// then, and `None` if another session of the owner lives under the key. The end survives a power loss after
    /// [`sync`](Self::sync).
    pub(super) fn end(&self, owner: OwnerDigest, entry: &Entry, tombstone: &Tombstone) -> io::Result<Option<bool>> {
        match live(&self.look()?, owner) {
            Some(session) if session.handle == entry.handle => self.put(tombstone).map(|()| Some(true)),
            Some(_) => Ok(None),
            None => Ok(Some(false)),
        }
    }

    /// Changes the session. A record that ended is returned too, since its entry is to leave its owner's list.
    pub(super) fn update(&self, from: Version, change: &Change) -> io::Result<(Updated, Option<Arc<Record>>)> {
        let OnDisk::Live(stored, _) = self.settle()? else { return Ok((Updated::Gone, None)) };
        match change {
            Change::Replace(next, _) if next.version() == stored.version() => self.shard.sync()?,
            _ if stored.version() != from => return Ok((Updated::Conflict, None)),
            Change::Replace(next, deadline) => self.write(&deadline.apply(stored.deadline(), next.clone()))?,
            Change::Retire(tombstone) => {
                self.retire(tombstone)?;
                return Ok((Updated::Done, Some(stored)));
            }
        }
        Ok((Updated::Done, None))
    }

    /// Moves the deadline of the session.
    pub(super) fn touch(&self, version: Version, deadline: SystemTime) -> io::Result<Updated> {
        let OnDisk::Live(mut record, header) = self.settle()? else { return Ok(Updated::Gone) };
        if record.version() != version {
            return Ok(Updated::Conflict);
        }
        Arc::make_mut(&mut record).touch(deadline, self.now);
        let times = format::times(header, micros(record.deadline()), micros(record.seen()));
        self.shard.amend(&self.name, TIMES_AT, times.as_flattened())?;
        Ok(Updated::Done)
    }

    /// Ends the session. A record that ended is returned too, since its entry is to leave its owner's list.
    pub(super) fn delete(&self, tombstone: &Tombstone) -> io::Result<(Deleted, Option<Arc<Record>>)> {
        match self.settle()? {
            OnDisk::Live(record, _) => self.retire(tombstone).map(|()| (Deleted::Done, Some(record))),
            OnDisk::Tombstone(stored) | OnDisk::Ended(stored) => Ok((Deleted::Retired(stored), None)),
            _ => Ok((Deleted::Absent, None)),
        }
    }

    /// Puts a tombstone in the record's place, or nothing if the tombstone has expired.
    fn retire(&self, tombstone: &Tombstone) -> io::Result<()> {
        self.put(tombstone)?;
        self.sync()
    }

    fn put(&self, tombstone: &Tombstone) -> io::Result<()> {
        if tombstone.until() > self.now {
            let head = RecordHead::new(None, tombstone.until(), self.now, None);
            match self.shard.put(&self.name, &format::encode(self.key, &head, &tombstone.encode())) {
                // Removing a file needs no room.
                Err(error) if is_full(&error) => given_up(self.key, error),
                done => return done,
            }
        }
        self.shard.remove(&self.name).map(drop)
    }

    /// Makes the changes of the session survive a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.shard.sync()
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        self.shard.replace(&self.name, &format::encode(self.key, &record.head(), &record.encode()))
    }

    fn remove(&self) -> io::Result<()> {
        self.shard.remove(&self.name)?;
        self.sync()
    }
}

/// Replaces a record that its owner's mark has ended.
fn judged(shard: &Dir, found: OnDisk) -> io::Result<OnDisk> {
    let OnDisk::Live(record, _) = &found else { return Ok(found) };
    let Some(owner) = record.owner() else { return Ok(found) };
    let mark = owners::mark_beside(shard, OwnerDigest::of(owner))?;
    Ok(mark.end_of(record).map_or(found, OnDisk::Ended))
}

/// Reads the file of a session, and leaves the owner's mark aside.
pub(super) fn look(shard: &Dir, key: &StoreKey, now: SystemTime) -> io::Result<OnDisk> {
    match shard.file(&name(key))? {
        Lookup::File(mut file) => read(&mut file, key, now),
        Lookup::Absent => Ok(OnDisk::Absent),
        Lookup::Shared(_) => Ok(OnDisk::Unreadable(DecodeError("another user can write to its file"))),
        Lookup::Foreign => Ok(OnDisk::Unreadable(DecodeError("not a regular file"))),
    }
}

/// Reads a whole file.
pub(super) fn read(file: &mut impl io::Read, key: &StoreKey, now: SystemTime) -> io::Result<OnDisk> {
    let header = match read_header(file)? {
        Ok(header) if header.is_expired(now) => return Ok(OnDisk::Expired),
        Ok(header) => header,
        Err(why) => return Ok(OnDisk::Unreadable(why)),
    };
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(match header.open(key, &rest).and_then(|(head, body)| Loaded::decode(head, body, now)) {
        Ok(Loaded::Live(record) | Loaded::Outdated(record)) => OnDisk::Live(record, header),
        Ok(Loaded::Tombstone(tombstone)) => OnDisk::Tombstone(tombstone),
        Ok(Loaded::Absent) => OnDisk::Expired,
        Err(why) => OnDisk::Unreadable(why),
    })
}

/// Reads the header, or says why it cannot be read.
fn read_header(file: &mut impl io::Read) -> io::Result<Result<Header, DecodeError>> {
    let mut bytes = [0; format::LEN];
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(DecodeError::CUT_OFF)),
        done => done.map(|()| format::decode(&bytes)),
    }
}
