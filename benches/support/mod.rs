//! The measured works, and one request of each, polled by hand.

#![allow(dead_code, unreachable_pub, reason = "each program uses a part of this")]

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_session_layer::{Session, SessionLayer};

/// The use that a request makes of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    NoCookie,
    Untouched,
    Read,
    Write,
    Create,
}

impl Work {
    pub const ALL: [Self; 5] = [Self::NoCookie, Self::Untouched, Self::Read, Self::Write, Self::Create];

    pub fn name(self) -> &'static str {
        match self {
            Self::NoCookie => "no cookie",
            Self::Untouched => "untouched",
            Self::Read => "read",
            Self::Write => "read and write",
            Self::Create => "create",
        }
    }

    pub fn has_cookie(self) -> bool {
        matches!(self, Self::Untouched | Self::Read | Self::Write)
    }

    fn handle(self, request: &Request<()>, count: u64) {
        let session = || request.extensions().get::<Session>().expect("the layer is there");
        match self {
            Self::NoCookie | Self::Untouched => {}
            Self::Read => {
                black_box(session().get::<String>("user").expect("a string"));
            }
            Self::Write => {
                black_box(session().get::<String>("user").expect("a string"));
                session().insert("count", count).expect("a number");
            }
            Self::Create => session().insert("count", count).expect("a number"),
        }
    }
}

/// Returns a service without sessions.
pub fn bare() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> {
    service_fn(|request: Request<()>| {
        black_box(&request);
        async { Ok(Response::new(())) }
    })
}

/// Returns the same service with sessions, which does this work.
pub fn working(
    layer: &SessionLayer,
    work: Work,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> {
    // All numbers have one length, so that each request stores equally much.
    let mut count = 100_000;
    layer.layer(service_fn(move |request: Request<()>| {
        count = if count == 999_999 { 100_000 } else { count + 1 };
        work.handle(black_box(&request), count);
        async { Ok(Response::new(())) }
    }))
}

/// Creates a session that holds a user, a number and `bytes` bytes, and returns its cookie.
pub fn fill(layer: &SessionLayer, bytes: usize) -> HeaderValue {
    let cart = "x".repeat(bytes);
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        let session = request.extensions().get::<Session>().expect("the layer is there");
        session.insert("user", "ada").expect("room");
        session.insert("count", 0).expect("room");
        session.insert("cart", &cart).expect("room");
        async { Ok::<_, Infallible>(Response::new(())) }
    }));
    cookie_of(&answer(&mut service, Request::new(())))
}

/// Returns the cookie that a browser sends after this response.
pub fn cookie_of(response: &Response<()>) -> HeaderValue {
    let cookie = response.headers()[SET_COOKIE].to_str().expect("ASCII");
    let pair = cookie.split(';').next().expect("a pair");
    HeaderValue::from_str(pair).expect("a header")
}

pub fn request(cookie: Option<&HeaderValue>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.clone());
    }
    request
}

/// Sends a request to a service that never waits and therefore needs no runtime.
pub fn answer<S>(service: &mut S, request: Request<()>) -> Response<()>
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready(), "a function is always ready");
    let Ok(response) = at_once(service.call(request));
    response
}

/// Returns the output of a future that does not wait.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("an immediate store never waits"),
    }
}
