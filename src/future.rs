//! The response future: load, readiness, inner service, commit.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// If the future is dropped before the inner service has answered, or if the inner service panics, nothing is
    /// committed but a `destroy`. If it is dropped during the commit, the store holds the old record or the new one. A
    /// `destroy` that the handler asked for is carried out in any case. A store that waits carries it out in the
    /// background, for which the tokio runtime has to go on.
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
        // The session is loaded, and the inner service is asked whether it is ready: whatever it reserves is not held
        // during the load.
        Ready { waiting: Option<Box<W>> },
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
/// will reach the client, and carries out a `destroy` that was asked for.
pub(crate) struct LostOnDrop<T: Abandon> {
    session: T,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// A commit is under way, which finishes a `destroy` by itself.
    Committing,
    Answered,
}

/// A session, loaded or not.
pub(crate) trait Abandon {
    /// Ends a request whose response will never be sent. Returns the session if it is to be destroyed.
    fn abandon(&self) -> Option<Session>;
}

impl Abandon for Session {
    fn abandon(&self) -> Option<Session> {
        self.cell().abandon().then(|| self.clone())
    }
}

impl Abandon for LazySession {
    fn abandon(&self) -> Option<Session> {
        self.abandon()
    }
}

impl<T: Abandon> LostOnDrop<T> {
    #[inline]
    pub(crate) fn new(session: T) -> Self {
        Self { session, stage: Stage::Running }
    }

    #[cold]
    fn lose(&self) {
        if let Some(mut session) = self.session.abandon()
            && self.stage == Stage::Running
        {
            // The handler may be panicking, and a second panic, of the program's clock, would abort the process.
            let _ = catch_unwind(AssertUnwindSafe(|| session.commit_last(Occasion::Failed)));
        }
    }
}

impl<T: Abandon> Drop for LostOnDrop<T> {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Answered {
            self.lose();
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

/// A service and its request, which wait for the session and then for each other.
struct Waiting<S, ReqBody> {
    service: S,
    request: Request<ReqBody>,
    shared: Arc<Shared>,
    context: RequestContext,
    /// `New` until the session is loaded.
    stored: Stored,
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
        let waiting = Waiting { service, request, shared, context, stored: Stored::New };
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
                    let mut waiting = waiting.take().expect("polled after completion");
                    match waiting.shared.go_on_with(loaded) {
                        Ok(stored) => {
                            waiting.stored = stored;
                            State::Ready { waiting: Some(waiting) }
                        }
                        Err(_) => State::Refused { answer: Some(Ok(respond::unavailable(waiting.context.protocol))) },
                    }
                }
                StateProj::Ready { waiting } => {
                    let service = &mut waiting.as_mut().expect("polled after completion").service;
                    let is_ready = ready!(service.poll_ready(cx));
                    let Waiting { mut service, mut request, shared, context, stored } =
                        *waiting.take().expect("polled after completion");
                    if let Err(error) = is_ready {
                        return Poll::Ready(Err(error));
                    }
                    let RequestContext { outer, carrier, protocol, loaded_at } = context;
                    let session = Session::new(shared, stored, outer, carrier);
                    request.extensions_mut().insert(session.clone());
                    let session = LostOnDrop::new(session);
                    State::Inner { running: service.call(request), session, protocol, loaded_at }
                }
                StateProj::Inner { running, session, protocol, loaded_at } => {
                    let mut answer = ready!(running.poll(cx));
                    let Some(committing) = commit(&mut answer, session, *protocol, *loaded_at) else {
                        return Poll::Ready(answer);
                    };
                    let next = LostOnDrop { session: session.session.clone(), stage: Stage::Committing };
                    session.stage = Stage::Answered;
                    State::Commit { committing, answer: Some(answer), session: next, protocol: *protocol }
                }
                StateProj::Lazy { running, session, protocol } => {
                    let mut answer = ready!(running.poll(cx));
                    session.stage = Stage::Answered;
                    let Some((session, loaded_at)) = session.session.end() else { return Poll::Ready(answer) };
                    let mut session = LostOnDrop::new(session);
                    let Some(committing) = commit(&mut answer, &mut session, *protocol, loaded_at) else {
                        return Poll::Ready(answer);
                    };
                    session.stage = Stage::Committing;
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
        session.stage = Stage::Answered;
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
    session.stage = Stage::Answered;
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
