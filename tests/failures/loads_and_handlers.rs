//! When the store or the handler fails (promises 14, 23 and 24).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::direct::until;
use crate::support::{Answer, Backend, Browser, Fault, HOUR, Op, Setup, answer, serve};
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE};
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{CacheHeaders, Error, OnStoreFailure, Session, SessionLayerBuilder};

pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Fails in the way that the path's beginning says, after doing what its end says.
pub(super) async fn handle(session: Session, path: String) -> Result<Response<Body>, Error> {
    let (way, what) = path[1..].split_once('/').unwrap();
    match what {
        "read" => {
            let text = |key| Ok::<_, Error>(session.get::<String>(key)?.unwrap_or_else(|| "none".into()));
            let owner = session.owner().unwrap_or_else(|| "nobody".into());
            return Ok(format!("{} {} {owner}", text("a")?, text("b")?).into_response());
        }
        "write" => session.insert("a", "new")?,
        "change" => {
            session.insert("a", "new")?;
            session.flash("notice", "saved")?;
            session.set_idle_timeout(HOUR)?;
        }
        "sign_in" => session.sign_in("ada")?,
        "clear" => session.clear()?,
        "destroy" => session.destroy()?,
        "start_over" => session.destroy().and_then(|()| session.insert("b", "new"))?,
        "renew" => session.renew().and_then(|()| session.insert("a", "new"))?,
        "commit" => {
            session.insert("a", "new")?;
            session.commit().await?;
            session.insert("b", "new")?;
        }
        "retry" => {
            session.insert("a", "new")?;
            assert!(session.commit().await.is_err_and(|error| error.is_unavailable()));
            session.commit().await?;
        }
        "flash" => return Ok(session.take_flash::<String>("notice")?.unwrap_or_default().into_response()),
        _ => unreachable!("{what}"),
    }
    let mut response = Response::new(Body::from("handled"));
    match way {
        "ok" => {}
        "grpc" => _ = response.headers_mut().insert("grpc-status", "13".parse().unwrap()),
        "grpc-ok" => _ = response.headers_mut().insert("grpc-status", "0".parse().unwrap()),
        "panic" => panic!("on purpose"),
        status => *response.status_mut() = status.parse().unwrap(),
    }
    Ok(response)
}

pub(super) async fn started(setup: &Setup) -> Browser {
    let mut browser = serve(setup, handle);
    browser.post("/ok/write").await;
    browser.post("/ok/write").await;
    setup.store.forget();
    browser
}

async fn found(browser: &Browser) -> String {
    browser.send_without_keeping("GET", "/ok/read", "").await.body
}

pub(super) fn refused(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.body.is_empty() && answer.set_cookies().is_empty()
}

#[tokio::test]
async fn a_handler_that_fails_commits_no_value_flash_owner_or_timeout() {
    for backend in Backend::ALL {
        for (way, commits) in
            [("500", false), ("503", false), ("grpc", false), ("grpc-ok", true), ("404", true), ("303", true)]
        {
            let setup = Setup::new(backend);
            let mut fresh = serve(&setup, handle);
            let answer = fresh.post(&format!("/{way}/change")).await;
            assert_eq!(answer.set_cookie().is_some(), commits, "{backend:?} {way}: a new session");

            let mut browser = serve(&setup, handle);
            browser.post("/ok/commit").await;
            browser.post("/ok/renew").await;
            let before = setup.record(&browser).await.unwrap();
            browser.post(&format!("/{way}/change")).await;
            let after = setup.record(&browser).await.unwrap();
            assert_eq!(after == before, !commits, "{backend:?} {way}");
            assert_eq!(after.idle_timeout(), commits.then_some(HOUR), "{backend:?} {way}");
            assert_eq!(browser.get("/ok/flash").await.body == "saved", commits, "{backend:?} {way}");
        }
    }
}

#[tokio::test]
async fn what_a_failing_handler_destroys_or_renews_is_destroyed_or_renewed() {
    for backend in Backend::ALL {
        for way in ["500", "grpc"] {
            for (what, kept) in
                [("destroy", None), ("start_over", None), ("renew", Some("old")), ("sign_in", Some("old"))]
            {
                let setup = Setup::new(backend);
                let mut browser = serve(&setup, |session, path| async move {
                    if path == "/begin" {
                        session.insert("a", "old").map(|()| Response::default())
                    } else {
                        handle(session, path).await
                    }
                });
                browser.post("/begin").await;
                let old = browser.clone();
                let answer = browser.post(&format!("/{way}/{what}")).await;
                let at = format!("{backend:?} {way} {what}");
                assert_eq!(answer.body, "handled", "{at}: the handler's own answer");
                assert_eq!(answer.removes_cookie(), kept.is_none(), "{at}");
                assert_ne!(browser.token(), old.token(), "{at}");
                assert_eq!(found(&browser).await, format!("{} none nobody", kept.unwrap_or("none")), "{at}");
                if backend != Backend::Cookie {
                    assert_eq!(found(&old).await, "none none nobody", "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_option_saves_on_server_errors() {
    for backend in Backend::ALL {
        let setup = Setup::with(backend, SessionLayerBuilder::save_on_server_error);
        let mut browser = serve(&setup, handle);
        assert!(browser.post("/500/write").await.set_cookie().is_some(), "{backend:?}");
        browser.post("/500/sign_in").await;
        assert_eq!(found(&browser).await, "new none ada", "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_committed_explicitly_stays_with_its_cookie_whatever_the_status() {
    for backend in Backend::ALL {
        for way in ["500", "grpc"] {
            let setup = Setup::new(backend);
            let mut browser = serve(&setup, handle);
            assert!(browser.post(&format!("/{way}/commit")).await.max_age().is_some(), "{backend:?}");
            assert_eq!(found(&browser).await, "new none nobody", "{backend:?}: and nothing after it");
        }
    }
}

#[tokio::test]
async fn an_inner_error_passes_through_and_commits_nothing_but_a_destroy() {
    for backend in Backend::ALL {
        for (what, lives) in [
            ("write", true),
            ("renew", true),
            ("clear", true),
            ("sign_in", true),
            ("destroy", false),
            ("start_over", false),
        ] {
            let setup = Setup::new(backend);
            let mut browser = serve(&setup, |session, _| async move { session.insert("a", "old") });
            browser.post("/").await;
            let inner = service_fn(|request: Request<Body>| async move {
                let session = request.extensions().get::<Session>().unwrap().clone();
                handle(session, request.uri().path().to_owned()).await.unwrap();
                Err::<Response<Body>, _>("failed on purpose")
            });
            let request = Request::builder().uri(format!("/ok/{what}"));
            let request = request.header(COOKIE, format!("sid={}", browser.token().unwrap()));
            let failed = setup.layer.layer(inner).oneshot(request.body(Body::empty()).unwrap()).await;
            assert_eq!(failed.unwrap_err(), "failed on purpose", "{backend:?} {what}");
            let lives = lives || backend == Backend::Cookie;
            let record = setup.record(&browser).await;
            assert_eq!(record.is_some(), lives, "{backend:?} {what}");
            assert!(record.is_none_or(|record| record.owner().is_none()), "{backend:?} {what}");
            let browser = serve(&setup, handle).with_token(&browser.token().unwrap());
            assert_eq!(found(&browser).await, format!("{} none nobody", if lives { "old" } else { "none" }));
        }
    }
}

#[tokio::test]
async fn a_panic_commits_nothing_but_a_destroy() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let browser = started(&setup).await;
        let panics = async |what: &str| {
            let (panicking, path) = (browser.clone(), format!("/panic/{what}"));
            let request = async move { panicking.send_without_keeping("POST", &path, "").await };
            assert!(tokio::spawn(request).await.unwrap_err().is_panic());
        };
        for what in ["renew", "write", "sign_in"] {
            panics(what).await;
            assert_eq!((found(&browser).await.as_str(), setup.store.writes()), ("new none nobody", 0), "{backend:?}");
        }
        panics("start_over").await;
        if backend != Backend::Cookie {
            until(async || found(&browser).await == "none none nobody").await;
        }
        assert_eq!(setup.store.calls(Op::Create), 0, "{backend:?}");
    }
}

/// A service that counts its calls.
async fn send(setup: &Setup, token: Option<&str>, kind: &str) -> (Answer, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = service_fn(|request: Request<Body>| {
        calls.fetch_add(1, SeqCst);
        let session = request.extensions().get::<Session>().unwrap().clone();
        async move { Ok::<_, Infallible>(handle(session, request.uri().path().to_owned()).await.unwrap()) }
    });
    let mut request = Request::post("/ok/write").header(CONTENT_TYPE, kind);
    if let Some(token) = token {
        request = request.header(COOKIE, format!("sid={token}"));
    }
    let response = setup.layer.layer(inner).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (answer(response).await, calls.load(SeqCst))
}

#[tokio::test]
async fn a_load_that_fails_is_503_without_a_call_a_write_or_a_cookie_and_the_next_request_works() {
    for backend in Backend::ALL {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            let setup = Setup::new(backend);
            let browser = started(&setup).await;
            setup.store.fault(Op::Load, fault, 1);
            let (answer, calls) = send(&setup, browser.token().as_deref(), "text/plain").await;
            assert!(refused(&answer) && calls == 0, "{backend:?} {fault:?}: {answer:?}");
            assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (1, 0), "{backend:?}");
            assert_eq!(found(&browser).await, "new none nobody", "{backend:?} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_503_when_its_time_is_up() {
    for (backend, takes) in [(Backend::Remote, PATIENCE), (Backend::Memory, Duration::ZERO)] {
        let setup = Setup::with(backend, |builder| builder.store_timeout(PATIENCE));
        let browser = started(&setup).await;
        setup.store.fault(Op::Load, Fault::Hang, 1);
        let began = Instant::now();
        let (answer, calls) = send(&setup, browser.token().as_deref(), "text/plain").await;
        assert!(refused(&answer) && calls == 0, "{backend:?}: {answer:?}");
        assert_eq!(began.elapsed(), takes, "{backend:?}");
        assert_eq!(found(&browser).await, "new none nobody", "{backend:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_cookie_never_waits_for_the_store() {
    let setup = Setup::new(Backend::Remote);
    Op::WRITES.into_iter().chain([Op::Load]).for_each(|op| setup.store.fault(op, Fault::Hang, usize::MAX));
    let began = Instant::now();
    for cookie in ["", "sid=of another shape", "other=1"] {
        let mut browser = serve(&setup, handle);
        if let Some((name, value)) = cookie.split_once('=') {
            browser.cookies.insert(name.into(), value.into());
        }
        assert_eq!(browser.get("/ok/read").await.body, "none none nobody", "{cookie}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn grpc_hears_of_failures_in_its_own_way() {
    for backend in Backend::ALL {
        for op in [Op::Load, Op::Create, Op::Update] {
            let setup = Setup::new(backend);
            let browser = serve(&setup, |session, _| async move { session.insert("a", "old") });
            let mut browser = browser;
            browser.post("/").await;
            setup.store.fault(op, Fault::Fail, 1);
            let token = browser.token().filter(|_| op != Op::Create);
            let (answer, _) = send(&setup, token.as_deref(), "application/grpc+proto").await;
            assert_eq!((answer.status, answer.headers["grpc-status"].as_bytes()), (StatusCode::OK, &b"14"[..]));
            assert_eq!(answer.headers[CONTENT_TYPE], "application/grpc", "{backend:?} {op:?}");
            assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{backend:?} {op:?}");
            assert!(answer.set_cookies().is_empty() && answer.body.is_empty(), "{backend:?} {op:?}");
        }
    }
}

#[tokio::test]
async fn only_a_post_is_grpc_and_no_cache_keeps_an_outage() {
    for backend in Backend::ALL {
        for cache_headers in [CacheHeaders::Automatic, CacheHeaders::Off] {
            for method in ["GET", "HEAD", "PUT"] {
                let setup = Setup::with(backend, |builder| builder.cache_headers(cache_headers));
                let token = started(&setup).await.token().unwrap();
                setup.store.fault(Op::Load, Fault::Fail, 1);
                let inner = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
                let request = Request::builder().method(method).header(COOKIE, format!("sid={token}"));
                let request = request.header(CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap();
                let answer = answer(setup.layer.layer(inner).oneshot(request).await.unwrap()).await;
                assert!(refused(&answer), "{backend:?} {method}: {answer:?}");
                assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{backend:?} {method}");
                assert!(!answer.headers.contains_key("grpc-status"), "{backend:?} {method}");
            }
        }
    }
}

#[tokio::test]
async fn going_on_without_the_store_leaves_an_empty_session_that_refuses_every_change() {
    for backend in Backend::ALL {
        let setup = Setup::with(backend, |builder| builder.on_store_failure(OnStoreFailure::Continue));
        let browser = started(&setup).await;
        let other = serve(&setup, |session: Session, _| async move {
            assert!(session.is_unavailable() && session.view().is_unavailable() && session.is_empty());
            assert_eq!((session.get::<String>("a").unwrap(), session.owner()), (None, None));
            for (what, result) in [
                ("insert", session.insert("b", 1)),
                ("remove", session.remove("a").map(drop)),
                ("take", session.take::<String>("a").map(drop)),
                ("update", session.update("a", |value: Option<u8>| value)),
                ("clear", session.clear()),
                ("flash", session.flash("b", 1)),
                ("take_flash", session.take_flash::<String>("b").map(drop)),
                ("renew", session.renew()),
                ("destroy", session.destroy()),
                ("sign_in", session.sign_in("ada")),
                ("csrf_token", session.csrf_token().map(drop)),
                ("set_idle_timeout", session.set_idle_timeout(HOUR)),
            ] {
                assert!(result.is_err_and(|error| error.is_unavailable()), "{what}");
            }
            "went on"
        });
        setup.store.fault(Op::Load, Fault::Fail, 1);
        let answer = other.with_token(&browser.token().unwrap()).get("/").await;
        assert_eq!((answer.body.as_str(), answer.set_cookie()), ("went on", None), "{backend:?}");
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
        assert_eq!(found(&browser).await, "new none nobody", "{backend:?}");
    }
}
