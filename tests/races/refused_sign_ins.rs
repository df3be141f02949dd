//! A sign-in that is refused, fails or is taken back: what was there before it lives on, and nothing of it stays (promises 9,
//! 11, 12 and 27).

use http::StatusCode;
use serde_json::json;
use tower_session_layer::Session;

use crate::support::direct::{act, begin, send, settle, values};
use crate::support::{Backend, Fault, Op, Setup};

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
