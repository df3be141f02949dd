//! The bytes of a session's file, pinned by a test: the value of [`store/format.rs`](crate::store::format) with a seal behind
//! the times.
//!
//! | bytes | content |
//! |---|---|
//! | 0..10 | format and version |
//! | 10..26 | the times |
//! | 26..34 | the start of the SHA-256 of the header, which is all bytes before the part about the owner but these |
//! | 34..43 | the rest of the header |
//! | then | owner and body |
//!
//! A touch writes bytes 10..34 in one call. A reader that runs into the middle of a touch sees by the seal that it has to
//! look again. The header's digest finds a file that a power loss has torn, where nothing was synced, and one that was
//! copied to another session's name.

use crate::record::{DecodeError, RecordHead};
use crate::store::format::{self, HEADER_LEN, Header, TIMES_AT as TIMES, digest};
use crate::token::StoreKey;

/// The offset of the bytes that a touch writes.
pub(super) const TIMES_AT: u64 = TIMES as u64;
/// The length of the header and its seal.
pub(super) const LEN: usize = HEADER_LEN + SEAL_LEN;

const SEAL_AT: usize = TIMES + 16;
const SEAL_LEN: usize = 8;

/// Writes a whole file.
pub(super) fn encode(key: &StoreKey, head: &RecordHead, body: &[u8]) -> Vec<u8> {
    let value = format::encode(key, head, body);
    let (header, rest) = value.split_at(HEADER_LEN);
    let (before, after) = header.split_at(SEAL_AT);
    [before, &digest(&[header]), after, rest].concat()
}

/// Reads a header, or says why it cannot be read.
pub(super) fn decode(bytes: &[u8; LEN]) -> Result<Header, DecodeError> {
    let (before, rest) = bytes.split_at(SEAL_AT);
    let (seal, after) = rest.split_at(SEAL_LEN);
    let mut plain = [0; HEADER_LEN];
    plain[..SEAL_AT].copy_from_slice(before);
    plain[SEAL_AT..].copy_from_slice(after);
    let header = Header::decode(&plain)?;
    if seal == digest(&[&plain]) { Ok(header) } else { Err(DecodeError("damaged header")) }
}

/// Writes the bytes from [`TIMES_AT`] on, with these times in microseconds.
pub(super) fn times(mut header: Header, deadline: u64, seen: u64) -> [[u8; 8]; 3] {
    (header.deadline, header.seen) = (deadline, seen);
    [deadline.to_be_bytes(), seen.to_be_bytes(), digest(&[&header.encode()])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;
    use crate::record::{SessionHandle, Version};
    use crate::token::SessionToken;

    fn key() -> StoreKey {
        SessionToken::from_random([7; 24], crate::token::TokenScope::of("sid")).key()
    }

    fn head(owner: Option<&str>) -> RecordHead {
        let head = RecordHead::new(Version::new(0x0102_0304), time(5), time(6), owner.map(Into::into));
        head.with_sign_in(SessionHandle::from_bytes([9; 16]), 7)
    }

    fn read(key: &StoreKey, file: &[u8]) -> Result<(RecordHead, Vec<u8>), DecodeError> {
        let (header, rest) = file.split_first_chunk().ok_or(DecodeError::CUT_OFF)?;
        decode(header)?.open(key, rest).map(|(head, body)| (head, body.to_vec()))
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = b"s\x02".to_vec();
        golden.extend([0, 0, 0, 0, 1, 2, 3, 4]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 6]);
        golden.extend([216, 44, 25, 55, 188, 252, 137, 120]);
        golden.extend([190, 227, 32, 139, 5, 237, 146, 153]);
        golden.push(1);
        golden.extend([9; 16]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        golden.extend([0, 0, 0, 4]);
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
        let header = decode(file.first_chunk().unwrap()).unwrap();
        file[10..34].copy_from_slice(times(header, 50, 60).as_flattened());
        let later = RecordHead { deadline: time(50), seen: time(60), ..head(Some("ada")) };
        assert_eq!(read(&key(), &file), Ok((later, b"body".to_vec())));
    }
}
