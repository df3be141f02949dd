//! Ends: logout, revocation, and what is left of them.

use tower_session_layer::{Clock as _, Error, Session};

use crate::support::direct::{act, begin, hold, values};
use crate::support::{Backend, DAY, HOUR, Setup, renewal_keys};

#[tokio::test]
async fn rv_1_a_session_that_was_signed_out_is_open_to_no_client() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        assert!(act(&setup.layer, Some(&token), Session::destroy).await.removes_cookie(), "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
        assert!(setup.layer.owners().list("ada").await.unwrap().is_empty(), "{backend:?}");
        let answer = act(&setup.layer, Some(&token), |session| session.insert("a", 1)).await;
        assert!(answer.leaves_cookie(), "{backend:?}: nor does it write");
    }
}

#[tokio::test]
async fn rv_4_a_slow_request_sends_no_cookie_over_the_removal() {
    for backend in Backend::SERVER {
        let acts: [(&str, fn(&Session)); 4] = [
            ("write", |session| session.insert("b", 2).unwrap()),
            ("read, a refresh being due", |session| assert_eq!(session.len(), 1)),
            ("flash", |session| session.flash("b", 2).unwrap()),
            ("destroy", |session| session.destroy().unwrap()),
        ];
        for (what, slow) in acts {
            let setup = Setup::new(backend);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            setup.clock.advance(DAY);
            let held = hold(&setup.layer, &token, slow).await;
            assert!(act(&setup.layer, Some(&token), Session::destroy).await.removes_cookie());
            setup.clock.advance(HOUR / 3_600);
            assert!(held.release().await.leaves_cookie(), "{backend:?} {what}");
            assert_eq!(values(&setup.layer, &token).await, None, "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn rv_8_a_sign_in_that_began_before_all_were_revoked_does_not_come_through() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let signing_in = hold(&setup.layer, &token, |session| session.sign_in("ada")).await;
        setup.layer.owners().revoke_all("ada").await.unwrap();
        assert_eq!(signing_in.release().await.status, 503, "{backend:?}");
        assert!(setup.layer.owners().list("ada").await.unwrap().is_empty(), "{backend:?}");
    }
}

#[tokio::test]
async fn rv_8_nobodys_session_from_before_a_breach_is_let_in() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let old = begin(&setup.layer, |session| session.sign_in("ada")).await;
        setup.clock.advance(HOUR);
        let breach = setup.clock.now();
        let after = Setup::on(setup.store.clone(), |builder| builder.clock(setup.clock.clone()).not_before(breach));
        for act_on in [|_| Ok(()), Session::renew, Session::destroy] as [fn(&Session) -> Result<(), Error>; 3] {
            assert!(act(&after.layer, Some(&old), act_on).await.leaves_cookie(), "{backend:?}");
            assert_eq!(values(&after.layer, &old).await, None, "{backend:?}");
        }
        if backend != Backend::Cookie {
            // Nor is it by a token that leads on to it.
            let aging = Setup::on(setup.store.clone(), |builder| {
                builder.clock(setup.clock.clone()).renew_after(HOUR, renewal_keys())
            });
            let forwarded = begin(&aging.layer, |session| session.insert("a", 1)).await;
            setup.clock.advance(HOUR);
            assert!(act(&aging.layer, Some(&forwarded), |session| drop(session.keys())).await.token().is_some());
            let late = setup.clock.now();
            let after = Setup::on(setup.store.clone(), |builder| builder.clock(setup.clock.clone()).not_before(late));
            assert_eq!(values(&after.layer, &forwarded).await, None, "{backend:?}");
        }
        // Whoever signs in has a session that began since, under another token.
        let new = act(&after.layer, Some(&old), |session| session.sign_in("ada")).await.token().unwrap();
        assert!(new != old && values(&after.layer, &new).await.is_some(), "{backend:?}");
        let renewed = act(&after.layer, Some(&new), Session::renew).await.token().unwrap();
        assert!(values(&after.layer, &renewed).await.is_some(), "{backend:?}");
    }
}

#[tokio::test]
async fn rv_13_the_time_of_the_sign_in_moves_with_a_sign_in_and_with_nothing_else() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let at = async |token: &str, act_on: fn(&Session)| {
            setup.clock.advance(HOUR);
            let read = move |session: &Session| {
                act_on(session);
                assert_eq!(session.view().signed_in_at(), session.signed_in_at());
                session.signed_in_at().map(|at| at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string())
            };
            let answer = act(&setup.layer, Some(token), move |session| read(session).unwrap_or_default()).await;
            let token = answer.token().unwrap_or_else(|| token.to_owned());
            (token, answer.body.parse::<u64>().ok())
        };
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (token, nobody) = at(&token, |session| session.renew().unwrap()).await;
        assert_eq!(nobody, None, "{backend:?}");
        let (mut token, first) = at(&token, |session| session.sign_in("ada").unwrap()).await;
        assert!(first.is_some(), "{backend:?}");
        let acts: [fn(&Session); 3] =
            [|_| (), |session| session.insert("a", 2).unwrap(), |session| session.renew().unwrap()];
        for act_on in acts {
            let (next, same) = at(&token, act_on).await;
            token = next;
            assert_eq!(same, first, "{backend:?}");
        }
        let (_, again) = at(&token, |session| session.sign_in("ada").unwrap()).await;
        assert_eq!(again, first.map(|first| first + 4 * 3_600), "{backend:?}: signing in again is fresh");
    }
}
