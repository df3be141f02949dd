//! A token is replaced at its age, and the old one leads on to the session for a while (promises 7, 9 to 12).

use std::time::Duration;

use crate::support::direct::{act, begin, hold, send, settle, values};
use crate::support::{Backend, DAY, Fault, HOUR, MINUTE, Op, Setup, TestStore, renewal_keys};
use http::StatusCode;
use serde_json::json;
use tower_session_layer::{ConfigError, Error, MemoryStore, Session, SessionLayer};

const SECOND: Duration = Duration::from_secs(1);

/// How many live sessions the store holds; files are not told from tombstones.
async fn records(backend: Backend, store: &TestStore) -> usize {
    if backend == Backend::File { 1 } else { store.sessions().await }
}

/// A session whose token is due to be replaced.
async fn due(backend: Backend) -> (Setup, String) {
    let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()));
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    setup.clock.advance(HOUR);
    (setup, token)
}

/// The same, once it was replaced.
async fn replaced(backend: Backend) -> (Setup, String, String) {
    let (setup, old) = due(backend).await;
    let new = act(&setup.layer, Some(&old), |session| session.contains("a").to_string()).await.token().unwrap();
    assert_ne!(new, old);
    (setup, old, new)
}

#[tokio::test]
async fn a_token_is_replaced_at_its_age_and_everything_else_stays() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()));
        let Setup { layer, clock, store } = &setup;
        let about = |session: &Session| {
            let times = (session.created_at(), session.expires_at());
            format!("{:?} {:?} {:?} {times:?}", session.owner(), session.csrf_token().unwrap(), session.keys())
        };
        let old = begin(layer, |session| session.sign_in("ada").and_then(|()| session.insert("a", 1))).await;
        let handle = layer.owners().list("ada").await.unwrap()[0].handle;
        act(layer, Some(&old), about).await;
        clock.advance(HOUR.saturating_sub(SECOND));
        // A refresh comes due with the idle timeout of a week only later.
        let before = act(layer, Some(&old), about).await;
        assert!(before.leaves_cookie(), "{backend:?}: a second too early");
        clock.advance(SECOND);
        store.forget();
        let answer = act(layer, Some(&old), about).await;
        assert_eq!(answer.body, before.body, "{backend:?}");
        assert_eq!(store.order(), [Op::Load, Op::Create, Op::Update], "{backend:?}: the new one is durable first");
        let new = answer.token().unwrap();
        assert_ne!(new, old);
        let after = act(layer, Some(&new), about).await;
        assert!(after.leaves_cookie() && after.body == before.body, "{backend:?}");
        let listed = layer.owners().list("ada").await.unwrap();
        assert!(listed.len() == 1 && listed[0].handle == handle, "{backend:?}");
        clock.advance(HOUR + SECOND);
        let third = act(layer, Some(&new), about).await.token().unwrap();
        assert!(third != new, "{backend:?}: and again at its age");
    }
}

#[tokio::test]
async fn the_old_token_leads_on_read_and_write_for_60_seconds_and_each_such_response_brings_the_new_one() {
    for backend in Backend::SERVER {
        let (Setup { layer, clock, store }, old, new) = &replaced(backend).await;
        clock.advance(MINUTE.saturating_sub(SECOND));
        store.forget();
        let read = act(layer, Some(old), |session| session.get::<u8>("a").unwrap().unwrap().to_string()).await;
        assert_eq!((read.body.as_str(), read.token().as_ref()), ("1", Some(new)), "{backend:?}");
        assert_eq!(store.order(), [Op::Load, Op::Load, Op::Touch], "{backend:?}: the new one is known to live");
        let written = act(layer, Some(old), |session| session.insert("b", 2)).await;
        assert_eq!(written.token().as_ref(), Some(new), "{backend:?}");
        assert_eq!(values(layer, new).await, Some(json!({ "a": 1, "b": 2 })), "{backend:?}");
        assert!(act(layer, Some(old), |_| ()).await.leaves_cookie(), "{backend:?}: not accessed");

        clock.advance(SECOND);
        store.forget();
        let late = act(layer, Some(old), |session| session.insert("c", 3)).await;
        assert!(late.leaves_cookie() && store.writes() == 0, "{backend:?}: dead, and inert");
        assert_eq!(values(layer, old).await, None, "{backend:?}");
        clock.advance(MINUTE);
        let fresh = act(layer, Some(old), |session| session.insert("c", 3)).await.token().unwrap();
        assert!(fresh != *old && fresh != *new, "{backend:?}: unknown, and never adopted");
        assert_eq!(values(layer, new).await, Some(json!({ "a": 1, "b": 2 })), "{backend:?}");
    }
}

#[tokio::test]
async fn of_many_requests_at_that_age_one_replaces_the_token_and_all_go_on_with_it() {
    for backend in Backend::SERVER {
        let (Setup { layer, store, .. }, old) = &due(backend).await;
        let reader = hold(layer, old, |session| session.contains("a").to_string()).await;
        let writer = hold(layer, old, |session| session.insert("b", 2)).await;
        let idle = hold(layer, old, |_| ()).await;
        let counter = hold(layer, old, |session| session.update("a", |a: Option<u8>| a.map(|a| a + 1)).map(drop)).await;
        let new = act(layer, Some(old), |session| session.insert("c", 3)).await.token().unwrap();
        assert_eq!(reader.release().await.token().as_ref(), Some(&new), "{backend:?}");
        assert_eq!(writer.release().await.token().as_ref(), Some(&new), "{backend:?}");
        assert_eq!(counter.release().await.token().as_ref(), Some(&new), "{backend:?}");
        assert!(idle.release().await.leaves_cookie(), "{backend:?}");
        settle().await;
        assert_eq!(values(layer, &new).await, Some(json!({ "a": 2, "b": 2, "c": 3 })), "{backend:?}");
        assert_eq!(records(backend, store).await, 1, "{backend:?}: and none of their own records stays");
    }
}

#[tokio::test]
async fn whoever_ends_the_session_with_the_old_token_ends_it() {
    let endings: [(&str, fn(&Session) -> Result<(), Error>); 2] =
        [("destroy", Session::destroy), ("clear", |session| session.clear())];
    for backend in Backend::SERVER {
        for (what, end) in endings {
            let (Setup { layer, .. }, old, new) = &replaced(backend).await;
            assert!(act(layer, Some(old), end).await.removes_cookie(), "{backend:?}: {what}");
            assert_eq!(values(layer, new).await, None, "{backend:?}: {what}");
            assert_eq!(values(layer, old).await, None, "{backend:?}: {what}");

            let (Setup { layer, .. }, old) = &due(backend).await;
            let held = hold(layer, old, end).await;
            let new = act(layer, Some(old), |session| session.contains("a").to_string()).await.token().unwrap();
            assert!(held.release().await.removes_cookie(), "{backend:?}: late {what}");
            assert_eq!(values(layer, &new).await, None, "{backend:?}: late {what}");
        }
    }
}

#[tokio::test]
async fn signing_in_or_renewing_ends_what_leads_on() {
    let renewals: [(&str, fn(&Session) -> Result<(), Error>); 2] =
        [("sign_in", |session| session.sign_in("ada")), ("renew", Session::renew)];
    for backend in Backend::SERVER {
        for (what, renew) in renewals {
            let (Setup { layer, store, .. }, old, new) = &replaced(backend).await;
            let signed_in = act(layer, Some(new), renew).await.token().unwrap();
            assert_eq!(values(layer, old).await, None, "{backend:?}: {what}");
            store.forget();
            assert!(act(layer, Some(old), |session| session.insert("b", 2)).await.leaves_cookie(), "{what}");
            assert_eq!(store.writes(), 0, "{backend:?}: {what}");
            assert_eq!(values(layer, &signed_in).await, Some(json!({ "a": 1 })), "{backend:?}: {what}");

            // With the old token, by a request that came before and by one that comes after.
            let (Setup { layer, store, .. }, old) = &due(backend).await;
            let held = hold(layer, old, renew).await;
            let new = act(layer, Some(old), |session| session.insert("b", 2)).await.token().unwrap();
            let renewed = held.release().await.token().unwrap();
            let again = act(layer, Some(&renewed), renew).await.token().unwrap();
            for dead in [old, &new, &renewed] {
                assert_eq!(values(layer, dead).await, None, "{backend:?}: {what}");
            }
            assert_eq!(values(layer, &again).await, Some(json!({ "a": 1, "b": 2 })), "{backend:?}: {what}");
            assert_eq!(records(backend, store).await, 1, "{backend:?}: {what}");
        }
    }
}

#[tokio::test]
async fn only_a_request_that_uses_the_session_and_can_send_a_cookie_replaces_its_token() {
    for backend in Backend::SERVER {
        let (Setup { layer, store, .. }, token) = &due(backend).await;
        store.forget();
        assert!(act(layer, Some(token), |_| ()).await.leaves_cookie(), "{backend:?}: not accessed");
        let cached = act(layer, Some(token), |session| {
            let _ = session.contains("a");
            StatusCode::NOT_MODIFIED
        });
        assert_eq!(cached.await.set_cookie(), None, "{backend:?}: 304");
        assert_eq!(store.writes(), 0, "{backend:?}");
        let answer = send(layer, Some(token), |session| async move {
            session.insert("b", 2)?;
            session.commit().await?;
            session.contains("b");
            Ok::<_, Error>(StatusCode::NOT_MODIFIED)
        });
        assert_eq!(answer.await.set_cookie(), None, "{backend:?}: an explicit commit leaves the token");
        assert_eq!(values(layer, token).await, Some(json!({ "a": 1, "b": 2 })), "{backend:?}");
    }
    let setup = Setup::new(Backend::Memory);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    setup.clock.advance(DAY / 2);
    assert!(act(&setup.layer, Some(&token), |session| session.len().to_string()).await.leaves_cookie(), "off");
}

#[tokio::test]
async fn a_server_error_drops_the_changes_and_replaces_the_token() {
    for backend in Backend::SERVER {
        let (Setup { layer, .. }, old) = &due(backend).await;
        let answer = act(layer, Some(old), |session| {
            session.insert("b", 2).unwrap();
            StatusCode::INTERNAL_SERVER_ERROR
        });
        let new = answer.await.token().unwrap();
        assert_eq!(values(layer, &new).await, Some(json!({ "a": 1 })), "{backend:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_costs_nobody_the_session_and_a_reader_not_even_its_answer() {
    let faults = [Fault::Fail, Fault::LoseAnswer, Fault::Hang, Fault::HangAfter];
    for (backend, faults) in [(Backend::Memory, &faults[..2]), (Backend::Remote, &faults[..])] {
        for op in [Op::Create, Op::Update] {
            for fault in faults {
                let what = format!("{backend:?}: {fault:?} in {op:?}");
                let (Setup { layer, store, .. }, old) = &due(backend).await;
                store.fault(op, *fault, 1);
                let answer = act(layer, Some(old), |session| session.len().to_string()).await;
                assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "1"), "{what}");
                settle().await;
                store.heal();
                let token = answer.token().unwrap_or_else(|| old.clone());
                assert_eq!(values(layer, &token).await, Some(json!({ "a": 1 })), "{what}");
                let next = act(layer, Some(&token), |session| session.len().to_string()).await;
                let token = next.token().unwrap_or(token);
                assert!(token != *old && next.body == "1", "{what}: the next request makes it good");
                assert_eq!(store.sessions().await, 1, "{what}: no record that nobody knows");

                let (Setup { layer, store, .. }, old) = &due(backend).await;
                store.fault(op, *fault, 1);
                let answer = act(layer, Some(old), |session| session.insert("b", 2)).await;
                let has_stored = answer.status == StatusCode::OK;
                assert!(has_stored || answer.status == StatusCode::SERVICE_UNAVAILABLE, "{what}");
                settle().await;
                store.heal();
                let token = answer.token().unwrap_or_else(|| old.clone());
                let kept = if has_stored { json!({ "a": 1, "b": 2 }) } else { json!({ "a": 1 }) };
                assert_eq!(values(layer, &token).await, Some(kept), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_write_whose_answer_is_lost_leaves_the_session_that_others_know() {
    for fault in [Fault::Fail, Fault::LoseAnswer, Fault::Hang, Fault::HangAfter] {
        let (Setup { layer, store, .. }, old) = &due(Backend::Remote).await;
        let late = hold(layer, old, |session| session.insert("b", 2)).await;
        let new = act(layer, Some(old), |session| session.len().to_string()).await.token().unwrap();
        // The late one is due itself: it stores a record of its own, finds the old one retired, and writes the new one.
        store.fault_after(Op::Update, 1, fault);
        assert_eq!(late.release().await.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
        settle().await;
        store.heal();
        let found = values(layer, &new).await.unwrap_or_else(|| panic!("{fault:?}: the session is gone"));
        assert_eq!(found["a"], json!(1), "{fault:?}");
        assert_eq!(store.sessions().await, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn reload_follows_the_token_too() {
    for backend in Backend::SERVER {
        let (Setup { layer, .. }, old) = &due(backend).await;
        let (inner, token) = (layer.clone(), old.clone());
        let answer = send(layer, Some(old), |session| async move {
            let new = act(&inner, Some(&token), |session| session.insert("b", 2)).await.token().unwrap();
            session.reload().await?;
            assert_eq!(session.get::<u8>("b")?, Some(2));
            Ok::<_, Error>(new)
        })
        .await;
        assert_eq!(answer.token().as_ref(), Some(&answer.body), "{backend:?}");
    }
}

#[tokio::test]
async fn the_absolute_timeout_and_a_revocation_hold_across_it() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()).absolute_timeout(DAY));
        let Setup { layer, clock, .. } = &setup;
        let mut token = begin(layer, |session| session.sign_in("ada")).await;
        for _ in 0..23 {
            clock.advance(HOUR + SECOND);
            token = act(layer, Some(&token), |session| session.len().to_string()).await.token().unwrap();
        }
        clock.advance(HOUR);
        assert_eq!(values(layer, &token).await, None, "{backend:?}");

        let mut token = begin(layer, |session| session.sign_in("ada")).await;
        clock.advance(HOUR);
        let old = token.clone();
        token = act(layer, Some(&token), |session| session.len().to_string()).await.token().unwrap();
        assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        for dead in [&old, &token] {
            assert_eq!(values(layer, dead).await, None, "{backend:?}");
            assert!(act(layer, Some(dead), |session| session.insert("a", 1)).await.leaves_cookie(), "{backend:?}");
        }
    }
}

#[test]
fn an_age_that_makes_no_sense_is_refused() {
    let build =
        |age| SessionLayer::builder(MemoryStore::new()).absolute_timeout(DAY).renew_after(age, renewal_keys()).build();
    for age in [Duration::ZERO, Duration::from_nanos(59_999_999_999), DAY + SECOND, Duration::MAX] {
        assert_eq!(build(age).unwrap_err(), ConfigError::RenewAfter(age));
    }
    build(MINUTE).unwrap();
    build(DAY).unwrap();
    let key = tower_session_layer::CookieKey::new(&[7; 32]).unwrap();
    let refused =
        SessionLayer::builder(tower_session_layer::CookieStore::new(key)).renew_after(HOUR, renewal_keys()).build();
    assert_eq!(refused.unwrap_err(), ConfigError::ClientSideStore("renew_after"));
}
