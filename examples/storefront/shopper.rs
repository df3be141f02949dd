//! The visitor as the pages show them, and the frame around every page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;
use tower_session_layer::{Error, Session};

use crate::html::{Html, html};
use crate::problem::Failure;
use crate::shop::{CART, COUNTRIES, COUNTRY, Cart, Country, NOTICE};

/// The values that a page needs from the session, read once.
pub(crate) struct Shopper {
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) country: &'static Country,
    /// True if the visitor chose the country.
    pub(crate) has_chosen: bool,
    pub(crate) cart: Cart,
    csrf: Option<String>,
    notice: Option<String>,
    path: String,
}

impl Shopper {
    fn meet(session: &Session, path: String) -> Result<Self, Error> {
        let owner = session.owner();
        let chosen = Country::find(&readable(COUNTRY.get(session))?);
        Ok(Self {
            country: chosen.unwrap_or(&COUNTRIES[0]),
            has_chosen: chosen.is_some(),
            cart: readable(CART.get(session))?,
            // A CSRF token would be a write to the session, and a visitor who only looks around gets no session.
            csrf: owner.is_some().then(|| session.csrf_token()).transpose()?,
            notice: session.take_flash(NOTICE)?,
            owner,
            path,
        })
    }

    /// Returns the hidden fields that every form carries.
    pub(crate) fn hidden(&self) -> Html {
        let csrf = self.csrf.as_ref().map(|token| html!(r#"<input type="hidden" name="csrf" value="{t}">"#, t = token));
        html!(r#"{csrf}<input type="hidden" name="back" value="{back}">"#, csrf = csrf, back = self.path)
    }

    /// Returns the whole page.
    pub(crate) fn page(&self, title: &str, main: &Html) -> Html {
        let notice =
            self.notice.as_ref().map(|text| html!(r#"<p class="notice" role="status">{text}</p>"#, text = text));
        frame(
            title,
            &html!("{bar}{header}", bar = self.country_bar(), header = self.header()),
            &html!("{notice}{main}", notice = notice, main = main),
        )
    }

    fn country_bar(&self) -> Html {
        let options: Html = COUNTRIES
            .iter()
            .map(|country| {
                let selected = if self.has_chosen && country.code == self.country.code { " selected" } else { "" };
                html!(
                    r#"<option value="{code}"{selected}>{name}</option>"#,
                    code = country.code,
                    selected = selected,
                    name = country.name,
                )
            })
            .collect();
        let nobody = if self.has_chosen { "" } else { r#"<option value="">Choose a country</option>"# };
        html!(
            r#"<form class="country" method="post" action="/country" aria-label="Shipping country">{hidden}
<label for="country">Shipping to</label>
<select id="country" name="country" required>{nobody}{options}</select>
<button class="quiet">Change</button>
<span class="promise">{promise}</span>
</form>"#,
            hidden = self.hidden(),
            nobody = Html::trusted(nobody),
            options = options,
            promise = if self.has_chosen { self.country.promise() } else { "We ship to six countries".to_owned() },
        )
    }

    fn header(&self) -> Html {
        let count = self.cart.values().copied().fold(0, u32::saturating_add);
        let person = match &self.owner {
            None => link("/sign-in", &self.path, &html!("Sign in")),
            Some(owner) => html!(
                r#"<li class="person"><form method="post" action="/sign-out">{hidden}
<span class="name">{owner}</span> <button class="quiet">Sign out</button></form></li>"#,
                hidden = self.hidden(),
                owner = owner.as_ref(),
            ),
        };
        let cart = html!(
            r#"Cart <span class="count">{count}<span class="unseen"> {items}</span></span>"#,
            count = count,
            items = if count == 1 { "item" } else { "items" },
        );
        html!(
            r#"<header class="site">{brand}
<nav aria-label="Main"><ul>{shop}{devices}{cart}{person}</ul></nav>
</header>"#,
            brand = brand(),
            shop = link("/", &self.path, &html!("Shop")),
            devices = link("/devices", &self.path, &html!("Devices")),
            cart = link("/cart", &self.path, &cart),
            person = person,
        )
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Shopper {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let session = Session::from_request_parts(parts, state).await?;
        Ok(Self::meet(&session, parts.uri.path().to_owned())?)
    }
}

/// Treats a value of another type as absent: the API stores any value under any key, and the pages must go on.
pub(crate) fn readable<T: DeserializeOwned + Default>(found: Result<Option<T>, Error>) -> Result<T, Error> {
    match found {
        Err(error) if error.is_decode() => Ok(T::default()),
        found => Ok(found?.unwrap_or_default()),
    }
}

fn link(to: &str, here: &str, text: &Html) -> Html {
    let current = if to == here { r#" aria-current="page""# } else { "" };
    html!(r#"<li><a href="{to}"{current}>{text}</a></li>"#, to = to, current = Html::trusted(current), text = text)
}

fn brand() -> Html {
    html!(
        r#"<a class="brand" href="/"><span aria-hidden="true">{mark}</span><span>Hearth &amp; Harbour</span></a>"#,
        mark = Html::trusted(include_str!("art/mark.svg")),
    )
}

/// Returns a page that does not depend on a session.
pub(crate) fn bare(title: &str, main: &Html) -> Html {
    frame(title, &html!(r#"<header class="site">{brand}</header>"#, brand = brand()), main)
}

fn frame(title: &str, header: &Html, main: &Html) -> Html {
    html!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Hearth &amp; Harbour</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
{header}
<main id="main" tabindex="-1">
{main}
</main>
<footer class="site">
<p>Hearth &amp; Harbour is a demonstration: nothing is sold and nothing is shipped.</p>
<p>No script, no tracking, one session cookie, and none until you do something worth remembering.</p>
</footer>
</body>
</html>
"##,
        title = title,
        header = header,
        main = main,
    )
}
