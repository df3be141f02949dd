//! Sessions as axum extractors, and errors as responses.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::error::{Error, Kind};
use crate::session::{LazySession, Session, SessionView, TypedSession};

/// Rejects with 500 where no [`SessionLayer`](crate::SessionLayer) is around the handler, and the log says what to add. Under
/// a [lazy](crate::SessionLayerBuilder::lazy) layer this loads the session, and rejects with 503 where the store fails.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match parts.extensions.get::<LazySession>() {
            Some(lazy) => lazy.clone().load().await,
            None => Self::from_extensions(&parts.extensions),
        }
    }
}

/// Rejects as [`Session`] does, and never waits.
impl<S: Sync> FromRequestParts<S> for LazySession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_extensions(&parts.extensions)
    }
}

/// `None` where no [`SessionLayer`](crate::SessionLayer) is around the handler; a store that fails under a lazy one rejects.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        match parts.extensions.get::<LazySession>() {
            Some(lazy) => lazy.clone().load().await.map(Some),
            None => Ok(parts.extensions.get::<Self>().cloned()),
        }
    }
}

/// Rejects as [`Session`] does. Taking the snapshot is an access.
impl<S: Sync> FromRequestParts<S> for SessionView {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(|session| session.view())
    }
}

/// `None` where no [`SessionLayer`](crate::SessionLayer) is around the handler; a store that fails under a lazy one rejects.
impl<S: Sync> OptionalFromRequestParts<S> for SessionView {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let session = <Session as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.map(|session| session.view()))
    }
}

/// Rejects as [`Session`] does. The struct is read when the handler asks for it.
impl<S: Sync, T> FromRequestParts<S> for TypedSession<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Self::from)
    }
}

/// `None` where no [`SessionLayer`](crate::SessionLayer) is around the handler; a store that fails under a lazy one rejects.
impl<S: Sync, T> OptionalFromRequestParts<S> for TypedSession<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let session = <Session as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.map(Self::from))
    }
}

/// Who signed in ([`Session::sign_in`]), for handlers that are for somebody.
///
/// As an extractor it rejects with 401 where nobody has signed in, without a challenge, since no HTTP authentication scheme
/// stands for a session; an `Option` of it is `None` there. A store that could not be read is 503, never "nobody". It is an
/// access, as any look at the session.
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

/// 401 where somebody has to be signed in, 503 where the store is unavailable, 413 where the session would become too large, 409 where it ended meanwhile, 501 where
/// the store cannot do that by its nature, otherwise 500; the body is empty, since what went wrong is for the log.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self.is_too_large() {
            // Any client can bring this about, so it is no alarm.
            tracing::debug!(
                name: "session.response.too_large",
                error = %self, "a request would make its session too large"
            );
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        if self.is_not_signed_in() {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        if self.is_unsupported() || self.is_gone() {
            // The store's nature, or a late request: neither is for the night shift.
            tracing::debug!(
                name: "session.response.refused",
                error = %self, "a handler could not do that with its session"
            );
            let gone = self.is_gone();
            return if gone { StatusCode::CONFLICT } else { StatusCode::NOT_IMPLEMENTED }.into_response();
        }
        if !self.is_no_layer() && !self.is_not_loaded() {
            // That one was logged where the session was asked for.
            let source = std::error::Error::source(&self);
            tracing::error!(name: "session.response.failed", error = %self, source, "a handler failed on its session");
        }
        let unavailable = self.is_unavailable();
        if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR }.into_response()
    }
}
