//! What has expired does not count, swept or not, whatever the clock does then (promises 21 and 22).

use std::time::Duration;

use crate::support::direct::{act, begin, settle, values};
use crate::support::{Backend, Browser, DAY, Fault, HOUR, MINUTE, Op, Setup, is_alone, serve};
use http::StatusCode;
use tower_session_layer::{Clock as _, Error, ManualClock, MemoryStore, Session, SessionLayer, SessionStore as _};

const IDLE: Duration = HOUR;

fn setup(backend: Backend) -> Setup {
    Setup::with(backend, |builder| builder.idle_timeout(IDLE).absolute_timeout(DAY))
}

fn browser(setup: &Setup) -> Browser {
    let clock = setup.clock.clone();
    serve(setup, move |session, path| handle(session, path, clock.clone()))
}

/// Below `/late` the session expires while the request holds it.
async fn handle(session: Session, path: String, clock: ManualClock) -> Result<String, Error> {
    let path = match path.strip_prefix("/late") {
        Some(path) => {
            assert!(session.contains("country"));
            clock.advance(IDLE);
            path
        }
        None => &path,
    };
    match path {
        "/ada" => session.sign_in("ada").and_then(|()| session.insert("country", "US"))?,
        "/read" => {}
        "/write" => session.insert("own", 1)?,
        "/destroy" => session.destroy()?,
        "/renew" => session.insert("own", 1).and_then(|()| session.renew())?,
        "/commit" => {
            session.insert("own", 1)?;
            return Ok(format!("gone: {}", session.commit().await.is_err_and(|error| error.is_gone())));
        }
        "/reload" => return Ok(format!("gone: {}", session.reload().await.is_err_and(|error| error.is_gone()))),
        _ => unreachable!("{path}"),
    }
    Ok(session.keys().join(" "))
}

async fn found(browser: &Browser) -> String {
    browser.send_without_keeping("GET", "/read", "").await.body
}

#[tokio::test]
async fn a_session_that_expires_under_a_request_is_absent_for_whatever_it_does() {
    for backend in Backend::ALL {
        for (path, body, sets_cookie) in [
            ("/late/read", "country", false),
            ("/late/write", "country own", false),
            ("/late/commit", "gone: true", false),
            ("/late/reload", "gone: true", false),
            ("/late/destroy", "", backend == Backend::Cookie),
            ("/late/renew", "country own", true),
        ] {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/ada").await;
            let old = browser.clone();
            let answer = browser.post(path).await;
            let at = format!("{backend:?} {path}");
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, body), "{at}");
            assert_eq!(answer.set_cookie().is_some(), sets_cookie, "{at}");
            // It may be that of a sign-in since; where the client holds the session, the last answer wins anyway.
            assert_eq!(answer.removes_cookie(), path == "/late/destroy" && backend == Backend::Cookie, "{at}");
            assert_eq!(found(&old).await, "", "{at}");
            let own = if path == "/late/renew" { "own" } else { "" };
            assert_eq!(found(&browser).await, own, "{at}: only the request's own changes begin a session");
            if backend != Backend::Cookie {
                assert_eq!(setup.layer.owners().list("ada").await.unwrap(), [], "{at}");
            }
        }
    }
}

#[tokio::test]
async fn an_expired_session_is_not_listed_and_nothing_of_it_is_left_to_revoke() {
    for backend in Backend::SERVER {
        let setup = setup(backend);
        browser(&setup).post("/ada").await;
        let owners = setup.layer.owners();
        let handle = owners.list("ada").await.unwrap()[0].handle;
        setup.clock.advance(IDLE);
        assert_eq!(owners.list("ada").await.unwrap(), [], "{backend:?}");
        assert!(!owners.revoke("ada", handle).await.unwrap(), "{backend:?}");
        assert_eq!(owners.revoke_all("ada").await.unwrap(), 0, "{backend:?}");
    }
}

#[tokio::test]
async fn a_token_that_expired_is_not_used_again() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/ada").await;
        let old = browser.clone();
        setup.clock.advance(IDLE);
        assert_eq!(browser.post("/write").await.body, "own", "{backend:?}: nothing of the old session");
        assert_ne!(browser.token(), old.token(), "{backend:?}");
        assert_eq!(found(&old).await, "", "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_found_expired_stays_so_when_the_clock_steps_back() {
    const ANY: &[Backend] = &Backend::ALL;
    const SERVER: &[Backend] = &Backend::SERVER;
    for (finder, backends) in
        [("a request", ANY), ("a commit", ANY), ("a listing", SERVER), ("a revocation", SERVER), ("a sweep", SERVER)]
    {
        for &backend in backends {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/ada").await;
            let (begun, owners) = (setup.clock.now(), setup.layer.owners());
            let handle = setup.record(&browser).await.unwrap().handle();
            if finder == "a commit" {
                browser.post("/late/write").await;
            }
            setup.clock.set(begun + IDLE);
            match finder {
                "a request" => assert_eq!(found(&browser).await, ""),
                "a listing" => assert_eq!(owners.list("ada").await.unwrap(), []),
                "a revocation" => assert!(!owners.revoke("ada", handle).await.unwrap()),
                "a sweep" => assert_eq!(setup.store.sweep(1_000, setup.clock.now()).await.unwrap(), 1),
                _ => {}
            }
            for back in [MINUTE, IDLE, 2 * IDLE] {
                setup.clock.set(begun + IDLE - back);
                assert_eq!(found(&browser).await, "", "{backend:?}: found by {finder}, {back:?} back");
                if backend != Backend::Cookie {
                    assert_eq!(owners.list("ada").await.unwrap(), [], "{backend:?}: found by {finder}, {back:?} back");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_ends_no_session_and_moves_no_deadline() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/ada").await;
        let deadline = setup.record(&browser).await.unwrap().deadline();
        setup.clock.set(setup.clock.now() - 3 * HOUR);
        setup.store.forget();
        assert_eq!(found(&browser).await, "country", "{backend:?}");
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
        browser.post("/write").await;
        assert_eq!(setup.record(&browser).await.unwrap().deadline(), deadline, "{backend:?}");
        setup.clock.set(deadline);
        assert_eq!(found(&browser).await, "", "{backend:?}");
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_confuses_no_sign_in_with_a_revocation_before_it() {
    for backend in Backend::SERVER {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/ada").await;
        setup.clock.advance(MINUTE);
        assert_eq!(setup.layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        setup.clock.set(setup.clock.now() - 10 * MINUTE);
        let mut later = browser.another();
        later.post("/ada").await;
        assert_eq!(found(&later).await, "country", "{backend:?}: signed in after the revocation");
        assert_eq!(setup.layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        assert_eq!(found(&later).await, "", "{backend:?}: signed in before the revocation");
    }
}

/// Lets the runtime's time pass, which is not the layer's.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_starts_with_the_first_use_and_stops_with_the_store() {
    for backend in [Backend::Memory, Backend::Remote] {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        pass(HOUR).await;
        browser.get("/read").await;
        pass(HOUR).await;
        assert_eq!(setup.store.calls(Op::Sweep), 0, "{backend:?}: nothing to sweep yet");
        browser.post("/ada").await;
        pass(10 * MINUTE).await;
        let sweeps = setup.store.calls(Op::Sweep);
        assert!((9..=10).contains(&sweeps), "{backend:?}: one a minute, not {sweeps}");
        assert_eq!(setup.store.sessions().await, 1, "{backend:?}: it lives by the layer's clock, not by the timer's");
        setup.clock.advance(IDLE);
        pass(2 * MINUTE + MINUTE / 2).await;
        assert_eq!(setup.store.sessions().await, 0, "{backend:?}");

        let store = setup.store.clone();
        drop((setup, browser));
        store.forget();
        settle().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "{backend:?}");
        pass(DAY).await;
        assert_eq!(store.calls(Op::Sweep), 0, "{backend:?}: the layer is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_goes_in_bounded_steps_and_survives_a_failure() {
    for backend in [Backend::Memory, Backend::Remote] {
        let setup = setup(backend);
        let browser = browser(&setup);
        for _ in 0..600 {
            browser.another().post("/ada").await;
        }
        setup.clock.advance(IDLE);
        setup.store.forget();
        setup.store.fault(Op::Sweep, Fault::Fail, 1);
        pass(MINUTE + Duration::from_secs(1)).await;
        assert_eq!((setup.store.calls(Op::Sweep), setup.store.sessions().await), (1, 600), "{backend:?}");
        pass(MINUTE).await;
        assert_eq!((setup.store.calls(Op::Sweep), setup.store.sessions().await), (4, 0), "{backend:?}: 256 a step");
    }
}

#[test]
fn the_sweeper_starts_again_in_the_next_runtime_and_after_a_sweep_that_panicked() {
    let setup = setup(Backend::Memory);
    let browser = browser(&setup);
    let in_a_runtime = |sweeps: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            browser.another().post("/ada").await;
            setup.store.forget();
            pass(3 * MINUTE + MINUTE / 2).await;
            assert_eq!(setup.store.calls(Op::Sweep), sweeps);
        });
    };
    in_a_runtime(3);
    in_a_runtime(3);
    setup.store.fault(Op::Sweep, Fault::Panic, 1);
    in_a_runtime(1);
    in_a_runtime(3);
}

// Promise 22: what is remembered of a session is its latest deadline, however often older copies come by.
#[tokio::test]
async fn an_older_copy_that_comes_by_does_not_make_the_store_forget_the_latest_deadline() {
    let setup = Setup::with(Backend::Cookie, |builder| builder.idle_timeout(10 * HOUR));
    let older = begin(&setup.layer, |session| session.insert("a", 1)).await;
    setup.clock.advance(2 * HOUR);
    let latest = act(&setup.layer, Some(&older), |session| session.insert("b", 1)).await.token().unwrap();
    let right = setup.clock.now();
    let mut others = Vec::new();
    for _ in 0..2 * 4_096 {
        others.push(begin(&setup.layer, |session| session.insert("x", 1)).await);
    }
    setup.clock.advance(DAY);
    assert!(values(&setup.layer, &latest).await.is_none());
    for (at, other) in others.iter().enumerate() {
        if at % 1_000 == 0 || at == 4_095 {
            assert!(values(&setup.layer, &older).await.is_none());
        }
        assert!(values(&setup.layer, other).await.is_none());
    }
    assert!(values(&setup.layer, &older).await.is_none());
    setup.clock.set(right);
    assert_eq!(values(&setup.layer, &latest).await, None, "found expired among the last 4,096");
}

// A memory store needs no timer; a runtime without one must not panic with every request.
#[test]
fn a_runtime_without_a_timer_is_not_told_of_it_with_every_request() {
    if !is_alone("expiry::a_runtime_without_a_timer_is_not_told_of_it_with_every_request") {
        return;
    }
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.to_string().contains("timers are disabled") {
            PANICS.fetch_add(1, SeqCst);
        } else {
            before(info);
        }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let layer = SessionLayer::builder(MemoryStore::new()).cookie_name("sid").build().unwrap();
        for _ in 0..20 {
            begin(&layer, |session| session.insert("a", 1)).await;
            settle().await;
        }
    });
    assert!(PANICS.load(SeqCst) <= 4, "{} panics for 20 requests", PANICS.load(SeqCst));
}
