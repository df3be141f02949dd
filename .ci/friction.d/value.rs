// A value without serde's derives. The words are serde's, where the bound is the method's own.
//~ the trait bound `Cart: serde::Deserialize<'de>` is not satisfied
//~ for local types consider adding `#[derive(serde::Deserialize)]` to your `Cart` type
use tower_session_layer::{Error, Session, SessionKey};

struct Cart;

const CART: SessionKey<Cart> = SessionKey::new("cart");

fn cart(session: &Session) -> Result<Option<Cart>, Error> {
    CART.get(session)
}

fn main() {
    let _ = cart;
}
