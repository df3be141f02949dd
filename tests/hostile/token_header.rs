//! Tokens in a header of their own, for clients without cookies.

use crate::support::direct::settle;
use crate::support::{Answer, Backend, Op, Setup, answer};
use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use http::{HeaderMap, Request, StatusCode};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{ConfigError, MemoryStore, Session, SessionLayer};

const NAME: &str = "x-session";

fn beside(backend: Backend) -> Setup {
    Setup::with(backend, |builder| builder.token_header(NAME))
}

/// Sends a request with these headers, whose handler counts visits, or does what the path says.
async fn send(layer: &SessionLayer, path: &str, headers: &[(&str, &str)]) -> Answer {
    let service = layer.layer(service_fn(|request: Request<Body>| async move {
        let session = request.extensions().get::<Session>().unwrap();
        match request.uri().path() {
            "/visit" => session.update("visits", |visits: Option<u32>| Some(visits.unwrap_or(0) + 1))?,
            "/renew" => session.renew()?,
            "/leave" => session.destroy()?,
            "/idle" => return Ok(Response::new(Body::empty())),
            _ => {}
        }
        let visits = session.get::<u32>("visits")?.map_or("none".to_owned(), |visits| visits.to_string());
        let response = Response::builder().header(NAME, "the handler's").header(SET_COOKIE, "theme=dark");
        Ok::<_, tower_session_layer::Error>(if request.uri().path() == "/own" {
            response.body(Body::from(visits)).unwrap()
        } else {
            Response::new(Body::from(visits))
        })
    }));
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(NAME).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_comes_in_the_header_goes_out_in_the_header_and_nothing_in_a_cookie() {
    for backend in Backend::ALL {
        let Setup { layer, store, .. } = &beside(backend);
        let begun = send(layer, "/visit", &[(NAME, "")]).await;
        let first = token(&begun.headers).expect("the token").to_owned();
        assert!(begun.set_cookies().is_empty(), "{backend:?}");
        assert_eq!(begun.headers[CACHE_CONTROL], "no-store", "{backend:?}");
        assert!(begun.headers[NAME].is_sensitive(), "{backend:?}");
        assert_eq!(begun.headers[VARY], "Cookie, x-session", "{backend:?}");

        let again = send(layer, "/visit", &[(NAME, &first)]).await;
        assert_eq!(again.body, "2", "{backend:?}");
        let held = token(&again.headers).unwrap_or(&first).to_owned();
        let read = send(layer, "/read", &[(NAME, &held)]).await;
        assert_eq!((read.body.as_str(), token(&read.headers)), ("2", None), "{backend:?}");
        let idle = send(layer, "/idle", &[(NAME, &held)]).await;
        assert!(!idle.headers.contains_key(VARY) && token(&idle.headers).is_none(), "{backend:?}");

        let renewed = send(layer, "/renew", &[(NAME, &held)]).await;
        let fresh = token(&renewed.headers).unwrap();
        assert!(fresh != held && !fresh.is_empty(), "{backend:?}");
        let left = send(layer, "/leave", &[(NAME, fresh)]).await;
        assert_eq!(token(&left.headers), Some(""), "{backend:?}: to be forgotten");
        assert!(left.set_cookies().is_empty() && left.headers[CACHE_CONTROL] == "no-store", "{backend:?}");
        if backend == Backend::Memory {
            assert_eq!(store.sessions().await, 0);
        }
    }
}

#[tokio::test]
async fn a_header_never_lets_a_script_see_the_token_of_the_cookie() {
    for backend in Backend::ALL {
        let Setup { layer, .. } = &beside(backend);
        let begun = send(layer, "/visit", &[]).await;
        assert_eq!(token(&begun.headers), None, "{backend:?}: by cookie where there was no header");
        let cookie = begun.set_cookie().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        for header in ["", "nonsense"] {
            for path in ["/visit", "/renew", "/leave", "/read"] {
                let answer = send(layer, path, &[(COOKIE.as_str(), cookie), (NAME, header)]).await;
                assert!(answer.body == "1" || answer.body == "none", "{backend:?} {path}: a session of its own");
                assert!(answer.set_cookies().is_empty(), "{backend:?} {path}");
                let shown = token(&answer.headers).unwrap_or_default();
                assert!(shown.is_empty() || !cookie.contains(shown), "{backend:?} {path}");
            }
        }
        let read = send(layer, "/read", &[(COOKIE.as_str(), cookie)]).await;
        assert_eq!((read.body.as_str(), &read.headers[VARY]), ("1", &"Cookie, x-session".parse().unwrap()));
    }
}

#[tokio::test]
async fn alone_it_knows_no_cookie() {
    for backend in Backend::ALL {
        let Setup { layer, store, .. } = &Setup::with(backend, |builder| builder.token_header_alone(NAME));
        let begun = send(layer, "/visit", &[]).await;
        let first = token(&begun.headers).unwrap();
        assert!(begun.set_cookies().is_empty(), "{backend:?}");
        assert_eq!(begun.headers[VARY], "x-session", "{backend:?}");
        store.forget();
        let cookie = format!("sid={first}");
        let ignored = send(layer, "/read", &[(COOKIE.as_str(), &cookie)]).await;
        assert_eq!((ignored.body.as_str(), store.calls(Op::Load)), ("none", 0), "{backend:?}");
        assert_eq!(send(layer, "/read", &[(NAME, first)]).await.body, "1", "{backend:?}");
    }
}

#[tokio::test]
async fn what_the_header_holds_is_as_hostile_as_a_cookie() {
    let Setup { layer, store, .. } = &beside(Backend::Memory);
    let begun = send(layer, "/visit", &[(NAME, "")]).await;
    let live = token(&begun.headers).unwrap();
    store.forget();
    let unknown = "A".repeat(32);
    for value in ["", "x", "sid=1", "../..", "%00", &"A".repeat(8 * 1024), &unknown[1..], "\"quoted\""] {
        let answer = send(layer, "/read", &[(NAME, value)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "none"), "{value:.20}");
    }
    assert_eq!(store.calls(Op::Load), 0, "nothing of another shape reaches the store");
    let adopted = send(layer, "/visit", &[(NAME, &unknown)]).await;
    assert!(token(&adopted.headers).is_some_and(|fresh| fresh != unknown), "never adopted");
    let joined = format!("{unknown}, {live}");
    assert_eq!(send(layer, "/read", &[(NAME, &joined)]).await.body, "1", "a proxy has joined two lines");
    let many = vec![(NAME, unknown.as_str()); 100];
    store.forget();
    send(layer, "/read", &many).await;
    assert_eq!(store.calls(Op::Load), 1, "one of a kind is tried once");
    let own = send(layer, "/own", &[(NAME, live)]).await;
    assert_eq!(own.headers.get_all(NAME).iter().count(), 1, "the handler's own stays where there is no news");
}

#[tokio::test]
async fn a_dead_token_in_the_header_is_inert() {
    let Setup { layer, .. } = &beside(Backend::Remote);
    let begun = send(layer, "/visit", &[(NAME, "")]).await;
    let first = token(&begun.headers).unwrap();
    send(layer, "/leave", &[(NAME, first)]).await;
    let late = send(layer, "/visit", &[(NAME, first)]).await;
    assert_eq!((late.status, token(&late.headers)), (StatusCode::OK, None));
    settle().await;
}

#[test]
fn a_header_with_another_meaning_is_refused() {
    let build = |name: &str| SessionLayer::builder(MemoryStore::new()).token_header(name).build();
    for name in
        ["", "a b", "x:y", "é", "Cookie", "set-cookie", "Vary", "cache-control", "host", "grpc-status", "token-bin"]
    {
        assert_eq!(build(name).unwrap_err(), ConfigError::TokenHeader(name.into()));
    }
    for name in ["X-Session", "session", "x-auth-token"] {
        build(name).unwrap();
    }
}
