//! Tokens and removals in the headers of a response.

use std::time::Duration;

use http::HeaderValue;
use http::header::{Entry, HeaderMap, SET_COOKIE};

use super::chunks::{SUFFIXES, suffixes};
use super::{MAX_AGE, SessionCookie};
use crate::token::{SessionToken, TokenShape};

/// Bytes of name, value and attributes together that a browser must be able to keep (RFC 6265).
const COOKIE_LEN: usize = 4_096;
const MAX_AGE_NAME: &str = "; Max-Age=";
/// Bytes of the longest `Max-Age` attribute, `; Max-Age=34560000`.
const MAX_AGE_LEN: usize = 18;

impl SessionCookie {
    /// Returns the length of the longest token text that fits into this number of cookies of 4,096 bytes, attributes
    /// included.
    pub(crate) fn capacity(&self, chunks: u8) -> usize {
        let one = COOKIE_LEN.saturating_sub(self.name.len() + 1 + self.attributes.len() + MAX_AGE_LEN);
        if chunks <= 1 { one } else { usize::from(chunks) * one.saturating_sub(2) }
    }

    /// Appends the cookie that gives a token to the client, and the removals of the cookies of earlier deploys. A
    /// cookie of the same name that the handler set is discarded.
    ///
    /// If the shape allows several cookies, each of them is set or removed every time. So the response that arrives
    /// last leaves a whole set.
    pub(crate) fn append(
        &self,
        response: &mut HeaderMap,
        shape: TokenShape,
        token: &SessionToken,
        max_age: Option<Duration>,
    ) {
        self.append_token(response, shape, token, max_age);
        self.append_former_removals(response, shape);
    }

    fn append_token(
        &self,
        response: &mut HeaderMap,
        shape: TokenShape,
        token: &SessionToken,
        max_age: Option<Duration>,
    ) {
        let TokenShape::Sealed { max_chunks: chunks @ 2.., .. } = shape else {
            let value = self.render_token(token, max_age);
            // A response without any cookie has none of ours to discard.
            if let Entry::Vacant(first) = response.entry(SET_COOKIE) {
                first.insert(value);
            } else {
                self.discard(response, shape);
                append(response, value);
            }
            return;
        };
        self.discard(response, shape);
        let mut text = String::with_capacity(token.text_len());
        token.write_text(&mut text);
        if text.len() <= self.capacity(1) {
            append(response, self.render("", &text, max_age));
            (1..chunks).for_each(|chunk| {
                append(response, self.render_removal(SUFFIXES[usize::from(chunk)], &self.attributes));
            });
            return;
        }
        let piece = self.capacity(1).saturating_sub(2).max(1);
        let count = text.len().div_ceil(piece);
        let mut pieces = text.as_bytes().chunks(piece).filter_map(|piece| str::from_utf8(piece).ok());
        let first = format!("{count}.{}", pieces.next().unwrap_or_default());
        append(response, self.render("", &first, max_age));
        for suffix in &SUFFIXES[1..usize::from(chunks)] {
            append(
                response,
                pieces.next().map_or_else(
                    || self.render_removal(suffix, &self.attributes),
                    |piece| self.render(suffix, piece, max_age),
                ),
            );
        }
    }

    /// Appends the removal of the cookie and of all its chunks, and of those of earlier deploys.
    pub(crate) fn append_removal(&self, response: &mut HeaderMap, shape: TokenShape) {
        self.discard(response, shape);
        for suffix in suffixes(shape) {
            append(response, self.render_removal(suffix, &self.attributes));
        }
        self.append_former_removals(response, shape);
    }

    fn append_former_removals(&self, response: &mut HeaderMap, shape: TokenShape) {
        for attributes in &self.former {
            for suffix in suffixes(shape) {
                append(response, self.render_removal(suffix, attributes));
            }
        }
    }

    /// Discards the cookies that the handler itself set under our names: a response has at most one cookie of a name
    /// (RFC 6265bis, section 4.1.1).
    fn discard(&self, response: &mut HeaderMap, shape: TokenShape) {
        let ours = |value: &HeaderValue| {
            // The wire drops white space around a header's value, and the browser that around a cookie's name.
            let rest = value.as_bytes().trim_ascii_start().strip_prefix(self.name.as_bytes());
            rest.is_some_and(|rest| {
                suffixes(shape).iter().any(|suffix| {
                    rest.strip_prefix(suffix.as_bytes()).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
                })
            })
        };
        if !response.get_all(SET_COOKIE).iter().any(ours) {
            return;
        }
        let kept: Vec<_> = response.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
        response.remove(SET_COOKIE);
        for value in kept {
            append(response, value);
        }
    }

    /// Does what `render` does, for the common case, without a string in between.
    fn render_token(&self, token: &SessionToken, max_age: Option<Duration>) -> HeaderValue {
        self.finish("", token.text_len(), max_age, |out| token.write_text(out))
    }

    pub(super) fn render(&self, suffix: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        self.finish(suffix, value.len(), max_age, |out| out.push_str(value))
    }

    fn finish(
        &self,
        suffix: &str,
        len: usize,
        max_age: Option<Duration>,
        write_value: impl FnOnce(&mut String),
    ) -> HeaderValue {
        let mut digits = itoa::Buffer::new();
        // `Max-Age=0` removes a cookie, so a session that lives for less than a second gets 1.
        let seconds = |age: Duration| age.min(MAX_AGE).as_secs().max(u64::from(!age.is_zero()));
        let age = max_age.map(|age| digits.format(seconds(age)));
        let age_len = age.map_or(0, |age| MAX_AGE_NAME.len() + age.len());
        // The capacity is exact: a header takes a buffer over without a copy only if the buffer is full.
        let capacity = self.name.len() + suffix.len() + 1 + len + age_len + self.attributes.len();
        let mut out = String::with_capacity(capacity);
        out.push_str(&self.name);
        out.push_str(suffix);
        out.push('=');
        write_value(&mut out);
        if let Some(age) = age {
            out.push_str(MAX_AGE_NAME);
            out.push_str(age);
        }
        out.push_str(&self.attributes);
        secret_header(out)
    }

    pub(super) fn render_removal(&self, suffix: &str, attributes: &str) -> HeaderValue {
        let name = &self.name;
        secret_header(format!("{name}{suffix}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}"))
    }
}

/// Returns the value of the header that gives a token to a client without cookies.
pub(crate) fn header_value(token: &SessionToken) -> HeaderValue {
    let mut text = String::with_capacity(token.text_len());
    token.write_text(&mut text);
    secret_header(text)
}

fn append(response: &mut HeaderMap, value: HeaderValue) {
    response.append(SET_COOKIE, value);
}

fn secret_header(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("name, attributes and tokens are visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use cookie::SameSite;

    #[test]
    fn removal_repeats_every_attribute() {
        let cookie = SessionCookie::builder()
            .name("__Secure-x")
            .domain("example.com")
            .path("/app")
            .same_site(SameSite::None)
            .partitioned()
            .build()
            .unwrap();
        let attributes = "; Path=/app; Domain=example.com; HttpOnly; Secure; SameSite=None; Partitioned";
        let token = SessionToken::from_random([0; 24], crate::token::TokenScope::of("sid"));
        let text = "A".repeat(32);
        assert_eq!(cookie.set(&token, None), format!("__Secure-x={text}{attributes}"));
        let set = cookie.set(&token, Some(Duration::from_secs(u64::MAX)));
        assert_eq!(set, format!("__Secure-x={text}; Max-Age=34560000{attributes}"));
        let expires = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(cookie.removal(), format!("__Secure-x={expires}{attributes}"));
        assert!(cookie.removal().is_sensitive() && cookie.set(&token, None).is_sensitive());
    }

    #[test]
    fn chunks_are_written_whole_and_read_back() {
        let cookie = SessionCookie::builder().build().unwrap();
        let shape = TokenShape::sealed(cookie.capacity(3), 3);
        for len in [1, cookie.capacity(1), cookie.capacity(1) + 1, cookie.capacity(2), cookie.capacity(3)] {
            let token = SessionToken::from_sealed("x".repeat(len)).unwrap();
            let mut response = HeaderMap::new();
            cookie.append(&mut response, shape, &token, Some(MAX_AGE));
            let mut request = HeaderMap::new();
            for value in response.get_all(SET_COOKIE) {
                assert!(value.len() <= COOKIE_LEN, "{} bytes", value.len());
                let pair = value.to_str().unwrap().split(';').next().unwrap();
                if !pair.ends_with('=') {
                    request.append("cookie", pair.parse().unwrap());
                }
            }
            assert_eq!(response.get_all(SET_COOKIE).iter().count(), 3);
            assert_eq!(cookie.tokens(&request, shape), [token], "{len} bytes");
        }
    }

    #[test]
    fn the_handlers_cookie_of_our_name_gives_way_and_others_stay() {
        let cookie = SessionCookie::builder().build().unwrap();
        let mut response = HeaderMap::new();
        for value in ["a=1", "__Host-sid=mine", "__Host-sidx=2", "b=3"] {
            response.append(SET_COOKIE, value.parse().unwrap());
        }
        cookie.append_removal(&mut response, TokenShape::Random);
        let names: Vec<_> = response
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a=1", "__Host-sidx=2", "b=3", "__Host-sid="]);
    }
}
