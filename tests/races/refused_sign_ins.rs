//! What is left over where a commit failed, a client went away, or a session had ended already.

use std::sync::{Arc, Mutex};

use crate::support::direct::{act, begin, hold, respond, send, settle, values};
use crate::support::{Answer, Backend, DAY, Fault, HOUR, Op, Setup, answer};
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{Clock as _, CookieKey, CookieStore, Error, MemoryStore, Session, SessionLayer};

/// Runs a handler and keeps its session beyond the response.
async fn kept(
    layer: &SessionLayer,
    token: Option<&str>,
    act: impl FnOnce(&Session) + Send + 'static,
) -> (Answer, Session) {
    let slot = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&slot);
    let answer = send(layer, token, |session| async move {
        act(&session);
        *keep.lock().unwrap() = Some(session);
    })
    .await;
    let session = slot.lock().unwrap().take().unwrap();
    (answer, session)
}

// CHANGELOG "an `Ok` always means that the change is durable"; promises 23 and 31.
#[tokio::test]
async fn commit_after_a_destroy_that_failed_with_its_response_is_no_ok() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.store.fault(Op::Delete, Fault::Fail, 1);
        let (answer, session) = kept(&setup.layer, Some(&token), |session| session.destroy().unwrap()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?}");
        let committed = session.commit().await;
        let lives = values(&setup.layer, &token).await.is_some();
        assert!(committed.is_err() || !lives, "{backend:?}: commit() is {committed:?} and the session lives: {lives}");
    }
}

#[tokio::test]
async fn commit_after_a_renewal_that_failed_with_its_response_is_no_ok() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.store.fault(Op::Create, Fault::Fail, 1);
        let (answer, session) = kept(&setup.layer, Some(&token), |session| session.renew().unwrap()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?}");
        let committed = session.commit().await;
        assert!(committed.is_err(), "{backend:?}: commit() is {committed:?} and the old token lives");
    }
}

// The same where the service itself fails: a `renew` is dropped and nobody hears of it.
#[tokio::test]
async fn commit_after_a_renewal_that_a_failed_service_dropped_is_no_ok() {
    let setup = Setup::new(Backend::Memory);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    let slot = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&slot);
    let service = setup.layer.layer(service_fn(move |request: Request<Body>| {
        let session = Session::from_extensions(request.extensions()).unwrap();
        session.renew().unwrap();
        *keep.lock().unwrap() = Some(session);
        async { Err::<axum::response::Response, _>("failed") }
    }));
    let request = Request::builder().header("cookie", format!("sid={token}")).body(Body::empty()).unwrap();
    service.oneshot(request).await.unwrap_err();
    let session = slot.lock().unwrap().take().unwrap();
    let committed = session.commit().await;
    assert!(committed.is_err(), "commit() is {committed:?} and the old token lives");
}

/// Signs in and is refused, since the owner's sessions are revoked before the commit.
async fn sign_in_in_vain(session: &Session) {
    session.sign_in("ada").unwrap();
    session.owners().revoke_all("ada").await.unwrap();
    assert!(session.commit().await.unwrap_err().is_gone());
}

// Promises 9, 11, 12: a refused sign-in does not end the anonymous session that it would have renewed.
#[tokio::test]
async fn what_is_written_after_a_refused_sign_in_reaches_the_session_that_lives_on() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("cart", 1)).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            sign_in_in_vain(&session).await;
            session.insert("notice", "please try again").unwrap();
        })
        .await;
        assert!(answer.status.is_success());
        let held = answer.token().unwrap_or(token);
        let found = values(&setup.layer, &held).await.unwrap();
        assert_eq!(found, json!({ "cart": 1, "notice": "please try again" }), "{backend:?}");
    }
}

#[tokio::test]
async fn a_visitor_who_signs_in_again_after_a_refusal_keeps_the_cart_and_the_old_token_dies() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("cart", 1)).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            sign_in_in_vain(&session).await;
            session.sign_in("ada").unwrap();
            session.commit().await.unwrap();
        })
        .await;
        let fresh = answer.token().unwrap();
        let found = (values(&setup.layer, &fresh).await, values(&setup.layer, &token).await);
        assert_eq!(found, (Some(json!({ "cart": 1 })), None), "{backend:?}: (new token, old token)");
    }
}

#[tokio::test]
async fn a_visitor_without_a_session_gets_one_for_what_follows_a_refused_sign_in() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let answer = send(&setup.layer, None, |session| async move {
            sign_in_in_vain(&session).await;
            session.flash("notice", "please try again").unwrap();
        })
        .await;
        assert!(answer.token().is_some(), "{backend:?}: the flash vanished in silence");
    }
}

// Promise 12: only a renewal of the request itself begins a session where the token was dead.
#[tokio::test]
async fn a_sign_in_that_was_taken_back_after_it_failed_leaves_a_dead_token_dead() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        act(&setup.layer, Some(&token), Session::destroy).await;
        let store = setup.store.clone();
        let answer = send(&setup.layer, Some(&token), |session| async move {
            let form = session.csrf_token().unwrap();
            session.sign_in("ada").unwrap();
            store.fault(Op::Create, Fault::Fail, 1);
            session.commit().await.unwrap_err();
            session.destroy().unwrap();
            session.insert("notice", "the shop is closed").unwrap();
            session.verify_csrf(&form).to_string()
        })
        .await;
        assert!(answer.leaves_cookie(), "{backend:?}: {:?}", answer.set_cookie());
    }
}

// Promise 10: a destroy follows the renewal, also after a sign-in in the same request failed.
#[tokio::test]
async fn a_destroy_after_a_failed_sign_in_still_follows_the_renewal_it_learned_of() {
    for backend in Backend::SERVER {
        let setup = Arc::new(Setup::new(backend));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            let renewed = act(&other.layer, Some(&held), Session::renew).await.token().unwrap();
            assert!(session.reload().await.unwrap_err().is_gone());
            session.sign_in("ada").unwrap();
            other.store.fault(Op::Create, Fault::Fail, 1);
            session.commit().await.unwrap_err();
            session.destroy().unwrap();
            session.commit().await.unwrap();
            renewed
        })
        .await;
        assert_eq!(values(&setup.layer, &answer.body).await, None, "{backend:?}: destroyed, and lives");
    }
}

// Promise 12 / tests/regressions.rs "only a renewal begins anew".
#[tokio::test]
async fn what_follows_the_commit_of_a_late_destroy_replaces_no_cookie() {
    for backend in Backend::SERVER {
        let setup = Arc::new(Setup::new(backend));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            act(&other.layer, Some(&held), Session::destroy).await;
            assert!(session.reload().await.unwrap_err().is_gone());
            session.destroy().unwrap();
            session.commit().await.unwrap();
            session.insert("late", 1).unwrap();
        })
        .await;
        assert!(answer.leaves_cookie(), "{backend:?}: {:?}", answer.set_cookie());
    }
}

// Promise 7: a slow request with an old cookie must not clobber the one a login just set.
#[tokio::test]
async fn a_slow_logout_does_not_remove_the_cookie_of_the_login_that_followed_another_logout() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let slow = hold(&setup.layer, &token, Session::destroy).await;
        assert!(act(&setup.layer, Some(&token), Session::destroy).await.removes_cookie());
        setup.clock.advance(crate::support::MINUTE / 60);
        let login = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let answer = slow.release().await;
        assert!(answer.leaves_cookie(), "{backend:?}: {:?}", answer.set_cookie());
        assert!(values(&setup.layer, &login).await.is_some());
    }
}

// Session::commit, "the session is gone"; promise table: `reload()` errs with is_gone.
#[tokio::test]
async fn every_reload_of_a_session_that_is_gone_says_so() {
    for backend in Backend::SERVER {
        let setup = Arc::new(Setup::new(backend));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            act(&other.layer, Some(&held), Session::destroy).await;
            assert!(session.reload().await.unwrap_err().is_gone());
            format!("{:?}", session.reload().await.map_err(|error| error.is_gone()))
        })
        .await;
        assert_eq!(answer.body, "Err(true)", "{backend:?}");
    }
}

// "After the response's head is out commit() of anything that needs a new token is Err": more so where none ever will be.
#[tokio::test]
async fn a_renewal_that_no_client_will_hear_of_does_not_end_the_old_token() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (sender, receiver) = oneshot::channel();
        let responding = respond(&setup.layer, Some(&token), |session| async move {
            sender.send(session).unwrap();
            std::future::pending::<()>().await;
        });
        let request = tokio::spawn(responding);
        let session: Session = receiver.await.unwrap();
        // The client goes away; a task that the handler started goes on.
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        settle().await;
        session.renew().unwrap();
        let committed = session.commit().await;
        let lives = values(&setup.layer, &token).await.is_some();
        assert!(
            committed.is_err() && lives,
            "{backend:?}: commit() is {committed:?}, the client's token lives: {lives}"
        );
    }
}

#[tokio::test]
async fn a_session_that_no_client_will_hear_of_is_not_begun() {
    let setup = Setup::new(Backend::Memory);
    let (sender, receiver) = oneshot::channel();
    let responding = respond(&setup.layer, None, |session| async move {
        sender.send(session).unwrap();
        std::future::pending::<()>().await;
    });
    let request = tokio::spawn(responding);
    let session: Session = receiver.await.unwrap();
    request.abort();
    let _ = request.await;
    session.insert("a", 1).unwrap();
    let committed = session.commit().await;
    assert!(committed.is_err(), "Ok, and {} session stands that nobody can reach", setup.store.sessions().await);
}

// Promise 26: "reads only an exact set, and removes leftovers when it shrinks".
#[tokio::test]
async fn fewer_chunks_lock_nobody_out() {
    let layer = |chunks| {
        let store = CookieStore::builder([CookieKey::new(&[7; 32]).unwrap()]).max_chunks(chunks).build().unwrap();
        SessionLayer::builder(store).cookie_name("sid").build().unwrap()
    };
    let jar = Arc::new(Mutex::new(std::collections::BTreeMap::<String, String>::new()));
    let send = |layer: SessionLayer, act: fn(&Session) -> Result<Option<String>, Error>| {
        let jar = Arc::clone(&jar);
        async move {
            let service = layer.layer(service_fn(move |request: Request<Body>| async move {
                let session = Session::from_extensions(request.extensions()).unwrap();
                let said = act(&session).unwrap().unwrap_or_default();
                Ok::<_, std::convert::Infallible>(axum::response::Response::new(Body::from(said)))
            }));
            let cookies: Vec<_> = jar.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = Request::builder().header("cookie", cookies.join("; ")).body(Body::empty()).unwrap();
            let answer = answer(service.oneshot(request).await.unwrap()).await;
            for cookie in answer.set_cookies() {
                let (pair, rest) = cookie.split_once(';').unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                if rest.contains("Max-Age=0;") {
                    jar.lock().unwrap().remove(name);
                } else {
                    jar.lock().unwrap().insert(name.into(), value.into());
                }
            }
            answer.body
        }
    };
    send(layer(3), |session| session.insert("a", "x".repeat(7_000)).map(|()| None)).await;
    assert_eq!(jar.lock().unwrap().len(), 3);
    send(layer(2), |session| session.insert("b", "kept").map(|()| None)).await;
    let found = send(layer(2), |session| session.get("b")).await;
    let names: Vec<_> = jar.lock().unwrap().keys().cloned().collect();
    assert_eq!(found, "kept", "the client has {names:?}");
}

// Promise 27: a device that nobody holds is no device.
#[tokio::test]
async fn a_sign_in_whose_answer_was_lost_and_that_is_taken_back_leaves_no_device() {
    for backend in Backend::SERVER {
        for ends in ["destroy", "500"] {
            let setup = Setup::new(backend);
            let store = setup.store.clone();
            let answer = send(&setup.layer, None, move |session| async move {
                session.sign_in("ada").unwrap();
                store.fault(Op::Create, Fault::LoseAnswer, 1);
                session.commit().await.unwrap_err();
                if ends == "500" {
                    return StatusCode::INTERNAL_SERVER_ERROR;
                }
                session.destroy().unwrap();
                StatusCode::OK
            })
            .await;
            assert!(answer.set_cookie().is_none());
            settle().await;
            let left = setup.layer.owners().list("ada").await.unwrap();
            assert!(left.is_empty(), "{backend:?} {ends}: {left:?}");
        }
    }
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
