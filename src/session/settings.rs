//! Parts of a layer's settings that have rules of their own.

use http::header::{HeaderMap, HeaderName};

/// The policy for the headers that tell caches how to treat a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheHeaders {
    /// Adds `Vary: Cookie` if the session was accessed, and `Cache-Control: no-store` if a cookie is set.
    #[default]
    Automatic,
    /// Adds nothing, for a program that sets these headers itself or is behind no cache. The responses of the layer itself,
    /// such as 503, have `Cache-Control: no-store` all the same.
    Off,
}

/// The part of requests and responses that carries the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Cookie,
    /// A header of the layer's own, for clients without cookies.
    Header,
}

/// The header that carries tokens for clients without cookies.
pub(crate) struct TokenHeader {
    pub(crate) name: HeaderName,
    /// True if the header replaces the cookie.
    pub(crate) is_alone: bool,
}

impl TokenHeader {
    #[inline]
    pub(crate) fn is_used_by(&self, request: &HeaderMap) -> bool {
        self.is_alone || request.contains_key(&self.name)
    }
}
