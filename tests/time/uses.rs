//! When a use moves the deadline without a cookie, and idle timeouts that a session sets itself (promise 20).

use std::time::Duration;

use crate::support::direct::{act, begin, send, values};
use crate::support::{Backend, Browser, DAY, HOUR, Op, Setup};
use http::StatusCode;
use serde_json::json;
use tokio::sync::oneshot;
use tower_session_layer::{Clock as _, Error, Session};

const INSTANT: Duration = Duration::from_micros(1);
const BETWEEN_USES: Duration = Duration::from_secs(40 * 60);
const BRIEF: Duration = Duration::from_secs(30 * 60);
const REMEMBERED: Duration = Duration::from_secs(3 * 60 * 60);

/// An hour of idle time, of which two thirds pass between two uses.
fn an_hour(backend: Backend) -> Setup {
    Setup::with(backend, |builder| builder.idle_timeout(HOUR))
}

/// Answers at once, and keeps the session for afterwards, as a socket does.
async fn socket(setup: &Setup, token: &str) -> Session {
    let (given, kept) = oneshot::channel();
    send(&setup.layer, Some(token), |session| async move { given.send(session).unwrap() }).await;
    kept.await.unwrap()
}

#[tokio::test]
async fn a_socket_in_use_does_not_expire_under_its_user() {
    type Use = fn(&Session, u32) -> Result<(), Error>;
    let uses: [(&str, Use); 2] = [
        ("write", |session, round| session.insert("message", round)),
        ("read", |session, _| session.get::<u32>("message").map(drop)),
    ];
    for backend in Backend::SERVER {
        for (what, act_on) in uses {
            let setup = an_hour(backend);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let session = socket(&setup, &token).await;
            for round in 0..20 {
                setup.clock.advance(BETWEEN_USES);
                if round == 3 {
                    // From then on the socket's record is out of date.
                    act(&setup.layer, Some(&token), |session| session.insert("a", 2)).await;
                    setup.clock.advance(BETWEEN_USES);
                }
                act_on(&session, round).unwrap();
                session.commit().await.unwrap_or_else(|error| panic!("{backend:?} {what} {round}: {error}"));
                assert_eq!(session.expires_at(), setup.clock.now() + HOUR, "{backend:?} {what} {round}");
            }
            setup.clock.advance(HOUR.checked_sub(INSTANT).unwrap());
            assert!(values(&setup.layer, &token).await.is_some(), "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn a_page_that_answers_304_keeps_its_session_alive() {
    for backend in Backend::SERVER {
        for commits in [true, false] {
            let setup = an_hour(backend);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            for round in 0..20 {
                setup.clock.advance(BETWEEN_USES);
                let answer = send(&setup.layer, Some(&token), move |session| async move {
                    session.insert("a", round).unwrap();
                    if commits {
                        session.commit().await.unwrap();
                    }
                    StatusCode::NOT_MODIFIED
                })
                .await;
                assert_eq!((answer.status, answer.set_cookie()), (StatusCode::NOT_MODIFIED, None), "{backend:?}");
            }
            setup.clock.advance(HOUR.checked_sub(INSTANT).unwrap());
            assert!(values(&setup.layer, &token).await.is_some(), "{backend:?}, {commits}");
        }
    }
}

#[tokio::test]
async fn a_commit_without_a_use_since_the_last_one_moves_no_deadline() {
    for backend in Backend::SERVER {
        let setup = an_hour(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let session = socket(&setup, &token).await;
        setup.store.forget();
        assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
        for touches in [1, 1] {
            setup.clock.advance(BETWEEN_USES);
            session.commit().await.unwrap();
            assert_eq!(setup.store.calls(Op::Touch), touches, "{backend:?}");
        }
        setup.clock.advance(HOUR.checked_sub(BETWEEN_USES).unwrap());
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn an_idle_timeout_can_be_set_after_the_response_unless_the_client_has_to_be_told() {
    for backend in Backend::ALL {
        for is_browsers in [false, true] {
            let setup = Setup::with(backend, |builder| if is_browsers { builder.browser_session() } else { builder });
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let session = socket(&setup, &token).await;
            session.set_idle_timeout(DAY).unwrap();
            let end = setup.clock.now() + if is_browsers || backend == Backend::Cookie { 7 * DAY } else { DAY };
            match session.commit().await {
                Ok(()) => assert!(!is_browsers && backend != Backend::Cookie, "{backend:?}"),
                Err(error) => {
                    assert!(error.is_response_sent() && end > setup.clock.now() + DAY, "{backend:?}: {error}");
                }
            }
            act(&setup.layer, Some(&token), move |session| assert_eq!(session.expires_at(), end, "{backend:?}")).await;
        }
    }
}

#[tokio::test]
async fn an_idle_timeout_set_before_another_persons_sign_in_is_for_the_session_that_goes_on() {
    type Meanwhile = fn(&Session) -> Result<(), Error>;
    let rows: [(&str, Option<Meanwhile>); 3] = [
        ("alone", None),
        ("beside a write", Some(|session| session.insert("b", 1))),
        ("beside a logout", Some(Session::destroy)),
    ];
    for backend in Backend::ALL {
        for (what, meanwhile) in rows {
            let setup = an_hour(backend);
            let hers = begin(&setup.layer, |session| {
                session.set_idle_timeout(BRIEF)?;
                session.sign_in("ada")
            });
            let hers = hers.await;
            let (layer, token) = (setup.layer.clone(), hers.clone());
            let answer = send(&setup.layer, Some(&hers), move |session| async move {
                session.set_idle_timeout(REMEMBERED)?;
                session.insert("cart", 1)?;
                session.sign_in("bob")?;
                if let Some(meanwhile) = meanwhile {
                    act(&layer, Some(&token), meanwhile).await;
                }
                Ok::<_, Error>(())
            });
            let his = answer.await.token().unwrap();
            let browser = Browser::new(axum::Router::new()).with_token(&his);
            let record = setup.record(&browser).await.unwrap();
            assert_eq!((record.owner(), values(&setup.layer, &his).await), (Some("bob"), Some(json!({}))), "{what}");
            assert_eq!(record.idle_timeout(), Some(REMEMBERED), "{backend:?} {what}");
            assert_eq!(record.deadline(), setup.clock.now() + REMEMBERED, "{backend:?} {what}");
        }
    }
}
