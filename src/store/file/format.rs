//! The bytes of a session's file, pinned by a test: a header of fixed width, the owner's name, the encoded body.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | `session` and the number of the format, 1 |
//! | 8..16 | the start of the SHA-256 of `StoreKey`, owner and body |
//! | 16..24 | version; zero for a tombstone |
//! | 24..32 | one more than the length of the owner's name; zero without an owner |
//! | 32..40 | deadline |
//! | 40..48 | the time of the last write or touch |
//! | 48..56 | the start of the SHA-256 of the bytes before |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch. A touch writes bytes 32..56 in one call. A
//! reader that runs into the middle of a touch sees by the header's digest that it has to look again. The body's digest
//! finds a file that a power loss has torn, where nothing was synced, and one that was copied to another session's name.

use std::time::SystemTime;

use crate::clock::{micros, time};
use crate::record::{DecodeError, RecordHead, Version};
use crate::store::format::{digest, owner_len, split_owner};
use crate::token::StoreKey;

/// The offset of the bytes that a touch writes.
pub(super) const TIMES_AT: u64 = 32;

const MAGIC: [u8; 8] = *b"session\x01";

type Field = [u8; 8];

/// The part before the owner and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    body: Field,
    version: u64,
    owner_len: u64,
    deadline: u64,
    seen: u64,
}

/// Writes a whole file.
pub(super) fn encode(key: &StoreKey, head: &RecordHead, body: &[u8]) -> Vec<u8> {
    let owner = head.owner.as_deref().unwrap_or_default();
    let header = Header {
        body: digest(&[key.as_bytes(), owner.as_bytes(), body]),
        version: head.version.map_or(0, Version::get),
        owner_len: owner_len(head.owner.as_deref()),
        deadline: micros(head.deadline),
        seen: micros(head.seen),
    };
    [header.encode().as_flattened(), owner.as_bytes(), body].concat()
}

impl Header {
    /// Reads a header, or says why it cannot be read.
    pub(super) fn decode(fields: &[Field; 7]) -> Result<Self, DecodeError> {
        let [magic, body, version, owner_len, deadline, seen, seal] = *fields;
        if magic[..7] != MAGIC[..7] {
            return Err(DecodeError("not a session's file"));
        }
        if magic != MAGIC {
            return Err(DecodeError("unknown file format"));
        }
        if seal != digest(&[fields[..6].as_flattened()]) {
            return Err(DecodeError("damaged header"));
        }
        let [version, owner_len, deadline, seen] = [version, owner_len, deadline, seen].map(u64::from_be_bytes);
        Ok(Self { body, version, owner_len, deadline, seen })
    }

    /// Splits the rest of the file into owner and body, and checks both.
    pub(super) fn open<'a>(&self, key: &StoreKey, rest: &'a [u8]) -> Result<(RecordHead, &'a [u8]), DecodeError> {
        if self.body != digest(&[key.as_bytes(), rest]) {
            return Err(DecodeError("damaged, cut off or another session's"));
        }
        let (owner, body) = split_owner(self.owner_len, rest)?;
        Ok((RecordHead::new(Version::new(self.version), time(self.deadline), time(self.seen), owner), body))
    }

    /// Returns whether a record follows, not a tombstone.
    pub(super) fn is_record(&self) -> bool {
        self.version != 0
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.deadline <= micros(now)
    }

    /// Writes the bytes from [`TIMES_AT`] on, with these times in microseconds.
    pub(super) fn times(self, deadline: u64, seen: u64) -> [Field; 3] {
        let [.., deadline, seen, seal] = Self { deadline, seen, ..self }.encode();
        [deadline, seen, seal]
    }

    fn encode(&self) -> [Field; 7] {
        let numbers = [self.version, self.owner_len, self.deadline, self.seen];
        let [version, owner_len, deadline, seen] = numbers.map(u64::to_be_bytes);
        let fields = [MAGIC, self.body, version, owner_len, deadline, seen];
        let seal = digest(&[fields.as_flattened()]);
        [MAGIC, self.body, version, owner_len, deadline, seen, seal]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24], crate::token::TokenScope::of("sid")).key()
    }

    fn head(owner: Option<&str>) -> RecordHead {
        RecordHead::new(Version::new(0x0102_0304), time(5), time(6), owner.map(Into::into))
    }

    fn header_of(file: &[u8]) -> Result<Header, DecodeError> {
        Header::decode(file.as_chunks().0.first_chunk().unwrap())
    }

    fn read(key: &StoreKey, file: &[u8]) -> Result<(RecordHead, Vec<u8>), DecodeError> {
        let (header, rest) = file.split_at_checked(56).ok_or(DecodeError::CUT_OFF)?;
        header_of(header)?.open(key, rest).map(|(head, body)| (head, body.to_vec()))
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = b"session\x01".to_vec();
        golden.extend([235, 97, 107, 156, 16, 74, 212, 137]);
        golden.extend([0, 0, 0, 0, 1, 2, 3, 4]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 6]);
        golden.extend([217, 221, 133, 186, 232, 186, 51, 75]);
        golden.extend(b"adabody");
        assert_eq!(encode(&key(), &head(Some("ada")), b"body"), golden);
        assert_eq!(read(&key(), &golden), Ok((head(Some("ada")), b"body".to_vec())));
    }

    #[test]
    fn no_owner_and_one_without_a_name_are_told_apart() {
        for owner in [None, Some("")] {
            let file = encode(&key(), &head(owner), b"");
            assert_eq!(read(&key(), &file), Ok((head(owner), Vec::new())));
        }
    }

    #[test]
    fn every_damage_is_found() {
        let whole = encode(&key(), &head(Some("ada")), b"body");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(read(&key(), &flipped).is_err(), "flipped at {at}");
            assert!(read(&key(), &whole[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&key(), &[&whole[..], b"x"].concat()).is_err(), "longer");
        assert!(
            read(&SessionToken::from_random([8; 24], crate::token::TokenScope::of("sid")).key(), &whole).is_err(),
            "another session's"
        );
    }

    #[test]
    fn times_change_nothing_else() {
        let mut file = encode(&key(), &head(Some("ada")), b"body");
        let header = header_of(&file).unwrap();
        file[32..56].copy_from_slice(header.times(50, 60).as_flattened());
        let later = RecordHead::new(Version::new(0x0102_0304), time(50), time(60), Some("ada".into()));
        assert_eq!(read(&key(), &file), Ok((later, b"body".to_vec())));
    }
}
