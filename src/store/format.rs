//! The bytes of a session where a store keeps it as one value, pinned by a test: a header of fixed width, the owner's
//! name, the encoded body.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..8 | `session` and the format's number, 1 |
//! | 8..16 | version; zero for a tombstone |
//! | 16..24 | deadline |
//! | 24..32 | seen |
//! | 32..40 | one more than the length of the owner's name; zero without an owner |
//! | 40..48 | the start of the SHA-256 of store key, bytes 32..40, owner and body |
//! | 48..64 | handle; zeros for a tombstone |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch. The scripts of Redis read and move fields of the
//! header and nothing behind it. The digest reveals a value that is damaged or belongs to another session.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::clock::{micros, time};
use crate::error::StoreError;
use crate::record::{DecodeError, Record, RecordHead, Tombstone, Version};
use crate::store::Loaded;
use crate::token::StoreKey;

const MAGIC: [u8; 8] = *b"session\x01";
pub(super) const HEADER_LEN: usize = 64;
/// The length of a handle, here and in an entry of an owner's list.
pub(super) const HANDLE_LEN: usize = 16;

/// Checks a record against the longest that a store takes.
pub(super) fn bounded(record: &Record, allowed: Option<usize>) -> Result<(), StoreError> {
    let len = record.encoded_len();
    allowed.filter(|allowed| len > *allowed).map_or(Ok(()), |allowed| Err(StoreError::too_large(len, allowed)))
}

/// Returns the start of a value with this version and deadline.
#[cfg(feature = "redis")]
pub(super) fn beginning(version: Version, deadline: SystemTime) -> [[u8; 8]; 3] {
    [MAGIC, version.get().to_be_bytes(), instant(deadline)]
}

/// Writes a record.
pub(super) fn record(key: &StoreKey, record: &Record) -> Vec<u8> {
    encode(key, &record.head(), record.handle().as_bytes(), &record.encode())
}

/// Writes a tombstone.
pub(super) fn tombstone(key: &StoreKey, tombstone: &Tombstone, now: SystemTime) -> Vec<u8> {
    encode(key, &RecordHead::new(None, tombstone.until(), now, None), &[0; HANDLE_LEN], &tombstone.encode())
}

/// Writes a time in the form that the scripts of Redis compare.
#[cfg(feature = "redis")]
pub(super) fn instant(time: SystemTime) -> [u8; 8] {
    micros(time).to_be_bytes()
}

fn encode(key: &StoreKey, head: &RecordHead, handle: &[u8; HANDLE_LEN], body: &[u8]) -> Vec<u8> {
    let owner = head.owner.as_deref().unwrap_or_default().as_bytes();
    let owner_len = owner_len(head.owner.as_deref()).to_be_bytes();
    let numbers = [head.version.map_or(0, Version::get), micros(head.deadline), micros(head.seen)];
    let [version, deadline, seen] = numbers.map(u64::to_be_bytes);
    // With the length, since otherwise a value without an owner could turn into one whose owner has an empty name.
    let digest = digest(&[key.as_bytes(), &owner_len, owner, body]);
    let fields = [MAGIC, version, deadline, seen, owner_len, digest];
    [fields.as_flattened(), handle, owner, body].concat()
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
    let (header, rest) = bytes.split_at_checked(HEADER_LEN).ok_or(DecodeError::CUT_OFF)?;
    let (&[_, version, deadline, seen, owner_len, expected, ref handle @ ..], _) = header.as_chunks::<8>() else {
        return Err(DecodeError::CUT_OFF);
    };
    let [version, deadline, seen] = [version, deadline, seen].map(u64::from_be_bytes);
    if deadline <= micros(now) {
        return Ok(Loaded::Absent);
    }
    if digest(&[key.as_bytes(), &owner_len, rest]) != expected {
        return Err(DecodeError("damaged, or of another session"));
    }
    let (owner, body) = split_owner(u64::from_be_bytes(owner_len), rest)?;
    let loaded = Loaded::decode(RecordHead::new(Version::new(version), time(deadline), time(seen), owner), body, now)?;
    let expected = match &loaded {
        Loaded::Live(record) => *record.handle().as_bytes(),
        _ => [0; HANDLE_LEN],
    };
    if handle.as_flattened() == expected {
        Ok(loaded)
    } else {
        Err(DecodeError("header and record have different handles"))
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
    use crate::record::Record;
    use crate::record::{SessionHandle, TombstoneKind};
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24], crate::token::TokenScope::of("sid")).key()
    }

    fn sample() -> Record {
        let version = Version::new(0x0102_0304_0506_0708).unwrap();
        let handle = SessionHandle::from_bytes([9; 16]);
        Record { version, handle, deadline: 0x11, seen: 0x10, owner: Some("ada".into()), ..Record::blank() }
    }

    #[test]
    fn the_format_is_pinned() {
        let value = record(&key(), &sample());
        let mut golden = b"session\x01".to_vec();
        golden.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0x11]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0x10]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        golden.extend([0x14, 0xfa, 0x98, 0x95, 0x2b, 0xa6, 0x54, 0xd2]);
        golden.extend([9; 16]);
        golden.extend(b"ada");
        golden.extend(sample().encode());
        assert_eq!(value, golden);
        assert_eq!(decode(&key(), &value, time(0x10)), Ok(Loaded::Live(sample().into())));
        assert_eq!(decode(&key(), &value, time(0x11)), Ok(Loaded::Absent));

        let stone = Tombstone::new(TombstoneKind::Destroyed, Duration::from_micros(3), time(1));
        let value = tombstone(&key(), &stone, time(1));
        assert_eq!(
            value[8..40],
            [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 1], [0; 8]].concat()
        );
        assert_eq!(value[48..64], [0; 16]);
        assert_eq!(decode(&key(), &value, time(1)), Ok(Loaded::Tombstone(stone)));
    }

    #[test]
    fn what_is_not_exactly_a_value_of_this_session_is_unreadable() {
        for owner in [Some("ada".into()), None] {
            is_unreadable_when_changed(&record(&key(), &Record { owner, ..sample() }));
        }
    }

    fn is_unreadable_when_changed(whole: &[u8]) {
        let unreadable = |bytes: &[u8]| decode(&key(), bytes, time(0x10)).is_err();
        for end in 0..whole.len() {
            assert!(unreadable(&whole[..end]), "cut at {end}");
        }
        // The times may be any, as a touch moves them.
        for at in (0..8).chain(32..whole.len()) {
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
