//! Calls and their replies as values, so that a store and the reference can be asked the same.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::lab::Lab;
use crate::record::{Record, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revoke, Updated};
use crate::token::SessionToken;

#[derive(Clone)]
pub(super) enum Call {
    Load(SessionToken),
    Create(SessionToken, Record),
    Update(SessionToken, Version, Change),
    Touch(SessionToken, Version, SystemTime),
    Delete(SessionToken, Duration),
    Owned(String),
    Revoke(String, Revoke, Duration),
    Sweep(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Loaded(Loaded),
    Created(Created),
    Updated(Updated),
    Deleted(Deleted),
    Owned(Vec<OwnedSession>),
    Count(usize),
}

impl Call {
    pub(super) async fn run(&self, lab: &Lab, now: SystemTime) -> Reply {
        match self {
            Self::Load(token) => Reply::Loaded(lab.load(token, now).await),
            Self::Create(token, record) => Reply::Created(lab.create(token, record, now).await),
            Self::Update(token, from, change) => Reply::Updated(lab.update(token, *from, change, now).await),
            Self::Touch(token, version, deadline) => Reply::Updated(lab.touch(token, *version, *deadline, now).await),
            Self::Delete(token, tombstone) => Reply::Deleted(lab.delete(token, *tombstone, now).await),
            Self::Owned(owner) => Reply::Owned(lab.owned(owner, now).await),
            Self::Revoke(owner, which, tombstone) => Reply::Count(lab.revoke(owner, *which, *tombstone, now).await),
            Self::Sweep(limit) => Reply::Count(lab.sweep(*limit, now).await),
        }
    }
}

/// Names tokens by their keys: these are of the suite's own making.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(token) => write!(f, "load({:?})", token.key()),
            Self::Create(token, record) => write!(f, "create({:?}, {record:?})", token.key()),
            Self::Update(token, from, change) => write!(f, "update({:?}, {from:?}, {change:?})", token.key()),
            Self::Touch(token, version, to) => write!(f, "touch({:?}, {version:?}, {to:?})", token.key()),
            Self::Delete(token, tombstone) => write!(f, "delete({:?}, {tombstone:?})", token.key()),
            Self::Owned(owner) => write!(f, "owned({owner:?})"),
            Self::Revoke(owner, which, tombstone) => write!(f, "revoke({owner:?}, {which:?}, {tombstone:?})"),
            Self::Sweep(limit) => write!(f, "sweep({limit})"),
        }
    }
}
