//! The session cookie: its name and attributes, validated once; tokens out of headers and into headers. No I/O.

mod parse;

use std::fmt::Write as _;
use std::time::Duration;

use cookie::SameSite;
use http::HeaderValue;
use http::header::{HeaderMap, SET_COOKIE};

pub(crate) use self::parse::Candidates;
use crate::error::ConfigError;
use crate::token::{SessionToken, TokenShape};

/// 400 days, beyond which browsers shorten a `Max-Age` (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_secs(34_560_000);
/// What a browser must be able to keep of name, value and attributes (RFC 6265); counted all together here.
const COOKIE_LEN: usize = 4_096;
/// `; Max-Age=34560000`.
const MAX_AGE_LEN: usize = 18;
/// A longer attribute value is ignored by browsers (RFC 6265bis).
const ATTRIBUTE_LEN: usize = 1_024;

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
    pub fn removal(&self) -> HeaderValue {
        self.render_removal("")
    }

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
        self.discard(response, shape);
        let TokenShape::Sealed { max_chunks: chunks @ 2.., .. } = shape else {
            append(response, self.render_token(token, max_age));
            return;
        };
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
        parse::suffixes(shape).iter().for_each(|suffix| append(response, self.render_removal(suffix)));
    }

    /// Removes what the handler itself set under our names: a response has at most one (RFC 6265bis, 4.1.1).
    fn discard(&self, response: &mut HeaderMap, shape: TokenShape) {
        let ours = |value: &HeaderValue| {
            let rest = value.as_bytes().strip_prefix(self.name.as_bytes());
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
        kept.into_iter().for_each(|value| append(response, value));
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
        let capacity = self.name.len() + suffix.len() + 1 + len + MAX_AGE_LEN + self.attributes.len();
        let mut out = String::with_capacity(capacity);
        out.push_str(&self.name);
        out.push_str(suffix);
        out.push('=');
        write_value(&mut out);
        if let Some(age) = max_age {
            let _ = write!(out, "; Max-Age={}", age.min(MAX_AGE).as_secs());
        }
        out.push_str(&self.attributes);
        secret_header(out)
    }

    fn render_removal(&self, suffix: &str) -> HeaderValue {
        let Self { name, attributes } = self;
        secret_header(format!("{name}{suffix}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{attributes}"))
    }
}

fn append(response: &mut HeaderMap, value: HeaderValue) {
    response.append(SET_COOKIE, value);
}

fn secret_header(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("name, attributes and tokens are visible ASCII");
    value.set_sensitive(true);
    value
}

/// Collects a cookie's name and attributes; see [`SessionCookie::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionCookieBuilder {
    name: Option<String>,
    path: String,
    domain: Option<String>,
    same_site: SameSite,
    secure: bool,
    http_only: bool,
    partitioned: bool,
}

impl Default for SessionCookieBuilder {
    fn default() -> Self {
        Self {
            name: None,
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            secure: true,
            http_only: true,
            partitioned: false,
        }
    }
}

impl SessionCookieBuilder {
    /// Sets the name; `__Host-sid` by default, or `sid` with [`insecure_http`](Self::insecure_http).
    ///
    /// The prefix `__Host-` makes browsers refuse the cookie from any other host and over plain HTTP (RFC 6265bis).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the path below which the client sends the cookie; `/` by default. It is no protection between paths.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sends the cookie to a domain and all below it, instead of this host only.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets when other sites' requests carry the cookie; [`SameSite::Lax`] by default, which leaves out cross-site
    /// `POST`s and subresources.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keeps the cookie apart per top-level site (CHIPS), for pages embedded in others.
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Leaves out `Secure`, so that the cookie travels over plain HTTP and anyone on the way can take the session.
    pub fn insecure_http(mut self) -> Self {
        self.secure = false;
        self
    }

    /// Leaves out `HttpOnly`, so that scripts, an injected one included, can read the token.
    pub fn insecure_script_access(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// Checks everything and renders the attributes.
    ///
    /// # Errors
    ///
    /// A name that is no token, a prefix whose conditions are not met (in any case of its letters), `SameSite=None` or
    /// `Partitioned` without `Secure`, a path or domain that could not stand in the header or over 1,024 bytes.
    pub fn build(self) -> Result<SessionCookie, ConfigError> {
        let name = self.name.unwrap_or_else(|| if self.secure { "__Host-sid" } else { "sid" }.into());
        if name.is_empty() || name.len() > ATTRIBUTE_LEN || !name.bytes().all(is_token) {
            return Err(ConfigError::CookieName(name));
        }
        if !self.path.starts_with('/') || !is_attribute(&self.path) {
            return Err(ConfigError::Path(self.path));
        }
        if let Some(domain) = self.domain.as_ref().filter(|domain| !is_host(domain)) {
            return Err(ConfigError::Domain(domain.clone()));
        }
        let has_prefix =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if has_prefix("__Host-") {
            let conflict = match (self.secure, self.path.as_str(), &self.domain) {
                (false, ..) => Some("insecure_http"),
                (.., Some(_)) => Some("a domain"),
                (_, "/", None) => None,
                _ => Some("another path"),
            };
            if let Some(conflict) = conflict {
                return Err(ConfigError::HostPrefix { name, conflict });
            }
        }
        if has_prefix("__Secure-") && !self.secure {
            return Err(ConfigError::SecurePrefix(name));
        }
        if (has_prefix("__Http-") || has_prefix("__Host-Http-")) && !(self.http_only && self.secure) {
            return Err(ConfigError::HttpPrefix(name));
        }
        if self.same_site == SameSite::None && !self.secure {
            return Err(ConfigError::SameSiteNone);
        }
        if self.partitioned && !self.secure {
            return Err(ConfigError::Partitioned);
        }
        let mut attributes = format!("; Path={}", self.path);
        if let Some(domain) = self.domain {
            let _ = write!(attributes, "; Domain={domain}");
        }
        attributes.push_str(if self.http_only { "; HttpOnly" } else { "" });
        attributes.push_str(if self.secure { "; Secure" } else { "" });
        let _ = write!(attributes, "; SameSite={}", self.same_site);
        attributes.push_str(if self.partitioned { "; Partitioned" } else { "" });
        Ok(SessionCookie { name, attributes })
    }
}

/// A token character of RFC 9110, which RFC 6265 names cookies with.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_attribute(value: &str) -> bool {
    value.len() <= ATTRIBUTE_LEN && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
}

fn is_host(domain: &str) -> bool {
    let host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !domain.is_empty() && domain.len() <= ATTRIBUTE_LEN && domain.bytes().all(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_refuses_what_browsers_would() {
        let with = SessionCookie::builder;
        let long = format!("/{}", "a".repeat(1_024));
        for (what, builder) in [
            ("empty name", with().name("")),
            ("space in the name", with().name("a b")),
            ("equals in the name", with().name("a=b")),
            ("semicolon in the name", with().name("a;b")),
            ("non-ASCII name", with().name("sé")),
            ("host prefix with domain", with().domain("example.com")),
            ("host prefix with path", with().path("/app")),
            ("host prefix without secure", with().name("__hOsT-x").insecure_http()),
            ("secure prefix without secure", with().name("__sEcUre-x").insecure_http()),
            ("http prefix without http only", with().name("__Http-x").insecure_script_access()),
            ("host http prefix without http only", with().name("__Host-Http-x").insecure_script_access()),
            ("same site none without secure", with().insecure_http().same_site(SameSite::None)),
            ("partitioned without secure", with().insecure_http().partitioned()),
            ("path with semicolon", with().name("x").path("/;a")),
            ("path with line break", with().name("x").path("/\r\na")),
            ("relative path", with().name("x").path("a")),
            ("long path", with().name("x").path(long)),
            ("domain with semicolon", with().name("x").domain("a;b")),
            ("empty domain", with().name("x").domain("")),
            ("long domain", with().name("x").domain("a".repeat(1_025))),
        ] {
            let refused = builder.build();
            assert!(refused.is_err(), "{what}");
        }
        assert!(with().name("__Secure-x").domain("example.com").path("/app").build().is_ok());
        assert_eq!(with().insecure_http().build().unwrap().name(), "sid");
    }

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
