//! A session that is loaded when it is first asked for (promises 23 and 29).

use std::convert::Infallible;
use std::time::Duration;

use crate::support::direct::{begin, settle, values};
use crate::support::{Answer, Backend, Browser, Fault, Op, Setup, answer};
use axum::body::Body;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{COOKIE, VARY};
use http::{Request, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{
    Error, LazySession, MemoryStore, OnStoreFailure, Session, SessionLayer, SessionLayerBuilder, SessionStore,
    SessionView,
};

/// A session made under a layer that is not lazy, and a lazy layer on the same store.
async fn lazy(backend: Backend) -> (Setup, String) {
    let eager = Setup::new(backend);
    let token = begin(&eager.layer, |session| session.insert("a", 1)).await;
    let layer = options(SessionLayer::builder(eager.store.clone()).clock(eager.clock.clone())).build().unwrap();
    eager.store.forget();
    (Setup { layer, ..eager }, token)
}

fn options<S: SessionStore>(builder: SessionLayerBuilder<S>) -> SessionLayerBuilder<S> {
    builder.cookie_name("sid").lazy()
}

async fn send<F, A>(layer: &SessionLayer, token: Option<&str>, handler: F) -> Answer
where
    F: FnOnce(LazySession) -> A + Clone + Send + 'static,
    A: Future<Output = Result<String, Error>> + Send,
{
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        let lazy = LazySession::from_extensions(request.extensions()).unwrap();
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler(lazy).await.into_response()) }
    }));
    let mut request = Request::new(Body::empty());
    if let Some(token) = token {
        request.headers_mut().insert(COOKIE, format!("sid={token}").parse().unwrap());
    }
    answer(service.oneshot(request).await.unwrap_or_else(|never| match never {})).await
}

#[tokio::test]
async fn a_request_that_never_asks_makes_no_store_call_and_shows_nothing() {
    for backend in Backend::ALL {
        let (Setup { layer, store, .. }, token) = &lazy(backend).await;
        for token in [None, Some(token.as_str())] {
            let answer = send(layer, token, |_| async { Ok("done".into()) }).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "done"), "{backend:?}");
            assert!(answer.set_cookie().is_none() && !answer.headers.contains_key(VARY), "{backend:?}");
        }
        assert!(store.order().is_empty(), "{backend:?}");
    }
}

#[tokio::test]
async fn what_asks_loads_once_and_everything_else_is_as_ever() {
    for backend in Backend::ALL {
        let (Setup { layer, store, .. }, token) = &lazy(backend).await;
        let read = send(layer, Some(token), |lazy| async move {
            assert!(lazy.loaded().is_none());
            let (one, other) = tokio::join!(lazy.load(), lazy.load());
            one?.insert("b", 2)?;
            let session = lazy.loaded().expect("it is loaded");
            Ok(format!("{:?} {:?}", session.get::<u8>("a")?, other?.get::<u8>("b")?))
        });
        let answer = read.await;
        assert_eq!(answer.body, "Some(1) Some(2)", "{backend:?}: one session");
        assert_eq!((store.calls(Op::Load), store.writes()), (1, 1), "{backend:?}");
        assert_eq!(answer.headers[VARY], "Cookie", "{backend:?}");
        let token = answer.token().unwrap_or_else(|| token.clone());
        let found = send(layer, Some(&token), |lazy| async move { Ok(format!("{:?}", lazy.load().await?.keys())) });
        assert_eq!(found.await.body, r#"["a", "b"]"#, "{backend:?}");

        store.forget();
        let begun = send(layer, None, |lazy| async move { lazy.load().await?.insert("c", 3).map(|()| String::new()) });
        let fresh = begun.await.token().expect("the session began");
        assert_eq!(store.calls(Op::Load), 0, "{backend:?}: nothing to load");
        let untouched = send(layer, Some(&fresh), |lazy| async move { lazy.load().await.map(|_| String::new()) }).await;
        assert!(
            untouched.leaves_cookie() && !untouched.headers.contains_key(VARY),
            "{backend:?}: loading is no access"
        );
        let gone =
            send(layer, Some(&fresh), |lazy| async move { lazy.load().await?.destroy().map(|()| String::new()) });
        assert!(gone.await.removes_cookie(), "{backend:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn loads_at_once_wait_no_longer_than_one() {
    const PATIENCE: Duration = Duration::from_secs(5);
    for on_failure in [OnStoreFailure::Refuse, OnStoreFailure::Continue] {
        let (Setup { store, clock, .. }, token) = &lazy(Backend::Remote).await;
        let builder = SessionLayer::builder(store.clone()).clock(clock.clone()).on_store_failure(on_failure);
        let layer = options(builder).store_timeout(PATIENCE).build().unwrap();
        store.fault(Op::Load, Fault::Hang, usize::MAX);
        let counted = store.clone();
        send(&layer, Some(token), move |lazy| async move {
            let (mut loading, began) = (JoinSet::new(), Instant::now());
            for _ in 0..20 {
                let lazy = lazy.clone();
                loading.spawn(async move { lazy.load().await });
            }
            let loaded = loading.join_all().await;
            assert_eq!((began.elapsed(), counted.calls(Op::Load)), (PATIENCE, 1), "{on_failure:?}");
            let goes_on = on_failure == OnStoreFailure::Continue;
            assert!(loaded.iter().all(|loaded| loaded.is_ok() == goes_on), "{on_failure:?}");
            if let Ok(session) = &loaded[0] {
                assert!(session.is_unavailable());
            }
            Ok(String::new())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_concerns_only_who_asks() {
    for fault in [Fault::Fail, Fault::Hang] {
        let (Setup { layer, store, .. }, token) = &lazy(Backend::Remote).await;
        store.fault(Op::Load, fault, 1);
        let other = send(layer, Some(token), |_| async { Ok("done".into()) }).await;
        assert_eq!(other.status, StatusCode::OK, "{fault:?}");
        let asking = send(layer, Some(token), |lazy| async move {
            let error = lazy.load().await.unwrap_err();
            assert!(error.is_unavailable());
            // The store is back, and so is the session: nothing is kept of the failure.
            lazy.load().await.and_then(|session| session.insert("b", 2))?;
            Err(error)
        });
        assert_eq!(asking.await.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        let found =
            send(layer, Some(token), |lazy| async move { Ok(format!("{:?}", lazy.load().await?.keys())) }).await;
        assert_eq!(found.body, r#"["a"]"#, "{fault:?}: what a 503 did is dropped");
    }

    let (Setup { store, clock, .. }, token) = &lazy(Backend::Remote).await;
    let builder = SessionLayer::builder(store.clone()).clock(clock.clone()).on_store_failure(OnStoreFailure::Continue);
    let layer = options(builder).build().unwrap();
    store.fault(Op::Load, Fault::Fail, 1);
    let answer = send(&layer, Some(token), |lazy| async move {
        let session = lazy.load().await?;
        assert!(session.insert("b", 2).unwrap_err().is_unavailable());
        Ok(session.is_unavailable().to_string())
    });
    assert_eq!(answer.await.body, "true");
}

#[tokio::test]
async fn whoever_asks_after_the_response_can_send_no_token_any_more() {
    for backend in [Backend::Memory, Backend::Remote] {
        let (Setup { layer, store, .. }, token) = &lazy(backend).await;
        let (give, kept) = tokio::sync::mpsc::unbounded_channel();
        for token in [None, Some(token.as_str())] {
            let give = give.clone();
            send(layer, token, |lazy| async move {
                give.send(lazy).unwrap();
                Ok(String::new())
            })
            .await;
        }
        let mut kept = kept;
        let (anonymous, known) = (kept.recv().await.unwrap(), kept.recv().await.unwrap());
        let session = anonymous.load().await.unwrap();
        session.insert("b", 2).unwrap();
        assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}");
        let session = known.load().await.unwrap();
        session.insert("b", 2).unwrap();
        session.commit().await.unwrap();
        session.renew().unwrap();
        assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}");
        assert_eq!(store.sessions().await, 1, "{backend:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_commits_nothing() {
    let (Setup { layer, store, .. }, token) = &lazy(Backend::Remote).await;
    let (give, kept) = tokio::sync::oneshot::channel();
    let give = std::sync::Arc::new(std::sync::Mutex::new(Some(give)));
    let request = tokio::spawn({
        let (layer, token) = (layer.clone(), token.clone());
        async move {
            send(&layer, Some(&token), |lazy| async move {
                let session = lazy.load().await?;
                session.insert("b", 2)?;
                let give = give.lock().unwrap().take();
                give.unwrap().send(session).unwrap_or_else(|_| panic!("nobody waits"));
                std::future::pending().await
            })
            .await
        }
    });
    let session = kept.await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    settle().await;
    assert_eq!(store.writes(), 0);
    session.renew().unwrap();
    assert!(session.commit().await.unwrap_err().is_response_sent());

    // The same where nobody had asked for the session before.
    let (give, kept) = tokio::sync::oneshot::channel();
    let give = std::sync::Arc::new(std::sync::Mutex::new(Some(give)));
    let request = tokio::spawn({
        let layer = layer.clone();
        async move {
            send(&layer, None, move |lazy| {
                let give = give.lock().unwrap().take();
                give.unwrap().send(lazy).unwrap_or_else(|_| panic!("nobody waits"));
                std::future::pending()
            })
            .await
        }
    });
    let lazy = kept.await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    let session = lazy.load().await.unwrap();
    session.insert("b", 2).unwrap();
    assert!(session.commit().await.unwrap_err().is_response_sent());
}

#[tokio::test]
async fn extractors_hide_it() {
    let (Setup { layer, store, .. }, token) = &lazy(Backend::Remote).await;
    let app = Router::new()
        .route("/none", get(|| async { "none" }))
        .route("/session", get(|session: Session| async move { format!("{:?}", session.get::<u8>("a")) }))
        .route("/view", get(|view: SessionView| async move { format!("{:?}", view.get::<u8>("a")) }))
        .route("/maybe", get(|view: Option<SessionView>| async move { view.is_some().to_string() }))
        .route("/lazy", get(|lazy: LazySession| async move { lazy.loaded().is_some().to_string() }))
        .route("/raw", get(|raw: Option<Extension<Session>>| async move { raw.is_some().to_string() }))
        .route("/write", post(|session: Session| async move { session.insert("b", 2) }))
        .layer(layer.clone());
    let browser = Browser::new(app).with_token(token);
    for (path, body, loads) in [
        ("/none", "none", 0),
        ("/session", "Ok(Some(1))", 1),
        ("/view", "Ok(Some(1))", 1),
        ("/maybe", "true", 1),
        ("/lazy", "false", 0),
        ("/raw", "false", 0),
    ] {
        store.forget();
        let answer = browser.send_without_keeping("GET", path, Body::empty()).await;
        assert_eq!((answer.body.as_str(), store.calls(Op::Load)), (body, loads), "{path}");
    }
    assert_eq!(browser.send_without_keeping("POST", "/write", Body::empty()).await.status, StatusCode::OK);
    let found = browser.send_without_keeping("GET", "/session", Body::empty()).await;
    assert_eq!(found.body, "Ok(Some(1))");
    store.fault(Op::Load, Fault::Fail, 3);
    for path in ["/session", "/view", "/maybe"] {
        let answer = browser.send_without_keeping("GET", path, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}

#[tokio::test]
async fn layers_of_either_kind_are_found_through_each_other() {
    let build = |name: &str, is_lazy: bool| {
        let builder = SessionLayer::builder(MemoryStore::new()).cookie_name(name);
        if is_lazy { builder.lazy() } else { builder }.build().unwrap()
    };
    for (outer_is_lazy, inner_is_lazy) in [(false, false), (false, true), (true, false), (true, true)] {
        let (outer, inner) = (build("outer", outer_is_lazy), build("inner", inner_is_lazy));
        let service = outer.layer(inner.layer(service_fn(move |request: Request<Body>| async move {
            let lazy = LazySession::from_extensions(request.extensions()).unwrap();
            let (inner, outer) = (lazy.named("inner").unwrap(), lazy.named("outer").unwrap());
            assert!(lazy.named("other").is_none());
            let session = inner.load().await.unwrap();
            assert_eq!(session.named("outer").is_some(), !outer_is_lazy, "loaded or not");
            assert_eq!(Session::from_extensions(request.extensions()).is_ok(), !inner_is_lazy);
            if inner_is_lazy {
                let error = Session::from_extensions(request.extensions()).unwrap_err();
                assert!(error.is_not_loaded() && !error.is_no_layer());
            }
            outer.load().await.unwrap().insert("where", "outer").unwrap();
            session.insert("where", "inner").unwrap();
            let found = session.named("outer").unwrap().get::<String>("where").unwrap();
            assert_eq!(found.as_deref(), Some("outer"));
            Ok::<_, Infallible>(().into_response())
        })));
        let answer = answer(service.oneshot(Request::new(Body::empty())).await.unwrap()).await;
        let cookies = answer.set_cookies();
        assert!(cookies.len() == 2 && cookies[0].starts_with("inner=") && cookies[1].starts_with("outer="));

        let twice = build("same", outer_is_lazy).layer(
            build("same", inner_is_lazy)
                .layer(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(().into_response()) })),
        );
        let refused = twice.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_panic_or_an_error_of_the_handler_commits_nothing() {
    let (Setup { layer, store, clock }, token) = &lazy(Backend::Memory).await;
    let failing = layer.layer(service_fn(|request: Request<Body>| async move {
        let session = LazySession::from_extensions(request.extensions()).unwrap().load().await.unwrap();
        session.insert("b", 2).unwrap();
        Err::<http::Response<Body>, _>("no answer")
    }));
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(COOKIE, format!("sid={token}").parse().unwrap());
    assert_eq!(failing.oneshot(request).await.unwrap_err(), "no answer");
    assert_eq!(store.writes(), 0);
    let eager = SessionLayer::builder(store.clone()).cookie_name("sid").clock(clock.clone()).build().unwrap();
    assert_eq!(values(&eager, token).await, Some(json!({ "a": 1 })));
}
