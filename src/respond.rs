//! The session's part of a response: the cookie, the cache headers, and the layer's own responses.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, Entry, HeaderMap, HeaderName, HeaderValue, VARY};
use http::{Method, Request, Response, StatusCode};

use crate::clock::micros;
use crate::cookie::header_value;
use crate::error::Error;
use crate::session::{CacheHeaders, Carrier, CookieAction, Outgoing, Session};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// gRPC's status codes.
const INTERNAL: &str = "13";
const UNAVAILABLE: &str = "14";

/// A response body that can be made empty, for the responses that the layer itself gives. Every type with a [`Default`]
/// is one.
///
/// The bodies of axum, tonic and http-body-util are such types. Map any other body, such as that of hyper's client,
/// before the response reaches the layer.
///
/// # Examples
///
/// ```
/// use http::Response;
/// use tower_session_layer::EmptyBody;
///
/// fn unauthorized<B: EmptyBody>() -> Response<B> {
///     let mut response = Response::new(B::default());
///     *response.status_mut() = http::StatusCode::UNAUTHORIZED;
///     response
/// }
/// assert_eq!(unauthorized::<axum::body::Body>().status(), 401);
/// ```
// This is a trait of its own, so that the compiler's message says why a `Default` is needed.
#[diagnostic::on_unimplemented(
    message = "the response body `{Self}` cannot be made empty, as `SessionLayer` must when the session store fails",
    label = "the layer answers 503 by itself, with `{Self}::default()`, and there is none",
    note = "below the layer, map the body to one that has a `Default`: with axum `response.map(axum::body::Body::new)`, else \
            `response.map(http_body_util::BodyExt::boxed)`, as `examples/reverse_proxy` does"
)]
pub trait EmptyBody: Default {}

#[diagnostic::do_not_recommend]
impl<B: Default> EmptyBody for B {}

/// The protocol in which the layer reports failures to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    /// gRPC is sent by `POST` alone. A page that is asked for by another method must not be answered 200 in an outage,
    /// since caches keep it. gRPC-Web also comes over HTTP/1.1, so the version does not count.
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        if request.method() != Method::POST {
            return Self::Http;
        }
        let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        match kind.strip_prefix(b"application/grpc") {
            Some([] | [b'+' | b';' | b'-', ..]) => Self::Grpc,
            _ => Self::Http,
        }
    }

    fn answer<B: EmptyBody>(self, status: StatusCode, grpc_status: &'static str) -> Response<B> {
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        // Whatever the option for cache headers says: a cache may keep a 501 by itself, and no program sees this response.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Http => *response.status_mut() = status,
            Self::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status));
            }
        }
        response
    }
}

/// Makes the response for a store that cannot be read.
pub(crate) fn unavailable<B: EmptyBody>(protocol: Protocol) -> Response<B> {
    protocol.answer(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
}

/// Makes the response for two layers that use one cookie name.
pub(crate) fn misconfigured<B: EmptyBody>(protocol: Protocol) -> Response<B> {
    protocol.answer(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
}

/// Makes the response for a handler whose changes could not be committed.
///
/// A refused sign-in is a 503, like a store that cannot be reached, because another try may succeed.
pub(crate) fn failed<B: EmptyBody>(protocol: Protocol, error: &Error) -> Response<B> {
    if error.is_unavailable() || error.is_gone() { unavailable(protocol) } else { misconfigured(protocol) }
}

/// Returns whether the handler failed, so that its changes may be incomplete.
pub(crate) fn is_server_error<B>(response: &Response<B>) -> bool {
    let grpc_status = response.headers().get(GRPC_STATUS);
    response.status().is_server_error() || grpc_status.is_some_and(|status| status != "0")
}

/// Writes the cookie, or the token's header in its place, and the headers for caches.
#[inline]
pub(crate) fn write<B>(response: &mut Response<B>, session: &Session, outgoing: Outgoing) {
    let (headers, cell) = (response.headers_mut(), session.cell());
    let shared = &*cell.shared;
    let automatic = shared.cache_headers == CacheHeaders::Automatic;
    if outgoing.accessed && automatic {
        shared.vary.iter().for_each(|name| vary_by(headers, name));
    }
    let header = shared.token_header.as_ref().filter(|_| cell.carrier == Carrier::Header);
    match (outgoing.cookie, header) {
        (CookieAction::Leave, _) => return,
        (CookieAction::Set { token, .. }, Some(header)) => {
            headers.insert(&header.name, header_value(&token));
        }
        (CookieAction::Set { token, until, remembered, as_of }, None) => {
            let now = as_of.unwrap_or_else(|| micros(shared.clock.now()));
            let left = Duration::from_micros(until.saturating_sub(now));
            let max_age = (remembered || !shared.browser_session).then_some(left);
            shared.cookie.append(headers, shared.shape, &token, max_age);
        }
        (CookieAction::Remove, Some(header)) => {
            headers.insert(&header.name, HeaderValue::from_static(""));
        }
        (CookieAction::Remove, None) => {
            shared.cookie.append_removal(headers, shared.shape);
            if shared.clear_site_data {
                headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static(r#""cache", "cookies", "storage""#));
            }
        }
    }
    if automatic {
        forbid_storing(headers);
    }
}

/// Adds a header's name to `Vary`, unless `Vary` already contains this name or `*`.
#[inline]
fn vary_by(headers: &mut HeaderMap, by: &HeaderValue) {
    let Some(first) = headers.get(VARY) else {
        headers.insert(VARY, by.clone());
        return;
    };
    let is_known = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(by.as_bytes())
        })
    };
    if headers.get_all(VARY).iter().any(is_known) {
        return;
    }
    let merged = [first.as_bytes(), b", ", by.as_bytes()].concat();
    if let (Ok(merged), Some(slot)) = (HeaderValue::from_bytes(&merged), headers.get_mut(VARY)) {
        *slot = merged;
    }
}

/// Sets `no-store`, and keeps only those directives of the handler that restrict caches further.
///
/// Removes headers that address CDNs alone, because a CDN would follow them instead (RFC 9213).
pub(crate) fn forbid_storing(headers: &mut HeaderMap) {
    // Comparing the few names in a response is cheaper than looking up two rare ones.
    if headers.keys().any(|name| name == CDN_CACHE_CONTROL || name == SURROGATE_CONTROL) {
        headers.remove(CDN_CACHE_CONTROL);
        headers.remove(SURROGATE_CONTROL);
    }
    const STRICT: [&[u8]; 6] =
        [b"private", b"no-cache", b"must-revalidate", b"proxy-revalidate", b"no-transform", b"must-understand"];
    let mut present = match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(vacant) => {
            vacant.insert(HeaderValue::from_static("no-store"));
            return;
        }
        Entry::Occupied(present) => present,
    };
    let mut kept = Vec::new();
    for directive in present.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let directive = directive.trim_ascii();
        if STRICT.iter().any(|strict| strict.eq_ignore_ascii_case(directive)) {
            kept.extend_from_slice(directive);
            kept.extend_from_slice(b", ");
        }
    }
    kept.extend_from_slice(b"no-store");
    if let Ok(value) = HeaderValue::from_bytes(&kept) {
        present.insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn vary_is_merged() {
        for (before, after) in [
            (&[][..], &["Cookie"][..]),
            (&["Accept"], &["Accept, Cookie"]),
            (&["Accept", "Origin"], &["Accept, Cookie", "Origin"]),
            (&["*"], &["*"]),
            (&["accept, cOOkie"], &["accept, cOOkie"]),
        ] {
            let mut headers = headers(&VARY, before);
            vary_by(&mut headers, &HeaderValue::from_static("Cookie"));
            assert!(headers.get_all(VARY).iter().eq(after), "{before:?}: {headers:?}");
        }
    }

    #[test]
    fn what_carries_the_cookie_is_never_stored() {
        for (before, after) in [
            (&[][..], "no-store"),
            (&["public, max-age=60"], "no-store"),
            (&["max-age=60"], "no-store"),
            (&["no-store"], "no-store"),
            (&["No-Store, private"], "private, no-store"),
            (&["private", "max-age=60"], "private, no-store"),
            (&["no-cache, s-maxage=1"], "no-cache, no-store"),
        ] {
            let mut headers = headers(&CACHE_CONTROL, before);
            forbid_storing(&mut headers);
            assert!(headers.get_all(CACHE_CONTROL).iter().eq([after]), "{before:?}: {headers:?}");
        }
    }

    #[test]
    fn what_speaks_to_a_cdn_alone_does_not_outweigh_it() {
        for names in [&["cdn-cache-control"][..], &["surrogate-control"], &["cdn-cache-control", "surrogate-control"]] {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.insert(*name, HeaderValue::from_static("max-age=60"));
            }
            forbid_storing(&mut headers);
            let expected = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
            assert_eq!(headers, expected, "{names:?}");
        }
    }

    #[test]
    fn grpc_is_known_by_its_method_and_content_type() {
        for (method, kind, expected) in [
            ("POST", "application/grpc", Protocol::Grpc),
            ("POST", "application/grpc+proto", Protocol::Grpc),
            ("POST", "application/grpc-web", Protocol::Grpc),
            ("POST", "application/grpcx", Protocol::Http),
            ("POST", "application/json", Protocol::Http),
            ("GET", "application/grpc", Protocol::Http),
            ("HEAD", "application/grpc", Protocol::Http),
            ("PUT", "application/grpc", Protocol::Http),
        ] {
            let request = Request::builder().method(method).header(CONTENT_TYPE, kind).body(()).unwrap();
            assert_eq!(Protocol::of(&request), expected, "{method} {kind}");
        }
    }
}
