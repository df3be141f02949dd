//! The values of a session, sorted by key and shared between copies.

use std::sync::Arc;

use super::Entry;
use super::entry::Sought;

/// The most entries of a chunk, which are copied together.
const MAX: usize = 32;
/// The entries of a chunk that has room for more.
const FILL: usize = MAX / 4 * 3;
/// The fewest entries of a chunk that has lost some.
const MIN: usize = MAX / 4;

/// Keys and their JSON, sorted by key.
///
/// A copy shares a pointer, and a change copies pointers, never values: those of one chunk, and those of the chunks. So the
/// cost of a request depends on the values that it touches, and hardly on the size of the session.
#[derive(Clone, Default)]
pub(crate) struct Values {
    entries: Entries,
    bytes: usize,
}

#[derive(Clone)]
enum Entries {
    Few(Chunk),
    /// `None` without an entry. A variant for that would take eight bytes more in every record.
    Many(Option<Arc<Many>>),
}

/// One to [`MAX`] entries.
type Chunk = Arc<[Entry]>;

/// Two or more chunks.
#[derive(Clone)]
struct Many {
    chunks: Vec<Chunk>,
    /// The number of all entries.
    len: usize,
}

impl Values {
    /// Creates values of entries that are sorted by key and unique.
    pub(crate) fn from_sorted(entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(Entry::bytes).sum();
        let len = entries.len();
        let entries = match len {
            0 => Entries::default(),
            1..=MAX => Entries::Few(entries.into()),
            _ => {
                let each = len.div_ceil(len.div_ceil(FILL));
                let chunks = entries.chunks(each).map(Arc::from).collect();
                Entries::Many(Some(Arc::new(Many { chunks, len })))
            }
        };
        Self { entries, bytes }
    }

    /// Returns the entries, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks().iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Few(chunk) => chunk.len(),
            Entries::Many(many) => many.as_ref().map_or(0, |many| many.len),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.entries, Entries::Many(None))
    }

    /// Returns the size of all keys and their JSON in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        let (chunk, at) = self.find(key);
        at.ok().map(|at| &self.chunks()[chunk][at])
    }

    /// Returns whether both share one list and are therefore equal.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.entries, &other.entries) {
            (Entries::Few(mine), Entries::Few(theirs)) => Arc::ptr_eq(mine, theirs),
            (Entries::Many(Some(mine)), Entries::Many(Some(theirs))) => Arc::ptr_eq(mine, theirs),
            (Entries::Many(None), Entries::Many(None)) => true,
            _ => false,
        }
    }

    /// Inserts an entry unless an equal one is there already, and returns whether it did.
    pub(crate) fn insert(&mut self, entry: &Entry) -> bool {
        let (place, at) = self.find(entry.key());
        if let Ok(at) = at {
            let before = &self.chunks()[place][at];
            if before.equals(entry) {
                return false;
            }
            self.bytes -= before.bytes();
        }
        self.bytes += entry.bytes();
        match &mut self.entries {
            Entries::Few(chunk) => {
                put(chunk, at, entry);
                if chunk.len() > MAX {
                    let (len, chunks) = (chunk.len(), halves(chunk).to_vec());
                    self.entries = Entries::Many(Some(Arc::new(Many { chunks, len })));
                }
            }
            Entries::Many(Some(many)) => Arc::make_mut(many).insert(place, at, entry),
            Entries::Many(None) => self.entries = Entries::Few(Arc::new([entry.clone()])),
        }
        true
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let (place, at) = self.find(key);
        let (before, rest) = self.chunks().get(place)?.split_at(at.ok()?);
        let (removed, after) = rest.split_first()?;
        let (removed, kept) = (removed.clone(), before.iter().chain(after).cloned().collect());
        self.bytes -= removed.bytes();
        match &mut self.entries {
            Entries::Few(chunk) if chunk.len() > 1 => *chunk = kept,
            Entries::Many(Some(many)) => {
                let many = Arc::make_mut(many);
                many.shrink(place, kept);
                if let [only] = &many.chunks[..] {
                    self.entries = Entries::Few(Arc::clone(only));
                }
            }
            _ => self.entries = Entries::default(),
        }
        Some(removed)
    }

    fn chunks(&self) -> &[Chunk] {
        match &self.entries {
            Entries::Few(chunk) => std::slice::from_ref(chunk),
            Entries::Many(many) => many.as_ref().map_or(&[], |many| &many.chunks),
        }
    }

    /// Returns the chunk of a key and its place there, or as an error the place at which to insert it.
    fn find(&self, key: &str) -> (usize, Result<usize, usize>) {
        let sought = Sought::new(key);
        match &self.entries {
            Entries::Few(chunk) => (0, chunk.binary_search_by(|entry| entry.compare(sought))),
            Entries::Many(Some(many)) => {
                // The last chunk that does not begin behind the key.
                let after = many.chunks.partition_point(|chunk| chunk[0].compare(sought).is_le());
                let place = after.saturating_sub(1);
                (place, many.chunks[place].binary_search_by(|entry| entry.compare(sought)))
            }
            Entries::Many(None) => (0, Err(0)),
        }
    }
}

impl Many {
    fn insert(&mut self, place: usize, at: Result<usize, usize>, entry: &Entry) {
        self.len += usize::from(at.is_err());
        let chunk = &mut self.chunks[place];
        put(chunk, at, entry);
        if chunk.len() > MAX {
            let halves = halves(chunk);
            self.chunks.splice(place..=place, halves);
        }
    }

    /// Replaces a chunk by one that has an entry less, and joins it with its neighbour if few are left.
    fn shrink(&mut self, place: usize, kept: Chunk) {
        self.len -= 1;
        let is_small = kept.len() < MIN;
        self.chunks[place] = kept;
        if is_small {
            let first = place.min(self.chunks.len() - 2);
            let pair = first..first + 2;
            let joined: Chunk = self.chunks[pair.clone()].iter().flat_map(|chunk| chunk.iter()).cloned().collect();
            if joined.len() > MAX {
                self.chunks.splice(pair, halves(&joined));
            } else {
                self.chunks.splice(pair, [joined]);
            }
        }
    }
}

/// Puts an entry at a place, or where that is an error in between.
fn put(chunk: &mut Chunk, at: Result<usize, usize>, entry: &Entry) {
    match at {
        Ok(at) => Arc::make_mut(chunk)[at] = entry.clone(),
        Err(at) => {
            let (before, after) = chunk.split_at(at);
            // The length of the chain is known, so this is one allocation.
            *chunk = before.iter().cloned().chain([entry.clone()]).chain(after.iter().cloned()).collect();
        }
    }
}

fn halves(chunk: &Chunk) -> [Chunk; 2] {
    let (one, other) = chunk.split_at(chunk.len() / 2);
    [one.into(), other.into()]
}

impl Default for Entries {
    fn default() -> Self {
        Self::Many(None)
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        // The same entries may be in other chunks.
        self.same(other) || (self.bytes == other.bytes && self.iter().eq(other.iter()))
    }
}

impl Eq for Values {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(values: &Values, model: &BTreeMap<String, String>) {
        let pairs = values.iter().map(|entry| (entry.key(), entry.json()));
        assert!(pairs.eq(model.iter().map(|(key, json)| (key.as_str(), json.as_str()))));
        let bytes: usize = model.iter().map(|(key, json)| key.len() + json.len()).sum();
        assert_eq!((values.len(), values.bytes(), values.is_empty()), (model.len(), bytes, model.is_empty()));
        assert!(values.chunks().iter().all(|chunk| (1..=MAX).contains(&chunk.len())));
        assert!(values.chunks().len() <= 1 + model.len() / MIN);
        let entries = model.iter().map(|(key, json)| Entry::new(key, json)).collect();
        assert!(*values == Values::from_sorted(entries), "whatever the chunks");
    }

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
                values.insert(&Entry::new(&key, &step.to_string()));
                model.insert(key, step.to_string());
            }
            check(&values, &model);
        }
    }

    #[test]
    fn many_values_behave_like_a_map_as_they_come_and_go() {
        let (mut values, mut model) = (Values::default(), BTreeMap::new());
        let (mut random, mut largest) = (1_u64, 0);
        for step in 0..6_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = ((random >> 33) % 700).to_string();
            // More and more, then fewer and fewer.
            if (random >> 20) % 6_000 < step {
                let removed = values.remove(&key).map(|entry| entry.json().to_owned());
                assert_eq!(removed, model.remove(&key));
            } else {
                let json = (step % 50).to_string();
                let is_new = model.get(&key) != Some(&json);
                assert_eq!(values.insert(&Entry::new(&key, &json)), is_new);
                model.insert(key.clone(), json);
            }
            assert_eq!(values.get(&key).map(Entry::json), model.get(&key).map(String::as_str));
            largest = largest.max(model.len());
            if step % 7 == 0 {
                check(&values, &model);
            }
        }
        assert!(largest > 10 * MAX, "{largest}");
        for key in model.clone().into_keys() {
            values.remove(&key);
            model.remove(&key);
            check(&values, &model);
        }
    }

    #[test]
    fn a_copy_is_not_changed_by_later_writes() {
        for len in [1, MAX, MAX + 1, 2_000] {
            let key = |n: usize| format!("{n:04}");
            let values = Values::from_sorted((0..len).map(|n| Entry::new(&key(n), "1")).collect());
            let mut changed = values.clone();
            assert!(changed.same(&values) && !changed.insert(&Entry::new(&key(0), "1")) && changed.same(&values));
            changed.insert(&Entry::new(&key(0), "2"));
            changed.insert(&Entry::new("more", "3"));
            changed.remove(&key(len - 1));
            assert!(!changed.same(&values) && changed != values);
            assert!(values.len() == len && values.iter().all(|entry| entry.json() == "1"));
        }
    }

    #[test]
    fn a_write_copies_one_chunk_however_many_there_are() {
        for len in [200, 2_000, 80_000] {
            let values = Values::from_sorted((0..len).map(|n| Entry::new(&format!("{n:05}"), "1")).collect());
            for entry in [Entry::new("00100", "2"), Entry::new("00100+", "1")] {
                let mut changed = values.clone();
                changed.insert(&entry);
                let is_shared = |chunk: &&Chunk| values.chunks().iter().any(|before| Arc::ptr_eq(before, chunk));
                assert_eq!(changed.chunks().iter().filter(|chunk| !is_shared(chunk)).count(), 1);
                let copied = changed.clone();
                changed.insert(&Entry::new("00100", "3"));
                assert_eq!(copied.chunks().len(), changed.chunks().len());
            }
        }
    }

    #[test]
    fn an_empty_record_has_no_room_for_more_than_three_words() {
        assert_eq!(size_of::<Values>(), 3 * size_of::<usize>());
    }
}
