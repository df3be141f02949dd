//! The bytes of a record: a format number, fields of fixed width, then keys and JSON, each with its length in front.
//!
//! A test pins them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_core::de::IgnoredAny;

use super::{CSRF_LEN, Entry, Record, SessionHandle, Values, Version};
use crate::clock::micros;

/// The first byte of every encoded record.
const FORMAT: u8 = 1;

/// Bytes of an empty record: format, four times, handle, CSRF secret, flags, age at the last renewal and two counts.
///
/// The age is written only if there is one, but always counted, so that no session outgrows its bound by a renewal.
pub(super) const FIXED_LEN: usize = 1 + 4 * 8 + 16 + CSRF_LEN + 1 + RENEWED_LEN + 2 * 4;
pub(crate) const RENEWED_LEN: usize = 4;

/// The flag of a session whose CSRF secret the program has taken.
const CSRF_HANDED_OUT: u8 = 1;
/// The flag of a record in which the age at the last renewal follows.
const RENEWED: u8 = 2;

/// The part of a record that a store keeps beside the encoded bytes, in columns, fields or a header of fixed width.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordHead {
    /// The version; `None` for a tombstone.
    pub version: Option<Version>,
    /// The time at which the record or tombstone ends.
    pub deadline: SystemTime,
    /// The time at which it was last written or touched.
    pub seen: SystemTime,
    /// The name of the owner; `None` if nobody has signed in.
    pub owner: Option<Arc<str>>,
}

impl RecordHead {
    /// Creates a head of the parts that a store keeps.
    pub fn new(version: Option<Version>, deadline: SystemTime, seen: SystemTime, owner: Option<Arc<str>>) -> Self {
        Self { version, deadline, seen, owner }
    }
}

/// The reason why stored bytes are not a record: they are corrupt, cut off, or of a newer format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(pub(crate) &'static str);

impl DecodeError {
    pub(crate) const CUT_OFF: Self = Self("cut off");
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored session cannot be read: {}", self.0)
    }
}

impl std::error::Error for DecodeError {}

impl Record {
    /// Writes everything but the [`RecordHead`] as bytes: big-endian, times and durations in microseconds.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.push(FORMAT);
        for number in [self.created, self.absolute, self.idle, self.signed_in] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.handle.as_bytes());
        out.extend_from_slice(&self.csrf);
        let has_renewed = self.renewed > 0;
        out.push(if self.csrf_handed_out { CSRF_HANDED_OUT } else { 0 } | if has_renewed { RENEWED } else { 0 });
        if has_renewed {
            out.extend_from_slice(&self.renewed.to_be_bytes());
        }
        for values in [&self.flash, &self.values] {
            write_len(&mut out, values.entries().len());
            for entry in values.entries() {
                write_len(&mut out, entry.key().len());
                write_len(&mut out, entry.json().len());
                out.extend_from_slice(entry.key().as_bytes());
                out.extend_from_slice(entry.json().as_bytes());
            }
        }
        out
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// The bytes are not exactly a record of this format. No input causes a panic, or an allocation of more than a few
    /// times its own size.
    pub fn decode(head: RecordHead, body: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = body;
        let [format] = take(&mut rest).ok_or(DecodeError::CUT_OFF)?;
        if format != FORMAT {
            return Err(DecodeError("unknown format"));
        }
        let mut number = || take(&mut rest).map(u64::from_be_bytes).ok_or(DecodeError::CUT_OFF);
        let (created, absolute, idle, signed_in) = (number()?, number()?, number()?, number()?);
        let handle = SessionHandle::from_bytes(take(&mut rest).ok_or(DecodeError::CUT_OFF)?);
        let csrf = take(&mut rest).ok_or(DecodeError::CUT_OFF)?;
        let [flags] = take(&mut rest).ok_or(DecodeError::CUT_OFF)?;
        if flags & !(CSRF_HANDED_OUT | RENEWED) != 0 {
            return Err(DecodeError("impossible flag"));
        }
        let renewed =
            if flags & RENEWED == 0 { 0 } else { u32::from_be_bytes(take(&mut rest).ok_or(DecodeError::CUT_OFF)?) };
        if renewed == 0 && flags & RENEWED != 0 {
            return Err(DecodeError("impossible age"));
        }
        let (flash, values) = (read_values(&mut rest)?, read_values(&mut rest)?);
        if !rest.is_empty() {
            return Err(DecodeError("bytes after the end"));
        }
        Ok(Self {
            created,
            seen: micros(head.seen),
            deadline: micros(head.deadline),
            absolute,
            idle,
            signed_in,
            version: head.version.ok_or(DecodeError("no version"))?,
            handle,
            owner: head.owner,
            csrf,
            csrf_handed_out: flags & CSRF_HANDED_OUT != 0,
            renewed,
            flash,
            values,
        })
    }
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    // A change bounds the record far below 4 GiB, and reading refuses a longer one.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// Takes the first `N` bytes off; `None` if there are fewer.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

fn read_len(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let len = u32::from_be_bytes(take(rest).ok_or(DecodeError::CUT_OFF)?);
    usize::try_from(len).map_err(|_| DecodeError("too long"))
}

fn read_text<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a str, DecodeError> {
    str::from_utf8(rest.split_off(..len).ok_or(DecodeError::CUT_OFF)?).map_err(|_| DecodeError("not UTF-8"))
}

fn read_values(rest: &mut &[u8]) -> Result<Values, DecodeError> {
    let count = read_len(rest)?;
    // Each entry has at least eight bytes, so a forged count cannot reserve much memory.
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(rest.len() / 8));
    for _ in 0..count {
        let (key_len, json_len) = (read_len(rest)?, read_len(rest)?);
        let (key, json) = (read_text(rest, key_len)?, read_text(rest, json_len)?);
        if entries.last().is_some_and(|last| last.key() >= key) {
            return Err(DecodeError("keys out of order"));
        }
        serde_json::from_str::<IgnoredAny>(json).map_err(|_| DecodeError("not JSON"))?;
        entries.push(Entry::new(key, json));
    }
    Ok(Values::from_sorted(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record {
            created: 1,
            seen: 2,
            deadline: 3,
            absolute: 4,
            idle: 5,
            signed_in: 6,
            renewed: 0,
            version: Version::new(7).unwrap(),
            handle: SessionHandle::from_bytes([8; 16]),
            owner: Some("ada".into()),
            csrf: [9; CSRF_LEN],
            csrf_handed_out: true,
            flash: Values::from_sorted(vec![Entry::new("note", "\"hi\"")]),
            values: Values::from_sorted(vec![Entry::new("a", "1"), Entry::new("é", "{}")]),
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = vec![1];
        golden.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 5]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 6]);
        golden.extend([8; 16]);
        golden.extend([9; 24]);
        golden.push(1);
        golden.extend(b"\0\0\0\x01\0\0\0\x04\0\0\0\x04note\"hi\"");
        golden.extend(b"\0\0\0\x02\0\0\0\x01\0\0\0\x01a1\0\0\0\x02\0\0\0\x02\xc3\xa9{}");
        assert_eq!(sample().encode(), golden);
        assert_eq!(sample().encoded_len(), golden.len() + RENEWED_LEN + "ada".len());
        assert_eq!(Record::decode(sample().head(), &golden), Ok(sample()));

        let renewed = Record { renewed: 10, ..sample() };
        let at = 1 + 4 * 8 + 16 + 24;
        golden.splice(at..=at, [3, 0, 0, 0, 10]);
        assert_eq!(renewed.encode(), golden);
        assert_eq!(renewed.encoded_len(), golden.len() + "ada".len());
        assert_eq!(Record::decode(renewed.head(), &golden), Ok(renewed));
        golden[at + 4] = 0;
        assert!(Record::decode(sample().head(), &golden).is_err(), "one form only");
    }

    #[test]
    fn corrupt_bytes_are_an_error_and_never_a_panic() {
        let whole = sample().encode();
        for end in 0..whole.len() {
            assert!(Record::decode(sample().head(), &whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = Record::decode(sample().head(), &flipped);
            }
        }
        let error = Record::decode(sample().head(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "stored session cannot be read: cut off");
        let mut longer = whole.clone();
        longer.push(0);
        assert!(Record::decode(sample().head(), &longer).is_err());
        let mut newer = whole;
        newer[0] = 2;
        assert!(Record::decode(sample().head(), &newer).is_err());
        let huge_count = [&sample().encode()[..FIXED_LEN - RENEWED_LEN - 8], &[0xff; 4]].concat();
        assert!(Record::decode(sample().head(), &huge_count).is_err());
    }

    #[test]
    fn debug_shows_no_value_and_no_owner() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("hi") && !shown.contains("ada") && !shown.contains("note"), "{shown}");
        assert!(shown.starts_with("Record {") && shown.contains("has_owner: true, keys: 2"), "{shown}");
    }
}
