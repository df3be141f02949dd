//! The session as a handler sees it.

// In floor order: each file imports only from below.
//
// A struct of the program as the session.
mod typed;
// Keys that know the type of their value.
mod key;
// Reading, writing and flash values.
mod values;
// An owner's sessions.
mod owners;
// Loading on demand.
mod lazy;
// Reading and changing what all clones share.
mod cell;
// The time limit of store calls.
mod deadline;
// `Session`, `LazySession`, and the layer and store behind them.
mod request;
// The settings of a layer that have rules of their own.
mod settings;
// The sign-ins that wait until surplus sessions have ended.
mod overflow;
// The commits of one session that wait for each other after a conflict.
mod queues;
// The messages between a session and its store.
mod port;
// A snapshot that cannot write.
mod view;
// Stored session, draft, and the instruction for the cookie.
mod state;
// Closures that change their own session.
mod reentry;
// Values to and from JSON.
mod json;
// The change log.
mod changes;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

pub(crate) use self::changes::{Attempt, Intent, Op, SignIn, fits};
pub(crate) use self::deadline::StoreDeadline;
#[cfg(feature = "import")]
pub(crate) use self::json::{decode, encode};
pub use self::key::{Readable, SessionKey, ValueOf};
pub(crate) use self::overflow::Overflows;
pub use self::owners::Owners;
pub(crate) use self::port::{Answer, Boxed, Occasion, Opened, poll_once};
pub(crate) use self::queues::{Queues, Turn};
pub use self::request::{LazySession, Session};
pub(crate) use self::request::{Scope, SessionCell, Shared, StorePort};
pub use self::settings::CacheHeaders;
pub(crate) use self::settings::{Carrier, TokenHeader};
pub(crate) use self::state::{CookieAction, Live, Outgoing, ResponseHead, SessionState, Stored, Work};
pub use self::typed::TypedSession;
pub use self::view::SessionView;
use crate::clock::{micros, span};
use crate::error::{Error, Kind};
use crate::record::{Beginning, CSRF_LEN, Record, SessionHandle};

impl Session {
    /// Returns the session of a request, for programs without axum's extractors.
    ///
    /// # Errors
    ///
    /// The request did not come through a [`SessionLayer`](crate::SessionLayer) ([`Error::is_no_layer`]), or the layer
    /// is [lazy](crate::SessionLayerBuilder::lazy) and the program has to load a [`LazySession`]
    /// ([`Error::is_not_loaded`]). The error and the log name the line to add.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_session_layer::{Error, Session};
    ///
    /// fn handle<B>(request: &Request<B>) -> Result<Option<String>, Error> {
    ///     Session::from_extensions(request.extensions())?.get("user")
    /// }
    /// assert!(handle(&Request::new(())).unwrap_err().is_no_layer());
    /// ```
    pub fn from_extensions(extensions: &http::Extensions) -> Result<Self, Error> {
        extensions.get::<Self>().cloned().ok_or_else(|| {
            let is_lazy = extensions.get::<LazySession>().is_some();
            let error = Error::from(if is_lazy { Kind::NotLoaded } else { Kind::NoLayer });
            tracing::error!(name: "session.handle.missing", %error, "a handler asked for its session");
            error
        })
    }

    /// Replaces the token, keeping the values: call it whenever privileges change.
    ///
    /// The new record is durable before the old token dies. After that, the old token gives no access to an attacker
    /// who knows it, as in session fixation (OWASP ASVS 7.2.4).
    ///
    /// # Errors
    ///
    /// The system has no randomness, or the session is unavailable.
    pub fn renew(&self) -> Result<(), Error> {
        let secret = self.0.shared.random.bytes()?;
        self.0.write(|work| {
            work.intent.renew = Some(secret);
            work.draft_mut().csrf = secret;
            Ok(())
        })
    }

    /// Ends the session, and removes its record and its cookie. Values set afterwards belong to a new session with a
    /// new token.
    ///
    /// If another request or [`Owners`] has ended the session already, the cookie is left alone: the client may have
    /// been given a newer one since.
    ///
    /// The session also ends if the client leaves before the response, if the handler panics, or if it answers 5xx.
    ///
    /// # Errors
    ///
    /// The session is unavailable.
    pub fn destroy(&self) -> Result<(), Error> {
        // A commit under way on another clone may be about to store the session that is to be destroyed.
        let mut state = self.0.lock();
        let commits = self.0.commit_lock.try_lock().is_err();
        let is_live = commits || matches!(state.stored, Stored::Live(_) | Stored::EndedMeanwhile(Some(_)));
        let work = state.work_mut()?;
        work.draft = Arc::new(Record::blank());
        // An unanswered commit may have stored a record, which must be removed too.
        let pending = work.intent.pending.take();
        work.intent = Intent { destroy: is_live || pending.is_some(), pending, ..Intent::default() };
        work.edits += 1;
        drop(state);
        self.0.id().disturb();
        Ok(())
    }

    /// Signs a person in: replaces the token and makes `owner` the session's owner.
    ///
    /// If the session has another owner, its values and its own idle timeout are cleared first. A timeout that this
    /// request has set stays. The owner's sessions can be listed and revoked through [`Owners`].
    ///
    /// A sign-in is refused if the owner's sessions are revoked before it is committed: [`commit`](Self::commit)
    /// returns an error that [`is_gone`](Error::is_gone), and at the end of the request the response is 503 instead of
    /// the handler's. What came first is decided by the store, not by the clocks of the hosts: see
    /// [`RevocationMark`](crate::store::RevocationMark).
    ///
    /// # Errors
    ///
    /// The name `owner` is empty, the session would become too large, the system has no randomness, or the session is
    /// unavailable.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
    /// # use hidden::*;
    /// # example(|session| async move {
    /// session.insert("cart", ["mug"])?;
    /// session.sign_in("ada")?;
    /// assert_eq!(session.owner().as_deref(), Some("ada"));
    /// assert!(session.signed_in_at().is_some() && session.contains("cart"));
    ///
    /// session.sign_in("grace")?;
    /// assert!(session.is_empty(), "what was ada's is not shown to grace");
    ///
    /// session.commit().await?;
    /// let devices = session.owners().list("grace").await?;
    /// assert_eq!(Some(devices[0].handle), session.handle());
    /// # Ok(())
    /// # });
    /// ```
    pub fn sign_in(&self, owner: &str) -> Result<(), Error> {
        if owner.is_empty() {
            return Err(Kind::NoOwner.into());
        }
        let shared = &self.0.shared;
        let (secret, handle) = (shared.random.bytes()?, shared.random.handle()?);
        let (began, time) = (Beginning::now(), micros(shared.clock.now()));
        let owner: Arc<str> = owner.into();
        self.0.write(|work| {
            let begins_anew = work.draft.owner.as_ref().is_some_and(|before| *before != owner);
            let sign_in = SignIn { owner, began, time, signed_in: time.max(1), handle, begins_anew };
            work.apply(Op::SignIn(sign_in), shared.max_record_len)?;
            work.intent.renew = Some(secret);
            let idle = work.intent.idle();
            let draft = work.draft_mut();
            draft.csrf = secret;
            // The person before takes along the timeout that was stored, not one that this request has set.
            draft.idle = idle.unwrap_or(draft.idle);
            Ok(())
        })
    }

    /// Returns the owner, who was named by the last sign-in; `None` if nobody is signed in.
    pub fn owner(&self) -> Option<Arc<str>> {
        self.0.read(|record, _| record.and_then(|record| record.owner.clone()))
    }

    /// Returns the time of the owner's sign-in, so that a program can ask for the password again before a critical
    /// action (ASVS 7.5). Only [`sign_in`](Self::sign_in) changes it.
    pub fn signed_in_at(&self) -> Option<SystemTime> {
        self.0.read(|record, _| record.and_then(Record::signed_in))
    }

    /// Returns the session's handle, which is its public name among its owner's sessions; `None` if nobody is signed in.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.0.read(|record, _| record.and_then(Record::owned_handle))
    }

    /// Returns the CSRF token to put into forms: 32 base64url characters, which stay the same until the session's token
    /// is replaced (NIST 800-63B, 5.1).
    ///
    /// A visitor without a session gets one, so that the CSRF token can be checked later. A client whose session token
    /// is dead gets a CSRF token that is derived from it, valid for as long as the tombstone (60 s).
    ///
    /// # Errors
    ///
    /// The system has no randomness, or the session is unavailable.
    pub fn csrf_token(&self) -> Result<String, Error> {
        let known = self.0.read(|_, state| state.csrf());
        let secret = if let Some(secret) = known {
            secret
        } else {
            let secret = match self.0.read(|_, state| state.first_csrf()) {
                Some(secret) => secret,
                None => self.0.shared.random.bytes()?,
            };
            self.0.write(|work| {
                work.apply(Op::KeepCsrf(secret), usize::MAX)?;
                Ok(work.draft.csrf)
            })?
        };
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// Returns whether `token` is the session's [`csrf_token`](Self::csrf_token). The comparison takes constant time.
    pub fn verify_csrf(&self, token: &str) -> bool {
        let known = self.0.read(|_, state| state.csrf());
        let mut sent = [0; CSRF_LEN];
        let is_whole = URL_SAFE_NO_PAD.decode_slice(token, &mut sent) == Ok(CSRF_LEN);
        known.is_some_and(|secret| is_whole && secret.ct_eq(&sent).into())
    }

    /// Returns the time at which the session began; for a new session, the present time.
    pub fn created_at(&self) -> SystemTime {
        self.view().created_at()
    }

    /// Returns the time at which the session ends unless it is used again. A new session has the deadline that it would
    /// be stored with.
    pub fn expires_at(&self) -> SystemTime {
        self.view().expires_at()
    }

    /// Returns whether the client has no live session: the request came without one, and none has been committed since.
    pub fn is_new(&self) -> bool {
        self.0.read(|_, state| !matches!(state.stored, Stored::Live(_)))
    }

    /// Returns whether the session has changes that are not committed.
    pub fn is_changed(&self) -> bool {
        self.0.read(|_, state| state.work.as_ref().is_some_and(|work| work.intent.is_change()))
    }

    /// Returns whether the store could not be read and the layer went on without it
    /// ([`OnStoreFailure::Continue`](crate::OnStoreFailure::Continue)). The session is then empty and refuses every
    /// change.
    pub fn is_unavailable(&self) -> bool {
        self.0.read(|_, state| matches!(state.stored, Stored::Unavailable))
    }

    /// Gives this session an idle timeout of its own ("remember me"), which is kept with the session and counts from
    /// now.
    ///
    /// Under [`browser_session`](crate::SessionLayerBuilder::browser_session) the cookie of such a session has a
    /// `Max-Age`, so the timeout cannot be set once the response's head is sent. With a client-side store it cannot be
    /// set then in any case.
    ///
    /// A timeout that is set before [`sign_in`](Self::sign_in) is for the person who signs in.
    ///
    /// # Errors
    ///
    /// The timeout is zero, or longer than the layer's absolute timeout ([`Error::is_idle_timeout`]).
    pub fn set_idle_timeout(&self, idle: Duration) -> Result<(), Error> {
        let longest = self.0.shared.lifetime.absolute();
        if span(idle) == 0 || idle > longest {
            return Err(Kind::IdleTimeout { asked: idle, longest }.into());
        }
        self.apply(Op::Idle(span(idle)))
    }

    /// Returns a read-only snapshot. Later changes to the session do not change it.
    pub fn view(&self) -> SessionView {
        self.0.read(|record, state| {
            let shared = &self.0.shared;
            let now = shared.clock.now();
            let mut record = record.cloned().unwrap_or_else(Record::blank);
            let sets_idle = state.work.as_ref().is_some_and(|work| work.intent.idle().is_some());
            if record.created == 0 {
                record.created = micros(now);
                record.absolute = shared.lifetime.absolute_deadline(record.created);
            }
            if record.deadline == 0 || sets_idle {
                record.deadline = shared.lifetime.deadline(&record, micros(now));
            }
            SessionView::new(record, state)
        })
    }

    /// Returns the session whose cookie has this name: this session, or that of an outer layer.
    ///
    /// The session of a [lazy](crate::SessionLayerBuilder::lazy) layer is found only once it is loaded.
    /// [`LazySession::named`] finds it earlier.
    pub fn named(&self, cookie: &str) -> Option<Self> {
        if self.0.shared.cookie.name() == cookie {
            return Some(self.clone());
        }
        self.0.outer.as_ref()?.find(cookie)?.loaded()
    }

    /// Makes all changes so far durable now, instead of at the end of the request.
    ///
    /// Committed changes stay, whatever the handler answers later. Once the response's head is sent, as in SSE and
    /// WebSocket handlers, this is the only way to store changes. A change that needs a cookie is then an error. If the
    /// session was accessed since the last commit, the commit also restarts the idle timeout, even if nothing changed;
    /// with a client-side store it does so only before the head is sent.
    ///
    /// # Errors
    ///
    /// - [`Error::is_gone`]: the session was destroyed, renewed or revoked meanwhile, or has expired. The changes are
    ///   dropped.
    /// - [`Error::is_response_sent`]: the response's head is sent, and the change needs a cookie.
    /// - [`Error::is_dropped`]: changes made before the response were dropped with it. Changes made since wait for
    ///   another call.
    /// - [`Error::is_unavailable`]: the store failed or took too long. The changes remain to be committed. The next
    ///   commit first asks the store whether the changes were stored after all, unless another request has written
    ///   since.
    ///
    /// # Cancel safety
    ///
    /// A commit that has begun goes on to its end even if this future is dropped.
    pub async fn commit(&self) -> Result<(), Error> {
        self.0.shared.store.commit(self, Occasion::Explicit, false).wait().await
    }

    /// Loads the session again, and replays this request's changes on the record that is stored now.
    ///
    /// A client-side store has nothing newer to load. It can only report that the session has ended, by its deadline or
    /// by a list of revocations.
    ///
    /// # Errors
    ///
    /// The session is gone ([`Error::is_gone`]), or the store failed or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the session as it was, or reloaded.
    pub async fn reload(&self) -> Result<(), Error> {
        self.0.shared.store.commit(self, Occasion::Reload, false).wait().await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("cookie", &self.0.shared.cookie.name()).finish_non_exhaustive()
    }
}
