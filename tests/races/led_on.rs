//! What a token leads on to that was replaced because of its age, where things do not go as usual (promises 13, 14 and 22).

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::direct::{act, begin, hold, respond, settle, values};
use crate::support::{Backend, HOUR, MINUTE, Setup, renewal_keys};
use serde_json::json;
use tower_session_layer::{Clock as _, Error, Session};

/// A session whose token is due to be replaced.
async fn due(backend: Backend, start: fn(&Session) -> Result<(), Error>) -> (Setup, String) {
    let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()).max_sessions_per_owner(1));
    let token = begin(&setup.layer, start).await;
    setup.clock.advance(HOUR);
    (setup, token)
}

/// The same, once it was replaced.
async fn replaced(backend: Backend) -> (Setup, String, String) {
    let (setup, old) = due(backend, |session| session.insert("a", 1)).await;
    let new = act(&setup.layer, Some(&old), |session| session.contains("a").to_string()).await.token().unwrap();
    (setup, old, new)
}

#[tokio::test]
async fn writer_that_is_led_on_to_a_session_that_was_emptied_begins_a_new_one() {
    for backend in Backend::SERVER {
        // One that held the session from before its token was replaced, and one that comes with the old token.
        let (Setup { layer, .. }, old) = &due(backend, |session| session.insert("a", 1)).await;
        let held = hold(layer, old, |session| session.insert("b", 2)).await;
        let new = act(layer, Some(old), |session| session.contains("a").to_string()).await.token().unwrap();
        assert!(act(layer, Some(&new), Session::clear).await.removes_cookie(), "{backend:?}");
        let late = act(layer, Some(old), |session| session.insert("c", 3)).await;
        for (answer, kept) in [(held.release().await, json!({ "b": 2 })), (late, json!({ "c": 3 }))] {
            let fresh = answer.token().unwrap_or_else(|| panic!("{backend:?}: {kept} is lost"));
            assert!(fresh != *old && fresh != new, "{backend:?}");
            assert_eq!(values(layer, &fresh).await, Some(kept), "{backend:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn request_dropped_at_any_await_leaves_the_session_to_its_client() {
    for writes in [false, true] {
        for polls in 0.. {
            let begun = due(Backend::Remote, |session| session.sign_in("ada").and_then(|()| session.insert("a", 1)));
            let (Setup { layer, store, .. }, old) = &begun.await;
            let mut answered = false;
            {
                let mut responding = pin!(respond(layer, Some(old), move |session| async move {
                    if writes { session.insert("b", 2) } else { session.get::<u8>("a").map(drop) }
                }));
                for _ in 0..polls {
                    answered |= responding.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                    if answered {
                        break;
                    }
                    settle().await;
                }
            }
            settle().await;
            let what = format!("writes: {writes}, dropped after {polls} polls");
            assert!(store.sessions().await <= 2, "{what}");
            assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1, "{what}");
            let next = act(layer, Some(old), |session| session.get::<u8>("a").unwrap().unwrap().to_string()).await;
            let token = next.token().unwrap();
            assert_eq!(next.body, "1", "{what}");
            assert_eq!(values(layer, &token).await.unwrap()["a"], json!(1), "{what}");
            // Whatever is left over ends with a sign-in elsewhere.
            begin(layer, |session| session.sign_in("ada")).await;
            assert_eq!(values(layer, &token).await, None, "{what}");
            assert_eq!(store.sessions().await, 1, "{what}");
            if answered {
                break;
            }
        }
    }
}

#[tokio::test]
async fn clock_that_steps_back_lets_no_token_lead_on_again() {
    for backend in Backend::SERVER {
        let (Setup { layer, clock, .. }, old, new) = &replaced(backend).await;
        clock.advance(MINUTE.saturating_sub(Duration::from_secs(1)));
        clock.set(clock.now() - MINUTE / 2);
        assert!(values(layer, old).await.is_some(), "{backend:?}: it leads on yet");
        clock.advance(MINUTE);
        assert_eq!(values(layer, old).await, None, "{backend:?}");
        clock.set(clock.now() - MINUTE / 2);
        assert_eq!(values(layer, old).await, None, "{backend:?}: it was dead already");
        assert!(values(layer, new).await.is_some(), "{backend:?}");
    }
}
