//! The bytes of a record: a format number, flags, and only those fields that the session has.
//!
//! | field | bytes | written if |
//! |---|---|---|
//! | format, 2 | 1 | always |
//! | flags | 1 | always |
//! | the time at which the session began | a distance from the epoch | always |
//! | the absolute deadline | a distance from that time | always |
//! | the session's own idle timeout | a distance from zero | it has one |
//! | the time of the sign-in | a distance from the beginning | somebody signed in |
//! | the age at the last renewal | a number | the layer replaces tokens by age |
//! | the CSRF secret | 24 | it has one |
//! | flash values | a count and the entries | there are any |
//! | values | a count and the entries | always |
//! | extensions | the entries, to the end | there are any |
//!
//! Numbers are in LEB128, seven bits a byte, the lowest first. A distance is a number that ends in two bits: whether it is
//! in microseconds instead of seconds, and whether it goes back. The entry of a value is the length of its key, the length
//! of its JSON, the key and the JSON. The entry of an extension is its id, in whose last bit stands whether a reader has
//! to know it, the length of its bytes, and the bytes.
//!
//! There is one way to write a record. A test pins it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_core::de::IgnoredAny;

use super::{Began, CSRF_LEN, Entry, Record, SessionHandle, Values, Version};
use crate::clock::micros;

/// The first byte of every encoded record.
const FORMAT: u8 = 2;

/// The most bytes of a record without entries.
///
/// Every field counts, whether it is written or not, so that no session outgrows its bound by a renewal.
pub(super) const FIXED_LEN: usize = 2 + 4 * DISTANCE_LEN + NUMBER_LEN + CSRF_LEN + 2 * NUMBER_LEN;
/// The most bytes of a distance, which has 66 bits.
const DISTANCE_LEN: usize = 10;
/// The most bytes of a number of 32 bits.
const NUMBER_LEN: usize = 5;

/// The flags.
const CSRF: u8 = 1;
const CSRF_HANDED_OUT: u8 = 2;
const IDLE: u8 = 4;
const SIGNED_IN: u8 = 8;
const RENEWED: u8 = 16;
const FLASH: u8 = 32;
const EXTENSIONS: u8 = 64;
const ALL: u8 = CSRF | CSRF_HANDED_OUT | IDLE | SIGNED_IN | RENEWED | FLASH | EXTENSIONS;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

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
    /// The handle; all zeros if the session has none.
    pub handle: SessionHandle,
    /// The moment of the sign-in, which the store assigns; 0 if there is none yet.
    pub sign_in: u64,
}

impl RecordHead {
    /// Creates a head of a session without a handle or of a tombstone.
    pub fn new(version: Option<Version>, deadline: SystemTime, seen: SystemTime, owner: Option<Arc<str>>) -> Self {
        Self { version, deadline, seen, owner, handle: SessionHandle::NONE, sign_in: 0 }
    }

    /// Sets the handle, and the moment of the sign-in in the order of the store.
    #[must_use]
    pub fn with_sign_in(self, handle: SessionHandle, sign_in: u64) -> Self {
        Self { handle, sign_in, ..self }
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

/// The extensions of a record, as their bytes: each id once, in order.
///
/// An extension that this build does not know is written again as it was read. A record without extensions holds no more
/// than a pointer.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Extensions(pub(super) Option<Arc<Vec<u8>>>);

impl Extensions {
    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes)
    }

    /// Reads entries that take all of the bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut rest, mut before) = (bytes, None);
        while !rest.is_empty() {
            let tag = read_number(&mut rest)?;
            let (id, is_critical) = (tag >> 1, tag & 1 == 1);
            if before.is_some_and(|before| before >= id) {
                return Err(DecodeError("extensions out of order"));
            }
            let len = read_len(&mut rest)?;
            let entry = rest.split_off(..len).ok_or(DecodeError::CUT_OFF)?;
            if is_critical && !is_known(id, entry) {
                return Err(DecodeError("of a newer format"));
            }
            before = Some(id);
        }
        if before.is_some() { Ok(Self(Some(Arc::new(bytes.to_vec())))) } else { Err(DecodeError("no extension")) }
    }
}

/// Returns whether this build knows an extension that its reader has to know.
fn is_known(id: u128, entry: &[u8]) -> bool {
    #[cfg(feature = "moving")]
    return id == super::moving::ID && super::Moving::decode(entry).is_some();
    #[cfg(not(feature = "moving"))]
    let _ = (id, entry);
    #[cfg(not(feature = "moving"))]
    false
}

impl Record {
    /// Writes everything but the [`RecordHead`] as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        let flags = [
            (CSRF, self.csrf != [0; CSRF_LEN]),
            (CSRF_HANDED_OUT, self.csrf_handed_out),
            (IDLE, self.idle > 0),
            (SIGNED_IN, self.signed_in > 0),
            (RENEWED, self.renewed > 0),
            (FLASH, !self.flash.is_empty()),
            (EXTENSIONS, self.extensions.len() > 0),
        ];
        let flags = flags.into_iter().fold(0, |flags, (flag, is_set)| if is_set { flags | flag } else { flags });
        let has = |flag| flags & flag != 0;
        out.extend([FORMAT, flags]);
        write_distance(&mut out, 0, self.created);
        write_distance(&mut out, self.created, self.absolute);
        if has(IDLE) {
            write_distance(&mut out, 0, self.idle);
        }
        if has(SIGNED_IN) {
            write_distance(&mut out, self.created, self.signed_in);
        }
        if has(RENEWED) {
            write_number(&mut out, self.renewed.into());
        }
        if has(CSRF) {
            out.extend_from_slice(&self.csrf);
        }
        if has(FLASH) {
            write_values(&mut out, &self.flash);
        }
        write_values(&mut out, &self.values);
        out.extend_from_slice(self.extensions.bytes());
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
        let [flags] = take(&mut rest).ok_or(DecodeError::CUT_OFF)?;
        if flags & !ALL != 0 {
            return Err(DecodeError("impossible flag"));
        }
        let has = |flag| flags & flag != 0;
        let created = read_distance(&mut rest, 0)?;
        let absolute = read_distance(&mut rest, created)?;
        let idle = if has(IDLE) { present(read_distance(&mut rest, 0)?)? } else { 0 };
        let signed_in = if has(SIGNED_IN) { present(read_distance(&mut rest, created)?)? } else { 0 };
        let renewed = if has(RENEWED) { present(read_number(&mut rest)?)? } else { 0 };
        let csrf = if has(CSRF) { present(take(&mut rest).ok_or(DecodeError::CUT_OFF)?)? } else { [0; CSRF_LEN] };
        let flash = if has(FLASH) { present(read_values(&mut rest)?)? } else { Values::default() };
        let values = read_values(&mut rest)?;
        let extensions =
            if has(EXTENSIONS) { Extensions::read(std::mem::take(&mut rest))? } else { Extensions::default() };
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
            sign_in: head.sign_in,
            began: Began::default(),
            version: head.version.ok_or(DecodeError("no version"))?,
            handle: head.handle,
            owner: head.owner,
            csrf,
            csrf_handed_out: has(CSRF_HANDED_OUT),
            renewed: renewed.try_into().map_err(|_| DecodeError("impossible age"))?,
            flash,
            values,
            extensions,
        })
    }
}

/// Refuses a field that is written although the session does not have it.
fn present<T: Default + PartialEq>(field: T) -> Result<T, DecodeError> {
    if field == T::default() { Err(DecodeError("an absent field is written")) } else { Ok(field) }
}

fn write_number(out: &mut Vec<u8>, mut number: u128) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn write_distance(out: &mut Vec<u8>, from: u64, to: u64) {
    let (micros, is_back) = (from.abs_diff(to), to < from);
    let is_exact = micros.is_multiple_of(SECOND);
    let distance = if is_exact { micros / SECOND } else { micros };
    write_number(out, u128::from(distance) << 2 | u128::from(!is_exact) << 1 | u128::from(is_back));
}

fn write_values(out: &mut Vec<u8>, values: &Values) {
    write_number(out, values.entries().len() as u128);
    for entry in values.entries() {
        write_number(out, entry.key().len() as u128);
        write_number(out, entry.json().len() as u128);
        out.extend_from_slice(entry.key().as_bytes());
        out.extend_from_slice(entry.json().as_bytes());
    }
}

/// Takes the first `N` bytes off; `None` if there are fewer.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

/// Reads a number of up to ten bytes, which has no more than it needs.
fn read_number(rest: &mut &[u8]) -> Result<u128, DecodeError> {
    let mut number = 0;
    for shift in (0..DISTANCE_LEN).map(|index| index * 7) {
        let [byte] = take(rest).ok_or(DecodeError::CUT_OFF)?;
        number |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || shift == 0;
            return if is_shortest { Ok(number) } else { Err(DecodeError("a number is too long")) };
        }
    }
    Err(DecodeError("a number is too long"))
}

fn read_distance(rest: &mut &[u8], from: u64) -> Result<u64, DecodeError> {
    const IMPOSSIBLE: DecodeError = DecodeError("impossible time");
    let code = read_number(rest)?;
    let (is_exact, is_back) = (code & 2 == 0, code & 1 == 1);
    let distance = u64::try_from(code >> 2).map_err(|_| IMPOSSIBLE)?;
    let micros = if is_exact { distance.checked_mul(SECOND) } else { Some(distance) }.ok_or(IMPOSSIBLE)?;
    if (!is_exact && micros.is_multiple_of(SECOND)) || (is_back && micros == 0) {
        return Err(IMPOSSIBLE);
    }
    if is_back { from.checked_sub(micros) } else { from.checked_add(micros) }.ok_or(IMPOSSIBLE)
}

fn read_len(rest: &mut &[u8]) -> Result<usize, DecodeError> {
    // An entry in memory counts the bytes of its key in 32 bits.
    let len = u32::try_from(read_number(rest)?).ok().and_then(|len| usize::try_from(len).ok());
    len.ok_or(DecodeError("too long"))
}

fn read_text<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a str, DecodeError> {
    str::from_utf8(rest.split_off(..len).ok_or(DecodeError::CUT_OFF)?).map_err(|_| DecodeError("not UTF-8"))
}

fn read_values(rest: &mut &[u8]) -> Result<Values, DecodeError> {
    let count = read_len(rest)?;
    // A forged count cannot reserve much memory.
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
            created: 1_000_000,
            seen: 2,
            deadline: 3,
            absolute: 4_000_000,
            idle: 5,
            signed_in: 6,
            sign_in: 10,
            began: Began::default(),
            renewed: 0,
            version: Version::new(7).unwrap(),
            handle: SessionHandle::from_bytes([8; 16]),
            owner: Some("ada".into()),
            csrf: [9; CSRF_LEN],
            csrf_handed_out: true,
            flash: Values::from_sorted(vec![Entry::new("note", "\"hi\"")]),
            values: Values::from_sorted(vec![Entry::new("a", "1"), Entry::new("é", "{}")]),
            extensions: Extensions::default(),
        }
    }

    fn decode(body: &[u8]) -> Result<Record, DecodeError> {
        Record::decode(sample().head(), body)
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = vec![2, 1 + 2 + 4 + 8 + 32];
        // A second, three seconds, five microseconds, 999,994 microseconds back.
        golden.extend([1 << 2, 3 << 2, 5 << 2 | 2, 0xeb, 0x91, 0xf4, 0x01]);
        golden.extend([9; 24]);
        golden.extend(b"\x01\x04\x04note\"hi\"");
        golden.extend(b"\x02\x01\x01a1\x02\x02\xc3\xa9{}");
        assert_eq!(sample().encode(), golden);
        assert_eq!(decode(&golden), Ok(sample()));

        golden[1] |= 16;
        golden.insert(9, 10);
        let renewed = Record { renewed: 10, ..sample() };
        assert_eq!(renewed.encode(), golden);
        assert_eq!(decode(&golden), Ok(renewed));
    }

    #[test]
    fn an_absent_field_takes_no_byte() {
        assert_eq!(Record::blank().encode(), [2, 0, 0, 0, 0]);
        assert_eq!(Record::decode(Record::blank().head(), &[2, 0, 0, 0, 0]), Ok(Record::blank()));
        for (what, body) in [
            ("idle", &[2, IDLE, 0, 0, 0, 0][..]),
            ("sign-in", &[2, SIGNED_IN, 0, 0, 0, 0]),
            ("renewed", &[2, RENEWED, 0, 0, 0, 0]),
            ("flash", &[2, FLASH, 0, 0, 0, 0]),
            ("extensions", &[2, EXTENSIONS, 0, 0, 0]),
            ("secret", &[&[2, CSRF, 0, 0][..], &[0; CSRF_LEN], &[0]].concat()),
        ] {
            assert!(decode(body).is_err(), "{what}: one form only");
        }
    }

    #[test]
    fn every_time_survives_in_one_form() {
        let year_9999 = 253_402_300_799_999_999;
        let times = [0, 1, 999_999, 1_000_000, 1_767_225_600_000_001, year_9999, u64::MAX];
        for created in times {
            for other in times {
                let record = Record { created, absolute: other, idle: other, signed_in: other, ..sample() };
                assert_eq!(decode(&record.encode()), Ok(record.clone()));
                assert!(record.encode().len() + "ada".len() <= record.encoded_len());
            }
        }
        for (what, absolute) in [
            ("a second as microseconds", &[0x82, 0x92, 0xf4, 0x01][..]),
            ("no time, backwards", &[1]),
            ("before the epoch", &[5]),
            ("a number of more bytes than it needs", &[0x84, 0]),
            ("beyond 64 bits", &[0xff; 10]),
            ("without an end", &[0xff; 12]),
        ] {
            assert!(decode(&[&[2, 0, 0], absolute, &[0]].concat()).is_err(), "{what}");
        }
        assert!(decode(&[2, 0, 0, 4, 0]).is_ok());
    }

    #[test]
    fn the_bound_holds_and_no_renewal_reaches_it() {
        let long = |len: usize| Entry::new(&"k".repeat(len), &format!("\"{}\"", "x".repeat(len)));
        for len in [0, 1, 125, 126, 127, 128, 16_381, 16_384] {
            let record = Record { values: Values::from_sorted(vec![long(len)]), ..sample() };
            let renewed = Record { renewed: u32::MAX, csrf: [1; CSRF_LEN], ..record.clone() };
            assert!(renewed.encode().len() + "ada".len() <= record.encoded_len());
            assert_eq!(renewed.encoded_len(), record.encoded_len());
            assert_eq!(record.encoded_len(), sample().encoded_len() - 8 - 6 + 2 * len + 2);
        }
    }

    #[test]
    fn an_extension_that_nobody_knows_is_kept_unless_a_reader_has_to_know_it() {
        let with = |extensions: &[u8]| {
            let mut body = sample().encode();
            body[1] |= EXTENSIONS;
            body.extend_from_slice(extensions);
            body
        };
        for extensions in [&[0, 0][..], &[2, 1, 9], &[2, 1, 9, 4, 2, 7, 7]] {
            let record = decode(&with(extensions)).unwrap();
            assert_eq!(record.encode(), with(extensions));
            assert!(record.encode().len() + "ada".len() <= record.encoded_len());
            assert_ne!(record, sample());
        }
        assert_eq!(decode(&with(&[3, 1, 9])), Err(DecodeError("of a newer format")));
        assert_eq!(decode(&with(&[2, 0, 5, 0])), Err(DecodeError("of a newer format")));
        for strange in [&[][..], &[2], &[2, 1], &[2, 0x80, 0], &[4, 0, 2, 0], &[2, 0, 2, 0], &[2, 0, 1]] {
            assert!(decode(&with(strange)).is_err(), "{strange:?}");
        }
    }

    #[test]
    fn corrupt_bytes_are_an_error_and_never_a_panic() {
        let whole = sample().encode();
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in 0..=255 {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Ok(record) = decode(&changed) {
                    assert_eq!(record.encode(), changed, "one form only");
                }
            }
        }
        let error = decode(&[]).unwrap_err();
        assert_eq!(error.to_string(), "stored session cannot be read: cut off");
        assert!(decode(&[&whole[..], &[0]].concat()).is_err());
        for format in [0, 1, 3] {
            assert!(decode(&[&[format], &whole[1..]].concat()).is_err(), "an older or a newer format");
        }
        assert!(decode(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "a huge count");
        assert!(decode(&[2, 0x80, 0, 0, 0]).is_err(), "an unknown flag");
    }

    #[test]
    fn debug_shows_no_value_and_no_owner() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("hi") && !shown.contains("ada") && !shown.contains("note"), "{shown}");
        assert!(shown.starts_with("Record {") && shown.contains("has_owner: true, keys: 2"), "{shown}");
    }
}
