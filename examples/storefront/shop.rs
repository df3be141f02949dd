//! The products, the countries, and the values that the shop keeps in a session.

use std::collections::BTreeMap;

use tower_session_layer::SessionKey;

use crate::html::Html;

/// The country that a visitor chose.
pub(crate) const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
/// The quantity of each product in the cart, by `sku`.
pub(crate) const CART: SessionKey<Cart> = SessionKey::new("cart");
/// The key of the flash that the next page shows.
pub(crate) const NOTICE: &str = "notice";

/// The most of one product that a form puts into a cart. The API accepts any quantity and any article.
pub(crate) const MOST: u32 = 999;

pub(crate) type Cart = BTreeMap<String, u32>;

/// Returns whether the cart can hold `quantity` more of a product.
pub(crate) fn has_room(cart: &Cart, sku: &str, quantity: u32) -> bool {
    cart.get(sku).copied().unwrap_or_default().saturating_add(quantity) <= MOST
}

/// Returns the cart with up to `quantity` more of a product: another request may have used up the room.
pub(crate) fn added(cart: Option<Cart>, sku: &str, quantity: u32, most: u32) -> Cart {
    let mut cart = cart.unwrap_or_default();
    let line = cart.entry(sku.to_owned()).or_default();
    *line = line.saturating_add(quantity).min(most);
    cart
}

/// Returns the cart with exactly `quantity` of a product; zero removes the product.
pub(crate) fn changed(cart: Option<Cart>, sku: &str, quantity: u32) -> Cart {
    let mut cart = cart.unwrap_or_default();
    match quantity {
        0 => cart.remove(sku),
        more => cart.insert(sku.to_owned(), more),
    };
    cart
}

pub(crate) struct Product {
    pub(crate) sku: &'static str,
    pub(crate) name: &'static str,
    pub(crate) tagline: &'static str,
    pub(crate) story: &'static str,
    pub(crate) made: &'static str,
    euros: u32,
    art: &'static str,
}

impl Product {
    pub(crate) fn find(sku: &str) -> Option<&'static Self> {
        PRODUCTS.iter().find(|product| product.sku == sku)
    }

    /// Returns the drawing. It is decoration only: the name stands beside it.
    pub(crate) fn art(&self) -> Html {
        Html::trusted(self.art)
    }
}

pub(crate) const PRODUCTS: &[Product] = &[
    Product {
        sku: "mug",
        name: "Harbour mug",
        tagline: "Stoneware that keeps both hands warm",
        story: "Thrown thick at the base and thin at the lip, so that coffee stays hot and drinking stays pleasant. \
                The glaze breaks over the rim the way the tide leaves the quay.",
        made: "Stoneware, 320 ml, dishwasher safe",
        euros: 24,
        art: include_str!("art/mug.svg"),
    },
    Product {
        sku: "teapot",
        name: "Long-evening teapot",
        tagline: "Four cups, one conversation",
        story: "A low, round belly for leaves that want room, a spout that does not drip, and a lid that stays on \
                when you pour the last cup. The oak handle never gets hot.",
        made: "Stoneware and oiled oak, 900 ml",
        euros: 58,
        art: include_str!("art/teapot.svg"),
    },
    Product {
        sku: "bowl",
        name: "Supper bowl",
        tagline: "Deep enough for soup, wide enough for pasta",
        story: "The bowl that is always in the drying rack because everybody reaches for it first. Its foot is \
                left unglazed, so it sits still on any table.",
        made: "Stoneware, 18 cm across",
        euros: 32,
        art: include_str!("art/bowl.svg"),
    },
    Product {
        sku: "candle",
        name: "Cedar candle",
        tagline: "Forty hours of a walk in the woods",
        story: "Cedar, a little smoke and the resin that sticks to your sleeve. Poured into a tumbler that goes \
                on serving as one when the wax is gone.",
        made: "Rapeseed wax, cotton wick, 220 g",
        euros: 28,
        art: include_str!("art/candle.svg"),
    },
    Product {
        sku: "lamp",
        name: "Porch lamp",
        tagline: "Light that does not call for attention",
        story: "A linen shade over a turned ash foot. Dim it to the brightness of a lantern and leave it on for \
                whoever comes home last.",
        made: "Ash and linen, 46 cm, 2,700 K",
        euros: 89,
        art: include_str!("art/lamp.svg"),
    },
    Product {
        sku: "blanket",
        name: "Driftwood blanket",
        tagline: "Heavy wool with a soft conscience",
        story: "Woven from the wool of one valley, undyed, in the order in which the sheep came down from the hill. \
                It gets softer with every winter.",
        made: "Pure new wool, 140 × 200 cm",
        euros: 120,
        art: include_str!("art/blanket.svg"),
    },
    Product {
        sku: "notebook",
        name: "Field notebook",
        tagline: "Opens flat, forgives rain",
        story: "Thread-sewn, so that it lies open on a knee or a rock. The paper takes pencil, fountain pen and the \
                odd pressed leaf.",
        made: "A5, 160 dotted pages, recycled cover",
        euros: 14,
        art: include_str!("art/notebook.svg"),
    },
    Product {
        sku: "tote",
        name: "Market tote",
        tagline: "For leeks, books and small dogs",
        story: "A flat base keeps the eggs upright, a pocket inside keeps the keys findable, and the handles are \
                long enough for a winter coat.",
        made: "Heavy organic canvas, carries 15 kg",
        euros: 22,
        art: include_str!("art/tote.svg"),
    },
];

pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) arrives: &'static str,
    symbol: &'static str,
    /// The price of a thousand euros here, and the unit to which prices are rounded.
    per_thousand: u64,
    round_to: u64,
    shipping: u64,
    free_from: u64,
}

impl Country {
    pub(crate) fn find(code: &str) -> Option<&'static Self> {
        COUNTRIES.iter().find(|country| country.code == code)
    }

    /// Returns what a product costs here, in whole units of the currency.
    pub(crate) fn price(&self, product: &Product) -> u64 {
        let thousandths = u64::from(product.euros) * self.per_thousand;
        (thousandths + 500 * self.round_to) / (1000 * self.round_to) * self.round_to
    }

    pub(crate) fn shipping(&self, goods: u64) -> u64 {
        if goods == 0 || goods >= self.free_from { 0 } else { self.shipping }
    }

    pub(crate) fn promise(&self) -> String {
        format!("Free shipping from {}, at your door in {}", self.money(self.free_from), self.arrives)
    }

    /// Writes an amount as `¥3,840`.
    pub(crate) fn money(&self, amount: u64) -> String {
        let digits = amount.to_string();
        let mut text = self.symbol.to_owned();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }
}

/// The countries. The first one is the shop's own, for visitors who have not chosen.
#[rustfmt::skip]
pub(crate) const COUNTRIES: &[Country] = &[
    Country { code: "DE", name: "Germany", symbol: "€", per_thousand: 1_000, round_to: 1, shipping: 5, free_from: 60, arrives: "1–2 days" },
    Country { code: "FR", name: "France", symbol: "€", per_thousand: 1_000, round_to: 1, shipping: 7, free_from: 70, arrives: "2–3 days" },
    Country { code: "GB", name: "United Kingdom", symbol: "£", per_thousand: 860, round_to: 1, shipping: 6, free_from: 60, arrives: "2–4 days" },
    Country { code: "US", name: "United States", symbol: "$", per_thousand: 1_080, round_to: 1, shipping: 9, free_from: 90, arrives: "4–6 days" },
    Country { code: "CA", name: "Canada", symbol: "CA$", per_thousand: 1_480, round_to: 1, shipping: 12, free_from: 120, arrives: "4–7 days" },
    Country { code: "JP", name: "Japan", symbol: "¥", per_thousand: 162_000, round_to: 10, shipping: 1_200, free_from: 15_000, arrives: "5–8 days" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_follow_the_country() {
        let [mug, tote] = ["mug", "tote"].map(|sku| Product::find(sku).unwrap());
        for (code, of_mug, of_tote) in [("DE", "€24", "€22"), ("US", "$26", "$24"), ("JP", "¥3,890", "¥3,560")] {
            let country = Country::find(code).unwrap();
            assert_eq!(country.money(country.price(mug)), of_mug, "{code}");
            assert_eq!(country.money(country.price(tote)), of_tote, "{code}");
        }
        assert_eq!(COUNTRIES[0].money(1_234_567), "€1,234,567");
    }

    #[test]
    fn cart_counts_and_forgets() {
        let cart = added(Some(added(None, "mug", 1, MOST)), "mug", 2, MOST);
        assert_eq!(cart, Cart::from([("mug".to_owned(), 3)]));
        assert!(has_room(&cart, "mug", MOST - 3) && !has_room(&cart, "mug", MOST - 2) && has_room(&cart, "bowl", MOST));
        assert_eq!(added(Some(cart.clone()), "mug", u32::MAX, MOST)["mug"], MOST);
        assert_eq!(changed(Some(cart.clone()), "mug", 7)["mug"], 7);
        assert!(changed(Some(cart), "mug", 0).is_empty());
    }
}
