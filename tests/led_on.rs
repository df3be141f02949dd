//! What a token leads on to that was replaced because of its age, where things do not go as usual (promises 13 and 14).

mod support;

use std::pin::pin;
use std::task::{Context, Waker};

use serde_json::json;
use support::direct::{act, begin, hold, respond, settle, values};
use support::{Backend, HOUR, Setup};
use tower_session_layer::{Error, Session};

/// A session whose token is due to be replaced.
async fn due(backend: Backend, start: fn(&Session) -> Result<(), Error>) -> (Setup, String) {
    let setup = Setup::with(backend, |builder| builder.renew_after(HOUR).max_sessions_per_owner(1));
    let token = begin(&setup.layer, start).await;
    setup.clock.advance(HOUR);
    (setup, token)
}

#[tokio::test]
async fn writer_that_is_led_on_to_a_session_that_was_emptied_begins_a_new_one() {
    for backend in Backend::SERVER {
        // One that held the session from before its token was replaced, and one that comes with the old token.
        let (Setup { layer, .. }, old) = &due(backend, |session| session.insert("a", 1)).await;
        let held = hold(layer, old, |session| session.insert("b", 2)).await;
        let new = act(layer, Some(old), |session| session.contains("a").to_string()).await.token().unwrap();
        assert!(act(layer, Some(&new), |session| session.clear()).await.removes_cookie(), "{backend:?}");
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
