//! A request with an old cookie on its way in.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::{ImportFuture, Removal};
use super::process::{Course, Import};
use crate::cookie::values;
use crate::respond::{self, EmptyBody, Protocol};
use crate::session::Scope;

/// The service that an [`ImportLayer`](crate::ImportLayer) makes of another service.
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
    pub(super) inner: S,
    pub(super) import: Arc<Import>,
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
        let protocol = Protocol::of(&request);
        let Some(scope) =
            Scope::of(request.extensions()).filter(|scope| scope.shared().cookie.name() != import.cookie.name())
        else {
            tracing::error!(
                name: "session.import.misplaced",
                cookie = import.cookie.name(),
                "an import has no session to fill: put the `SessionLayer` around it, with another cookie name"
            );
            return ImportFuture::refused(respond::misconfigured(protocol));
        };
        match import.course(scope, request.headers()) {
            Course::Import(scope) => {
                let values = values.into_iter().map(str::to_owned).collect();
                let importing = Box::pin(Arc::clone(import).run(scope, values));
                // The service that was polled ready is dropped. It may hold a permit, for which other requests would
                // wait until the import is done.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                ImportFuture::import(importing, inner, request, import.cookie.removal(), protocol)
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
