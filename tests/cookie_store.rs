//! The session in the client's cookie: what its seal keeps out, how its keys rotate, how its deadlines hold.

use std::collections::HashSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use tower_session_layer::store::{
    Change, Created, Deadline, Deleted, Head, Loaded, Record, Revoke, Tombstone, TombstoneKind, Updated, Version,
};
use tower_session_layer::{
    ConfigError, CookieKey, CookieStore, SessionCookie, SessionStore, SessionToken, StoreError, TokenShape,
};

const MINUTE: Duration = Duration::from_secs(60);
const OLD: u8 = 1;
const NEW: u8 = 2;

/// Polls once: the store says that it never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an immediate store waited"),
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn key(secret: u8) -> CookieKey {
    CookieKey::new(&[secret; 32]).unwrap()
}

fn bound(mut store: CookieStore, cookie: &str) -> CookieStore {
    store.bind(&SessionCookie::builder().name(cookie).build().unwrap());
    store
}

fn store(secrets: &[u8]) -> CookieStore {
    bound(CookieStore::builder(secrets.iter().copied().map(key)).build().unwrap(), "__Host-sid")
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A record whose one value is this JSON, live for an hour.
fn record_of(number: u64, json: &str) -> Record {
    let mut body = vec![1];
    [0; 4].iter().for_each(|time: &u64| body.extend(time.to_be_bytes()));
    body.extend([8; 16]);
    body.extend([0; 24]);
    body.push(0);
    body.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4]);
    body.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    body.extend(b"user");
    body.extend(json.as_bytes());
    let head = Head::new(Some(version(number)), start() + 60 * MINUTE, start(), Some("ada".into()));
    Record::decode(head, &body).unwrap()
}

fn record(number: u64) -> Record {
    record_of(number, "\"marker\"")
}

/// A record of exactly so many bytes.
fn record_of_len(len: usize) -> Record {
    let text = "x".repeat(len - record_of(1, "\"\"").encoded_len());
    record_of(1, &format!("\"{text}\""))
}

fn create(store: &CookieStore, record: &Record) -> Result<SessionToken, StoreError> {
    let fresh = SessionToken::from_random([5; 24]);
    now(store.create(&fresh, record, start())).map(|created| match created {
        Created::Instead(token) => token,
        other => panic!("{other:?}"),
    })
}

fn sealed(store: &CookieStore) -> String {
    text(&create(store, &record(1)).unwrap())
}

fn text(token: &SessionToken) -> String {
    str::from_utf8(token.secret()).unwrap().to_owned()
}

fn load_at(store: &CookieStore, token: &SessionToken, at: SystemTime) -> Loaded {
    now(store.load(token, at)).unwrap()
}

fn load(store: &CookieStore, text: &str) -> Loaded {
    SessionToken::from_sealed(text.to_owned()).map_or(Loaded::Absent, |token| load_at(store, &token, start()))
}

fn instead(updated: Result<Updated, StoreError>) -> SessionToken {
    match updated.unwrap() {
        Updated::Instead(token) => token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sealed_session_is_read_back_and_holds_nothing_readable() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    assert_eq!(load_at(&store, &token, start()), Loaded::Live(record(1)));
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
    assert_eq!(load_at(&store, &SessionToken::from_random([1; 24]), start()), Loaded::Absent);
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
    assert_eq!(load_at(&ring, &token, start()), Loaded::Outdated(record(1)));
    let token = instead(now(ring.touch(&token, version(1), start(), start())));
    assert_eq!(load_at(&ring, &token, start()), Loaded::Live(record(1)));
    assert_eq!(load_at(&store(&[NEW]), &token, start()), Loaded::Live(record(1)));
    assert_eq!(load_at(&store(&[OLD]), &token, start()), Loaded::Absent);
}

#[test]
fn fresh_cookie_is_sealed_with_the_first_key_only() {
    let ring = store(&[NEW, OLD, 3]);
    let token = create(&ring, &record(1)).unwrap();
    let change = Change::Replace(record(2), Deadline::Keep);
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
fn largest_record_fits_its_cookie_and_one_more_byte_is_refused() {
    let forty_days = Some(Duration::from_secs(34_560_000));
    for name in ["__Host-sid", "s", "sid", "a-rather-long-cookie-name"] {
        let cookie = SessionCookie::builder().name(name).build().unwrap();
        let store = bound(CookieStore::new(key(NEW)), name);
        let max = store.max_record_len().unwrap();
        let token = create(&store, &record_of_len(max)).unwrap();
        let header = cookie.set(&token, forty_days);
        assert!(header.len() <= 4_096 && header.len() > 4_096 - 48, "{} bytes", header.len());
        assert_eq!(load_at(&store, &token, start()), Loaded::Live(record_of_len(max)));

        let refused = create(&store, &record_of_len(max + 1)).unwrap_err();
        assert!(refused.is_too_large());
        let sizes = format!("the session would take {} bytes where the store allows {max}", max + 1);
        assert_eq!(refused.to_string(), sizes);
        let change = Change::Replace(record_of_len(max + 1), Deadline::Set);
        let token = create(&store, &record(2)).unwrap();
        assert!(now(store.update(&token, version(2), &change, start())).unwrap_err().is_too_large());
    }
    assert_eq!(store(&[NEW]).max_record_len(), Some(2_916));
}

#[test]
fn chunks_make_room_for_more_and_read_back_as_one() {
    let cookie = SessionCookie::builder().build().unwrap();
    let mut last = 0;
    for chunks in 1..=3 {
        let store = CookieStore::builder([key(NEW)]).max_chunks(chunks).build().unwrap();
        let store = bound(store, "__Host-sid");
        let TokenShape::Sealed { max_len, max_chunks, .. } = store.token_shape() else { panic!() };
        assert_eq!(max_chunks, chunks);
        let max = store.max_record_len().unwrap();
        assert!(max > last + 2_900, "{chunks} chunks carry {max} bytes");
        last = max;
        let text = text(&create(&store, &record_of_len(max)).unwrap());
        assert!(text.len() <= max_len && text.len() + 43 > max_len);
        assert!(create(&store, &record_of_len(max + 1)).unwrap_err().is_too_large());

        let pieces: Vec<_> = text.as_bytes().chunks(text.len().div_ceil(chunks.into())).collect();
        let count = if chunks > 1 { format!("{chunks}.") } else { String::new() };
        let pairs = pieces.iter().zip(["", ".1", ".2"]).map(|(piece, suffix)| {
            let count = if suffix.is_empty() { count.as_str() } else { "" };
            format!("__Host-sid{suffix}={count}{}", str::from_utf8(piece).unwrap())
        });
        let sent = pairs.collect::<Vec<_>>().join("; ");
        let mut request = HeaderMap::new();
        request.insert("cookie", sent.parse().unwrap());
        let tokens = cookie.tokens(&request, store.token_shape());
        assert_eq!(load_at(&store, &tokens[0], start()), Loaded::Live(record_of_len(max)));
    }
}

#[test]
fn ended_session_is_absent_and_a_clock_that_steps_back_revives_nothing() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let mut later = record(2);
    later.touch(start() + 61 * MINUTE, start());
    let later = create(&store, &later).unwrap();
    let end = start() + 60 * MINUTE;
    assert!(matches!(load_at(&store, &token, end - Duration::from_micros(1)), Loaded::Live(_)));
    // A wild step forward ends the one session that is asked for, and no other.
    assert_eq!(load_at(&store, &token, start() + 1_000_000 * MINUTE), Loaded::Absent);
    assert_eq!(load_at(&store, &token, start()), Loaded::Absent);
    assert_eq!(load_at(&store.clone(), &token, start()), Loaded::Absent);
    assert!(matches!(load_at(&store, &later, start()), Loaded::Live(_)));

    let change = Change::Replace(record(3), Deadline::Extend);
    assert_eq!(now(store.update(&token, version(1), &change, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.touch(&token, version(1), end + MINUTE, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.delete(&token, MINUTE, start())).unwrap(), Deleted::Absent);
    assert_eq!(load_at(&store, &later, end + MINUTE), Loaded::Absent);
}

#[test]
fn deadline_itself_is_already_too_late_for_every_method() {
    let end = start() + 60 * MINUTE;
    // A store each: the first that finds it ended would remember.
    let token = create(&store(&[NEW]), &record(1)).unwrap();
    assert_eq!(load_at(&store(&[NEW]), &token, end), Loaded::Absent);
    let change = Change::Replace(record(2), Deadline::Set);
    assert_eq!(now(store(&[NEW]).update(&token, version(1), &change, end)).unwrap(), Updated::Gone);
    assert_eq!(now(store(&[NEW]).touch(&token, version(1), end + MINUTE, end)).unwrap(), Updated::Gone);
    assert_eq!(now(store(&[NEW]).delete(&token, MINUTE, end)).unwrap(), Deleted::Absent);
}

#[test]
fn update_compares_versions_and_moves_the_deadline_as_asked() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let mut next = record_of(2, "\"next\"");
    next.touch(start() + 90 * MINUTE, start());
    for (deadline, minutes) in [(Deadline::Keep, 60), (Deadline::Extend, 90), (Deadline::Set, 90)] {
        let change = Change::Replace(next.clone(), deadline);
        assert_eq!(now(store.update(&token, version(9), &change, start())).unwrap(), Updated::Conflict);
        let written = instead(now(store.update(&token, version(1), &change, start())));
        let Loaded::Live(loaded) = load_at(&store, &written, start()) else { panic!("{deadline:?}") };
        assert_eq!(loaded.deadline(), start() + minutes * MINUTE, "{deadline:?}");
        assert_eq!(loaded.encode(), next.encode());
        // Sent again with the answer already in hand: nothing changes.
        assert_eq!(instead(now(store.update(&written, version(1), &change, start()))), written);
    }
    let forged = SessionToken::from_sealed("AAAA".into()).unwrap();
    let change = Change::Replace(next, Deadline::Set);
    assert_eq!(now(store.update(&forged, version(1), &change, start())).unwrap(), Updated::Gone);
}

#[test]
fn retiring_and_deleting_answer_for_what_is_live_and_a_copy_survives() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let forged = SessionToken::from_sealed("AAAA".into()).unwrap();
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, start()));
    assert_eq!(now(store.update(&token, version(9), &retire, start())).unwrap(), Updated::Conflict);
    assert_eq!(now(store.update(&forged, version(1), &retire, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.update(&token, version(1), &retire, start())).unwrap(), Updated::Done);
    assert_eq!(now(store.delete(&token, MINUTE, start())).unwrap(), Deleted::Done);
    assert_eq!(now(store.delete(&forged, MINUTE, start())).unwrap(), Deleted::Absent);
    assert_eq!(load_at(&store, &token, start()), Loaded::Live(record(1)));
}

#[test]
fn touch_moves_the_deadline_later_and_nothing_else() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let (sooner, later) = (start() + MINUTE, start() + 90 * MINUTE);
    let mut touched = record(1);
    touched.touch(later, sooner);
    let moved = instead(now(store.touch(&token, version(1), later, sooner)));
    assert_eq!(load_at(&store, &moved, start()), Loaded::Live(touched.clone()));
    let again = instead(now(store.touch(&moved, version(1), sooner, sooner)));
    assert_eq!(load_at(&store, &again, start()), Loaded::Live(touched));
    assert_eq!(now(store.touch(&token, version(9), later, sooner)).unwrap(), Updated::Conflict);
}

#[test]
fn what_the_client_holds_cannot_be_listed_revoked_or_swept() {
    let store = store(&[NEW]);
    assert!(now(store.owned("ada", start())).unwrap_err().is_unsupported());
    assert!(now(store.revoke("ada", Revoke::All, MINUTE, start())).unwrap_err().is_unsupported());
    assert_eq!(now(store.sweep(100, start())).unwrap(), 0);
    assert!(store.is_immediate() && store.sweep_interval().is_none());
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
fn impossible_options_are_refused() {
    assert_eq!(CookieStore::builder([]).build().unwrap_err(), ConfigError::NoKey);
    for chunks in [0, 4, 255] {
        let refused = CookieStore::builder([key(NEW)]).max_chunks(chunks).build();
        assert_eq!(refused.unwrap_err(), ConfigError::MaxChunks(chunks));
    }
}

#[test]
fn long_attributes_leave_less_room() {
    let (path, domain) = (format!("/{}", "p".repeat(1_023)), "d".repeat(1_024));
    let cookie = SessionCookie::builder().name("n".repeat(1_024)).path(path).domain(domain).build().unwrap();
    let mut store = CookieStore::new(key(NEW));
    store.bind(&cookie);
    let max = store.max_record_len().unwrap();
    let token = create(&store, &record_of_len(max)).unwrap();
    assert!(cookie.set(&token, Some(Duration::MAX)).len() <= 4_096);
    assert!(create(&store, &record_of_len(max + 1)).unwrap_err().is_too_large());
}

#[test]
fn authentic_text_too_long_for_the_cookie_is_absence() {
    let chunked = bound(CookieStore::builder([key(NEW)]).max_chunks(2).build().unwrap(), "__Host-sid");
    let token = create(&chunked, &record_of_len(2_917)).unwrap();
    assert!(matches!(load_at(&chunked, &token, start()), Loaded::Live(_)));
    assert_eq!(load_at(&store(&[NEW]), &token, start()), Loaded::Absent);
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?} {:?}", store(&[77]), CookieStore::builder([key(77)]));
    assert!(!shown.contains("77, 77") && shown.contains("CookieStore") && shown.contains("__Host-sid"), "{shown}");
}
