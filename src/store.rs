//! The trait [`SessionStore`], and the stores of this crate.
//!
//! This module has every type that an implementation of [`SessionStore`] names. A program that only uses sessions finds
//! the types it needs at the crate's root.

// The sessions that were found expired, for a store that cannot remember them itself.
mod expired;
// The answers and arguments of a store's calls.
mod answers;
// The answer to a load, made from stored bytes.
mod loaded;
// A store whose panics are errors.
mod caught;
// The parts that wrappers of a store have in common.
pub(crate) mod forward;
// Any store as a trait object.
#[cfg(any(feature = "config", feature = "conformance", feature = "cookie"))]
pub(crate) mod object;
// The revocation of an owner's sessions, and the mark that it leaves.
mod revocation;

#[cfg(feature = "cached")]
pub mod cached;
#[cfg(feature = "cookie")]
pub mod cookie;
#[cfg(all(feature = "file", unix))]
pub mod file;
// The encoding of a session as one value, for `RedisStore` and `KeyValueStore`.
mod format;
pub mod key_value;
#[cfg(feature = "memory")]
pub mod memory;
// Two stores, while sessions move from one to the other.
#[cfg(feature = "moving")]
pub mod moving;
#[cfg(feature = "redis")]
pub mod redis;
// Any server-side store, with its contents encrypted.
pub mod sealed;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub mod sql;
// The log lines that several stores write.
mod log;

// Decoders of stored bytes, fed with arbitrary bytes.
#[cfg(all(
    test,
    unix,
    feature = "file",
    feature = "redis",
    any(feature = "postgres", feature = "mysql", feature = "sqlite")
))]
#[path = "../tests/hostile/fuzz/formats.rs"]
mod fuzz;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::answers::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Updated};
pub(crate) use self::caught::Caught;
pub(crate) use self::expired::ExpiredSessions;
pub use self::revocation::{Revocation, RevocationMark, Revoke};
#[cfg(feature = "conformance")]
#[doc(inline)]
pub use crate::conformance;
#[doc(no_inline)]
pub use crate::cookie::SessionCookie;
#[doc(no_inline)]
pub use crate::error::StoreError;
#[doc(no_inline)]
pub use crate::record::SessionHandle;
pub use crate::record::{DecodeError, Record, RecordHead, Tombstone, TombstoneKind, Version};
#[doc(no_inline)]
pub use crate::token::{SessionToken, StoreKey, TokenScope, TokenShape};

/// A store of sessions.
///
/// Server-side stores and client-side stores implement the same trait. A server-side store finds a record by the
/// [`StoreKey`] of a random token. A client-side store seals the session itself in the token.
///
/// The layer sets cookies, mints tokens, merges concurrent changes, decides when a session expires, and answers
/// requests when a store fails. The store only carries out the atomic steps below. A call that panics counts as one that fails.
///
/// Implement the methods as plain `async fn`. The suite `store::conformance` (feature `conformance`) checks every
/// guarantee on this page.
///
/// # Time
///
/// Every call passes the layer's current time as `now`. The times of sessions are compared with it and with nothing
/// else. What came first, a sign-in or a revocation, is the store's to say: by a clock of its own, the same for all
/// processes, or by a counter. The hosts' clocks may differ.
///
/// A record, tombstone or mark that ends at or before `now` is absent for every method, whether it was swept or not.
/// Once a call has found it expired, it stays absent even if a later call passes an earlier `now`. A server-side store
/// therefore removes the entries that it finds expired; a client-side store remembers them.
///
/// # Secrets
///
/// A store may write or send the [`StoreKey`] of a token, never the token itself. The values of a session belong to the
/// program, so the store must keep them from other users of the machine.
///
/// # Versions
///
/// The layer gives each write a new random version. The store only compares versions for equality.
///
/// The layer sends a write again if its answer was lost. So an [`update`](Self::update) that finds the record already
/// at its *new* version changes nothing and returns [`Updated::Done`].
///
/// # Later releases
///
/// A store that someone else wrote goes on working. A new method has a default body that returns
/// [`StoreError::unsupported`], and the layer then does without it: no default breaks a promise of this page. A store
/// returns that error itself for a variant of a [`Change`] or [`Revoke`] that it does not know; it need not, if it asks
/// [`Revocation::includes`]. Laws of `store::conformance` are named after the method that they check. A law of a new method
/// passes while the store answers `unsupported`.
///
#[doc = include_str!("store/examples/store.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no session store",
    label = "expected a store, such as `MemoryStore::new()`, or a type with `impl SessionStore`",
    note = "stores are handed over by value, not in an `Arc`, a `Box` or a `Result`: keep a `clone()`, which is the same store, \
            and where `new` or `build` may fail use `?`",
    note = "the guide's \"Writing a store\" and `examples/custom_store.rs` show how to write one"
)]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Returns the shape of this store's tokens.
    fn token_shape(&self) -> TokenShape;

    /// Returns whether the futures of this store are ready when they are first polled, as in a store in memory.
    ///
    /// The layer polls such a future once and does not box it. If the future is not ready then, the request fails.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Returns the largest [`Record::encoded_len`] that the store accepts, in bytes.
    ///
    /// The default, `None`, leaves the limit to the layer's `max_record_bytes`.
    fn max_record_len(&self) -> Option<usize> {
        None
    }

    /// Returns the interval at which the layer calls [`sweep`](Self::sweep) in the background.
    ///
    /// The default is one minute. `None` means that expired entries disappear by themselves.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    /// Tells the store which cookie it serves. The builder calls `bind` once, when it builds the layer.
    ///
    /// A server-side store ignores the cookie. A client-side store binds the cookie's name into the tokens that it
    /// seals, and derives its largest record from the cookie's attributes.
    fn bind(&mut self, cookie: &SessionCookie) {
        let _ = cookie;
    }

    /// Returns the record or tombstone that is stored for a token.
    ///
    /// A token that is malformed, forged or expired is [`Loaded::Absent`]. Stored bytes that are corrupt, or in a
    /// format newer than this program, are [`Loaded::Absent`] too. The store leaves them in place and logs a warning,
    /// which shows no more of the token than the `Debug` of its [`StoreKey`].
    ///
    /// Loading never moves a deadline.
    ///
    /// # Errors
    ///
    /// Returns an error if the store could not be asked. Absence is not an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect. In particular, no later load returns the answer of the dropped one.
    fn load(&self, token: &SessionToken, now: SystemTime) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Inserts a new session under a token that the layer minted.
    ///
    /// The insertion is atomic: a reader finds nothing or the whole record. It never overwrites:
    ///
    /// - If this very record is stored under the token, returns the same answer as before and changes nothing. The two
    ///   have the same version and the same contents; the deadline may have moved since.
    /// - If any other live record or a tombstone is stored under the token, returns [`Created::Taken`].
    /// - If the owner's [`RevocationMark`] refuses the record, stores nothing and returns [`Created::Revoked`], whatever
    ///   is stored under the token.
    ///
    /// A record with an owner enters the owner's list in the same step. If it has no [moment](Record::sign_in) yet, the
    /// store gives it the [next](RevocationMark::next_moment) one of the owner, stores that with it, and returns
    /// [`Created::SignedIn`]; a record that has one keeps it, and the answer is the same. A store that cannot do all of
    /// this in one step enters the list first, so that no record is missing there, writes the record second, and then
    /// enters the list once more and checks the mark; it removes the record if the mark refuses it.
    ///
    /// The record is shared, so that a store in memory need not copy it.
    ///
    /// # Errors
    ///
    /// After an error the record may be stored or not. Nobody knows its token.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing or the whole record.
    fn create(
        &self,
        fresh: &SessionToken,
        record: &Arc<Record>,
        now: SystemTime,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Replaces the live record at version `from` by a record at its new version, or by a tombstone, in one atomic
    /// step.
    ///
    /// Returns [`Updated::Conflict`] if the record is live at another version. Returns [`Updated::Gone`] if there is no
    /// record, or a tombstone; this includes the tombstone of the same change, sent earlier. In either case the store
    /// changes and creates nothing.
    ///
    /// The deadline moves only as the [`Change`] says. The owner never changes, since signing in always brings a new
    /// token. A record that becomes a tombstone leaves its owner's list.
    ///
    /// # Errors
    ///
    /// After an error the change was applied whole or not at all. It is safe to send it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future applies the change whole or not at all.
    fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> impl Future<Output = Result<Updated, StoreError>> + Send;

    /// Moves the deadline of the live record at `version` as [`Record::touch`] does.
    ///
    /// Values and version stay as they are. Returns [`Updated::Conflict`] if the record is live at another version, and
    /// [`Updated::Gone`] if there is no record or a tombstone. In either case the store changes and creates nothing.
    ///
    /// A client-side store returns [`Updated::Instead`] with a token that its first key sealed.
    ///
    /// # Errors
    ///
    /// After an error the deadline has moved or not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future moves the deadline or not.
    fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> impl Future<Output = Result<Updated, StoreError>> + Send;

    /// Ends the session under a key, whatever its version, and leaves a [`TombstoneKind::Destroyed`] tombstone for the
    /// duration `tombstone`.
    ///
    /// A duration of zero leaves no tombstone. If nothing is stored under the key, `delete` stores nothing. A tombstone
    /// that is already there stays as it is, and `delete` returns it. The key is that of a token, or the
    /// [successor](Tombstone::successor) that a tombstone names.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::unsupported`] if the clients hold the sessions: the layer then ends a session by
    /// [`update`](Self::update). After any other error the session may live on. The layer tells the client so with a
    /// 503.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the session as before, or ended.
    fn delete(
        &self,
        key: &StoreKey,
        tombstone: Duration,
        now: SystemTime,
    ) -> impl Future<Output = Result<Deleted, StoreError>> + Send;

    /// Returns an owner's live sessions, in any order.
    ///
    /// The cost of a call must not depend on how many sessions other owners have.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::unsupported`] if the clients hold the sessions.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn owned(&self, owner: &str, now: SystemTime)
    -> impl Future<Output = Result<Vec<OwnedSession>, StoreError>> + Send;

    /// Returns the number of an owner's live sessions, or of all live sessions, if the store can count them cheaply.
    ///
    /// Sessions that have expired and were not swept yet may count. The default body returns
    /// [`StoreError::unsupported`].
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::unsupported`] if counting would take a look at each session.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn count(&self, owner: Option<&str>, now: SystemTime) -> impl Future<Output = Result<usize, StoreError>> + Send {
        let _ = (owner, now);
        async { Err(StoreError::unsupported()) }
    }

    /// Ends the sessions of an owner that the revocation [includes](Revocation::includes), and returns how many it
    /// ended.
    ///
    /// Each ended session leaves the revocation's [tombstone](Revocation::tombstone). The store may leave it, too, where the
    /// owner's list has a session whose record is absent, in case the record is on its way. The handle of another owner's
    /// session ends nothing. A session that has expired at `now` does not count.
    ///
    /// Unless the revocation names [`These`](Revoke::These), the store first [adds](RevocationMark::add) it to the
    /// owner's mark, at the owner's [next moment](RevocationMark::next_moment) and at the time of the store's own clock. A
    /// sign-in that began before then cannot survive: either this call ends its session, or its [`create`](Self::create)
    /// finds the mark. The store keeps the mark until it [has expired](RevocationMark::is_expired) by that clock.
    ///
    /// The call ends as many sessions as there are, in steps that hold up no other call, and its cost grows with the
    /// owner's sessions alone. The layer goes on with the call even if nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::unsupported`] if the clients hold the sessions. After any other error some of the sessions
    /// may have ended. It is safe to revoke them again.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped some of the sessions may have ended. It is safe to revoke them again.
    fn revoke(
        &self,
        owner: &str,
        revocation: &Revocation,
        now: SystemTime,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Removes up to `limit` records, tombstones and marks that have expired, and returns how many it removed.
    ///
    /// The layer calls `sweep` again at once if it returns `limit`. A smaller number means that nothing is left to
    /// remove, or that the store has looked at enough entries for now.
    ///
    /// A sweep delays no request: it holds no lock for longer than a few entries take. The removal itself checks again
    /// that the entry has expired, so that a session which was touched meanwhile stays.
    ///
    /// # Errors
    ///
    /// After an error some entries may have been removed.
    ///
    /// # Cancel safety
    ///
    /// After the future is dropped some entries may have been removed.
    fn sweep(&self, limit: usize, now: SystemTime) -> impl Future<Output = Result<usize, StoreError>> + Send;
}
