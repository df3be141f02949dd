//! Many concurrent clients, each with its own session.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{Request, Response};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_session_layer::{Session, SessionLayer};

/// The number of concurrent requests.
pub const CLIENTS: usize = 64;
/// The values of a new session beside [`COUNT`].
pub const TEXTS: [(&str, &str); 2] = [("user", "ada"), ("countryCode", "US")];
/// The key that a write increments.
pub const COUNT: &str = "count";

/// Returns the runtime of all measurements, with two workers.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A service for many concurrent clients.
pub trait App:
    Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> App for S where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// A session layer and its store.
pub trait System {
    /// Serves a handler that fills a new session with three small values.
    fn fill(&self) -> impl App;
    /// Serves a handler that reads one of these values.
    fn load(&self) -> impl App;
    /// Serves a handler that reads [`COUNT`], adds one to it, and answers with [`Counted`].
    fn write(&self) -> impl App;
}

/// The new value of [`COUNT`], in the extensions of a response.
#[derive(Debug, Clone, Copy)]
pub struct Counted(pub u64);

impl Counted {
    /// Makes the response of the handler that has counted.
    pub fn answer(self) -> Response<()> {
        let mut response = Response::new(());
        response.extensions_mut().insert(self);
        response
    }
}

fn session(request: &Request<()>) -> Session {
    Session::from_extensions(request.extensions()).expect("the layer is there")
}

impl System for SessionLayer {
    fn fill(&self) -> impl App {
        self.layer(service_fn(async |request: Request<()>| {
            for (key, text) in TEXTS {
                session(&request).insert(key, text).expect("room");
            }
            session(&request).insert(COUNT, 100_000).expect("room");
            Ok(Response::new(()))
        }))
    }

    fn load(&self) -> impl App {
        self.layer(service_fn(async |request: Request<()>| {
            let [(key, text), _] = TEXTS;
            assert_eq!(session(&request).get::<String>(key).expect("a string").as_deref(), Some(text));
            Ok(Response::new(()))
        }))
    }

    fn write(&self) -> impl App {
        self.layer(service_fn(async |request: Request<()>| {
            let count = session(&request).get::<u64>(COUNT).expect("a number").expect("the session is there") + 1;
            session(&request).insert(COUNT, count).expect("room");
            Ok(Counted(count).answer())
        }))
    }
}

/// Makes about `sessions` sessions and returns their cookies.
pub async fn sign_up(system: &impl System, sessions: usize) -> Vec<HeaderValue> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut app = system.fill();
        clients.spawn(async move {
            let mut cookies = Vec::new();
            for _ in 0..sessions.div_ceil(CLIENTS) {
                let response = ask(&mut app, None).await;
                let cookie = response.headers()[SET_COOKIE].to_str().expect("ASCII");
                let (pair, _) = cookie.split_once(';').expect("attributes");
                cookies.push(HeaderValue::from_str(pair).expect("a header"));
            }
            cookies
        });
    }
    clients.join_all().await.concat()
}

/// Runs one client for each cookie during `length`, with at least one request each, and returns the number of answered requests
/// a second.
///
/// # Panics
///
/// A request fails, or a write is lost.
pub async fn rate(app: impl App, cookies: &[HeaderValue], length: Duration) -> f64 {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for cookie in cookies {
        let (mut app, cookie) = (app.clone(), cookie.clone());
        clients.spawn(async move {
            let mut answered = 0_u32;
            let mut before: Option<u64> = None;
            loop {
                let response = ask(&mut app, Some(&cookie)).await;
                if let Some(&Counted(count)) = response.extensions().get() {
                    assert!(before.is_none_or(|before| before + 1 == count), "{count} after {before:?}");
                    before = Some(count);
                }
                answered += 1;
                if start.elapsed() >= length {
                    return answered;
                }
            }
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum();
    f64::from(answered) / start.elapsed().as_secs_f64()
}

async fn ask(app: &mut impl App, cookie: Option<&HeaderValue>) -> Response<()> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.clone());
    }
    let Ok(app) = app.ready().await;
    let Ok(response) = app.call(request).await;
    assert!(response.status().is_success(), "{}", response.status());
    response
}
