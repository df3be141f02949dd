//! What more than one store has to tell the log.

use std::fmt::Display;

use super::Loaded;
use crate::token::StoreKey;

/// What is stored cannot be read, and counts as absent.
pub(super) fn unreadable(key: &StoreKey, why: impl tracing::Value) -> Loaded {
    tracing::warn!(
        name: "session.record.unreadable",
        ?key, why, "stored session cannot be read and counts as absent"
    );
    Loaded::Absent
}

/// A session has ended all the same; its entry goes when it is met.
pub(super) fn entry_left(key: &StoreKey, error: impl Display) {
    tracing::debug!(
        name: "session.owner.entry_left",
        ?key, %error, "ended session not yet removed from its owner's list"
    );
}
