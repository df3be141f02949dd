//! The client: its headers, and the cookie that it keeps.

use std::convert::Infallible;
use std::future::poll_fn;

use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, HOST, SET_COOKIE, USER_AGENT};

use crate::system::App;
use crate::{Body, Request, Response, Shape, System};

/// Returns the request for every system. The session's cookie comes after a foreign one, as from a browser on a site with a
/// theme or a consent banner.
pub fn request(session: Option<&HeaderValue>) -> Request {
    let mut request = Request::new(Body::new());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("shop.example"));
    headers.insert(USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"));
    headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en-US,en;q=0.5"));
    if let Some(session) = session {
        let both = [b"theme=dark; ", session.as_bytes()].concat();
        headers.insert(COOKIE, both.try_into().expect("a header"));
    }
    request
}

/// Sends a request and waits for the response.
pub async fn send(app: &mut impl App, request: Request) -> Response {
    let Ok(()) = poll_fn(|context| app.poll_ready(context)).await;
    let Ok::<_, Infallible>(response) = app.call(request).await;
    response
}

/// Lets a handler fill a new session, and returns the cookie that the client sends from then on.
///
/// The bare service sets no cookie; the client then sends a cookie of the same form that nobody reads.
pub async fn sign_up(system: &impl System, shape: Shape) -> HeaderValue {
    let response = send(&mut system.fill(shape), request(None)).await;
    kept(&response).unwrap_or(HeaderValue::from_static("__Host-sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
}

/// Panics unless the system does the measured work: it reads the stored values and keeps the written ones.
pub async fn verify(system: &impl System, shape: Shape) {
    let cookie = sign_up(system, shape).await;
    send(&mut system.read(), request(Some(&cookie))).await;
    for _ in 0..2 {
        let written = send(&mut system.write(), request(Some(&cookie))).await;
        let cookie = kept(&written).unwrap_or_else(|| cookie.clone());
        send(&mut system.check(), request(Some(&cookie))).await;
    }
    let created = send(&mut system.create(), request(None)).await;
    if let Some(cookie) = kept(&created) {
        send(&mut system.read(), request(Some(&cookie))).await;
    } else {
        assert!(!system.keeps_sessions(), "creating a session sets its cookie");
    }
}

/// Returns the `Cookie` header for all cookies that a response sets, without those that it removes.
fn kept(response: &Response) -> Option<HeaderValue> {
    let cookies = response.headers().get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().expect("ASCII"));
    let kept = cookies.filter(|cookie| !cookie.contains("Max-Age=0;")).map(|cookie| match cookie.split_once(';') {
        Some((pair, _)) => pair,
        None => cookie,
    });
    let kept = kept.collect::<Vec<_>>().join("; ");
    (!kept.is_empty()).then(|| kept.parse().expect("a header"))
}
