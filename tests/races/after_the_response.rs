//! Commits after the response, or after a request that no client waits for any more: `Ok` means that the change is durable
//! (promises 9, 14, 23 and 31).

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{Error, Session, SessionLayer};

use crate::support::direct::{act, begin, respond, send, settle, values};
use crate::support::{Answer, Backend, Fault, Op, Setup};

type Act = fn(&Session) -> Result<(), Error>;

/// Sends a request that changes its session while another does something to it, answers with this status, and goes on
/// afterwards.
async fn go_on_after<F>(
    setup: &Setup,
    token: &str,
    status: u16,
    meanwhile: Option<Act>,
    afterwards: impl FnOnce(Session) -> F,
) where
    F: Future<Output = ()>,
{
    let (given, kept) = oneshot::channel();
    let (layer, held) = (setup.layer.clone(), token.to_owned());
    send(&setup.layer, Some(token), move |session| async move {
        session.insert("before", 1).unwrap();
        if let Some(meanwhile) = meanwhile {
            act(&layer, Some(&held), meanwhile).await;
        }
        given.send(session).unwrap();
        StatusCode::from_u16(status).unwrap()
    })
    .await;
    afterwards(kept.await.unwrap()).await;
}

#[tokio::test]
async fn commit_after_the_response_does_not_hide_that_changes_were_dropped_with_it() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let begin = || begin(&setup.layer, |session| session.insert("a", 1));
        go_on_after(&setup, &begin().await, 200, None, |session| async move { session.commit().await.unwrap() }).await;
        go_on_after(&setup, &begin().await, 200, Some(Session::destroy), |session| async move {
            assert!(session.commit().await.unwrap_err().is_gone(), "{backend:?}");
        })
        .await;
        let token = begin().await;
        go_on_after(&setup, &token, 500, None, |session| async move {
            session.insert("after", 1).unwrap();
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
            session.commit().await.unwrap();
        })
        .await;
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "a": 1, "after": 1 })), "{backend:?}");
        let token = begin().await;
        setup.store.fault(Op::Update, Fault::Fail, 1);
        go_on_after(&setup, &token, 200, None, |session| async move {
            assert!(!session.contains("before") && !session.is_changed(), "{backend:?}");
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
        })
        .await;
        // A session of its own, where the other one was emptied, needs a cookie.
        go_on_after(&setup, &begin().await, 304, Some(Session::clear), |session| async move {
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn destroy_after_the_response_is_done_whatever_follows_it() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        go_on_after(&setup, &token, 200, None, |session| async move {
            session.destroy().unwrap();
            session.insert("b", 1).unwrap();
            assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}");
            assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}: it still cannot be stored");
        })
        .await;
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn destroy_after_the_response_that_needs_a_cookie_is_not_done_by_half() {
    let setup = Setup::new(Backend::Cookie);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    go_on_after(&setup, &token, 500, None, |session| async move {
        assert!(session.commit().await.unwrap_err().is_dropped());
        session.destroy().unwrap();
        session.insert("b", 1).unwrap();
        assert!(session.commit().await.unwrap_err().is_response_sent());
        assert!(!session.is_new(), "what the client holds goes on");
    })
    .await;
}

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

// Once the head is out, `commit()` of anything that needs a new token is an error: more so where no head will ever be sent.
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
