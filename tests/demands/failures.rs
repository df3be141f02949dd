//! Failure, concurrency, resources.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;
use tower_session_layer::{Error, Session};

use crate::support::direct::{act, begin, hold, respond, settle, values};
use crate::support::{Backend, DAY, Setup};

/// Each call of the store halts twice; what is planned there holds it up for as long as the test wants.
#[tokio::test]
async fn fl_4_no_response_is_seen_before_its_session_is_stored() {
    for backend in [Backend::Remote, Backend::File] {
        for halt in [0, 1] {
            let setup = Setup::new(backend);
            let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (at, may_go) = (Arc::clone(&reached), Arc::clone(&go));
            setup.store.interrupt(halt, async move {
                at.notify_one();
                may_go.notified().await;
            });
            let responding = tokio::spawn(respond(&setup.layer, None, |session| async move { session.insert("a", 1) }));
            reached.notified().await;
            settle().await;
            assert!(!responding.is_finished(), "{backend:?} {halt}");
            go.notify_one();
            let answer = crate::support::answer(responding.await.unwrap()).await;
            assert_eq!(values(&setup.layer, &answer.token().unwrap()).await, Some(json!({ "a": 1 })), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn fl_7_a_reader_whose_deadline_is_due_takes_nothing_from_a_writer() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(DAY);
        let reader = hold(&setup.layer, &token, |session| assert_eq!(session.len(), 1)).await;
        act(&setup.layer, Some(&token), |session| session.insert("b", 2)).await;
        assert!(reader.release().await.status.is_success(), "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "a": 1, "b": 2 })), "{backend:?}");
    }
}

#[tokio::test]
async fn fl_8_a_handler_that_waits_holds_up_no_other_request_of_its_session() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let parked = hold(&setup.layer, &token, |session| session.insert("b", 1)).await;
        for act_on in [|session| session.insert("c", 1), Session::renew] as [fn(&Session) -> Result<(), Error>; 2] {
            assert!(act(&setup.layer, Some(&token), act_on).await.status.is_success(), "{backend:?}");
        }
        assert!(parked.release().await.status.is_success(), "{backend:?}");
    }
}

#[tokio::test]
async fn fl_10_whatever_visitors_do_that_leaves_nothing_is_stored_nowhere() {
    let acts: [(&str, fn(&Session) -> Result<(), Error>); 9] = [
        ("logout", Session::destroy),
        ("clear", Session::clear),
        ("renew", Session::renew),
        ("remove", |session| session.remove("a").map(drop)),
        ("take", |session| session.take::<u8>("a").map(drop)),
        ("take_flash", |session| session.take_flash::<u8>("a").map(drop)),
        ("update of nothing", |session| session.update("a", |value: Option<u8>| value)),
        ("insert and remove", |session| session.insert("a", 1).and_then(|()| session.remove("a")).map(drop)),
        ("remember", |session| session.set_idle_timeout(DAY)),
    ];
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        for (what, act_on) in acts {
            for token in [None, Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
                let answer = act(&setup.layer, token, act_on).await;
                assert!(answer.leaves_cookie(), "{backend:?} {what} {token:?}");
            }
        }
        assert_eq!((setup.store.writes(), setup.store.sessions().await), (0, 0), "{backend:?}");
    }
}
