//! Tokens of the client are found, never adopted, and never tidied up (promises 5, 7 and 8).

use std::sync::Arc;

use crate::support::{Answer, Backend, Browser, DAY, Fault, MINUTE, Op, Setup};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, get, post};
use http::StatusCode;
use http::header::COOKIE;
use http::{HeaderMap, Request};
use tokio::sync::Notify;
use tower::ServiceExt as _;
use tower_session_layer::{Error, Session, SessionKey};

type Mutator = fn(&Session) -> Result<(), Error>;

/// Every way to change a session, each with something to keep at the end.
pub(crate) const MUTATORS: [(&str, Mutator); 15] = [
    ("insert", |session| session.insert("a", 1)),
    ("update", |session| session.update("a", |_: Option<u8>| Some(1))),
    ("flash", |session| session.flash("a", 1)),
    ("sign_in", |session| session.sign_in("ada")),
    ("csrf_token", |session| session.csrf_token().map(|_| ())),
    ("typed key", |session| SessionKey::<u8>::new("a").insert(session, 1)),
    ("typed key's update", |session| SessionKey::<u8>::new("a").update(session, |_| Some(1))),
    ("renew and insert", |session| session.renew().and_then(|()| session.insert("a", 1))),
    ("insert and renew", |session| session.insert("a", 1).and_then(|()| session.renew())),
    ("destroy and insert", |session| session.destroy().and_then(|()| session.insert("a", 1))),
    ("clear and insert", |session| session.clear().and_then(|()| session.insert("a", 1))),
    ("remove and insert", |session| session.remove("a").and_then(|_| session.insert("a", 1))),
    ("take and insert", |session| session.take::<u8>("b").and_then(|_| session.insert("a", 1))),
    ("take_flash and insert", |session| session.take_flash::<u8>("b").and_then(|_| session.insert("a", 1))),
    ("timeout and insert", |session| session.set_idle_timeout(DAY).and_then(|()| session.insert("a", 1))),
];

fn app(setup: &Setup) -> Router {
    let mutate = |session: Session, Path(place): Path<usize>| async move { MUTATORS[place].1(&session) };
    let commit = |session: Session, Path(place): Path<usize>| async move {
        MUTATORS[place].1(&session)?;
        session.commit().await
    };
    Router::new()
        .route("/mutate/{place}", post(mutate))
        .route("/commit/{place}", post(commit))
        .route("/is-new", any(|session: Session| async move { session.is_new().to_string() }))
        .route(
            "/who",
            any(|session: Session| async move { session.get::<String>("who").map(Option::unwrap_or_default) }),
        )
        .route("/be/{who}", post(|session: Session, Path(who): Path<String>| async move { session.insert("who", who) }))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .layer(setup.layer.clone())
}

async fn with_cookies(app: &Router, method: &str, path: &str, cookies: &[&str]) -> Answer {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    for cookie in cookies {
        request.headers_mut().append(COOKIE, cookie.parse().unwrap());
    }
    crate::support::answer(app.clone().oneshot(request).await.unwrap()).await
}

async fn be(app: &Router, who: &str) -> String {
    let mut browser = Browser::new(app.clone());
    browser.post(&format!("/be/{who}")).await;
    browser.token().unwrap()
}

#[tokio::test]
async fn an_unknown_or_expired_token_is_never_adopted_through_any_mutator() {
    for backend in Backend::SERVER {
        for path in ["mutate", "commit"] {
            for (place, (name, _)) in MUTATORS.iter().enumerate() {
                for is_expired in [false, true] {
                    let setup = Setup::new(backend);
                    let app = app(&setup);
                    let planted = if is_expired { be(&app, "earlier").await } else { "A".repeat(32) };
                    setup.clock.advance(8 * DAY);
                    let mut browser = Browser::new(app.clone()).with_token(&planted);
                    let answer = browser.post(&format!("/{path}/{place}")).await;
                    assert_eq!(answer.status, StatusCode::OK, "{backend:?} {path} {name}");
                    assert!(answer.set_cookie().is_some(), "{backend:?} {path} {name}");
                    assert_ne!(browser.token(), Some(planted.clone()), "{backend:?} {path} {name}");
                    assert!(is_expired || setup.store.sessions().await == 1, "{backend:?} {path} {name}");
                    assert_eq!(browser.get("/is-new").await.body, "false", "{backend:?} {path} {name}");
                    assert_eq!(browser.get("/who").await.body, "", "{backend:?} {path} {name}");
                    let answer = browser.with_token(&planted).get("/is-new").await;
                    assert_eq!(answer.body, "true", "{backend:?} {path} {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_counts_only_in_its_cookie() {
    let setup = Setup::new(Backend::Memory);
    let app = app(&setup);
    let token = be(&app, "ada").await;
    setup.store.forget();
    for (what, path, header, body) in [
        ("query", format!("/who?sid={token}"), ("x", String::new()), String::new()),
        ("path parameter", format!("/who;sid={token}"), ("x", String::new()), String::new()),
        ("form", "/who".into(), ("content-type", "application/x-www-form-urlencoded".into()), format!("sid={token}")),
        ("header", "/who".into(), ("sid", token.clone()), String::new()),
        ("authorization", "/who".into(), ("authorization", format!("Bearer {token}")), String::new()),
        ("Cookie2", "/who".into(), ("cookie2", format!("sid={token}")), String::new()),
        ("Set-Cookie", "/who".into(), ("set-cookie", format!("sid={token}")), String::new()),
    ] {
        let request = Request::post(path).header(header.0, header.1).body(Body::from(body)).unwrap();
        let answer = crate::support::answer(app.clone().oneshot(request).await.unwrap()).await;
        assert!(!answer.body.contains("ada"), "{what}");
        assert_eq!(setup.store.calls(Op::Load), 0, "{what}");
    }
    assert_eq!(with_cookies(&app, "POST", "/who", &[&format!("sid={token}")]).await.body, "ada");
}

#[tokio::test]
async fn the_first_live_session_of_several_cookies_wins() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let app = app(&setup);
        let bob = be(&app, "bob").await;
        setup.clock.advance(MINUTE);
        let ada = be(&app, "ada").await;
        let (ada, bob) = (format!("sid={ada}"), format!("sid={bob}"));
        let unknown = |last: u8| format!("sid={}{last}", "A".repeat(31));
        let garbage = vec!["sid=%00"; 100].join(";");
        // With the cookie store the one sealed last wins, so that all are opened.
        let is_sealed = backend == Backend::Cookie;
        let (first, after) = if is_sealed { ("ada", 2) } else { ("bob", 1) };
        for (what, cookies, who, loads) in [
            ("two", vec![format!("{ada}; {bob}")], "ada", after),
            ("two, the other way", vec![format!("{bob}; {ada}")], first, after),
            ("two headers", vec!["a=1".into(), bob.clone(), ada.clone()], first, after),
            ("planted before", vec![unknown(1), ada.clone()], "ada", 2),
            ("planted after", vec![ada.clone(), unknown(1)], "ada", after),
            ("three planted before", vec![unknown(1), unknown(2), unknown(3), ada.clone()], "ada", 4),
            ("four planted before", vec![unknown(1), unknown(2), unknown(3), unknown(4), ada.clone()], "", 4),
            ("one planted often", vec![vec![unknown(1); 50].join("; "), ada.clone()], "ada", 2),
            ("malformed ones do not count", vec![garbage, ada.clone()], "ada", 1),
            ("a bad pair first", vec![format!("a; =; ;sid; {ada}")], "ada", 1),
            ("another name", vec![ada.replacen("sid", "Sid", 1)], "", 0),
            ("a longer name", vec![format!("x{ada}; sid2{}", &ada[3..])], "", 0),
            ("nameless", vec![format!("={ada}")], "", 0),
            ("with $Version", vec![format!("$Version=1, {ada}")], "", 0),
        ] {
            setup.store.forget();
            let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
            let answer = with_cookies(&app, "GET", "/who", &cookies).await;
            assert_eq!((answer.body.as_str(), answer.set_cookie()), (who, None), "{backend:?} {what}");
            assert_eq!(setup.store.calls(Op::Load), loads, "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn a_tombstone_counts_only_if_no_candidate_is_live() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let app = app(&setup);
        let (dead, live) = (be(&app, "dead").await, be(&app, "live").await);
        Browser::new(app.clone()).with_token(&dead).post("/destroy").await;
        let (dead, live) = (format!("sid={dead}"), format!("sid={live}"));
        let unknown = format!("sid={}", "A".repeat(32));
        setup.store.forget();
        for cookies in [[&*dead, &*unknown], [&*unknown, &*dead]] {
            let answer = with_cookies(&app, "POST", "/be/zombie", &cookies).await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::OK, None), "{backend:?}");
            assert_eq!(setup.store.writes(), 0, "{backend:?}");
        }
        for (number, cookies) in [[&*dead, &*live], [&*live, &*dead]].into_iter().enumerate() {
            let answer = with_cookies(&app, "POST", &format!("/be/{number}"), &cookies).await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::OK, None), "{backend:?}");
            assert_eq!(with_cookies(&app, "GET", "/who", &[&live]).await.body, number.to_string(), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_load_error_stops_the_search() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let app = app(&setup);
        let live = format!("sid={}", be(&app, "ada").await);
        let unknown = format!("sid={}", "A".repeat(32));
        setup.store.forget();
        setup.store.fault(Op::Load, Fault::Fail, 1);
        let answer = with_cookies(&app, "POST", "/be/bob", &[&unknown, &live]).await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{backend:?}");
        assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (1, 0), "{backend:?}");
        assert_eq!(with_cookies(&app, "GET", "/who", &[&unknown, &live]).await.body, "ada", "{backend:?}");
    }
}

#[tokio::test]
async fn a_stale_cookie_is_not_cleaned_up() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let app = app(&setup);
        let destroyed = be(&app, "ada").await;
        Browser::new(app.clone()).with_token(&destroyed).post("/destroy").await;
        let expired = be(&app, "ada").await;
        for (what, token) in [("unknown", "A".repeat(32)), ("malformed", "x".into()), ("destroyed", destroyed)] {
            for path in ["/who", "/is-new"] {
                let answer = Browser::new(app.clone()).with_token(&token).get(path).await;
                assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} {what} {path}");
            }
        }
        setup.clock.advance(8 * DAY);
        let answer = Browser::new(app.clone()).with_token(&expired).get("/who").await;
        assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} expired");
        let answer = Browser::new(app.clone()).with_token(&expired).post("/destroy").await;
        assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} destroying what has expired");
    }
}

/// A handler that the test holds between its reading and its writing.
#[derive(Clone, Default)]
struct Turnstile {
    entered: Arc<Notify>,
    released: Arc<Notify>,
}

#[tokio::test]
async fn a_slow_old_request_does_not_clobber_the_cookie_of_a_login() {
    for backend in Backend::SERVER {
        for action in ["nothing", "read", "write", "clear", "remove", "commit", "timeout"] {
            let setup = Setup::new(backend);
            let turnstile = Turnstile::default();
            let slow = {
                let turnstile = turnstile.clone();
                move |session: Session| async move {
                    turnstile.entered.notify_one();
                    turnstile.released.notified().await;
                    match action {
                        "read" => drop(session.get::<String>("who")?),
                        "write" => session.insert("who", "late")?,
                        "clear" => session.clear()?,
                        "remove" => drop(session.remove("who")?),
                        "timeout" => session.set_idle_timeout(DAY)?,
                        "commit" => {
                            session.insert("who", "late")?;
                            assert!(session.commit().await.unwrap_err().is_gone());
                        }
                        _ => {}
                    }
                    Ok::<_, Error>(HeaderMap::new())
                }
            };
            let app = Router::new()
                .route("/slow", get(slow))
                .route("/login", post(|session: Session| async move { session.sign_in("ada") }))
                .layer(setup.layer.clone())
                .merge(app(&setup));
            let mut browser = Browser::new(app);
            browser.post("/be/ada").await;
            // Half the idle timeout later a refresh of the old session is due.
            setup.clock.advance(4 * DAY);
            let late = browser.clone();
            let late = tokio::spawn(async move { late.send_without_keeping("GET", "/slow", "").await });
            turnstile.entered.notified().await;
            assert!(browser.post("/login").await.set_cookie().is_some());
            let token = browser.token();
            turnstile.released.notify_one();
            let answer = late.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{backend:?} {action}");
            assert_eq!(answer.set_cookies(), [""; 0], "{backend:?} {action}");
            browser.keep(&answer);
            assert_eq!(browser.token(), token, "{backend:?} {action}");
            assert_eq!(browser.get("/who").await.body, "ada", "{backend:?} {action}");
        }
    }
}
