//! The pairs of `Cookie` headers.

use std::ops::ControlFlow;

use http::header::{COOKIE, HeaderMap};

/// Calls `look` with each `;`-separated pair of all `Cookie` headers, without the white space around it, until `look`
/// says to stop.
#[inline]
pub(super) fn each_pair<'a>(
    request: &'a HeaderMap,
    mut look: impl FnMut(&'a [u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for header in request.get_all(COOKIE) {
        let mut rest = header.as_bytes();
        while let Some(end) = memchr::memchr(b';', rest) {
            look(trim(&rest[..end]))?;
            rest = &rest[end + 1..];
        }
        look(trim(rest))?;
    }
    ControlFlow::Continue(())
}

/// Returns the value of a pair if the pair has this name.
#[inline]
pub(super) fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes()).and_then(|rest| trim(rest).strip_prefix(b"=")).map(trim)
}

/// Removes the white space around a text.
///
/// Only SP and HTAB count as white space (RFC 6265bis). Attackers have hidden cookies behind other kinds of white space
/// in names.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
