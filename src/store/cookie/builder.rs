//! A cookie store's options.

use std::sync::Arc;

use super::CookieStore;
use crate::error::ConfigError;
use crate::store::SessionStore;

/// The keys and options of a [`CookieStore`]; see [`CookieStore::builder`].
///
/// # Examples
///
/// ```
/// use tower_session_layer::{ConfigError, CookieKey, CookieStore};
///
/// let key = CookieKey::generate().unwrap(); // a key for tests: it is gone with the process
/// assert!(CookieStore::builder([key.clone()]).audience("shop, production").max_chunks(3).build().is_ok());
/// assert_eq!(CookieStore::builder([key]).max_chunks(4).build().unwrap_err(), ConfigError::MaxChunks(4));
/// assert_eq!(CookieStore::builder([]).build().unwrap_err(), ConfigError::NoKey);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CookieStoreBuilder(pub(super) CookieStore);

impl CookieStoreBuilder {
    /// Sets the most cookies that a session may be spread over, 1 to 3; 1 by default, since every request carries them all.
    ///
    /// They are `name`, `name.1` and `name.2`. Without the prefix `__Host-` another host of the domain can set a second
    /// `name.1` or `name.2`. A session that needs the cookie is then absent until the browser drops the other one, so
    /// keep the prefix.
    pub fn max_chunks(mut self, max_chunks: u8) -> Self {
        self.0.max_chunks = max_chunks;
        self
    }

    /// Sets the audience of the sessions, such as an application or a stage; empty by default.
    ///
    /// The audience is bound into the seal: of several applications that share a key, none opens a session of another
    /// audience. Changing it ends all sessions.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.0.audience = audience.into().into();
        self
    }

    /// Sets the list of revocations: a server-side store that remembers the ended sessions, so that no copy of their cookies
    /// opens; none by default.
    ///
    /// [Destroying](crate::Session::destroy) a session, [renewing](crate::Session::renew) it and
    /// [signing in](crate::Session::sign_in) note the session before that until its absolute deadline. The list holds a
    /// small record for each of them and nothing of a session, not even its token. Every server of the application must
    /// use the same list: an end counts as soon as the list has it.
    ///
    /// The list costs one read for each request with a cookie that opens, and another when the session is written or
    /// refreshed. When the list fails the store fails, with a 503: a session that may have ended is neither let in nor
    /// taken for absent. A session that a request leaves empty is not noted, and owners' sessions still cannot be listed
    /// or revoked.
    ///
    /// A session that the list forgets too early opens again. `MemoryStore` forgets everything when the process ends, and
    /// the sessions that exceed its bounds.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(all(feature = "file", unix))]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_session_layer::{CookieKey, CookieStore, FileStore, SessionStore as _};
    ///
    /// # let temporary = tempfile::tempdir()?;
    /// # let directory = temporary.path().join("ended");
    /// # let secret: Vec<u8> = (1..=32).collect();
    /// let store = CookieStore::builder([CookieKey::new(&secret)?]).revocations(FileStore::new(directory)?).build()?;
    /// assert!(!store.is_immediate(), "the list is a directory");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "file", unix)))]
    /// # fn main() {}
    /// ```
    pub fn revocations(mut self, list: impl SessionStore) -> Self {
        self.0.revocations = Some(Arc::new(list));
        self
    }

    /// Creates the store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoKey`] without a key, [`ConfigError::MaxChunks`] outside 1 to 3,
    /// [`ConfigError::ClientSideStore`] where the list of revocations is a cookie store.
    pub fn build(self) -> Result<CookieStore, ConfigError> {
        let Self(store) = self;
        if store.keys.is_empty() {
            return Err(ConfigError::NoKey);
        }
        if !(1..=3).contains(&store.max_chunks) {
            return Err(ConfigError::MaxChunks(store.max_chunks));
        }
        if store.revocations.as_ref().is_some_and(|list| list.token_shape().is_sealed()) {
            return Err(ConfigError::ClientSideStore("revocations"));
        }
        Ok(store)
    }
}
