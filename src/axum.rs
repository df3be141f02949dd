//! Sessions as axum extractors, and errors as responses.

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::error::{Error, Kind};
use crate::session::{Session, SessionView};

/// Rejects with 500 where no [`SessionLayer`](crate::SessionLayer) is around the handler, and the log says what to add.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            let error = Error::from(Kind::NoLayer);
            tracing::error!(%error, path = parts.uri.path(), "a handler asked for its session");
            error
        })
    }
}

/// `None` where no [`SessionLayer`](crate::SessionLayer) is around the handler.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// Rejects as [`Session`] does. Taking the snapshot is an access.
impl<S: Sync> FromRequestParts<S> for SessionView {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(|session| session.view())
    }
}

/// `None` where no [`SessionLayer`](crate::SessionLayer) is around the handler.
impl<S: Sync> OptionalFromRequestParts<S> for SessionView {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Session>().map(Session::view))
    }
}

/// 503 where the store is unavailable, 413 where the session would become too large, otherwise 500; the body is empty,
/// since what went wrong is for the log.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = if self.is_unavailable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.is_too_large() {
            StatusCode::PAYLOAD_TOO_LARGE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        tracing::error!(error = %self, source = std::error::Error::source(&self), "a handler failed on its session");
        status.into_response()
    }
}
