//! Lists and revokes an owner's sessions, inside or outside a request.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use tracing::Instrument as _;

use super::deadline::StoreDeadline;
use super::request::{Session, Shared};
use crate::error::{Error, Kind, StoreError};
use crate::event::Operation;
use crate::record::{SessionHandle, TOMBSTONE};
use crate::store::{OwnedSession, Revocation, Revoke};

/// Lists and revokes the sessions of an owner, who was named by [`Session::sign_in`].
///
/// A client-side store cannot do this: with it, every method returns an error that [`Error::is_unsupported`].
///
/// # Examples
///
/// ```
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// use tower_session_layer::{MemoryStore, Owners, SessionLayer};
///
/// session.sign_in("ada")?;
/// session.commit().await?;
/// let owners: Owners = session.owners(); // outside any request: `SessionLayer::owners`
/// let devices = owners.list("ada").await?;
/// assert_eq!(owners.count("ada").await?, 1);
/// assert_eq!((devices.len(), Some(devices[0].handle)), (1, session.handle()));
///
/// assert_eq!(owners.revoke_others(&session).await?, 0, "there are none");
/// assert!(!owners.revoke("grace", devices[0].handle).await?, "it is not hers");
/// assert!(owners.revoke("ada", devices[0].handle).await?);
/// assert_eq!(owners.revoke_all("ada").await?, 0, "it has ended already");
/// assert!(session.reload().await.unwrap_err().is_gone());
///
/// assert!(SessionLayer::new(MemoryStore::new()).owners().list("ada").await?.is_empty());
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Owners(Arc<Shared>);

impl Owners {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Lists an owner's live sessions, the latest sign-in first, in the order of the store.
    ///
    /// # Errors
    ///
    /// The store cannot list owners, failed, or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn list(&self, owner: &str) -> Result<Vec<OwnedSession>, Error> {
        let mut sessions = self.wait(Operation::List, self.0.store.owned(owner.to_owned(), self.0.clock.now())).await?;
        sessions.sort_by_key(|session| (Reverse(session.sign_in), session.handle));
        // A session that is being renewed is listed twice.
        sessions.dedup_by_key(|session| session.handle);
        Ok(sessions)
    }

    /// Returns the number of an owner's live sessions, without reading them. Sessions that have expired and were not
    /// removed yet may count.
    ///
    /// # Errors
    ///
    /// The store cannot count them cheaply ([`Error::is_unsupported`]), failed, or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn count(&self, owner: &str) -> Result<usize, Error> {
        self.wait(Operation::List, self.0.store.count(Some(owner.to_owned()), self.0.clock.now())).await
    }

    /// Ends one session of an owner, and returns whether the owner had such a live session.
    ///
    /// The handle of another owner's session ends nothing and returns `false`.
    ///
    /// # Errors
    ///
    /// The store cannot list owners, failed, or took too long: the session may live on.
    ///
    /// # Cancel safety
    ///
    /// A revocation that has begun goes on to its end even if this future is dropped.
    pub async fn revoke(&self, owner: &str, handle: SessionHandle) -> Result<bool, Error> {
        self.end(owner, Revoke::These(vec![handle])).await.map(|ended| ended > 0)
    }

    /// Ends all sessions of an owner, as after a change of password, and returns how many it ended.
    ///
    /// Once this has returned `Ok`, no session remains whose sign-in began before the call, however many there were, not
    /// even one that was being committed. That includes the session of the calling request, if it is the owner's: its later changes are
    /// dropped, and the client keeps its cookie although the cookie gives no access. To remove the cookie as well, end
    /// the other sessions first and then this one:
    ///
    /// ```
    /// # use tower_session_layer::{Error, Session};
    /// async fn sign_out_everywhere(session: Session) -> Result<(), Error> {
    ///     session.owners().revoke_others(&session).await?;
    ///     session.destroy()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The store cannot list owners or failed: some sessions may live on, so call it again. If the store has not ended
    /// all of them within the store timeout, the error says so, and the revocation goes on in the background.
    ///
    /// # Cancel safety
    ///
    /// A revocation that has begun goes on to its end even if this future is dropped.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize, Error> {
        self.end(owner, Revoke::All).await
    }

    /// Ends all other sessions of a session's owner ("log out everywhere else"), and returns how many it ended.
    ///
    /// It returns 0 if nobody is signed in. If this request has signed the same owner in again, that sign-in is
    /// committed first.
    ///
    /// # Errors
    ///
    /// The same as for [`revoke_all`](Self::revoke_all).
    ///
    /// # Cancel safety
    ///
    /// A revocation that has begun goes on to its end even if this future is dropped.
    pub async fn revoke_others(&self, session: &Session) -> Result<usize, Error> {
        match (session.owner(), session.handle()) {
            (Some(owner), Some(handle)) => {
                if signs_in_again(session) {
                    session.commit().await?;
                }
                self.end(&owner, Revoke::Others(handle)).await
            }
            _ => Ok(0),
        }
    }

    async fn end(&self, owner: &str, which: Revoke) -> Result<usize, Error> {
        let shared = Arc::clone(&self.0);
        let revocation = Revocation::new(which, TOMBSTONE).named(u64::from_be_bytes(shared.random.bytes()?));
        let asked = shared.store.revoke(owner.to_owned(), revocation.clone(), shared.clock.now());
        let (timeout, is_immediate) = (shared.store_timeout, shared.is_immediate);
        let revoking = async move {
            let ended = asked.await.map_err(Error::from);
            match &ended {
                Ok(ended) => {
                    revocation.complete();
                    shared.events.revoked(*ended);
                }
                Err(error) if error.is_unsupported() => {}
                Err(error) => shared.events.failed(Operation::Revoke, error),
            }
            ended
        };
        if is_immediate {
            return revoking.await;
        }
        match tokio::time::timeout(timeout, tokio::spawn(revoking.in_current_span())).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Err(StoreError::new("the runtime is shutting down").into()),
            Err(_) => {
                let error = Error::from(Kind::GoesOn(timeout));
                self.0.events.failed(Operation::Revoke, &error);
                Err(error)
            }
        }
    }

    async fn wait<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let answer = StoreDeadline::new(&self.0).wait(asked).await;
        if let Err(error) = answer.as_ref()
            && !error.is_unsupported()
        {
            self.0.events.failed(operation, error);
        }
        answer
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owners").field(&self.0.store).finish()
    }
}

impl Session {
    /// Returns an [`Owners`] for the store of this session, which lists and revokes the sessions of any owner.
    pub fn owners(&self) -> Owners {
        Owners::new(&self.cell().shared)
    }
}

/// Returns whether the request signs the same owner in again: the stored session then has another handle than this one.
fn signs_in_again(session: &Session) -> bool {
    session.cell().read(|record, state| {
        let stored = state.stored.record().map(|stored| (&stored.owner, stored.handle));
        record.zip(stored).is_some_and(|(record, (owner, handle))| record.owner == *owner && record.handle != handle)
    })
}
