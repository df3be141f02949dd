//! Sessions, sign-ins and revocations where a clock has stepped or those of two servers differ (promises 22 and 27).

use std::sync::Arc;
use std::time::Duration;

use crate::support::direct::{act, begin, send};
use crate::support::{Backend, DAY, HOUR, MINUTE, Setup};

use http::StatusCode;
use tower_session_layer::{Clock as _, Session, SessionLayer};

const SECOND: Duration = Duration::from_secs(1);

async fn sign_in(layer: &SessionLayer, owner: &'static str) -> String {
    begin(layer, move |session| session.sign_in(owner)).await
}

async fn owner(layer: &SessionLayer, token: &str) -> String {
    act(layer, Some(token), |session| session.owner().as_deref().unwrap_or_default().to_owned()).await.body
}

#[tokio::test]
async fn after_a_step_back_a_revocation_ends_what_it_names_and_counts_it() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.idle_timeout(HOUR));
        let layer = &setup.layer;
        setup.clock.advance(24 * HOUR);
        sign_in(layer, "bob").await;
        setup.clock.set(setup.clock.now() - 26 * HOUR);
        let (here, there) = (sign_in(layer, "ada").await, sign_in(layer, "ada").await);
        let eve = sign_in(layer, "eve").await;
        let ended = send(layer, Some(&here), |session| async move {
            session.owners().revoke_others(&session).await.unwrap().to_string()
        });
        assert_eq!(ended.await.body, "1", "{backend:?}");
        for (token, expected) in [(&here, "ada"), (&there, ""), (&eve, "eve")] {
            assert_eq!(owner(layer, token).await, expected, "{backend:?}");
        }
        let owners = layer.owners();
        assert_eq!(owners.list("ada").await.unwrap().len(), 1, "{backend:?}");
        let handle = owners.list("ada").await.unwrap()[0].handle;
        assert!(owners.revoke("ada", handle).await.unwrap(), "{backend:?}");
        assert_eq!(owners.revoke_all("eve").await.unwrap(), 1, "{backend:?}");
        assert_eq!(owner(layer, &sign_in(layer, "ada").await).await, "ada", "{backend:?}");
    }
}

/// A server whose clock is at its start, and a store in which one that is ahead has just revoked Ada's sessions.
async fn behind(backend: Backend, ahead: Duration) -> Setup {
    let first = Setup::new(backend);
    first.clock.advance(ahead);
    first.layer.owners().revoke_all("ada").await.unwrap();
    Setup::on(first.store.clone(), |builder| builder)
}

#[tokio::test]
async fn a_revocation_by_a_clock_that_is_ahead_refuses_nobody_afterwards() {
    for backend in Backend::SERVER {
        for ahead in [MINUTE, 26 * HOUR, 3_650 * DAY] {
            let setup = behind(backend, ahead).await;
            let anonymous = begin(&setup.layer, |session| session.insert("cart", 1)).await;
            let answer = act(&setup.layer, Some(&anonymous), |session| session.sign_in("ada")).await;
            let token = answer.token().unwrap_or_else(|| panic!("{backend:?}: {answer:?}"));
            assert_eq!(owner(&setup.layer, &token).await, "ada", "{backend:?}");
            // What the other clock showed is learnt by nobody.
            let now = format!("{:?}", Some(setup.clock.now()));
            let told = act(&setup.layer, Some(&token), |session| format!("{:?}", session.signed_in_at())).await;
            assert_eq!(told.body, now, "{backend:?}");
            assert_eq!(setup.layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
            assert_eq!(owner(&setup.layer, &token).await, "", "{backend:?}");
        }
    }
}

// A host that is ahead by two seconds signs somebody in while one with the right time revokes.
#[tokio::test]
async fn a_sign_in_under_way_on_a_host_that_is_ahead_does_not_outlive_a_revocation() {
    for backend in Backend::SERVER {
        for by in [2 * SECOND, 3_650 * DAY] {
            let right = Setup::new(backend);
            let ahead = Setup::on(right.store.clone(), |builder| builder);
            ahead.clock.advance(by);
            let owners = right.layer.owners();
            let answer = send(&ahead.layer, None, move |session| async move {
                session.sign_in("ada").unwrap();
                owners.revoke_all("ada").await.unwrap();
            });
            let answer = answer.await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{backend:?}");
            assert!(right.layer.owners().list("ada").await.unwrap().is_empty(), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_that_is_refused_where_it_is_committed_says_that_it_is_gone() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let owners = setup.layer.owners();
        let answer = send(&setup.layer, None, |session| async move {
            session.sign_in("ada").unwrap();
            owners.revoke_all("ada").await.unwrap();
            let refused = session.commit().await.unwrap_err();
            assert!(refused.is_gone() && !refused.is_unavailable());
            assert!(refused.to_string().contains("sign-in"), "{refused}");
            "the handler's own answer"
        });
        let answer = answer.await;
        assert!(answer.leaves_cookie() && answer.body == "the handler's own answer", "{backend:?}: {answer:?}");

        let owners = setup.layer.owners();
        let answer = send(&setup.layer, None, |session| async move {
            session.sign_in("ada").unwrap();
            owners.revoke_all("ada").await.unwrap();
            session.commit().await.unwrap_err();
            session.sign_in("ada")
        });
        let token = answer.await.token().unwrap_or_else(|| panic!("{backend:?}: tried again at once"));
        assert_eq!(owner(&setup.layer, &token).await, "ada", "{backend:?}");
    }
}

#[tokio::test]
async fn a_write_or_renewal_that_a_revocation_overtakes_leaves_the_answer_alone() {
    for backend in Backend::SERVER {
        for renews in [false, true] {
            let setup = Setup::new(backend);
            let token = sign_in(&setup.layer, "ada").await;
            let owners = Arc::new(setup.layer.owners());
            let answer = send(&setup.layer, Some(&token), move |session: Session| async move {
                let changed = if renews { session.renew() } else { session.insert("cart", 1) };
                changed.unwrap();
                owners.revoke_all("ada").await.unwrap();
            });
            let answer = answer.await;
            assert!(answer.leaves_cookie(), "{backend:?}: {answer:?}");
        }
    }
}

/// Whether the token is a live session's.
async fn lives(setup: &Setup, token: &str) -> bool {
    act(&setup.layer, Some(token), |session| session.contains("cart").to_string()).await.body == "true"
}

#[tokio::test]
async fn what_a_wild_clock_finds_expired_stays_so_and_what_begins_after_it_lives() {
    for backend in Backend::ALL {
        let setup = Setup::with(backend, |builder| builder.idle_timeout(HOUR));
        let (clock, layer, start) = (&setup.clock, &setup.layer, setup.clock.now());
        let long = begin(layer, |session| {
            session.set_idle_timeout(20 * DAY)?;
            session.insert("cart", 1)
        });
        let (long, short) = (long.await, begin(layer, |session| session.insert("cart", 1)).await);
        assert!(lives(&setup, &long).await && lives(&setup, &short).await, "{backend:?}");

        clock.set(start + 365 * DAY);
        let during = begin(layer, |session| session.insert("cart", 1)).await;
        assert!(lives(&setup, &during).await, "{backend:?}");
        clock.advance(HOUR);
        let old = [long, short, during];
        for token in &old {
            assert!(!lives(&setup, token).await, "{backend:?}");
        }

        for back in [start + MINUTE, start, start - 3 * HOUR] {
            clock.set(back);
            let fresh = begin(layer, |session| session.insert("cart", 1)).await;
            assert!(lives(&setup, &fresh).await, "{backend:?}: dead on arrival");
            clock.advance(30 * MINUTE);
            let answer = act(layer, Some(&fresh), |session| session.insert("n", 1)).await;
            let fresh = answer.token().unwrap_or(fresh);
            assert!(lives(&setup, &fresh).await, "{backend:?}: written");
            for token in &old {
                assert!(!lives(&setup, token).await, "{backend:?}: revived");
            }
            clock.advance(HOUR);
            assert!(!lives(&setup, &fresh).await, "{backend:?}");
            clock.set(back);
            assert!(!lives(&setup, &fresh).await, "{backend:?}: revived by a second step");
        }
    }
}
