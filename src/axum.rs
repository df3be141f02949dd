//! Sessions as axum extractors, and errors as responses.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::error::Error;
use crate::session::{LazySession, Session, SessionView};

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

/// 503 where the store is unavailable, 413 where the session would become too large, 409 where it ended meanwhile, 501 where
/// the store cannot do that by its nature, otherwise 500; the body is empty, since what went wrong is for the log.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self.is_too_large() {
            // Any client can bring this about, so it is no alarm.
            tracing::debug!(error = %self, "a request would make its session too large");
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        }
        if self.is_unsupported() || self.is_gone() {
            // The store's nature, or a late request: neither is for the night shift.
            tracing::debug!(error = %self, "a handler could not do that with its session");
            let gone = self.is_gone();
            return if gone { StatusCode::CONFLICT } else { StatusCode::NOT_IMPLEMENTED }.into_response();
        }
        if !self.is_no_layer() && !self.is_not_loaded() {
            // That one was logged where the session was asked for.
            let source = std::error::Error::source(&self);
            tracing::error!(error = %self, source, "a handler failed on its session");
        }
        let unavailable = self.is_unavailable();
        if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR }.into_response()
    }
}
