//! A store of one's own: anything that can compare and swap, here a map behind a lock.
//!
//! `cargo test --example custom_store` runs the public suite against it.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::{KeyValueStore, SessionLayer, StoreError};

#[derive(Debug, Default)]
struct Map(Mutex<BTreeMap<String, Entry>>);

impl Map {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for Map {
    type Revision = Vec<u8>;

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        Ok(self.entries().get(key).map(|entry| (entry.bytes.clone(), entry.bytes.clone())))
    }

    async fn compare_and_swap(&self, key: &str, from: Option<&Vec<u8>>, to: Option<Entry>) -> Result<bool, StoreError> {
        let mut entries = self.entries();
        if entries.get(key).map(|entry| &entry.bytes) != from {
            return Ok(false);
        }
        match to {
            Some(entry) => entries.insert(key.to_owned(), entry),
            None => entries.remove(key),
        };
        Ok(true)
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let mut entries = self.entries();
        let expired = entries.iter().filter(|(_, entry)| entry.expires <= now).take(limit);
        let expired: Vec<_> = expired.map(|(key, _)| key.clone()).collect();
        expired.iter().for_each(|key| drop(entries.remove(key)));
        Ok(expired.len())
    }
}

fn main() {
    let sessions = SessionLayer::new(KeyValueStore::new(Map::default()));
    println!("{sessions:?}: `cargo test --example custom_store` checks every promise");
}

#[cfg(test)]
mod conformance {
    tower_session_layer::session_store_conformance!(super::KeyValueStore::new(super::Map::default()));
}
