//! The sessions of an owner: work on a session's file and its owner's list together.

use std::io;
use std::time::SystemTime;

use super::dir::Locked;
use super::locks::Locks;
use super::owners::{self, OwnerDigest};
use super::session::{self, OnDisk, SessionFile};
use super::tree::{ShardDir, Tree};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{Created, OwnedSession, Revocation};
use crate::token::StoreKey;

/// Writes a new session of an owner, unless the owner's mark refuses it.
pub(super) fn create(
    [owners, shard]: [&Locked<'_>; 2],
    owner: OwnerDigest,
    key: &StoreKey,
    record: &Record,
    now: SystemTime,
) -> io::Result<Created> {
    let (session, mark) = (SessionFile::new(shard, key, now), owners::mark(owners, owner)?);
    if mark.refuses(record) {
        session.withdraw(record)?;
        return Ok(Created::Revoked(mark));
    }
    session.create(record, || owners::enter(owners, owner, key))
}

/// Lists an owner's sessions without a lock, with `None` for those that only [`prune`] can tell about.
pub(super) fn list(
    tree: &Tree,
    owner: OwnerDigest,
    now: SystemTime,
) -> io::Result<Vec<(StoreKey, Option<OwnedSession>)>> {
    let find = |key| Ok((key, live(&session::find(tree, &key, now)?, owner)));
    owners::keys(tree, owner)?.into_iter().map(find).collect()
}

/// Ends a listed session if `end` includes it, and removes its entry if it does not live. Returns the session if it
/// lived until then.
pub(super) async fn prune(
    locks: &Locks,
    owner: OwnerDigest,
    key: StoreKey,
    end: Option<Revocation>,
    now: SystemTime,
) -> Result<Option<OwnedSession>, StoreError> {
    let prune = move |[owners, shard]: [&_; 2]| {
        let file = SessionFile::new(shard, &key, now);
        let session = live(&file.settle()?, owner);
        let end = end.filter(|end| session.as_ref().is_some_and(|session| end.includes(session.handle)));
        if let Some(revocation) = end {
            file.retire(&revocation.tombstone(now))?;
        }
        if session.is_none() || end.is_some() {
            owners::strike(owners, owner, &key)?;
        }
        Ok(session)
    };
    locks.hold([owner.shard(), ShardDir::of(&key)], prune).await
}

fn live(found: &OnDisk, owner: OwnerDigest) -> Option<OwnedSession> {
    match found {
        OnDisk::Live(record, _) if record.owner().map(OwnerDigest::of) == Some(owner) => Some((&**record).into()),
        _ => None,
    }
}
