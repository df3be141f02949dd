//! The cookie that is written.

use std::collections::BTreeSet;

use tower_session_layer::{MemoryStore, SameSite, Session, SessionLayer, SessionLayerBuilder};

use crate::support::direct::{act, begin};
use crate::support::{Answer, Backend, DAY, Setup};

/// The attributes of a `Set-Cookie`, names and values.
fn attributes(cookie: &str) -> Vec<(&str, &str)> {
    cookie.split("; ").skip(1).map(|attribute| attribute.split_once('=').unwrap_or((attribute, ""))).collect()
}

#[tokio::test]
async fn ck_1_the_default_cookie_is_as_narrow_as_browsers_can_make_it() {
    let layer = SessionLayer::new(MemoryStore::new());
    let answer = act(&layer, None, |session| session.insert("a", 1)).await;
    let [cookie] = answer.set_cookies().try_into().unwrap();
    assert!(cookie.starts_with("__Host-sid="), "{cookie}");
    let expected = [("HttpOnly", ""), ("Max-Age", "2592000"), ("Path", "/"), ("SameSite", "Lax"), ("Secure", "")];
    assert_eq!(BTreeSet::from_iter(attributes(&cookie)), BTreeSet::from(expected));
}

type Options = fn(SessionLayerBuilder<crate::support::TestStore>) -> SessionLayerBuilder<crate::support::TestStore>;

const OPTIONS: [Options; 5] = [
    |builder| builder,
    |builder| builder.domain("example.com").path("/shop"),
    |builder| builder.same_site(SameSite::None).partitioned(),
    SessionLayerBuilder::insecure_http,
    SessionLayerBuilder::browser_session,
];

/// A `Set-Cookie` of each kind: begin, renew, remove, and with the cookie store refresh and remember.
async fn cookies(backend: Backend, options: Options) -> Vec<String> {
    let setup = Setup::with(backend, options);
    let begun = act(&setup.layer, None, |session| session.insert("a", 1)).await;
    let renewed = act(&setup.layer, begun.token().as_deref(), Session::renew).await;
    setup.clock.advance(DAY);
    let refreshed = act(&setup.layer, renewed.token().as_deref(), |session| assert!(!session.is_new())).await;
    let token = refreshed.token().or_else(|| renewed.token());
    let remembered = act(&setup.layer, token.as_deref(), |session| session.set_idle_timeout(DAY)).await;
    let removed = act(&setup.layer, remembered.token().or(token).as_deref(), Session::destroy).await;
    let is_sealed = backend == Backend::Cookie;
    assert_eq!(refreshed.set_cookie().is_some(), is_sealed, "{backend:?}");
    assert!(remembered.set_cookie().is_some() || !is_sealed, "{backend:?}");
    assert!([&begun, &renewed, &removed].iter().all(|answer| answer.set_cookie().is_some()), "{backend:?}");
    [begun, renewed, refreshed, remembered, removed].iter().filter_map(Answer::set_cookie).collect()
}

#[tokio::test]
async fn ck_11_no_attribute_stands_twice() {
    for backend in Backend::ALL {
        for (row, options) in OPTIONS.into_iter().enumerate() {
            for cookie in cookies(backend, options).await {
                let names: Vec<_> = attributes(&cookie).iter().map(|(name, _)| name.to_lowercase()).collect();
                assert_eq!(BTreeSet::from_iter(&names).len(), names.len(), "{backend:?} {row}: {cookie}");
            }
        }
    }
}

#[tokio::test]
async fn ck_12_max_age_is_digits_and_expires_is_a_date_of_the_fixed_form() {
    let mut seen = (0, 0);
    for backend in Backend::ALL {
        for options in OPTIONS {
            for cookie in cookies(backend, options).await {
                for (name, value) in attributes(&cookie) {
                    match name {
                        "Max-Age" => {
                            seen.0 += 1;
                            assert!(!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()), "{cookie}");
                        }
                        "Expires" => {
                            seen.1 += 1;
                            assert_eq!(value, "Thu, 01 Jan 1970 00:00:00 GMT");
                            assert!(cookie.contains("; Max-Age=0; "), "{cookie}");
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    assert!(seen.0 >= 75 && seen.1 == 5 * Backend::ALL.len(), "{seen:?}");
}

#[tokio::test]
async fn ck_15_the_server_ends_a_session_whose_cookie_the_client_keeps() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(7 * DAY);
        let answer = act(&setup.layer, Some(&token), |session| assert!(session.is_new() && session.is_empty())).await;
        assert!(answer.leaves_cookie(), "{backend:?}");
    }
}

#[tokio::test]
async fn ck_19_what_a_session_holds_cannot_be_read_in_its_cookie() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| {
            session.insert("address", "hunter2")?;
            session.sign_in("ada@example.com")
        });
        let token = token.await;
        for bytes in [URL_SAFE_NO_PAD.decode(&token).unwrap(), token.into_bytes()] {
            for secret in ["address", "hunter2", "ada", "example"] {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{backend:?} {secret}");
            }
        }
    }
}
