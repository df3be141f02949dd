//! No more sessions of an owner than the layer allows (promise 27).

use std::collections::HashMap;
use std::sync::Arc;

use crate::support::direct::{act, begin, respond, send, settle};
use crate::support::{Backend, Fault, Log, MINUTE, Op, Setup, answer};
use http::StatusCode;
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinSet;
use tower_session_layer::{ConfigError, MemoryStore, Session, SessionLayer};

fn limited(backend: Backend, most: usize) -> Setup {
    Setup::with(backend, |builder| builder.max_sessions_per_owner(most).store_timeout(10 * MINUTE))
}

/// Signs in on a new device, a minute after whatever came before.
async fn sign_in(setup: &Setup) -> String {
    setup.clock.advance(MINUTE);
    begin(&setup.layer, |session| session.sign_in("ada")).await
}

async fn is_signed_in(setup: &Setup, token: &str) -> bool {
    let answer = act(&setup.layer, Some(token), |session| session.owner().is_some().to_string()).await;
    answer.body == "true"
}

async fn alive(setup: &Setup, tokens: &[String]) -> Vec<bool> {
    let mut alive = Vec::new();
    for token in tokens {
        alive.push(is_signed_in(setup, token).await);
    }
    alive
}

async fn count(setup: &Setup) -> usize {
    setup.layer.owners().list("ada").await.unwrap().len()
}

#[tokio::test]
async fn a_sign_in_too_many_ends_the_session_used_longest_ago_and_leaves_a_tombstone() {
    for backend in Backend::SERVER {
        let setup = limited(backend, 2);
        let mut tokens = vec![sign_in(&setup).await, sign_in(&setup).await];
        setup.clock.advance(MINUTE);
        act(&setup.layer, Some(&tokens[0]), |session| session.insert("cart", 1)).await;
        let bob = begin(&setup.layer, |session| session.sign_in("bob")).await;
        tokens.push(sign_in(&setup).await);
        assert_eq!(alive(&setup, &tokens).await, [true, false, true], "{backend:?}");
        assert!(is_signed_in(&setup, &bob).await, "{backend:?}");
        setup.store.forget();
        let late = act(&setup.layer, Some(&tokens[1]), |session| session.insert("cart", 1)).await;
        assert!(late.leaves_cookie() && setup.store.writes() == 0, "{backend:?}: its token is inert");
        // Nothing but a sign-in is counted, and nobody is limited without the option.
        let renewed = act(&setup.layer, Some(&tokens[0]), Session::renew).await.token().unwrap();
        tokens[0] = renewed;
        assert_eq!(alive(&setup, &tokens).await, [true, false, true], "{backend:?}: renewed");
        let again = act(&setup.layer, Some(&tokens[0]), |session| session.sign_in("ada")).await.token().unwrap();
        tokens[0] = again;
        assert_eq!(alive(&setup, &tokens).await, [true, false, true], "{backend:?}: signed in again");
        let free = Setup::new(backend);
        for _ in 0..5 {
            sign_in(&free).await;
        }
        assert_eq!(count(&free).await, 5, "{backend:?}");
    }
}

#[tokio::test]
async fn it_costs_one_list_and_one_revocation_for_each_session_that_ends() {
    for backend in Backend::SERVER {
        let setup = limited(backend, 1);
        for expected in [vec![Op::Create, Op::Owned], vec![Op::Create, Op::Owned, Op::Revoke]] {
            setup.store.forget();
            sign_in(&setup).await;
            assert_eq!(setup.store.order(), expected, "{backend:?}");
        }
        setup.store.forget();
        begin(&setup.layer, |session| session.insert("cart", 1)).await;
        assert_eq!(setup.store.order(), [Op::Create], "{backend:?}");
    }
}

#[tokio::test]
async fn an_explicit_commit_ends_them_too_and_one_whose_answer_was_lost() {
    for backend in Backend::SERVER {
        let setup = limited(backend, 1);
        let first = sign_in(&setup).await;
        setup.store.fault(Op::Create, Fault::LoseAnswer, 1);
        let answer = send(&setup.layer, None, |session| async move {
            session.sign_in("ada").unwrap();
            assert!(session.commit().await.unwrap_err().is_unavailable());
            session.commit().await.unwrap();
        });
        let second = answer.await.token().unwrap();
        assert_eq!(alive(&setup, &[first, second]).await, [false, true], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_sign_ins_at_once_no_more_remain_than_allowed_and_those_were_let_in() {
    for backend in Backend::SERVER {
        for most in [1, 3] {
            let setup = limited(backend, most);
            let barrier = Arc::new(Barrier::new(16));
            let mut handles = HashMap::new();
            let mut requests = JoinSet::new();
            for _ in 0..16 {
                let barrier = Arc::clone(&barrier);
                let responding = respond(&setup.layer, None, move |session| async move {
                    session.sign_in("ada").unwrap();
                    barrier.wait().await;
                    session.handle().unwrap().to_string()
                });
                requests.spawn(async move { answer(responding.await).await });
            }
            for answer in requests.join_all().await {
                match answer.status {
                    StatusCode::OK => drop(handles.insert(answer.body.clone(), answer.token().unwrap())),
                    status => assert_eq!(
                        (status, answer.set_cookie()),
                        (StatusCode::SERVICE_UNAVAILABLE, None),
                        "{backend:?}"
                    ),
                }
            }
            let remaining = setup.layer.owners().list("ada").await.unwrap();
            assert!((1..=most).contains(&remaining.len()), "{backend:?} {most}: {remaining:?}");
            for session in remaining {
                let token = handles.get(&session.handle.to_string());
                assert!(is_signed_in(&setup, token.unwrap()).await, "{backend:?} {most}: who stays was let in");
            }
        }
    }
}

#[tokio::test]
async fn the_sign_in_that_is_stored_last_stays_whichever_began_first() {
    for backend in Backend::SERVER {
        let setup = limited(backend, 1);
        let (layer, clock) = (setup.layer.clone(), setup.clock.clone());
        let first = send(&setup.layer, None, move |session| async move {
            session.sign_in("ada").unwrap();
            clock.advance(MINUTE);
            begin(&layer, |session| session.sign_in("ada")).await
        });
        let first = first.await;
        let token = first.token().unwrap_or_else(|| panic!("{backend:?}: {first:?}"));
        assert!(is_signed_in(&setup, &token).await && !is_signed_in(&setup, &first.body).await, "{backend:?}");
        assert_eq!(count(&setup).await, 1, "{backend:?}");
    }
}

#[tokio::test]
async fn a_failure_leaves_the_sign_in_with_a_warning_and_the_next_makes_it_good() {
    for backend in Backend::SERVER {
        for op in [Op::Owned, Op::Revoke] {
            let setup = limited(backend, 1);
            sign_in(&setup).await;
            let log = Log::capture();
            setup.store.fault(op, Fault::Fail, 1);
            let second = sign_in(&setup).await;
            assert!(log.text().contains("WARN") && log.text().contains("more sessions than allowed"), "{backend:?}");
            assert!(is_signed_in(&setup, &second).await && count(&setup).await == 2, "{backend:?} {op:?}");
            sign_in(&setup).await;
            assert_eq!(count(&setup).await, 1, "{backend:?} {op:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_does_not_keep_a_session_too_many_alive() {
    let setup = limited(Backend::Remote, 1);
    sign_in(&setup).await;
    let (here, is_here) = oneshot::channel();
    let (go, may_go) = oneshot::channel::<()>();
    // Before the list: the record is stored.
    setup.store.interrupt(2, async move {
        here.send(()).unwrap();
        may_go.await.unwrap();
    });
    setup.clock.advance(MINUTE);
    let mut responding = Box::pin(respond(&setup.layer, None, |session| async move { session.sign_in("ada") }));
    tokio::select! {
        _ = &mut responding => panic!("it was to be held"),
        held = is_here => held.unwrap(),
    }
    drop(responding);
    go.send(()).unwrap();
    settle().await;
    assert_eq!(count(&setup).await, 1);
}

#[test]
fn none_at_all_and_sessions_that_clients_hold_are_refused() {
    let zero = SessionLayer::builder(MemoryStore::new()).max_sessions_per_owner(0).build().unwrap_err();
    assert_eq!(zero, ConfigError::MaxSessionsPerOwner);
    assert!(zero.to_string().contains("max_sessions_per_owner") && zero.to_string().contains("expected"));
    let store = crate::support::TestStore::new(Backend::Cookie);
    let error = SessionLayer::builder(store).max_sessions_per_owner(1).build().unwrap_err();
    assert_eq!(error, ConfigError::ClientSideStore("max_sessions_per_owner"));
}
