//! The extractors for axum, and an error as a response.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;

use crate::error::{Error, Kind};
use crate::session::{LazySession, Session, SessionView, TypedSession};

/// Extracts the session. Rejects with 500 if there is no [`SessionLayer`](crate::SessionLayer) around the handler, and
/// the log says what to add. Under a [lazy](crate::SessionLayerBuilder::lazy) layer this loads the session, and rejects
/// with 503 if the store fails.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match parts.extensions.get::<LazySession>() {
            Some(lazy) => lazy.clone().load().await,
            None => Self::from_extensions(&parts.extensions),
        }
    }
}

/// Extracts the session of a lazy layer without loading it. Rejects as [`Session`] does.
impl<S: Sync> FromRequestParts<S> for LazySession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

/// Extracts `None` if there is no [`SessionLayer`](crate::SessionLayer) around the handler. Rejects with 503 if the
/// store fails under a lazy layer.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        match parts.extensions.get::<LazySession>() {
            Some(lazy) => lazy.clone().load().await.map(Some),
            None => Ok(parts.extensions.get::<Self>().cloned()),
        }
    }
}

/// Extracts a snapshot of the session, which counts as access. Rejects as [`Session`] does.
impl<S: Sync> FromRequestParts<S> for SessionView {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(|session| session.view())
    }
}

/// Extracts `None` if there is no [`SessionLayer`](crate::SessionLayer) around the handler. Rejects with 503 if the
/// store fails under a lazy layer.
impl<S: Sync> OptionalFromRequestParts<S> for SessionView {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let session = <Session as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.map(|session| session.view()))
    }
}

/// Extracts the session without reading the struct, which happens when the handler asks for it. Rejects as [`Session`]
/// does.
impl<S: Sync, T> FromRequestParts<S> for TypedSession<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Self::from)
    }
}

/// Extracts `None` if there is no [`SessionLayer`](crate::SessionLayer) around the handler. Rejects with 503 if the
/// store fails under a lazy layer.
impl<S: Sync, T> OptionalFromRequestParts<S> for TypedSession<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let session = <Session as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.map(Self::from))
    }
}

/// The name of the owner ([`Session::sign_in`]), for handlers that need a signed-in person.
///
/// The extractor rejects with 401 if nobody has signed in, without a challenge, since a session is not an HTTP
/// authentication scheme. An `Option<Owner>` is `None` in that case. Both reject with 503 if the store could not be
/// read: that is never taken for "nobody has signed in". Extracting an `Owner` counts as access to the session.
///
/// # Examples
///
/// ```
/// use tower_session_layer::Owner;
///
/// async fn greet(owner: Owner) -> String {
///     format!("Hello, {owner}")
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(greet));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    async fn of<S: Sync>(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if session.is_unavailable() {
            return Err(Kind::Unavailable.into());
        }
        Ok(session.owner().map(Self))
    }
}

impl Deref for Owner {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for Owner {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Self::of(parts, state).await?.ok_or_else(|| Kind::NobodySignedIn.into())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Owner {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        Self::of(parts, state).await
    }
}

/// The status for the error, with an empty body, since the reason is for the log, and with `Cache-Control: no-store`:
///
/// | status | the error affirms |
/// |---|---|
/// | 401 | [`is_not_signed_in`](Error::is_not_signed_in) |
/// | 409 | [`is_gone`](Error::is_gone) |
/// | 413 | [`is_too_large`](Error::is_too_large) |
/// | 501 | [`is_unsupported`](Error::is_unsupported) |
/// | 503 | [`is_unavailable`](Error::is_unavailable) |
/// | 500 | none of these |
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (status(&self), [(CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
    }
}

/// Returns the status for an error, and logs the reason.
fn status(error: &Error) -> StatusCode {
    if error.is_too_large() {
        // Any client can cause this, so it must not raise an alarm.
        tracing::debug!(name: "session.response.too_large", %error, "a request would make its session too large");
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    if error.is_not_signed_in() {
        return StatusCode::UNAUTHORIZED;
    }
    if error.is_unsupported() || error.is_gone() {
        // The kind of store, or a late request: neither must raise an alarm.
        tracing::debug!(name: "session.response.refused", %error, "a handler could not do that with its session");
        return if error.is_gone() { StatusCode::CONFLICT } else { StatusCode::NOT_IMPLEMENTED };
    }
    if !error.is_no_layer() && !error.is_not_loaded() {
        // The other two were logged where the handler asked for the session.
        let source = std::error::Error::source(error);
        tracing::error!(name: "session.response.failed", %error, source, "a handler failed on its session");
    }
    if error.is_unavailable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR }
}
