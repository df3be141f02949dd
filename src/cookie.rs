//! The session cookie: its name and attributes, validated once, and its token in the headers of requests and responses.

mod builder;
mod candidates;
mod chunks;
mod pairs;
mod parse;
mod write;

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;

pub use self::builder::SessionCookieBuilder;
pub(crate) use self::candidates::Candidates;
pub(crate) use self::parse::header_candidates;
#[cfg(feature = "import")]
pub(crate) use self::parse::values;
pub(crate) use self::write::header_value;
use crate::token::{SessionToken, TokenScope, TokenShape};

/// The longest `Max-Age`: browsers shorten one of more than 400 days (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_secs(34_560_000);

/// The cookie that carries a session's token.
///
/// [`build`](SessionCookieBuilder::build) checks the name and the attributes. So every `Set-Cookie` that a
/// `SessionCookie` writes is valid and accepted by browsers, and every removal matches the cookie that was set. A
/// [`SessionLayer`](crate::SessionLayer) contains a `SessionCookie`. A program can also use one alone, for a session
/// scheme of its own.
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
    scope: TokenScope,
    /// All attributes but `Max-Age`, rendered once: `; Path=/; HttpOnly; …`.
    attributes: String,
    /// The attributes with the domains and paths of earlier deploys.
    former: Vec<String>,
}

impl SessionCookie {
    /// Returns a builder with the defaults: `__Host-sid`, `Path=/`, `HttpOnly`, `Secure`, `SameSite=Lax`.
    pub fn builder() -> SessionCookieBuilder {
        SessionCookieBuilder::default()
    }

    /// Returns the name of the cookie.
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the scope of the cookie's tokens, which follows from the name.
    #[inline]
    pub fn scope(&self) -> TokenScope {
        self.scope
    }

    /// Returns the well-formed tokens that a request has under this name: at most four, in the order sent, each once.
    ///
    /// Several `Cookie` headers count as one, since HTTP/2 splits them. Names match exactly, quotes are part of a
    /// value, and a malformed pair does not hide the others.
    pub fn tokens(&self, request: &HeaderMap, shape: TokenShape) -> Vec<SessionToken> {
        self.candidates(request, shape).into_iter().collect()
    }

    /// Returns the `Set-Cookie` value that gives a token to the client. Without `max_age` the cookie ends with the
    /// browser.
    ///
    /// `max_age` is cut to whole seconds and to at most 400 days; less than a second becomes one second.
    pub fn set(&self, token: &SessionToken, max_age: Option<Duration>) -> HeaderValue {
        let mut text = String::new();
        token.write_text(&mut text);
        self.render("", &text, max_age)
    }

    /// Returns the `Set-Cookie` value that removes the cookie: no value, the same attributes, and an `Expires` in the
    /// past.
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
        self.render_removal("", &self.attributes)
    }

    /// Returns the `Set-Cookie` values that remove the cookies of earlier deploys, one for each
    /// [`formerly`](SessionCookieBuilder::formerly).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::SessionCookie;
    ///
    /// let cookie = SessionCookie::builder().name("shop").domain("example.com").formerly(None, "/").build()?;
    /// assert_eq!(
    ///     cookie.former_removals(),
    ///     ["shop=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=Lax"],
    /// );
    /// # Ok::<(), tower_session_layer::ConfigError>(())
    /// ```
    pub fn former_removals(&self) -> Vec<HeaderValue> {
        self.former.iter().map(|attributes| self.render_removal("", attributes)).collect()
    }

    #[inline]
    pub(crate) fn candidates(&self, request: &HeaderMap, shape: TokenShape) -> Candidates {
        parse::candidates(&self.name, self.scope, request, shape)
    }
}
