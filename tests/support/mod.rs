//! What the tests share: every store behind one type, faults on demand, and a browser that keeps cookies.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::pedantic,
    reason = "each test file uses a part of this"
)]

pub mod direct;
pub mod dump;
pub mod key_value;
pub mod log;
pub mod record;
pub mod store;
pub mod two_cookies;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_session_layer::store::Loaded;
use tower_session_layer::store::Record;
use tower_session_layer::{
    Clock as _, CookieKey, ManualClock, Session, SessionCookie, SessionLayer, SessionLayerBuilder, SessionStore as _,
    SessionToken, TokenScope,
};

pub use self::log::Log;
pub use self::store::{Backend, Fault, Op, TestStore};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store, a clock and a layer of them, with `sid` as the cookie's name so that nothing else needs to know it.
pub struct Setup {
    pub store: TestStore,
    pub clock: ManualClock,
    pub layer: SessionLayer,
}

impl Setup {
    pub fn new(backend: Backend) -> Self {
        Self::with(backend, |builder| builder)
    }

    pub fn with(
        backend: Backend,
        options: impl FnOnce(SessionLayerBuilder<TestStore>) -> SessionLayerBuilder<TestStore>,
    ) -> Self {
        let store = TestStore::new(backend);
        Self::on(store, options)
    }

    pub fn on(
        store: TestStore,
        options: impl FnOnce(SessionLayerBuilder<TestStore>) -> SessionLayerBuilder<TestStore>,
    ) -> Self {
        let clock = ManualClock::default();
        let builder = SessionLayer::builder(store.clone()).clock(clock.clone()).cookie_name("sid");
        let layer = options(builder).build().unwrap();
        Self { store, clock, layer }
    }

    /// What the store holds for a browser's token, without a request.
    pub async fn record(&self, browser: &Browser) -> Option<Record> {
        let mut store = self.store.clone();
        store.bind(&SessionCookie::builder().name("sid").build().unwrap());
        let token = SessionToken::parse(browser.token()?.as_bytes(), store.token_shape(), scope())?;
        match store.load(&token, self.clock.now()).await.unwrap() {
            Loaded::Live(record) => Some((*record).clone()),
            _ => None,
        }
    }
}

/// The keys of `renew_after`.
pub fn renewal_keys() -> [CookieKey; 1] {
    [CookieKey::new(&[7; 32]).unwrap()]
}

/// The scope of the cookie that the tests' layers have.
pub fn scope() -> TokenScope {
    TokenScope::of("sid")
}

/// A client that keeps cookies as a browser does, but shows them.
#[derive(Clone)]
pub struct Browser {
    app: Router,
    pub cookies: BTreeMap<String, String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Browser {
    pub fn new(app: Router) -> Self {
        Self { app, cookies: BTreeMap::new() }
    }

    /// Sends a request and keeps the cookies of the response.
    pub async fn send(&mut self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let answer = self.send_without_keeping(method, path, body).await;
        self.keep(&answer);
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, Body::empty()).await
    }

    pub async fn post(&mut self, path: &str) -> Answer {
        self.send("POST", path, Body::empty()).await
    }

    /// Sends a request; its cookies arrive later, with [`keep`](Self::keep), or never.
    pub async fn send_without_keeping(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let request = request.header("content-type", "application/json").body(body.into()).unwrap();
        answer(self.app.clone().oneshot(request).await.unwrap()).await
    }

    pub fn keep(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((&cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The token that the browser holds.
    pub fn token(&self) -> Option<String> {
        self.cookies.get("sid").cloned()
    }

    pub fn with_token(&self, token: &str) -> Self {
        let mut other = Self::new(self.app.clone());
        other.cookies.insert("sid".into(), token.into());
        other
    }

    /// Another browser, without cookies.
    pub fn another(&self) -> Self {
        Self::new(self.app.clone())
    }
}

impl Answer {
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// The session cookie's header; panics if there are several.
    pub fn set_cookie(&self) -> Option<String> {
        let ours: Vec<_> = self.set_cookies().into_iter().filter(|cookie| cookie.starts_with("sid=")).collect();
        assert!(ours.len() <= 1, "several cookies of one name: {ours:?}");
        ours.into_iter().next()
    }

    /// Whether the response removes the session cookie.
    pub fn removes_cookie(&self) -> bool {
        self.set_cookie().is_some_and(|cookie| cookie.starts_with("sid=;") && cookie.contains("; Max-Age=0;"))
    }

    pub fn max_age(&self) -> Option<u64> {
        let cookie = self.set_cookie()?;
        let age = cookie.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
        Some(age.parse().unwrap())
    }
}

pub async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// A browser of an application that answers every request with one function of the session and the path.
pub fn serve<F, Fut, R>(setup: &Setup, handle: F) -> Browser
where
    F: Fn(Session, String) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoResponse + 'static,
{
    let route = move |session: Session, uri: Uri| handle(session, uri.path().to_owned());
    Browser::new(Router::new().fallback(route).layer(setup.layer.clone()))
}

/// Runs a test again in a process of its own, and returns whether this is that process.
///
/// For what changes or hears the whole process. `test` is the test's name as the harness shows it.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "SESSION_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let again = again.args([test, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [again.stdout, again.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(again.status.success() && said[0].contains("1 passed"), "{}{}", said[0], said[1]);
    false
}

/// How many rounds a test of random or racing calls makes: so many, and `ROUNDS` times as many where that is set.
pub fn rounds(usual: usize) -> usize {
    usual * std::env::var("ROUNDS").map_or(1, |times| times.parse::<usize>().expect("ROUNDS is a number"))
}
