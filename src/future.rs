//! The response future: load, inner service, commit.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::commit::{Ending, Plain, finish, finish_at_once};
use crate::error::{Error, Kind};
use crate::layer::Shared;
use crate::respond::{self, EmptyBody, Protocol};
use crate::service::{Loading, base};
use crate::session::{Carrier, LazySession, Scope, Session};
use crate::store::{Answer, Boxed};

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// # Cancel safety
    ///
    /// Dropped before the inner service has answered, it commits nothing. Dropped while it commits, it leaves the old
    /// record or the new one; a `destroy` is carried out all the same.
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
        // The store looks for the session; the inner service and the request wait.
        Load { loading: Boxed<Result<crate::session::Base, Error>>, waiting: Option<Box<W>> },
        // The inner service answers, holding the session in the request's extensions.
        Inner { #[pin] running: F, session: Answering<Session>, protocol: Protocol, loaded_at: u64 },
        // The same where the session is loaded only when it is asked for.
        Lazy { #[pin] running: F, session: Answering<LazySession>, protocol: Protocol },
        // The store takes what the request did; the answer waits.
        Commit { committing: Boxed<Result<(), Error>>, answer: Option<R>, session: Answering<Session>, protocol: Protocol },
        // The layer itself answers.
        Refused { answer: Option<R> },
    }
}

/// The session of a request that is to be answered. Dropped before that, as when the client goes away or the handler
/// panics, it lets whoever holds the session still know that no cookie will reach the client.
pub(crate) struct Answering<T: Held> {
    session: T,
    is_answered: bool,
}

/// A session, loaded or not.
pub(crate) trait Held {
    /// Ends a request whose response will never be sent.
    fn lose(&self);
}

impl Held for Session {
    #[inline]
    fn lose(&self) {
        self.inner().lose();
    }
}

impl Held for LazySession {
    fn lose(&self) {
        self.lose();
    }
}

impl<T: Held> Answering<T> {
    #[inline]
    pub(crate) fn new(session: T) -> Self {
        Self { session, is_answered: false }
    }
}

impl<T: Held> Drop for Answering<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_answered {
            self.session.lose();
        }
    }
}

/// What is known of a request whose session is being loaded.
pub(crate) struct Arrival {
    pub(crate) outer: Option<Scope>,
    pub(crate) carrier: Carrier,
    pub(crate) protocol: Protocol,
    pub(crate) loaded_at: u64,
}

/// What waits for the session.
struct Waiting<S, ReqBody> {
    service: S,
    request: Request<ReqBody>,
    shared: Arc<Shared>,
    arrival: Arrival,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    #[inline]
    pub(crate) fn refused(response: S::Response) -> Self {
        Self { state: State::Refused { answer: Some(Ok(response)) } }
    }

    /// The service has been called.
    #[inline]
    pub(crate) fn inner(running: S::Future, session: Answering<Session>, protocol: Protocol, loaded_at: u64) -> Self {
        Self { state: State::Inner { running, session, protocol, loaded_at } }
    }

    pub(crate) fn lazy(running: S::Future, session: Answering<LazySession>, protocol: Protocol) -> Self {
        Self { state: State::Lazy { running, session, protocol } }
    }

    pub(crate) fn load(
        loading: Loading,
        service: S,
        request: Request<ReqBody>,
        shared: Arc<Shared>,
        arrival: Arrival,
    ) -> Self {
        let timeout = shared.store_timeout;
        let loading = Box::pin(async move {
            let loaded = tokio::time::timeout(timeout, loading).await.map_err(|_| Kind::TimedOut(timeout))?;
            Ok(loaded?)
        });
        let waiting = Waiting { service, request, shared, arrival };
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
                    let Waiting { mut service, mut request, shared, arrival } =
                        *waiting.take().expect("polled after completion");
                    let Arrival { outer, carrier, protocol, loaded_at } = arrival;
                    match base(&shared, loaded) {
                        Ok(base) => {
                            let session = Session::new(shared, base, outer, carrier);
                            request.extensions_mut().insert(session.clone());
                            let session = Answering::new(session);
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
                    let next = Answering::new(session.session.clone());
                    session.is_answered = true;
                    State::Commit { committing, answer: Some(answer), session: next, protocol: *protocol }
                }
                StateProj::Lazy { running, session, protocol } => {
                    let mut answer = ready!(running.poll(cx));
                    session.is_answered = true;
                    let Some((session, loaded_at)) = session.session.end() else { return Poll::Ready(answer) };
                    let mut session = Answering::new(session);
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

/// Commits what the request did, and returns what the answer has to wait for.
#[inline]
fn commit<B: EmptyBody, E>(
    answer: &mut Result<Response<B>, E>,
    session: &mut Answering<Session>,
    protocol: Protocol,
    loaded_at: u64,
) -> Option<Boxed<Result<(), Error>>> {
    if let Ok(response) = answer
        && let Some(finish) = finish_at_once(&mut session.session, loaded_at)
    {
        respond::write(response, session.session.inner(), finish);
        session.is_answered = true;
        return None;
    }
    let committed = match commit_plainly(&mut session.session, answer) {
        Plain::Settled(committed) => committed,
        Plain::Open(met) => match session.session.inner().shared.store.commit(&session.session, ending(answer), met) {
            Answer::Ready(committed) => committed,
            Answer::Later(committing) => return Some(committing),
        },
    };
    conclude(answer, session, protocol, committed);
    None
}

/// Commits where nobody else holds the session any more, if it is simple.
fn commit_plainly<B, E>(session: &mut Session, answer: &Result<Response<B>, E>) -> Plain {
    match session.alone() {
        Some((shared, state)) => shared.store.commit_plainly(shared, state, ending(answer)),
        None => Plain::Open(None),
    }
}

#[inline]
fn ending<B, E>(answer: &Result<Response<B>, E>) -> Ending {
    match answer {
        Ok(response) => Ending::Response {
            is_server_error: respond::is_server_error(response),
            is_not_modified: response.status() == StatusCode::NOT_MODIFIED,
        },
        Err(_) => Ending::Failed,
    }
}

/// Puts the outcome of the commit on the response, or answers in its place.
#[inline]
fn conclude<B: EmptyBody, E>(
    answer: &mut Result<Response<B>, E>,
    session: &mut Answering<Session>,
    protocol: Protocol,
    committed: Result<(), Error>,
) {
    session.is_answered = true;
    let finish = session.session.with_state(|_, state| finish(state));
    if let Ok(response) = answer {
        if let Err(error) = committed {
            *response = respond::failed(protocol, &error);
        }
        respond::write(response, session.session.inner(), finish);
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
