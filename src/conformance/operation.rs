//! Store operations and their answers as values, so that a store and the model can be asked the same.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::fixture::Fixture;
use crate::record::{Record, TombstoneKind, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, Updated};
use crate::token::SessionToken;

#[derive(Clone)]
pub(super) enum StoreOperation {
    Load(SessionToken),
    Create(SessionToken, Record),
    Update(SessionToken, Version, Change),
    Touch(SessionToken, Version, SystemTime),
    Delete(SessionToken, Duration),
    Owned(String),
    Revoke(String, Revocation),
    Sweep(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreAnswer {
    Loaded(Loaded),
    Created(Created),
    Updated(Updated),
    Deleted(Deleted),
    Owned(Vec<OwnedSession>),
    Count(usize),
}

impl StoreOperation {
    pub(super) async fn run(&self, fixture: &Fixture, now: SystemTime) -> StoreAnswer {
        match self {
            Self::Load(token) => StoreAnswer::Loaded(fixture.load(token, now).await),
            Self::Create(token, record) => StoreAnswer::Created(fixture.create(token, record, now).await),
            Self::Update(token, from, change) => StoreAnswer::Updated(fixture.update(token, *from, change, now).await),
            Self::Touch(token, version, deadline) => {
                StoreAnswer::Updated(fixture.touch(token, *version, *deadline, now).await)
            }
            Self::Delete(token, tombstone) => StoreAnswer::Deleted(fixture.delete(token, *tombstone, now).await),
            Self::Owned(owner) => StoreAnswer::Owned(fixture.owned(owner, now).await),
            Self::Revoke(owner, revocation) => StoreAnswer::Count(fixture.revoke_as(owner, revocation, now).await),
            Self::Sweep(limit) => StoreAnswer::Count(fixture.sweep(*limit, now).await),
        }
    }
}

impl StoreAnswer {
    /// Returns whether this may be loaded for an absent session: a revocation that finds no record for an entry of the
    /// owner's list may leave its tombstone there, in case the record is on its way.
    pub(super) fn is_left_by_a_revocation(&self) -> bool {
        matches!(self, Self::Loaded(Loaded::Tombstone(stone)) if stone.kind() == TombstoneKind::Revoked)
    }
}

/// Shows tokens by their keys, which tell them apart where a token's own `Debug` hides it.
impl fmt::Debug for StoreOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(token) => write!(f, "load({:?})", token.key()),
            Self::Create(token, record) => write!(f, "create({:?}, {record:?})", token.key()),
            Self::Update(token, from, change) => write!(f, "update({:?}, {from:?}, {change:?})", token.key()),
            Self::Touch(token, version, to) => write!(f, "touch({:?}, {version:?}, {to:?})", token.key()),
            Self::Delete(token, tombstone) => write!(f, "delete({:?}, {tombstone:?})", token.key()),
            Self::Owned(owner) => write!(f, "owned({owner:?})"),
            Self::Revoke(owner, revocation) => write!(f, "revoke({owner:?}, {revocation:?})"),
            Self::Sweep(limit) => write!(f, "sweep({limit})"),
        }
    }
}
