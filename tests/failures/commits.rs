//! When a commit fails: who hears of it, what stays, and that the next request works (promises 23 and 24).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::direct::{begin, send, settle, until, values};
use crate::support::{Answer, Backend, Browser, Fault, HOUR, Log, MINUTE, Op, Setup, serve};
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_session_layer::{Error, Session};

const PATIENCE: Duration = Duration::from_secs(5);

async fn handle(session: Session, path: String) -> Result<String, Error> {
    match path.as_str() {
        "/read" => {}
        "/write" => session.insert("b", 1)?,
        "/empty" => session.clear()?,
        "/renew" => session.renew()?,
        "/ada" => session.sign_in("ada")?,
        "/destroy" => session.destroy()?,
        "/start_over" => session.destroy().and_then(|()| session.insert("b", 1))?,
        "/commit" => {
            session.insert("b", 1)?;
            let error = session.commit().await.unwrap_err();
            assert!(error.is_unavailable() && session.is_changed(), "{error}");
            session.commit().await?;
        }
        _ => unreachable!("{path}"),
    }
    Ok(session.keys().join(" "))
}

/// A browser whose session holds `a`.
async fn started(setup: &Setup) -> Browser {
    let mut browser = serve(setup, |session, path| async move {
        if path == "/begin" {
            session.insert("a", 1)?;
        }
        if path == "/begin" { Ok(String::new()) } else { handle(session, path).await }
    });
    assert!(browser.post("/begin").await.set_cookie().is_some());
    setup.store.forget();
    browser
}

async fn found(browser: &Browser) -> String {
    browser.send_without_keeping("GET", "/read", "").await.body
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.body.is_empty() && answer.set_cookies().is_empty()
}

/// What a request asks, in which call it fails, and what its session holds afterwards.
const FAILURES: [(&str, Op, &str); 6] = [
    ("/write", Op::Update, "a"),
    ("/empty", Op::Update, "a"),
    ("/renew", Op::Create, "a"),
    ("/renew", Op::Update, "a"),
    ("/ada", Op::Create, "a"),
    ("/ada", Op::Update, "a"),
];

#[tokio::test]
async fn a_commit_that_fails_is_503_and_sends_no_cookie_and_the_session_goes_on() {
    for backend in Backend::ALL {
        for (path, op, kept) in FAILURES {
            if backend == Backend::Cookie && op == Op::Create {
                continue;
            }
            let setup = Setup::new(backend);
            let mut browser = started(&setup).await;
            setup.store.fault(op, Fault::Fail, 1);
            let answer = browser.post(path).await;
            let at = format!("{backend:?} {path} {op:?}");
            assert!(is_refused(&answer), "{at}: {answer:?}");
            assert_eq!(found(&browser).await, kept, "{at}");
            assert_eq!(browser.post("/write").await.status, StatusCode::OK, "{at}");
            assert_eq!(found(&browser).await, "a b", "{at}: the store is back");
        }
    }
}

#[tokio::test]
async fn a_new_session_that_cannot_be_stored_gets_no_cookie() {
    for backend in Backend::ALL {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            let setup = Setup::new(backend);
            let mut browser = serve(&setup, handle);
            setup.store.fault(Op::Create, fault, 1);
            assert!(is_refused(&browser.post("/write").await), "{backend:?} {fault:?}");
            if backend == Backend::Memory {
                assert_eq!(setup.store.sessions().await, 0, "{fault:?}: nobody knows its token");
            }
            assert!(browser.post("/write").await.set_cookie().is_some(), "{backend:?} {fault:?}");
            assert_eq!(found(&browser).await, "b", "{backend:?} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_is_503_when_its_time_is_up() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        for (path, op) in [("/write", Op::Update), ("/renew", Op::Create), ("/destroy", Op::Delete)] {
            let setup = Setup::with(Backend::Remote, |builder| builder.store_timeout(PATIENCE));
            let mut browser = started(&setup).await;
            setup.store.fault(op, fault, 1);
            let began = Instant::now();
            let answer = browser.post(path).await;
            assert_eq!((answer.status, began.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, PATIENCE), "{path}");
            assert_eq!(answer.set_cookie().is_some(), path == "/destroy", "{fault:?} {path}");
            assert_eq!(browser.another().post("/write").await.status, StatusCode::OK, "{fault:?} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_other_commits_of_the_session_counts_as_waiting_for_the_store() {
    for (what, op) in [("commit", Op::Update), ("reload", Op::Load)] {
        let setup = Setup::with(Backend::Remote, |builder| builder.store_timeout(PATIENCE));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let store = setup.store.clone();
        let asking = send(&setup.layer, Some(&token), move |session| async move {
            session.insert("b", 1)?;
            store.forget();
            store.fault(op, Fault::Hang, usize::MAX);
            let (mut asking, began) = (JoinSet::new(), Instant::now());
            for _ in 0..20 {
                let session = session.clone();
                asking
                    .spawn(async move { if op == Op::Load { session.reload().await } else { session.commit().await } });
            }
            let answers = asking.join_all().await;
            assert!(answers.into_iter().all(|answer| answer.is_err_and(|error| error.is_unavailable())), "{what}");
            assert_eq!((began.elapsed(), store.calls(op)), (PATIENCE, 1), "{what}: nothing is sent in vain");
            store.heal();
            session.insert("c", 1)
        });
        assert!(asking.await.leaves_cookie(), "{what}");
        let expected = serde_json::json!({ "a": 1, "b": 1, "c": 1 });
        assert_eq!(values(&setup.layer, &token).await, Some(expected), "{what}");
    }
}

/// The response waits no longer than the store timeout, whatever other commits of the request have done.
#[tokio::test(start_paused = true)]
async fn last_commit_whose_turn_does_not_come_drops_the_changes_and_carries_a_destroy_out() {
    for destroys in [false, true] {
        let setup = Setup::with(Backend::Remote, |builder| builder.store_timeout(PATIENCE));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.store.fault(Op::Update, Fault::Hang, 1);
        let (kept, began) = (Arc::new(Mutex::new(None)), Instant::now());
        let keeps = Arc::clone(&kept);
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            session.insert("b", 1)?;
            let other = session.clone();
            tokio::spawn(async move { other.commit().await.unwrap_err() });
            settle().await;
            session.insert("c", 1)?;
            *keeps.lock().unwrap() = Some(session.clone());
            if destroys { session.destroy() } else { Ok(()) }
        })
        .await;
        assert_eq!((answer.status, began.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, PATIENCE), "{destroys}");
        assert_eq!(answer.removes_cookie(), destroys);
        if destroys {
            until(async || values(&setup.layer, &token).await.is_none()).await;
            continue;
        }
        settle().await;
        let session = kept.lock().unwrap().take().unwrap();
        assert!(session.commit().await.unwrap_err().is_dropped());
        session.commit().await.unwrap();
        assert_eq!(values(&setup.layer, &token).await.unwrap().get("c"), None, "it was of the response");
    }
}

#[tokio::test]
async fn a_failed_destroy_says_so_and_removes_the_cookie_all_the_same() {
    for backend in Backend::ALL {
        for path in ["/destroy", "/start_over"] {
            let setup = Setup::new(backend);
            let mut browser = started(&setup).await;
            let old = browser.clone();
            // Only the token itself names a session that its client holds.
            let ends = if backend == Backend::Cookie { Op::Update } else { Op::Delete };
            setup.store.fault(ends, Fault::Fail, 1);
            let answer = browser.post(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?} {path}");
            assert!(answer.removes_cookie(), "{backend:?} {path}");
            assert_eq!(found(&old).await, "a", "{backend:?} {path}: which is why it says so");
        }
    }
}

#[tokio::test]
async fn what_ended_before_the_next_session_failed_to_begin_takes_its_cookie_along() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let mut browser = started(&setup).await;
        let old = browser.clone();
        setup.store.fault(Op::Create, Fault::Fail, 1);
        let answer = browser.post("/start_over").await;
        assert_eq!((answer.status, answer.removes_cookie()), (StatusCode::SERVICE_UNAVAILABLE, true), "{backend:?}");
        assert_eq!(found(&old).await, "", "{backend:?}");
    }
}

#[tokio::test]
async fn what_ended_before_a_sign_in_was_refused_takes_its_cookie_along() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let (layer, clock) = (setup.layer.clone(), setup.clock.clone());
        let mut browser = serve(&setup, move |session, path| {
            let (owners, clock) = (layer.owners(), clock.clone());
            async move {
                if path == "/begin" {
                    return session.insert("a", 1);
                }
                session.destroy()?;
                session.sign_in("ada")?;
                owners.revoke_all("ada").await?;
                clock.advance(MINUTE);
                Ok(())
            }
        });
        browser.post("/begin").await;
        let log = Log::capture();
        let answer = browser.post("/start_over").await;
        assert_eq!((answer.status, answer.removes_cookie()), (StatusCode::SERVICE_UNAVAILABLE, true), "{backend:?}");
        assert!(log.text().contains("a sign-in came too late"), "{backend:?}: {}", log.text());
    }
}

#[tokio::test]
async fn a_touch_that_fails_costs_the_client_nothing() {
    for backend in Backend::ALL {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            let setup = Setup::with(backend, |builder| builder.idle_timeout(HOUR));
            let mut browser = started(&setup).await;
            setup.clock.advance(10 * MINUTE);
            setup.store.fault(Op::Touch, fault, 1);
            let answer = browser.get("/read").await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "a"), "{backend:?} {fault:?}");
            assert_eq!(answer.set_cookie(), None, "{backend:?} {fault:?}");
            assert_eq!(browser.get("/read").await.body, "a", "{backend:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn changes_remain_after_an_explicit_commit_that_failed() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = started(&setup).await;
        setup.store.fault(Op::Update, Fault::Fail, 1);
        assert_eq!(browser.post("/commit").await.body, "a b", "{backend:?}");
        assert_eq!(found(&browser).await, "a b", "{backend:?}");
    }
}

#[tokio::test]
async fn one_requests_failure_is_nobody_elses() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (mut first, mut second) = (started(&setup).await, started(&setup).await);
        setup.store.fault(Op::Update, Fault::Fail, 1);
        assert!(is_refused(&first.post("/write").await), "{backend:?}");
        assert_eq!(second.post("/write").await.status, StatusCode::OK, "{backend:?}");
        assert_eq!((found(&first).await.as_str(), found(&second).await.as_str()), ("a", "a b"), "{backend:?}");
    }
}
