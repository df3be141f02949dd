//! Caches.

use tower_session_layer::Session;

use crate::support::direct::{act, begin, send};
use crate::support::{Answer, Backend, DAY, Setup};

#[tokio::test]
async fn ca_1_a_response_with_the_cookie_is_stored_nowhere() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let public = || [("cache-control", "public, max-age=60"), ("cdn-cache-control", "max-age=60")];
        let with = async |token: Option<&str>, act_on: fn(&Session)| {
            send(&setup.layer, token, move |session: Session| async move {
                act_on(&session);
                public()
            })
            .await
        };
        let begun = with(None, |session| session.insert("a", 1).unwrap()).await;
        let renewed = with(begun.token().as_deref(), |session| session.renew().unwrap()).await;
        setup.clock.advance(DAY);
        let refreshed = with(renewed.token().as_deref(), |session| assert_eq!(session.len(), 1)).await;
        let token = refreshed.token().or_else(|| renewed.token());
        let removed = with(token.as_deref(), |session| session.destroy().unwrap()).await;
        for (what, answer) in
            [("begun", &begun), ("renewed", &renewed), ("refreshed", &refreshed), ("removed", &removed)]
        {
            let has_cookie = what != "refreshed" || backend == Backend::Cookie;
            assert_eq!(answer.set_cookie().is_some(), has_cookie, "{backend:?} {what}");
            if !has_cookie {
                continue;
            }
            let all: Vec<_> = answer.headers.get_all("cache-control").iter().collect();
            assert_eq!(all, ["no-store"], "{backend:?} {what}");
            assert!(!answer.headers.contains_key("cdn-cache-control"), "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn ca_4_what_does_not_touch_the_session_is_answered_as_without_it() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        // A refresh is due, and so would be a seal's renewal.
        setup.clock.advance(6 * DAY);
        setup.store.forget();
        let asset =
            |answer: &Answer| answer.headers.contains_key("vary") || answer.headers.contains_key("cache-control");
        for status in [200, 304, 404] {
            let answer = act(&setup.layer, Some(&token), move |_| http::StatusCode::from_u16(status).unwrap()).await;
            assert!(answer.set_cookie().is_none() && !asset(&answer), "{backend:?} {status}");
        }
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
    }
}
