//! What caches must know of a response (promise 18).

use crate::support::{Answer, Backend, Browser, DAY, HOUR, Op, Setup};
use axum::Router;
use axum::extract::Path;
use axum::response::AppendHeaders;
use axum::routing::{any, get};
use http::header::{CACHE_CONTROL, ETAG, HeaderName, SET_COOKIE, VARY};
use http::{HeaderMap, StatusCode};
use tower_session_layer::{CacheHeaders, Error, Session, SessionKey, SessionLayerBuilder, SessionView};

const KEY: SessionKey<u8> = SessionKey::new("a");

/// Every method that reveals or changes something.
const ACCESSES: [(&str, fn(&Session)); 35] = [
    ("get", |session| _ = session.get::<u8>("a")),
    ("get of another type", |session| _ = session.get::<String>("a")),
    ("contains", |session| _ = session.contains("a")),
    ("keys", |session| _ = session.keys()),
    ("len", |session| _ = session.len()),
    ("is_empty", |session| _ = session.is_empty()),
    ("is_new", |session| _ = session.is_new()),
    ("is_changed", |session| _ = session.is_changed()),
    ("is_unavailable", |session| _ = session.is_unavailable()),
    ("owner", |session| _ = session.owner()),
    ("signed_in_at", |session| _ = session.signed_in_at()),
    ("handle", |session| _ = session.handle()),
    ("created_at", |session| _ = session.created_at()),
    ("expires_at", |session| _ = session.expires_at()),
    ("view", |session| _ = session.view()),
    ("csrf_token", |session| _ = session.csrf_token()),
    ("verify_csrf", |session| _ = session.verify_csrf("x")),
    ("insert", |session| _ = session.insert("a", 1)),
    ("insert of another value", |session| _ = session.insert("a", 2)),
    ("remove", |session| _ = session.remove("b")),
    ("take", |session| _ = session.take::<u8>("b")),
    ("update", |session| _ = session.update("a", |value: Option<u8>| value)),
    ("clear", |session| _ = session.clear()),
    ("flash", |session| _ = session.flash("a", 1)),
    ("take_flash", |session| _ = session.take_flash::<u8>("a")),
    ("renew", |session| _ = session.renew()),
    ("destroy", |session| _ = session.destroy()),
    ("sign_in", |session| _ = session.sign_in("ada")),
    ("set_idle_timeout", |session| _ = session.set_idle_timeout(DAY)),
    ("key's get", |session| _ = KEY.get(session)),
    ("key's insert", |session| _ = KEY.insert(session, 1)),
    ("key's remove", |session| _ = KEY.remove(session)),
    ("key's take", |session| _ = KEY.take(session)),
    ("key's update", |session| _ = KEY.update(session, |value| value)),
    ("through a clone", |session| _ = session.clone().get::<u8>("a")),
];

/// What obtains or names the handle and reveals nothing.
const NO_ACCESSES: [(&str, fn(&Session)); 4] = [
    ("extraction alone", |_| {}),
    ("clone", |session| _ = session.clone()),
    ("named", |session| _ = session.named("sid")),
    ("owners", |session| _ = session.owners()),
];

fn app(setup: &Setup) -> Router {
    let access = |session: Session, Path(place): Path<usize>| async move { ACCESSES[place].1(&session) };
    let no_access = |session: Session, Path(place): Path<usize>| async move {
        NO_ACCESSES[place].1(&session);
        AppendHeaders([(VARY, "Accept"), (CACHE_CONTROL, "public, max-age=60")])
    };
    Router::new()
        .route("/access/{place}", any(access))
        .route("/view", get(|_: SessionView| async {}))
        .route("/maybe-view", get(|view: Option<SessionView>| async move { assert!(view.is_some()) }))
        .route("/is-new", get(|session: Session| async move { session.is_new().to_string() }))
        .route("/reload", get(|session: Session| async move { session.reload().await }))
        .route("/no-access/{place}", get(no_access))
        .route("/no-session", get(|| async { [(VARY, "Accept")] }))
        .route("/touched/{status}/{act}", get(answer_with))
        .layer(setup.layer.clone())
}

async fn answer_with(
    session: Session,
    Path((status, act)): Path<(u16, String)>,
    headers: HeaderMap,
) -> Result<(StatusCode, AppendHeaders<Vec<(HeaderName, String)>>), Error> {
    match act.as_str() {
        "read" => drop(session.get::<u8>("a")?),
        "write" => session.insert("a", 2)?,
        "renew" => session.renew()?,
        "empty" => session.clear()?,
        "destroy" => session.destroy()?,
        "commit" => {
            session.renew()?;
            session.commit().await?;
        }
        _ => {}
    }
    let own = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-own-")).map(|(name, value)| {
        let name = HeaderName::try_from(&name.as_str()["x-own-".len()..]).unwrap();
        (name, value.to_str().unwrap().to_owned())
    });
    Ok((StatusCode::from_u16(status).unwrap(), AppendHeaders(own.chain([(ETAG, "\"1\"".into())]).collect())))
}

fn all(answer: &Answer, name: HeaderName) -> Vec<String> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

async fn signed_up(setup: &Setup) -> Browser {
    let mut browser = Browser::new(app(setup));
    let insert = ACCESSES.iter().position(|(name, _)| *name == "insert").unwrap();
    assert!(browser.post(&format!("/access/{insert}")).await.set_cookie().is_some());
    browser
}

#[tokio::test]
async fn every_access_makes_the_response_vary_by_cookie() {
    for backend in [Backend::Memory, Backend::Remote, Backend::Cookie] {
        let setup = Setup::new(backend);
        let anonymous = Browser::new(app(&setup));
        for (place, (name, _)) in ACCESSES.iter().enumerate() {
            for (who, browser) in [("anonymous", &anonymous), ("known", &signed_up(&setup).await)] {
                let answer = browser.send_without_keeping("GET", &format!("/access/{place}"), "").await;
                assert_eq!(all(&answer, VARY), ["Cookie"], "{backend:?} {who} {name}");
                let expected = if answer.set_cookie().is_some() { vec!["no-store"] } else { vec![] };
                assert_eq!(all(&answer, CACHE_CONTROL), expected, "{backend:?} {who} {name}");
            }
        }
        for path in ["/view", "/maybe-view", "/reload"] {
            let answer = signed_up(&setup).await.send_without_keeping("GET", path, "").await;
            assert_eq!(all(&answer, VARY), ["Cookie"], "{backend:?} {path}");
            let answer = anonymous.send_without_keeping("GET", path, "").await;
            assert_eq!(all(&answer, VARY), ["Cookie"], "{backend:?} anonymous {path}");
        }
    }
}

#[tokio::test]
async fn without_an_access_headers_and_deadline_stay_untouched() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let known = signed_up(&setup).await;
        // Half the idle timeout later a refresh is due, but not for these.
        setup.clock.advance(4 * DAY);
        setup.store.forget();
        for browser in [&known.another(), &known] {
            for (place, (name, _)) in NO_ACCESSES.iter().enumerate() {
                let answer = browser.send_without_keeping("GET", &format!("/no-access/{place}"), "").await;
                assert_eq!(all(&answer, VARY), ["Accept"], "{backend:?} {name}");
                assert_eq!(all(&answer, CACHE_CONTROL), ["public, max-age=60"], "{backend:?} {name}");
                assert_eq!(all(&answer, SET_COOKIE), [""; 0], "{backend:?} {name}");
            }
            let answer = browser.send_without_keeping("GET", "/no-session", "").await;
            assert_eq!((all(&answer, VARY), answer.set_cookie()), (vec!["Accept".into()], None), "{backend:?}");
        }
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
        let answer = known.send_without_keeping("GET", "/view", "").await;
        assert_eq!(setup.store.calls(Op::Touch), 1, "{backend:?}");
        assert_eq!(answer.set_cookie().is_some(), backend == Backend::Cookie, "{backend:?}");
    }
}

#[tokio::test]
async fn headers_of_the_handler_are_merged() {
    let rows: [(&str, &str, Option<&str>, &[&str], Option<&str>); 13] = [
        ("read", "x-own-vary", None, &["Cookie"], None),
        ("read", "x-own-vary", Some("Accept"), &["Accept, Cookie"], None),
        ("read", "x-own-vary", Some("Accept, cookie"), &["Accept, cookie"], None),
        ("read", "x-own-vary", Some("*"), &["*"], None),
        ("read", "x-own-vary", Some("X-Cookie"), &["X-Cookie, Cookie"], None),
        ("read", "x-own-cache-control", Some("public, max-age=60"), &["Cookie"], Some("public, max-age=60")),
        ("renew", "x-own-cache-control", None, &["Cookie"], Some("no-store")),
        ("renew", "x-own-cache-control", Some("public, max-age=60"), &["Cookie"], Some("no-store")),
        ("renew", "x-own-cache-control", Some("s-maxage=9, immutable"), &["Cookie"], Some("no-store")),
        ("renew", "x-own-cache-control", Some("private, max-age=60"), &["Cookie"], Some("private, no-store")),
        ("renew", "x-own-cache-control", Some("no-store"), &["Cookie"], Some("no-store")),
        ("renew", "x-own-cache-control", Some("no-cache=\"Set-Cookie\""), &["Cookie"], Some("no-store")),
        ("destroy", "x-own-cache-control", Some("public"), &["Cookie"], Some("no-store")),
    ];
    for (act, name, own, vary, cache_control) in rows {
        let setup = Setup::new(Backend::Memory);
        let browser = signed_up(&setup).await;
        let request = http::Request::get(format!("/touched/200/{act}"));
        let request = request.header("cookie", format!("sid={}", browser.token().unwrap()));
        let request = own.iter().fold(request, |request, own| request.header(name, *own));
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = crate::support::answer(tower::ServiceExt::oneshot(app(&setup), request).await.unwrap()).await;
        assert_eq!(all(&answer, VARY), vary, "{act} {own:?}");
        let expected: Vec<_> = cache_control.into_iter().collect();
        assert_eq!(all(&answer, CACHE_CONTROL), expected, "{act} {own:?}");
        assert_eq!(all(&answer, ETAG), ["\"1\""], "{act} {own:?}");
    }
}

#[tokio::test]
async fn a_refresh_forbids_storing_where_it_sends_a_cookie() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let browser = signed_up(&setup).await;
        setup.clock.advance(DAY);
        let answer = browser.send_without_keeping("GET", "/view", "").await;
        assert_eq!(setup.store.calls(Op::Touch), 1, "{backend:?}");
        let is_sealed = backend == Backend::Cookie;
        assert_eq!(answer.set_cookie().is_some(), is_sealed, "{backend:?}");
        let forbidden = if is_sealed { vec!["no-store"] } else { vec![] };
        assert_eq!(all(&answer, CACHE_CONTROL), forbidden, "{backend:?}");
        assert_eq!(all(&answer, VARY), ["Cookie"], "{backend:?}");
    }
}

#[tokio::test]
async fn a_304_never_carries_the_cookie_of_its_own_commit() {
    for backend in Backend::ALL {
        for (act, survives) in [("read", true), ("write", true), ("renew", true), ("empty", false), ("destroy", false)]
        {
            let setup = Setup::new(backend);
            let mut browser = signed_up(&setup).await;
            let token = browser.token();
            setup.clock.advance(DAY);
            setup.store.forget();
            let answer = browser.get(&format!("/touched/304/{act}")).await;
            assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{backend:?} {act}");
            assert_eq!(all(&answer, SET_COOKIE), [""; 0], "{backend:?} {act}");
            // A sealed session's deadline is in its cookie.
            let refreshes = backend != Backend::Cookie && act == "read";
            assert_eq!(setup.store.calls(Op::Touch), usize::from(refreshes), "{backend:?} {act}");
            assert_eq!(browser.token(), token, "{backend:?} {act}");
            if backend != Backend::Cookie {
                let answer = browser.with_token(&token.unwrap()).get("/is-new").await;
                assert_eq!(answer.body, (!survives).to_string(), "{backend:?} {act}");
            }
        }
        // A new session would be lost with its cookie: nothing is stored.
        let setup = Setup::new(backend);
        let answer = Browser::new(app(&setup)).get("/touched/304/write").await;
        assert_eq!((all(&answer, SET_COOKIE), setup.store.writes()), (vec![], 0), "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_committed_before_a_304_keeps_its_cookie() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = signed_up(&setup).await;
        let answer = browser.get("/touched/304/commit").await;
        assert!(answer.set_cookie().is_some(), "{backend:?}");
        assert_eq!(all(&answer, CACHE_CONTROL), ["no-store"], "{backend:?}");
    }
}

#[tokio::test]
async fn cache_headers_can_be_left_to_the_program() {
    for backend in Backend::ALL {
        let off = |builder: SessionLayerBuilder<_>| builder.cache_headers(CacheHeaders::Off).idle_timeout(HOUR);
        let setup = Setup::with(backend, off);
        let mut browser = signed_up(&setup).await;
        for act in ["read", "write", "renew", "destroy"] {
            let answer = browser.get(&format!("/touched/200/{act}")).await;
            assert_eq!((all(&answer, VARY), all(&answer, CACHE_CONTROL)), (vec![], vec![]), "{backend:?} {act}");
            if act == "renew" || act == "destroy" {
                assert!(answer.set_cookie().is_some(), "{backend:?} {act}");
            }
        }
    }
}
