//! Each option of the layer, by what it does.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use tower::ServiceExt as _;
use tower_session_layer::{LazySession, ManualClock, Session};

use super::support::{Backend, Browser, Fault, HOUR, MINUTE, Op, TestStore, answer};
use super::{browser, cookie_of, three};

#[tokio::test]
async fn options_of_the_cookie_are_in_the_cookie() {
    for (toml, expected) in [
        ("", "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ("cookie_name = '__Host-shop'", "__Host-shop=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ("cookie_name = 'a'\npath = '/shop'", "a=…; Max-Age=2592000; Path=/shop; HttpOnly; Secure; SameSite=Lax"),
        (
            "cookie_name = 'a'\ndomain = 'example.com'",
            "a=…; Max-Age=2592000; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax",
        ),
        ("same_site = 'strict'", "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Strict"),
        ("same_site = 'Lax'", "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (
            "same_site = 'none'\npartitioned = true",
            "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=None; Partitioned",
        ),
        ("insecure_http = true", "sid=…; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax"),
        ("insecure_script_access = true", "__Host-sid=…; Max-Age=2592000; Path=/; Secure; SameSite=Lax"),
        ("browser_session = true", "__Host-sid=…; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (
            "insecure_http = false\ninsecure_script_access = false\nbrowser_session = false\npartitioned = false",
            "__Host-sid=…; Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax",
        ),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\n{toml}")) {
            assert_eq!(cookie_of(&config.build().await.unwrap()).await, expected, "{of}: {toml}");
        }
    }
}

#[tokio::test]
async fn cookies_of_earlier_deploys_are_removed() {
    for (of, config) in three("store = 'memory:'\ncookie_name = 'a'\nformerly = ['/app', 'example.com/']") {
        let cookies = browser(&config.build().await.unwrap()).get("/set").await.set_cookies();
        let former = "a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(
            cookies[1..],
            [
                format!("{former}; Path=/app; HttpOnly; Secure; SameSite=Lax"),
                format!("{former}; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"),
            ],
            "{of}"
        );
    }
}

#[tokio::test]
async fn timeouts_are_those_of_the_session() {
    for (toml, idle, absolute) in [
        ("idle_timeout = '30m'", 1_800, 2_592_000),
        ("idle_timeout = '90s'", 90, 2_592_000),
        ("absolute_timeout = '1d'", 86_400, 86_400),
        ("absolute_timeout = '14d'\nidle_timeout = '1w 1d'", 691_200, 1_209_600),
        ("nist = 'aal1'", 2_592_000, 2_592_000),
        ("nist = 'aal2'", 3_600, 86_400),
        ("nist = 'AAL3'", 900, 43_200),
        ("nist = 'aal3'\nidle_timeout = '5m'", 300, 43_200),
        ("idle_timeout = '5m'\nnist = 'aal3'", 300, 43_200),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\ninsecure_http = true\n{toml}")) {
            let mut browser = browser(&config.build().await.unwrap());
            assert_eq!(browser.get("/set").await.max_age(), Some(absolute), "{of}: {toml}");
            assert_eq!(browser.get("/life").await.body, idle.to_string(), "{of}: {toml}");
        }
    }
    for (toml, after) in [
        ("absolute_timeout = '2h'\nidle_timeout = '90m'", 2 * HOUR),
        ("nist = 'aal2'", 24 * HOUR),
        ("nist = 'aal2'\nabsolute_timeout = '2h'", 2 * HOUR),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\ninsecure_http = true\n{toml}")) {
            let clock = ManualClock::default();
            let mut browser = browser(&config.builder().await.unwrap().clock(clock.clone()).build().unwrap());
            browser.get("/set").await;
            for _ in 1..after.as_secs() / HOUR.as_secs() * 2 {
                clock.advance(HOUR / 2);
                assert_eq!(browser.get("/").await.body, "Ada", "{of}: {toml}");
            }
            clock.advance(HOUR / 2);
            assert_eq!(browser.get("/").await.body, "", "{of}: {toml}");
        }
    }
}

#[tokio::test]
async fn sessions_from_before_a_time_are_none() {
    for toml in ["'2030-01-01T00:00:00Z'", "1893456000", "'2030-01-01T01:00:00+01:00'"] {
        for (of, config) in three(&format!("store = 'memory:'\ninsecure_http = true\nnot_before = {toml}")) {
            let year_2030 = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
            for (began, name) in [(year_2030 - MINUTE, ""), (year_2030, "Ada")] {
                let clock = ManualClock::new(began);
                let mut browser = browser(&config.builder().await.unwrap().clock(clock).build().unwrap());
                browser.get("/set").await;
                assert_eq!(browser.get("/").await.body, name, "{of}: {toml}");
            }
        }
    }
    let own = super::toml_of("not_before = 2030-01-01T00:00:00Z");
    assert_eq!(format!("{own:?}"), format!("{:?}", super::toml_of("not_before = 1893456000")), "a time of TOML itself");
}

#[tokio::test]
async fn tokens_are_renewed_at_their_age() {
    for (of, config) in three(
        "store = 'memory:'\ninsecure_http = true\nrenew_after = '10m'\ncookie.keys = ['0101010101010101010101010101010101010101010101010101010101010102']",
    ) {
        let clock = ManualClock::default();
        let mut browser = browser(&config.builder().await.unwrap().clock(clock.clone()).build().unwrap());
        browser.get("/set").await;
        clock.advance(9 * MINUTE);
        assert_eq!(browser.get("/").await.set_cookie(), None, "{of}");
        clock.advance(MINUTE);
        assert!(browser.get("/").await.set_cookie().is_some(), "{of}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_waited_for_as_long_as_is_said() {
    for (of, config) in three("store_timeout = '1500ms'\ninsecure_http = true") {
        let store = TestStore::new(Backend::Remote);
        let mut browser = browser(&config.builder_on(store.clone()).unwrap().build().unwrap());
        browser.get("/set").await;
        store.fault(Op::Load, Fault::Hang, 1);
        let began = tokio::time::Instant::now();
        assert_eq!(browser.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "{of}");
        assert_eq!(began.elapsed().as_millis() / 100, 15, "{of}");
    }
}

#[tokio::test]
async fn a_failing_store_is_what_is_said() {
    for (toml, status) in [
        ("on_store_failure = 'refuse'", StatusCode::SERVICE_UNAVAILABLE),
        ("on_store_failure = 'continue'", StatusCode::OK),
    ] {
        for (of, config) in three(&format!("{toml}\ninsecure_http = true")) {
            let store = TestStore::new(Backend::Memory);
            let mut browser = browser(&config.builder_on(store.clone()).unwrap().build().unwrap());
            browser.get("/set").await;
            store.fault(Op::Load, Fault::Fail, 1);
            assert_eq!(browser.get("/").await.status, status, "{of}: {toml}");
        }
    }
}

#[tokio::test]
async fn responses_are_what_is_said() {
    for (toml, path, header, has) in [
        ("", "/fail", "set-cookie", false),
        ("save_on_server_error = true", "/fail", "set-cookie", true),
        ("save_on_server_error = false", "/fail", "set-cookie", false),
        ("", "/set", "cache-control", true),
        ("cache_headers = 'automatic'", "/set", "cache-control", true),
        ("cache_headers = 'off'", "/set", "cache-control", false),
        ("", "/destroy", "clear-site-data", false),
        ("clear_site_data = true", "/destroy", "clear-site-data", true),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\n{toml}")) {
            let mut browser = browser(&config.build().await.unwrap());
            if path == "/destroy" {
                browser.get("/set").await;
            }
            assert_eq!(browser.get(path).await.headers.contains_key(header), has, "{of}: {toml}");
        }
    }
}

#[tokio::test]
async fn tokens_travel_as_is_said() {
    for (toml, without, with) in [
        ("", ["set-cookie"], ["set-cookie"]),
        ("token_header = 'x-session'", ["set-cookie"], ["x-session"]),
        ("token_header_alone = 'x-session'", ["x-session"], ["x-session"]),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\n{toml}")) {
            let app = Router::new()
                .fallback(|session: Session| async move { session.insert("name", "Ada") })
                .layer(config.build().await.unwrap());
            for (request, expected) in [(Request::get("/"), without), (Request::get("/").header("x-session", ""), with)]
            {
                let request = request.body(axum::body::Body::empty()).unwrap();
                let answer = answer(app.clone().oneshot(request).await.unwrap()).await;
                let carriers = ["set-cookie", "x-session"].into_iter();
                let carriers: Vec<_> = carriers.filter(|name| answer.headers.contains_key(*name)).collect();
                assert_eq!(carriers, expected, "{of}: {toml}");
            }
        }
    }
}

#[tokio::test]
async fn a_lazy_layer_asks_the_store_when_it_is_asked() {
    for (of, config) in three("lazy = true\ninsecure_http = true") {
        let store = TestStore::new(Backend::Memory);
        let app = Router::new()
            .route("/set", get(|session: Session| async move { session.insert("name", "Ada") }))
            .route("/", get(|_: axum::Extension<LazySession>| async {}))
            .layer(config.builder_on(store.clone()).unwrap().build().unwrap());
        let mut browser = Browser::new(app);
        browser.get("/set").await;
        store.forget();
        assert_eq!(browser.get("/").await.status, StatusCode::OK, "{of}");
        assert_eq!(store.calls(Op::Load), 0, "{of}");
    }
}

#[tokio::test]
async fn sessions_are_as_large_and_as_many_as_is_said() {
    for (toml, status) in [
        ("max_record_bytes = '4KiB'", StatusCode::PAYLOAD_TOO_LARGE),
        ("max_record_bytes = 6000", StatusCode::PAYLOAD_TOO_LARGE),
        ("max_record_bytes = '7kB'", StatusCode::OK),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\n{toml}")) {
            assert_eq!(browser(&config.build().await.unwrap()).get("/large").await.status, status, "{of}: {toml}");
        }
    }
    for (of, config) in three("store = 'memory:'\nmax_sessions_per_owner = 2") {
        let layer = config.build().await.unwrap();
        for _ in 0..4 {
            browser(&layer).get("/sign-in").await;
        }
        assert_eq!(layer.owners().list("ada").await.unwrap().len(), 2, "{of}");
    }
}
