//! The values of a session: one JSON text for each key, shared between copies.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_core::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The depth to which two values are compared. Values that are not the same text below it count as different, which
/// costs a write and nothing else.
const MAX_DEPTH: usize = 32;

thread_local! {
    /// The buffer into which a value is written while its length is not yet known.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps, in bytes.
const MAX_BUFFER: usize = 16 << 10;

/// Keys and their JSON, sorted by key.
///
/// A copy shares a pointer, and a change copies pointers, never values. So the cost of a request depends on the values
/// that it touches, not on the size of the session.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Values {
    entries: Option<Arc<[Entry]>>,
    bytes: usize,
}

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

    /// Creates an entry of a value that serde can write.
    pub(crate) fn encode(key: &str, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        if u32::try_from(key.len()).is_err() {
            return Err(serde_core::ser::Error::custom("the key is too long"));
        }
        // A value whose `Serialize` writes to a session itself finds no buffer here and takes one of its own.
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(key.as_bytes());
        serde_json::to_writer(&mut buffer, value)?;
        let text = str::from_utf8(&buffer).expect("serde_json writes UTF-8").into();
        if buffer.capacity() <= MAX_BUFFER {
            let _ = BUFFER.try_with(|slot| slot.set(buffer));
        }
        Ok(Self::of(text, key))
    }

    pub(crate) fn key(&self) -> &str {
        &self.text[..self.key_len as usize]
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

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key_len == other.key_len && self.text == other.text
    }
}

impl Eq for Entry {}

impl Values {
    /// Creates values of entries that are sorted by key and unique.
    pub(crate) fn from_sorted(entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(|entry| entry.text.len()).sum();
        Self { entries: (!entries.is_empty()).then(|| entries.into()), bytes }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.find(key).ok().map(|at| &self.entries()[at])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_none()
    }

    /// Returns whether both share one list and are therefore equal.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.entries, &other.entries) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns the size of all keys and their JSON in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.put(self.find(entry.key()), entry);
    }

    /// Puts an entry at the place that [`find`](Self::find) returned for its key.
    pub(crate) fn put(&mut self, place: Result<usize, usize>, entry: Entry) {
        self.bytes += entry.text.len();
        match (place, &mut self.entries) {
            (Ok(at), Some(entries)) => {
                let entries = Arc::make_mut(entries);
                self.bytes -= entries[at].text.len();
                entries[at] = entry;
            }
            (Ok(at) | Err(at), _) => {
                let (before, after) = self.entries().split_at(at);
                // The length of the chain is known, so this is one allocation.
                self.entries = Some(before.iter().cloned().chain([entry]).chain(after.iter().cloned()).collect());
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.find(key).ok()?;
        let (before, rest) = self.entries().split_at(at);
        let (removed, after) = rest.split_first()?;
        let removed = removed.clone();
        let kept: Arc<[Entry]> = before.iter().chain(after).cloned().collect();
        self.entries = (!kept.is_empty()).then_some(kept);
        self.bytes -= removed.text.len();
        Some(removed)
    }

    /// Returns the place of a key, or as an error the place at which to insert it.
    pub(crate) fn find(&self, key: &str) -> Result<usize, usize> {
        let start = start(key);
        self.entries()
            .binary_search_by(|entry| entry.start.cmp(&start).then_with(|| entry.key_bytes().cmp(key.as_bytes())))
    }
}

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
    fn values_behave_like_a_map_and_count_their_bytes() {
        let mut values = Values::default();
        let mut model = BTreeMap::new();
        for step in 0..2_000_u32 {
            // Some are a start of others, some differ late, and one ends in the byte that fills a short start.
            let key = ["", "k", "k\0", "key", "keys", "keyss", "kéys"][step as usize % 7].to_owned()
                + &"k".repeat(step.wrapping_mul(2_654_435_761) as usize % 5);
            if step % 3 == 0 {
                assert_eq!(values.remove(&key).is_some(), model.remove(&key).is_some());
            } else {
                values.insert(Entry::new(&key, &step.to_string()));
                model.insert(key, step.to_string());
            }
            let bytes: usize = model.iter().map(|(key, json)| key.len() + json.len()).sum();
            assert_eq!(values.bytes(), bytes);
            let pairs = values.entries().iter().map(|entry| (entry.key(), entry.json()));
            assert!(pairs.eq(model.iter().map(|(key, json)| (key.as_str(), json.as_str()))));
        }
    }

    #[test]
    fn a_copy_is_not_changed_by_later_writes() {
        let mut values = Values::from_sorted(vec![Entry::new("a", "1")]);
        let copy = values.clone();
        values.insert(Entry::new("a", "2"));
        assert_eq!(copy.get("a").map(Entry::json), Some("1"));
    }

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
