//! Sessions that another library began, and goes on here.

mod future;
mod imported;
mod signature;

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::header::HeaderMap;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::future::ImportFuture;
use self::future::Removal;
pub use self::imported::Imported;
pub use self::signature::CookieSignature;
use crate::cookie::{SessionCookie, values};
use crate::error::{Error, Kind, StoreError};
use crate::event::Operation;
use crate::respond::{self, EmptyBody, Protocol};
use crate::session::{Boxed, Carrier, Op, Scope, Session, SignIn};

/// Lets people who are signed in with another library's cookie go on with a session of this one.
///
/// It stands *inside* the [`SessionLayer`](crate::SessionLayer). Where a request brings no token of that layer but a cookie of
/// the old name, a function of the program reads the old cookie, and what it finds becomes a session: stored, and under a
/// fresh token, before the inner service runs. Nothing of the old cookie is ever a token here. The response sets the new
/// cookie and removes the old one.
///
/// # What "once" means
///
/// A client that has a token of ours is not imported again, live or not, and every response to a live session removes an
/// old cookie that still comes. The cookie of [`new`](Self::new) must therefore name path and domain as the old
/// application set them: browsers ignore a removal that does not match, and whoever signs out here would be signed in
/// again by what is left. What the function does not accept stays with the client as it is.
///
/// That is the client's side. A *copy* of the old cookie can be imported for as long as the function accepts it:
///
/// - A row that the function deletes as it reads it (`DELETE … RETURNING`) is imported once. Of several requests at once, as a
///   browser sends them for one page, one finds it and the others are anonymous; if the commit then fails, it is gone.
/// - Better shorten its life as it is read, to a minute from now, and leave it there. Requests at once each begin a session,
///   with the same values; the client keeps the one whose cookie arrives last, and the others end by their timeouts. A
///   request that fails can be sent again.
/// - A cookie that holds all by itself, as Remix signs it, can be replayed until `valid_until`, at which nothing is imported any
///   more, or until its secret is taken out. Choose it as near as the last of the old sessions that matters.
///
/// # What else to know
///
/// - A session that was imported begins now: both timeouts start anew, and
///   [`not_before`](crate::SessionLayerBuilder::not_before) spares it. The time of the sign-in is what the function
///   says ([`Imported::sign_in`]).
/// - A [revocation](crate::Owners) refuses imports of its owner for a day, and the response then removes the old cookie.
///   Beyond that, what ends a person's sessions has to end the old ones too. The same happens where
///   [`max_sessions_per_owner`](crate::SessionLayerBuilder::max_sessions_per_owner) is reached by later sign-ins.
/// - Whoever can plant a cookie of the old name, as hosts beside this one can where it has no `__Host-` prefix, can have a
///   visitor without a session go on with the planter's. That was so before; it ends with `valid_until`.
/// - The old application must not set its cookie any more. Routes under the [`SessionLayer`](crate::SessionLayer) and outside
///   this layer begin sessions that nothing is imported into.
///
/// # Failure
///
/// An error of the function, one that takes longer than the layer's
/// [`store_timeout`](crate::SessionLayerBuilder::store_timeout), and a commit that fails are 503, and the old cookie stays. What is
/// larger than the store allows is not imported: the request goes on without, the cookie stays, and the event
/// [`Failed`](crate::SessionEvent::Failed) says so. Outside a [`SessionLayer`](crate::SessionLayer), or with its cookie's
/// name, a request with the old cookie is answered 500, and the log says why.
///
/// # Cost
///
/// A request without the old cookie pays a look through its `Cookie` header. A function that waits needs a tokio runtime with
/// timers. Under a [`lazy`](crate::SessionLayerBuilder::lazy) layer too, a request with the old cookie waits for the store.
///
/// # Examples
///
/// Sessions of Remix, React Router and Hydrogen, whose `userId` says who is signed in:
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
///             session.sign_in(&user, SystemTime::UNIX_EPOCH)?; // nobody knows when
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

/// Reads the value of an old cookie.
type Importer = dyn Fn(String) -> Boxed<Result<Option<Imported>, StoreError>> + Send + Sync;

struct Import {
    cookie: SessionCookie,
    valid_until: SystemTime,
    importer: Box<Importer>,
}

impl ImportLayer {
    /// Imports what a function reads out of an old cookie.
    ///
    /// `cookie` describes the old one: its name, and the path, domain and other attributes that its removal repeats. From
    /// `valid_until` on, by the clock of the [`SessionLayer`](crate::SessionLayer), nothing is imported or removed any more.
    ///
    /// `importer` is given the value as it was sent, which may be anything; where several cookies have the name, the first
    /// four, one after the other. It answers `None` for what it does not accept: forged, unknown or expired. It may run for
    /// several requests at once. Its errors reach the log and the event hook as they are, so that they must not repeat the
    /// cookie.
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

/// The service that an [`ImportLayer`] makes of another.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use std::time::SystemTime;
/// use http::{Request, Response};
/// use tower::{Layer as _, Service as _, service_fn};
/// use tower_session_layer::{ImportFuture, ImportLayer, ImportService, Imported, SessionCookie};
///
/// let nothing = |_| async { Ok::<_, Infallible>(Some(Imported::new())) };
/// let layer = ImportLayer::new(SessionCookie::builder().name("old").build()?, SystemTime::now(), nothing);
/// let mut service: ImportService<_> =
///     layer.layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("hello")) }));
/// let answering: ImportFuture<_, _> = service.call(Request::new(()));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// assert_eq!(*runtime.block_on(answering).unwrap().body(), "hello");
/// # Ok::<(), tower_session_layer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ImportService<S> {
    inner: S,
    import: Arc<Import>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ImportService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: EmptyBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ImportFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let import = &self.import;
        let values = values(import.cookie.name(), request.headers());
        if values.is_empty() {
            return ImportFuture::inner(self.inner.call(request), Removal::Never);
        }
        let protocol = Protocol::of(request.headers());
        let Some(scope) =
            Scope::of(request.extensions()).filter(|scope| scope.shared().cookie.name() != import.cookie.name())
        else {
            tracing::error!(
                name: "session.import.misplaced",
                cookie = import.cookie.name(),
                "an import has no session to go into: put the `SessionLayer` around it, with another cookie name"
            );
            return ImportFuture::refused(respond::misconfigured(protocol));
        };
        match import.course(scope, request.headers()) {
            Course::Import(scope) => {
                let values = values.into_iter().map(str::to_owned).collect();
                let importing = Box::pin(Arc::clone(import).run(scope, values));
                // The service that is ready goes into the future, and its clone stays.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ImportFuture::import(importing, ready, request, import.cookie.removal(), protocol)
            }
            Course::Pass(removal) => ImportFuture::inner(self.inner.call(request), removal),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ImportService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What becomes of a request with the old cookie.
enum Course {
    Import(Scope),
    Pass(Removal),
}

impl Import {
    fn course(&self, scope: Scope, request: &HeaderMap) -> Course {
        let (shared, carrier) = (Arc::clone(scope.shared()), scope.carrier());
        // A client that carries its token in a header keeps no cookies.
        if carrier == Carrier::Header || shared.clock.now() >= self.valid_until {
            return Course::Pass(Removal::Never);
        }
        // A token that is dead or has expired says that its session has ended; the old cookie must not bring it back.
        let has_token = !shared.candidates(request, carrier).is_empty();
        match scope {
            Scope::Loaded(session) if has_token => {
                let is_live = session.cell().lock().stored.record().is_some();
                Course::Pass(if is_live { Removal::now(&session, &self.cookie) } else { Removal::Never })
            }
            Scope::Lazy(lazy) if has_token => Course::Pass(Removal::if_live(lazy, &self.cookie)),
            scope => Course::Import(scope),
        }
    }

    /// Returns whether the old cookie has done its duty.
    async fn run(self: Arc<Self>, scope: Scope, values: Vec<String>) -> Result<bool, Error> {
        let session = match scope {
            Scope::Loaded(session) => session,
            Scope::Lazy(lazy) => lazy.load().await?,
        };
        let shared = &session.cell().shared;
        for value in values {
            let imported = within(shared.store_timeout, (self.importer)(value)).await;
            if let Some(imported) = imported.inspect_err(|error| shared.events.failed(Operation::Import, error))? {
                return self.begin(&session, imported).await;
            }
        }
        Ok(false)
    }

    /// Makes the session durable before anybody sees it, whatever the handler will answer.
    async fn begin(&self, session: &Session, imported: Imported) -> Result<bool, Error> {
        let shared = &session.cell().shared;
        if let Err(error) = fill(session, imported) {
            shared.events.failed(Operation::Import, &error);
            return if error.is_too_large() { Ok(false) } else { Err(error) };
        }
        let cookie = self.cookie.name();
        match session.commit().await {
            Ok(()) => shared.events.imported(cookie),
            Err(error) if error.is_gone() => tracing::info!(
                name: "session.import.refused",
                cookie, "an import was refused: its owner was revoked"
            ),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// Puts all that was imported into a session, or nothing.
fn fill(session: &Session, imported: Imported) -> Result<(), Error> {
    let shared = &session.cell().shared;
    let (entries, flash, owner) = imported.into_parts();
    let mut ops: Vec<_> = entries.into_iter().map(Op::Insert).chain(flash.into_iter().map(Op::Flash)).collect();
    if let Some((owner, signed_in)) = owner {
        let (time, handle) = (shared.sign_in_time(), shared.random.handle()?);
        // Zero is who never signed in.
        // A time to come is a mistake, as milliseconds taken for seconds are: it makes no recent sign-in.
        let signed_in = if signed_in > time { 1 } else { signed_in.max(1) };
        ops.push(Op::SignIn(SignIn { owner, time, signed_in, handle, begins_anew: false }));
    }
    let mut state = session.cell().lock();
    let before = state.work.clone();
    let work = state.work_mut()?;
    let filled = ops.into_iter().try_for_each(|op| work.apply(op, shared.max_record_len));
    if filled.is_err() {
        state.work = before;
    }
    filled
}

/// Waits for so long at most. What is ready at once needs no timer.
async fn within<T>(limit: Duration, mut asked: Boxed<Result<T, StoreError>>) -> Result<T, Error> {
    let answer = match poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await {
        Poll::Ready(answer) => answer,
        Poll::Pending => tokio::time::timeout(limit, asked).await.map_err(|_| Kind::TimedOut(limit))?,
    };
    Ok(answer?)
}
