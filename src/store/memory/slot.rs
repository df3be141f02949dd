//! The value under a key: a session, or the tombstone of one.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::key::{KEY_LEN, Token, TokenKey};
use crate::clock::micros;
use crate::record::{Entry, Record, Tombstone};
use crate::token::{RANDOM_LEN, SessionToken, StoreKey, TokenScope};

pub(super) struct Slot {
    pub(super) token: Secret,
    pub(super) state: SlotState,
}

/// The 128 bits of a token that its key does not hold, and its scope.
///
/// The bits are compared in constant time, so that the time of an answer says nothing about them.
pub(super) struct Secret([u8; RANDOM_LEN - KEY_LEN], TokenScope);

impl Secret {
    #[inline]
    pub(super) fn is_of(&self, (token, scope): Token<'_>) -> bool {
        // In words, since `subtle` puts a barrier behind each element that it compares.
        let words = self.0.as_chunks().0.iter().zip(token[KEY_LEN..].as_chunks().0);
        let differing =
            words.fold(0, |all, (one, other)| all | (u64::from_ne_bytes(*one) ^ u64::from_ne_bytes(*other)));
        self.1 == scope && differing.ct_eq(&0).into()
    }

    fn new((token, scope): Token<'_>) -> Self {
        Self(std::array::from_fn(|at| token[KEY_LEN + at]), scope)
    }

    /// Returns the store key of the token that has this key.
    pub(super) fn store_key(&self, key: TokenKey) -> StoreKey {
        let mut token = [0; RANDOM_LEN];
        token[..KEY_LEN].copy_from_slice(&key.bytes());
        token[KEY_LEN..].copy_from_slice(&self.0);
        SessionToken::from_random(token, self.1).key()
    }
}

pub(super) enum SlotState {
    Live(Arc<Record>),
    Retired(Box<Retired>),
}

/// The rest of a session that ended.
pub(super) struct Retired {
    pub(super) stone: Tombstone,
    /// The end of the session, in microseconds since the Unix epoch.
    pub(super) since: u64,
}

/// The kind of a slot, in the order in which a full store evicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A session without an owner.
    Anonymous,
    /// A tombstone, which keeps late writers harmless while it stands.
    Tombstone,
    /// A session with an owner.
    Owned,
}

/// The contribution of a slot to the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) class: Class,
    pub(super) bytes: usize,
}

/// The record, its allocation, and the slot's place in a table that is between half and seven eighths full.
const SLOT_BYTES: usize = size_of::<Record>() + 32 + size_of::<(TokenKey, Slot)>() * 3 / 2;
/// A value's pointer and the headers of its allocation.
const ENTRY_BYTES: usize = size_of::<Entry>() + 32;
/// The owner's place in the index, beside its name.
pub(super) const OWNER_BYTES: usize = 128;

/// Returns the bytes of a record that count against `max_bytes`.
pub(super) fn bytes_of(record: &Record) -> usize {
    let entries = record.values.len() + record.flash.len();
    let owner = record.owner.as_deref().map_or(0, |owner| OWNER_BYTES + owner.len());
    SLOT_BYTES + owner + entries * ENTRY_BYTES + record.size()
}

/// Returns the most bytes of values that a record may have in a store of `max_bytes`.
pub(super) fn longest_record(max_bytes: usize) -> usize {
    max_bytes.saturating_sub(SLOT_BYTES)
}

impl Slot {
    pub(super) fn new(token: Token<'_>, record: Arc<Record>) -> Self {
        Self { token: Secret::new(token), state: SlotState::Live(record) }
    }

    pub(super) fn deadline(&self) -> u64 {
        self.state.deadline()
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.deadline() <= now
    }

    /// Returns the time of the last write or touch, or the end of a session that ended.
    pub(super) fn seen(&self) -> u64 {
        match &self.state {
            SlotState::Live(record) => record.seen,
            SlotState::Retired(rest) => rest.since,
        }
    }

    /// Returns the live session, if it belongs to this owner.
    pub(super) fn owned_by(&self, owner: &str) -> Option<&Record> {
        match &self.state {
            SlotState::Live(record) if record.owner() == Some(owner) => Some(record),
            _ => None,
        }
    }

    pub(super) fn class(&self) -> Class {
        match &self.state {
            SlotState::Live(record) if record.owner.is_none() => Class::Anonymous,
            SlotState::Live(_) => Class::Owned,
            SlotState::Retired(_) => Class::Tombstone,
        }
    }

    pub(super) fn weight(&self) -> Weight {
        let bytes = match &self.state {
            SlotState::Live(record) => bytes_of(record),
            SlotState::Retired(_) => SLOT_BYTES,
        };
        Weight { class: self.class(), bytes }
    }
}

impl SlotState {
    pub(super) fn retired(stone: Tombstone, since: u64) -> Self {
        Self::Retired(Box::new(Retired { stone, since }))
    }

    pub(super) fn deadline(&self) -> u64 {
        match self {
            Self::Live(record) => record.deadline,
            Self::Retired(rest) => micros(rest.stone.until()),
        }
    }

    pub(super) fn owner(&self) -> Option<&str> {
        match self {
            Self::Live(record) => record.owner(),
            Self::Retired(_) => None,
        }
    }
}
