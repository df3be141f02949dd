//! The pages for errors.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower_session_layer::Error;

use crate::html::html;
use crate::shopper::bare;

/// An error as a page.
pub(crate) struct Failure {
    status: StatusCode,
    title: &'static str,
    text: &'static str,
}

impl Failure {
    pub(crate) const NOT_FOUND: Self = Self {
        status: StatusCode::NOT_FOUND,
        title: "Nothing here",
        text: "This shelf is empty: there is no page at this address.",
    };
    pub(crate) const WRONG_METHOD: Self = Self {
        status: StatusCode::METHOD_NOT_ALLOWED,
        title: "Not this way",
        text: "This address is only for the shop's own forms.",
    };
    pub(crate) const FORM: Self = Self {
        status: StatusCode::BAD_REQUEST,
        title: "That did not add up",
        text: "Something in the form was missing or out of range. Nothing was changed.",
    };
    pub(crate) const FOREIGN: Self = Self {
        status: StatusCode::FORBIDDEN,
        title: "Not from here",
        text: "This request was sent by another site's page, so it was not carried out.",
    };
    pub(crate) const STALE: Self = Self {
        status: StatusCode::FORBIDDEN,
        title: "That page was too old",
        text: "You have signed in or out since it was loaded, so the form was not carried out. Load the page again and repeat it.",
    };
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (title, text) = if error.is_unsupported() {
            (
                "Not with this store",
                "Here each browser keeps its own session, so the shop cannot list or end the others.",
            )
        } else if error.is_unavailable() {
            (
                "One moment, please",
                "The shop cannot reach its session store. Nothing is lost; please try again shortly.",
            )
        } else if error.is_too_large() {
            ("That is a lot", "Your session is full, and this did not fit. Everything in it is still there.")
        } else {
            ("Something went wrong", "The shop could not do that. Everything you had before is still there.")
        };
        Self { title, text, status: error.into_response().status() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let main = html!(
            r#"<section class="narrow"><p class="eyebrow">{status}</p><h1>{title}</h1><p>{text}</p>
<p><a class="button" href="/">Back to the shop</a></p></section>"#,
            status = u32::from(self.status.as_u16()),
            title = self.title,
            text = self.text,
        );
        (self.status, bare(self.title, &main)).into_response()
    }
}
