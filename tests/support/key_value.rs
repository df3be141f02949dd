//! A map for `KeyValueStore` that waits, counts revisions and calls, and fails where it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::{KeyValueStore, StoreError};

/// A clone is the same map.
#[derive(Debug, Clone, Default)]
pub struct Map(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub struct State {
    pub entries: BTreeMap<String, (u64, Entry)>,
    pub calls: usize,
    /// How many calls go right before one fails, and whether that one does what it should all the same.
    pub fault: Option<(usize, bool)>,
    pub narrow: Option<usize>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// Every value that was ever swapped in.
    pub written: Vec<Vec<u8>>,
    revision: u64,
}

impl Map {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn store(&self) -> KeyValueStore<Self> {
        KeyValueStore::new(self.clone())
    }

    /// How many calls there were since the last time.
    pub fn calls(&self) -> usize {
        std::mem::take(&mut self.state().calls)
    }

    /// How many sessions there are, by the version at the front of each entry, which a tombstone has not.
    pub fn sessions(&self) -> usize {
        let is_session =
            |(key, (_, entry)): &(&String, &(u64, Entry))| key.starts_with("session.") && entry.bytes[2..10] != [0; 8];
        self.state().entries.iter().filter(is_session).count()
    }

    /// Waits as a network does, around what is done.
    async fn call<T>(&self, act: impl FnOnce(&mut State) -> T + Send) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let done = {
            let mut state = self.state();
            state.calls += 1;
            let fault = match &mut state.fault {
                Some((0, _)) => state.fault.take(),
                Some((after, _)) => {
                    *after -= 1;
                    None
                }
                None => None,
            };
            match fault {
                None => Ok(act(&mut state)),
                Some((_, acts)) => {
                    acts.then(|| act(&mut state));
                    Err(StoreError::new("made to fail"))
                }
            }
        };
        tokio::task::yield_now().await;
        done
    }

    async fn change<T>(&self, act: impl FnOnce(&mut State) -> T + Send) -> Result<T, StoreError> {
        self.call(|state| if state.read_only { Err(StoreError::new("the map is read-only")) } else { Ok(act(state)) })
            .await?
    }
}

impl KeyValue for Map {
    type Revision = u64;

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
        assert!(
            key.len() <= 51 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "{key}"
        );
        self.call(|state| state.entries.get(key).map(|(revision, entry)| (entry.bytes.clone(), *revision))).await
    }

    async fn compare_and_swap(&self, key: &str, from: Option<&u64>, to: Option<Entry>) -> Result<bool, StoreError> {
        if let Some(entry) = &to {
            assert!(!entry.ttl.is_zero() && entry.ttl.as_secs() <= 100 * 31_557_600, "{entry:?}");
            assert!(self.max_entry_len().is_none_or(|max| entry.bytes.len() <= max), "{entry:?}");
        }
        self.change(|state| {
            if state.entries.get(key).map(|(revision, _)| revision) != from {
                return false;
            }
            state.revision += 1;
            let revision = state.revision;
            state.written.extend(to.iter().map(|entry| entry.bytes.clone()));
            match to {
                Some(entry) => state.entries.insert(key.to_owned(), (revision, entry)),
                None => state.entries.remove(key),
            };
            true
        })
        .await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.change(|state| {
            let expired = state.entries.iter().filter(|(_, (_, entry))| entry.expires <= now).take(limit);
            let expired: Vec<_> = expired.map(|(key, _)| key.clone()).collect();
            expired.iter().for_each(|key| drop(state.entries.remove(key)));
            expired.len()
        })
        .await
    }

    fn max_entry_len(&self) -> Option<usize> {
        self.state().narrow
    }
}
