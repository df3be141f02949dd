//! What a hostile reading found, each named for the rule that it broke.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::direct::{act, begin, send, values};
use support::{Backend, DAY, Fault, Op, Setup};

#[tokio::test]
async fn large_numbers_that_round_to_one_are_two() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("id", 1_u128 << 100)).await;
        let answer = act(&setup.layer, Some(&token), |session| session.insert("id", (1_u128 << 100) + 1)).await;
        let token = answer.token().unwrap_or(token);
        let read = send(&setup.layer, Some(&token), |session| async move {
            session.get::<u128>("id").unwrap().unwrap().to_string()
        });
        assert_eq!(read.await.body, ((1_u128 << 100) + 1).to_string(), "{backend:?}");
    }
}

#[tokio::test]
async fn signing_in_again_and_revoking_the_others_keeps_the_values() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token =
            begin(&setup.layer, |session| session.insert("cart", "mug").and_then(|()| session.sign_in("ada"))).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            session.sign_in("ada").unwrap();
            session.owners().revoke_others(&session).await.unwrap().to_string()
        })
        .await;
        assert_eq!(answer.body, "0", "{backend:?}: there is no other");
        let token = answer.token().unwrap();
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "cart": "mug" })), "{backend:?}");
    }
}

#[tokio::test]
async fn commit_whose_answer_was_lost_is_not_applied_twice() {
    for (backend, op) in [(Backend::Memory, Op::Update), (Backend::Remote, Op::Update), (Backend::Remote, Op::Create)] {
        let setup = Setup::new(backend);
        let token = match op {
            Op::Update => Some(begin(&setup.layer, |session| session.insert("n", 0)).await),
            _ => None,
        };
        setup.store.fault(op, Fault::LoseAnswer, 1);
        let answer = send(&setup.layer, token.as_deref(), |session| async move {
            session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).unwrap();
            session.commit().await.is_err().to_string()
        })
        .await;
        assert_eq!(answer.body, "true");
        let token = answer.token().or(token).unwrap();
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": 1 })), "{backend:?} {op:?}");
        assert_eq!(setup.store.sessions().await, 1, "{backend:?} {op:?}");
    }
}

#[tokio::test]
async fn replay_that_fails_overwrites_nothing() {
    let setup = Arc::new(Setup::new(Backend::Memory));
    let token = begin(&setup.layer, |session| session.insert("n", 0)).await;
    let (other, held) = (Arc::clone(&setup), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).unwrap();
        act(&other.layer, Some(&held), |session| {
            session.insert("n", "text").and_then(|()| session.insert("other", "kept"))
        })
        .await;
        session.reload().await.unwrap();
        String::new()
    })
    .await;
    assert_eq!(answer.status, 500);
    assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": "text", "other": "kept" })));
}

#[tokio::test]
async fn session_that_ended_sends_no_cookie_that_was_due_before() {
    let setup = Arc::new(Setup::new(Backend::Memory));
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    setup.clock.advance(2 * DAY);
    let (other, held) = (Arc::clone(&setup), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        session.insert("b", 1).unwrap();
        session.commit().await.unwrap();
        act(&other.layer, Some(&held), |session| session.sign_in("ada")).await;
        session.insert("b", 2).unwrap();
        session.commit().await.unwrap_err().is_gone().to_string()
    })
    .await;
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("true", None));
}

#[tokio::test]
async fn destroy_follows_a_renewal_that_the_request_learned_of_before() {
    for reloads in [true, false] {
        let setup = Arc::new(Setup::new(Backend::Memory));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        send(&setup.layer, Some(&token), move |session| async move {
            act(&other.layer, Some(&held), tower_session_layer::Session::renew).await;
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
