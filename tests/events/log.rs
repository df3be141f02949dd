//! What the log says, and what it never says (promises 30 and 31).

use crate::support::scope;
use std::sync::{Arc, Mutex};

use crate::support::{Backend, Browser, DAY, Fault, Log, Op, Setup};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::Notify;
use tower_session_layer::{Error, Session, SessionToken, StoreKey, TokenShape};

/// What a value or a key's owner would look like in the log.
const MARKER: &str = "hunter2";

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Suit {
    Hearts,
    Spades,
}

fn app(setup: &Setup) -> Router {
    let read_wrong = |session: Session, Path(form): Path<String>| async move {
        match form.as_str() {
            "number" => drop(session.get::<u32>("secret")?),
            "suit" => match session.get::<Suit>("secret")? {
                Some(Suit::Hearts | Suit::Spades) | None => {}
            },
            "address" => drop(session.get::<std::net::IpAddr>("secret")?),
            "list" => drop(session.get::<Vec<u8>>("secret")?),
            _ => session.update("secret", |number: Option<u32>| number)?,
        }
        Ok::<_, Error>(())
    };
    Router::new()
        .route("/set", post(|session: Session| async move { session.insert("secret", MARKER) }))
        .route("/set/{n}", post(|session: Session, Path(n): Path<u32>| async move { session.insert("n", n) }))
        .route("/flash", post(|session: Session| async move { session.flash("flash", MARKER) }))
        .route("/read", get(|session: Session| async move { session.get::<String>("secret").map(|_| ()) }))
        .route("/read/{form}", get(read_wrong))
        .route("/clear", post(|session: Session| async move { session.clear() }))
        .route("/renew", post(|session: Session| async move { session.renew() }))
        .route("/sign-in", post(|session: Session| async move { session.sign_in(MARKER) }))
        .route("/csrf", post(|session: Session| async move { session.csrf_token().map(|_| ()) }))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .layer(setup.layer.clone())
}

/// The start of a token's digest, by the store's idea of a token.
fn key(token: &str, backend: Backend) -> StoreKey {
    let sealed = TokenShape::sealed(4_096, 1);
    let shape = if backend == Backend::Cookie { sealed } else { TokenShape::Random };
    SessionToken::parse(token.as_bytes(), shape, scope()).unwrap().key()
}

/// Whether a line of this level says so.
fn says(text: &str, level: &str, what: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with(level) && line.contains(what))
}

/// Whether a line of this level says so of this session.
fn says_of(text: &str, level: &str, what: &str, (token, backend): (&str, Backend)) -> bool {
    let key = format!("{:?}", key(token, backend));
    text.lines().any(|line| says(line, level, what) && line.contains(&key))
}

/// What the warning of promise 31 says.
const WARNING: &str = "after the response was committed";

#[tokio::test]
async fn every_step_leaves_an_event() {
    for backend in Backend::ALL {
        let log = Log::capture();
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        browser.with_token("malformed!").get("/read").await;
        assert!(says(&log.take(), "DEBUG", "malformed"), "{backend:?}");
        let unknown = "A".repeat(32);
        browser.with_token(&unknown).get("/read").await;
        assert!(says_of(&log.take(), "DEBUG", "unknown or expired", (&unknown, backend)), "{backend:?}");
        browser.post("/set").await;
        let first = browser.token().unwrap();
        assert!(says_of(&log.take(), "DEBUG", "a session began", (&first, backend)), "{backend:?}");
        browser.get("/read").await;
        let text = log.take();
        assert!(says_of(&text, "TRACE", "a session was loaded", (&first, backend)), "{backend:?} {text}");
        assert!(!text.contains("committed"), "{backend:?} {text}");
        browser.post("/set/1").await;
        let second = browser.token().unwrap();
        assert!(says_of(&log.take(), "DEBUG", "a session was committed", (&second, backend)), "{backend:?}");
        browser.post("/renew").await;
        let third = browser.token().unwrap();
        assert!(says_of(&log.take(), "DEBUG", "a session was committed", (&third, backend)), "{backend:?}");
        setup.clock.advance(DAY);
        browser.get("/read").await;
        let fourth = browser.token().unwrap();
        assert!(says_of(&log.take(), "DEBUG", "a session's deadline was moved", (&fourth, backend)), "{backend:?}");
        browser.post("/clear").await;
        assert!(says_of(&log.take(), "DEBUG", "left empty", (&fourth, backend)), "{backend:?}");
        browser.post("/set").await;
        let fifth = browser.token().unwrap();
        log.take();
        browser.post("/destroy").await;
        assert!(says_of(&log.take(), "DEBUG", "a session was destroyed", (&fifth, backend)), "{backend:?}");
        if backend != Backend::Cookie {
            browser.with_token(&fifth).post("/set").await;
            let text = log.take();
            assert!(says_of(&text, "DEBUG", "a token that is dead", (&fifth, backend)), "{backend:?} {text}");
            assert!(says(&text, "DEBUG", "dropped"), "{backend:?} {text}");
        }
        browser.post("/set").await;
        let sixth = browser.token().unwrap();
        setup.clock.advance(8 * DAY);
        log.take();
        browser.get("/read").await;
        assert!(says_of(&log.take(), "DEBUG", "unknown or expired", (&sixth, backend)), "{backend:?}");
    }
}

/// The call that ends a session: only the token itself names one that its client holds.
fn ends(backend: Backend) -> Op {
    if backend == Backend::Cookie { Op::Update } else { Op::Delete }
}

#[tokio::test]
async fn every_failure_leaves_a_line_that_says_why() {
    for backend in Backend::ALL {
        let log = Log::capture();
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        browser.post("/set").await;
        for (op, path, level, what) in [
            (Op::Load, "/read", "ERROR", "a session could not be loaded"),
            (Op::Update, "/set/2", "ERROR", "a session could not be committed"),
            (ends(backend), "/destroy", "ERROR", "a session could not be committed"),
            (Op::Touch, "/read", "WARN", "a session's deadline could not be moved"),
        ] {
            if op == Op::Touch {
                setup.clock.advance(DAY);
            }
            log.take();
            setup.store.fault(op, Fault::Fail, 1);
            let method = if path == "/read" { "GET" } else { "POST" };
            let answer = browser.send_without_keeping(method, path, "").await;
            let expected = if op == Op::Touch { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!(answer.status, expected, "{backend:?} {op:?}");
            let text = log.take();
            assert!(says(&text, level, what) && text.contains("made to fail"), "{backend:?} {op:?} {text}");
        }
    }
}

#[tokio::test]
async fn a_conflict_and_a_late_writer_leave_an_event() {
    for backend in Backend::SERVER {
        for (other, what) in [("/set/2", "two requests changed one session at once"), ("/destroy", "dropped")] {
            let log = Log::capture();
            let setup = Setup::new(backend);
            let (entered, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let slow = {
                let (entered, released) = (Arc::clone(&entered), Arc::clone(&released));
                move |session: Session| async move {
                    entered.notify_one();
                    released.notified().await;
                    session.insert("late", MARKER)
                }
            };
            let slow = Router::new().route("/slow", post(slow)).layer(setup.layer.clone());
            let mut browser = Browser::new(app(&setup).merge(slow));
            browser.post("/set").await;
            let token = browser.token().unwrap();
            let late = browser.clone();
            let late = tokio::spawn(async move { late.send_without_keeping("POST", "/slow", "").await });
            entered.notified().await;
            browser.post(other).await;
            log.take();
            released.notify_one();
            assert_eq!(late.await.unwrap().status, StatusCode::OK, "{backend:?} {other}");
            let text = log.take();
            assert!(says_of(&text, "DEBUG", what, (&token, backend)), "{backend:?} {other} {text}");
        }
    }
}

#[tokio::test]
async fn revoking_and_corruption_leave_an_event() {
    let log = Log::capture();
    let setup = Setup::new(Backend::File);
    let mut browser = Browser::new(app(&setup));
    browser.post("/sign-in").await;
    setup.layer.owners().revoke_all(MARKER).await.unwrap();
    assert!(says(&log.take(), "INFO", "an owner's sessions were revoked"));
    browser.post("/destroy").await;
    let mut browser = browser.another();
    browser.post("/set").await;
    let token = browser.token().unwrap();
    for file in crate::support::store::files(setup.store.directory()) {
        std::fs::write(file, "corrupt").unwrap();
    }
    log.take();
    browser.get("/read").await;
    let text = log.take();
    assert!(says_of(&text, "WARN", "cannot be read", (&token, Backend::File)), "{text}");
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    // To the layer it is a token like any that the store does not know; the key tells which warning is its reason.
    assert!(says_of(&text, "DEBUG", "unknown or expired", (&token, Backend::File)), "{text}");
}

#[tokio::test]
async fn no_event_or_span_holds_a_token_a_value_or_more_than_eight_digits_of_a_key() {
    for backend in Backend::ALL {
        let log = Log::capture_with_spans();
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        let mut tokens = Vec::new();
        for step in [
            "/set",
            "/flash",
            "/read",
            "/set/1",
            "/renew",
            "/csrf",
            "/sign-in",
            "/read/number",
            "/read/suit",
            "/read/address",
            "/read/list",
            "/read/update",
            "/destroy",
            "/set",
            "/clear",
            "/set",
            "/destroy",
        ] {
            for fault in [Some(Op::Load), Some(Op::Create), Some(Op::Update), Some(Op::Delete), None] {
                setup.store.heal();
                if let Some(op) = fault {
                    setup.store.fault(op, Fault::Fail, 1);
                }
                let method = if step.starts_with("/read") { "GET" } else { "POST" };
                browser.send(method, step, "").await;
                tokens.extend(browser.token());
            }
            // Dead and expired tokens are named in the log as well.
            for token in tokens.iter().rev().take(3) {
                browser.with_token(token).post("/set/9").await;
            }
        }
        let text = log.text();
        assert!(text.lines().count() > 100, "{backend:?}");
        assert!(text.contains("is not of type `u32`"), "{backend:?}: a failed read is in the log");
        assert!(!text.contains(MARKER), "{backend:?} {}", text.lines().find(|line| line.contains(MARKER)).unwrap());
        for token in tokens {
            assert!(!text.contains(&token), "{backend:?}");
            assert!(!text.contains(&key(&token, backend).hex()[..9]), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_write_after_the_response_that_is_never_committed_is_reported_when_the_last_handle_drops() {
    for backend in Backend::ALL {
        let log = Log::capture();
        let setup = Setup::new(backend);
        let kept = Arc::new(Mutex::new(None));
        let keep = {
            let kept = Arc::clone(&kept);
            move |session: Session| async move { *kept.lock().unwrap() = Some(session) }
        };
        let keep = Router::new().route("/keep", get(keep)).layer(setup.layer.clone());
        let mut browser = Browser::new(app(&setup).merge(keep));
        browser.post("/set").await;
        let change: fn(&Session) = |session| session.insert("late", 1).unwrap();
        let equal: fn(&Session) = |session| session.insert("secret", MARKER).unwrap();
        let read: fn(&Session) = |session| drop(session.get::<String>("secret").unwrap());
        let renew: fn(&Session) = |session| session.renew().unwrap();
        let destroy: fn(&Session) = |session| session.destroy().unwrap();
        for (what, act, is_lost) in [
            ("a change", change, true),
            ("an equal value", equal, false),
            ("a read", read, false),
            ("a renewal", renew, true),
            ("a destroy", destroy, true),
        ] {
            browser.get("/keep").await;
            let session = kept.lock().unwrap().take().unwrap();
            let clone = session.clone();
            act(&session);
            drop(session);
            assert!(!log.take().contains(WARNING), "{backend:?} {what}: a handle is left");
            drop(clone);
            assert_eq!(says(&log.take(), "WARN", WARNING), is_lost, "{backend:?} {what}");
        }
        browser.get("/keep").await;
        let session: Session = kept.lock().unwrap().take().unwrap();
        change(&session);
        let committed = session.commit().await;
        drop(session);
        // Of a sealed session the client would have to be told.
        assert_eq!(committed.is_err(), backend == Backend::Cookie, "{backend:?}");
        assert_eq!(log.take().contains(WARNING), backend == Backend::Cookie, "{backend:?}");
    }
}

#[tokio::test]
async fn a_request_that_was_dropped_reports_no_lost_write() {
    let log = Log::capture();
    let setup = Setup::new(Backend::Memory);
    let hang = |session: Session| async move {
        session.insert("a", 1).unwrap();
        std::future::pending::<()>().await;
    };
    let browser = Browser::new(Router::new().route("/", get(hang)).layer(setup.layer.clone()));
    let mut request = Box::pin(browser.send_without_keeping("GET", "/", ""));
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(request.as_mut().poll(cx).is_pending())).await);
    drop(request);
    assert_eq!(log.text(), "");
}
