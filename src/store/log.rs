//! The log lines that several stores write.

use std::fmt::Display;

use super::Loaded;
use crate::record::DecodeError;
use crate::token::StoreKey;

/// Warns that a stored session cannot be read, which makes it absent.
pub(super) fn unreadable(key: &StoreKey, why: DecodeError) -> Loaded {
    tracing::warn!(
        name: "session.record.unreadable",
        ?key, why = why.0, "stored session cannot be read and counts as absent"
    );
    Loaded::Absent
}

/// Warns that a session, or several, were ended by removing them, since there was no room for a tombstone.
#[cfg(any(
    all(feature = "file", unix),
    feature = "redis",
    feature = "postgres",
    feature = "mysql",
    feature = "sqlite"
))]
pub(super) fn given_up(key: impl std::fmt::Debug, error: impl Display) {
    tracing::warn!(
        name: "session.tombstone.given_up",
        ?key, %error, "the store is full: a session has ended, but leaves no tombstone"
    );
}

/// Warns that a session, or several, were read as expired, which makes them absent, and could not be removed.
pub(super) fn expired_kept(key: impl std::fmt::Debug, error: impl Display) {
    tracing::warn!(
        name: "session.expired.kept",
        ?key, %error, "an expired session counts as absent, but cannot be removed"
    );
}

/// Notes that an ended session is still in its owner's list; the entry is removed when the list is next read.
pub(super) fn entry_left(key: &StoreKey, error: impl Display) {
    tracing::debug!(
        name: "session.owner.entry_left",
        ?key, %error, "ended session not yet removed from its owner's list"
    );
}
