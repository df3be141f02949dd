//! Sessions that another library began, and go on here: once, under tokens of our own.

mod failures;
mod formats;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use crate::support::direct::at_once;
use crate::support::{Answer, Backend, Browser, DAY, HOUR, Op, Setup};
use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_session_layer::{
    Clock as _, CookieSignature, Error, ImportLayer, Imported, Session, SessionCookie, SessionView, StoreError,
};

/// `{"userId": "17", "cart": {…}, "text": …, "__flash_notice__": …}` as Remix signed it with `s3cret`.
const OLD: &str = "eyJ1c2VySWQiOiIxNyIsImNhcnQiOnsibXVnIjoyLCJuw6RoIjpbMS41LG51bGwsdHJ1ZV19LCJ0ZXh0IjoiaMOpbGxvIOKckyDwnYSeIFwicXVvdGVkXCIgMTAwJSArIC8gPSBcbiIsIl9fZmxhc2hfbm90aWNlX18iOiJTYXZlZCDigJQgb2sifQ%3D%3D.OPqK0F2pBnc3gXnixaocZRFAz4UYbLWnd7e6f1HG3Hw";
const FORGED: &str = "eyJ1c2VySWQiOiIxNyJ9.OPqK0F2pBnc3gXnixaocZRFAz4UYbLWnd7e6f1HG3Hw";
const REMOVAL: &str =
    "__session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/shop; HttpOnly; Secure; SameSite=Lax";

fn old_cookie() -> SessionCookie {
    SessionCookie::builder().name("__session").path("/shop").build().unwrap()
}

/// Reads Remix's cookies, and counts how often it is asked.
fn importer(
    asked: &Arc<AtomicUsize>,
) -> impl Fn(String) -> std::future::Ready<Result<Option<Imported>, Error>> + use<> {
    let (asked, signature) = (Arc::clone(asked), CookieSignature::new(["s3cret"]).unwrap());
    move |cookie| {
        asked.fetch_add(1, SeqCst);
        let signed_in = || {
            let Some(mut session) = signature.remix_session(&cookie) else { return Ok(None) };
            if let Some(user) = session.get::<String>("userId")? {
                session.sign_in(&user, SystemTime::UNIX_EPOCH + DAY)?;
            }
            Ok(Some(session))
        };
        std::future::ready(signed_in())
    }
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "nothing" }))
        .route(
            "/user",
            get(|session: Session| async move { session.owner().map_or("nobody".into(), |owner| owner.to_string()) }),
        )
        .route(
            "/notice",
            get(
                |session: Session| async move { session.take_flash::<String>("notice").map(Option::unwrap_or_default) },
            ),
        )
        .route(
            "/fail",
            get(|session: Session| async move {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{:?}", session.insert("lost", 1)))
            }),
        )
        .route("/same", get(|_: Session| async { StatusCode::NOT_MODIFIED }))
        .route("/public", get(|_: Session| async { [("cache-control", "public, max-age=60")] }))
        .route("/set", post(|session: Session| async move { session.insert("a", 1) }))
        .route("/logout", post(|session: Session| async move { session.destroy() }))
        .route("/signed_in", get(|view: SessionView| async move { format!("{:?}", view.signed_in_at()) }))
}

struct Import {
    setup: Setup,
    asked: Arc<AtomicUsize>,
    browser: Browser,
}

impl Import {
    fn new(backend: Backend) -> Self {
        Self::on(Setup::new(backend))
    }

    fn on(setup: Setup) -> Self {
        let asked = Arc::default();
        let valid_until = setup.clock.now() + 90 * DAY;
        let app =
            routes().layer(ImportLayer::new(old_cookie(), valid_until, importer(&asked))).layer(setup.layer.clone());
        Self { setup, asked, browser: Browser::new(app) }
    }

    fn with_old(&self, value: &str) -> Browser {
        let mut browser = self.browser.another();
        browser.cookies.insert("__session".into(), value.into());
        browser
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, SeqCst)
    }
}

/// The header that removes the old cookie, if it is there.
fn removal(answer: &Answer) -> Option<String> {
    answer.set_cookies().into_iter().find(|cookie| cookie.starts_with("__session="))
}

#[tokio::test]
async fn an_old_cookie_becomes_a_session_under_a_token_of_ours() {
    for backend in Backend::ALL {
        let import = Import::new(backend);
        let mut browser = import.with_old(OLD);
        let answer = browser.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "nothing"), "{backend:?}");
        assert_eq!(removal(&answer).as_deref(), Some(REMOVAL), "{backend:?}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["vary"], "Cookie");
        let token = browser.token().unwrap();
        assert!(!token.contains(&OLD[..32]) && !OLD.contains(&token), "{backend:?}: a token of our own");
        assert_eq!((import.setup.store.calls(Op::Load), import.setup.store.writes()), (0, 1), "{backend:?}");
        assert_eq!((browser.cookies.len(), import.asked()), (1, 1), "the old cookie is gone");

        let record = import.setup.record(&browser).await.unwrap();
        assert_eq!(record.owner().unwrap(), "17", "{backend:?}");
        assert_eq!(browser.get("/user").await.body, "17");
        assert_eq!(browser.get("/signed_in").await.body, format!("{:?}", Some(SystemTime::UNIX_EPOCH + DAY)));
        assert_eq!(browser.get("/notice").await.body, "Saved — ok");
        assert_eq!(browser.get("/notice").await.body, "", "a flash value is shown once");
        assert_eq!(import.asked(), 0, "{backend:?}");
    }
}

#[tokio::test]
async fn whoever_brings_no_old_cookie_is_not_asked_about() {
    for backend in Backend::ALL {
        let import = Import::new(backend);
        let answer = import.browser.send_without_keeping("GET", "/user", "").await;
        assert_eq!((answer.body.as_str(), answer.set_cookies()), ("nobody", vec![]));
        assert_eq!((import.setup.store.order(), import.asked()), (vec![], 0), "{backend:?}");
    }
}

#[tokio::test]
async fn what_is_not_accepted_costs_no_store_call_and_stays_with_the_client() {
    for backend in Backend::ALL {
        let import = Import::new(backend);
        for path in ["/", "/user"] {
            let answer = import.with_old(FORGED).send_without_keeping("GET", path, "").await;
            assert_eq!((answer.status, answer.set_cookies()), (StatusCode::OK, vec![]), "{backend:?}");
        }
        assert_eq!((import.setup.store.order(), import.asked()), (vec![], 2), "{backend:?}");
    }
}

#[tokio::test]
async fn of_several_old_cookies_the_first_that_is_accepted_counts_and_four_are_tried() {
    let import = Import::new(Backend::Memory);
    for (pairs, asked, user) in [
        (format!("{FORGED}; __session={OLD}"), 2, "17"),
        (format!("; __session=; __session={OLD}; __session={OLD}"), 1, "17"),
        (format!("1; __session=1; __session=2; __session=3; __session=4; __session={OLD}"), 4, "nobody"),
    ] {
        assert_eq!(import.with_old(&pairs).get("/user").await.body, user, "{pairs}");
        assert_eq!(import.asked(), asked, "{pairs}");
    }
}

#[tokio::test]
async fn nothing_is_imported_from_the_last_day_on() {
    let import = Import::new(Backend::Memory);
    import.setup.clock.advance(89 * DAY);
    assert_eq!(import.with_old(OLD).get("/user").await.body, "17");
    import.setup.clock.advance(DAY);
    let answer = import.with_old(OLD).get("/user").await;
    assert_eq!((answer.body.as_str(), answer.set_cookies(), import.asked()), ("nobody", vec![], 1));
}

#[tokio::test]
async fn an_old_cookie_that_comes_back_does_not_undo_a_sign_out() {
    for backend in Backend::SERVER {
        let import = Import::new(backend);
        let mut browser = import.with_old(OLD);
        browser.get("/").await;
        // As where the removal did not match what the old application set.
        browser.cookies.insert("__session".into(), OLD.into());
        let answer = browser.send_without_keeping("POST", "/logout", "").await;
        assert!(answer.removes_cookie());
        assert_eq!(removal(&answer).as_deref(), Some(REMOVAL), "{backend:?}");
        for age in [Duration::ZERO, HOUR] {
            import.setup.clock.advance(age);
            let answer = browser.send_without_keeping("GET", "/user", "").await;
            assert_eq!((answer.body.as_str(), answer.set_cookies()), ("nobody", vec![]), "{backend:?} {age:?}");
        }
        assert_eq!(import.asked(), 1, "{backend:?}: a token that is dead or unknown is one of ours all the same");
    }
}

#[tokio::test]
async fn a_live_session_removes_the_old_cookie_where_no_cache_keeps_that() {
    for lazy in [false, true] {
        let setup = Setup::with(Backend::Memory, |builder| if lazy { builder.lazy() } else { builder });
        let import = Import::on(setup);
        let mut browser = import.with_old(FORGED);
        assert_eq!(removal(&browser.post("/set").await), None, "that is up to the program");
        assert_eq!(import.asked(), 1);
        let answer = browser.send_without_keeping("GET", "/public", "").await;
        assert_eq!(answer.set_cookies(), [REMOVAL], "lazy: {lazy}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(browser.send_without_keeping("GET", "/same", "").await.set_cookies(), [""; 0]);
        let untouched = browser.send_without_keeping("GET", "/", "").await;
        assert_eq!(removal(&untouched).is_some(), !lazy, "a lazy layer is not made to load");
        assert_eq!(import.asked(), 0);
        // Nothing is known of a token before its session is loaded.
        let logout = browser.send_without_keeping("POST", "/logout", "").await;
        assert_eq!(removal(&logout).as_deref(), Some(REMOVAL), "lazy: {lazy}");
    }
}

#[tokio::test]
async fn a_dead_token_leaves_the_old_cookie_alone() {
    for lazy in [false, true] {
        let import = Import::on(Setup::with(Backend::Memory, |builder| if lazy { builder.lazy() } else { builder }));
        let mut browser = import.with_old(FORGED);
        browser.post("/set").await;
        let mut dead = browser.with_token(&browser.token().unwrap());
        dead.cookies.insert("__session".into(), OLD.into());
        browser.post("/logout").await;
        let answer = dead.get("/user").await;
        assert_eq!((answer.body.as_str(), answer.set_cookies()), ("nobody", vec![]), "lazy: {lazy}");
    }
}

#[tokio::test]
async fn an_import_is_told_after_the_session_that_it_begins() {
    for backend in Backend::ALL {
        let (told, heard) = std::sync::mpsc::channel();
        let setup =
            Setup::with(backend, |builder| builder.on_event(move |event| told.send(format!("{event:?}")).unwrap()));
        let import = Import::on(setup);
        import.with_old("bad").get("/").await;
        assert_eq!(heard.try_iter().count(), 0, "{backend:?}");
        import.with_old(OLD).get("/").await;
        let lines: Vec<_> = heard.try_iter().collect();
        assert_eq!(lines.len(), 2, "{backend:?} {lines:?}");
        assert!(lines[0].starts_with("Created"), "{backend:?} {lines:?}");
        assert_eq!(lines[1], r#"Imported { cookie: "__session" }"#, "{backend:?}");
    }
}

#[tokio::test]
async fn a_flash_value_that_an_import_brings_is_shown() {
    let setup = Setup::new(Backend::Memory);
    let layer = ImportLayer::new(old_cookie(), setup.clock.now() + DAY, |_| async {
        let mut session = Imported::new();
        session.flash("notice", "welcome back")?;
        Ok::<_, Error>(Some(session))
    });
    let mut browser = Browser::new(routes().layer(layer).layer(setup.layer.clone()));
    browser.cookies.insert("__session".into(), OLD.into());
    assert_eq!(browser.get("/notice").await.body, "welcome back");
}

#[tokio::test]
async fn a_lazy_layer_imports_as_well() {
    let import = Import::on(Setup::with(Backend::Remote, tower_session_layer::SessionLayerBuilder::lazy));
    let mut browser = import.with_old(OLD);
    assert_eq!(removal(&browser.get("/").await).as_deref(), Some(REMOVAL));
    assert_eq!(browser.get("/user").await.body, "17");
    assert_eq!(import.asked(), 1);
}

#[tokio::test]
async fn a_client_with_its_token_in_a_header_is_not_imported() {
    let setup = Setup::with(Backend::Memory, |builder| builder.token_header("x-session"));
    let import = Import::on(setup);
    let app = tower::ServiceExt::<http::Request<axum::body::Body>>::oneshot;
    let asked = Arc::clone(&import.asked);
    let router = routes()
        .layer(ImportLayer::new(old_cookie(), import.setup.clock.now() + DAY, importer(&asked)))
        .layer(import.setup.layer.clone());
    let request = http::Request::get("/user").header("cookie", format!("__session={OLD}")).header("x-session", "");
    let answer =
        crate::support::answer(app(router, request.body(axum::body::Body::empty()).unwrap()).await.unwrap()).await;
    assert_eq!((answer.body.as_str(), import.asked()), ("nobody", 0));
}

#[tokio::test]
async fn a_revocation_refuses_the_old_cookies_of_its_owner() {
    for backend in Backend::SERVER {
        let import = Import::new(backend);
        let mut signed_in = import.with_old(OLD);
        signed_in.get("/").await;
        assert_eq!(import.setup.layer.owners().revoke_all("17").await.unwrap(), 1);
        let mut other = import.with_old(OLD);
        let answer = other.get("/user").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "nobody"), "{backend:?}");
        assert_eq!((answer.set_cookies(), other.token()), (vec![REMOVAL.to_owned()], None), "{backend:?}");
    }
}

#[tokio::test]
async fn requests_at_once_each_get_a_session_and_a_row_that_is_deleted_gives_one() {
    for takes in [false, true] {
        let setup = Setup::new(Backend::Remote);
        let rows = Arc::new(std::sync::Mutex::new(vec![r#"{"user": 17}"#.to_owned()]));
        let layer = ImportLayer::new(old_cookie(), setup.clock.now() + DAY, move |_| {
            let rows = Arc::clone(&rows);
            async move {
                tokio::task::yield_now().await;
                let mut rows = rows.lock().unwrap();
                let row = if takes { rows.pop() } else { rows.last().cloned() };
                Ok::<_, StoreError>(row.and_then(|row| Imported::from_json(&row)))
            }
        });
        let mut browser = Browser::new(routes().layer(layer).layer(setup.layer.clone()));
        browser.cookies.insert("__session".into(), "row".into());
        let asking = || browser.send_without_keeping("GET", "/user", "");
        let (one, other) = tokio::join!(asking(), asking());
        let tokens: Vec<_> = [&one, &other].into_iter().filter_map(Answer::set_cookie).collect();
        assert_eq!((tokens.len(), setup.store.sessions().await), if takes { (1, 1) } else { (2, 2) });
        assert!(takes || tokens[0] != tokens[1]);
        assert_eq!([removal(&one), removal(&other)].iter().flatten().count(), tokens.len());
    }
}

/// Is broken, which shows as soon as it is asked whether it is ready.
#[derive(Clone)]
struct Broken;

impl Service<http::Request<()>> for Broken {
    type Response = http::Response<String>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<http::Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), &'static str>> {
        std::task::Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        unreachable!("it is not ready")
    }
}

#[tokio::test]
async fn an_import_is_as_ready_as_the_service_inside() {
    let layer = ImportLayer::new(old_cookie(), SystemTime::UNIX_EPOCH, importer(&Arc::default()));
    assert_eq!(layer.layer(Broken).ready().await.map(drop).unwrap_err(), "broken");
}

#[tokio::test]
async fn limit_inside_an_import_counts_no_request_that_waits_for_it() {
    let setup = Setup::new(Backend::Memory);
    let never = |_| std::future::pending::<Result<Option<Imported>, StoreError>>();
    let layer = ImportLayer::new(old_cookie(), setup.clock.now() + DAY, never);
    let inner = tower::service_fn(async |_: http::Request<()>| Ok::<_, Error>(http::Response::new(String::new())));
    let limited = tower::limit::ConcurrencyLimitLayer::new(1).layer(inner);
    let mut service = setup.layer.layer(layer.layer(limited));
    let request = |cookie| http::Request::builder().header("cookie", cookie).body(()).unwrap();
    let _importing = service.ready().await.unwrap().call(request("__session=old"));
    let other = at_once(async { service.ready().await.unwrap().call(request("other=1")).await });
    assert_eq!(other.unwrap().status(), 200);
}

#[tokio::test]
async fn a_sign_in_to_come_is_no_recent_one_and_a_revocation_refuses_it() {
    let setup = Setup::new(Backend::Memory);
    let owners = setup.layer.owners();
    let later = setup.clock.now() + DAY;
    let import = move |_| {
        let mut session = Imported::default();
        let signed_in = session.sign_in("ada", later).map(|()| Some(session));
        std::future::ready(signed_in)
    };
    let valid_until = setup.clock.now() + 90 * DAY;
    let app = routes().layer(ImportLayer::new(old_cookie(), valid_until, import)).layer(setup.layer.clone());
    let mut browser = Browser::new(app);
    let old = |browser: &Browser| {
        let mut browser = browser.another();
        browser.cookies.insert("__session".into(), "old".into());
        browser
    };
    browser = old(&browser);
    assert_eq!(browser.get("/user").await.body, "ada");
    let told = browser.get("/signed_in").await.body;
    assert!(told.contains("Some") && !told.contains(&format!("{later:?}")), "{told}");
    setup.clock.advance(HOUR);
    assert_eq!(owners.revoke_all("ada").await.unwrap(), 1);
    assert_eq!(old(&browser).get("/user").await.body, "nobody");
}
