//! An attacker who planted a token, or knows one, gains nothing by it (promises 11 and 12).

use super::adoption::MUTATORS;
use crate::support::direct::{act, begin, hold, values};
use crate::support::{Backend, DAY, Setup};
use serde_json::json;
use tower_session_layer::{Error, Session, SessionLayer};

type Act = fn(&Session) -> Result<(), Error>;

#[tokio::test]
async fn token_planted_before_a_login_is_worth_nothing_after_it() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let planted = begin(layer, |session| session.insert("cart", 1)).await;
        // The attacker's request is under way while the visitor signs in with the planted cookie.
        let attack = hold(layer, &planted, |session| session.insert("role", "admin")).await;
        let login = act(layer, Some(&planted), |session| session.sign_in("ada")).await;
        assert!(attack.release().await.leaves_cookie(), "{backend:?}");
        let own = login.token().unwrap();
        assert_ne!(own, planted);
        for (what, mutator) in MUTATORS {
            act(layer, Some(&planted), mutator).await;
            assert_eq!(values(layer, &planted).await, None, "{backend:?}: {what}");
        }
        assert!(act(layer, Some(&planted), Session::destroy).await.leaves_cookie(), "{backend:?}");
        assert_eq!(values(layer, &own).await, Some(json!({ "cart": 1 })), "{backend:?}");
    }
}

#[tokio::test]
async fn visitor_who_signs_in_over_an_attackers_session_gets_nothing_of_it() {
    for backend in Backend::ALL {
        let Setup { layer, clock, .. } = &Setup::new(backend);
        let planted = begin(layer, |session| {
            session.insert("card", "mallory's")?;
            session.flash("note", "hi")?;
            session.sign_in("mallory")
        });
        let planted = planted.await;
        let before = text(layer, &planted, |s| Ok(format!("{} {:?}", s.csrf_token()?, s.handle()))).await;
        clock.advance(DAY);
        let own = act(layer, Some(&planted), |session| session.sign_in("ada")).await.token().unwrap();
        let after = text(layer, &own, |session| {
            let age = session.view().expires_at().duration_since(session.created_at()).unwrap();
            assert_eq!(age, 7 * DAY, "a lifetime of its own");
            assert_eq!(session.take_flash::<String>("note")?, None);
            assert_eq!((session.len(), session.owner().as_deref()), (0, Some("ada")));
            Ok(format!("{} {:?}", session.csrf_token()?, session.handle()))
        });
        let after = after.await;
        assert!(before.split(' ').zip(after.split(' ')).all(|(before, after)| before != after), "{backend:?}");
    }
}

#[tokio::test]
async fn same_person_signing_in_again_keeps_the_values_under_a_new_token() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("cart", 1).and_then(|()| session.sign_in("ada"))).await;
        let again = act(layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
        assert_eq!(values(layer, &again).await, Some(json!({ "cart": 1 })), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn csrf_token_changes_with_the_session_token_and_with_nothing_else() {
    for backend in Backend::ALL {
        for renewal in [Session::renew, |session: &Session| session.sign_in("ada")] as [Act; 2] {
            let Setup { layer, .. } = &Setup::new(backend);
            let first = act(layer, None, Session::csrf_token).await;
            let token = first.token().unwrap();
            let written = act(layer, Some(&token), |session| session.insert("a", 1)).await;
            let token = written.token().unwrap_or(token);
            assert_eq!(text(layer, &token, Session::csrf_token).await, first.body, "{backend:?}");

            let renewed = act(layer, Some(&token), renewal).await.token().unwrap();
            let stale = first.body.clone();
            let fresh = text(layer, &renewed, move |session| {
                assert!(!session.verify_csrf(&stale));
                let fresh = session.csrf_token()?;
                assert!(session.verify_csrf(&fresh));
                Ok(fresh)
            });
            assert_ne!(fresh.await, first.body, "{backend:?}");
        }
    }
}

/// What a request reads with this token.
async fn text(
    layer: &SessionLayer,
    token: &str,
    read: impl FnOnce(&Session) -> Result<String, Error> + Send + 'static,
) -> String {
    let answer = act(layer, Some(token), read).await;
    assert!(answer.status.is_success());
    answer.body
}
