//! What writes after the head is out: server-sent events and web sockets commit for themselves.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use http::header::{CONNECTION, COOKIE, UPGRADE};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::codegen::tokio_stream::{StreamExt as _, iter};
use tower::ServiceExt as _;
use tower_session_layer::{Error, Session, SessionLayer};

use crate::support::direct::{begin, values};
use crate::support::{Answer, Backend, Setup};

/// Does something with the session and commits it; what the client is told of that.
async fn late(session: &Session, what: &str) -> &'static str {
    let done = match what {
        "add" => session.update("ticks", |ticks: Option<u32>| Some(ticks.unwrap_or_default() + 1)),
        "renew" => session.renew(),
        "leave" => session.destroy(),
        _ => unreachable!("{what}"),
    };
    let committed = match done {
        Ok(()) => session.commit().await,
        Err(error) => Err(error),
    };
    match committed {
        Ok(()) => "kept",
        Err(error) if error.is_response_sent() => "too late",
        Err(error) if error.is_gone() => "gone",
        Err(error) => panic!("{error}"),
    }
}

/// Does one thing for each event; the client, if it is to be greeted, has its session with the head.
async fn events(session: Session, Path((what, greet)): Path<(String, bool)>) -> Result<impl IntoResponse, Error> {
    if greet {
        session.insert("ticks", 0)?;
    }
    // Run as the body is asked for, thus after the head.
    let events = iter(0..2).then(move |_| {
        let (session, what) = (session.clone(), what.clone());
        async move { Ok::<_, Error>(Event::default().data(late(&session, &what).await)) }
    });
    Ok(Sse::new(events))
}

/// Answers with the nonce of RFC 6455, section 1.3, the only one that it knows; then does what it is told.
async fn socket(session: Session, Path(greet): Path<bool>, mut request: Request) -> Result<impl IntoResponse, Error> {
    assert_eq!(request.headers()[KEY], NONCE);
    if greet {
        session.insert("ticks", 0)?;
    }
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut socket = TokioIo::new(upgrading.await.unwrap());
        while let Some(what) = receive(&mut socket).await {
            send(&mut socket, late(&session, &what).await, None).await;
        }
    });
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (ACCEPT, ACCEPTED)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers))
}

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One short text frame (RFC 6455, section 5.2), masked if it comes from the client.
async fn send(socket: &mut TokioIo<Upgraded>, text: &str, mask: Option<[u8; 4]>) {
    let len = u8::try_from(text.len()).unwrap() | if mask.is_some() { 0x80 } else { 0 };
    let masked = text.bytes().zip(mask.unwrap_or_default().into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let frame = [0x81, len].into_iter().chain(mask.into_iter().flatten()).chain(masked).collect::<Vec<_>>();
    socket.write_all(&frame).await.unwrap();
}

/// `None` at the end of the stream.
async fn receive(socket: &mut TokioIo<Upgraded>) -> Option<String> {
    let [kind, len] = [socket.read_u8().await.ok()?, socket.read_u8().await.unwrap()];
    assert_eq!(kind, 0x81);
    let mut mask = [0; 4];
    if len & 0x80 != 0 {
        socket.read_exact(&mut mask).await.unwrap();
    }
    let mut text = vec![0; usize::from(len & 0x7f)];
    socket.read_exact(&mut text).await.unwrap();
    text.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some(String::from_utf8(text).unwrap())
}

fn app(layer: &SessionLayer) -> Router {
    Router::new()
        .route("/events/{what}/{greet}", get(events))
        .route("/socket/{greet}", get(socket))
        .layer(layer.clone())
}

/// A session that both kinds of test start from.
async fn known(setup: &Setup) -> String {
    begin(&setup.layer, |session| session.insert("ticks", 0)).await
}

/// What the head of an answer brings; the token that the client holds from then on.
fn held(token: Option<&str>, headers: &HeaderMap) -> Option<String> {
    let head = Answer { status: StatusCode::OK, headers: headers.clone(), body: String::new() };
    head.token().or_else(|| token.map(ToOwned::to_owned))
}

/// The cases of either kind: whether the client has a session, whether it is greeted, what is done, and what comes of it twice.
const CASES: [(bool, bool, &str, [&str; 2]); 7] = [
    (true, false, "add", ["kept", "kept"]),
    (true, true, "add", ["kept", "kept"]),
    (false, false, "add", ["too late", "too late"]),
    (false, true, "add", ["kept", "kept"]),
    (true, false, "renew", ["too late", "too late"]),
    (false, true, "renew", ["too late", "too late"]),
    (true, false, "leave", ["kept", "kept"]),
];

/// The ticks after one and two successes, or that the session has ended.
async fn assert_stored(setup: &Setup, token: Option<&str>, (what, heard): (&str, &str), at: u32) {
    let found = match token {
        Some(token) => values(&setup.layer, token).await,
        None => None,
    };
    let expected = match (what, heard) {
        ("add", "kept") => Some(json!({ "ticks": at + 1 })),
        ("add" | "leave", _) => None,
        _ => Some(json!({ "ticks": 0 })),
    };
    assert_eq!(found, expected, "{what} {heard} {at}");
}

#[tokio::test]
async fn an_event_stream_commits_for_itself_and_is_told_when_a_cookie_would_be_needed() {
    for backend in Backend::SERVER {
        for (has_session, greet, what, expected) in CASES {
            let setup = Setup::new(backend);
            let token = if has_session { Some(known(&setup).await) } else { None };
            let mut request = Request::get(format!("/events/{what}/{greet}"));
            if let Some(token) = &token {
                request = request.header(COOKIE, format!("sid={token}"));
            }
            let response = app(&setup.layer).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let token = held(token.as_deref(), response.headers());
            assert_eq!(token.is_some(), has_session || greet, "{backend:?} {what}");
            let mut body = response.into_body();
            for (at, heard) in (0..).zip(expected) {
                let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(event, format!("data: {heard}\n\n"), "{backend:?} {what} {at}");
                // Durable by the time the client hears of it.
                assert_stored(&setup, token.as_deref(), (what, heard), at).await;
            }
            assert!(body.frame().await.is_none());
        }
    }
}

#[tokio::test]
async fn with_the_cookie_store_every_late_change_needs_a_cookie() {
    let setup = Setup::new(Backend::Cookie);
    let token = known(&setup).await;
    let request = Request::get("/events/add/false").header(COOKIE, format!("sid={token}")).body(Body::empty());
    let body = app(&setup.layer).oneshot(request.unwrap()).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "data: too late\n\ndata: too late\n\n");
}

/// Shakes hands over TCP, as a browser does.
async fn open(setup: &Setup, greet: bool, token: Option<&str>) -> (Response<()>, TokioIo<Upgraded>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(axum::serve(listener, app(&setup.layer)).into_future());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(format!("/socket/{greet}"))
        .header("host", "localhost")
        .header(CONNECTION, "keep-alive, Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header(KEY, NONCE);
    if let Some(token) = token {
        request = request.header(COOKIE, format!("sid={token}"));
    }
    let mut response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let socket = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    (response.map(drop), socket)
}

#[tokio::test]
async fn a_websocket_commits_for_itself_and_its_101_brings_the_cookie() {
    for backend in Backend::SERVER {
        for (has_session, greet, what, expected) in CASES {
            let setup = Setup::new(backend);
            let token = if has_session { Some(known(&setup).await) } else { None };
            let (response, mut socket) = open(&setup, greet, token.as_deref()).await;
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            assert_eq!(response.headers()[ACCEPT], ACCEPTED);
            let token = held(token.as_deref(), response.headers());
            assert_eq!(token.is_some(), has_session || greet, "{backend:?} {what}");
            for (at, heard) in (0..).zip(expected) {
                send(&mut socket, what, Some([1, 2, 3, 4])).await;
                assert_eq!(receive(&mut socket).await.unwrap(), heard, "{backend:?} {what} {at}");
                assert_stored(&setup, token.as_deref(), (what, heard), at).await;
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_elsewhere_is_gone_for_its_open_socket() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = known(&setup).await;
        let (_, mut socket) = open(&setup, false, Some(&token)).await;
        send(&mut socket, "add", Some([5; 4])).await;
        assert_eq!(receive(&mut socket).await.unwrap(), "kept", "{backend:?}");
        crate::support::direct::act(&setup.layer, Some(&token), Session::destroy).await;
        send(&mut socket, "add", Some([6; 4])).await;
        assert_eq!(receive(&mut socket).await.unwrap(), "gone", "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}
