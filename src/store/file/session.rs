//! The file of one session: what it holds, and how it changes.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::dir::{Dir, Locked, Lookup};
use super::format::{self, TIMES_AT};
use super::tree::{ShardDir, Tree, name};
use crate::clock::micros;
use crate::record::{DecodeError, Record, RecordHead, Tombstone, Version};
use crate::store::format::Header;
use crate::store::{Change, Created, Deleted, Loaded, Updated};
use crate::token::StoreKey;

/// The state of a session on disk.
pub(super) enum OnDisk {
    Absent,
    /// A record or a tombstone past its deadline.
    Expired,
    Live(Arc<Record>, Header),
    Tombstone(Tombstone),
    /// A damaged file or one that the store did not write.
    Unreadable(DecodeError),
}

impl From<OnDisk> for Loaded {
    fn from(found: OnDisk) -> Self {
        match found {
            OnDisk::Live(record, _) => Self::Live(record),
            OnDisk::Tombstone(tombstone) => Self::Tombstone(tombstone),
            OnDisk::Absent | OnDisk::Expired | OnDisk::Unreadable(_) => Self::Absent,
        }
    }
}

/// Reads a session without a lock: a whole file tells the truth, since files appear whole.
pub(super) fn find(tree: &Tree, key: &StoreKey, now: SystemTime) -> io::Result<OnDisk> {
    tree.find(ShardDir::of(key))?.map_or(Ok(OnDisk::Absent), |shard| look(&shard, key, now))
}

/// Reads the header alone and returns `None` if there is no readable one.
pub(super) fn peek(shard: &Dir, name: &str) -> io::Result<Option<Header>> {
    match shard.file(name)? {
        Lookup::File(mut file) => Ok(read_header(&mut file)?.ok()),
        Lookup::Absent | Lookup::Foreign => Ok(None),
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
        match look(self.shard, self.key, self.now)? {
            OnDisk::Expired => self.shard.remove(&self.name).map(|_| OnDisk::Absent),
            found => Ok(found),
        }
    }

    /// Writes a new session, after `enlist` has entered it in its owner's list.
    ///
    /// A process that is killed in between leaves an entry without a record, which listing bears. A record that the list
    /// does not know would escape revocation.
    pub(super) fn create(&self, record: &Record, enlist: impl FnOnce() -> io::Result<()>) -> io::Result<Created> {
        match self.settle()? {
            OnDisk::Absent => {
                enlist()?;
                self.write(record)?;
            }
            // The call was sent before, and its answer was lost.
            OnDisk::Live(stored, _) if stored.version() == record.version() => self.shard.sync()?,
            _ => return Ok(Created::Taken),
        }
        Ok(Created::Stored)
    }

    /// Removes the record that an earlier [`create`](Self::create) of it wrote.
    pub(super) fn withdraw(&self, record: &Record) -> io::Result<()> {
        match self.settle()? {
            OnDisk::Live(stored, _) if stored.version() == record.version() => self.remove(),
            _ => Ok(()),
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
            OnDisk::Tombstone(stored) => Ok((Deleted::Retired(stored), None)),
            _ => Ok((Deleted::Absent, None)),
        }
    }

    /// Puts a tombstone in the record's place, or nothing if the tombstone has expired.
    pub(super) fn retire(&self, tombstone: &Tombstone) -> io::Result<()> {
        if tombstone.until() <= self.now {
            return self.remove();
        }
        let head = RecordHead::new(None, tombstone.until(), self.now, None);
        self.shard.replace(&self.name, &format::encode(self.key, &head, &tombstone.encode()))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        self.shard.replace(&self.name, &format::encode(self.key, &record.head(), &record.encode()))
    }

    fn remove(&self) -> io::Result<()> {
        self.shard.remove(&self.name)?;
        self.shard.sync()
    }
}

fn look(shard: &Dir, key: &StoreKey, now: SystemTime) -> io::Result<OnDisk> {
    match shard.file(&name(key))? {
        Lookup::File(mut file) => read(&mut file, key, now),
        Lookup::Absent => Ok(OnDisk::Absent),
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
