//! A renewal under every failure: the client holds a token that lives, with everything in it (promises 11 and 15).

use crate::support::direct::{act, begin, hold, settle, values};
use crate::support::{Backend, Fault, Op, Setup};
use http::StatusCode;
use serde_json::json;
use std::time::Duration;
use tower_session_layer::{Error, Session};

/// The default of `store_timeout`.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn new_record_is_durable_before_the_old_one_dies() {
    for backend in Backend::SERVER {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        store.forget();
        let fresh = act(layer, Some(&token), Session::renew).await.token().unwrap();
        assert_eq!(store.order(), [Op::Load, Op::Create, Op::Update], "{backend:?}");
        assert_ne!(fresh, token);
        assert_eq!(values(layer, &fresh).await, Some(json!({ "a": 1 })), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_committed_meanwhile_is_carried_over() {
    for backend in Backend::SERVER {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let renewal = hold(layer, &token, |session| session.insert("c", 3).and_then(|()| session.renew())).await;
        act(layer, Some(&token), |session| session.insert("b", 2)).await;
        store.forget();
        let fresh = renewal.release().await.token().unwrap();
        let order = [Op::Create, Op::Update, Op::Load, Op::Update, Op::Update];
        assert_eq!(store.order(), order, "{backend:?}: new, old, read again, new, old");
        assert_eq!(values(layer, &fresh).await, Some(json!({ "a": 1, "b": 2, "c": 3 })), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn renewal_that_failed_holds_up_no_other_commit_while_it_is_taken_back() {
    for backend in [Backend::Remote, Backend::KeyValue] {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let renewal = hold(layer, &token, |session| session.insert("c", 3).and_then(|()| session.renew())).await;
        let write = hold(layer, &token, |session| session.insert("d", 4)).await;
        act(layer, Some(&token), |session| session.insert("b", 2)).await;
        // The renewal conflicts and takes its turn; then its last write hangs, and so does the one that takes it back.
        store.fault_times(Op::Update, 2, Fault::Hang, 2);
        let start = tokio::time::Instant::now();
        let later = async {
            tokio::time::sleep(STORE_TIMEOUT + Duration::from_secs(1)).await;
            (write.release().await.status, start.elapsed())
        };
        let (failed, (status, elapsed)) = tokio::join!(renewal.release(), later);
        assert_eq!((failed.status, status), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK), "{backend:?}");
        assert!(elapsed < STORE_TIMEOUT + Duration::from_secs(2), "{backend:?}: {elapsed:?}");
        let expected = json!({ "a": 1, "b": 2, "d": 4 });
        assert_eq!(values(layer, &token).await, Some(expected), "{backend:?}");
    }
}

#[tokio::test]
async fn renewal_that_finds_nothing_left_leaves_no_record_behind() {
    for backend in [Backend::Memory, Backend::Remote] {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1).and_then(|()| session.insert("b", 2))).await;
        let renewal = hold(layer, &token, |session| session.remove("a").and_then(|_| session.renew())).await;
        act(layer, Some(&token), |session| session.remove("b").map(drop)).await;
        assert!(renewal.release().await.removes_cookie(), "{backend:?}");
        assert_eq!(store.sessions().await, 0, "{backend:?}");
    }
}

#[tokio::test]
async fn renewal_of_a_session_that_ended_meanwhile_leaves_no_record_behind() {
    for backend in [Backend::Memory, Backend::Remote] {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let renewal = hold(layer, &token, Session::renew).await;
        act(layer, Some(&token), Session::destroy).await;
        assert!(renewal.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(store.sessions().await, 0, "{backend:?}");
    }
}

type Act = fn(&Session) -> Result<(), Error>;

/// The calls of a renewal that conflicts once, after the load: which, and how many of its kind go right before.
const CALLS: [(&str, Op, usize); 5] = [
    ("storing the new record", Op::Create, 0),
    ("retiring the old one, in vain", Op::Update, 0),
    ("reading it again", Op::Load, 0),
    ("storing the new record again", Op::Update, 1),
    ("retiring the old one", Op::Update, 2),
];

#[tokio::test(start_paused = true)]
async fn failure_in_any_call_leaves_the_client_a_token_that_lives_with_everything_in_it() {
    let faults = [Fault::Fail, Fault::LoseAnswer, Fault::Hang, Fault::HangAfter];
    // A store that answers at once cannot hang.
    for (backend, faults) in [(Backend::Memory, &faults[..2]), (Backend::Remote, &faults[..])] {
        for (what, op, after) in CALLS {
            for fault in faults {
                for conflicts in [true, false] {
                    if !conflicts && (op == Op::Load || after > 0) {
                        continue;
                    }
                    let what = format!("{backend:?}, {fault:?}: {what}, conflict: {conflicts}");
                    let Setup { layer, store, .. } = &Setup::new(backend);
                    let token = begin(layer, |session| session.insert("a", 1)).await;
                    let renewal = hold(layer, &token, Session::renew).await;
                    if conflicts {
                        act(layer, Some(&token), |session| session.insert("b", 2)).await;
                    }
                    store.fault_after(op, after, *fault);
                    let answer = renewal.release().await;
                    settle().await;
                    assert_eq!(answer.status.is_success(), answer.token().is_some(), "{what}");
                    assert!(!answer.removes_cookie(), "{what}");
                    let held = answer.token().unwrap_or_else(|| token.clone());
                    let expected = if conflicts { json!({ "a": 1, "b": 2 }) } else { json!({ "a": 1 }) };
                    assert_eq!(values(layer, &held).await, Some(expected), "{what}");
                    if held != token {
                        assert_eq!(values(layer, &token).await, None, "{what}");
                    }
                    assert_eq!(store.sessions().await, 1, "{what}: none is left behind");
                    works(layer, &held, &what).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn call_that_a_store_sends_again_by_itself_is_applied_once_and_answered_as_before() {
    let rows: [(&str, Op, usize, Act, bool); 8] = [
        ("write", Op::Update, 0, |s| s.insert("b", 2), false),
        ("increment", Op::Update, 0, |s| s.update("b", |b: Option<u32>| Some(b.unwrap_or(1) + 1)), false),
        ("the new record of a renewal", Op::Create, 0, |s| s.insert("b", 2).and_then(|()| s.renew()), true),
        ("the end of the old one", Op::Update, 0, |s| s.insert("b", 2).and_then(|()| s.renew()), true),
        ("sign in", Op::Create, 0, |s| s.insert("b", 2).and_then(|()| s.sign_in("ada")), true),
        ("the end of what was before", Op::Update, 0, |s| s.insert("b", 2).and_then(|()| s.sign_in("ada")), true),
        ("new record after a conflict", Op::Update, 1, |s| s.insert("b", 2).and_then(|()| s.renew()), true),
        ("end after a conflict", Op::Update, 2, |s| s.insert("b", 2).and_then(|()| s.renew()), true),
    ];
    for backend in Backend::SERVER {
        for (what, op, after, request, renews) in rows {
            let what = format!("{backend:?}: {what}");
            let Setup { layer, store, .. } = &Setup::new(backend);
            let token = begin(layer, |session| session.insert("a", 1)).await;
            let held = hold(layer, &token, request).await;
            if after > 0 {
                act(layer, Some(&token), |session| session.insert("a", 1).and_then(|()| session.insert("c", 3))).await;
            }
            store.fault_after(op, after, Fault::SentAgain);
            let answer = held.release().await;
            assert!(answer.status.is_success(), "{what}");
            assert_eq!(answer.token().is_some(), renews, "{what}");
            let live = answer.token().unwrap_or_else(|| token.clone());
            let expected = if after > 0 { json!({ "a": 1, "b": 2, "c": 3 }) } else { json!({ "a": 1, "b": 2 }) };
            assert_eq!(values(layer, &live).await, Some(expected), "{what}");
            assert_eq!(values(layer, &token).await.is_some(), !renews, "{what}");
        }

        let Setup { layer, store, .. } = &Setup::new(backend);
        store.fault(Op::Create, Fault::SentAgain, 1);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        assert_eq!((values(layer, &token).await, store.sessions().await), (Some(json!({ "a": 1 })), 1), "{backend:?}");
        store.fault(Op::Delete, Fault::SentAgain, 1);
        assert!(act(layer, Some(&token), Session::destroy).await.removes_cookie(), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

async fn works(layer: &tower_session_layer::SessionLayer, token: &str, what: &str) {
    let renewed: Act = |s| s.insert("later", 1).and_then(|()| s.renew());
    let fresh = act(layer, Some(token), renewed).await.token();
    assert!(fresh.is_some(), "{what}");
}
