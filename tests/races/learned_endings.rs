//! A request that has learned that its session ended: what it reloads, destroys and begins after that (promises 10, 12 and 13).

use std::sync::Arc;

use serde_json::json;
use tower_session_layer::Session;

use crate::support::direct::{act, begin, send, values};
use crate::support::{Backend, Fault, Op, Setup};

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

#[tokio::test]
async fn reload_of_a_session_that_was_emptied_finds_a_new_one() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (layer, held) = (setup.layer.clone(), token.clone());
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            act(&layer, Some(&held), Session::clear).await;
            session.reload().await?;
            assert!(session.is_new() && session.is_empty(), "{backend:?}");
            session.insert("b", 1)
        })
        .await;
        let fresh = answer.token().unwrap();
        assert_ne!(fresh, token, "{backend:?}");
        assert_eq!(values(&setup.layer, &fresh).await, Some(json!({ "b": 1 })), "{backend:?}");
    }
}

#[tokio::test]
async fn reload_of_an_outdated_session_finds_what_others_wrote_and_sends_its_token() {
    let setup = Setup::new(Backend::Memory);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    let (layer, store, held) = (setup.layer.clone(), setup.store.clone(), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        act(&layer, Some(&held), |session| session.insert("b", 1)).await;
        store.fault(Op::Load, Fault::Outdated, 1);
        session.reload().await.unwrap();
        assert!(session.contains("b"));
    });
    assert_eq!(answer.await.token(), Some(token));
}

#[tokio::test]
async fn destroy_follows_a_renewal_that_the_request_learned_of_before() {
    for reloads in [true, false] {
        let setup = Arc::new(Setup::new(Backend::Memory));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        send(&setup.layer, Some(&token), move |session| async move {
            act(&other.layer, Some(&held), Session::renew).await;
            session.insert("b", 1).unwrap();
            let gone = if reloads { session.reload().await } else { session.commit().await };
            assert!(gone.unwrap_err().is_gone());
            session.destroy().unwrap();
            String::new()
        })
        .await;
        assert_eq!(setup.store.sessions().await, 0, "reloads: {reloads}");
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

// Promise 12: only a renewal begins anew.
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

#[tokio::test]
async fn sign_in_after_a_destroy_of_what_ended_meanwhile_is_done() {
    for backend in Backend::SERVER {
        for signs_in in [true, false] {
            let setup = Arc::new(Setup::new(backend));
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let (other, held) = (Arc::clone(&setup), token.clone());
            let answer = send(&setup.layer, Some(&token), move |session| async move {
                let renewed = act(&other.layer, Some(&held), Session::renew).await.token().unwrap();
                session.insert("b", 1).unwrap();
                assert!(session.commit().await.unwrap_err().is_gone());
                session.destroy().unwrap();
                session.insert("c", 1).unwrap();
                if signs_in {
                    session.sign_in("ada").unwrap();
                } else {
                    assert!(session.commit().await.unwrap_err().is_gone(), "only a renewal begins anew");
                }
                renewed
            });
            let answer = answer.await;
            assert_eq!(values(&setup.layer, &answer.body).await, None, "{backend:?}: what it became is destroyed");
            assert_eq!(answer.token().is_some(), signs_in, "{backend:?}");
            if let Some(token) = answer.token() {
                assert_eq!(values(&setup.layer, &token).await, Some(json!({ "c": 1 })), "{backend:?}");
            }
        }
    }
}
