//! Requests that do nothing cost nothing, and the life of a session from first value to last (promises 1–3, 13).

use crate::support::{Backend, Browser, Op, Setup};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tower_session_layer::{Error, Session};

fn app(setup: &Setup) -> Router {
    Router::new()
        .route("/", get(|| async { "nothing" }))
        .route("/extract", get(|_: Session| async { "extracted" }))
        .route("/get/{key}", get(read))
        .route("/set/{key}/{value}", post(write))
        .route(
            "/remove/{key}",
            post(|session: Session, Path(key): Path<String>| async move { session.remove(&key).map(|_| ()) }),
        )
        .route("/many", post(many))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .layer(setup.layer.clone())
}

async fn read(session: Session, Path(key): Path<String>) -> Result<String, Error> {
    Ok(session.get::<Value>(&key)?.map_or("none".into(), |value| value.to_string()))
}

async fn write(session: Session, Path((key, value)): Path<(String, String)>) -> Result<(), Error> {
    session.insert(&key, value)
}

async fn many(session: Session) -> Result<(), Error> {
    for number in 0..20 {
        session.insert(&format!("key{number}"), json!({ "number": number }))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_anonymous_requests_leave_nothing() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let browser = Browser::new(app(&setup));
        for path in ["/", "/extract", "/get/country"].into_iter().cycle().take(1_000) {
            let answer = browser.send_without_keeping("GET", path, "").await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::OK, None), "{backend:?} {path}");
        }
        assert_eq!(
            (setup.store.sessions().await, setup.store.writes(), setup.store.calls(Op::Load)),
            (0, 0, 0),
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn reading_writes_nothing_and_costs_one_load() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        browser.post("/set/country/US").await;
        setup.store.forget();
        let answer = browser.get("/get/country").await;
        assert_eq!((answer.body.as_str(), answer.set_cookie()), ("\"US\"", None), "{backend:?}");
        assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (1, 0), "{backend:?}");
    }
}

#[tokio::test]
async fn an_equal_value_is_no_change() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        browser.post("/set/country/US").await;
        setup.store.forget();
        let answer = browser.post("/set/country/US").await;
        assert_eq!((answer.set_cookie(), setup.store.writes()), (None, 0), "{backend:?}");
        browser.post("/set/country/DE").await;
        assert_eq!(setup.store.writes(), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn all_changes_of_a_request_are_one_write() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        let answer = browser.post("/many").await;
        assert!(answer.set_cookie().is_some());
        assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (0, 1), "{backend:?}");
        if backend != Backend::Cookie {
            assert_eq!(setup.store.sessions().await, 1, "{backend:?}");
        }
        assert_eq!(browser.get("/get/key19").await.body, r#"{"number":19}"#);
    }
}

#[tokio::test]
async fn an_emptied_session_is_removed_cookie_and_record() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(app(&setup));
        browser.post("/set/country/US").await;
        let token = browser.token().unwrap();
        setup.store.forget();
        let answer = browser.post("/remove/country").await;
        assert!(answer.removes_cookie(), "{backend:?}");
        assert_eq!((setup.store.writes(), browser.token()), (1, None), "{backend:?}");
        if backend != Backend::Cookie {
            assert_eq!(browser.with_token(&token).get("/get/country").await.body, "none", "{backend:?}");
        }
    }
}
