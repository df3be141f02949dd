//! Accidents of others that no row of the demands has a test for.

use serde_json::json;
use tokio::sync::oneshot;
use tower_session_layer::Session;

use crate::support::direct::{act, begin, hold, send, values};
use crate::support::{Backend, DAY, Setup};

/// GitHub, March 2021: a background thread went on with an object of a request that was over.
#[tokio::test]
async fn github_2021_a_handle_that_outlives_its_request_changes_no_other_session() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("who", "ada")).await;
        let (hand_over, handed) = oneshot::channel();
        act(&setup.layer, Some(&token), |session| hand_over.send(session.clone()).ok().unwrap()).await;
        let kept: Session = handed.await.unwrap();
        let other = begin(&setup.layer, |session| session.insert("who", "bob")).await;
        let held = hold(&setup.layer, &other, |session| session.insert("b", 1)).await;
        kept.insert("late", 1).unwrap();
        kept.commit().await.unwrap();
        let answer = held.release().await;
        assert!(answer.leaves_cookie(), "{backend:?}");
        assert_eq!(values(&setup.layer, &other).await, Some(json!({ "who": "bob", "b": 1 })), "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "who": "ada", "late": 1 })), "{backend:?}");
    }
}

/// CVE-2024-35220, @fastify/session: loading moved the deadline before it was compared.
#[tokio::test]
async fn cve_2024_35220_a_load_moves_no_deadline() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        for _ in 0..7 {
            setup.clock.advance(DAY);
            // It is loaded and not accessed.
            assert!(act(&setup.layer, Some(&token), |_| ()).await.leaves_cookie(), "{backend:?}");
        }
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}

/// CVE-2015-3982, Django: a flush stored the session under the empty key.
#[tokio::test]
async fn cve_2015_3982_an_empty_token_finds_nothing_after_a_destroy() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            session.destroy()?;
            session.commit().await?;
            session.insert("b", 1)
        });
        let fresh = answer.await.token().unwrap();
        assert!(fresh != token && !fresh.is_empty(), "{backend:?}");
        setup.store.forget();
        assert_eq!(values(&setup.layer, "").await, None, "{backend:?}");
        assert_eq!(setup.store.calls(crate::support::Op::Load), 0, "{backend:?}");
    }
}
