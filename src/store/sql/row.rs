//! The arguments of a statement, and the row that it returns.

use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::{micros, time};
use crate::record::{DecodeError, Record, RecordHead, SessionHandle, Version};
use crate::store::{Loaded, log};
use crate::token::StoreKey;

/// An argument of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arg<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Null,
    /// No number: a server wants to know the type of what is null.
    NoInt,
}

impl Arg<'static> {
    pub(super) fn time(time: SystemTime) -> Self {
        Self::Int(signed(time))
    }

    pub(super) fn version(version: Version) -> Self {
        Self::Int(version.get().cast_signed())
    }
}

/// The columns of every `SELECT`.
pub(super) struct Row {
    pub(super) id: Vec<u8>,
    /// Zero in a tombstone, absent in a mark.
    pub(super) version: Option<i64>,
    pub(super) deadline: i64,
    /// Absent in a session that is being signed in, which is absent for everybody until the sign-in has read the mark.
    pub(super) seen: Option<i64>,
    pub(super) owner: Option<Vec<u8>>,
    pub(super) handle: Option<Vec<u8>>,
    pub(super) sign_in: Option<i64>,
    pub(super) body: Vec<u8>,
}

impl Row {
    /// Returns whether this is the row of this very record: its times may have moved.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.version.map(Arg::Int) == Some(Arg::version(record.version()))
            && self.owner.as_deref() == record.owner().map(str::as_bytes)
            && self.handle.as_deref().is_none_or(|handle| handle == record.handle().as_bytes())
            && self.body == record.encode()
    }

    /// Returns whether this is a session that has arrived.
    pub(super) fn is_live(&self) -> bool {
        self.version.is_some_and(|version| version != 0) && self.seen.is_some()
    }

    /// Returns whether this is a session that is being signed in, or one whose sign-in was broken off.
    pub(super) fn is_arriving(&self) -> bool {
        self.version.is_some_and(|version| version != 0) && self.seen.is_none()
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.deadline <= signed(now)
    }

    /// Reads a row that has not expired.
    pub(super) fn read(self, now: SystemTime) -> Loaded {
        let unreadable = |why| {
            let key = StoreKey::from_bytes(self.id.as_slice().try_into().unwrap_or_default());
            log::unreadable(&key, why)
        };
        let (version, seen) = match (self.version, self.seen) {
            // A tombstone has no version.
            (Some(version), Some(seen)) => (Version::new(version.cast_unsigned()), seen),
            (None | Some(0), None) => return unreadable(DecodeError("the row is of an unknown kind")),
            // A mark, or a session that is being signed in.
            (None, Some(_)) | (Some(_), None) => return Loaded::Absent,
        };
        let owner = match self.owner.map(String::from_utf8).transpose() {
            Ok(owner) => owner.map(Arc::from),
            Err(_) => return unreadable(DecodeError("the owner is not UTF-8")),
        };
        let handle = match self.handle.map(<[u8; 16]>::try_from) {
            None => SessionHandle::NONE,
            Some(Ok(handle)) => SessionHandle::from_bytes(handle),
            Some(Err(_)) => return unreadable(DecodeError("the handle is of another length")),
        };
        let [deadline, seen] = [self.deadline, seen].map(|micros| time(micros.cast_unsigned()));
        let sign_in = self.sign_in.unwrap_or_default().cast_unsigned();
        let head = RecordHead::new(version, deadline, seen, owner).with_sign_in(handle, sign_in);
        Loaded::decode(head, &self.body, now).unwrap_or_else(unreadable)
    }
}

/// Converts a time to what a column holds: microseconds since the Unix epoch.
pub(super) fn signed(time: SystemTime) -> i64 {
    micros(time).cast_signed()
}
