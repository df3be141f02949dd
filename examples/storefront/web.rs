//! All routes, and the layers around them.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{any, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tower_session_layer::SessionLayer;

use crate::problem::Failure;
use crate::{api, forms, guard, pages};

pub(crate) fn app(sessions: SessionLayer) -> Router {
    let shop = pages::routes()
        .merge(forms::routes())
        .nest("/api", api::routes())
        // The one path below `/api` that `nest` leaves out.
        .route("/api/", any(api::nothing))
        .fallback(async || Failure::NOT_FOUND)
        .method_not_allowed_fallback(async || Failure::WRONG_METHOD)
        .layer(sessions);
    Router::new()
        // Outside the layer: a stylesheet has no session, and may be cached.
        .route("/style.css", get(async || asset("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/favicon.svg", get(async || asset("image/svg+xml", include_str!("art/mark.svg"))))
        .merge(shop)
        .layer(from_fn(guard::same_origin))
        .layer(from_fn(guard::harden))
}

type Asset = ([(http::HeaderName, &'static str); 2], &'static str);

fn asset(kind: &'static str, text: &'static str) -> Asset {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=300")], text)
}
