//! The headers that the proxy forwards in neither direction.

use http::header::{
    CONNECTION, COOKIE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The name of the session's cookie; not `sid`, which the service behind may use.
pub(crate) const COOKIE_NAME: &str = "proxy_sid";

/// The header that tells the service behind who has signed in.
pub(crate) const OWNER: HeaderName = HeaderName::from_static("x-owner");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes the headers of this connection, the session's cookie, and every header that the service behind could read as
/// [`OWNER`].
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    // Servers that pass headers as environment variables read `x_owner` as `x-owner`.
    let forged = |name: &&HeaderName| name.as_str().replace('_', "-") == OWNER.as_str();
    remove(headers, forged);
    let kept: Vec<_> = headers.get_all(COOKIE).iter().filter_map(without_session).collect();
    headers.remove(COOKIE);
    kept.into_iter().for_each(|value| _ = headers.append(COOKIE, value));
}

/// Removes the headers of that connection, and a cookie that would replace the session's.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let theirs: Vec<_> =
        headers.get_all(SET_COOKIE).iter().filter(|cookie| !is_session(cookie.as_bytes())).cloned().collect();
    headers.remove(SET_COOKIE);
    theirs.into_iter().for_each(|value| _ = headers.append(SET_COOKIE, value));
}

/// Removes the headers of one connection (RFC 9110, section 7.6.1). Hyper frames the body anew and adds the headers of its own
/// connection.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let always = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    named.iter().chain(&always).for_each(|name| _ = headers.remove(name));
}

fn remove(headers: &mut HeaderMap, which: impl Fn(&&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(which).cloned().collect();
    names.iter().for_each(|name| _ = headers.remove(name));
}

/// Returns a `Cookie` header without the session's pairs, if a pair is left.
fn without_session(value: &HeaderValue) -> Option<HeaderValue> {
    let pairs = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kept: Vec<_> = pairs.filter(|pair| !pair.is_empty() && !is_session(pair)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok() }
}

/// Returns whether a pair, with or without attributes, has the name of the session's cookie.
fn is_session(pair: &[u8]) -> bool {
    let name = pair.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    name.trim_ascii() == COOKIE_NAME.as_bytes()
}
