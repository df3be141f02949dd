//! The response future: import, inner service, removal of the old cookie.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::SET_COOKIE;
use http::{HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::cookie::SessionCookie;
use crate::error::Error;
use crate::respond::{self, EmptyBody, Protocol};
use crate::session::{Boxed, CacheHeaders, CookieAction, LazySession, Session, Shared};

pin_project! {
    /// The response of an [`ImportService`](crate::ImportService).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped during the import leaves nothing, or a session whose token nobody has and which ends by
    /// its timeouts. The old cookie stays with the client.
    pub struct ImportFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S::Future, Waiting<S, ReqBody>, S::Response>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, W, R> {
        // The old cookie is read and the session stored, while the inner service and the request wait.
        Import { importing: Boxed<Result<bool, Error>>, waiting: Option<Box<W>> },
        // The inner service is asked whether it is ready: whatever it reserves is not held during the import.
        Ready { waiting: Option<Box<W>>, removal: Removal },
        // The inner service answers.
        Inner { #[pin] running: F, removal: Removal },
        // This layer answers.
        Refused { answer: Option<R> },
    }
}

struct Waiting<S, ReqBody> {
    service: S,
    request: Request<ReqBody>,
    removal: HeaderValue,
    protocol: Protocol,
}

/// The case in which the response removes the old cookie.
pub(super) enum Removal {
    Never,
    /// The session was imported. The session layer sets the headers for caches.
    Due(HeaderValue),
    /// The client has a live session already.
    Leftover(HeaderValue, Arc<Shared>),
    /// The client has a live session if a lazy load finds one.
    IfLive(HeaderValue, LazySession),
}

impl Removal {
    pub(super) fn now(session: &Session, cookie: &SessionCookie) -> Self {
        Self::Leftover(cookie.removal(), Arc::clone(&session.cell().shared))
    }

    pub(super) fn if_live(lazy: LazySession, cookie: &SessionCookie) -> Self {
        Self::IfLive(cookie.removal(), lazy)
    }

    fn write<B>(&self, response: &mut Response<B>) {
        let (removal, cautious) = match self {
            Self::Never => return,
            Self::Due(removal) => (removal, None),
            Self::Leftover(removal, shared) => (removal, Some(Arc::clone(shared))),
            Self::IfLive(removal, lazy) => match lazy.loaded().filter(was_live) {
                Some(session) => (removal, Some(Arc::clone(&session.cell().shared))),
                None => return,
            },
        };
        if let Some(shared) = cautious {
            if response.status() == StatusCode::NOT_MODIFIED {
                return;
            }
            if shared.cache_headers == CacheHeaders::Automatic {
                // A cache would send the removal to other clients too.
                respond::forbid_storing(response.headers_mut());
            }
        }
        response.headers_mut().append(SET_COOKIE, removal.clone());
    }
}

/// Returns whether the client came with a live session. The handler may have ended it.
fn was_live(session: &Session) -> bool {
    let state = session.cell().lock();
    state.stored.record().is_some() || matches!(state.cookie, CookieAction::Remove)
}

impl<S, ReqBody> ImportFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn refused(answer: S::Response) -> Self {
        Self { state: State::Refused { answer: Some(answer) } }
    }

    pub(super) fn inner(running: S::Future, removal: Removal) -> Self {
        Self { state: State::Inner { running, removal } }
    }

    pub(super) fn import(
        importing: Boxed<Result<bool, Error>>,
        service: S,
        request: Request<ReqBody>,
        removal: HeaderValue,
        protocol: Protocol,
    ) -> Self {
        let waiting = Some(Box::new(Waiting { service, request, removal, protocol }));
        Self { state: State::Import { importing, waiting } }
    }
}

impl<S, ReqBody, ResBody> Future for ImportFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: EmptyBody,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Import { importing, waiting } => {
                    let imported = ready!(importing.as_mut().poll(cx));
                    let waited = waiting.take().expect("polled after completion");
                    match imported {
                        Ok(has_ended) => {
                            let removal = if has_ended { Removal::Due(waited.removal.clone()) } else { Removal::Never };
                            State::Ready { waiting: Some(waited), removal }
                        }
                        Err(error) => State::Refused { answer: Some(respond::failed(waited.protocol, &error)) },
                    }
                }
                StateProj::Ready { waiting, removal } => {
                    let service = &mut waiting.as_mut().expect("polled after completion").service;
                    let is_ready = ready!(service.poll_ready(cx));
                    let Waiting { mut service, request, .. } = *waiting.take().expect("polled after completion");
                    if let Err(error) = is_ready {
                        return Poll::Ready(Err(error));
                    }
                    let removal = std::mem::replace(removal, Removal::Never);
                    State::Inner { running: service.call(request), removal }
                }
                StateProj::Inner { running, removal } => {
                    let mut answer = ready!(running.poll(cx));
                    if let Ok(response) = &mut answer {
                        removal.write(response);
                    }
                    return Poll::Ready(answer);
                }
                StateProj::Refused { answer } => {
                    return Poll::Ready(Ok(answer.take().expect("polled after completion")));
                }
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody> fmt::Debug for ImportFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportFuture").finish_non_exhaustive()
    }
}
