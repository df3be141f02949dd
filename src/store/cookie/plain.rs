//! The plaintext of a sealed session: a record with its head, padded.
//!
//! Big-endian: version (8), deadline and last use in microseconds (8 each), handle (16), length of the owner's name plus
//! one or zero without an owner (2), length of the encoded record (2), the name, the record, zeros up to a multiple of 32.
//! No store gives a sign-in its moment here.

use crate::clock::{micros, time};
use crate::record::{DecodeError, Record, RecordHead, SessionHandle, Version};
use crate::store::format::{owner_len, split_owner};

/// Padding hides what a length would tell: `"a"` or `"abcdefgh"`.
pub(super) const BLOCK: usize = 32;
const HEAD_LEN: usize = 3 * 8 + 16 + 2 * 2;

/// A length or the padding is impossible.
const FRAME: DecodeError = DecodeError("impossible frame");

/// Returns the length of the longest record ([`Record::encoded_len`]) whose plaintext has at most `plaintext_len` bytes.
pub(super) fn max_record_len(plaintext_len: usize) -> usize {
    (plaintext_len / BLOCK * BLOCK).saturating_sub(HEAD_LEN)
}

/// Writes a record; `None` if a length does not fit its field, far beyond the size of any cookie.
pub(super) fn write(record: &Record) -> Option<Vec<u8>> {
    let (owner, body) = (record.owner(), record.encode());
    let owner_mark = u16::try_from(owner_len(owner)).ok()?;
    let body_len = u16::try_from(body.len()).ok()?;
    let owner = owner.unwrap_or_default().as_bytes();
    let len = (HEAD_LEN + owner.len() + body.len()).next_multiple_of(BLOCK);
    let mut out = Vec::with_capacity(len);
    for number in [record.version().get(), micros(record.deadline()), micros(record.seen())] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(record.handle.as_bytes());
    out.extend_from_slice(&owner_mark.to_be_bytes());
    out.extend_from_slice(&body_len.to_be_bytes());
    out.extend_from_slice(owner);
    out.extend_from_slice(&body);
    out.resize(len, 0);
    Some(out)
}

/// Reads what [`write`] wrote.
///
/// The plaintext was authentic, but an older or newer build may have sealed it, so everything is checked.
pub(super) fn read(plaintext: &[u8]) -> Result<Record, DecodeError> {
    let (head, rest) = plaintext.split_at_checked(HEAD_LEN).ok_or(FRAME)?;
    let (numbers, lengths) = head.split_at(3 * 8);
    let (handle, &[a, b, c, d]) = lengths.split_first_chunk().ok_or(FRAME)? else { return Err(FRAME) };
    let (&[version, deadline, seen], []) = numbers.as_chunks() else { return Err(FRAME) };
    let [version, deadline, seen] = [version, deadline, seen].map(u64::from_be_bytes);
    let [owner_mark, body_len] = [[a, b], [c, d]].map(u16::from_be_bytes);
    let (owner, rest) = split_owner(owner_mark.into(), rest)?;
    let (body, padding) = rest.split_at_checked(body_len.into()).ok_or(FRAME)?;
    if !plaintext.len().is_multiple_of(BLOCK) || padding.len() >= BLOCK || padding.iter().any(|byte| *byte != 0) {
        return Err(FRAME);
    }
    let head = RecordHead::new(Version::new(version), time(deadline), time(seen), owner);
    Record::decode(head.with_sign_in(SessionHandle::from_bytes(*handle), 0), body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::cookie::tests::record;

    #[test]
    fn every_owner_survives_none_and_empty_included() {
        for owner in [None, Some(""), Some("ada"), Some("é")] {
            let mut record = record(5);
            record.owner = owner.map(Arc::from);
            let plaintext = write(&record).unwrap();
            assert_eq!(plaintext.len() % BLOCK, 0);
            assert_eq!(read(&plaintext), Ok(record), "{owner:?}");
        }
    }

    #[test]
    fn small_differences_have_one_length() {
        let lens = [8, 16, 24].map(|len| write(&record(len)).unwrap().len());
        assert_eq!(lens, [lens[0]; 3]);
    }

    #[test]
    fn the_largest_record_fits_its_blocks_with_little_to_spare() {
        for room in [160, 191, 2_976, 12_000] {
            let empty = record(0).encoded_len();
            let largest = record(max_record_len(room) - empty);
            assert_eq!(largest.encoded_len(), max_record_len(room));
            let (written, blocks) = (HEAD_LEN + largest.encode().len(), room / BLOCK * BLOCK);
            assert!(written <= blocks && written + empty > blocks, "{written} of {blocks}");
            assert!(write(&largest).unwrap().len() <= blocks);
        }
        assert_eq!(max_record_len(0), 0);
        assert_eq!(max_record_len(31), 0);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused_and_never_cut_off() {
        assert_eq!(write(&record(70_000)), None);
        let mut record = record(0);
        record.owner = Some("x".repeat(65_534).into());
        assert!(write(&record).is_some());
        record.owner = Some("x".repeat(65_535).into());
        assert_eq!(write(&record), None);
    }

    #[test]
    fn a_strange_plaintext_is_an_error_and_never_a_panic() {
        let whole = write(&record(5)).unwrap();
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                let read = read(&changed);
                // Times beyond the clock's reach count as its end. Anything else is read back as it was written.
                let beyond = matches!(at, 8 | 16) && byte >= 128;
                assert!(beyond || read.is_err() || write(&read.unwrap()) == Some(changed), "byte {at}");
            }
        }
        let last = whole.len() - 1;
        for (what, changed) in [
            ("padding", [&whole[..last], &[1]].concat()),
            ("another block", [whole.as_slice(), &[0; BLOCK]].concat()),
            ("another byte", [whole.as_slice(), &[0]].concat()),
        ] {
            assert_eq!(read(&changed), Err(FRAME), "{what}");
        }
        let unversioned = [&[0; 8], &whole[8..]].concat();
        assert!(matches!(read(&unversioned), Err(error) if error != FRAME));
    }
}
