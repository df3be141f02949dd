//! What a session store is, and the stores of this crate.
//!
//! Everything that an implementation of [`SessionStore`] names is here; a program that uses sessions finds all it
//! names at the crate's root.

// What a store that panics leaves in the log.
mod alarm;
// What was found expired where the store itself cannot remember it.
mod ended;
// The layer's view of any store, with its type erased.
mod erased;
// Which session a request is given.
mod open;
// What a revocation ends, and what it leaves behind.
mod revocation;

#[cfg(feature = "cached")]
pub mod cached;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "cookie")]
pub mod cookie;
#[cfg(all(feature = "file", unix))]
pub mod file;
// A session as one value, as `RedisStore` and `KeyValueStore` keep it.
mod format;
pub mod key_value;
#[cfg(feature = "memory")]
pub mod memory;
// Two stores, while sessions move from one to the other.
pub mod moving;
// Any store on the server, with its contents encrypted.
#[cfg(feature = "redis")]
pub mod redis;
pub mod sealed;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub mod sql;
// The log lines that several stores write.
mod log;

// What is stored, out of arbitrary bytes.
#[cfg(all(
    test,
    unix,
    feature = "file",
    feature = "redis",
    any(feature = "postgres", feature = "mysql", feature = "sqlite")
))]
#[path = "../tests/fuzz/formats.rs"]
mod fuzz;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use self::erased::{Answer, Boxed, Erased, ErasedStore, poll_once};
pub(crate) use self::open::{Led, led_on};
pub use self::revocation::{Revocation, RevocationMark, Revoke};
#[doc(no_inline)]
pub use crate::cookie::SessionCookie;
#[doc(no_inline)]
pub use crate::error::StoreError;
#[doc(no_inline)]
pub use crate::record::SessionHandle;
pub use crate::record::{DecodeError, Head, Record, Tombstone, TombstoneKind, Version};
#[doc(no_inline)]
pub use crate::token::{SessionToken, StoreKey, TokenShape};

/// Where sessions are kept.
///
/// One trait serves stores on the server, which find a record by the digest of a random token, and stores whose token
/// *is* the session, sealed. The layer owns cookies, the minting of tokens, merging, expiry and what happens on
/// failure; a store is asked for a handful of atomic steps.
///
/// Implementors write plain `async fn`. The suite `store::conformance` (feature `conformance`)
/// checks every guarantee on this page.
///
/// # Time
///
/// Every call brings the layer's `now`; a store has no clock of its own. Whatever ends at or before `now` is absent
/// for every method, swept or not, and once a call has found it so it stays absent, even if a later call brings an
/// earlier `now`: remove what you find expired, or remember it where the client holds it.
///
/// # What may leave the process
///
/// At most the [`StoreKey`] of a token, never the token. Values are the application's; keep them
/// from other users of the machine.
///
/// # Versions
///
/// The layer chooses a random new version for each write. A store compares versions for equality only. A call that
/// finds the record already at the *new* version was sent before, its answer lost: it is `Done` and changes nothing.
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
    /// Returns what this store's tokens look like.
    fn token_shape(&self) -> TokenShape;

    /// Returns whether the methods below never wait, as in memory: then no future is boxed.
    ///
    /// A store that says so and waits all the same fails the request. Such a store must not depend on being polled
    /// twice.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Returns the most bytes a record may have ([`Record::encoded_len`]), where the store is narrower than the
    /// layer's `max_record_bytes`.
    fn max_record_len(&self) -> Option<usize> {
        None
    }

    /// Returns how often [`sweep`](Self::sweep) is to be called in the background, every minute unless the store says
    /// otherwise; `None` where what expired goes by itself.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    /// Tells the store which cookie it serves, once, when the layer is built.
    ///
    /// Server-side stores need not know. A sealing store binds the name into what it seals and derives its largest
    /// record from the attributes.
    fn bind(&mut self, cookie: &SessionCookie) {
        let _ = cookie;
    }

    /// Finds what is stored for a token.
    ///
    /// Malformed, forged, corrupt and expired are [`Loaded::Absent`]; corrupt bytes or a newer format stay where they
    /// are and are reported by a warning that holds no more of the token than the `Debug` of its key. Loading never
    /// moves a deadline.
    ///
    /// # Errors
    ///
    /// The store could not be asked. This is never the answer for absence.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect, and what a later load answers belongs to its own token.
    fn load(&self, token: &SessionToken, now: SystemTime) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Inserts a new session under a token that the layer minted.
    ///
    /// The record is shared, so that a store in memory need not copy it.
    ///
    /// Atomic, and never overwrites: a reader finds nothing or the whole record. Where a live record or a tombstone stands
    /// under this token the answer is [`Created::Taken`], or [`Created::Stored`] if it is this record at this version. A
    /// record with an owner enters the owner's list in the same step, unless the owner's [`RevocationMark`] refuses it:
    /// then nothing is stored and the answer is [`Created::Revoked`], with the mark, before either of the others. A store
    /// that cannot do both at once writes the record first, then looks at the mark, and removes the record again.
    ///
    /// # Errors
    ///
    /// The record may or may not be stored; nobody knows its token.
    ///
    /// # Cancel safety
    ///
    /// As with errors: nothing, or the whole record.
    fn create(
        &self,
        fresh: &SessionToken,
        record: &Arc<Record>,
        now: SystemTime,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Replaces what is live at version `from` by a record at its new version, or by a tombstone.
    ///
    /// One atomic step. [`Updated::Conflict`] where the record is live at another version; [`Updated::Gone`] where
    /// there is none or a tombstone, that of this very change sent again included; neither changes or creates anything. The deadline moves only as the
    /// [`Change`] says. The owner never changes: signing in always brings a new token. A record that
    /// becomes a tombstone leaves its owner's list.
    ///
    /// # Errors
    ///
    /// The change was applied whole or not at all; sending it again is safe.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> impl Future<Output = Result<Updated, StoreError>> + Send;

    /// Moves the deadline of what is live at `version`, as [`Record::touch`] does, and nothing else.
    ///
    /// Values and version stay. Where the record is at another version, retired or absent, nothing happens
    /// ([`Updated::Conflict`], [`Updated::Gone`]); a touch never creates. A sealing store answers
    /// [`Updated::Instead`], sealed with its first key.
    ///
    /// # Errors
    ///
    /// The deadline moved or did not.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> impl Future<Output = Result<Updated, StoreError>> + Send;

    /// Ends a session, whatever its version, and leaves a tombstone ([`TombstoneKind::Destroyed`]) for that long;
    /// none for a duration of zero.
    ///
    /// What is not there stays not there, and a tombstone that stands already stays as it is and is returned.
    ///
    /// # Errors
    ///
    /// The session may live on; the layer tells the client so (503).
    ///
    /// # Cancel safety
    ///
    /// The session is there as before, or ended.
    fn delete(
        &self,
        token: &SessionToken,
        tombstone: Duration,
        now: SystemTime,
    ) -> impl Future<Output = Result<Deleted, StoreError>> + Send;

    /// Lists an owner's live sessions, in no particular order. Its cost does not depend on how many others there are.
    ///
    /// # Errors
    ///
    /// [`StoreError::unsupported`] where the client holds the sessions.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    fn owned(&self, owner: &str, now: SystemTime)
    -> impl Future<Output = Result<Vec<OwnedSession>, StoreError>> + Send;

    /// Ends the sessions of an owner that are meant, leaving a [tombstone](Revocation::tombstone) in place of each, and
    /// returns how many went. A handle of somebody else's session ends nothing, and what has expired at `now` does not
    /// count.
    ///
    /// For all but [`Revoke::One`] the revocation is [added](RevocationMark::add) to the owner's mark first: whoever
    /// began signing in before [`Revocation::at`] finds the mark, either here or when its own [`create`](Self::create)
    /// looks. That time differs in every revocation and sign-in of a process, and runs ahead of `now` where the clock
    /// has stepped back. The mark may go when it [has expired](RevocationMark::is_expired).
    ///
    /// # Errors
    ///
    /// [`StoreError::unsupported`] where the client holds the sessions. After another error some sessions may have
    /// ended and others not; doing it again is safe.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn revoke(
        &self,
        owner: &str,
        revocation: &Revocation,
        now: SystemTime,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Removes up to `limit` records, tombstones and marks that have expired, and returns how many went.
    ///
    /// Called again at once while it returns `limit`; fewer say that nothing is left, or that enough was looked at for this
    /// time. Holds up no request: no lock is kept for longer than a few entries take. It repeats its condition where it
    /// removes, so that what was touched meanwhile stays.
    ///
    /// # Errors
    ///
    /// Some may have been removed.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    fn sweep(&self, limit: usize, now: SystemTime) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// What [`SessionStore::load`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loaded {
    /// A live session, shared: a store in memory hands out what it holds, and others make an `Arc` of what they read.
    Live(Arc<Record>),
    /// A live session in an outdated form, as one sealed with an old key: it is touched when it is next accessed.
    Outdated(Arc<Record>),
    /// The inert rest of a session that ended.
    Tombstone(Tombstone),
    /// Nothing that counts.
    Absent,
}

/// What became of [`SessionStore::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// The record is stored and durable as the store defines it.
    Stored,
    /// Something else stands under this token; it was left alone.
    Taken,
    /// The owner's sessions were revoked after this sign-in began, as this mark says; nothing is stored.
    Revoked(RevocationMark),
    /// The session is this token (sealing stores).
    Instead(SessionToken),
}

/// What became of [`SessionStore::update`] and [`SessionStore::touch`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Updated {
    /// It is as asked, now or since an earlier try.
    Done,
    /// The session is now this token (sealing stores).
    Instead(SessionToken),
    /// The record is live at another version.
    Conflict,
    /// There is no live record.
    Gone,
}

/// What [`SessionStore::delete`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deleted {
    /// A live session, which has ended.
    Done,
    /// A tombstone, which still stands.
    Retired(Tombstone),
    /// Nothing.
    Absent,
}

/// What [`SessionStore::update`] makes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The same session with other contents, at the record's version; shared, so that a store in memory need not copy it.
    Replace(Arc<Record>, Deadline),
    /// The end of the session.
    Retire(Tombstone),
}

/// What a [`Change`] does to the deadline.
///
#[doc = include_str!("store/examples/deadline.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deadline {
    /// It stays where the stored record has it, wherever a touch has moved it meanwhile.
    Keep,
    /// It becomes the new record's, if that is later.
    Extend,
    /// It becomes the new record's.
    Set,
}

impl Deadline {
    /// Returns `next` with the deadline that it gets when it replaces a record whose deadline is `stored`.
    pub fn apply(self, stored: SystemTime, next: Arc<Record>) -> Arc<Record> {
        self.apply_micros(crate::clock::micros(stored), next)
    }

    pub(crate) fn apply_micros(self, stored: u64, mut next: Arc<Record>) -> Arc<Record> {
        let deadline = match self {
            Self::Keep => stored,
            Self::Extend => next.deadline.max(stored),
            Self::Set => next.deadline,
        };
        if deadline != next.deadline {
            Arc::make_mut(&mut next).deadline = deadline;
        }
        next
    }
}

/// One of an owner's sessions, as [`SessionStore::owned`] lists it.
///
#[doc = include_str!("store/examples/owned.md")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedSession {
    /// The public name, for revoking it.
    pub handle: SessionHandle,
    /// When the session began.
    pub created: SystemTime,
    /// When the owner signed in.
    pub signed_in: Option<SystemTime>,
    /// When it was last written or its deadline moved: no more than a tenth of the idle timeout behind its last use.
    pub last_seen: SystemTime,
}

impl From<&Record> for OwnedSession {
    fn from(record: &Record) -> Self {
        Self {
            handle: record.handle(),
            created: record.created(),
            signed_in: record.signed_in(),
            last_seen: record.seen(),
        }
    }
}
