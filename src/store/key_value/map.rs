//! What `KeyValueStore` asks of a map.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

#[cfg(doc)]
use super::KeyValueStore;
use crate::error::StoreError;
#[cfg(doc)]
use crate::store::SessionStore;

/// A map from keys to bytes that [`KeyValueStore`] makes a whole [`SessionStore`] of.
///
/// What it needs is one atomic step, [`compare_and_swap`](Self::compare_and_swap): etcd, Consul and NATS have it by
/// revision, `DynamoDB` and object stores by condition, embedded databases by transaction. What is read must be what was
/// written last, by whichever process: no replica that lags behind, no cache.
///
/// What holds for every store holds here: the bytes are the application's, so keep them from other users of the machine,
/// and no method may block its thread. What blocks, as a file or an embedded database does, goes into
/// `tokio::task::spawn_blocking`.
///
#[doc = include_str!("../examples/key_value.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no map that sessions can be kept in",
    label = "expected a type with `impl KeyValue`",
    note = "`KeyValueStore` makes a store of whatever can compare and swap, handed over by value; `examples/custom_store.rs` \
            shows how to implement `KeyValue`"
)]
pub trait KeyValue: fmt::Debug + Send + Sync + 'static {
    /// What tells one state of an entry from every other: a revision, an `ETag`, or the bytes themselves.
    ///
    /// The bytes will do: entries of the same bytes are the same. A count that begins anew where an entry was removed and
    /// made again will not, and the suite cannot see that: use one for the whole map, or a random number.
    type Revision: Send + Sync;

    /// Returns the entry of a key, expired or not.
    ///
    /// Keys are up to 72 of the characters `a` to `z`, `0` to `9` and `.`, and hold no token.
    ///
    /// # Errors
    ///
    /// The map could not be asked. This is never the answer for absence.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<(Vec<u8>, Self::Revision)>, StoreError>> + Send;

    /// Makes `to` the entry of a key, or removes it for `None`, if its state is still `from`: for `None`, if there is no
    /// entry. Returns whether it did. One atomic step. Never both `None`.
    ///
    /// # Errors
    ///
    /// The entry was swapped or not; it is looked at again.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn compare_and_swap(
        &self,
        key: &str,
        from: Option<&Self::Revision>,
        to: Option<Entry>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes up to `limit` entries whose [`expires`](Entry::expires) is at or before `now`, and returns how many went. Zero
    /// where expired entries go by themselves.
    ///
    /// As with [`SessionStore::sweep`], it is called again at once while it returns `limit`, keeps no lock for longer than a
    /// few entries take where requests would wait for it, and repeats its condition where it removes, so that what was
    /// touched meanwhile stays.
    ///
    /// # Errors
    ///
    /// Some may have been removed.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn sweep(&self, limit: usize, now: SystemTime) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Returns how often [`sweep`](Self::sweep) is to be called, every minute unless the map says otherwise; `None` where
    /// expired entries go by themselves.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    /// Returns the most bytes that an entry may have, where the map has such a limit.
    fn max_entry_len(&self) -> Option<usize> {
        None
    }
}

/// What is to stand under a key of a [`KeyValue`]. `Debug` shows no byte.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// From when on the entry may go, by the layer's clock, to the microsecond.
    pub expires: SystemTime,
    /// The same from now on, for maps that count time themselves: more than zero, at most a hundred years. A map that
    /// counts more coarsely rounds up.
    pub ttl: Duration,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, expires, ttl } = self;
        let mut shown = f.debug_struct("Entry");
        shown.field("len", &bytes.len()).field("expires", expires).field("ttl", ttl).finish()
    }
}
