//! A custom store on anything that can compare and swap, here a map behind a lock.
//!
//! `cargo test --example custom_store` runs the public suite against it.

use std::{collections::BTreeMap, sync::Mutex, time::SystemTime};

use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::{KeyValueStore, SessionLayer, StoreError};

#[derive(Debug, Default)]
struct Map(Mutex<BTreeMap<String, Entry>>);

impl KeyValue for Map {
    type Revision = Vec<u8>;

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let entries = self.0.lock().unwrap();
        Ok(entries.get(key).map(|entry| (entry.bytes.clone(), entry.bytes.clone())))
    }

    async fn compare_and_swap(&self, key: &str, from: Option<&Vec<u8>>, to: Option<Entry>) -> Result<bool, StoreError> {
        let mut entries = self.0.lock().unwrap();
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
        let mut entries = self.0.lock().unwrap();
        let expired = entries.iter().filter(|(_, entry)| entry.expires <= now).take(limit);
        let keys: Vec<_> = expired.map(|(key, _)| key.clone()).collect();
        Ok(keys.iter().filter_map(|key| entries.remove(key)).count())
    }
}

fn main() {
    let sessions = SessionLayer::new(KeyValueStore::new(Map::default()));
    assert!(format!("{sessions:?}").contains("KeyValueStore"));
}

#[cfg(test)]
tower_session_layer::session_store_conformance!(KeyValueStore::new(Map::default()));
