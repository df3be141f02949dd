//! The map that `KeyValueStore` keeps sessions in.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

#[cfg(doc)]
use super::KeyValueStore;
use crate::error::StoreError;
#[cfg(doc)]
use crate::store::{RevocationMark, SessionStore};

/// A map from keys to bytes that [`KeyValueStore`] makes a whole [`SessionStore`] of.
///
/// The map needs one atomic step, [`compare_and_swap`](Self::compare_and_swap): etcd, Consul and NATS have it by
/// revision, `DynamoDB` and object stores by condition, embedded databases by transaction. A read must return the last
/// write of any process: no replica that lags behind, no cache.
///
/// The rules for every store apply here, too. The bytes are the application's, so keep them from other users of the
/// machine. No method may block its thread: calls that block, such as those of a file or an embedded database, go into
/// `tokio::task::spawn_blocking`.
///
#[doc = include_str!("../examples/key_value.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no map that sessions can be kept in",
    label = "expected a type with `impl KeyValue`",
    note = "`KeyValueStore` makes a store of a map that can compare and swap, handed over by value; `examples/custom_store.rs` \
            shows how to implement `KeyValue`"
)]
pub trait KeyValue: fmt::Debug + Send + Sync + 'static {
    /// The value that distinguishes one state of an entry from every other: a revision, an `ETag`, or the bytes themselves.
    ///
    /// The bytes suffice, since entries of the same bytes are the same. A count that starts again where an entry was
    /// removed and made again does not suffice, and the suite cannot detect that: use one count for the whole map, or a
    /// random number.
    type Revision: Send + Sync;

    /// Returns the entry of a key, expired or not.
    ///
    /// A key has up to 51 of the characters `A` to `Z`, `a` to `z`, `0` to `9`, `-`, `_` and `.`, and holds no token.
    ///
    /// # Errors
    ///
    /// The map could not be asked. This is never the answer for absence.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<(Vec<u8>, Self::Revision)>, StoreError>> + Send;

    /// Makes `to` the entry of a key, or removes the entry if `to` is `None`, provided that its state is still `from`: if
    /// `from` is `None`, that there is no entry. Returns whether it did so.
    ///
    /// This is one atomic step. `from` and `to` are never both `None`.
    ///
    /// # Errors
    ///
    /// The entry was swapped or not; the store reads it again.
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

    /// Removes up to `limit` entries whose [`expires`](Entry::expires) is at or before `now`, and returns the number
    /// removed: zero if the map removes expired entries by itself.
    ///
    /// The rules are those of [`SessionStore::sweep`]. The method is called again at once while it returns `limit`. It
    /// keeps no lock that requests would wait for longer than a few entries take. It repeats its condition where it
    /// removes an entry, so that an entry that was touched meanwhile stays.
    ///
    /// # Errors
    ///
    /// Some entries may have been removed.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn sweep(&self, limit: usize, now: SystemTime) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Returns the time by a clock that all processes share, such as that of the map's server; by default `None`.
    ///
    /// The clock tells whether a sign-in that is under way began before a revocation. The machine's own clock will do for
    /// a map on one machine.
    ///
    /// Without a clock each process refuses the first sign-in of an owner after a revocation of another process, and lets
    /// in those that begin after that. So does each process that is started later, until the owner has had no session for a
    /// day. A process remembers at least 50,000 such owners, and may refuse those again that it has forgotten
    /// ([`RevocationMark`]): a map of so many needs a clock.
    ///
    /// # Errors
    ///
    /// The server could not be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn clock(&self) -> impl Future<Output = Result<Option<SystemTime>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// Returns the interval at which [`sweep`](Self::sweep) is to be called, a minute by default; `None` if the map removes
    /// expired entries by itself.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    /// Returns the most bytes that an entry may have, if the map has such a limit.
    fn max_entry_len(&self) -> Option<usize> {
        None
    }
}

/// A value to store under a key of a [`KeyValue`]. `Debug` shows none of its bytes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The time from which on the entry may be removed, by the layer's clock, to the microsecond.
    pub expires: SystemTime,
    /// The time from now until `expires`, for maps that count time themselves: more than zero, at most a hundred years. A
    /// map that counts more coarsely rounds up.
    pub ttl: Duration,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, expires, ttl } = self;
        let mut shown = f.debug_struct("Entry");
        shown.field("len", &bytes.len()).field("expires", expires).field("ttl", ttl).finish()
    }
}
