//! The options of the cookie, and the check that browsers will accept it.

use std::fmt::Write as _;

use cookie::SameSite;

use super::SessionCookie;
use crate::error::ConfigError;
use crate::token::TokenScope;

/// Bytes of the longest attribute value: browsers ignore a longer one (RFC 6265bis).
const ATTRIBUTE_LEN: usize = 1_024;

/// A builder of a [`SessionCookie`], made by [`SessionCookie::builder`].
///
/// # Examples
///
/// ```
/// use tower_session_layer::{ConfigError, SameSite, SessionCookie, SessionToken, TokenScope};
///
/// let token = SessionToken::from_random([0; 24], TokenScope::of("__Secure-shop"));
/// let embedded = SessionCookie::builder()
///     .name("__Secure-shop")
///     .path("/shop")
///     .domain("example.com")
///     .same_site(SameSite::None)
///     .partitioned()
///     .insecure_script_access()
///     .build()?;
/// assert_eq!(
///     embedded.set(&token, None),
///     "__Secure-shop=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/shop; Domain=example.com; Secure; SameSite=None; Partitioned",
/// );
/// let wrong = SessionCookie::builder().insecure_http().same_site(SameSite::None).build();
/// assert_eq!(wrong.unwrap_err(), ConfigError::SameSiteNone);
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionCookieBuilder {
    name: Option<String>,
    path: String,
    domain: Option<String>,
    former: Vec<(Option<String>, String)>,
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
            former: Vec::new(),
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
    /// Another name signs everybody out: a token counts only in the cookie it was made for.
    ///
    /// The prefix `__Host-` makes browsers refuse the cookie from any other host and over plain HTTP (RFC 6265bis).
    /// Under a name without it, another host of the domain can set cookies of its own. Four of them, which the browser
    /// sends first, hide the session until they are removed. One that holds a session of the attacker's signs the
    /// person in there.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the path below which the client sends the cookie; `/` by default.
    ///
    /// The path does not protect the cookie from pages on other paths of the host. Name the earlier path in
    /// [`formerly`](Self::formerly) when you change it.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Makes clients send the cookie to a domain and all its subdomains; to this host only by default.
    ///
    /// Name the earlier domain in [`formerly`](Self::formerly) when you change it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Says that an earlier deploy set the cookie with this domain, `None` for this host only, and this path; may be
    /// called several times.
    ///
    /// Browsers keep the earlier cookie beside the present one, since a cookie is known by its name, domain and path,
    /// and send both. Without `formerly` the earlier cookie comes back when the present one is removed. A
    /// [`CookieStore`](crate::CookieStore) opens it until its deadline, so **a sign-out does not last** and the next
    /// person may see the session of the one before.
    /// With `formerly`, each response that sets or removes the cookie also removes the earlier one. That is the only
    /// case in which a response has several `Set-Cookie` of one name.
    ///
    /// Keep it until the cookies of the earlier deploy have expired, after the absolute timeout.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{ConfigError, SessionCookie};
    ///
    /// let cookie = SessionCookie::builder().name("shop").domain("example.com");
    /// let cookie = cookie.formerly(None, "/").formerly("shop.example.com", "/app").build()?;
    /// assert_eq!(cookie.former_removals().len(), 2);
    ///
    /// let present = SessionCookie::builder().name("shop").formerly(None, "/").build();
    /// assert!(matches!(present, Err(ConfigError::Formerly { .. })), "the cookie would be removed as soon as it is set");
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn formerly<'a>(mut self, domain: impl Into<Option<&'a str>>, path: impl Into<String>) -> Self {
        self.former.push((domain.into().map(Into::into), path.into()));
        self
    }

    /// Sets which requests from other sites carry the cookie; [`SameSite::Lax`] by default, which excludes `POST`
    /// requests and subresources.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Makes browsers keep a cookie of its own for each top-level site (CHIPS), for pages that are embedded in others;
    /// off by default.
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Omits `Secure`: the cookie travels over plain HTTP too, and anybody on the way can take over the session.
    ///
    /// The name then cannot have the prefix `__Host-`, so other hosts of the domain and anybody on the way can set
    /// cookies that hide the session: see [`name`](Self::name).
    pub fn insecure_http(mut self) -> Self {
        self.secure = false;
        self
    }

    /// Omits `HttpOnly`: every script of the page, an injected one included, can read the token.
    pub fn insecure_script_access(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// Checks the options and creates the cookie.
    ///
    /// # Errors
    ///
    /// - The name is not a token (RFC 6265).
    /// - The name has a prefix, in upper or lower case, whose conditions are not met.
    /// - `SameSite=None` or `Partitioned` stands without `Secure`.
    /// - The path or the domain has more than 1,024 bytes, or a character that the header cannot hold.
    /// - A former domain and path are invalid or the present ones, or the name has the prefix `__Host-`, with which no
    ///   cookie can have had others.
    pub fn build(self) -> Result<SessionCookie, ConfigError> {
        let name = self.name.unwrap_or_else(|| if self.secure { "__Host-sid" } else { "sid" }.into());
        if name.is_empty() || name.len() > ATTRIBUTE_LEN || !name.bytes().all(is_token) {
            return Err(ConfigError::CookieName(name));
        }
        let present = (self.domain.clone(), self.path.clone());
        for (domain, path) in self.former.iter().chain([&present]) {
            if !path.starts_with('/') || !is_attribute(path) {
                return Err(ConfigError::Path(path.clone()));
            }
            if let Some(domain) = domain.as_ref().filter(|domain| !is_host(domain)) {
                return Err(ConfigError::Domain(domain.clone()));
            }
        }
        if let Some((domain, path)) = self.former.iter().find(|former| is_same_cookie(former, &present)) {
            return Err(ConfigError::Formerly { domain: domain.clone(), path: path.clone() });
        }
        let has_prefix =
            |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if has_prefix("__Host-") {
            let conflict = match (self.secure, self.path.as_str(), &self.domain) {
                (false, ..) => Some("insecure_http"),
                (.., Some(_)) => Some("a domain"),
                (_, "/", None) if !self.former.is_empty() => Some("a former domain or path"),
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
        let attributes = |domain: Option<&str>, path: &str| {
            let mut attributes = format!("; Path={path}");
            if let Some(domain) = domain {
                let _ = write!(attributes, "; Domain={domain}");
            }
            attributes.push_str(if self.http_only { "; HttpOnly" } else { "" });
            attributes.push_str(if self.secure { "; Secure" } else { "" });
            let _ = write!(attributes, "; SameSite={}", self.same_site);
            attributes.push_str(if self.partitioned { "; Partitioned" } else { "" });
            attributes
        };
        Ok(SessionCookie {
            scope: TokenScope::of(&name),
            name,
            attributes: attributes(self.domain.as_deref(), &self.path),
            former: self.former.iter().map(|(domain, path)| attributes(domain.as_deref(), path)).collect(),
        })
    }
}

/// Returns whether browsers take two domains and paths for those of one cookie: they ignore case and a leading dot in a
/// domain.
fn is_same_cookie(one: &(Option<String>, String), other: &(Option<String>, String)) -> bool {
    let domain = |domain: &Option<String>| {
        domain.as_ref().map(|domain| domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase())
    };
    one.1 == other.1 && domain(&one.0) == domain(&other.0)
}

/// Returns whether a byte is a token character of RFC 9110. RFC 6265 allows these in the names of cookies.
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
            ("host prefix with a former path", with().formerly(None, "/app")),
            ("host prefix with a former domain", with().formerly("example.com", "/")),
            ("former path with line break", with().name("x").formerly(None, "/\r\na")),
            ("former domain with semicolon", with().name("x").formerly("a;b", "/")),
            ("former that is present", with().name("x").formerly(None, "/")),
            ("former domain that is present", with().name("x").domain("a.b").formerly(".A.b", "/")),
        ] {
            let refused = builder.build();
            assert!(refused.is_err(), "{what}");
        }
        assert!(with().name("__Secure-x").domain("example.com").path("/app").build().is_ok());
        assert_eq!(with().insecure_http().build().unwrap().name(), "sid");
    }
}
