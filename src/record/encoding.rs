//! The bytes of a record, pinned by a test: a format number, fixed-width fields, then length-prefixed keys and JSON.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_core::de::IgnoredAny;

use super::{CSRF_LEN, Entry, Record, SessionHandle, Tombstone, Values, Version};
use crate::clock::micros;
use crate::store::Loaded;

/// The number that every encoded record begins with.
const FORMAT: u8 = 1;

/// What an empty record takes: format, four times, handle, CSRF secret, flags, age at its renewal and two counts. That age
/// is written only where there is one, but counts always, so that no session outgrows its bound by being renewed.
pub(super) const FIXED_LEN: usize = 1 + 4 * 8 + 16 + CSRF_LEN + 1 + RENEWED_LEN + 2 * 4;
pub(crate) const RENEWED_LEN: usize = 4;

/// The CSRF secret was handed out.
const PINNED: u8 = 1;
/// The age at the last renewal follows.
const RENEWED: u8 = 2;

/// What a store keeps beside the encoded bytes, in columns, fields or a header of fixed width.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The version; `None` for a tombstone.
    pub version: Option<Version>,
    /// When what is stored ends.
    pub deadline: SystemTime,
    /// When it was last written or touched.
    pub seen: SystemTime,
    /// Who signed in.
    pub owner: Option<Arc<str>>,
}

impl Head {
    /// Puts together what a store kept beside the bytes.
    pub fn new(version: Option<Version>, deadline: SystemTime, seen: SystemTime, owner: Option<Arc<str>>) -> Self {
        Self { version, deadline, seen, owner }
    }
}

/// Why stored bytes are no record: corrupt, cut off, or of a newer format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(pub(crate) &'static str);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored session cannot be read: {}", self.0)
    }
}

impl std::error::Error for DecodeError {}

impl Record {
    /// Writes all but the [`Head`] as bytes: big-endian, times and durations in microseconds.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.push(FORMAT);
        for number in [self.created, self.absolute, self.idle, self.signed_in] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.handle.as_bytes());
        out.extend_from_slice(&self.csrf);
        let has_renewed = self.renewed > 0;
        out.push(if self.pinned { PINNED } else { 0 } | if has_renewed { RENEWED } else { 0 });
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

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// Bytes that are not exactly a record of this format. No input panics, and none makes it reserve more memory than
    /// the input itself takes a few times over.
    pub fn decode(head: Head, body: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = body;
        let [format] = take(&mut rest)?;
        if format != FORMAT {
            return Err(DecodeError("unknown format"));
        }
        let mut number = || take(&mut rest).map(u64::from_be_bytes);
        let (created, absolute, idle, signed_in) = (number()?, number()?, number()?, number()?);
        let handle = SessionHandle::from_bytes(take(&mut rest)?);
        let csrf = take(&mut rest)?;
        let [flags] = take(&mut rest)?;
        if flags & !(PINNED | RENEWED) != 0 {
            return Err(DecodeError("impossible flag"));
        }
        let renewed = if flags & RENEWED == 0 { 0 } else { u32::from_be_bytes(take(&mut rest)?) };
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
            pinned: flags & PINNED != 0,
            renewed,
            flash,
            values,
        })
    }
}

impl Loaded {
    /// Reads what [`Record::encode`] or [`Tombstone::encode`] wrote; what ends at or before `now` is absent.
    ///
    /// # Errors
    ///
    /// Bytes that are neither. A store reports that with a warning and answers [`Loaded::Absent`].
    pub fn decode(head: Head, body: &[u8], now: SystemTime) -> Result<Self, DecodeError> {
        if head.deadline <= now {
            return Ok(Self::Absent);
        }
        match head.version {
            Some(_) => Record::decode(head, body).map(|record| Self::Live(record.into())),
            None => Tombstone::decode(head.deadline, body).map(Self::Tombstone),
        }
    }
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    // A record is bounded far below 4 GiB when it is changed; a longer one would be refused on reading.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (front, back) = rest.split_first_chunk().ok_or(DecodeError("cut off"))?;
    *rest = back;
    Ok(*front)
}

fn take_text<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a str, DecodeError> {
    let (front, back) = rest.split_at_checked(len).ok_or(DecodeError("cut off"))?;
    *rest = back;
    str::from_utf8(front).map_err(|_| DecodeError("not UTF-8"))
}

fn read_len(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    let len = u32::from_be_bytes(take(rest)?);
    usize::try_from(len).map_err(|_| DecodeError("too long"))
}

fn read_values(rest: &mut &[u8]) -> Result<Values, DecodeError> {
    let count = read_len(rest)?;
    // Each entry takes eight bytes at least, so a made-up count cannot reserve much.
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(rest.len() / 8));
    for _ in 0..count {
        let (key_len, json_len) = (read_len(rest)?, read_len(rest)?);
        let (key, json) = (take_text(rest, key_len)?, take_text(rest, json_len)?);
        if entries.last().is_some_and(|last| last.key() >= key) {
            return Err(DecodeError("keys out of order"));
        }
        serde_json::from_str::<IgnoredAny>(json).map_err(|_| DecodeError("not JSON"))?;
        entries.push(Entry::new(key, json));
    }
    Ok(Values::from_sorted(entries))
}

pub(super) fn error(what: &'static str) -> DecodeError {
    DecodeError(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;

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
            pinned: true,
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
    fn what_ended_is_absent_at_its_deadline() {
        let (head, body) = (sample().head(), sample().encode());
        assert!(matches!(Loaded::decode(head.clone(), &body, time(2)), Ok(Loaded::Live(_))));
        assert!(matches!(Loaded::decode(head, &body, time(3)), Ok(Loaded::Absent)));
    }

    #[test]
    fn debug_shows_no_value_and_no_owner() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("hi") && !shown.contains("ada") && !shown.contains("note"), "{shown}");
        assert!(shown.starts_with("Record {") && shown.contains("has_owner: true, keys: 2"), "{shown}");
    }
}
