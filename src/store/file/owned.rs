//! The sessions of an owner: work on a session's file and its owner's list together.

use std::io;
use std::time::SystemTime;

use super::dir::Locked;
use super::locks::Locks;
use super::owners::{self, Entry, OwnerDigest, OwnerList};
use super::session::{self, OnDisk, SessionFile};
use super::tree::{ShardDir, Tree};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::log::entry_left;
use crate::store::{Created, OwnedSession};
use crate::token::StoreKey;

/// Writes a new session of an owner, unless the owner's mark refuses it.
///
/// A process that is killed in between leaves an entry without a record, which listing bears. A record that the list does
/// not know would escape revocation.
pub(super) fn create(
    [owners, shard]: [&Locked<'_>; 2],
    owner: OwnerDigest,
    key: &StoreKey,
    record: &Record,
    now: SystemTime,
) -> io::Result<Created> {
    let session = SessionFile::new(shard, key, now);
    let found = session.settle()?;
    if let OnDisk::Live(standing, _) = &found
        && record.is_same(standing)
    {
        // The call was sent before, and its answer was lost.
        session.sync()?;
        return Ok(Created::SignedIn(standing.sign_in()));
    }
    let (mark, clock) = (owners::mark(owners, owner)?, SystemTime::now());
    if mark.mark.refuses(record, clock) {
        return Ok(Created::Revoked);
    }
    if !matches!(found, OnDisk::Absent) {
        return Ok(Created::Taken);
    }
    let moment = owners::enter(owners, owner, key, record, (&mark, clock))?;
    session.write(&record.with_sign_in(moment))?;
    Ok(Created::SignedIn(moment))
}

/// Lists an owner's sessions without a lock, with `None` for those that only [`prune`] can tell about.
pub(super) fn list(tree: &Tree, owner: OwnerDigest, now: SystemTime) -> io::Result<Vec<(Entry, Option<OwnedSession>)>> {
    let entries: Vec<_> = OwnerList::find(tree, owner)?.standing().collect();
    session::visit(tree, &entries, |shard, entry| {
        let found = shard.map_or(Ok(OnDisk::Absent), |shard| session::look(shard, &entry.key, now))?;
        Ok((entry, live(&found, owner)))
    })
}

/// Removes the entry of a session that does not live, if it can be removed. Returns the session if it lives.
pub(super) async fn prune(
    locks: &Locks,
    owner: OwnerDigest,
    entry: Entry,
    now: SystemTime,
) -> Result<Option<OwnedSession>, StoreError> {
    let prune = move |[owners, shard]: [&_; 2]| {
        let found = SessionFile::new(shard, &entry.key, now).settle()?;
        let session = live(&found, owner);
        // The mark must stay as long as a record stands that it ends, and it stays as long as the entry does.
        if session.is_none()
            && !matches!(found, OnDisk::Ended(_))
            && let Err(error) = owners::strike(owners, owner, &[entry])
        {
            entry_left(&entry.key, error);
        }
        Ok(session)
    };
    locks.hold([owner.shard(), ShardDir::of(&entry.key)], prune).await
}

/// Returns the session if it lives and is the owner's.
pub(super) fn live(found: &OnDisk, owner: OwnerDigest) -> Option<OwnedSession> {
    match found {
        OnDisk::Live(record, _) if record.owner().map(OwnerDigest::of) == Some(owner) => Some((&**record).into()),
        _ => None,
    }
}
