//! A value of a session: a key and a JSON text.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_core::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::checked::{self, Doubt};

/// The depth to which two values are compared. Values that are not the same text below it count as different, which
/// costs a write and nothing else.
const MAX_DEPTH: usize = 32;

thread_local! {
    /// The buffer into which a value is written while its length is not yet known.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps, in bytes.
const MAX_BUFFER: usize = 16 << 10;

/// A key and its JSON in one allocation.
#[derive(Clone)]
pub(crate) struct Entry {
    text: Arc<str>,
    key_len: u32,
    /// The first bytes of the key, so that most comparisons need not follow the pointer.
    start: u32,
}

impl Entry {
    pub(crate) fn new(key: &str, json: &str) -> Self {
        let mut text = String::with_capacity(key.len() + json.len());
        text.push_str(key);
        text.push_str(json);
        Self::of(text.into(), key)
    }

    fn of(text: Arc<str>, key: &str) -> Self {
        let key_len = u32::try_from(key.len()).expect("no longer key is encoded, nor decoded from what is stored");
        Self { text, key_len, start: start(key) }
    }

    /// Creates an entry of a value that serde can write, and says how certainly serde can read it back.
    ///
    /// # Errors
    ///
    /// Serde cannot write the value, or no type can read it back.
    pub(crate) fn encode(key: &str, value: &impl Serialize) -> Result<(Self, Doubt), serde_json::Error> {
        if u32::try_from(key.len()).is_err() {
            return Err(serde_core::ser::Error::custom("the key is too long"));
        }
        // A value whose `Serialize` writes to a session itself finds no buffer here and takes one of its own.
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(key.as_bytes());
        let doubt = checked::write(&mut buffer, value)?;
        let text = str::from_utf8(&buffer).expect("serde_json writes UTF-8").into();
        if buffer.capacity() <= MAX_BUFFER {
            let _ = BUFFER.try_with(|slot| slot.set(buffer));
        }
        Ok((Self::of(text, key), doubt))
    }

    pub(crate) fn key(&self) -> &str {
        &self.text[..self.key_len as usize]
    }

    /// Returns the size of key and JSON in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Compares the entry's key with another.
    #[inline]
    pub(super) fn compare(&self, sought: Sought<'_>) -> Ordering {
        self.start.cmp(&sought.start).then_with(|| self.key_bytes().cmp(sought.key))
    }

    /// Returns the key as bytes, which sort as texts do and need no check that the key ends at the end of a character.
    fn key_bytes(&self) -> &[u8] {
        &self.text.as_bytes()[..self.key_len as usize]
    }

    pub(crate) fn json(&self) -> &str {
        &self.text[self.key_len as usize..]
    }

    /// Returns whether both share one allocation and are therefore equal.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// Returns the address of the text, which tells two allocations apart.
    pub(crate) fn text_ptr(&self) -> *const str {
        Arc::as_ptr(&self.text)
    }

    /// Returns whether both hold the same JSON value.
    ///
    /// The texts may differ in the order of object keys, since a `HashMap` is written in another order each time.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.same(other) || equal_json(self.json(), other.json())
    }
}

/// A key that is looked for.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    key: &'a [u8],
    start: u32,
}

impl<'a> Sought<'a> {
    #[inline]
    pub(super) fn new(key: &'a str) -> Self {
        Self { key: key.as_bytes(), start: start(key) }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key_len == other.key_len && self.text == other.text
    }
}

impl Eq for Entry {}

/// Returns the first four bytes of a key as a number. Two keys that differ in them have the order of these numbers.
#[inline]
fn start(key: &str) -> u32 {
    match key.as_bytes() {
        [a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
        [a, b, c] => u32::from_be_bytes([*a, *b, *c, 0]),
        [a, b] => u32::from_be_bytes([*a, *b, 0, 0]),
        [a] => u32::from_be_bytes([*a, 0, 0, 0]),
        [] => 0,
    }
}

/// Returns whether two texts are the same JSON value. Texts of different lengths, which would cost more to compare,
/// count as different.
#[inline]
pub(crate) fn equal_json(one: &str, other: &str) -> bool {
    one == other
        || (one.len() == other.len() && one.starts_with(['{', '[']) && equal_once_parsed(one, other, MAX_DEPTH))
}

/// Returns whether two texts are the same JSON value.
///
/// The order of an object's keys does not count. Numbers and strings are compared as text, since parsing would round a
/// large number.
fn equal_once_parsed(one: &str, other: &str, depth: usize) -> bool {
    fn both<'a, T: Deserialize<'a>>(one: &'a str, other: &'a str) -> Option<(T, T)> {
        Some((serde_json::from_str(one).ok()?, serde_json::from_str(other).ok()?))
    }
    let equal = |one: &RawValue, other: &RawValue| equal_once_parsed(one.get(), other.get(), depth - 1);
    if one == other || depth == 0 {
        return one == other;
    }
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => both::<BTreeMap<String, &RawValue>>(one, other).is_some_and(|(one, other)| {
            let pairs = || one.iter().zip(&other);
            one.len() == other.len() && pairs().all(|((key, one), (same, other))| key == same && equal(one, other))
        }),
        (Some(b'['), Some(b'[')) => both::<Vec<&RawValue>>(one, other).is_some_and(|(one, other)| {
            one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| equal(one, other))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_equal_whatever_the_order_of_its_keys() {
        let entry = |json: &str| Entry::new("k", json);
        assert!(entry(r#"{"a":1,"b":2}"#).equals(&entry(r#"{"b":2,"a":1}"#)));
        assert!(!entry(r#"{"a":1,"b":2}"#).equals(&entry(r#"{"b":1,"a":2}"#)));
        assert!(!entry("1").equals(&entry("2")));
        assert!(entry(r#"[{"a":[1,2],"b":"x"}]"#).equals(&entry(r#"[{"b":"x","a":[1,2]}]"#)));
        assert!(!entry("[1,2]").equals(&entry("[2,1]")));
        let large = 1_u128 << 100;
        assert!(!entry(&large.to_string()).equals(&entry(&(large + 1).to_string())), "no number is rounded");
        let deep = |leaf| format!("{}{leaf}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(!entry(&deep(1)).equals(&entry(&deep(2))), "no stack is exhausted");
    }
}
