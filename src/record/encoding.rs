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

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_core::de::IgnoredAny;

use super::{Began, CSRF_LEN, Entry, Extensions, Record, SessionHandle, Values, Version};
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
    write_number(out, values.len() as u128);
    for entry in values.iter() {
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
pub(super) fn read_number(rest: &mut &[u8]) -> Result<u128, DecodeError> {
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

pub(super) fn read_len(rest: &mut &[u8]) -> Result<usize, DecodeError> {
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
