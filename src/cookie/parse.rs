//! Tokens out of the headers of a request, in one pass over the bytes, with a bound on the work whatever the client
//! sends.

use std::ops::ControlFlow;

use http::header::{HeaderMap, HeaderName};

use super::candidates::Candidates;
#[cfg(any(test, feature = "import"))]
use super::candidates::MAX_CANDIDATES;
use super::chunks::{Chunks, suffixes};
use super::pairs::{each_pair, trim, value_of};
use crate::token::{SessionToken, TokenScope, TokenShape};

/// Returns the tokens in the layer's own header. A proxy may have joined several such headers with commas.
pub(crate) fn header_candidates(
    name: &HeaderName,
    scope: TokenScope,
    request: &HeaderMap,
    shape: TokenShape,
) -> Candidates {
    let mut found = Candidates::default();
    for value in request.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        if found.is_full() {
            break;
        }
        let value = trim(value);
        match SessionToken::parse(value, shape, scope) {
            Some(token) => found.push(token),
            // A client without a token sends an empty value.
            None => found.is_malformed |= !value.is_empty(),
        }
    }
    if found.is_malformed {
        tracing::debug!(
            name: "session.header.malformed",
            header = %name, "a request came with a malformed session token"
        );
    }
    found
}

/// Returns the tokens in the cookies of this name.
#[inline]
pub(super) fn candidates(name: &str, scope: TokenScope, request: &HeaderMap, shape: TokenShape) -> Candidates {
    let mut found = Candidates::default();
    let most = suffixes(shape).len();
    let mut chunks = (most > 1).then(|| Chunks::collect(name, request, shape));
    let _ = each_pair(request, |pair| {
        // Most pairs belong to other cookies: look at the name alone.
        let Some(value) = value_of(pair, name) else { return ControlFlow::Continue(()) };
        let token = match (&mut chunks, value) {
            (Some(chunks), _) if chunks.joined.contains(&value) => return ControlFlow::Continue(()),
            (Some(chunks), [count @ b'2'..=b'3', b'.', first @ ..]) => {
                let text = chunks.join(usize::from(count - b'0'), first);
                chunks.joined.extend(text.as_ref().map(|_| value));
                text.and_then(|text| SessionToken::parse(&text, shape, scope))
            }
            _ => SessionToken::parse(value, shape, scope),
        };
        match token {
            Some(token) => found.push(token),
            None => found.is_malformed = true,
        }
        if found.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if found.is_malformed {
        // One line for a request, however many malformed pairs it has.
        tracing::debug!(
            name: "session.cookie.malformed",
            cookie = name, "a request came with a malformed session cookie"
        );
    }
    found
}

/// Returns the values that a request has under the name of another cookie: at most four, each once.
#[cfg(feature = "import")]
pub(crate) fn values<'a>(name: &str, request: &'a HeaderMap) -> Vec<&'a str> {
    let mut found = Vec::new();
    let _ = each_pair(request, |pair| {
        if let Some(value) = value_of(pair, name).and_then(|value| str::from_utf8(value).ok())
            && !value.is_empty()
            && !found.contains(&value)
        {
            found.push(value);
        }
        if found.len() == MAX_CANDIDATES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::COOKIE;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn found(headers: &[&[u8]], shape: TokenShape) -> Vec<String> {
        let mut request = HeaderMap::new();
        for header in headers {
            request.append(COOKIE, HeaderValue::from_bytes(header).unwrap());
        }
        candidates("id", TokenScope::of("id"), &request, shape)
            .into_iter()
            .map(|token| {
                let mut text = String::new();
                token.write_text(&mut text);
                text
            })
            .collect()
    }

    #[test]
    fn cookies_are_found_as_rfc_6265bis_says() {
        for (name, header, expected) in [
            ("alone", format!("id={A}"), vec![A]),
            ("among others", format!("a=1;id={A}; b=2"), vec![A]),
            ("white space around", format!("a=1;\t id = {A} \t;b=2"), vec![A]),
            ("two", format!("id={A}; id={B}"), vec![A, B]),
            ("the same twice", format!("id={A}; id={A}"), vec![A]),
            ("attributes echoed", format!("id={A}; Path=/; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), vec![A]),
            ("quoted", format!("id=\"{A}\""), vec![]),
            ("another case", format!("ID={A}"), vec![]),
            ("longer name", format!("idx={A}; xid={A}"), vec![]),
            ("nameless", format!("=id={A}; {A}"), vec![]),
            ("no value", "id; id=; id".into(), vec![]),
            ("version", format!("$Version=1; $id={A}"), vec![]),
            ("unicode space", format!("\u{2000}id={A}"), vec![]),
            ("bad pair first", format!("id=%00; id==; ;;; id={A}"), vec![A]),
        ] {
            assert_eq!(found(&[header.as_bytes()], TokenShape::Random), expected, "{name}");
        }
        assert_eq!(found(&[b"a=\xff", format!("id={A}").as_bytes()], TokenShape::Random), [A]);
    }

    #[test]
    fn at_most_four_candidates_are_tried() {
        let many: Vec<_> = (0..100).map(|i| format!("id={i:032}")).collect();
        assert_eq!(found(&[many.join(";").as_bytes()], TokenShape::Random).len(), 4);
    }

    #[test]
    fn each_candidate_is_taken_by_its_place() {
        let texts: Vec<_> = (0..4).map(|i| format!("{i:032}")).collect();
        let header = texts.iter().map(|text| format!("id={text}")).collect::<Vec<_>>().join("; ");
        let request = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&header).unwrap())]);
        for (at, text) in texts.iter().enumerate() {
            let mut found = candidates("id", TokenScope::of("id"), &request, TokenShape::Random);
            let token = SessionToken::parse(text.as_bytes(), TokenShape::Random, TokenScope::of("id")).unwrap();
            assert_eq!(found.get(at), Some(&token));
            assert_eq!(found.take(at), Some(token), "{at}");
        }
        assert!(candidates("id", TokenScope::of("id"), &request, TokenShape::Random).take(4).is_none());
    }

    #[test]
    fn a_header_of_its_own_holds_tokens_and_nothing_else() {
        let name = HeaderName::from_static("x-session");
        for (values, expected) in [
            (&[A][..], &[A][..]),
            (&["", A], &[A]),
            (&["AAAA, =, %00, \u{7f}x", &format!("{A} ,\t{B}")], &[A, B]),
            (&["id=BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"], &[]),
            (&[], &[]),
        ] {
            let mut request = HeaderMap::new();
            for value in values {
                request.append(&name, HeaderValue::from_bytes(value.replace('\u{7f}', " ").as_bytes()).unwrap());
            }
            let found: Vec<_> =
                header_candidates(&name, TokenScope::of("id"), &request, TokenShape::Random).into_iter().collect();
            let expected = expected
                .iter()
                .map(|text| SessionToken::parse(text.as_bytes(), TokenShape::Random, TokenScope::of("id")).unwrap());
            assert!(found.into_iter().eq(expected), "{values:?}");
        }
        let many = (0..100).map(|i| format!("{i:032}")).collect::<Vec<_>>().join(",");
        let request = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(&many).unwrap())]);
        assert_eq!(
            header_candidates(&name, TokenScope::of("id"), &request, TokenShape::Random).into_iter().count(),
            MAX_CANDIDATES
        );
    }

    #[test]
    fn a_set_of_chunks_has_one_reading_and_what_is_beyond_it_does_not_count() {
        let shape = TokenShape::sealed(100, 3);
        for (name, header, expected) in [
            ("one", "id=aa", vec!["aa"]),
            ("two", "id=2.aa; id.1=bb", vec!["aabb"]),
            ("three, in any order", "id.2=cc; id=3.aa; id.1=bb", vec!["aabbcc"]),
            ("one missing", "id=3.aa; id.1=bb", vec![]),
            ("a number beyond the set", "id=2.aa; id.1=bb; id.2=cc", vec!["aabb"]),
            ("twice beyond the set", "id=2.aa; id.1=bb; id.2=cc; id.2=dd", vec!["aabb"]),
            ("a number beside a whole text", "id=aa; id.1=bb", vec!["aa"]),
            ("leading zero", "id=2.aa; id.01=bb", vec![]),
            ("leading zero beside a set", "id=2.aa; id.1=bb; id.01=cc", vec!["aabb"]),
            ("out of range", "id=2.aa; id.1=bb; id.7=x; id.99=x", vec!["aabb"]),
            ("huge number", "id=aa; id.999999=x", vec!["aa"]),
            ("two readings", "id=2.aa; id.1=bb; id.1=cc", vec![]),
            ("two readings, three cookies", "id=2.aa; id.1=bb; id.1=cc; id.1=bb", vec![]),
            ("the same twice", "id=2.aa; id.1=bb; id.1=bb", vec!["aabb"]),
            ("no part of a text beside a set", "id=2.aa; id.1=%; id.1=bb; id.1=", vec!["aabb"]),
            ("count out of range", "id=4.aa; id.1=bb", vec![]),
            ("another cookie", "id=aa; id.x=1", vec!["aa"]),
            ("white space behind a name", "id=2.aa; id.1 =bb", vec!["aabb"]),
            ("white space inside a name", "id=2.aa; id. 1=bb", vec![]),
            ("white space inside a name beside a set", "id=2.aa; id.1=bb; id.\t1=cc", vec!["aabb"]),
        ] {
            assert_eq!(found(&[header.as_bytes()], shape), expected, "{name}");
        }
        assert_eq!(found(&[b"id=aa; id.1=bb"], TokenShape::sealed(100, 1)), ["aa"], "chunks are off");
    }
}
