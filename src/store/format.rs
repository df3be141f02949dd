//! The bytes of a session where a store keeps it as one value, pinned by a test: a header of fixed width, the owner's
//! name, the encoded body.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `session` and the format's number, 1 |
//! | 8..16 | version; zero for a tombstone |
//! | 16..24 | deadline |
//! | 24..32 | seen |
//! | 32..40 | one more than the length of the owner's name; zero without an owner |
//! | 40..48 | the start of the SHA-256 of store key, bytes 32..40, owner and body |
//! | 48..64 | handle; zeros for a tombstone |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch. Redis' scripts read and move what is in the
//! header and nothing behind it. The digest finds a value that was damaged, or that belongs to another session.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::clock::{micros, time};
use crate::record::{Head, Record, Tombstone, Version};
use crate::store::Loaded;
use crate::token::StoreKey;

const MAGIC: [u8; 8] = *b"session\x01";
const DIGEST_LEN: usize = 8;
pub(super) const HEADER_LEN: usize = 64;
/// What a handle takes, here and in an entry of an owner's list.
pub(super) const HANDLE_LEN: usize = 16;

/// How a value begins that is at this version and has the same deadline as another value.
#[cfg(feature = "redis")]
pub(super) fn beginning(version: Version, value: &[u8]) -> [u8; 24] {
    let mut start = [0; 24];
    start[..8].copy_from_slice(&MAGIC);
    start[8..16].copy_from_slice(&version.get().to_be_bytes());
    if let Some(deadline) = value.get(16..24) {
        start[16..].copy_from_slice(deadline);
    }
    start
}

/// Writes a record.
pub(super) fn record(key: &StoreKey, record: &Record) -> Vec<u8> {
    encode(key, &record.head(), record.handle().as_bytes(), &record.encode())
}

/// Writes a tombstone.
pub(super) fn tombstone(key: &StoreKey, tombstone: &Tombstone, now: SystemTime) -> Vec<u8> {
    encode(key, &Head::new(None, tombstone.until(), now, None), &[0; HANDLE_LEN], &tombstone.encode())
}

/// A time as Redis' scripts compare it.
#[cfg(feature = "redis")]
pub(super) fn instant(time: SystemTime) -> [u8; 8] {
    micros(time).to_be_bytes()
}

/// What a value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What has ended is [`Loaded::Absent`].
    Ours(Loaded),
    /// Somebody else's, damaged or of a newer format, and why.
    Unreadable(String),
}

/// Reads the value that stands under a key.
pub(super) fn decode(key: &StoreKey, bytes: &[u8], now: SystemTime) -> Found {
    match read(key, bytes, now) {
        Ok(loaded) => Found::Ours(loaded),
        Err(why) => Found::Unreadable(why),
    }
}

fn encode(key: &StoreKey, head: &Head, handle: &[u8; HANDLE_LEN], body: &[u8]) -> Vec<u8> {
    let owner = head.owner.as_deref().unwrap_or_default();
    let owner_len = head.owner.as_ref().map_or(0, |owner| owner.len() as u64 + 1);
    let version = head.version.map_or(0, Version::get);
    let mut out = Vec::with_capacity(HEADER_LEN + owner.len() + body.len());
    out.extend_from_slice(&MAGIC);
    for number in [version, micros(head.deadline), micros(head.seen), owner_len] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&digest(key, owner_len, owner.as_bytes(), body));
    out.extend_from_slice(handle);
    out.extend_from_slice(owner.as_bytes());
    out.extend_from_slice(body);
    out
}

fn read(key: &StoreKey, bytes: &[u8], now: SystemTime) -> Result<Loaded, String> {
    let mut rest = bytes;
    if take(&mut rest) != Some(MAGIC) {
        return Err("not a session, or of a newer format".to_owned());
    }
    let mut number = || take(&mut rest).map(u64::from_be_bytes).ok_or("cut off");
    let (version, deadline, seen, owner_len) = (number()?, number()?, number()?, number()?);
    let expected: [u8; DIGEST_LEN] = take(&mut rest).ok_or("cut off")?;
    let handle: [u8; HANDLE_LEN] = take(&mut rest).ok_or("cut off")?;
    if deadline <= micros(now) {
        return Ok(Loaded::Absent);
    }
    let name_len = usize::try_from(owner_len.saturating_sub(1)).map_err(|_| "impossible length of an owner's name")?;
    let (owner, body) = rest.split_at_checked(name_len).ok_or("cut off")?;
    if digest(key, owner_len, owner, body) != expected {
        return Err("damaged, or of another session".to_owned());
    }
    let owner = str::from_utf8(owner).map_err(|_| "an owner's name that is not UTF-8")?;
    let owner: Option<Arc<str>> = (owner_len > 0).then(|| owner.into());
    let head = Head::new(Version::new(version), time(deadline), time(seen), owner);
    let loaded = Loaded::decode(head, body, now).map_err(|error| error.to_string())?;
    let is_same = match &loaded {
        Loaded::Live(record) => *record.handle().as_bytes() == handle,
        _ => handle == [0; HANDLE_LEN],
    };
    if is_same { Ok(loaded) } else { Err("another handle in front than inside".to_owned()) }
}

/// With the length, or a value without an owner could turn into one whose owner has no name.
fn digest(key: &StoreKey, owner_len: u64, owner: &[u8], body: &[u8]) -> [u8; DIGEST_LEN] {
    let hash = Sha256::new().chain_update(key.as_bytes()).chain_update(owner_len.to_be_bytes());
    let hash = hash.chain_update(owner).chain_update(body).finalize();
    std::array::from_fn(|index| hash[index])
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, back) = rest.split_first_chunk()?;
    *rest = back;
    Some(*front)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Record;
    use crate::record::{SessionHandle, TombstoneKind};
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24]).key()
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
        assert_eq!(decode(&key(), &value, time(0x10)), Found::Ours(Loaded::Live(sample().into())));
        assert_eq!(decode(&key(), &value, time(0x11)), Found::Ours(Loaded::Absent));

        let stone = Tombstone::new(TombstoneKind::Destroyed, Duration::from_micros(3), time(1));
        let value = tombstone(&key(), &stone, time(1));
        assert_eq!(
            value[8..40],
            [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 1], [0; 8]].concat()
        );
        assert_eq!(value[48..64], [0; 16]);
        assert_eq!(decode(&key(), &value, time(1)), Found::Ours(Loaded::Tombstone(stone)));
    }

    #[test]
    fn what_is_not_exactly_a_value_of_this_session_is_unreadable() {
        for owner in [Some("ada".into()), None] {
            is_unreadable_when_changed(&record(&key(), &Record { owner, ..sample() }));
        }
    }

    fn is_unreadable_when_changed(whole: &[u8]) {
        let unreadable = |bytes: &[u8]| matches!(decode(&key(), bytes, time(0x10)), Found::Unreadable(_));
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
        let other = SessionToken::from_random([8; 24]).key();
        assert!(matches!(decode(&other, whole, time(0x10)), Found::Unreadable(_)), "of another session");
    }
}
