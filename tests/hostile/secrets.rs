//! What leaves the process holds no token, and no token is made without randomness (promise 6).

use crate::support::scope;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::support::{Backend, Browser, Log, Setup, is_alone};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service as _, service_fn};
use tower_session_layer::store::{Tombstone, TombstoneKind};
use tower_session_layer::{
    Error, ImportLayer, Imported, KeyPrefix, LazySession, Session, SessionCookie, SessionLayer, SessionLayerBuilder,
    SessionToken, TokenShape, TypedSession,
};

fn app(setup: &Setup) -> Router {
    Router::new()
        .route(
            "/set/{value}",
            post(|session: Session, Path(value): Path<u32>| async move { session.insert("a", value) }),
        )
        .route("/get", get(|session: Session| async move { session.get::<u32>("a").map(|value| format!("{value:?}")) }))
        .route("/renew", post(|session: Session| async move { session.renew() }))
        .route("/sign-in", post(|session: Session| async move { session.sign_in("ada") }))
        .route("/csrf", post(|session: Session| async move { session.csrf_token().map(|_| ()) }))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .layer(setup.layer.clone())
}

/// The token in every form that it could hide in: text, bytes, hexadecimal.
fn forms(token: &str) -> [Vec<u8>; 4] {
    let parsed = SessionToken::parse(token.as_bytes(), TokenShape::Random, scope()).unwrap();
    let hex = parsed.secret().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let upper = hex.to_ascii_uppercase();
    [token.as_bytes().to_vec(), parsed.secret().to_vec(), hex.into_bytes(), upper.into_bytes()]
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Names and contents of all files below a directory.
fn dump(directory: &std::path::Path, out: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        out.extend_from_slice(path.as_os_str().as_encoded_bytes());
        out.push(b'\n');
        if path.is_dir() {
            dump(&path, out);
        } else {
            out.extend(std::fs::read(&path).unwrap());
        }
    }
}

#[tokio::test]
async fn a_dump_of_the_files_holds_no_token() {
    let setup = Setup::new(Backend::File);
    let mut browser = Browser::new(app(&setup));
    let mut tokens = Vec::new();
    let mut dumped = Vec::new();
    // The tombstones of a renewal carry the successor's token, sealed.
    for path in ["/set/1", "/renew", "/sign-in", "/set/2", "/renew", "/destroy"] {
        browser.post(path).await;
        tokens.extend(browser.token());
        dump(setup.store.directory(), &mut dumped);
    }
    assert_eq!(tokens.len(), 5);
    for token in tokens {
        let key = SessionToken::parse(token.as_bytes(), TokenShape::Random, scope()).unwrap().key().hex();
        assert!(contains(&dumped, &key.as_bytes()[2..]), "the dump does not even hold the key");
        assert!(!forms(&token).iter().any(|form| contains(&dumped, form)));
    }
}

#[tokio::test]
async fn no_debug_output_holds_a_token() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let seen = Arc::new(Mutex::new(String::new()));
        let look = {
            let seen = Arc::clone(&seen);
            move |request: Request<axum::body::Body>| async move {
                let session = request.extensions().get::<Session>().unwrap();
                session.insert("a", 1)?;
                let text =
                    format!("{session:?} {:?} {:?} {:?}", session.view(), session.owners(), request.extensions());
                *seen.lock().unwrap() = text;
                Ok::<_, Error>(())
            }
        };
        let inner = Router::new().route("/look", post(look)).layer(setup.layer.clone());
        let mut browser = Browser::new(inner.merge(app(&setup)));
        browser.post("/sign-in").await;
        let token = browser.token().unwrap();
        browser.post("/look").await;
        let service = setup.layer.layer(());
        let owned = setup.layer.owners().list("ada").await.unwrap();
        let parsed = SessionToken::parse(token.as_bytes(), TokenShape::Random, scope()).unwrap();
        let text =
            format!("{} {:?} {service:?} {owned:?} {parsed:?} {:?}", seen.lock().unwrap(), setup.layer, setup.store);
        assert!(text.contains("Session"), "{backend:?}");
        assert!(!forms(&token).iter().any(|form| contains(text.as_bytes(), form)), "{backend:?} {text}");
    }
}

#[tokio::test]
async fn the_cookie_is_marked_as_sensitive() {
    let setup = Setup::new(Backend::Memory);
    let mut browser = Browser::new(app(&setup));
    let set = browser.post("/set/1").await;
    let removed = browser.post("/destroy").await;
    for answer in [set, removed] {
        assert!(answer.headers["set-cookie"].is_sensitive());
        assert!(format!("{:?}", answer.headers).contains("Sensitive"));
    }
}

/// Bytes that count up, until they are made to fail or to repeat.
#[derive(Debug, Clone)]
struct Source(Arc<Dials>);

#[derive(Debug)]
struct Dials {
    calls: AtomicUsize,
    /// How many calls succeed.
    left: AtomicUsize,
    /// How many token-long calls repeat the latest bytes.
    repeats: AtomicUsize,
    latest: Mutex<Vec<u8>>,
}

impl Source {
    fn new() -> Self {
        let (left, repeats) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        Self(Arc::new(Dials { calls: AtomicUsize::new(0), left, repeats, latest: Mutex::default() }))
    }

    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        let spend = |dial: &AtomicUsize| dial.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        spend(&self.0.left).map_err(|_| io::Error::other("made to fail"))?;
        let call = self.0.calls.fetch_add(1, SeqCst) + 1;
        out.fill(0);
        out[..8].copy_from_slice(&call.to_be_bytes());
        if out.len() == 24 {
            let mut latest = self.0.latest.lock().unwrap();
            match spend(&self.0.repeats) {
                Ok(_) => out.copy_from_slice(&latest),
                Err(_) => *latest = out.to_vec(),
            }
        }
        Ok(())
    }

    fn setup(&self, backend: Backend) -> Setup {
        let source = self.clone();
        Setup::with(backend, |builder| builder.insecure_random_source(move |out| source.fill(out)))
    }
}

#[tokio::test]
async fn without_randomness_it_is_503_no_cookie_and_nothing_stored() {
    for backend in Backend::ALL {
        for path in ["/set/1", "/sign-in", "/csrf"] {
            // However late it fails, until it is late enough for the whole request.
            for calls in 0.. {
                assert!(calls < 20, "{backend:?} {path} never succeeds");
                let source = Source::new();
                let setup = source.setup(backend);
                source.0.left.store(calls, SeqCst);
                let answer = Browser::new(app(&setup)).post(path).await;
                if answer.status == StatusCode::OK {
                    assert!(calls > 0 && answer.set_cookie().is_some(), "{backend:?} {path}");
                    break;
                }
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?} {path}");
                assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} {path}");
                assert_eq!(setup.store.sessions().await, 0, "{backend:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_renewal_without_randomness_leaves_the_old_token_alive_and_nothing_else() {
    for backend in Backend::ALL {
        for calls in 0.. {
            assert!(calls < 20, "{backend:?} never succeeds");
            let source = Source::new();
            let setup = source.setup(backend);
            let mut browser = Browser::new(app(&setup));
            browser.post("/set/1").await;
            let old = browser.clone();
            source.0.left.store(calls, SeqCst);
            let answer = browser.post("/renew").await;
            source.0.left.store(usize::MAX, SeqCst);
            if answer.status == StatusCode::OK {
                assert_ne!(browser.token(), old.token(), "{backend:?}");
                break;
            }
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?}");
            assert_eq!(answer.set_cookies(), [""; 0], "{backend:?}");
            assert_eq!(browser.get("/get").await.body, "Some(1)", "{backend:?} {calls}");
        }
    }
}

/// Two visitors, of whom the second is given the first one's token so many times before it is given its own.
async fn taken(backend: Backend, times: usize, log: &Log) {
    let source = Source::new();
    let setup = source.setup(backend);
    let mut first = Browser::new(app(&setup));
    first.post("/set/1").await;
    // Of the latest bytes of each length: those of the first session's token among them.
    source.0.repeats.store(times, SeqCst);
    let mut second = first.another();
    assert_eq!(second.post("/set/2").await.status, StatusCode::OK, "{backend:?}");
    assert!(log.text().contains("a fresh session token was taken"), "{backend:?}: {}", log.text());
    assert_ne!(first.token(), second.token(), "{backend:?}");
    assert_eq!(first.get("/get").await.body, "Some(1)", "{backend:?}");
    assert_eq!(second.get("/get").await.body, "Some(2)", "{backend:?}");
}

#[tokio::test]
async fn a_token_that_is_taken_is_minted_again_and_overwrites_nothing() {
    for backend in Backend::SERVER {
        taken(backend, 2, &Log::capture()).await;
    }
}

#[tokio::test]
async fn a_token_that_is_taken_is_told_where_only_warnings_are_heard() {
    if !is_alone("secrets::a_token_that_is_taken_is_told_where_only_warnings_are_heard") {
        return;
    }
    for backend in Backend::SERVER {
        // Once, so that the first try alone meets it.
        taken(backend, 1, &Log::capture_warnings()).await;
    }
}

#[tokio::test]
async fn a_source_that_only_repeats_itself_is_an_error_and_overwrites_nothing() {
    for backend in Backend::SERVER {
        let source = Source::new();
        let setup = source.setup(backend);
        let mut first = Browser::new(app(&setup));
        first.post("/set/1").await;
        source.0.repeats.store(usize::MAX, SeqCst);
        for path in ["/set/2", "/sign-in"] {
            let answer = first.another().post(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?} {path}");
            assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} {path}");
        }
        assert_eq!(first.get("/get").await.body, "Some(1)", "{backend:?}");
        assert_eq!(setup.store.sessions().await, 1, "{backend:?}");
    }
}

#[tokio::test]
async fn debug_names_what_it_shows() {
    let setup = Setup::new(Backend::Memory);
    let layer = setup.layer.clone();
    assert!(format!("{layer:?}").starts_with("SessionLayer"));
    assert!(format!("{:?}", layer.owners()).starts_with("Owners"));
    assert!(format!("{:?}", layer.layer(())).starts_with("SessionService"));
    assert!(format!("{:?}", tower_session_layer::SessionKey::<u32>::new("a")).contains("\"a\""));
    crate::support::direct::act(&layer, None, |session| {
        assert!(format!("{session:?}").starts_with("Session"));
        assert!(format!("{:?}", TypedSession::<()>::from(session)).starts_with("TypedSession(Session"));
        assert!(format!("{:?}", session.view()).starts_with("SessionView"));
    })
    .await;
    assert!(format!("{:?}", SessionLayer::builder(setup.store.clone())).starts_with("SessionLayerBuilder"));
    let inner = service_fn(|request: Request<()>| async move {
        let lazy = request.extensions().get::<LazySession>().unwrap();
        assert!(format!("{lazy:?}").starts_with("LazySession"));
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let cookie = SessionCookie::builder().name("old").build().unwrap();
    let nothing = |_| async { Ok::<_, Infallible>(Some(Imported::new())) };
    let import = ImportLayer::new(cookie, SystemTime::UNIX_EPOCH, nothing);
    assert!(format!("{import:?}").starts_with("ImportLayer"));
    assert!(format!("{:?}", import.layer(())).starts_with("ImportService"));
    let passing = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    assert!(format!("{:?}", import.layer(passing).call(Request::new(()))).starts_with("ImportFuture"));
    let lazy = Setup::with(Backend::Memory, SessionLayerBuilder::lazy);
    let responding = lazy.layer.layer(inner).call(Request::new(()));
    assert!(format!("{responding:?}").starts_with("ResponseFuture"));
    responding.await.unwrap();
}

#[test]
fn debug_of_what_is_stored_names_it_and_shows_no_secret() {
    let token = SessionToken::from_random([1; 24], scope());
    assert_eq!(format!("{:?}", KeyPrefix::from(token.key())), KeyPrefix::from(token.key()).to_string());
    let stone = Tombstone::new(TombstoneKind::Renewed, crate::support::MINUTE, SystemTime::UNIX_EPOCH);
    assert!(format!("{stone:?}").starts_with("Tombstone { kind: Renewed"));
}
