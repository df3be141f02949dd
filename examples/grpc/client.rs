//! A client that keeps its session in a cookie or in a header of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::Service;

/// The names of the server's cookie and header.
pub(crate) const COOKIE_NAME: &str = "sid";
pub(crate) const HEADER_NAME: HeaderName = HeaderName::from_static("x-session");

/// The header that carries the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Cookie,
    Header,
}

/// A channel that sends the session's token with each call and keeps the token that comes back. Its clones share the
/// session.
#[derive(Debug, Clone)]
pub(crate) struct Keeper<C> {
    channel: C,
    kept: Kept,
}

#[derive(Debug, Clone)]
struct Kept {
    carrier: Carrier,
    /// Empty while the client has no token.
    token: Arc<Mutex<Vec<u8>>>,
}

impl<C> Keeper<C> {
    pub(crate) fn new(channel: C, carrier: Carrier) -> Self {
        Self { channel, kept: Kept { carrier, token: Arc::default() } }
    }
}

impl<C, ReqBody, ResBody> Service<Request<ReqBody>> for Keeper<C>
where
    C: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        self.kept.send(request.headers_mut());
        let (answering, kept) = (self.channel.call(request), self.kept.clone());
        Box::pin(async move {
            let response = answering.await?;
            kept.receive(response.headers());
            Ok(response)
        })
    }
}

impl Kept {
    fn send(&self, headers: &mut HeaderMap) {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, prefix) = match self.carrier {
            Carrier::Cookie if token.is_empty() => return,
            Carrier::Cookie => (COOKIE, format!("{COOKIE_NAME}=")),
            // An empty header tells the server to answer in this header.
            Carrier::Header => (HEADER_NAME, String::new()),
        };
        if let Ok(mut value) = HeaderValue::from_bytes(&[prefix.as_bytes(), &token].concat()) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }

    fn receive(&self, headers: &HeaderMap) {
        let received = match self.carrier {
            Carrier::Cookie => headers.get_all(SET_COOKIE).iter().find_map(|cookie| {
                let value = cookie.as_bytes().strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"=")?;
                value.split(|byte| *byte == b';').next()
            }),
            Carrier::Header => headers.get(HEADER_NAME).map(HeaderValue::as_bytes),
        };
        if let Some(received) = received {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = received.to_vec();
        }
    }
}
