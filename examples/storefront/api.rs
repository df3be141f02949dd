//! The JSON API for scripts, native clients and tests.
//!
//! No route here asks for the session's CSRF token. Bodies must be `application/json`, which no foreign form can send. A foreign
//! script may send it only with our permission (CORS), and the same holds for `PUT` and `DELETE`. `guard.rs` checks every request
//! before these routes.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::{JsonRejection, PathRejection, StringRejection};
use axum::extract::{FromRequest, Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tower_session_layer::{Error, OwnedSession, Session, SessionView};

use crate::shop::{CART, COUNTRY, Cart, added};

/// The key of the flash of `/api/flash`, apart from the pages' notices.
const MESSAGE: &str = "message";

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/country", get(country).post(choose_country).delete(destroy))
        .route("/session", get(show).delete(destroy))
        .route("/session/{key}", put(insert).delete(remove))
        .route("/cart", post(add))
        .route("/login", post(login))
        .route("/logout", post(destroy))
        .route("/devices", get(devices).delete(revoke_others))
        .route("/flash", get(read_flash).post(leave_flash))
        .fallback(nothing)
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
}

type Answer<T> = Result<T, Problem>;

pub(crate) async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such route")
}

#[derive(Serialize, Deserialize)]
struct Choice {
    #[serde(rename = "countryCode", skip_serializing_if = "Option::is_none")]
    country_code: Option<String>,
}

async fn country(view: SessionView) -> Answer<Json<Choice>> {
    Ok(Json(Choice { country_code: COUNTRY.get(&view)? }))
}

async fn choose_country(session: Session, Body(choice): Body<Choice>) -> Answer<Json<Choice>> {
    let Some(code) = &choice.country_code else {
        return Err(Problem::bad("expected a `countryCode`"));
    };
    COUNTRY.insert(&session, code)?;
    Ok(Json(choice))
}

#[derive(Serialize)]
struct Shown {
    values: BTreeMap<String, Box<RawValue>>,
    new: bool,
    owner: Option<String>,
    expires_in: u64,
}

async fn show(view: SessionView) -> Answer<Json<Shown>> {
    let mut values = BTreeMap::new();
    for key in view.keys() {
        if let Some(value) = view.get(&key)? {
            values.insert(key, value);
        }
    }
    Ok(Json(Shown {
        values,
        new: view.is_new(),
        owner: view.owner().map(|owner| owner.to_string()),
        expires_in: view.expires_at().duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
    }))
}

/// Destroys the whole session: the cart and the sign-in too.
async fn destroy(session: Session) -> Answer<StatusCode> {
    session.destroy()?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores the value as the text that was sent, so that no number loses digits.
async fn insert(
    session: Session,
    key: Result<Path<String>, PathRejection>,
    body: Result<String, StringRejection>,
) -> Answer<StatusCode> {
    let (Path(key), body) = (key?, body?);
    let value: Box<RawValue> = serde_json::from_str(&body).map_err(|error| Problem::bad(error.to_string()))?;
    session.insert(&key, value)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(session: Session, key: Result<Path<String>, PathRejection>) -> Answer<StatusCode> {
    let Path(key) = key?;
    session.remove(&key)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: NonZeroU32,
}

async fn add(session: Session, Body(Line { sku, quantity }): Body<Line>) -> Answer<Json<Cart>> {
    CART.update(&session, move |cart| Some(added(cart, &sku, quantity.get(), u32::MAX)))?;
    // The answer is the stored cart, even if another request adds something at the same time.
    session.commit().await?;
    Ok(Json(CART.get(&session)?.unwrap_or_default()))
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[derive(Serialize)]
struct SignedIn {
    owner: String,
}

async fn login(session: Session, Body(Login { user }): Body<Login>) -> Answer<Json<SignedIn>> {
    if user.is_empty() {
        return Err(Problem::bad("expected a non-empty `user`"));
    }
    session.sign_in(&user)?;
    Ok(Json(SignedIn { owner: user }))
}

#[derive(Serialize)]
struct Device {
    handle: String,
    created: u64,
    signed_in: Option<u64>,
    last_seen: u64,
    current: bool,
}

async fn devices(session: Session) -> Answer<Json<Vec<Device>>> {
    let owner = session.owner();
    // First, so that a store which cannot list answers so to everybody.
    let sessions = session.owners().list(owner.as_deref().unwrap_or_default()).await?;
    if owner.is_none() {
        return Err(Problem::signed_out());
    }
    let present = session.handle();
    let device = |one: &OwnedSession| Device {
        handle: one.handle.to_string(),
        created: unix(one.created),
        signed_in: one.signed_in.map(unix),
        last_seen: unix(one.last_seen),
        current: Some(one.handle) == present,
    };
    Ok(Json(sessions.iter().map(device).collect()))
}

#[derive(Serialize)]
struct Revoked {
    revoked: usize,
}

async fn revoke_others(session: Session) -> Answer<Json<Revoked>> {
    let owner = session.owner();
    session.owners().list(owner.as_deref().unwrap_or_default()).await?;
    if owner.is_none() {
        return Err(Problem::signed_out());
    }
    Ok(Json(Revoked { revoked: session.owners().revoke_others(&session).await? }))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Serialize, Deserialize)]
struct Flash {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

async fn leave_flash(session: Session, Body(flash): Body<Flash>) -> Answer<StatusCode> {
    let Some(message) = flash.message else {
        return Err(Problem::bad("expected a `message`"));
    };
    session.flash(MESSAGE, message)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read_flash(session: Session) -> Answer<Json<Flash>> {
    Ok(Json(Flash { message: session.take_flash(MESSAGE)? }))
}

/// A JSON body. Its rejection is JSON too.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            // JSON of another shape is a bad request, like a body that is no JSON.
            Err(JsonRejection::JsonDataError(error)) => Err(Problem::bad(error.body_text())),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}

/// An error as `{"error": "…"}`.
pub(crate) struct Problem {
    status: StatusCode,
    error: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "nobody is signed in")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let status = if error.is_unsupported() {
            StatusCode::NOT_IMPLEMENTED
        } else if error.is_decode() {
            // Only `PUT /api/session/{key}` can have stored a value of another type.
            StatusCode::CONFLICT
        } else {
            error.into_response().status()
        };
        Self::new(status, message)
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl From<StringRejection> for Problem {
    fn from(error: StringRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(BTreeMap::from([("error", self.error)]))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    use tower_session_layer::{MemoryStore, SessionLayer};

    use super::*;
    use crate::web;

    /// Returns the status, the cookie that is set and the body of the response.
    async fn send(shop: &Router, request: (&str, &str), cookie: &str, body: &'static str) -> (u16, String, String) {
        let (method, path) = request;
        let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        let response = shop.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let cookie = response.headers().get(SET_COOKIE).map_or("", |cookie| cookie.to_str().unwrap()).to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, cookie, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn deleting_the_country_destroys_the_whole_session() {
        let shop = web::app(SessionLayer::new(MemoryStore::new()));
        let (_, cookie, _) = send(&shop, ("POST", "/api/country"), "", r#"{"countryCode": "US"}"#).await;
        let cookie = cookie.split(';').next().unwrap();
        assert_eq!(send(&shop, ("POST", "/api/cart"), cookie, r#"{"sku": "mug", "quantity": 2}"#).await.0, 200);
        let (status, removal, _) = send(&shop, ("DELETE", "/api/country"), cookie, "").await;
        assert_eq!(status, 204);
        assert!(removal.starts_with("__Host-sid=;") && removal.contains("Max-Age=0"), "{removal}");
        assert_eq!(send(&shop, ("GET", "/api/country"), cookie, "").await.2, "{}");
        let (_, _, session) = send(&shop, ("GET", "/api/session"), cookie, "").await;
        assert!(session.starts_with(r#"{"values":{},"new":true"#), "{session}");
    }
}
