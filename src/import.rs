//! The import of sessions that another library began.

mod future;
mod imported;
mod process;
mod service;
mod signature;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tower_layer::Layer;

pub use self::future::ImportFuture;
pub use self::imported::Imported;
use self::process::Import;
pub use self::service::ImportService;
pub use self::signature::CookieSignature;
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::session::Boxed;

/// The layer that turns sessions of another library into sessions of this one, so that people who are signed in stay
/// signed in.
///
/// An `ImportLayer` belongs *inside* the [`SessionLayer`](crate::SessionLayer). It acts on a request that has a cookie
/// of the old name and no token of that layer. A function of the program, the importer, reads the old cookie. The layer
/// stores what the importer returns as a new session under a fresh token, and then calls the inner service. Nothing of
/// the old cookie ever becomes a token. The response sets the new cookie and removes the old one.
///
/// # How often a session is imported
///
/// A client that has a token of this crate, live or not, is not imported again. Every response to a live session
/// removes an old cookie that the client still sends. The cookie of [`new`](Self::new) must therefore have the path and
/// the domain that the old application used. Browsers ignore a removal that does not match, and the cookie that is left
/// would sign a person in again after a sign-out here. A cookie that the importer does not accept stays with the
/// client.
///
/// These rules bind the client. A *copy* of the old cookie can be imported as long as the importer accepts it:
///
/// - If the importer deletes the row of the old session as it reads the row (`DELETE … RETURNING`), the session is
///   imported once. A browser sends several requests for one page at once: one of them finds the row, and the others
///   are anonymous. If the commit fails, the session is lost.
/// - It is better to leave the row and to shorten its life to a minute. Then each of several requests at once begins a
///   session with the same values. The client keeps the session whose cookie arrives last, and the others end by their
///   timeouts. A request that failed can be sent again.
/// - A cookie that contains the whole session, as Remix signs it, can be imported repeatedly until `valid_until`, or
///   until the importer no longer accepts its secret. Choose the earliest `valid_until` that covers the old sessions
///   that matter.
///
/// # What else to know
///
/// - An imported session begins at the time of the import: both timeouts start, and
///   [`not_before`](crate::SessionLayerBuilder::not_before) does not end it. The importer states the time of the
///   sign-in ([`Imported::sign_in`]).
/// - A [revocation](crate::Owners) refuses imports of its owner for a day, and the response to a refused import removes
///   the old cookie. After that day only the old application's own means keep an old session of that owner from being
///   imported. An import is also refused if later sign-ins have reached
///   [`max_sessions_per_owner`](crate::SessionLayerBuilder::max_sessions_per_owner).
/// - Another host of the same domain can set a cookie of the old name, unless the name has the prefix `__Host-`. It can
///   thereby make a visitor without a session continue the attacker's session. The old application allowed that too. It
///   ends with `valid_until`.
/// - The old application must no longer set its cookie. Routes inside the [`SessionLayer`](crate::SessionLayer) but
///   outside this layer begin sessions into which nothing is imported.
///
/// # Failure
///
/// The answer is 503, and the old cookie stays, if the importer fails, if it takes longer than the layer's
/// [`store_timeout`](crate::SessionLayerBuilder::store_timeout), or if the commit fails. A session that is larger than
/// the store allows is not imported: the request goes on without it, the old cookie stays, and the event
/// [`Failed`](crate::SessionEvent::Failed) reports it. The answer to a request with the old cookie is 500, and the log
/// says why, if the layer is outside a [`SessionLayer`](crate::SessionLayer) or the old cookie has the name of that
/// layer's cookie.
///
/// # Cost
///
/// For a request without the old cookie the layer searches the `Cookie` headers once. A request with the old cookie
/// waits for the store, also under a [`lazy`](crate::SessionLayerBuilder::lazy) layer. An importer that waits needs a
/// tokio runtime with timers.
///
/// # Examples
///
/// The sessions of Remix, React Router or Hydrogen, in which `userId` is the name of the owner:
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), tower_session_layer::ConfigError> {
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::{CookieSignature, Error, ImportLayer, MemoryStore, SessionCookie, SessionLayer};
///
/// let old = SessionCookie::builder().name("__session").build()?;
/// let signature = CookieSignature::new(["the newest secret", "an older one"])?;
/// let valid_until = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
///
/// let import = ImportLayer::new(old, valid_until, move |cookie| {
///     let found = signature.remix_session(&cookie);
///     async move {
///         let Some(mut session) = found else { return Ok(None) };
///         if let Some(user) = session.get::<String>("userId")? {
///             session.sign_in(&user, SystemTime::UNIX_EPOCH)?; // at an unknown time
///         }
///         Ok::<_, Error>(Some(session))
///     }
/// });
/// # #[cfg(feature = "axum")]
/// let app: axum::Router = axum::Router::new()
///     .layer(import) // inside
///     .layer(SessionLayer::new(MemoryStore::new()));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct ImportLayer(Arc<Import>);

impl ImportLayer {
    /// Creates a layer that imports the sessions for which an old cookie stands.
    ///
    /// `cookie` describes the old cookie: its name, and the path, domain and other attributes that its removal repeats.
    /// From `valid_until` on, by the clock of the [`SessionLayer`](crate::SessionLayer), nothing is imported or
    /// removed.
    ///
    /// `importer` is called with the value as the client sent it, which may be anything. If several cookies have the
    /// name, it is called with the first four, one after the other. It returns `None` for a value that it does not
    /// accept: a forged, unknown or expired one. Several requests may call it at the same time. The log and the event
    /// hook get its errors unchanged, so an error must not contain the cookie.
    pub fn new<F, Fut, E>(cookie: SessionCookie, valid_until: SystemTime, importer: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Imported>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let importer = Box::new(move |value| -> Boxed<_> {
            let importing = importer(value);
            Box::pin(async { importing.await.map_err(StoreError::new) })
        });
        Self(Arc::new(Import { cookie, valid_until, importer }))
    }
}

impl<S> Layer<S> for ImportLayer {
    type Service = ImportService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ImportService { inner, import: Arc::clone(&self.0) }
    }
}

impl fmt::Debug for ImportLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportLayer")
            .field("cookie", &self.0.cookie)
            .field("valid_until", &self.0.valid_until)
            .finish_non_exhaustive()
    }
}
