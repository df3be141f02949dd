//! The bytes of a session's file, pinned by a test: a header of fixed width, the owner's name, the encoded body.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `session` and the format's number, 1 |
//! | 8..16 | the start of the SHA-256 of store key, owner and body |
//! | 16..24 | version; zero for a tombstone |
//! | 24..32 | length of the owner's name |
//! | 32..40 | deadline |
//! | 40..48 | seen |
//! | 48..56 | the start of the SHA-256 of the bytes before |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch. A touch writes bytes 32..56 in one call; a
//! reader that runs into the middle of it sees by the digest that it has to look again. The digest of the body finds
//! what a power loss has torn where nothing was synced, and a file that was copied to another session's name.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::clock::{micros, time};
use crate::record::{Head, Version};
use crate::token::StoreKey;

pub(super) const HEADER_LEN: usize = 56;
pub(super) const TIMES_AT: usize = 32;

const DIGEST_AT: usize = 48;
const DIGEST_LEN: usize = 8;
const MAGIC: [u8; 7] = *b"session";
const FORMAT: u8 = 1;

/// What stands before the owner and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    body: [u8; DIGEST_LEN],
    version: u64,
    owner_len: u64,
    deadline: u64,
    seen: u64,
}

/// Writes a whole file.
pub(super) fn encode(key: &StoreKey, head: &Head, body: &[u8]) -> Vec<u8> {
    let owner = head.owner.as_deref().unwrap_or_default();
    let header = Header {
        body: digest(&[key.as_bytes(), owner.as_bytes(), body]),
        version: head.version.map_or(0, Version::get),
        // Zero stands for no owner, so an owner's length is one more than that of its name.
        owner_len: head.owner.as_ref().map_or(0, |owner| owner.len() as u64 + 1),
        deadline: micros(head.deadline),
        seen: micros(head.seen),
    };
    [&header.encode(), owner.as_bytes(), body].concat()
}

impl Header {
    /// Reads a header; what is wrong with it otherwise.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, &'static str> {
        if bytes[..MAGIC.len()] != MAGIC {
            return Err("not a session's file");
        }
        if bytes[MAGIC.len()] != FORMAT {
            return Err("unknown file format");
        }
        if bytes[DIGEST_AT..] != digest(&[&bytes[..DIGEST_AT]]) {
            return Err("damaged header");
        }
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Self {
            body: std::array::from_fn(|i| bytes[8 + i]),
            version: number(16),
            owner_len: number(24),
            deadline: number(TIMES_AT),
            seen: number(TIMES_AT + 8),
        })
    }

    /// Splits what follows the header and checks it.
    pub(super) fn open<'a>(&self, key: &StoreKey, rest: &'a [u8]) -> Result<(Head, &'a [u8]), &'static str> {
        let owner_len = usize::try_from(self.owner_len.saturating_sub(1)).map_err(|_| "cut off")?;
        let (owner, body) = rest.split_at_checked(owner_len).ok_or("cut off")?;
        if self.body != digest(&[key.as_bytes(), owner, body]) {
            return Err("damaged, cut off or another session's");
        }
        let owner = str::from_utf8(owner).map_err(|_| "not UTF-8")?;
        let owner = (self.owner_len > 0).then(|| Arc::from(owner));
        Ok((Head::new(Version::new(self.version), time(self.deadline), time(self.seen), owner), body))
    }

    /// Whether a record follows, not a tombstone.
    pub(super) fn is_record(&self) -> bool {
        self.version != 0
    }

    /// Whether it has ended at a time in microseconds.
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.deadline <= now
    }

    /// Writes the bytes from [`TIMES_AT`] on, with these times in microseconds.
    pub(super) fn times(self, deadline: u64, seen: u64) -> [u8; HEADER_LEN - TIMES_AT] {
        let bytes = Self { deadline, seen, ..self }.encode();
        std::array::from_fn(|i| bytes[TIMES_AT + i])
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..MAGIC.len()].copy_from_slice(&MAGIC);
        out[MAGIC.len()] = FORMAT;
        out[8..16].copy_from_slice(&self.body);
        let numbers = [self.version, self.owner_len, self.deadline, self.seen];
        for (field, number) in out[16..DIGEST_AT].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_be_bytes());
        }
        let seal = digest(&[&out[..DIGEST_AT]]);
        out[DIGEST_AT..].copy_from_slice(&seal);
        out
    }
}

fn digest(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash = hash.finalize();
    std::array::from_fn(|i| hash[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24]).key()
    }

    fn head(owner: Option<&str>) -> Head {
        Head::new(Version::new(0x0102_0304), time(5), time(6), owner.map(Into::into))
    }

    fn read(key: &StoreKey, file: &[u8]) -> Result<(Head, Vec<u8>), &'static str> {
        let (header, rest) = file.split_first_chunk().ok_or("cut off")?;
        Header::decode(header)?.open(key, rest).map(|(head, body)| (head, body.to_vec()))
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
        assert!(read(&SessionToken::from_random([8; 24]).key(), &whole).is_err(), "another session's");
    }

    #[test]
    fn times_change_nothing_else() {
        let mut file = encode(&key(), &head(Some("ada")), b"body");
        let header = Header::decode(file.first_chunk().unwrap()).unwrap();
        file[TIMES_AT..HEADER_LEN].copy_from_slice(&header.times(50, 60));
        let later = Head::new(Version::new(0x0102_0304), time(50), time(60), Some("ada".into()));
        assert_eq!(read(&key(), &file), Ok((later, b"body".to_vec())));
    }
}
