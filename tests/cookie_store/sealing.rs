//! What a sealed value gives away, and what opens it.

use super::*;
use crate::support::scope;

#[test]
fn sealed_session_is_read_back_and_holds_nothing_readable() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    assert_eq!(load_at(&store, &token, start()), Loaded::Live(record(1).into()));
    let bytes = URL_SAFE_NO_PAD.decode(text(&token)).unwrap();
    for secret in [b"marker".as_slice(), b"user", b"ada", &[NEW; 4]] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn any_flipped_bit_is_absence() {
    let store = store(&[NEW]);
    let bytes = URL_SAFE_NO_PAD.decode(sealed(&store)).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(load(&store, &URL_SAFE_NO_PAD.encode(flipped)), Loaded::Absent, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn any_replaced_or_missing_character_is_absence() {
    let store = store(&[NEW]);
    let whole = sealed(&store);
    for at in 0..whole.len() {
        assert_eq!(load(&store, &whole[..at]), Loaded::Absent, "cut at {at}");
        assert_eq!(load(&store, &whole[at + 1..]), Loaded::Absent, "begins after {at}");
        for other in (0..128_u8).map(char::from).filter(|other| !whole[at..].starts_with(*other)) {
            let replaced = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
            assert_eq!(load(&store, &replaced), Loaded::Absent, "{other:?} at {at}");
        }
    }
    for longer in [format!("{whole}A"), format!("{whole}AAAA"), format!("A{whole}"), format!("{whole}{whole}")] {
        assert_eq!(load(&store, &longer), Loaded::Absent);
    }
}

#[test]
fn stray_bits_in_the_last_digit_are_absence() {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let store = store(&[NEW]);
    let (mut strays, mut len) = (0, 0);
    // Three lengths in a row: one of them has no spare bits, the others two and four.
    while strays < 2 {
        let whole = text(&create(&store, &record_of_len(200 + len)).unwrap());
        len += 32;
        let last = digits.iter().position(|digit| whole.as_bytes().last() == Some(digit)).unwrap();
        if whole.len().is_multiple_of(4) {
            continue;
        }
        strays += 1;
        let other = format!("{}{}", &whole[..whole.len() - 1], char::from(digits[last + 1]));
        assert!(matches!(load(&store, &whole), Loaded::Live(_)));
        assert_eq!(load(&store, &other), Loaded::Absent, "{} characters", whole.len());
    }
}

#[test]
fn foreign_input_is_absence() {
    let store = store(&[NEW]);
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let header = &URL_SAFE_NO_PAD.decode(sealed(&store)).unwrap()[..9];
    for (what, input) in [
        ("a digit", "A".into()),
        ("1 MB", "A".repeat(1 << 20)),
        ("1 MB that begins well", format!("{}{}", sealed(&store), "A".repeat(1 << 20))),
        ("plaintext JSON", URL_SAFE_NO_PAD.encode(br#"{"user":"admin"}"#)),
        ("nested JSON", URL_SAFE_NO_PAD.encode(nested)),
        ("an unsealed record", URL_SAFE_NO_PAD.encode(record(1).encode())),
        ("a record behind our header", URL_SAFE_NO_PAD.encode([header, &[0; 24], &record(1).encode()].concat())),
        ("our header alone", URL_SAFE_NO_PAD.encode(header)),
        ("no ciphertext", URL_SAFE_NO_PAD.encode([header, &[0; 40]].concat())),
        ("no whole tag", URL_SAFE_NO_PAD.encode([header, &[0; 39]].concat())),
    ] {
        assert_eq!(load(&store, &input), Loaded::Absent, "{what}");
    }
    assert_eq!(load_at(&store, &SessionToken::from_random([1; 24], scope()), start()), Loaded::Absent);
}

#[test]
fn another_cookie_or_audience_does_not_open_it() {
    let of = |audience: &str| CookieStore::builder([key(NEW)]).audience(audience).build().unwrap();
    let text = sealed(&bound(of("shop"), "a"));
    assert!(matches!(load(&bound(of("shop"), "a"), &text), Loaded::Live(_)));
    assert_eq!(load(&bound(of("shop"), "b"), &text), Loaded::Absent);
    assert_eq!(load(&bound(of("admin"), "a"), &text), Loaded::Absent);
    assert_eq!(load(&bound(of(""), "a"), &text), Loaded::Absent);
}

#[test]
fn old_key_opens_and_the_first_reseals() {
    let token = create(&store(&[OLD]), &record(1)).unwrap();
    let ring = store(&[NEW, OLD]);
    assert_eq!(load_at(&ring, &token, start()), Loaded::Outdated(record(1).into()));
    let token = instead(now(ring.touch(&token, version(1), start(), start())));
    assert_eq!(load_at(&ring, &token, start()), Loaded::Live(record(1).into()));
    assert_eq!(load_at(&store(&[NEW]), &token, start()), Loaded::Live(record(1).into()));
    assert_eq!(load_at(&store(&[OLD]), &token, start()), Loaded::Absent);
}

#[test]
fn fresh_cookie_is_sealed_with_the_first_key_only() {
    let ring = store(&[NEW, OLD, 3]);
    let token = create(&ring, &record(1)).unwrap();
    let change = Change::Replace(record(2).into(), Deadline::Keep);
    let written = instead(now(ring.update(&token, version(1), &change, start())));
    for token in [token, written] {
        assert!(matches!(load_at(&store(&[NEW]), &token, start()), Loaded::Live(_)));
        assert_eq!(load_at(&store(&[OLD]), &token, start()), Loaded::Absent);
        assert_eq!(load_at(&store(&[3]), &token, start()), Loaded::Absent);
    }
}

#[test]
fn removed_and_unknown_keys_open_nothing() {
    let text = sealed(&store(&[OLD]));
    assert!(matches!(load(&store(&[OLD]), &text), Loaded::Live(_)));
    assert_eq!(load(&store(&[NEW, 3, 4]), &text), Loaded::Absent);
}

#[test]
fn small_differences_do_not_show_in_the_length() {
    let store = store(&[NEW]);
    let len = |json| text(&create(&store, &record_of(1, json)).unwrap()).len();
    assert_eq!(len(r#""abcdefgh""#), len(r#""abcdefghijklmnop""#));
    let len = |count| text(&create(&store, &record_of_len(count)).unwrap()).len();
    let lens: HashSet<_> = (200..456).map(len).collect();
    assert!(lens.len() <= 9, "{} lengths in 256 bytes", lens.len());
    // Nothing is compressed: what repeats takes as much room as what does not.
    assert!(len(2_200) > len(200) + 2_000);
}

#[test]
fn nonces_do_not_repeat() {
    let store = store(&[NEW]);
    let nonce = |_| URL_SAFE_NO_PAD.decode(sealed(&store)).unwrap()[9..33].to_vec();
    let nonces: HashSet<_> = (0..10_000).map(nonce).collect();
    assert_eq!(nonces.len(), 10_000);
}

#[test]
fn store_without_its_cookie_seals_and_opens_nothing() {
    let unbound = CookieStore::new(key(NEW));
    assert_eq!(unbound.token_shape(), TokenShape::sealed(0, 1));
    assert_eq!(unbound.max_record_len(), Some(0));
    let refused = create(&unbound, &record(1)).unwrap_err();
    assert!(refused.to_string().contains("`bind`") && !refused.is_too_large());
    let token = create(&store(&[NEW]), &record(1)).unwrap();
    assert_eq!(load_at(&unbound, &token, start()), Loaded::Absent);
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?} {:?}", store(&[77]), CookieStore::builder([key(77)]));
    assert!(!shown.contains("77, 77") && shown.contains("CookieStore") && shown.contains("__Host-sid"), "{shown}");
}
