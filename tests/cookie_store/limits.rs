//! How large a session may become, and that what does not fit changes nothing (promise 26).

use std::sync::{Arc, Mutex, mpsc};

use crate::support::direct::{act, begin, hold, send, values};
use crate::support::{Answer, Backend, Browser, Fault, Op, Setup, answer};
use axum::body::Body;
use http::{Request, StatusCode};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{
    CookieKey, CookieStore, Error, ManualClock, MemoryStore, Operation, Session, SessionEvent, SessionLayer,
};

const LIMIT: usize = 1_000;

fn limited(backend: Backend) -> Setup {
    Setup::with(backend, |builder| builder.max_record_bytes(LIMIT))
}

fn text(len: usize) -> String {
    "x".repeat(len)
}

#[tokio::test]
async fn a_change_that_does_not_fit_is_an_error_that_says_by_how_much_and_changes_nothing() {
    for backend in Backend::ALL {
        let setup = limited(backend);
        let token = begin(&setup.layer, |session| {
            session.insert("big", text(500))?;
            session.insert("small", 1)
        });
        let token = token.await;
        setup.store.forget();
        let answer = act(&setup.layer, Some(&token), |session| {
            let long: &str = &text(LIMIT);
            for (what, result) in [
                ("insert", session.insert("other", text(450))),
                ("replace", session.insert("small", text(450))),
                (
                    "update",
                    session
                        .update("small", |_: Option<u8>| Some(9))
                        .and_then(|()| session.update("small", |_: Option<serde_json::Value>| Some(text(450).into()))),
                ),
                ("flash", session.flash("notice", text(450))),
                ("sign_in", session.sign_in(long)),
            ] {
                let error = result.unwrap_err();
                let message = error.to_string();
                assert!(error.is_too_large() && !error.is_unavailable(), "{what}: {error}");
                assert!(message.contains(&LIMIT.to_string()), "{what}: {message}");
                let actual = message.split(' ').filter_map(|word| word.parse::<usize>().ok()).max().unwrap();
                assert!((LIMIT + 1..2 * LIMIT).contains(&actual), "{what}: {message}");
                assert!(message.contains("`big`"), "{what}: {message}");
                assert_eq!((session.keys(), session.owner()), (vec!["big".into(), "small".into()], None), "{what}");
            }
            session.update("small", |_: Option<u8>| Some(1)).unwrap();
            session.insert("big", text(500)).unwrap();
        });
        assert_eq!(answer.await.status, StatusCode::OK, "{backend:?}");
        let found = values(&setup.layer, &token).await.unwrap();
        assert_eq!(found, serde_json::json!({ "big": text(500), "small": 1 }), "{backend:?}");
    }
}

#[tokio::test]
async fn the_limit_is_exact() {
    for (backend, key) in Backend::ALL.into_iter().flat_map(|backend| [(backend, "big"), (backend, "k")]) {
        let setup = limited(backend);
        let token = begin(&setup.layer, move |session| {
            let fits = |len: &usize| {
                session.remove(key).unwrap();
                session.insert(key, text(*len)).is_ok()
            };
            let longest = (1..LIMIT).take_while(fits).last().unwrap();
            session.insert(key, text(longest))
        });
        let token = token.await;
        let record = setup.record(&Browser::new(axum::Router::new()).with_token(&token)).await.unwrap();
        assert_eq!(record.encoded_len(), LIMIT, "{backend:?} {key}");
    }
}

#[tokio::test]
async fn a_session_over_a_lowered_limit_is_made_smaller_step_by_step() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| {
            session.insert("a", text(600))?;
            session.insert("b", text(600))
        });
        let (token, lowered) = (token.await, Setup::on(setup.store.clone(), |builder| builder.max_record_bytes(LIMIT)));
        let answer = act(&lowered.layer, Some(&token), |session| {
            assert!(session.insert("c", 1).is_err_and(|error| error.is_too_large()));
            session.insert("a", "y".repeat(600)).expect("as long as before");
            session.insert("a", text(500))?;
            session.insert("b", text(100))
        });
        assert_eq!(answer.await.status, StatusCode::OK, "{backend:?}");
    }
}

#[tokio::test]
async fn an_overflow_that_only_the_commit_sees_is_500_and_sends_and_stores_nothing() {
    for backend in Backend::SERVER {
        for renews in [false, true] {
            let setup = limited(backend);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let late = hold(&setup.layer, &token, move |session| {
                if renews {
                    session.renew()?;
                }
                session.insert("late", text(450))
            });
            let late = late.await;
            act(&setup.layer, Some(&token), |session| session.insert("early", text(450))).await;
            let answer = late.release().await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?}");
            assert!(answer.set_cookies().is_empty() && answer.body.is_empty(), "{backend:?}: {answer:?}");
            let found = values(&setup.layer, &token).await.unwrap();
            assert_eq!(found, serde_json::json!({ "a": 1, "early": text(450) }), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn an_overflow_that_only_the_store_sees_says_by_how_much_and_what_is_largest() {
    type Act = fn(&Session) -> Result<(), Error>;
    let rows: [(&str, Op, Act); 4] = [
        ("a first write", Op::Create, |session| session.insert("cart", text(500))),
        ("a write", Op::Update, |session| session.insert("cart", text(500))),
        ("a renewal", Op::Create, |session| session.insert("cart", text(500)).and_then(|()| session.renew())),
        ("its end", Op::Update, |session| session.insert("cart", text(500)).and_then(|()| session.renew())),
    ];
    for (backend, (what, op, change)) in Backend::SERVER.into_iter().flat_map(|b| rows.map(|row| (b, row))) {
        let (told, heard) = mpsc::channel();
        let setup = Setup::with(backend, |builder| {
            builder.on_event(move |event| {
                if let SessionEvent::Failed { operation: Operation::Commit, error, .. } = event {
                    told.send(error.to_string()).unwrap();
                }
            })
        });
        let token = match what {
            "a first write" => None,
            _ => Some(begin(&setup.layer, |session| session.insert("small", 1)).await),
        };
        setup.store.fault(op, Fault::TooLarge, 1);
        let answer = act(&setup.layer, token.as_deref(), change).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?} {what}");
        let said: Vec<_> = heard.try_iter().collect();
        let message = "the session would take 9000 bytes where 8000 are allowed; the largest value is `cart`";
        assert_eq!(said, [message], "{backend:?} {what}");
    }
}

/// A layer of the cookie store, whose cookies hold at most 4,096 bytes.
fn sealed(max_chunks: u8) -> SessionLayer {
    let store = CookieStore::builder([CookieKey::new(&[7; 32]).unwrap()]).max_chunks(max_chunks).build().unwrap();
    SessionLayer::builder(store).cookie_name("sid").clock(ManualClock::default()).build().unwrap()
}

/// Sets a text of the length that the path says, or forgets the session.
fn browser(layer: &SessionLayer) -> Browser {
    let route = |session: Session, uri: http::Uri| async move {
        match uri.path() {
            "/read" => return Ok(session.get::<String>("text")?.unwrap_or_default().len().to_string()),
            "/destroy" => session.destroy()?,
            len => session.insert("text", text(len[1..].parse().unwrap()))?,
        }
        Ok::<_, Error>(String::new())
    };
    Browser::new(axum::Router::new().fallback(route).layer(layer.clone()))
}

/// The longest text that a session may hold.
async fn longest(layer: &SessionLayer) -> usize {
    let answer = send(layer, None, |session| async move {
        let (mut fits, mut fails) = (1, 20_000);
        while fails - fits > 1 {
            let middle = usize::midpoint(fits, fails);
            let bound = if session.insert("text", text(middle)).is_ok() { &mut fits } else { &mut fails };
            *bound = middle;
        }
        session.destroy().unwrap();
        fits.to_string()
    });
    answer.await.body.parse().unwrap()
}

fn cookie_lens(answer: &Answer) -> Vec<usize> {
    answer.set_cookies().iter().map(String::len).collect()
}

#[tokio::test]
async fn a_sealed_session_fills_its_cookie_to_4096_bytes_and_one_byte_more_leaves_the_old_one_alone() {
    let layer = sealed(1);
    let longest = longest(&layer).await;
    let mut browser = browser(&layer);
    let answer = browser.post(&format!("/{longest}")).await;
    let lens = cookie_lens(&answer);
    // Within the padding to 32 bytes, base64url, and the room for the longest Max-Age.
    assert!(lens.len() == 1 && (4_096 - 48..=4_096).contains(&lens[0]), "{lens:?}");
    assert_eq!(browser.get("/read").await.body, longest.to_string());
    let answer = browser.post(&format!("/{}", longest + 1)).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::PAYLOAD_TOO_LARGE, 0));
    assert_eq!(browser.get("/read").await.body, longest.to_string());
}

#[tokio::test]
async fn chunks_come_and_go_with_the_sessions_size() {
    let layer = sealed(3);
    let longest = longest(&layer).await;
    assert!(longest > 8_000, "{longest}");
    let mut browser = browser(&layer);
    for (path, chunks) in [(longest, 3), (5_000, 2), (10, 1), (longest, 3), (20, 1), (5_500, 2), (longest, 3)] {
        let answer = browser.post(&format!("/{path}")).await;
        assert!(cookie_lens(&answer).iter().all(|len| *len <= 4_096), "{path}");
        let names: Vec<_> = browser.cookies.keys().map(String::as_str).collect();
        assert_eq!(names, ["sid", "sid.1", "sid.2"][..chunks], "{path}: leftovers are removed");
        assert_eq!(browser.get("/read").await.body, path.to_string());
    }
    let answer = browser.post(&format!("/{}", longest + 1)).await;
    assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::PAYLOAD_TOO_LARGE, 0));
    assert_eq!(browser.get("/read").await.body, longest.to_string());
    for missing in ["sid", "sid.1", "sid.2"] {
        let mut other = browser.clone();
        other.cookies.remove(missing);
        assert_eq!(other.get("/read").await.body, "0", "without {missing}");
    }
    browser.post("/destroy").await;
    assert!(browser.cookies.is_empty());
}

#[tokio::test]
async fn planted_cookies_beyond_the_set_hide_no_session() {
    let layer = sealed(3);
    let mut browser = browser(&layer);
    for (size, beyond) in [(10, &["sid.1", "sid.2"][..]), (5_000, &["sid.2"])] {
        browser.post(&format!("/{size}")).await;
        let mut planted = browser.clone();
        for name in ["sid.0", "sid.01", "sid.3", "sid.7", "sid.99999999999999999999"].iter().chain(beyond) {
            planted.cookies.insert((*name).into(), "x".into());
        }
        assert_eq!(planted.get("/read").await.body, size.to_string());
        planted.post("/4000").await;
        assert_eq!(planted.get("/read").await.body, "4000", "and it can be written");
    }
}

#[tokio::test]
async fn a_session_may_have_a_mebibyte_unless_told_otherwise() {
    let layer = SessionLayer::builder(MemoryStore::new()).cookie_name("sid").build().unwrap();
    let answer = act(&layer, None, |session| {
        assert!(session.insert("a", text(1 << 20)).is_err_and(|error| error.is_too_large()));
        session.insert("a", text((1 << 20) - 500))
    });
    assert_eq!(answer.await.status, StatusCode::OK);
}

// Promise 26: "reads only an exact set, and removes leftovers when it shrinks".
#[tokio::test]
async fn fewer_chunks_lock_nobody_out() {
    let layer = |chunks| {
        let store = CookieStore::builder([CookieKey::new(&[7; 32]).unwrap()]).max_chunks(chunks).build().unwrap();
        SessionLayer::builder(store).cookie_name("sid").build().unwrap()
    };
    let jar = Arc::new(Mutex::new(std::collections::BTreeMap::<String, String>::new()));
    let send = |layer: SessionLayer, act: fn(&Session) -> Result<Option<String>, Error>| {
        let jar = Arc::clone(&jar);
        async move {
            let service = layer.layer(service_fn(move |request: Request<Body>| async move {
                let session = Session::from_extensions(request.extensions()).unwrap();
                let said = act(&session).unwrap().unwrap_or_default();
                Ok::<_, std::convert::Infallible>(axum::response::Response::new(Body::from(said)))
            }));
            let cookies: Vec<_> = jar.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = Request::builder().header("cookie", cookies.join("; ")).body(Body::empty()).unwrap();
            let answer = answer(service.oneshot(request).await.unwrap()).await;
            for cookie in answer.set_cookies() {
                let (pair, rest) = cookie.split_once(';').unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                if rest.contains("Max-Age=0;") {
                    jar.lock().unwrap().remove(name);
                } else {
                    jar.lock().unwrap().insert(name.into(), value.into());
                }
            }
            answer.body
        }
    };
    send(layer(3), |session| session.insert("a", "x".repeat(7_000)).map(|()| None)).await;
    assert_eq!(jar.lock().unwrap().len(), 3);
    send(layer(2), |session| session.insert("b", "kept").map(|()| None)).await;
    let found = send(layer(2), |session| session.get("b")).await;
    let names: Vec<_> = jar.lock().unwrap().keys().cloned().collect();
    assert_eq!(found, "kept", "the client has {names:?}");
}
