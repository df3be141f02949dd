//! Requests whose handler is a closure of the test, and requests that are held where the test wants them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use http::header::COOKIE;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_session_layer::{Error, ManualClock, MovingStore, Session, SessionLayer, SessionStore};

use super::{Answer, answer};

/// Sends a request that this closure handles.
pub fn respond<F, A, R>(
    layer: &SessionLayer,
    token: Option<&str>,
    handler: F,
) -> impl Future<Output = Response> + Send + use<F, A, R>
where
    F: FnOnce(Session) -> A + Send + 'static,
    A: Future<Output = R> + Send + 'static,
    R: IntoResponse + 'static,
{
    let handler = Arc::new(Mutex::new(Some(handler)));
    let mut service = layer.layer(service_fn(move |request: Request<Body>| {
        let session = request.extensions().get::<Session>().cloned().unwrap();
        let answering = handler.lock().unwrap().take().unwrap()(session);
        async move { Ok::<_, Infallible>(answering.await.into_response()) }
    }));
    let mut request = Request::builder();
    if let Some(token) = token {
        request = request.header(COOKIE, format!("sid={token}"));
    }
    let responding = service.call(request.body(Body::empty()).unwrap());
    async move { responding.await.unwrap_or_else(|never| match never {}) }
}

/// Sends a request that this closure handles, and reads the answer.
pub async fn send<F, A, R>(layer: &SessionLayer, token: Option<&str>, handler: F) -> Answer
where
    F: FnOnce(Session) -> A + Send + 'static,
    A: Future<Output = R> + Send + 'static,
    R: IntoResponse + 'static,
{
    answer(respond(layer, token, handler).await).await
}

/// Sends a request whose handler does one thing at once.
pub async fn act<R>(
    layer: &SessionLayer,
    token: Option<&str>,
    act: impl FnOnce(&Session) -> R + Send + 'static,
) -> Answer
where
    R: IntoResponse + Send + 'static,
{
    send(layer, token, |session| async move { act(&session) }).await
}

/// Sends a request whose handler asks for no session.
pub async fn pass(layer: &SessionLayer, token: &str) -> Answer {
    let service = layer.layer(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>("hello".into_response()) }));
    let request = Request::builder().header(COOKIE, format!("sid={token}")).body(Body::empty()).unwrap();
    answer(service.oneshot(request).await.unwrap_or_else(|never| match never {})).await
}

/// Begins a session and returns its token.
pub async fn begin(layer: &SessionLayer, start: impl FnOnce(&Session) -> Result<(), Error> + Send + 'static) -> String {
    act(layer, None, start).await.token().expect("the session was created")
}

/// What a request with this token finds: values and flash, and nothing else is changed by it.
pub async fn values(layer: &SessionLayer, token: &str) -> Option<Value> {
    let (found, heard) = oneshot::channel();
    act(layer, Some(token), move |session| {
        let view = session.view();
        let values = view.keys().into_iter().map(|key| {
            let value = session.get::<Value>(&key).unwrap().unwrap();
            (key, value)
        });
        found.send((!session.is_new()).then(|| Value::Object(values.collect::<Map<_, _>>()))).unwrap();
    })
    .await;
    heard.await.unwrap()
}

/// A request whose handler has done its work on the session, which it loaded, and has not answered yet.
pub struct Held {
    go: oneshot::Sender<()>,
    answer: JoinHandle<Answer>,
}

impl Held {
    /// Lets the handler answer and returns what came back.
    pub async fn release(self) -> Answer {
        self.go.send(()).unwrap();
        self.answer.await.unwrap()
    }
}

/// Sends a request whose handler does something and then waits to be released.
pub async fn hold<R>(layer: &SessionLayer, token: &str, act: impl FnOnce(&Session) -> R + Send + 'static) -> Held
where
    R: IntoResponse + Send + 'static,
{
    let (done, has_acted) = oneshot::channel();
    let (go, may_answer) = oneshot::channel::<()>();
    let responding = respond(layer, Some(token), |session| async move {
        let result = act(&session);
        done.send(()).unwrap();
        may_answer.await.unwrap();
        result
    });
    let answer = tokio::spawn(async move { answer(responding.await).await });
    has_acted.await.unwrap();
    Held { go, answer }
}

impl Answer {
    /// The token that the response sets.
    pub fn token(&self) -> Option<String> {
        let cookie = self.set_cookie()?;
        let (value, _) = cookie.strip_prefix("sid=")?.split_once(';')?;
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Whether the handler's answer came and leaves the cookie alone.
    pub fn leaves_cookie(&self) -> bool {
        self.status.is_success() && self.set_cookie().is_none()
    }
}

/// Signs one owner in three times under a layer that allows two sessions: the first one ends.
pub async fn no_more_than_two(store: impl SessionStore) {
    let builder = SessionLayer::builder(store).cookie_name("sid").store_timeout(super::HOUR);
    let layer = builder.max_sessions_per_owner(2).build().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(begin(&layer, |session| session.sign_in("ada")).await);
    }
    let bob = begin(&layer, |session| session.sign_in("bob")).await;
    let mut live = Vec::new();
    for token in tokens.iter().chain([&bob]) {
        let found = act(&layer, Some(token), |session| session.owner().unwrap_or_default().to_string()).await.body;
        live.push(found);
    }
    assert_eq!(live, ["", "ada", "ada", "bob"]);
    assert_eq!(layer.owners().list("ada").await.unwrap().len(), 2);
}

/// A layer on a host whose clock is ahead of the others' by this.
pub fn ahead(store: &(impl SessionStore + Clone), by: Duration) -> SessionLayer {
    let clock = ManualClock::new(SystemTime::now() + by);
    SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(super::HOUR).clock(clock).build().unwrap()
}

/// Signs one owner in so often at once, under a layer that allows five sessions.
pub async fn a_burst_leaves_five(store: impl SessionStore, times: usize) {
    let builder = SessionLayer::builder(store).cookie_name("sid").store_timeout(super::HOUR);
    let layer = builder.max_sessions_per_owner(5).build().unwrap();
    let mut sign_ins = JoinSet::new();
    for _ in 0..times {
        let layer = layer.clone();
        sign_ins.spawn(async move { act(&layer, None, |session| session.sign_in("ada")).await.token() });
    }
    let tokens: Vec<_> = sign_ins.join_all().await.into_iter().flatten().collect();
    assert_eq!(layer.owners().list("ada").await.unwrap().len(), 5);
    let mut live = 0;
    for token in &tokens {
        live += usize::from(values(&layer, token).await.is_some());
    }
    assert_eq!(live, 5, "of {}", tokens.len());
}

/// Sessions that began in the old store live on in the new one, and end there for good.
pub async fn everybody_moves(old: impl SessionStore + Clone, new: impl SessionStore + Clone) {
    let layer = |store: MovingStore<_, _>| {
        SessionLayer::builder(store).cookie_name("sid").store_timeout(super::HOUR).build().unwrap()
    };
    let before = SessionLayer::builder(old.clone()).cookie_name("sid").store_timeout(super::HOUR).build().unwrap();
    let mut tokens = Vec::new();
    for count in 0..3 {
        let start = move |session: &Session| session.sign_in("ada").and_then(|()| session.insert("cart", count));
        tokens.push(begin(&before, start).await);
    }
    let moving = layer(MovingStore::new(new.clone(), old).unwrap());
    // Each request but the last is given up a step later than the one before.
    for polls in 0..36 {
        poll_times(act(&moving, Some(&tokens[polls % 3]), |session| session.len().to_string()), polls).await;
    }
    for (count, token) in tokens.iter().enumerate() {
        assert_eq!(values(&moving, token).await, Some(serde_json::json!({ "cart": count })));
        assert!(act(&moving, Some(token), |session| session.insert("late", 1)).await.leaves_cookie());
    }
    assert_eq!(moving.owners().list("ada").await.unwrap().len(), 3);
    // The old store is done with: what is there alone would not be found.
    let after = SessionLayer::builder(new).cookie_name("sid").store_timeout(super::HOUR).build().unwrap();
    assert_eq!(values(&after, &tokens[2]).await, Some(serde_json::json!({ "cart": 2, "late": 1 })));
    assert!(act(&moving, Some(&tokens[0]), Session::destroy).await.removes_cookie());
    assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 2);
    for token in &tokens {
        assert_eq!(values(&moving, token).await, None);
        assert_eq!(values(&after, token).await, None);
    }
}

/// Polls a future so often, each time when it is woken, and drops it.
pub async fn poll_times(future: impl Future, polls: usize) {
    let (mut future, mut left) = (std::pin::pin!(future), polls);
    std::future::poll_fn(|context| {
        if left == 0 || future.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        std::task::Poll::Pending
    })
    .await;
}

/// What a future answers that needs no waiting.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// Waits for what the background does, on other threads too.
pub async fn until(holds: impl AsyncFn() -> bool) {
    for _ in 0..10_000 {
        if holds().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came");
}

/// Lets whatever runs in the background go on to its end.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
