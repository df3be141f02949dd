//! The bytes of a session where a store keeps it as one value, pinned by a test: a header of fixed width, the part about
//! the owner if there is one, the encoded body.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..2 | `s` and the format's number, 2 |
//! | 2..10 | version; zero for a tombstone |
//! | 10..18 | deadline |
//! | 18..26 | seen |
//! | 26..34 | the start of the SHA-256 of store key, version, and all bytes from 34 on |
//! | 34 | 1 if the part about the owner follows, 0 if not |
//! | 35..51 | handle |
//! | 51..59 | the moment of the sign-in; zero if there is none yet |
//! | 59..63 | one more than the length of the owner's name; zero without an owner |
//! | then | the owner's name |
//! | then | the body |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch. The scripts of Redis read and move fields of the
//! header, and read the part about the owner. The digest reveals a value that is damaged or belongs to another session; it
//! leaves out the times, which are moved in place.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::clock::{micros, time};
use crate::error::StoreError;
use crate::record::{DecodeError, Record, RecordHead, SessionHandle, Tombstone, Version};
use crate::store::Loaded;
use crate::token::StoreKey;

const MAGIC: [u8; 2] = *b"s\x02";
pub(super) const HEADER_LEN: usize = 35;
/// The offset of the times, which are the only bytes that change in place.
#[cfg(any(test, all(feature = "file", unix)))]
pub(super) const TIMES_AT: usize = 10;
/// The length of a handle, here and in an entry of an owner's list.
pub(super) const HANDLE_LEN: usize = 16;
/// The most bytes of a value beside the owner's name and the body.
pub(super) const FRAME_LEN: usize = HEADER_LEN + HANDLE_LEN + 8 + 4;

/// Checks a record against the longest that a store takes.
pub(super) fn bounded(record: &Record, allowed: Option<usize>) -> Result<(), StoreError> {
    let len = record.encoded_len();
    allowed.filter(|allowed| len > *allowed).map_or(Ok(()), |allowed| Err(StoreError::too_large(len, allowed)))
}

/// Returns the start of a value with this version and deadline.
#[cfg(feature = "redis")]
pub(super) fn beginning(version: Version, deadline: SystemTime) -> Vec<u8> {
    [&MAGIC[..], &version.get().to_be_bytes(), &instant(deadline)].concat()
}

/// Writes a record.
pub(super) fn record(key: &StoreKey, record: &Record) -> Vec<u8> {
    encode(key, &record.head(), &record.encode())
}

/// Writes a tombstone.
pub(super) fn tombstone(key: &StoreKey, tombstone: &Tombstone, now: SystemTime) -> Vec<u8> {
    encode(key, &RecordHead::new(None, tombstone.until(), now, None), &tombstone.encode())
}

/// Writes a time in the form that the scripts of Redis compare.
#[cfg(feature = "redis")]
pub(super) fn instant(time: SystemTime) -> [u8; 8] {
    micros(time).to_be_bytes()
}

/// Writes a value.
pub(super) fn encode(key: &StoreKey, head: &RecordHead, body: &[u8]) -> Vec<u8> {
    let owner = head.owner.as_deref().unwrap_or_default().as_bytes();
    // A name of 4 GiB is far beyond the longest record, and reading refuses it.
    let owner_len = u32::try_from(owner_len(head.owner.as_deref())).unwrap_or(u32::MAX).to_be_bytes();
    let mut rest = Vec::with_capacity(FRAME_LEN - HEADER_LEN + owner.len() + body.len());
    if head.owner.is_some() || head.handle != SessionHandle::NONE || head.sign_in > 0 {
        rest.extend_from_slice(head.handle.as_bytes());
        rest.extend_from_slice(&head.sign_in.to_be_bytes());
        rest.extend_from_slice(&owner_len);
        rest.extend_from_slice(owner);
    }
    let mut header = Header {
        version: head.version.map_or(0, Version::get),
        deadline: micros(head.deadline),
        seen: micros(head.seen),
        digest: [0; 8],
        has_owner: u8::from(!rest.is_empty()),
    };
    rest.extend_from_slice(body);
    header.digest = header.digest_of(key, &rest);
    [&header.encode(), rest.as_slice()].concat()
}

/// Reads the value that stands under a key; one that has ended is [`Loaded::Absent`].
///
/// # Errors
///
/// The value is not a session, or it is damaged or of a newer format.
pub(super) fn decode(key: &StoreKey, bytes: &[u8], now: SystemTime) -> Result<Loaded, DecodeError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(DecodeError("not a session, or of a newer format"));
    }
    let (header, rest) = bytes.split_first_chunk().ok_or(DecodeError::CUT_OFF)?;
    let header = Header::decode(header)?;
    if header.is_expired(now) {
        return Ok(Loaded::Absent);
    }
    let (head, body) = header.open(key, rest)?;
    Loaded::decode(head, body, now)
}

/// The part of a value that has a fixed width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    version: u64,
    pub(super) deadline: u64,
    pub(super) seen: u64,
    digest: [u8; 8],
    has_owner: u8,
}

impl Header {
    /// Reads a header, or says why it cannot be read.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, DecodeError> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic[0] != MAGIC[0] {
            return Err(DecodeError("not a session"));
        }
        if magic != MAGIC {
            return Err(DecodeError("unknown format of a value"));
        }
        let (&[version, deadline, seen, digest], &[has_owner]) = rest.as_chunks() else {
            return Err(DecodeError::CUT_OFF);
        };
        let [version, deadline, seen] = [version, deadline, seen].map(u64::from_be_bytes);
        Ok(Self { version, deadline, seen, digest, has_owner })
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let [version, deadline, seen] = [self.version, self.deadline, self.seen].map(u64::to_be_bytes);
        let fields = [version, deadline, seen, self.digest];
        let mut out = [0; HEADER_LEN];
        out[..MAGIC.len()].copy_from_slice(&MAGIC);
        out[MAGIC.len()..HEADER_LEN - 1].copy_from_slice(fields.as_flattened());
        out[HEADER_LEN - 1] = self.has_owner;
        out
    }

    /// Splits the rest of the value into head and body, and checks both.
    pub(super) fn open<'a>(&self, key: &StoreKey, rest: &'a [u8]) -> Result<(RecordHead, &'a [u8]), DecodeError> {
        if self.digest_of(key, rest) != self.digest {
            return Err(DecodeError("damaged, cut off or of another session"));
        }
        let head = |owner| RecordHead::new(Version::new(self.version), time(self.deadline), time(self.seen), owner);
        if self.has_owner == 0 {
            return Ok((head(None), rest));
        }
        let (handle, rest) = rest.split_first_chunk().ok_or(DecodeError::CUT_OFF)?;
        let (sign_in, rest) = rest.split_first_chunk().ok_or(DecodeError::CUT_OFF)?;
        let (owner_len, rest) = rest.split_first_chunk().ok_or(DecodeError::CUT_OFF)?;
        let (owner, body) = split_owner(u32::from_be_bytes(*owner_len).into(), rest)?;
        let (handle, sign_in) = (SessionHandle::from_bytes(*handle), u64::from_be_bytes(*sign_in));
        Ok((head(owner).with_sign_in(handle, sign_in), body))
    }

    /// Returns whether a record follows, not a tombstone.
    #[cfg(all(feature = "file", unix))]
    pub(super) fn is_record(&self) -> bool {
        self.version != 0
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.deadline <= micros(now)
    }

    fn digest_of(&self, key: &StoreKey, rest: &[u8]) -> [u8; 8] {
        digest(&[key.as_bytes(), &self.version.to_be_bytes(), &[self.has_owner], rest])
    }
}

/// Returns one more than the length of the owner's name, zero without an owner.
pub(super) fn owner_len(owner: Option<&str>) -> u64 {
    owner.map_or(0, |owner| owner.len() as u64 + 1)
}

/// Splits bytes into the owner's name, whose length is given as by [`owner_len`], and the rest.
pub(super) fn split_owner(owner_len: u64, bytes: &[u8]) -> Result<(Option<Arc<str>>, &[u8]), DecodeError> {
    let name_len = usize::try_from(owner_len.saturating_sub(1)).map_err(|_| DecodeError::CUT_OFF)?;
    let (name, rest) = bytes.split_at_checked(name_len).ok_or(DecodeError::CUT_OFF)?;
    let name = str::from_utf8(name).map_err(|_| DecodeError("the owner's name is not UTF-8"))?;
    Ok(((owner_len > 0).then(|| name.into()), rest))
}

/// Returns the start of the SHA-256 of these parts, one after the other.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 8] {
    let hash = parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{Record, TombstoneKind};
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24], crate::token::TokenScope::of("sid")).key()
    }

    fn sample() -> Record {
        let version = Version::new(0x0102_0304_0506_0708).unwrap();
        let (handle, owner) = (SessionHandle::from_bytes([9; 16]), Some("ada".into()));
        Record { version, handle, deadline: 0x11, seen: 0x10, sign_in: 0x12, owner, ..Record::blank() }
    }

    fn nobody() -> Record {
        Record { handle: SessionHandle::NONE, sign_in: 0, owner: None, ..sample() }
    }

    #[test]
    fn the_format_is_pinned() {
        let beginning =
            [&b"s\x02"[..], &[1, 2, 3, 4, 5, 6, 7, 8], &[0, 0, 0, 0, 0, 0, 0, 0x11], &[0, 0, 0, 0, 0, 0, 0, 0x10]];
        let owned = [&[9; 16][..], &[0, 0, 0, 0, 0, 0, 0, 0x12], &[0, 0, 0, 4], b"ada"].concat();
        for (sample, digest, has_owner, owned) in [
            (sample(), [0xda, 0x34, 0xc2, 0xc5, 0x86, 0x74, 0x03, 0x63], 1, owned.as_slice()),
            (nobody(), [0xbe, 0x44, 0xf7, 0x62, 0x0d, 0x25, 0x64, 0x6a], 0, &[]),
        ] {
            let value = record(&key(), &sample);
            let golden = [&beginning.concat()[..], &digest, &[has_owner], owned, &sample.encode()].concat();
            assert_eq!(value, golden);
            assert_eq!(decode(&key(), &value, time(0x10)), Ok(Loaded::Live(sample.into())));
            assert_eq!(decode(&key(), &value, time(0x11)), Ok(Loaded::Absent));
        }

        let stone = Tombstone::new(TombstoneKind::Destroyed, Duration::from_micros(3), time(1));
        let value = tombstone(&key(), &stone, time(1));
        assert_eq!(value[2..26], [[0; 8], [0, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 1]].concat());
        assert_eq!(value[34..], [0, b'd']);
        assert_eq!(decode(&key(), &value, time(1)), Ok(Loaded::Tombstone(stone)));
    }

    #[test]
    fn no_owner_and_one_without_a_name_are_told_apart() {
        for (owner, sign_in, handle) in [
            (None, 0, [0; 16]),
            (Some(""), 0, [0; 16]),
            (None, 1, [0; 16]),
            (None, 0, [1; 16]),
            (Some("ada"), 1, [1; 16]),
        ] {
            let (owner, handle) = (owner.map(Into::into), SessionHandle::from_bytes(handle));
            let record = Record { sign_in, handle, owner, ..sample() };
            let value = super::record(&key(), &record);
            assert!(value.len() <= record.encoded_len() + FRAME_LEN);
            assert_eq!(decode(&key(), &value, time(0x10)), Ok(Loaded::Live(record.into())));
        }
    }

    #[test]
    fn what_is_not_exactly_a_value_of_this_session_is_unreadable() {
        for sample in [sample(), nobody()] {
            is_unreadable_when_changed(&record(&key(), &sample));
        }
    }

    fn is_unreadable_when_changed(whole: &[u8]) {
        let unreadable = |bytes: &[u8]| decode(&key(), bytes, time(0x10)).is_err();
        for end in 0..whole.len() {
            assert!(unreadable(&whole[..end]), "cut at {end}");
        }
        // The times may be any, as a touch moves them.
        for at in (0..TIMES_AT).chain(TIMES_AT + 16..whole.len()) {
            for bit in 0..8 {
                let mut flipped = whole.to_vec();
                flipped[at] ^= 1 << bit;
                assert!(unreadable(&flipped), "bit {bit} of byte {at}");
            }
        }
        assert!(unreadable(&[whole, b"x"].concat()));
        assert!(unreadable(b"") && unreadable(b"hello") && unreadable(&[0xff; 200]));
        let other = SessionToken::from_random([8; 24], crate::token::TokenScope::of("sid")).key();
        assert!(decode(&other, whole, time(0x10)).is_err(), "of another session");
    }
}
