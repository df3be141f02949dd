//! What is done with one session's file.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::dir::{Dir, Found, Locked};
use super::format::{self, HEADER_LEN, Header, TIMES_AT};
use super::owners::{self, Owner};
use crate::clock::micros;
use crate::record::{Head, Record, Tombstone, Version};
use crate::store::{Change, Created, Deleted, Loaded, Updated};
use crate::token::StoreKey;

/// What stands under a session's name, once that is certain.
pub(super) enum Standing {
    Nothing,
    Live(Arc<Record>, Header),
    Retired(Tombstone),
    /// Nothing of ours, or damaged; why.
    Unreadable(String),
}

/// What a look without the lock says.
pub(super) enum Glance {
    Sure(Standing),
    /// Expired, thus to be removed; or unreadable, perhaps because a touch was under way. Look again with the lock.
    Unsure,
}

/// The name of a session's file in its shard.
pub(super) fn name(key: &StoreKey) -> String {
    key.hex().split_off(2)
}

/// Looks at a session without the lock: what is whole is true, since files appear whole.
pub(super) fn glance(shard: Option<&Dir>, key: &StoreKey, now: SystemTime) -> io::Result<Glance> {
    let Some(shard) = shard else { return Ok(Glance::Sure(Standing::Nothing)) };
    Ok(match look(shard, key, now)? {
        None | Some(Standing::Unreadable(_)) => Glance::Unsure,
        Some(standing) => Glance::Sure(standing),
    })
}

/// Looks at a session under the lock and removes what has expired.
pub(super) fn settle(shard: &Locked<'_>, key: &StoreKey, now: SystemTime) -> io::Result<Standing> {
    match look(shard, key, now)? {
        Some(standing) => Ok(standing),
        None => shard.remove(&name(key)).map(|_| Standing::Nothing),
    }
}

/// Reads the header alone; `None` where there is nothing or nothing readable.
pub(super) fn peek(shard: &Dir, name: &str) -> io::Result<Option<Header>> {
    match shard.file(name)? {
        Found::File(mut file) => Ok(read_header(&mut file)?.and_then(|header| Header::decode(&header).ok())),
        Found::Nothing | Found::Foreign => Ok(None),
    }
}

pub(super) fn create(
    (owners, shard): (Option<&Locked<'_>>, &Locked<'_>),
    key: &StoreKey,
    record: &Record,
    now: SystemTime,
) -> io::Result<Created> {
    let standing = settle(shard, key, now)?;
    let sent_again = matches!(&standing, Standing::Live(stored, _) if stored.version() == record.version());
    let listed = owners.zip(record.owner().map(Owner::of));
    if let Some((owners, owner)) = listed
        && let mark = owners::mark(owners, owner)?
        && mark.refuses(record)
    {
        if sent_again {
            shard.remove(&name(key))?;
            shard.sync()?;
        }
        return Ok(Created::Revoked(mark));
    }
    match standing {
        _ if sent_again => shard.sync()?,
        Standing::Nothing => {
            // The entry goes first: cut off in between, it points nowhere, which listing bears. A record that the
            // list does not know would escape revocation.
            if let Some((owners, owner)) = listed {
                owners::add(owners, owner, key)?;
            }
            write(shard, key, record)?;
        }
        Standing::Live(..) | Standing::Retired(_) | Standing::Unreadable(_) => return Ok(Created::Taken),
    }
    Ok(Created::Stored)
}

/// Also returns whose list the session is to leave.
pub(super) fn update(
    shard: &Locked<'_>,
    key: &StoreKey,
    from: Version,
    change: &Change,
    now: SystemTime,
) -> io::Result<(Updated, Option<Owner>)> {
    let Standing::Live(stored, _) = settle(shard, key, now)? else { return Ok((Updated::Gone, None)) };
    match change {
        Change::Replace(next, _) if next.version() == stored.version() => shard.sync()?,
        _ if stored.version() != from => return Ok((Updated::Conflict, None)),
        Change::Replace(next, deadline) => write(shard, key, &deadline.apply(stored.deadline(), next.clone()))?,
        Change::Retire(tombstone) => {
            retire(shard, key, tombstone, now)?;
            return Ok((Updated::Done, stored.owner().map(Owner::of)));
        }
    }
    Ok((Updated::Done, None))
}

pub(super) fn touch(
    shard: &Locked<'_>,
    key: &StoreKey,
    version: Version,
    deadline: SystemTime,
    now: SystemTime,
) -> io::Result<Updated> {
    let Standing::Live(mut record, header) = settle(shard, key, now)? else { return Ok(Updated::Gone) };
    if record.version() != version {
        return Ok(Updated::Conflict);
    }
    Arc::make_mut(&mut record).touch(deadline, now);
    let times = header.times(micros(record.deadline()), micros(record.seen()));
    shard.amend(&name(key), TIMES_AT as u64, &times)?;
    Ok(Updated::Done)
}

/// Also returns whose list the session is to leave.
pub(super) fn delete(
    shard: &Locked<'_>,
    key: &StoreKey,
    tombstone: &Tombstone,
    now: SystemTime,
) -> io::Result<(Deleted, Option<Owner>)> {
    match settle(shard, key, now)? {
        Standing::Live(record, _) => {
            retire(shard, key, tombstone, now)?;
            Ok((Deleted::Done, record.owner().map(Owner::of)))
        }
        Standing::Retired(standing) => Ok((Deleted::Retired(standing), None)),
        Standing::Nothing | Standing::Unreadable(_) => Ok((Deleted::Absent, None)),
    }
}

/// Puts a tombstone in a record's place, or nothing where it would have ended already.
pub(super) fn retire(shard: &Locked<'_>, key: &StoreKey, tombstone: &Tombstone, now: SystemTime) -> io::Result<()> {
    if tombstone.until() <= now {
        shard.remove(&name(key))?;
        return shard.sync();
    }
    let head = Head::new(None, tombstone.until(), now, None);
    shard.replace(&name(key), &format::encode(key, &head, &tombstone.encode()))
}

impl From<Standing> for Loaded {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Live(record, _) => Self::Live(record),
            Standing::Retired(tombstone) => Self::Tombstone(tombstone),
            Standing::Nothing | Standing::Unreadable(_) => Self::Absent,
        }
    }
}

fn write(shard: &Locked<'_>, key: &StoreKey, record: &Record) -> io::Result<()> {
    shard.replace(&name(key), &format::encode(key, &record.head(), &record.encode()))
}

/// `None` for what has expired.
fn look(shard: &Dir, key: &StoreKey, now: SystemTime) -> io::Result<Option<Standing>> {
    let unreadable = |why: &str| Ok(Some(Standing::Unreadable(why.to_owned())));
    let mut file = match shard.file(&name(key))? {
        Found::File(file) => file,
        Found::Nothing => return Ok(Some(Standing::Nothing)),
        Found::Foreign => return unreadable("not a regular file"),
    };
    read(&mut file, key, now)
}

/// `None` for what has expired.
pub(super) fn read(file: &mut impl io::Read, key: &StoreKey, now: SystemTime) -> io::Result<Option<Standing>> {
    let unreadable = |why: &str| Ok(Some(Standing::Unreadable(why.to_owned())));
    let Some(header) = read_header(file)? else { return unreadable("cut off") };
    let header = match Header::decode(&header) {
        Ok(header) if header.is_expired(micros(now)) => return Ok(None),
        Ok(header) => header,
        Err(why) => return unreadable(why),
    };
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    let loaded = match header.open(key, &rest) {
        Ok((head, body)) => Loaded::decode(head, body, now),
        Err(why) => return unreadable(why),
    };
    match loaded {
        Ok(Loaded::Live(record) | Loaded::Outdated(record)) => Ok(Some(Standing::Live(record, header))),
        Ok(Loaded::Tombstone(tombstone)) => Ok(Some(Standing::Retired(tombstone))),
        Ok(Loaded::Absent) => Ok(None),
        Err(error) => unreadable(&error.to_string()),
    }
}

/// `None` where there are fewer bytes.
fn read_header(file: &mut impl io::Read) -> io::Result<Option<[u8; HEADER_LEN]>> {
    let mut header = [0; HEADER_LEN];
    match file.read_exact(&mut header) {
        Ok(()) => Ok(Some(header)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
