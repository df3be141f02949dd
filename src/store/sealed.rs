//! Sessions that only their own token opens.

// The encryption of one record.
mod encryption;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::encryption::{NONCE_LEN, longest_record, seal, unseal};
use super::format::bounded;
use super::forward::{forward, server_side};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// A store that encrypts the contents of sessions before a server-side store gets them, each under a key that only the
/// session's token gives.
///
/// A dump of the store, a backup or a look into its database then shows no value: the client holds the token that opens
/// a session, and the store has no more than a digest of it. There is no key to keep.
///
/// # What is sealed
///
/// Keys, values, flash and the CSRF secret are sealed with XChaCha20-Poly1305 (RFC 8439, with the 192-bit nonce of
/// draft-irtf-cfrg-xchacha) under a key derived from the token by HKDF-SHA-256 (RFC 5869), padded so that their length
/// tells little. The store works with version, times, the public handle and the owner's name, by which it lists and
/// revokes an owner's sessions: these stay readable.
///
/// Version, owner, handle, the time of the sign-in, when the session began and when it ends at the latest are bound in. If
/// somebody has changed them, moved a record to another session's place, or moved its deadline beyond that latest end, the
/// record does not open. A record that does not open is absent, with a warning, and stays in the store until its deadline.
///
/// # What is not prevented
///
/// Somebody who can *write* to the store can remove sessions, put an earlier state of a session back in its place, move
/// its deadline up to its latest end, since a touch moves the deadline without opening anything, and take it out of its
/// owner's list or change its place in it, so that a revocation does not find it. `MemoryStore` is in the memory of a process that
/// tokens pass through: sealing is for data that outlives the process or leaves it.
///
/// # Cost
///
/// A sealed session takes four thirds of its bytes and about 200 more. A load and a write each take a few microseconds
/// longer, as sealing a cookie does. Sessions that were stored unsealed are absent.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), tower_session_layer::ConfigError> {
/// use tower_session_layer::{MemoryStore, Sealed, SessionLayer};
///
/// let sessions = SessionLayer::new(Sealed::new(MemoryStore::new())?);
/// assert!(format!("{sessions:?}").contains("Sealed"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone)]
pub struct Sealed<S> {
    store: S,
}

impl<S: SessionStore> Sealed<S> {
    /// Seals the sessions of this store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientSideStore`] for a client-side store, `CookieStore`, which seals anyway.
    pub fn new(store: S) -> Result<Self, ConfigError> {
        server_side(store, "Sealed").map(|store| Self { store })
    }

    fn seal(&self, token: &SessionToken, record: &Record) -> Result<Record, StoreError> {
        bounded(record, self.max_record_len())?;
        let mut nonce = [0; NONCE_LEN];
        crate::random::fill(&mut nonce)?;
        seal(token, record, nonce).ok_or_else(|| StoreError::new("the session could not be sealed"))
    }
}

/// Every call is one call of the wrapped store, and as atomic, durable and safe to drop. A `create` that finds its token
/// taken is followed by a load.
impl<S: SessionStore> SessionStore for Sealed<S> {
    forward!(store: token_shape is_immediate sweep_interval bind touch delete owned count revoke sweep);

    /// Returns the length of the longest record that fits into the store once it is sealed.
    fn max_record_len(&self) -> Option<usize> {
        self.store.max_record_len().map(longest_record)
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(match self.store.load(token, now).await? {
            Loaded::Live(sealed) => open(token, &sealed).map_or(Loaded::Absent, Loaded::Live),
            Loaded::Outdated(sealed) => open(token, &sealed).map_or(Loaded::Absent, Loaded::Outdated),
            // A tombstone's successor is sealed already.
            found @ (Loaded::Tombstone(_) | Loaded::Absent) => found,
        })
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let sealed = self.seal(fresh, record)?;
        let created = self.store.create(fresh, &sealed.into(), now).await?;
        // A record that is sealed again has other bytes, so the store does not know it again.
        if created == Created::Taken
            && let Loaded::Live(standing) = self.load(fresh, now).await?
            && record.is_same(&standing)
        {
            return Ok(if standing.owner().is_some() {
                Created::SignedIn(standing.sign_in())
            } else {
                Created::Stored
            });
        }
        Ok(created)
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let Change::Replace(record, deadline) = change else {
            return self.store.update(token, from, change, now).await;
        };
        let change = Change::Replace(self.seal(token, record)?.into(), *deadline);
        self.store.update(token, from, &change, now).await
    }
}

/// Opens a stored record, and warns where it does not open.
fn open(token: &SessionToken, sealed: &Record) -> Option<Arc<Record>> {
    let opened = unseal(token, sealed);
    if opened.is_none() {
        tracing::warn!(
            name: "session.record.unopened",
            key = ?token.key(), "a stored session does not open with its token and counts as absent"
        );
    }
    opened.map(Arc::new)
}
