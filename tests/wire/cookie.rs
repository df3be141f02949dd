//! What a response carries of the cookie (promise 17, and the options that change it).

use crate::support::{Backend, Browser, DAY, HOUR, MINUTE, Setup};
use axum::Router;
use axum::extract::Path;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{LOCATION, SET_COOKIE};
use tower_session_layer::{
    CookieKey, CookieStore, Error, ManualClock, MemoryStore, SameSite, Session, SessionLayer, SessionLayerBuilder,
};

type Options = fn(SessionLayerBuilder<MemoryStore>) -> SessionLayerBuilder<MemoryStore>;

fn routes(layer: SessionLayer) -> Router {
    Router::new()
        .route(
            "/set/{value}",
            post(|session: Session, Path(value): Path<u32>| async move { session.insert("a", value) }),
        )
        .route("/read", get(|session: Session| async move { session.get::<u32>("a").map(|_| ()) }))
        .route("/renew", post(|session: Session| async move { session.renew() }))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .route("/empty", post(|session: Session| async move { session.clear() }))
        .route("/remember", post(|session: Session| async move { session.set_idle_timeout(3 * DAY) }))
        .layer(layer)
}

/// The one `Set-Cookie` of a response.
async fn cookie_of(browser: &mut Browser, path: &str) -> String {
    let answer = browser.post(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    let cookies = answer.set_cookies();
    assert_eq!(cookies.len(), 1, "{path}: {cookies:?}");
    cookies[0].clone()
}

/// Puts `…` in the place of a random token.
fn without_token(cookie: &str) -> String {
    let (name, rest) = cookie.split_once('=').unwrap();
    let (value, rest) = rest.split_once(';').unwrap();
    assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    format!("{name}=…;{rest}")
}

#[tokio::test]
async fn the_cookie_is_written_and_removed_with_the_same_attributes() {
    let rows: [(&str, Options, &str, &str); 7] = [
        ("defaults", |builder| builder, "__Host-sid", "; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ("plain HTTP", SessionLayerBuilder::insecure_http, "sid", "; Path=/; HttpOnly; SameSite=Lax"),
        ("scripts", |builder| builder.insecure_script_access(), "__Host-sid", "; Path=/; Secure; SameSite=Lax"),
        (
            "strict",
            |builder| builder.same_site(SameSite::Strict),
            "__Host-sid",
            "; Path=/; HttpOnly; Secure; SameSite=Strict",
        ),
        (
            "embedded",
            |builder| builder.same_site(SameSite::None).partitioned(),
            "__Host-sid",
            "; Path=/; HttpOnly; Secure; SameSite=None; Partitioned",
        ),
        (
            "domain and path",
            |builder| builder.cookie_name("__Secure-shop").domain("example.com").path("/app"),
            "__Secure-shop",
            "; Path=/app; Domain=example.com; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            "a host-only prefix",
            |builder| builder.cookie_name("__Host-shop"),
            "__Host-shop",
            "; Path=/; HttpOnly; Secure; SameSite=Lax",
        ),
    ];
    for (what, options, name, attributes) in rows {
        let builder = SessionLayer::builder(MemoryStore::new()).clock(ManualClock::default());
        let mut browser = Browser::new(routes(options(builder).build().unwrap()));
        for path in ["/set/1", "/renew"] {
            let set = without_token(&cookie_of(&mut browser, path).await);
            assert_eq!(set, format!("{name}=…; Max-Age=2592000{attributes}"), "{what} {path}");
        }
        let removal = format!("{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}");
        assert_eq!(cookie_of(&mut browser, "/destroy").await, removal, "{what}");
        browser.post("/set/2").await;
        assert_eq!(cookie_of(&mut browser, "/empty").await, removal, "{what}");
    }
}

#[tokio::test]
async fn a_proxy_header_downgrades_nothing() {
    let clock = ManualClock::default();
    let app = routes(SessionLayer::builder(MemoryStore::new()).clock(clock).build().unwrap());
    for (name, value) in [("x-forwarded-proto", "http"), ("x-forwarded-proto", "https"), ("forwarded", "proto=http")] {
        let request = http::Request::post("/set/1").header(name, value).body(axum::body::Body::empty()).unwrap();
        let answer = crate::support::answer(tower::ServiceExt::oneshot(app.clone(), request).await.unwrap()).await;
        let cookie = without_token(&answer.set_cookies()[0]);
        assert_eq!(cookie, "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax", "{name}: {value}");
    }
}

#[tokio::test]
async fn max_age_is_the_remaining_life() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(routes(setup.layer.clone()));
        let is_sealed = backend == Backend::Cookie;
        let began = browser.post("/set/1").await.max_age();
        assert_eq!(began, Some(if is_sealed { 7 } else { 30 } * 86_400), "{backend:?}");
        for (day, resealed) in [(6, Some(7)), (12, Some(7)), (18, Some(7)), (24, Some(6)), (29, None)] {
            setup.clock.advance(if day == 29 { 5 * DAY } else { 6 * DAY });
            let answer = browser.get("/read").await;
            // The idle timeout of a server-side store is the server's alone.
            let expected = resealed.filter(|_| is_sealed).map(|days: u64| days * 86_400);
            assert_eq!(answer.max_age(), expected, "{backend:?} day {day}");
            assert_eq!(answer.set_cookie().is_some(), expected.is_some(), "{backend:?} day {day}");
        }
        let answer = browser.post("/renew").await;
        assert_eq!(answer.max_age(), Some(86_400), "{backend:?}");
    }
}

#[tokio::test]
async fn max_age_is_whole_seconds_within_400_days() {
    for backend in Backend::ALL {
        for (timeout, expected) in [
            (400 * DAY, 34_560_000),
            (HOUR, 3_600),
            (MINUTE / 60, 1),
            // A zero would remove the cookie of a session that lives.
            (MINUTE / 1_000, 1),
            (std::time::Duration::from_micros(1), 1),
            (MINUTE + MINUTE / 1_000, 60),
        ] {
            let (idle, absolute) = if backend == Backend::Cookie { (timeout, 400 * DAY) } else { (timeout, timeout) };
            let setup = Setup::with(backend, |builder| builder.idle_timeout(idle).absolute_timeout(absolute));
            let answer = Browser::new(routes(setup.layer.clone())).post("/set/1").await;
            assert_eq!(answer.max_age(), Some(expected), "{backend:?} {timeout:?}");
        }
    }
}

#[tokio::test]
async fn a_browser_session_has_no_max_age_unless_it_is_remembered() {
    for backend in Backend::ALL {
        let setup = Setup::with(backend, SessionLayerBuilder::browser_session);
        let mut browser = Browser::new(routes(setup.layer.clone()));
        for path in ["/set/1", "/renew"] {
            let answer = browser.post(path).await;
            let cookie = answer.set_cookie().unwrap();
            assert!(!cookie.contains("Max-Age") && !cookie.contains("Expires"), "{backend:?} {path} {cookie}");
        }
        let is_sealed = backend == Backend::Cookie;
        let days = |idle: u64, absolute: u64| Some(if is_sealed { idle } else { absolute } * 86_400);
        assert_eq!(browser.post("/remember").await.max_age(), days(3, 30), "{backend:?}");
        // It stays remembered: whatever else is written, and when it is refreshed.
        assert_eq!(browser.post("/renew").await.max_age(), days(3, 30), "{backend:?}");
        setup.clock.advance(DAY);
        assert_eq!(browser.get("/read").await.max_age(), days(3, 29).filter(|_| is_sealed), "{backend:?}");
        assert_eq!(browser.post("/renew").await.max_age(), days(3, 29), "{backend:?}");
        // The server ends it all the same.
        setup.clock.advance(3 * DAY);
        assert_ne!(browser.post("/set/2").await.set_cookie(), None, "{backend:?}");
        let forgotten = browser.post("/renew").await.set_cookie().unwrap();
        assert!(!forgotten.contains("Max-Age"), "{backend:?} {forgotten}");
    }
}

#[tokio::test]
async fn clear_site_data_comes_with_the_end_of_a_session_only() {
    for backend in Backend::ALL {
        let setup = Setup::with(backend, SessionLayerBuilder::clear_site_data);
        let mut browser = Browser::new(routes(setup.layer.clone()));
        for path in ["/set/1", "/renew", "/set/2"] {
            assert_eq!(browser.post(path).await.headers.get("clear-site-data"), None, "{backend:?} {path}");
        }
        let answer = browser.post("/destroy").await;
        assert_eq!(answer.headers["clear-site-data"], r#""cache", "cookies", "storage""#, "{backend:?}");
        assert_eq!(browser.post("/destroy").await.headers.get("clear-site-data"), None, "{backend:?}");
        let mut browser = Browser::new(routes(Setup::new(backend).layer));
        browser.post("/set/1").await;
        assert_eq!(browser.post("/destroy").await.headers.get("clear-site-data"), None, "{backend:?}: off");
    }
}

async fn with_cookies_of_its_own(session: Session, Path(act): Path<String>) -> Result<Response, Error> {
    match act.as_str() {
        "write" => session.insert("a", 1)?,
        "destroy" => session.destroy()?,
        "all" => {
            session.sign_in("ada")?;
            session.insert("a", 1)?;
            session.commit().await?;
            session.renew()?;
            session.insert("b", 1)?;
            session.commit().await?;
            session.destroy()?;
            session.insert("c", 1)?;
        }
        _ => {}
    }
    let cookies = ["a=1; Path=/", "sid=mine; Path=/", "sidecar=2", "sid =mine", " sid=mine", "b=3", "xsid=4"];
    Ok((StatusCode::IM_A_TEAPOT, AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie)))).into_response())
}

#[tokio::test]
async fn cookies_of_the_handler_survive_in_order_but_for_ours() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let routes = Router::new().route("/{act}", post(with_cookies_of_its_own)).layer(setup.layer.clone());
        let mut browser = Browser::new(routes);
        for act in ["write", "destroy", "all"] {
            let answer = browser.post(&format!("/{act}")).await;
            assert_eq!(answer.status, StatusCode::IM_A_TEAPOT, "{backend:?} {act}");
            let cookies = answer.set_cookies();
            assert_eq!(cookies[..4], ["a=1; Path=/", "sidecar=2", "b=3", "xsid=4"], "{backend:?} {act}");
            assert_eq!(cookies.len(), 5, "{backend:?} {act}: {cookies:?}");
            assert!(cookies[4].starts_with("sid="), "{backend:?} {act}");
            assert_eq!(answer.removes_cookie(), act == "destroy", "{backend:?} {act}");
        }
        // Where the session did not change, nothing is touched.
        let cookies = browser.send_without_keeping("POST", "/nothing", "").await.set_cookies();
        assert_eq!(cookies.len(), 7, "{backend:?}: {cookies:?}");
    }
}

#[tokio::test]
async fn redirects_and_any_status_carry_the_cookie() {
    let setup = Setup::new(Backend::Memory);
    let answer = |session: Session, Path(status): Path<u16>| async move {
        session.insert("a", 1)?;
        Ok::<_, Error>((StatusCode::from_u16(status).unwrap(), [("x-own", "1")], "body"))
    };
    let redirect = |session: Session| async move { session.insert("a", 1).map(|()| Redirect::to("/there")) };
    let app = Router::new()
        .route("/status/{status}", get(answer))
        .route("/redirect", get(redirect))
        .layer(setup.layer.clone());
    for status in [200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 418, 429, 499] {
        let answer = Browser::new(app.clone()).get(&format!("/status/{status}")).await;
        assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (status, 1));
        assert_eq!(answer.headers["x-own"], "1", "{status}");
    }
    let answer = Browser::new(app).get("/redirect").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::SEE_OTHER, 1));
    assert_eq!(answer.headers[LOCATION], "/there");
}

#[tokio::test]
async fn a_sealed_cookie_has_only_plain_characters_and_a_bounded_length() {
    let store = CookieStore::new(CookieKey::new(&[9; 32]).unwrap());
    let app = Router::new()
        .route(
            "/{len}",
            post(|session: Session, Path(len): Path<usize>| async move { session.insert("a", "ü".repeat(len)) }),
        )
        .layer(SessionLayer::builder(store).clock(ManualClock::default()).build().unwrap());
    for len in [0, 1, 10, 100, 500, 1_000] {
        let cookie = cookie_of(&mut Browser::new(app.clone()), &format!("/{len}")).await;
        let value = cookie.strip_prefix("__Host-sid=").unwrap().split(';').next().unwrap();
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{value}");
        assert!(cookie.len() <= 4_096, "{len}: {}", cookie.len());
    }
    let answer = Browser::new(app).post("/100000").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::PAYLOAD_TOO_LARGE, 0));
}
