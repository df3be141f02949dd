//! `Cookie` headers, read by the library and by the letter of the rules.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use tower_session_layer::{SessionCookie, SessionToken, TokenShape};

/// Bytes below this stand for what chance would hardly find; no header may contain them.
const MACROS: [&[u8]; 9] = [
    b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"________________________________",
    b"sid=",
    b"sid.1=",
    b"sid.2=",
    b"; sid=",
    b"2.",
    b"3.",
];

/// The first byte chooses the shape, line feeds end headers.
pub fn run(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let chunks = choice % 4;
    let shape = if chunks == 0 { TokenShape::Random } else { TokenShape::sealed(40, chunks) };
    let cookie = SessionCookie::builder().name("sid").build().unwrap();
    let mut request = HeaderMap::new();
    for header in text.split(|byte| *byte == b'\n').take(64) {
        let expanded: Vec<u8> = header
            .iter()
            .flat_map(|byte| match usize::from(*byte).checked_sub(1).and_then(|at| MACROS.get(at)) {
                Some(text) if *byte != b'\t' => text.to_vec(),
                _ => vec![*byte],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_bytes(&expanded) {
            request.append(COOKIE, value);
        }
    }
    let found = cookie.tokens(&request, shape);
    let texts: Vec<_> = found.iter().map(|token| text_of(&cookie, token)).collect();
    assert_eq!(texts, by_the_letter(&request, chunks), "{:?} of {chunks}", request);

    for (token, text) in found.iter().zip(&texts) {
        // What is sent back is the same token.
        let mut again = HeaderMap::new();
        again.insert(COOKIE, HeaderValue::from_bytes(&[b"a=b; sid=", text.as_slice()].concat()).unwrap());
        assert_eq!(cookie.tokens(&again, shape), std::slice::from_ref(token));
    }
}

fn text_of(cookie: &SessionCookie, token: &SessionToken) -> Vec<u8> {
    let header = cookie.set(token, None);
    let pair = header.as_bytes().split(|byte| *byte == b';').next().unwrap();
    pair.strip_prefix(b"sid=").unwrap().to_vec()
}

/// All pairs of all headers: white space is SP and HTAB, the name ends at the first `=`.
fn pairs(request: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let trim = |text: &[u8]| {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
        let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
        text[start..end].to_vec()
    };
    let headers = request.get_all(COOKIE).iter();
    headers
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((trim(&pair[..at]), trim(&pair[at + 1..])))
        })
        .collect()
}

/// The texts of the first four different tokens, as the rules have it.
fn by_the_letter(request: &HeaderMap, chunks: u8) -> Vec<Vec<u8>> {
    let pairs = pairs(request);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for (_, value) in pairs.iter().filter(|(name, _)| name == b"sid") {
        let whole = if chunks < 2 { Some(value.clone()) } else { join(&pairs, value, usize::from(chunks)) };
        let Some(text) = whole else { continue };
        let plain = text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        let fits = if chunks == 0 { text.len() == 32 } else { (1..=40).contains(&text.len()) };
        if plain && fits && !found.contains(&text) {
            found.push(text);
        }
    }
    found.truncate(4);
    found
}

/// One cookie alone, or `N.` and the first of N pieces, each of which has one value. Anything else does not count.
fn join(pairs: &[(Vec<u8>, Vec<u8>)], value: &[u8], most: usize) -> Option<Vec<u8>> {
    let (count, first) = match value {
        [b'2', b'.', first @ ..] => (2, first),
        [b'3', b'.', first @ ..] if most == 3 => (3, first),
        whole => (1, whole),
    };
    let is_piece = |value: &[u8]| {
        !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    let mut text = first.to_vec();
    for number in 1..count {
        let name = format!("sid.{number}").into_bytes();
        let mut values: Vec<_> = pairs.iter().filter(|pair| pair.0 == name && is_piece(&pair.1)).collect();
        values.dedup();
        let [(_, piece)] = values[..] else { return None };
        text.extend_from_slice(piece);
    }
    Some(text)
}
