//! Tokens out of `Cookie` headers: one pass over the bytes, bounded whatever the client sends.

use std::ops::ControlFlow;

use http::header::{COOKIE, HeaderMap, HeaderName};

use crate::token::{SessionToken, TokenShape, is_plain};

/// How many well-formed tokens are tried.
const MAX_CANDIDATES: usize = 4;

/// What follows the name for each chunk.
pub(super) const SUFFIXES: [&str; 3] = ["", ".1", ".2"];

/// The tokens to try, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    first: Option<SessionToken>,
    // Apart, since there is hardly ever another.
    others: Vec<SessionToken>,
    /// Whether something under our name was no token.
    is_malformed: bool,
}

impl Candidates {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.others.len() == MAX_CANDIDATES - 1
    }

    /// Adds a token; one that is there already takes no second place.
    #[inline]
    fn push(&mut self, token: SessionToken) {
        match &self.first {
            None => self.first = Some(token),
            Some(first) if *first == token || self.others.contains(&token) => {}
            Some(_) => self.others.push(token),
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&SessionToken> {
        match at.checked_sub(1) {
            None => self.first.as_ref(),
            Some(at) => self.others.get(at),
        }
    }

    /// Takes one out; which the others are then is not said.
    #[inline]
    pub(crate) fn take(&mut self, at: usize) -> Option<SessionToken> {
        match at.checked_sub(1) {
            None => self.first.take(),
            Some(at) => (at < self.others.len()).then(|| self.others.swap_remove(at)),
        }
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = SessionToken> {
        self.first.into_iter().chain(self.others)
    }
}

/// The tokens of a header of its own, which proxies may have joined to one line.
pub(crate) fn header_candidates(name: &HeaderName, request: &HeaderMap, shape: TokenShape) -> Candidates {
    let mut found = Candidates::default();
    for value in request.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        if found.is_full() {
            break;
        }
        let value = trim(value);
        match SessionToken::parse(value, shape) {
            Some(token) => found.push(token),
            // Empty says that there is none yet.
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

#[inline]
pub(super) fn candidates(name: &str, request: &HeaderMap, shape: TokenShape) -> Candidates {
    let mut found = Candidates::default();
    let most = suffixes(shape).len();
    let mut chunks = (most > 1).then(|| Chunks::collect(name, request, shape));
    let _ = each_pair(request, |pair| {
        // Most pairs are somebody else's: look at nothing but the name.
        let Some(value) = value_of(pair, name) else { return ControlFlow::Continue(()) };
        let token = match (&mut chunks, value) {
            (Some(chunks), _) if chunks.joined.contains(&value) => return ControlFlow::Continue(()),
            (Some(chunks), [count @ b'2'..=b'3', b'.', first @ ..]) => {
                let text = chunks.join(usize::from(count - b'0'), first);
                chunks.joined.extend(text.as_ref().map(|_| value));
                text.and_then(|text| SessionToken::parse(&text, shape))
            }
            (Some(chunks), _) if !chunks.is_exactly(1) => None,
            _ => SessionToken::parse(value, shape),
        };
        match token {
            Some(token) => found.push(token),
            None => found.is_malformed = true,
        }
        if found.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if found.is_malformed {
        // One line a request, however many pairs it has.
        tracing::debug!(
            name: "session.cookie.malformed",
            cookie = name, "a request came with a malformed session cookie"
        );
    }
    found
}

/// What a request has under the name of a cookie that is not ours: the first few, each once.
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

/// The value of a pair of this name.
#[inline]
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes()).and_then(|rest| trim(rest).strip_prefix(b"=")).map(trim)
}

/// The suffixes of all cookies that a store's text may be spread over.
pub(super) fn suffixes(shape: TokenShape) -> &'static [&'static str] {
    match shape {
        TokenShape::Random => &SUFFIXES[..1],
        TokenShape::Sealed { max_chunks, .. } => &SUFFIXES[..usize::from(max_chunks).clamp(1, 3)],
    }
}

/// Shows all `;`-separated pairs of all `Cookie` headers, without the white space around them, until it is told to stop.
#[inline]
fn each_pair<'a>(request: &'a HeaderMap, mut look: impl FnMut(&'a [u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    for header in request.get_all(COOKIE) {
        let mut rest = header.as_bytes();
        while let Some(end) = memchr::memchr(b';', rest) {
            look(trim(&rest[..end]))?;
            rest = &rest[end + 1..];
        }
        look(trim(rest))?;
    }
    ControlFlow::Continue(())
}

/// Only SP and HTAB count as white space (RFC 6265bis); other kinds in names have hidden cookies before.
#[inline]
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The second and later chunks of a request.
struct Chunks<'a> {
    pieces: [Option<&'a [u8]>; 3],
    max_len: usize,
    /// The values of first cookies that made a text: at most as many as there are candidates.
    joined: Vec<&'a [u8]>,
    /// Whether there is a chunk that could belong to no set: a number out of range, a leading zero, a second one.
    strange: bool,
}

impl<'a> Chunks<'a> {
    /// What a larger number of chunks has left behind is none of these.
    fn collect(name: &str, request: &'a HeaderMap, shape: TokenShape) -> Self {
        let (max_len, most) = match shape {
            TokenShape::Random => (0, 1),
            TokenShape::Sealed { max_len, max_chunks } => (max_len, max_chunks),
        };
        let mut chunks = Self { pieces: [None; 3], max_len, joined: Vec::new(), strange: false };
        let _ = each_pair(request, |pair| {
            if let Some(rest) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b".")) {
                chunks.add(rest, most);
            }
            ControlFlow::Continue(())
        });
        chunks
    }

    /// Adds a chunk, of which what follows the dot is known.
    fn add(&mut self, rest: &'a [u8], most: u8) {
        let Some(at) = rest.iter().position(|byte| *byte == b'=') else { return };
        if let [b' ' | b'\t', ..] = rest {
            // Inside a name, white space makes it another.
            return;
        }
        let (number, value) = (trim(&rest[..at]), trim(&rest[at + 1..]));
        let slot = match number {
            b"1" => &mut self.pieces[1],
            b"2" if most > 2 => &mut self.pieces[2],
            b"2" => return,
            _ => {
                self.strange |= !number.is_empty() && number.iter().all(u8::is_ascii_digit);
                return;
            }
        };
        self.strange |= slot.replace(value).is_some() || !is_plain(value);
    }

    /// Whether a set of so many chunks is all there is.
    fn is_exactly(&self, count: usize) -> bool {
        !self.strange && (1..3).all(|chunk| self.pieces[chunk].is_some() == (chunk < count))
    }

    /// Joins a set. Thousands of first cookies may come with long pieces: nothing is copied that is no text.
    fn join(&self, count: usize, first: &[u8]) -> Option<Vec<u8>> {
        let len = self.pieces.iter().flatten().fold(first.len(), |len, piece| len.saturating_add(piece.len()));
        if !self.is_exactly(count) || len > self.max_len || !is_plain(first) {
            return None;
        }
        let mut text = Vec::with_capacity(len);
        text.extend_from_slice(first);
        self.pieces.iter().flatten().for_each(|piece| text.extend_from_slice(piece));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn found(headers: &[&[u8]], shape: TokenShape) -> Vec<String> {
        let mut request = HeaderMap::new();
        for header in headers {
            request.append(COOKIE, HeaderValue::from_bytes(header).unwrap());
        }
        candidates("id", &request, shape)
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
            let mut found = candidates("id", &request, TokenShape::Random);
            let token = SessionToken::parse(text.as_bytes(), TokenShape::Random).unwrap();
            assert_eq!(found.get(at), Some(&token));
            assert_eq!(found.take(at), Some(token), "{at}");
        }
        assert!(candidates("id", &request, TokenShape::Random).take(4).is_none());
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
            let found: Vec<_> = header_candidates(&name, &request, TokenShape::Random).into_iter().collect();
            let expected =
                expected.iter().map(|text| SessionToken::parse(text.as_bytes(), TokenShape::Random).unwrap());
            assert!(found.into_iter().eq(expected), "{values:?}");
        }
        let many = (0..100).map(|i| format!("{i:032}")).collect::<Vec<_>>().join(",");
        let request = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(&many).unwrap())]);
        assert_eq!(header_candidates(&name, &request, TokenShape::Random).into_iter().count(), MAX_CANDIDATES);
    }

    #[test]
    fn only_an_exact_set_of_chunks_counts() {
        let shape = TokenShape::sealed(100, 3);
        for (name, header, expected) in [
            ("one", "id=aa", vec!["aa"]),
            ("two", "id=2.aa; id.1=bb", vec!["aabb"]),
            ("three, in any order", "id.2=cc; id=3.aa; id.1=bb", vec!["aabbcc"]),
            ("one missing", "id=3.aa; id.1=bb", vec![]),
            ("one extra", "id=2.aa; id.1=bb; id.2=cc", vec![]),
            ("leading zero", "id=2.aa; id.01=bb", vec![]),
            ("leading zero beside a set", "id=2.aa; id.1=bb; id.01=cc", vec![]),
            ("out of range", "id=2.aa; id.1=bb; id.99=x", vec![]),
            ("huge number", "id=aa; id.999999=x", vec![]),
            ("twice", "id=2.aa; id.1=bb; id.1=cc", vec![]),
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
