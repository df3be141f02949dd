//! A request on its way in: finds the tokens, loads the session, calls the inner service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::clock::micros;
use crate::future::{LostOnDrop, RequestContext, ResponseFuture};
use crate::respond::{self, EmptyBody, Protocol};
use crate::session::{Answer, LazySession, Scope, Session, Shared, Stored};

/// The service that a [`SessionLayer`](crate::SessionLayer) makes around an inner service.
///
/// # Readiness
///
/// It is ready when the inner service is. If a request has to wait for the store, the readiness is given back, and a clone
/// of the inner service is asked for it again when the session is loaded. So a limit inside the layer, such as tower's
/// `ConcurrencyLimit`, counts the requests that the inner service handles, and not those that wait for the store. To limit
/// both, put the limit around the layer. If the clone is not ready but fails, the response is its error.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{Layer as _, Service as _, service_fn};
/// use tower_session_layer::{MemoryStore, ResponseFuture, SessionLayer, SessionService};
///
/// let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("hello")) });
/// let mut service: SessionService<_> = SessionLayer::new(MemoryStore::new()).layer(inner);
/// let answering: ResponseFuture<_, _> = service.call(Request::new(()));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// assert_eq!(*runtime.block_on(answering).unwrap().body(), "hello");
/// ```
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> SessionService<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: EmptyBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = &self.shared;
        let protocol = Protocol::of(&request);
        let outer = Scope::take(request.extensions_mut());
        if outer.as_ref().is_some_and(|outer| outer.find(shared.cookie.name()).is_some()) {
            tracing::error!(
                name: "session.layer.doubled",
                cookie = shared.cookie.name(),
                "two session layers use one cookie name: remove one, or give it another `cookie_name`"
            );
            return ResponseFuture::refused(respond::misconfigured(protocol));
        }
        let carrier = shared.carrier(request.headers());
        let mut candidates = shared.candidates(request.headers(), carrier);
        if candidates.is_malformed() {
            shared.events.malformed();
        }
        if shared.is_lazy {
            let lazy = LazySession::new(Arc::clone(shared), candidates, outer, carrier);
            request.extensions_mut().insert(lazy.clone());
            let lazy = LostOnDrop::new(lazy);
            return ResponseFuture::lazy(self.inner.call(request), lazy, protocol);
        }
        let (session, loaded_at) = if candidates.is_empty() {
            (Session::new(Arc::clone(shared), Stored::New, outer, carrier), 0)
        } else {
            let now = shared.clock.now();
            let loaded_at = micros(now);
            let stored = match shared.store.load(&mut candidates, now, loaded_at) {
                Answer::Ready(Ok(opened)) => opened.with(&mut candidates),
                Answer::Ready(Err(error)) => match shared.go_on_with(Err(error.into())) {
                    Ok(stored) => stored,
                    Err(_) => return ResponseFuture::refused(respond::unavailable(protocol)),
                },
                Answer::Later(loading) => {
                    // The service that was polled ready is dropped. It may hold a permit, for which requests that do
                    // not wait for the store would wait until this one is loaded.
                    let inner = self.inner.clone();
                    self.inner = inner.clone();
                    let shared = Arc::clone(shared);
                    let context = RequestContext { outer, carrier, protocol, loaded_at };
                    return ResponseFuture::load(loading, inner, request, shared, context);
                }
            };
            (Session::new(Arc::clone(shared), stored, outer, carrier), loaded_at)
        };
        request.extensions_mut().insert(session.clone());
        let session = LostOnDrop::new(session);
        // The inner service is called here: a request is large, and each function that takes it may move it.
        ResponseFuture::inner(self.inner.call(request), session, protocol, loaded_at)
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).field("store", &self.shared.store).finish()
    }
}
