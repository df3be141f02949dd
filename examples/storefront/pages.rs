//! The pages. They only read the session; `forms.rs` changes it.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::routing::get;
use tower_session_layer::{OwnedSession, Session};

use crate::html::{Html, html};
use crate::problem::Failure;
use crate::shop::{MOST, PRODUCTS, Product};
use crate::shopper::Shopper;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/product/{sku}", get(product))
        .route("/cart", get(cart))
        .route("/sign-in", get(sign_in))
        .route("/devices", get(devices))
}

async fn home(shopper: Shopper) -> Html {
    let cards: Html = PRODUCTS
        .iter()
        .map(|product| {
            html!(
                r#"<li class="card">
<div class="art" aria-hidden="true">{art}</div>
<h2><a href="/product/{sku}">{name}</a></h2>
<p>{tagline}</p>
<form method="post" action="/cart/add">{hidden}<input type="hidden" name="sku" value="{sku}"><input type="hidden" name="quantity" value="1">
<span class="price">{price}</span> <button>Add to cart<span class="unseen"> {name}</span></button></form>
</li>"#,
                art = product.art(),
                sku = product.sku,
                name = product.name,
                tagline = product.tagline,
                hidden = shopper.hidden(),
                price = shopper.country.money(shopper.country.price(product)),
            )
        })
        .collect();
    shopper.page(
        "Things worth keeping",
        &html!(
            r#"<section class="hero"><p class="eyebrow">Autumn at the quay</p>
<h1>Things worth keeping, made by people who stay.</h1>
<p>Eight everyday objects from small workshops near the water. We would rather sell you one good mug than six.</p></section>
<ul class="grid">{cards}</ul>"#,
            cards = cards,
        ),
    )
}

async fn product(shopper: Shopper, sku: Result<Path<String>, PathRejection>) -> Result<Html, Failure> {
    let product = sku.ok().and_then(|Path(sku)| Product::find(&sku)).ok_or(Failure::NOT_FOUND)?;
    let main = html!(
        r#"<article class="product">
<div class="art" aria-hidden="true">{art}</div>
<div><p class="eyebrow">{tagline}</p><h1>{name}</h1><p>{story}</p><p class="made">{made}</p>
<p class="price large">{price}</p>
<form class="row" method="post" action="/cart/add">{hidden}<input type="hidden" name="sku" value="{sku}">
<label>Quantity
<input name="quantity" type="number" inputmode="numeric" min="1" max="{most}" value="1" required></label>
<button>Add to cart</button></form>
<p class="promise">{name_of_country}: {promise}.</p>
<p><a href="/">All products</a></p></div>
</article>"#,
        art = product.art(),
        sku = product.sku,
        most = MOST,
        name = product.name,
        tagline = product.tagline,
        story = product.story,
        made = product.made,
        hidden = shopper.hidden(),
        price = shopper.country.money(shopper.country.price(product)),
        name_of_country = shopper.country.name,
        promise = shopper.country.promise(),
    );
    Ok(shopper.page(product.name, &main))
}

async fn cart(shopper: Shopper) -> Html {
    if shopper.cart.is_empty() {
        let empty = r#"<section class="narrow"><h1>Your cart is empty</h1>
<p>What you put in stays in your session, also when you sign in.</p>
<p><a class="button" href="/">See what there is</a></p></section>"#;
        return shopper.page("Cart", &Html::trusted(empty));
    }
    let country = shopper.country;
    let mut goods = 0_u64;
    let lines: Html = shopper
        .cart
        .iter()
        .map(|(sku, &quantity)| {
            let product = Product::find(sku);
            let price = product.map(|product| country.price(product).saturating_mul(quantity.into()));
            goods = goods.saturating_add(price.unwrap_or_default());
            cart_line(&shopper, sku, quantity, product, price.map(|price| country.money(price)).as_deref())
        })
        .collect();
    let shipping = country.shipping(goods);
    shopper.page(
        "Cart",
        &html!(
            r#"<h1>Your cart</h1>
<ul class="lines">{lines}</ul>
<dl class="sums">
<div><dt>Goods</dt><dd>{goods}</dd></div>
<div><dt>Shipping to {country}</dt><dd>{shipping}</dd></div>
<div class="total"><dt>Total</dt><dd>{total}</dd></div>
</dl>
<p class="promise">{promise}.</p>
<p><a href="/">Continue shopping</a></p>"#,
            lines = lines,
            goods = country.money(goods),
            country = country.name,
            shipping = if shipping == 0 { "free".to_owned() } else { country.money(shipping) },
            total = country.money(goods.saturating_add(shipping)),
            promise = country.promise(),
        ),
    )
}

/// A product that is no longer sold stays visible until it is removed.
fn cart_line(shopper: &Shopper, sku: &str, quantity: u32, product: Option<&Product>, price: Option<&str>) -> Html {
    let name = product.map_or(sku, |product| product.name);
    let title = match product {
        Some(product) => html!(r#"<a href="/product/{sku}">{name}</a>"#, sku = product.sku, name = name),
        None => html!(r#"{name} <span class="made">no longer sold</span>"#, name = name),
    };
    // A product that is not sold can only be removed, not reduced.
    let quantity = product.map(|product| {
        html!(
            r#"<form class="row" method="post" action="/cart/change">{hidden}<input type="hidden" name="sku" value="{sku}">
<label>Quantity<span class="unseen"> of {name}</span>
<input name="quantity" type="number" inputmode="numeric" min="0" max="{most}" value="{quantity}" required></label>
<button class="quiet">Update<span class="unseen"> {name}</span></button></form>"#,
            hidden = shopper.hidden(),
            sku = product.sku,
            name = name,
            most = MOST,
            quantity = quantity,
        )
    });
    html!(
        r#"<li>
<div class="art" aria-hidden="true">{art}</div>
<h2>{title}</h2>
{quantity}
<form class="remove" method="post" action="/cart/change">{hidden}<input type="hidden" name="sku" value="{sku}">
<input type="hidden" name="quantity" value="0"><button class="link">Remove<span class="unseen"> {name}</span></button></form>
<p class="price">{price}</p>
</li>"#,
        art = product.map(Product::art),
        title = title,
        hidden = shopper.hidden(),
        sku = sku,
        name = name,
        quantity = quantity,
        price = price,
    )
}

async fn sign_in(shopper: Shopper) -> Html {
    let main = match &shopper.owner {
        Some(owner) => html!(
            r#"<section class="narrow"><h1>Hello, {owner}</h1><p>You are signed in on this device.</p>
<p><a class="button" href="/devices">See all devices</a></p></section>"#,
            owner = owner.as_ref(),
        ),
        None => html!(
            r#"<section class="narrow"><h1>Sign in</h1>
<p>This shop is a demonstration and asks for no password: any name will do. Signing in replaces the session's token
and keeps the cart.</p>
<form class="stack" method="post" action="/sign-in">{hidden}
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" maxlength="40" required>
<button>Sign in</button></form></section>"#,
            hidden = shopper.hidden(),
        ),
    };
    shopper.page("Sign in", &main)
}

async fn devices(shopper: Shopper, session: Session) -> Result<Html, Failure> {
    let Some(owner) = &shopper.owner else {
        let main = r#"<section class="narrow"><h1>Devices</h1><p>Sign in to see where else you are signed in.</p>
<p><a class="button" href="/sign-in">Sign in</a></p></section>"#;
        return Ok(shopper.page("Devices", &Html::trusted(main)));
    };
    let main = match session.owners().list(owner).await {
        Ok(sessions) => device_list(&shopper, &session, sessions),
        Err(error) if error.is_unsupported() => Html::trusted(
            r#"<section class="narrow"><h1>Devices</h1>
<p>This shop runs on the cookie store: each device carries its own session, sealed, and the server keeps no list of
them. So there is nothing to show and nothing to revoke here.</p>
<p>Start it with <code>--store memory:</code> or <code>--store file:./sessions</code> to see every device you are signed
in on and to sign them out from here.</p></section>"#,
        ),
        Err(error) => return Err(error.into()),
    };
    Ok(shopper.page("Devices", &main))
}

fn device_list(shopper: &Shopper, session: &Session, mut sessions: Vec<OwnedSession>) -> Html {
    let present = session.handle();
    sessions.sort_by_key(|one| (Some(one.handle) != present, std::cmp::Reverse(one.last_seen)));
    let others = sessions.iter().filter(|one| Some(one.handle) != present).count();
    let rows: Html = sessions.iter().map(|one| device(shopper, one, Some(one.handle) == present)).collect();
    let revoke_others = (others > 0).then(|| {
        html!(
            r#"<form method="post" action="/devices/revoke-others">{hidden}<button>Sign out everywhere else</button></form>"#,
            hidden = shopper.hidden(),
        )
    });
    html!(
        r#"<h1>Devices</h1>
<p>Everywhere you are signed in. Sign out what you do not recognise: it ends at once.</p>
<ul class="devices">{rows}</ul>{revoke_others}"#,
        rows = rows,
        revoke_others = revoke_others,
    )
}

fn device(shopper: &Shopper, one: &OwnedSession, is_present: bool) -> Html {
    let handle = one.handle.to_string();
    let short = handle.get(..6).unwrap_or(&handle);
    let action = if is_present {
        html!(r#"<strong class="tag">This device</strong>"#)
    } else {
        html!(
            r#"<form method="post" action="/devices/revoke">{hidden}<input type="hidden" name="handle" value="{handle}">
<button class="quiet">Sign out<span class="unseen"> session {short}</span></button></form>"#,
            hidden = shopper.hidden(),
            handle = handle,
            short = short,
        )
    };
    html!(
        r#"<li><div><h2>Session {short}</h2>
<p>Signed in {signed_in}, last seen {last_seen}</p></div>{action}</li>"#,
        short = short,
        signed_in = ago(one.signed_in.unwrap_or(one.created)),
        last_seen = ago(one.last_seen),
        action = action,
    )
}

fn ago(time: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO).as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
