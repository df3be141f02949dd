//! The layer.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::error::Error;
use crate::service::SessionService;
use crate::session::{Owners, Shared, StoreDeadline};

/// Gives every request of a service its [`Session`](crate::Session).
///
/// The layer loads the session before the inner service runs, puts it into the request's extensions, and commits it
/// when the inner service has answered. Clones share the store and the settings. The type has no parameter, so a
/// program can name it and still choose the store at run time.
///
/// Stores that wait, such as the file store, need a tokio runtime with timers.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), tower_session_layer::ConfigError> {
/// use std::time::Duration;
/// use tower_session_layer::{MemoryStore, SessionLayer};
///
/// let sessions = SessionLayer::builder(MemoryStore::new())
///     .cookie_name("__Host-shop")
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .build()?;
/// assert!(format!("{sessions:?}").contains("__Host-shop"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct SessionLayer {
    pub(crate) shared: Arc<Shared>,
}

impl SessionLayer {
    /// Returns an [`Owners`] for the store of this layer, which lists and revokes the sessions of any owner outside a
    /// request.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "memory")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_session_layer::Error> {
    /// use tower_session_layer::{MemoryStore, SessionLayer};
    ///
    /// let sessions = SessionLayer::new(MemoryStore::new());
    /// assert!(sessions.owners().list("ada").await?.is_empty());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "memory"))]
    /// # fn main() {}
    /// ```
    pub fn owners(&self) -> Owners {
        Owners::new(&self.shared)
    }
}

impl SessionLayer {
    /// Returns the number of live sessions in the store. Sessions that have expired and were not swept yet may count.
    ///
    /// # Errors
    ///
    /// The store cannot count them cheaply ([`Error::is_unsupported`]), failed, or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "memory")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_session_layer::Error> {
    /// use tower_session_layer::{MemoryStore, SessionLayer};
    ///
    /// assert_eq!(SessionLayer::new(MemoryStore::new()).count().await?, 0);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "memory"))]
    /// # fn main() {}
    /// ```
    pub async fn count(&self) -> Result<usize, Error> {
        let counting = self.shared.store.count(None, self.shared.clock.now());
        StoreDeadline::new(&self.shared).wait(counting).await
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("cookie", &self.shared.cookie)
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}
