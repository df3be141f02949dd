//! The handlers of forms. Each changes the session, leaves a notice for the next page and redirects to that page.

use axum::extract::{Form, FromRequest, Request};
use axum::response::Redirect;
use axum::routing::post;
use axum::{RequestExt, Router};
use serde::Deserialize;
use serde_json::Value;
use tower_session_layer::{Error, Session, SessionHandle};

use crate::problem::Failure;
use crate::shop::{CART, COUNTRY, Cart, Country, MOST, NOTICE, Product, added, changed, has_room};
use crate::shopper::readable;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/country", post(choose_country))
        .route("/cart/add", post(add))
        .route("/cart/change", post(change))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/devices/revoke", post(revoke))
        .route("/devices/revoke-others", post(revoke_others))
}

/// A session that the posted form may change. The handlers here get a session in no other way.
///
/// `guard.rs` has checked that the request comes from a page of this shop. The forms of a person who is signed in also carry
/// the session's CSRF token, because this person has more to lose. The forms of a visitor do not: a visitor has no session
/// until the first form, and a page that was open before that must go on working.
struct Posted {
    session: Session,
    fields: Fields,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    csrf: String,
    back: String,
    sku: String,
    quantity: Option<u32>,
    country: String,
    name: String,
    handle: String,
}

impl<S: Send + Sync> FromRequest<S> for Posted {
    type Rejection = Failure;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Failure> {
        let session: Session = request.extract_parts().await?;
        let Form(fields) = Form::<Fields>::from_request(request, state).await.map_err(|_| Failure::FORM)?;
        if session.owner().is_some() && !session.verify_csrf(&fields.csrf) {
            return Err(Failure::STALE);
        }
        Ok(Self { session, fields })
    }
}

impl Posted {
    /// Leaves a notice and redirects to the page that held the form.
    fn back(&self, notice: &str) -> Result<Redirect, Failure> {
        self.session.flash(NOTICE, notice)?;
        Ok(Redirect::to(local(&self.fields.back)))
    }
}

async fn choose_country(posted: Posted) -> Result<Redirect, Failure> {
    let country = Country::find(&posted.fields.country).ok_or(Failure::FORM)?;
    COUNTRY.insert(&posted.session, country.code)?;
    posted.back(&format!("Prices and shipping are now for {}.", country.name))
}

async fn add(posted: Posted) -> Result<Redirect, Failure> {
    let Fields { sku, quantity, .. } = &posted.fields;
    let product = Product::find(sku).ok_or(Failure::FORM)?;
    let more = quantity.filter(|more| (1..=MOST).contains(more)).ok_or(Failure::FORM)?;
    if !has_room(&readable(CART.get(&posted.session))?, sku, more) {
        return posted.back(&format!("A cart holds at most {MOST} of each, so {} was not added.", product.name));
    }
    edit(&posted.session, move |cart| added(cart, product.sku, more, MOST))?;
    posted.back(&format!("{more} × {} added to your cart.", product.name))
}

async fn change(posted: Posted) -> Result<Redirect, Failure> {
    let Fields { sku, quantity, .. } = &posted.fields;
    let new = quantity.filter(|new| *new <= MOST).ok_or(Failure::FORM)?;
    let product = Product::find(sku);
    if product.is_none() && new > 0 {
        return Err(Failure::FORM);
    }
    let line = sku.clone();
    edit(&posted.session, move |cart| changed(cart, &line, new))?;
    let name = product.map_or(sku.as_str(), |product| product.name);
    posted.back(&match new {
        0 => format!("{name} removed from your cart."),
        more => format!("{name}: now {more} in your cart."),
    })
}

async fn sign_in(posted: Posted) -> Result<Redirect, Failure> {
    let name = posted.fields.name.trim();
    if name.is_empty() || name.chars().count() > 40 {
        return Err(Failure::FORM);
    }
    posted.session.sign_in(name)?;
    posted.session.flash(NOTICE, format!("Welcome, {name}."))?;
    Ok(Redirect::to("/"))
}

async fn sign_out(posted: Posted) -> Result<Redirect, Failure> {
    // The notice starts a new session, which ends when the notice has been read.
    posted.session.destroy()?;
    posted.session.flash(NOTICE, "You are signed out.")?;
    Ok(Redirect::to("/"))
}

async fn revoke(posted: Posted) -> Result<Redirect, Failure> {
    let Some(owner) = posted.session.owner() else { return Ok(Redirect::to("/sign-in")) };
    let handle = SessionHandle::parse(&posted.fields.handle).ok_or(Failure::FORM)?;
    let was_there = posted.session.owners().revoke(&owner, handle).await?;
    posted.back(if was_there { "That device is signed out." } else { "That device was signed out already." })
}

async fn revoke_others(posted: Posted) -> Result<Redirect, Failure> {
    if posted.session.owner().is_none() {
        return Ok(Redirect::to("/sign-in"));
    }
    let count = posted.session.owners().revoke_others(&posted.session).await?;
    posted.back(&match count {
        1 => "One other device is signed out.".to_owned(),
        count => format!("{count} other devices are signed out."),
    })
}

/// Changes the cart, even if other requests change it at the same time. A value that is not a cart, which only the API can
/// have written, is replaced: `CART.update` would refuse it, now or at the commit.
fn edit(session: &Session, how: impl Fn(Option<Cart>) -> Cart + Send + Sync + 'static) -> Result<(), Error> {
    session.update(CART.name(), move |found: Option<Value>| {
        let cart = how(found.and_then(|found| serde_json::from_value(found).ok()));
        Some(cart).filter(|cart| !cart.is_empty()).and_then(|cart| serde_json::to_value(cart).ok())
    })
}

/// Returns a path of this shop, or the front page: a form must not lead to another site.
fn local(path: &str) -> &str {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte));
    if is_plain && path.starts_with('/') && !path.starts_with("//") { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::header::{COOKIE, SET_COOKIE};
    use http::{Request, Response};
    use tower::{Layer as _, ServiceExt as _, service_fn};
    use tower_session_layer::{MemoryStore, SessionLayer};

    use super::*;

    /// Sends one request with these cookies, and returns the status and the cookie of the response.
    async fn visit<F>(sessions: &SessionLayer, cookie: Option<&str>, visit: F) -> (u16, Option<String>)
    where
        F: AsyncFn(Session) + 'static,
    {
        let shop = sessions.layer(service_fn(async |request: Request<Body>| {
            visit(Session::from_extensions(request.extensions()).unwrap()).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }));
        let request = cookie.into_iter().fold(Request::builder(), |request, cookie| request.header(COOKIE, cookie));
        let answer = shop.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let cookie = answer.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        (answer.status().as_u16(), cookie.map(str::to_owned))
    }

    #[tokio::test]
    async fn what_is_no_cart_is_replaced_even_if_it_comes_while_the_form_is_carried_out() {
        let sessions = SessionLayer::new(MemoryStore::new());
        let (_, cookie) = visit(&sessions, None, async |session| session.insert("cart", "junk").unwrap()).await;
        let add = |session: &Session| edit(session, |cart| added(cart, "mug", 1, MOST)).unwrap();
        let (status, _) = visit(&sessions, cookie.as_deref(), async move |session| add(&session)).await;
        assert_eq!(status, 200);
        let (layer, cookies) = (sessions.clone(), cookie.clone());
        let overtaken = visit(&sessions, cookie.as_deref(), async move |session| {
            assert_eq!(CART.get(&session).unwrap().unwrap()["mug"], 1);
            add(&session);
            visit(&layer, cookies.as_deref(), async |session| session.insert("cart", -1).unwrap()).await;
        });
        assert_eq!(overtaken.await.0, 200);
        visit(&sessions, cookie.as_deref(), async |session| {
            assert_eq!(CART.get(&session).unwrap().unwrap(), Cart::from([("mug".to_owned(), 1)]));
        })
        .await;
    }

    #[test]
    fn redirects_stay_in_the_shop() {
        for path in ["/", "/cart", "/product/mug", "/sign-in"] {
            assert_eq!(local(path), path);
        }
        for path in [
            "",
            "cart",
            "//evil",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nX: y",
            "/a?b",
            "/%2f",
        ] {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }
}
