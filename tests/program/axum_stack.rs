//! The layer in an axum application: extractors in every place where axum runs one, middleware around them, errors, and several
//! layers (promises 14, 28 and 29).

mod streams;
use crate::support::{Backend, Browser, Fault, Op, Setup, TestStore};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tower_session_layer::{Error, LazySession, OnStoreFailure, Owner, Session, SessionLayer, SessionView};

/// Each store, under a layer of either kind.
fn setups() -> impl Iterator<Item = (Setup, String)> {
    Backend::ALL.into_iter().flat_map(|backend| {
        [false, true].map(|is_lazy| {
            let setup = Setup::with(backend, |builder| if is_lazy { builder.lazy() } else { builder });
            (setup, format!("{backend:?} {is_lazy}"))
        })
    })
}

#[derive(Clone)]
struct Shop(&'static str);

async fn come_in(session: Session, Path(name): Path<String>) -> Result<(), Error> {
    session.sign_in(&name)?;
    session.insert("cart", "mug")
}

#[expect(clippy::too_many_arguments, reason = "every extractor at once")]
async fn all(
    State(Shop(shop)): State<Shop>,
    session: Session,
    view: SessionView,
    maybe: Option<Session>,
    perhaps: Option<SessionView>,
    owner: Owner,
    anybody: Option<Owner>,
    lazy: LazySession,
) -> Result<String, Error> {
    let loaded = lazy.load().await?;
    let carts = [
        session.get::<String>("cart")?,
        view.get("cart")?,
        maybe.as_ref().map_or(Ok(None), |session| session.get("cart"))?,
        perhaps.as_ref().map_or(Ok(None), |view| view.get("cart"))?,
        loaded.get("cart")?,
    ];
    assert_eq!(anybody.as_ref(), Some(&owner));
    Ok(format!("{shop}: {owner} {}", carts.map(Option::unwrap_or_default).join(" ")))
}

fn routes() -> Router<Shop> {
    Router::new().route("/in/{name}", post(come_in)).route("/all", get(all))
}

#[tokio::test]
async fn every_extractor_works_in_nested_and_merged_routers_beside_state_at_the_cost_of_one_load() {
    for (setup, what) in setups() {
        let inner = routes().nest("/deep", routes()).with_state(Shop("inner"));
        let app = Router::new()
            .merge(routes())
            .nest("/a", routes().nest("/b", routes()))
            .nest_service("/service", inner)
            .route_layer(from_fn(async |_: Option<Owner>, request: Request, next: Next| next.run(request).await))
            .with_state(Shop("outer"))
            .layer(setup.layer.clone());
        let mut browser = Browser::new(app);
        for (prefix, shop) in
            [("", "outer"), ("/a", "outer"), ("/a/b", "outer"), ("/service", "inner"), ("/service/deep", "inner")]
        {
            let mut other = browser.another();
            assert_eq!(other.get(&format!("{prefix}/all")).await.status, StatusCode::UNAUTHORIZED, "{what} {prefix}");
            browser.post(&format!("{prefix}/in/ada")).await;
            setup.store.forget();
            let answer = browser.get(&format!("{prefix}/all")).await;
            assert_eq!(answer.body, format!("{shop}: ada mug mug mug mug mug"), "{what} {prefix}");
            assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (1, 0), "{what} {prefix}");
        }
    }
}

#[tokio::test]
async fn a_guard_by_route_layer_lets_in_whoever_is_signed_in() {
    for (setup, what) in setups() {
        let guard = from_fn(async |_: Owner, request: Request, next: Next| next.run(request).await);
        let guarded = Router::new().route("/mine", get(async || "mine")).route_layer(guard);
        let cart = async |session: Option<Session>| session.unwrap().get::<String>("cart").map(Option::unwrap);
        let open = Router::new().route("/in/{name}", post(come_in)).route("/cart", get(cart));
        let mut browser = Browser::new(Router::new().merge(open).nest("/me", guarded).layer(setup.layer.clone()));
        assert_eq!(browser.get("/me/mine").await.status, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!(browser.get("/me/nothing").await.status, StatusCode::NOT_FOUND, "{what}: not the guard's");
        browser.post("/in/ada").await;
        assert_eq!(browser.get("/me/mine").await.body, "mine", "{what}");
        assert_eq!(browser.get("/cart").await.body, "mug", "{what}: an option loads the session too");
    }
}

#[tokio::test]
async fn around_routes_alone_it_loads_for_those_that_match() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let fallback = async |session: Option<Session>| (StatusCode::NOT_FOUND, session.is_some().to_string());
        let app = Router::new().route("/in/{name}", post(come_in)).route_layer(setup.layer.clone()).fallback(fallback);
        let mut browser = Browser::new(app);
        browser.post("/in/ada").await;
        setup.store.forget();
        let answer = browser.get("/nowhere").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "false"), "{backend:?}");
        assert_eq!(setup.store.calls(Op::Load), 0, "{backend:?}");
    }
}

/// Writes before the handler, reads what it wrote, and writes once more.
async fn around(session: Session, request: Request, next: Next) -> Result<Response, Error> {
    session.insert("before", 1)?;
    let mut response = next.run(request).await;
    let seen = session.get::<u32>("handler")?;
    session.insert("after", seen)?;
    if let Some(status) = response.headers_mut().remove("x-status") {
        *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    }
    Ok(response)
}

/// What [`around`] and the handler under it have written.
async fn written(view: SessionView) -> Result<String, Error> {
    let [before, handler, after] = ["before", "handler", "after"].map(|key| view.get::<u32>(key));
    Ok(format!("{} {} {}", before?.unwrap_or(0), handler?.unwrap_or(0), after?.unwrap_or(0)))
}

#[tokio::test]
async fn middleware_shares_the_handlers_session_on_both_sides_of_it_and_all_is_one_write() {
    for (setup, what) in setups() {
        let handler = async |session: Session| {
            let before: Option<u32> = session.get("before")?;
            session.insert("handler", before.map(|before| before + 1))
        };
        let outside = async |session: Option<Session>, request: Request, next: Next| {
            let (is_inside, response) = (session.is_some(), next.run(request).await);
            ([("x-inside", is_inside.to_string())], response).into_response()
        };
        let app = Router::new().route("/", post(handler)).layer(from_fn(around)).route("/", get(written));
        let app = app.layer(setup.layer.clone()).layer(from_fn(outside));
        let mut browser = Browser::new(app);
        let answer = browser.post("/").await;
        assert_eq!((answer.status, &answer.headers["x-inside"]), (StatusCode::OK, &"false".parse().unwrap()), "{what}");
        assert_eq!(setup.store.writes(), 1, "{what}");
        assert_eq!(browser.get("/").await.body, "1 2 2", "{what}");
    }
}

#[tokio::test]
async fn the_status_that_leaves_the_layer_decides_whatever_the_handlers_was() {
    for (setup, what) in setups() {
        let spoil = async |session: Session| {
            session.insert("handler", 2)?;
            Ok::<_, Error>([("x-status", "500")])
        };
        let mend = async |session: Session| {
            session.insert("handler", 2)?;
            Ok::<_, Error>((StatusCode::INTERNAL_SERVER_ERROR, [("x-status", "200")]))
        };
        let app = Router::new().route("/spoil", post(spoil)).route("/mend", post(mend)).layer(from_fn(around));
        let mut browser = Browser::new(app.route("/", get(written)).layer(setup.layer.clone()));
        assert_eq!(browser.post("/spoil").await.status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
        assert_eq!((browser.token(), setup.store.writes()), (None, 0), "{what}");
        assert_eq!(browser.post("/mend").await.status, StatusCode::OK, "{what}");
        assert_eq!(browser.get("/").await.body, "1 2 2", "{what}");
    }
}

/// Does one thing that a session or its store refuses, after something that it takes.
async fn refused(session: Session, Path(what): Path<String>) -> Result<(), Error> {
    session.insert("first", "text")?;
    match what.as_str() {
        "decode" => _ = session.get::<u32>("first")?,
        "large" => session.insert("large", "x".repeat(2_000_000))?,
        "unsupported" => _ = session.owners().list("ada").await?,
        _ => {}
    }
    Ok(())
}

#[tokio::test]
async fn a_question_mark_on_an_error_of_the_session_answers_with_its_status() {
    let lost = async |session: Session| {
        session.insert("first", "text")?;
        Ok::<_, Error>((StatusCode::NOT_FOUND, "lost"))
    };
    for (what, status, is_kept) in [
        ("decode", StatusCode::INTERNAL_SERVER_ERROR, false),
        ("large", StatusCode::PAYLOAD_TOO_LARGE, true),
        ("unsupported", StatusCode::NOT_IMPLEMENTED, false),
        ("nowhere/at/all", StatusCode::NOT_FOUND, true),
    ] {
        let setup = Setup::new(Backend::Cookie);
        let app = Router::new().route("/{what}", post(refused)).fallback(lost).layer(setup.layer.clone());
        let mut browser = Browser::new(app);
        let answer = browser.post(&format!("/{what}")).await;
        assert_eq!(answer.status, status, "{what}");
        let is_ours = status != StatusCode::NOT_FOUND;
        // A cache may keep a 501 by itself.
        let is_kept_nowhere = answer.headers.get("cache-control").is_some_and(|value| value == "no-store");
        assert!(is_kept_nowhere || !is_ours, "{what}: {answer:?}");
        assert_eq!(setup.record(&browser).await.is_some(), is_kept, "{what}: 5xx alone commits nothing");
    }
}

#[tokio::test]
async fn an_error_of_the_store_or_of_a_late_handler_has_its_status_too() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.on_store_failure(OnStoreFailure::Continue));
        let owners = setup.layer.owners();
        let late = async move |session: Session| {
            owners.revoke_all("ada").await?;
            session.insert("late", 1)?;
            session.commit().await
        };
        let app = Router::new()
            .route("/in/{name}", post(come_in))
            .route("/late", post(late))
            .route("/{what}", post(refused))
            .layer(setup.layer.clone());
        let mut browser = Browser::new(app);
        browser.post("/in/ada").await;
        setup.store.fault(Op::Load, Fault::Fail, 1);
        assert_eq!(browser.post("/nothing").await.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?}");
        assert_eq!(browser.post("/late").await.status, StatusCode::CONFLICT, "{backend:?}");
    }
}

#[tokio::test]
async fn a_nested_router_has_a_session_of_its_own_and_reaches_that_of_the_site() {
    for backend in Backend::ALL {
        let stores = [(); 2].map(|()| TestStore::new(backend));
        let layer = |at: usize, name| SessionLayer::builder(stores[at].clone()).cookie_name(name).build().unwrap();
        let mark = async |session: Session, request: Request, next: Next| {
            session.insert("marked", 1)?;
            Ok::<_, Error>(next.run(request).await)
        };
        let admin = async |session: Session, lazy: LazySession| {
            let site = session.named("site").unwrap();
            assert!(session.named("admin").is_some() && lazy.named("site").is_some() && lazy.named("sid").is_none());
            session.insert("page", "admin")?;
            site.insert("page", "from admin")?;
            Ok::<_, Error>(format!("{:?} {:?}", session.get::<u32>("marked")?, site.get::<u32>("marked")?))
        };
        let home = async |session: Session| {
            assert!(session.named("admin").is_none());
            session.get::<String>("page").map(Option::unwrap_or_default)
        };
        let app = Router::new()
            .nest("/admin", Router::new().route("/", get(admin)).layer(layer(1, "admin")))
            .route("/", get(home))
            .layer(from_fn(mark))
            .layer(layer(0, "site"));
        let mut browser = Browser::new(app);
        let answer = browser.get("/admin").await;
        assert_eq!(answer.body, "None Some(1)", "{backend:?}: the middleware stands outside the inner layer");
        let mut names: Vec<_> =
            answer.set_cookies().iter().map(|set| set.split('=').next().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["admin", "site"], "{backend:?}");
        assert_eq!(browser.get("/").await.body, "from admin", "{backend:?}");
        assert_eq!(stores[1].calls(Op::Load), 0, "{backend:?}: nobody asked the inner one again");
    }
}
