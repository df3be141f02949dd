//! What fits into a cookie, and what is refused.

use super::*;

#[test]
fn largest_record_fits_its_cookie_and_one_more_byte_is_refused() {
    let forty_days = Some(Duration::from_secs(34_560_000));
    for name in ["__Host-sid", "s", "sid", "a-rather-long-cookie-name"] {
        let cookie = SessionCookie::builder().name(name).build().unwrap();
        let store = bound(CookieStore::new(key(NEW)), name);
        let max = store.max_record_len().unwrap();
        let token = create(&store, &record_of_len(max)).unwrap();
        let header = cookie.set(&token, forty_days);
        assert!(header.len() <= 4_096 && header.len() > 4_096 - 144, "{} bytes", header.len());
        assert_eq!(load_at(&store, &token, start()), Loaded::Live(record_of_len(max).into()));

        let refused = create(&store, &record_of_len(max + 1)).unwrap_err();
        assert!(refused.is_too_large());
        let sizes = format!("the session would take {} bytes where the store allows {max}", max + 1);
        assert_eq!(refused.to_string(), sizes);
        let change = Change::Replace(record_of_len(max + 1).into(), Deadline::Set);
        let token = create(&store, &record(2)).unwrap();
        assert!(now(store.update(&token, version(2), &change, start())).unwrap_err().is_too_large());
    }
    assert_eq!(store(&[NEW]).max_record_len(), Some(2_900));
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
        assert!(max > last + 2_880, "{chunks} chunks carry {max} bytes");
        last = max;
        let text = text(&create(&store, &record_of_len(max)).unwrap());
        assert!(text.len() <= max_len && text.len() + 139 > max_len);
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
        assert_eq!(load_at(&store, &tokens[0], start()), Loaded::Live(record_of_len(max).into()));
    }
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
    let token = create(&chunked, &record_of_len(3_020)).unwrap();
    assert!(matches!(load_at(&chunked, &token, start()), Loaded::Live(_)));
    assert_eq!(load_at(&store(&[NEW]), &token, start()), Loaded::Absent);
}
