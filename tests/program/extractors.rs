//! `Session` and `SessionView` as axum extractors.

use crate::support::{Backend, Browser, Fault, Log, Op, Setup};
use axum::Router;
use axum::extract::Path;
use axum::routing::{any, get, post};
use http::StatusCode;
use tower_session_layer::{Error, LazySession, OnStoreFailure, Owner, Session, SessionKey, SessionView, TypedSession};

const NAME: SessionKey<String> = SessionKey::new("name");

fn handlers() -> Router {
    Router::new()
        .route("/session", any(|_: Session| async { "session" }))
        .route("/view", any(|_: SessionView| async { "view" }))
        .route("/owner", any(|_: Owner| async { "owner" }))
        .route("/lazy", any(|_: LazySession| async { "lazy" }))
        .route("/typed", any(|_: TypedSession<()>| async { "typed" }))
        .route("/maybe-session", any(|session: Option<Session>| async move { session.is_some().to_string() }))
        .route("/maybe-view", any(|view: Option<SessionView>| async move { view.is_some().to_string() }))
        .route(
            "/set/{name}",
            post(|session: Session, Path(name): Path<String>| async move { NAME.insert(&session, &name) }),
        )
        .route("/show", get(|view: SessionView| async move { NAME.get(&view).map(Option::unwrap_or_default) }))
}

#[tokio::test]
async fn every_extractor_finds_the_session() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(handlers().layer(setup.layer.clone()));
        for (path, expected) in
            [("/session", "session"), ("/view", "view"), ("/maybe-session", "true"), ("/maybe-view", "true")]
        {
            let answer = browser.get(path).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, expected), "{backend:?} {path}");
        }
        assert_eq!(browser.get("/show").await.body, "", "{backend:?}");
        browser.post("/set/ada").await;
        assert_eq!(browser.get("/show").await.body, "ada", "{backend:?}");
    }
}

#[tokio::test]
async fn owner_is_who_signed_in_and_nobody_is_401_but_a_store_that_fails_never_is() {
    let handlers = || {
        Router::new()
            .route("/mine", get(|owner: Owner| async move { owner.to_uppercase() }))
            .route(
                "/anybody",
                get(|owner: Option<Owner>| async move { owner.map_or("nobody".into(), |owner| owner.to_string()) }),
            )
            .route("/in", post(|session: Session| async move { session.sign_in("ada") }))
    };
    for is_lazy in [false, true] {
        for what in [OnStoreFailure::Refuse, OnStoreFailure::Continue] {
            let setup = Setup::with(Backend::Remote, |builder| {
                let builder = builder.on_store_failure(what);
                if is_lazy { builder.lazy() } else { builder }
            });
            let mut browser = Browser::new(handlers().layer(setup.layer.clone()));
            let refused = browser.get("/mine").await;
            assert_eq!((refused.status, refused.body.as_str()), (StatusCode::UNAUTHORIZED, ""), "{is_lazy} {what:?}");
            assert_eq!(
                (&refused.headers["vary"], &refused.headers["cache-control"]),
                (&"Cookie".parse().unwrap(), &"no-store".parse().unwrap())
            );
            assert_eq!(browser.get("/anybody").await.body, "nobody");
            browser.post("/in").await;
            assert_eq!(browser.get("/mine").await.body, "ADA");
            assert_eq!(browser.get("/anybody").await.body, "ada");
            setup.store.fault(Op::Load, Fault::Fail, 2);
            for path in ["/mine", "/anybody"] {
                assert_eq!(
                    browser.get(path).await.status,
                    StatusCode::SERVICE_UNAVAILABLE,
                    "{is_lazy} {what:?} {path}"
                );
            }
            assert_eq!(browser.get("/mine").await.body, "ADA");
        }
    }
}

#[tokio::test]
async fn without_a_layer_it_is_500_and_the_log_says_what_to_add() {
    let log = Log::capture();
    let mut browser = Browser::new(handlers());
    for path in ["/session", "/view", "/owner", "/lazy", "/typed"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, ""), "{path}");
        let text = log.take();
        assert!(text.contains("ERROR") && text.contains(".layer(SessionLayer::new(store))"), "{path}: {text}");
        assert_eq!(text.lines().count(), 1, "{path}: {text}");
    }
    for path in ["/maybe-session", "/maybe-view"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "false"), "{path}");
        assert_eq!(log.take(), "", "{path}");
    }
}

#[tokio::test]
async fn a_route_outside_the_layer_has_no_session_and_asks_no_store() {
    let setup = Setup::new(Backend::Memory);
    let outside =
        Router::new().route("/outside", get(|session: Option<Session>| async move { session.is_none().to_string() }));
    let mut browser = Browser::new(handlers().layer(setup.layer.clone()).merge(outside));
    browser.post("/set/ada").await;
    setup.store.forget();
    assert_eq!(browser.get("/outside").await.body, "true");
    assert_eq!(setup.store.calls(Op::Load), 0);
}

#[tokio::test]
async fn nested_routers_share_the_session_of_the_layer_around_them() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let app = Router::new()
            .nest("/api", Router::new().nest("/v1", handlers()))
            .merge(handlers())
            .fallback(
                |session: Session| async move { NAME.get(&session).map(|name| format!("lost: {}", name.unwrap())) },
            )
            .layer(setup.layer.clone());
        let mut browser = Browser::new(app);
        browser.post("/api/v1/set/ada").await;
        assert_eq!(browser.get("/show").await.body, "ada", "{backend:?}");
        assert_eq!(browser.get("/api/v1/show").await.body, "ada", "{backend:?}");
        assert_eq!(browser.get("/nowhere").await.body, "lost: ada", "{backend:?}");
    }
}

#[tokio::test]
async fn a_layer_around_one_route_serves_that_route() {
    let setup = Setup::new(Backend::Memory);
    let there = get(|session: Option<Session>| async move { session.is_some().to_string() });
    let app = Router::new().route("/in", there.clone().layer(setup.layer.clone())).route("/out", there);
    let mut browser = Browser::new(app);
    assert_eq!(browser.get("/in").await.body, "true");
    assert_eq!(browser.get("/out").await.body, "false");
}

#[tokio::test]
async fn a_view_is_unchanged_by_later_writes() {
    let check = |session: Session, view: SessionView| async move {
        let created = view.created_at();
        session.insert("name", "bob")?;
        session.insert("more", 1)?;
        session.sign_in("bob")?;
        let later = session.view();
        session.commit().await?;
        session.clear()?;
        assert_eq!((view.get::<String>("name")?.as_deref(), view.owner(), view.len()), (Some("ada"), None, 1));
        assert_eq!((view.keys(), view.contains("more"), view.is_empty()), (vec!["name".into()], false, false));
        assert_eq!((view.is_new(), view.created_at()), (false, created));
        assert_eq!(view.clone().get::<String>("name")?.as_deref(), Some("ada"));
        assert_eq!((later.get::<String>("name")?.as_deref(), later.owner().as_deref()), (Some("bob"), Some("bob")));
        assert_eq!((later.len(), session.len()), (2, 0));
        Ok::<_, Error>("checked")
    };
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let app = handlers().route("/check", post(check)).layer(setup.layer.clone());
        let mut browser = Browser::new(app);
        browser.post("/set/ada").await;
        assert_eq!(browser.post("/check").await.body, "checked", "{backend:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_session_is_a_response_without_details() {
    let text = |session: Session| async move {
        session.insert("name", "ada")?;
        session.get::<u32>("name").map(|_| ())
    };
    let large = |session: Session| async move { session.insert("a", "x".repeat(2_000_000)) };
    let setup = Setup::new(Backend::Memory);
    let app = Router::new().route("/text", get(text)).route("/large", get(large)).layer(setup.layer.clone());
    let mut browser = Browser::new(app);
    for (path, status) in [("/text", StatusCode::INTERNAL_SERVER_ERROR), ("/large", StatusCode::PAYLOAD_TOO_LARGE)] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.set_cookie()), (status, "", None), "{path}");
    }
}
