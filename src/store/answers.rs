//! The answers and arguments of a store's calls.

use std::sync::Arc;
use std::time::SystemTime;

#[cfg(doc)]
use super::SessionStore;
use crate::clock::micros;
use crate::record::{Record, SessionHandle, Tombstone};
use crate::token::SessionToken;

/// The answer of [`SessionStore::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loaded {
    /// A live session. The record is shared, so that a store in memory can return the one that it holds.
    Live(Arc<Record>),
    /// A live session in an outdated form, such as one sealed with an old key. The layer touches it when it is next
    /// accessed.
    Outdated(Arc<Record>),
    /// The tombstone of a session that ended.
    Tombstone(Tombstone),
    /// Neither a live session nor a tombstone.
    Absent,
}

/// The answer of [`SessionStore::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// The record is stored, as durably as this store keeps records.
    Stored,
    /// The record of an owner is stored. Its sign-in has this moment in the order of the store.
    SignedIn(u64),
    /// Another record or a tombstone is stored under this token. It was left alone.
    Taken,
    /// The owner's sessions were revoked after this sign-in began, as the owner's mark says. Nothing is stored.
    Revoked,
    /// The record is stored in this token, which takes the place of the fresh one (client-side stores).
    Instead(SessionToken),
}

/// The answer of [`SessionStore::update`] and [`SessionStore::touch`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Updated {
    /// The change is applied, by this call or by the same call sent earlier.
    Done,
    /// The change is applied, and this new token now holds the session (client-side stores).
    Instead(SessionToken),
    /// The record is live at another version.
    Conflict,
    /// There is no live record.
    Gone,
}

/// The answer of [`SessionStore::delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deleted {
    /// The session was live and has ended.
    Done,
    /// The session had ended before. Its tombstone stays as it was.
    Retired(Tombstone),
    /// There is no session.
    Absent,
}

/// A change that [`SessionStore::update`] makes to a live record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Replaces the record by this one, at this one's version. It is shared, so that a store in memory need not copy
    /// it.
    Replace(Arc<Record>, Deadline),
    /// Replaces the record by this tombstone, which ends the session.
    Retire(Tombstone),
}

/// The effect of a [`Change`] on the stored deadline.
///
#[doc = include_str!("examples/deadline.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// Keeps the stored deadline, even if a touch has moved it meanwhile.
    Keep,
    /// Takes the new record's deadline if it is later than the stored one.
    Extend,
    /// Takes the new record's deadline.
    Set,
}

impl Deadline {
    /// Returns `next` with the deadline that it gets when it replaces a record whose deadline is `stored`.
    pub fn apply(self, stored: SystemTime, next: Arc<Record>) -> Arc<Record> {
        self.apply_micros(micros(stored), next)
    }

    pub(crate) fn apply_micros(self, stored: u64, mut next: Arc<Record>) -> Arc<Record> {
        let deadline = match self {
            Self::Keep => stored,
            Self::Extend => next.deadline.max(stored),
            Self::Set => next.deadline,
        };
        if deadline != next.deadline {
            Arc::make_mut(&mut next).deadline = deadline;
        }
        next
    }
}

/// A session in an owner's list, which [`SessionStore::owned`] returns.
///
#[doc = include_str!("examples/owned.md")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedSession {
    /// The session's public name, by which it can be revoked.
    pub handle: SessionHandle,
    /// The time at which the session began.
    pub created: SystemTime,
    /// The moment of the sign-in in the order of the store. A later sign-in of the owner has a larger one.
    pub sign_in: u64,
    /// The time at which the owner signed in, by the clock of the host.
    pub signed_in: Option<SystemTime>,
    /// The time at which the record was last written or its deadline last moved.
    ///
    /// The session's last use is later by a tenth of the idle timeout at most.
    pub last_seen: SystemTime,
}

impl From<&Record> for OwnedSession {
    fn from(record: &Record) -> Self {
        Self {
            handle: record.handle(),
            sign_in: record.sign_in(),
            created: record.created(),
            signed_in: record.signed_in(),
            last_seen: record.seen(),
        }
    }
}
