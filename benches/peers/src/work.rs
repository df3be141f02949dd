//! The work of handlers, and the values of a session.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The work of a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Does not ask for the session.
    Nothing,
    /// Reads [`USER`].
    Read,
    /// Gives [`COUNT`] a new value.
    Write,
    /// Inserts [`USER`] into a new session.
    Create,
}

/// A measured case: a work, and the session whose cookie the client sends.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub work: Work,
    pub session: Option<Shape>,
}

/// The values of a session.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A few small keys.
    Small,
    /// The small keys, and one value of so many articles of about 100 bytes.
    Cart(usize),
    /// The small keys, and so many keys with one such article each.
    Keys(usize),
    /// The user, the count, and one text of so many bytes.
    Text(usize),
}

/// The key that handlers read.
pub const USER: &str = "user";
/// The value of [`USER`].
pub const ADA: &str = "ada";
/// The key that handlers write.
pub const COUNT: &str = "count";

impl Shape {
    /// Returns the values of a session of this shape.
    pub fn values(self) -> Vec<(String, Value)> {
        let mut values = vec![(USER.to_owned(), json!(ADA)), (COUNT.to_owned(), json!(0))];
        match self {
            Self::Small => values.push(("countryCode".to_owned(), json!("US"))),
            Self::Cart(articles) => {
                values.push(("countryCode".to_owned(), json!("US")));
                values.push(("cart".to_owned(), (0..articles).map(article).collect()));
            }
            Self::Keys(keys) => {
                values.push(("countryCode".to_owned(), json!("US")));
                values.extend((0..keys).map(|number| (format!("article-{number:04}"), article(number))));
            }
            Self::Text(bytes) => values.push(("text".to_owned(), json!("x".repeat(bytes)))),
        }
        values
    }
}

fn article(number: usize) -> Value {
    json!({"sku": format!("mug-{number:06}"), "name": "Stoneware mug, 350 ml, cobalt", "quantity": 2, "price": "18.90 EUR"})
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Returns a number that was not written before.
pub fn next() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Returns the number that was written last.
pub fn latest() -> u64 {
    NUMBERS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carts_have_the_sizes_that_the_tables_name() {
        for (shape, bytes) in [(Shape::Cart(20), 2_000), (Shape::Cart(2_000), 200_000)] {
            let (_, cart) = shape.values().pop().unwrap();
            let len = cart.to_string().len();
            assert!(len.abs_diff(bytes) * 20 < bytes, "{len} instead of {bytes}");
        }
    }
}
