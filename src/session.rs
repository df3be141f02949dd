//! The session as a handler sees it.

mod alone;
mod changes;
mod fields;
mod gate;
mod key;
mod lazy;
mod log;
mod state;
mod typed;
mod values;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

pub(crate) use self::changes::{Intent, Op, SignIn, fits};
pub use self::key::{Readable, SessionKey};
pub use self::lazy::LazySession;
pub(crate) use self::lazy::{Scope, find};
pub(crate) use self::state::{Base, Carrier, Head, Inner, Live, Reply, State, Work, blank};
pub use self::typed::TypedSession;
pub(crate) use self::values::{decode, encode};
pub use self::view::SessionView;
use crate::clock::{micros, span};
use crate::commit::Ending;
use crate::error::{Error, Kind};
use crate::layer::{Owners, Shared};
use crate::record::{CSRF_LEN, Record, SessionHandle};

/// A request's session: read and change it here, and the layer commits it when the handler has answered.
///
/// Clones are cheap and mean the same session. Reading and changing are synchronous, since the data is there already;
/// nothing reaches the store before the end of the request or [`commit`](Self::commit), and then all changes are one
/// write. Two requests that change one session at the same time both land: the later one plays its changes again on
/// what the earlier one stored.
///
/// Every method that reveals or changes something is an *access*: it makes the response `Vary: Cookie` and lets the
/// idle timeout start anew. Obtaining the handle is none.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, Session};
///
/// fn visit(session: &Session) -> Result<u64, Error> {
///     session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
///     Ok(session.get("visits")?.unwrap_or_default())
/// }
/// ```
///
#[doc = include_str!("session/examples.md")]
#[derive(Clone)]
pub struct Session(Arc<Inner>);

impl Session {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, base: Base, outer: Option<Scope>, carrier: Carrier) -> Self {
        Self(Arc::new(Inner::new(shared, base, outer, carrier)))
    }

    #[inline]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Works on the state, without a lock where nobody else holds the session.
    #[inline]
    pub(crate) fn with_state<R>(&mut self, work: impl FnOnce(&Shared, &mut State) -> R) -> R {
        match self.alone() {
            Some((shared, state)) => work(shared, state),
            None => work(&self.0.shared, &mut self.0.lock()),
        }
    }

    /// The state, where nobody else holds the session.
    #[inline]
    pub(crate) fn alone(&mut self) -> Option<(&Shared, &mut State)> {
        Arc::get_mut(&mut self.0).map(Inner::parts)
    }

    /// Returns the session of a request, where there is no extractor to do it.
    ///
    /// # Errors
    ///
    /// The request did not come through a [`SessionLayer`](crate::SessionLayer) ([`Error::is_no_layer`]), or the layer is
    /// [lazy](crate::SessionLayerBuilder::lazy) and [`LazySession`] is to be asked ([`Error::is_not_loaded`]); the error says
    /// which line to add, and so does the log.
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
    /// The new record is durable before the old token dies. Whoever knew the old one, as after session fixation, is
    /// left with nothing (OWASP ASVS 7.2.4).
    ///
    /// # Errors
    ///
    /// No randomness, or the session is unavailable.
    pub fn renew(&self) -> Result<(), Error> {
        let secret = self.0.shared.random.bytes()?;
        self.0.write(|work| {
            work.intent.renew = Some(secret);
            work.draft_mut().csrf = secret;
            Ok(())
        })
    }

    /// Ends the session, record and cookie. What is set afterwards belongs to a new session with a new token.
    ///
    /// Where it has ended already, by another request or by [`Owners`](crate::Owners), the cookie is left alone: the client may
    /// have been given a newer one since.
    ///
    /// # Errors
    ///
    /// The session is unavailable.
    pub fn destroy(&self) -> Result<(), Error> {
        // A commit that is under way on another handle may be about to store what is to be destroyed.
        let mut state = self.0.lock();
        let commits = self.0.gate.is_closed();
        let is_live = commits || matches!(state.base, Base::Live(_) | Base::Retired(Some(_)));
        let work = state.work_mut()?;
        work.draft = Arc::new(blank());
        // What an unanswered commit may have stored is to go as well.
        let pending = work.intent.pending.take();
        work.intent = Intent { destroy: is_live || pending.is_some(), pending, ..Intent::default() };
        work.edits += 1;
        drop(state);
        self.0.id().disturb();
        Ok(())
    }

    /// Signs a person in: replaces the token and makes `owner` the session's owner.
    ///
    /// Whatever another owner had in this session is cleared first. The owner's sessions can be listed and revoked
    /// through [`Owners`].
    ///
    /// Where the owner's sessions are revoked before the sign-in is committed, it is refused: [`commit`](Self::commit) is
    /// an error that [`is_gone`](Error::is_gone), and at the end of the request the answer is 503 in place of the
    /// handler's. The same happens once where the revocation bears the time of a clock that ran ahead of this one;
    /// signing in again then succeeds.
    ///
    /// # Errors
    ///
    /// An empty `owner`, no randomness, too large, or the session is unavailable.
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
        let stamp = shared.stamp();
        let owner: Arc<str> = owner.into();
        self.0.write(|work| {
            let begins_anew = work.draft.owner.as_ref().is_some_and(|before| *before != owner);
            let sign_in = SignIn { owner, stamp, signed_in: stamp, handle, begins_anew };
            work.apply(Op::SignIn(sign_in), shared.max_record_len)?;
            work.intent.renew = Some(secret);
            work.draft_mut().csrf = secret;
            Ok(())
        })
    }

    /// Returns who signed in.
    pub fn owner(&self) -> Option<Arc<str>> {
        self.0.read(|record, _| record.and_then(|record| record.owner.clone()))
    }

    /// Returns when the owner signed in, to ask for the password again before something grave (ASVS 7.5). Nothing but
    /// [`sign_in`](Self::sign_in) moves it.
    pub fn signed_in_at(&self) -> Option<SystemTime> {
        self.0.read(|record, _| record.and_then(Record::signed_in))
    }

    /// Returns the session's public name among its owner's, once it is stored or somebody signed in.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.0.read(|record, _| record.map(Record::handle).filter(|handle| *handle != blank().handle))
    }

    /// Returns the token to put into forms: 32 base64url characters, the same for as long as the session's token is
    /// not replaced (NIST 800-63B, 5.1).
    ///
    /// A new session is stored for it; not where the client's token is dead, whose forms last as long as its tombstone.
    ///
    /// # Errors
    ///
    /// No randomness, or the session is unavailable.
    pub fn csrf_token(&self) -> Result<String, Error> {
        let known = self.0.read(|_, state| state.csrf());
        let secret = if let Some(secret) = known {
            secret
        } else {
            let secret = self.0.shared.random.bytes()?;
            self.0.write(|work| {
                work.apply(Op::Pin(secret), usize::MAX)?;
                Ok(work.draft.csrf)
            })?
        };
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// Returns whether this is the session's [`csrf_token`](Self::csrf_token), in constant time.
    pub fn verify_csrf(&self, token: &str) -> bool {
        let known = self.0.read(|_, state| state.csrf());
        let mut sent = [0; CSRF_LEN];
        let is_whole = URL_SAFE_NO_PAD.decode_slice(token, &mut sent) == Ok(CSRF_LEN);
        known.is_some_and(|secret| is_whole && secret.ct_eq(&sent).into())
    }

    /// Returns when the session began; now, if it is new.
    pub fn created_at(&self) -> SystemTime {
        self.view().created_at()
    }

    /// Returns when the session ends unless it is used again; for a new one, when it would.
    pub fn expires_at(&self) -> SystemTime {
        self.view().expires_at()
    }

    /// Returns whether the client brought no live session.
    pub fn is_new(&self) -> bool {
        self.0.read(|_, state| !matches!(state.base, Base::Live(_)))
    }

    /// Returns whether there is something to commit.
    pub fn is_changed(&self) -> bool {
        self.0.read(|_, state| state.work.as_ref().is_some_and(|work| work.intent.is_change()))
    }

    /// Returns whether the store could not be read and the layer was told to go on without it: then the session is
    /// empty and every change an error.
    pub fn is_unavailable(&self) -> bool {
        self.0.read(|_, state| matches!(state.base, Base::Unavailable))
    }

    /// Gives this session an idle timeout of its own ("remember me"), kept with it and counted from now.
    ///
    /// Under `browser_session()` such a session gets a `Max-Age` again.
    ///
    /// # Errors
    ///
    /// Zero, or longer than the layer's absolute timeout ([`Error::is_idle_timeout`]).
    pub fn set_idle_timeout(&self, idle: Duration) -> Result<(), Error> {
        let longest = self.0.shared.lifetime.absolute;
        if span(idle) == 0 || idle > longest {
            return Err(Kind::IdleTimeout { asked: idle, longest }.into());
        }
        self.apply(Op::Idle(span(idle)))
    }

    /// Returns a read-only snapshot, which later changes do not reach.
    pub fn view(&self) -> SessionView {
        self.0.read(|record, state| {
            let shared = &self.0.shared;
            let now = shared.clock.now();
            let mut record = record.cloned().unwrap_or_else(blank);
            let sets_idle = state.work.as_ref().is_some_and(|work| work.intent.sets_idle());
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

    /// Returns the session of an outer layer with this cookie name, or this one if it is its own.
    ///
    /// That of a [lazy](crate::SessionLayerBuilder::lazy) layer is there once it is loaded; [`LazySession::named`] finds it
    /// before.
    pub fn named(&self, cookie: &str) -> Option<Self> {
        if self.0.shared.cookie.name() == cookie {
            return Some(self.clone());
        }
        find(self.0.outer.as_ref()?, cookie)?.loaded()
    }

    /// Returns what lists and revokes an owner's sessions.
    pub fn owners(&self) -> Owners {
        Owners::new(Arc::clone(&self.0.shared))
    }

    /// Makes all changes so far durable now, instead of at the end of the request.
    ///
    /// After this, what was committed stays whatever the handler answers. Once the response's head is out, as in SSE
    /// and WebSocket handlers, this is the only way, and a change that needs a new token or idle timeout is an error.
    ///
    /// # Errors
    ///
    /// The session was destroyed, renewed or revoked meanwhile or has expired ([`Error::is_gone`]): the changes are
    /// dropped. The response's head is sent and the change needs a cookie ([`Error::is_response_sent`]). What was
    /// changed before the response was dropped with it ([`Error::is_dropped`]): what was changed since waits for another
    /// call. The store failed or took too long: the changes remain to be committed; whether they were stored after all is
    /// found out first, unless another request has written since.
    ///
    /// # Cancel safety
    ///
    /// A commit that has begun goes on to its end.
    pub async fn commit(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0.shared);
        shared.store.commit(self, Ending::Explicit, None).wait().await
    }

    /// Loads the session anew, and puts this request's changes on top of what others have stored meanwhile.
    ///
    /// With a store whose token is the session there is nothing newer to find, only that it has ended: by its time, or by
    /// a list of revocations.
    ///
    /// # Errors
    ///
    /// The session is gone ([`Error::is_gone`]), or the store failed or took too long.
    ///
    /// # Cancel safety
    ///
    /// The session is as it was, or reloaded.
    pub async fn reload(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0.shared);
        shared.store.commit(self, Ending::Reload, None).wait().await
    }

    /// Whether the owner signs in again: then what is stored has another public name than the session will have.
    pub(crate) fn signs_in_again(&self) -> bool {
        self.0.read(|record, state| {
            let stored = state.base.record().map(|stored| (&stored.owner, stored.handle));
            record
                .zip(stored)
                .is_some_and(|(record, (owner, handle))| record.owner == *owner && record.handle != handle)
        })
    }

    fn apply(&self, op: Op) -> Result<(), Error> {
        let limit = self.0.shared.max_record_len;
        self.0.write(|work| work.apply(op, limit))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("cookie", &self.0.shared.cookie.name()).finish_non_exhaustive()
    }
}
