//! The session cookie: its name and attributes, validated once; tokens out of headers and into headers. No I/O.

mod builder;
mod parse;

use std::time::Duration;

use http::HeaderValue;
use http::header::{Entry, HeaderMap, SET_COOKIE};

pub use self::builder::SessionCookieBuilder;
pub(crate) use self::parse::{Candidates, header_candidates, values};
use crate::token::{SessionToken, TokenShape};

/// 400 days, beyond which browsers shorten a `Max-Age` (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_secs(34_560_000);
/// What a browser must be able to keep of name, value and attributes (RFC 6265); counted all together here.
const COOKIE_LEN: usize = 4_096;
const MAX_AGE_NAME: &str = "; Max-Age=";
/// `; Max-Age=34560000`, the longest.
const MAX_AGE_LEN: usize = 18;

/// The cookie that carries a session's token.
///
/// Its name and attributes are checked when it is built, so that what it writes is always a valid `Set-Cookie` that
/// browsers accept, and the removal always matches what was set. A [`SessionLayer`](crate::SessionLayer) has one
/// inside; it also stands on its own, to build another scheme with.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use http::HeaderMap;
/// use tower_session_layer::{SessionCookie, SessionToken, TokenShape};
///
/// let cookie = SessionCookie::builder().name("__Host-shop").build()?;
/// let mut request = HeaderMap::new();
/// request.insert("cookie", "theme=dark; __Host-shop=AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".parse().unwrap());
/// let tokens = cookie.tokens(&request, TokenShape::Random);
/// assert_eq!(
///     cookie.set(&tokens[0], Some(Duration::from_secs(60))),
///     "__Host-shop=AAECAwQFBgcICQoLDA0ODxAREhMUFRYX; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax",
/// );
/// # Ok::<(), tower_session_layer::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionCookie {
    name: String,
    /// `; Path=/; HttpOnly; …`: all but `Max-Age`, rendered once.
    attributes: String,
}

impl SessionCookie {
    /// Starts with the defaults: `__Host-sid`, `Path=/`, `HttpOnly`, `Secure`, `SameSite=Lax`.
    pub fn builder() -> SessionCookieBuilder {
        SessionCookieBuilder::default()
    }

    /// Returns the name.
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the well-formed tokens of a request under this name, at most four, in the order sent, each once.
    ///
    /// Several `Cookie` headers count as one (HTTP/2 splits them). Names match exactly, quotes are part of a value, and
    /// a pair that is malformed hides no other.
    pub fn tokens(&self, request: &HeaderMap, shape: TokenShape) -> Vec<SessionToken> {
        self.candidates(request, shape).into_iter().collect()
    }

    /// Returns the `Set-Cookie` value that hands a token to the client; without `max_age` it ends with the browser.
    ///
    /// `max_age` counts in whole seconds, at most 400 days.
    pub fn set(&self, token: &SessionToken, max_age: Option<Duration>) -> HeaderValue {
        let mut text = String::new();
        token.write_text(&mut text);
        self.render("", &text, max_age)
    }

    /// Returns the `Set-Cookie` value that removes the cookie: the same attributes, empty, and long past.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::SessionCookie;
    ///
    /// let cookie = SessionCookie::builder().build()?;
    /// assert_eq!(cookie.name(), "__Host-sid");
    /// assert_eq!(
    ///     cookie.removal(),
    ///     "__Host-sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=Lax",
    /// );
    /// # Ok::<(), tower_session_layer::ConfigError>(())
    /// ```
    pub fn removal(&self) -> HeaderValue {
        self.render_removal("")
    }

    #[inline]
    pub(crate) fn candidates(&self, request: &HeaderMap, shape: TokenShape) -> Candidates {
        parse::candidates(&self.name, request, shape)
    }

    /// The longest token text that fits into so many cookies of 4,096 bytes, attributes included.
    pub(crate) fn capacity(&self, chunks: u8) -> usize {
        let one = COOKIE_LEN.saturating_sub(self.name.len() + 1 + self.attributes.len() + MAX_AGE_LEN);
        if chunks <= 1 { one } else { usize::from(chunks) * one.saturating_sub(2) }
    }

    /// Appends what hands a token to the client, after removing whatever the handler set under our names.
    ///
    /// Where a store may spread its text over several cookies, each of them is set or removed every time, so that the
    /// last response to arrive leaves a whole set whatever others do.
    pub(crate) fn append(
        &self,
        response: &mut HeaderMap,
        shape: TokenShape,
        token: &SessionToken,
        max_age: Option<Duration>,
    ) {
        let TokenShape::Sealed { max_chunks: chunks @ 2.., .. } = shape else {
            let value = self.render_token(token, max_age);
            // Where there is no other cookie there is none of ours to discard.
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
            (1..chunks).for_each(|chunk| append(response, self.render_removal(parse::SUFFIXES[usize::from(chunk)])));
            return;
        }
        let piece = self.capacity(1).saturating_sub(2).max(1);
        let count = text.len().div_ceil(piece);
        let mut pieces = text.as_bytes().chunks(piece).filter_map(|piece| str::from_utf8(piece).ok());
        let first = format!("{count}.{}", pieces.next().unwrap_or_default());
        append(response, self.render("", &first, max_age));
        for suffix in &parse::SUFFIXES[1..usize::from(chunks)] {
            append(
                response,
                pieces.next().map_or_else(|| self.render_removal(suffix), |piece| self.render(suffix, piece, max_age)),
            );
        }
    }

    /// Appends what removes the cookie, with all its chunks.
    pub(crate) fn append_removal(&self, response: &mut HeaderMap, shape: TokenShape) {
        self.discard(response, shape);
        for suffix in parse::suffixes(shape) {
            append(response, self.render_removal(suffix));
        }
    }

    /// Removes what the handler itself set under our names: a response has at most one (RFC 6265bis, 4.1.1).
    fn discard(&self, response: &mut HeaderMap, shape: TokenShape) {
        let ours = |value: &HeaderValue| {
            // White space around a field's value gets lost on the wire, and a name's in the browser.
            let rest = value.as_bytes().trim_ascii_start().strip_prefix(self.name.as_bytes());
            rest.is_some_and(|rest| {
                parse::suffixes(shape).iter().any(|suffix| {
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

    /// `render` for the common case, without a string in between.
    fn render_token(&self, token: &SessionToken, max_age: Option<Duration>) -> HeaderValue {
        self.finish("", token.text_len(), max_age, |out| token.write_text(out))
    }

    fn render(&self, suffix: &str, value: &str, max_age: Option<Duration>) -> HeaderValue {
        self.finish(suffix, value.len(), max_age, |out| out.push_str(value))
    }

    fn finish(
        &self,
        suffix: &str,
        len: usize,
        max_age: Option<Duration>,
        write_value: impl FnOnce(&mut String),
    ) -> HeaderValue {
        let mut digits = [0; 20];
        let age = max_age.map(|age| decimal(age.min(MAX_AGE).as_secs(), &mut digits));
        let age_len = age.map_or(0, |age| MAX_AGE_NAME.len() + age.len());
        // Exact, since a header takes the buffer over as it is only where none of it is left.
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

    fn render_removal(&self, suffix: &str) -> HeaderValue {
        let Self { name, attributes } = self;
        secret_header(format!("{name}{suffix}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}"))
    }
}

/// A number's text, without the detour that `format!` takes.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return str::from_utf8(&digits[start..]).expect("digits are ASCII");
        }
    }
}

/// The value of a header of its own that hands a token to the client.
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
        let token = SessionToken::from_random([0; 24]);
        let text = "A".repeat(32);
        assert_eq!(cookie.set(&token, None), format!("__Secure-x={text}{attributes}"));
        let set = cookie.set(&token, Some(Duration::from_secs(u64::MAX)));
        assert_eq!(set, format!("__Secure-x={text}; Max-Age=34560000{attributes}"));
        let expires = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(cookie.removal(), format!("__Secure-x={expires}{attributes}"));
        assert!(cookie.removal().is_sensitive() && cookie.set(&token, None).is_sensitive());
    }

    #[test]
    fn numbers_are_written_as_everybody_does() {
        for number in [0, 1, 9, 10, 604_800, 34_560_000, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
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
