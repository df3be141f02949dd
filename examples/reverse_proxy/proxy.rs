//! The proxy's own pages, and the forwarding of all other requests.

use std::convert::Infallible;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_session_layer::{Error, Session};

use crate::headers;

/// The body of the proxy's responses. The layer needs a body with a `Default` for its own answers. `Incoming`, the body from the
/// service behind, has none; the boxed body has one, and still streams.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
}

impl Proxy {
    pub(crate) fn new(upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, upstream }
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let session = match Session::from_extensions(request.extensions()) {
            Ok(session) => session,
            Err(error) => return Ok(failed(&error)),
        };
        Ok(match request.uri().path().strip_prefix("/-/") {
            Some(path) => own(&session, request.method(), path).unwrap_or_else(|error| failed(&error)),
            None => self.forward(request, &session).await,
        })
    }

    async fn forward(&self, mut request: Request<Incoming>, session: &Session) -> Response<Body> {
        // A tunnel would reach any host that the client names.
        if request.method() == Method::CONNECT {
            return text(StatusCode::METHOD_NOT_ALLOWED, "no tunnels\n");
        }
        headers::clean_request(request.headers_mut());
        // After the client's headers are filtered, so that none of them can forge this one.
        if let Some(owner) = session.owner() {
            match HeaderValue::from_str(&owner) {
                Ok(owner) => _ = request.headers_mut().insert(headers::OWNER, owner),
                Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "the owner's name cannot be a header\n"),
            }
        }
        *request.uri_mut() = self.behind(request.uri());
        *request.version_mut() = Version::HTTP_11;
        // The service behind has no access to the session.
        request.extensions_mut().clear();
        match self.client.request(request).await {
            Ok(mut response) => {
                headers::clean_response(response.headers_mut());
                response.map(BodyExt::boxed)
            }
            Err(error) => {
                eprintln!("reverse_proxy: {}: {error}", self.upstream);
                text(StatusCode::BAD_GATEWAY, "the service behind does not answer\n")
            }
        }
    }

    /// Returns the same path and query on the service behind, whatever host the client has named.
    fn behind(&self, asked: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        parts.path_and_query = asked.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }
}

/// Answers the proxy's own pages. A real proxy checks a password, or asks an identity provider, before it signs in.
fn own(session: &Session, method: &Method, path: &str) -> Result<Response<Body>, Error> {
    if method != Method::POST {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n"));
    }
    match path.split_once('/') {
        Some(("in", name)) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            session.sign_in(name)?;
            Ok(text(StatusCode::OK, format!("hello {name}\n")))
        }
        None if path == "out" => {
            session.destroy()?;
            Ok(text(StatusCode::OK, "goodbye\n"))
        }
        _ => Ok(text(StatusCode::NOT_FOUND, "only /-/in/NAME and /-/out\n")),
    }
}

fn failed(error: &Error) -> Response<Body> {
    eprintln!("reverse_proxy: {error}");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the session failed\n")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
