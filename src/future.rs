//! The response future: load, inner service, commit.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::commit::finish_at_once;
use crate::error::{Error, Kind, StoreError};
use crate::respond::{self, EmptyBody, Protocol};
use crate::session::{Answer, Boxed, Carrier, LazySession, Occasion, Scope, Session, Shared, Stored};

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the inner service has answered, nothing is committed. If it is dropped during
    /// the commit, the store holds the old record or the new one, and a `destroy` is carried out in any case.
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S::Future, Waiting<S, ReqBody>, Result<S::Response, S::Error>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, W, R> {
        // The store loads the session; the inner service and the request wait.
        Load { loading: Boxed<Result<Stored, Error>>, waiting: Option<Box<W>> },
        // The inner service runs, with the session in the request's extensions.
        Inner { #[pin] running: F, session: LostOnDrop<Session>, protocol: Protocol, loaded_at: u64 },
        // The inner service runs, and the session is loaded only when a handler asks for it.
        Lazy { #[pin] running: F, session: LostOnDrop<LazySession>, protocol: Protocol },
        // The store takes the request's changes; the inner service's answer waits.
        Commit { committing: Boxed<Result<(), Error>>, answer: Option<R>, session: LostOnDrop<Session>, protocol: Protocol },
        // The layer itself answers.
        Refused { answer: Option<R> },
    }
}

/// A request's session, held until the response is decided.
///
/// If it is dropped earlier, because the client went away or the handler panicked, it tells the session that no cookie
/// will reach the client.
pub(crate) struct LostOnDrop<T: Abandon> {
    session: T,
    is_answered: bool,
}

/// A session, loaded or not.
pub(crate) trait Abandon {
    /// Ends a request whose response will never be sent.
    fn abandon(&self);
}

impl Abandon for Session {
    #[inline]
    fn abandon(&self) {
        self.cell().abandon();
    }
}

impl Abandon for LazySession {
    fn abandon(&self) {
        self.abandon();
    }
}

impl<T: Abandon> LostOnDrop<T> {
    #[inline]
    pub(crate) fn new(session: T) -> Self {
        Self { session, is_answered: false }
    }
}

impl<T: Abandon> Drop for LostOnDrop<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_answered {
            self.session.abandon();
        }
    }
}

/// The facts about a request that its response needs once the session is loaded.
pub(crate) struct RequestContext {
    pub(crate) outer: Option<Scope>,
    pub(crate) carrier: Carrier,
    pub(crate) protocol: Protocol,
    pub(crate) loaded_at: u64,
}

/// A service and its request, which wait for the session.
struct Waiting<S, ReqBody> {
    service: S,
    request: Request<ReqBody>,
    shared: Arc<Shared>,
    context: RequestContext,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    #[inline]
    pub(crate) fn refused(response: S::Response) -> Self {
        Self { state: State::Refused { answer: Some(Ok(response)) } }
    }

    /// Waits for the inner service, which has been called.
    #[inline]
    pub(crate) fn inner(running: S::Future, session: LostOnDrop<Session>, protocol: Protocol, loaded_at: u64) -> Self {
        Self { state: State::Inner { running, session, protocol, loaded_at } }
    }

    pub(crate) fn lazy(running: S::Future, session: LostOnDrop<LazySession>, protocol: Protocol) -> Self {
        Self { state: State::Lazy { running, session, protocol } }
    }

    pub(crate) fn load(
        loading: Boxed<Result<Stored, StoreError>>,
        service: S,
        request: Request<ReqBody>,
        shared: Arc<Shared>,
        context: RequestContext,
    ) -> Self {
        let timeout = shared.store_timeout;
        let loading = Box::pin(async move {
            let loaded = tokio::time::timeout(timeout, loading).await.map_err(|_| Kind::TimedOut(timeout))?;
            Ok(loaded?)
        });
        let waiting = Waiting { service, request, shared, context };
        Self { state: State::Load { loading, waiting: Some(Box::new(waiting)) } }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: EmptyBody,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Load { loading, waiting } => {
                    let loaded = ready!(loading.as_mut().poll(cx));
                    let Waiting { mut service, mut request, shared, context } =
                        *waiting.take().expect("polled after completion");
                    let RequestContext { outer, carrier, protocol, loaded_at } = context;
                    match shared.go_on_with(loaded) {
                        Ok(stored) => {
                            let session = Session::new(shared, stored, outer, carrier);
                            request.extensions_mut().insert(session.clone());
                            let session = LostOnDrop::new(session);
                            State::Inner { running: service.call(request), session, protocol, loaded_at }
                        }
                        Err(_) => State::Refused { answer: Some(Ok(respond::unavailable(protocol))) },
                    }
                }
                StateProj::Inner { running, session, protocol, loaded_at } => {
                    let mut answer = ready!(running.poll(cx));
                    let Some(committing) = commit(&mut answer, session, *protocol, *loaded_at) else {
                        return Poll::Ready(answer);
                    };
                    let next = LostOnDrop::new(session.session.clone());
                    session.is_answered = true;
                    State::Commit { committing, answer: Some(answer), session: next, protocol: *protocol }
                }
                StateProj::Lazy { running, session, protocol } => {
                    let mut answer = ready!(running.poll(cx));
                    session.is_answered = true;
                    let Some((session, loaded_at)) = session.session.end() else { return Poll::Ready(answer) };
                    let mut session = LostOnDrop::new(session);
                    let Some(committing) = commit(&mut answer, &mut session, *protocol, loaded_at) else {
                        return Poll::Ready(answer);
                    };
                    State::Commit { committing, answer: Some(answer), session, protocol: *protocol }
                }
                StateProj::Commit { committing, answer, session, protocol } => {
                    let committed = ready!(committing.as_mut().poll(cx));
                    let mut answer = answer.take().expect("polled after completion");
                    conclude(&mut answer, session, *protocol, committed);
                    return Poll::Ready(answer);
                }
                StateProj::Refused { answer } => return Poll::Ready(answer.take().expect("polled after completion")),
            };
            state.set(next);
        }
    }
}

/// Commits the request's changes, and returns the future that the answer has to wait for, if any.
#[inline]
fn commit<B: EmptyBody, E>(
    answer: &mut Result<Response<B>, E>,
    session: &mut LostOnDrop<Session>,
    protocol: Protocol,
    loaded_at: u64,
) -> Option<Boxed<Result<(), Error>>> {
    if let Ok(response) = answer
        && let Some(outgoing) = finish_at_once(&mut session.session, loaded_at)
    {
        respond::write(response, &session.session, outgoing);
        session.is_answered = true;
        return None;
    }
    let occasion = match answer {
        Ok(response) => Occasion::Response {
            is_server_error: respond::is_server_error(response),
            is_not_modified: response.status() == StatusCode::NOT_MODIFIED,
        },
        Err(_) => Occasion::Failed,
    };
    match session.session.commit_last(occasion) {
        Answer::Ready(committed) => conclude(answer, session, protocol, committed),
        Answer::Later(committing) => return Some(committing),
    }
    None
}

/// Writes the session's headers to the response. If the commit failed, an error response replaces the handler's first.
#[inline]
fn conclude<B: EmptyBody, E>(
    answer: &mut Result<Response<B>, E>,
    session: &mut LostOnDrop<Session>,
    protocol: Protocol,
    committed: Result<(), Error>,
) {
    session.is_answered = true;
    let outgoing = session.session.with_state(|_, state| state.finish());
    if let Ok(response) = answer {
        if let Err(error) = committed {
            *response = respond::failed(protocol, &error);
        }
        respond::write(response, &session.session, outgoing);
    }
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
