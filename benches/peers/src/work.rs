//! What handlers do, and what a session holds.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// What a handler does with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Does not ask for it.
    Nothing,
    /// Reads [`USER`].
    Read,
    /// Gives [`COUNT`] a value that it never had.
    Write,
    /// Inserts [`USER`] into a session that there is not yet.
    Create,
}

/// What is measured: a work, and the session whose cookie the client sends.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub work: Work,
    pub session: Option<Shape>,
}

/// What a session holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A few small keys.
    Small,
    /// These, and one value of so many articles, some 100 bytes each.
    Cart(usize),
    /// These, and one such article in each of so many keys.
    Keys(usize),
    /// The user and the count, and one text of so many bytes.
    Text(usize),
}

/// The key that is read.
pub const USER: &str = "user";
/// Its value.
pub const ADA: &str = "ada";
/// The key that is written.
pub const COUNT: &str = "count";

impl Shape {
    /// Returns what a handler puts into a session of this shape.
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

/// Returns a number that was never written before.
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
