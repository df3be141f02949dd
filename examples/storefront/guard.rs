//! The checks before every route: which pages may send a form, and what a page may do.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::api::Problem;
use crate::problem::Failure;

/// Refuses requests from pages of other sites, before the session is accessed.
///
/// `SameSite=Lax` leaves gaps: sibling subdomains, and browsers that send a new cookie for two minutes anyway. It also protects
/// only requests that have a session, and a sign-in has none yet.
pub(crate) async fn same_origin(request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || is_own(request.headers()) {
        return next.run(request).await;
    }
    if request.uri().path().starts_with("/api/") {
        return Problem::new(StatusCode::FORBIDDEN, "not allowed for pages of other sites").into_response();
    }
    Failure::FOREIGN.into_response()
}

/// Every browser of this decade sends one of the two headers with a request that changes something. A client that sends neither
/// is no browser, and sends no cookie without its user's intention.
fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) => origin.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Adds headers that tell the browser to run no script, load nothing foreign and keep nothing.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A header of the layer or a handler stands. Without one, the page may show a cart or a name, and stays out of caches.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_pages_may_change_anything() {
        for (name, headers, expected) in [
            ("no browser", &[][..], true),
            ("own page", &[("sec-fetch-site", "same-origin"), ("origin", "http://shop.example")][..], true),
            ("typed address", &[("sec-fetch-site", "none")], true),
            ("other site", &[("sec-fetch-site", "cross-site")], false),
            ("sibling domain", &[("sec-fetch-site", "same-site")], false),
            (
                "metadata outweighs the origin",
                &[("sec-fetch-site", "cross-site"), ("origin", "http://shop.example")],
                false,
            ),
            ("older browser, own page", &[("origin", "http://Shop.example")], true),
            ("older browser, behind TLS", &[("origin", "https://shop.example")], true),
            ("older browser, other site", &[("origin", "http://evil.example")], false),
            ("older browser, other port", &[("origin", "http://shop.example:8080")], false),
            ("sandboxed frame", &[("origin", "null")], false),
            ("nonsense", &[("origin", "\u{e9}")], false),
        ] {
            let mut map = HeaderMap::from_iter([(HOST, HeaderValue::from_static("shop.example"))]);
            for &(name, value) in headers {
                map.insert(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(is_own(&map), expected, "{name}");
        }
    }
}
