//! The options of the cookie and of the header that carry a token.

use cookie::SameSite;

use super::SessionLayerBuilder;
use crate::store::SessionStore;

impl<S: SessionStore> SessionLayerBuilder<S> {
    /// Sets the cookie's name; `__Host-sid` by default. Another name signs everybody out: a token counts only in the
    /// cookie it was made for.
    ///
    /// Without the prefix `__Host-`, four cookies that another host of the domain sets hide the session. See
    /// [`SessionCookieBuilder::name`](crate::SessionCookieBuilder::name).
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie = self.cookie.name(name);
        self
    }

    /// Sets the cookie's path; `/` by default. Name the earlier path in [`formerly`](Self::formerly) when you change
    /// it. See [`SessionCookieBuilder::path`](crate::SessionCookieBuilder::path).
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.cookie = self.cookie.path(path);
        self
    }

    /// Sets the cookie's domain; this host only by default. Name the earlier domain in [`formerly`](Self::formerly)
    /// when you change it. See [`SessionCookieBuilder::domain`](crate::SessionCookieBuilder::domain).
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie = self.cookie.domain(domain);
        self
    }

    /// Says that an earlier deploy set the cookie with this domain, `None` for this host only, and this path, so that
    /// each response that sets or removes the cookie also removes the earlier one.
    ///
    /// Without it browsers keep both cookies, and the earlier one comes back after a sign-out. See
    /// [`SessionCookieBuilder::formerly`](crate::SessionCookieBuilder::formerly).
    pub fn formerly<'a>(mut self, domain: impl Into<Option<&'a str>>, path: impl Into<String>) -> Self {
        self.cookie = self.cookie.formerly(domain, path);
        self
    }

    /// Sets `SameSite`; `Lax` by default. See
    /// [`SessionCookieBuilder::same_site`](crate::SessionCookieBuilder::same_site).
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie = self.cookie.same_site(same_site);
        self
    }

    /// Makes browsers keep a separate cookie for each top-level site; off by default. See
    /// [`SessionCookieBuilder::partitioned`](crate::SessionCookieBuilder::partitioned).
    pub fn partitioned(mut self) -> Self {
        self.cookie = self.cookie.partitioned();
        self
    }

    /// Omits `Secure` and the prefix of the default name, so that others can read the token and set cookies that hide
    /// the session. See [`SessionCookieBuilder::insecure_http`](crate::SessionCookieBuilder::insecure_http).
    pub fn insecure_http(mut self) -> Self {
        self.cookie = self.cookie.insecure_http();
        self
    }

    /// Omits `HttpOnly`. See
    /// [`SessionCookieBuilder::insecure_script_access`](crate::SessionCookieBuilder::insecure_script_access).
    pub fn insecure_script_access(mut self) -> Self {
        self.cookie = self.cookie.insecure_script_access();
        self
    }

    /// Omits `Max-Age`, so that the cookie ends with the browser; off by default.
    ///
    /// The server enforces both timeouts in any case. The cookie of a session with an idle timeout of its own
    /// ("remember me", [`Session::set_idle_timeout`](crate::Session::set_idle_timeout)) gets a `Max-Age`.
    pub fn browser_session(mut self) -> Self {
        self.browser_session = true;
        self
    }

    /// Lets clients without cookies, such as native and gRPC clients, carry their token in a header of this name; off
    /// by default.
    ///
    /// A request that has the header, even an empty one, comes from such a client. Its session is the one whose token
    /// the header holds, and its cookies are ignored. In place of a `Set-Cookie` the response has the header with the
    /// token, or an empty header if the client is to forget the token. All other requests use the cookie. So a script
    /// cannot make the layer move the cookie's token, which scripts must not read, into a header that they can read.
    ///
    /// The client must keep the token secret and send it over TLS only. A page of another origin sees the header only
    /// if `Access-Control-Expose-Headers` names it. For responses that depend on the session, `Vary` names the header
    /// too.
    pub fn token_header(mut self, name: impl Into<String>) -> Self {
        self.token_header = Some((name.into(), false));
        self
    }

    /// Makes every client carry its token in a header of this name, as [`token_header`](Self::token_header) does for
    /// clients without cookies. Cookies are neither read nor set.
    pub fn token_header_alone(mut self, name: impl Into<String>) -> Self {
        self.token_header = Some((name.into(), true));
        self
    }
}
