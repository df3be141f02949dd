//! A struct of the program as the session: its fields merge as keys do (promises 2, 9, 16).

mod effects;
mod older_names;
mod random;
mod requests;
mod shapes;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tower_session_layer::{Error, Session, TypedSession};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Shop {
    country: Option<String>,
    cart: BTreeMap<String, u32>,
    tags: HashMap<String, u32>,
    visits: u64,
}

fn shop(session: &Session) -> TypedSession<Shop> {
    session.into()
}

/// Puts so many of these into the cart.
fn put(cart: &mut BTreeMap<String, u32>, sku: &str, quantity: u32) {
    *cart.entry(sku.into()).or_default() += quantity;
}

fn start(session: &Session) -> Result<(), Error> {
    session.insert("beside", "stays")?;
    shop(session).edit(|shop| {
        shop.country = Some("US".into());
        put(&mut shop.cart, "mug", 1);
        shop.tags = (0..20).map(|tag| (format!("tag{tag}"), tag)).collect();
    })
}
