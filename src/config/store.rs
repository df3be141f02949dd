//! The store that a configuration names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::object::DynStore;
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, TokenShape};

/// The store that a [`SessionConfig`](crate::SessionConfig) names: one of this crate's, behind one type.
///
/// # Examples
///
/// A [`MovingStore`](crate::MovingStore) leads from the store of one configuration to that of another, and logs nobody
/// out:
///
/// ```
/// use tower_session_layer::{MovingStore, SessionConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_session_layer::ConfigError> {
/// # let new = SessionConfig::from_vars("SHOP_SESSION_", [("SHOP_SESSION_STORE", "memory:")])?;
/// # let old = new.clone();
/// let store = MovingStore::new(new.store().await?, old.store().await?)?;
/// let sessions = new.builder_on(store)?.build()?;
/// assert!(format!("{sessions:?}").contains("MovingStore"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ConfiguredStore(Box<dyn CloneStore>);

impl ConfiguredStore {
    pub(super) fn new(store: impl SessionStore + Clone) -> Self {
        Self(Box::new(store))
    }
}

impl Clone for ConfiguredStore {
    fn clone(&self) -> Self {
        Self(self.0.boxed_clone())
    }
}

/// A store whose clones are bound to their cookies one by one, which an `Arc` would not allow.
trait CloneStore: DynStore {
    fn boxed_clone(&self) -> Box<dyn CloneStore>;
}

impl<S: SessionStore + Clone> CloneStore for S {
    fn boxed_clone(&self) -> Box<dyn CloneStore> {
        Box::new(self.clone())
    }
}

/// Each call is that of the store inside, equally atomic, durable and safe to drop.
impl SessionStore for ConfiguredStore {
    fn token_shape(&self) -> TokenShape {
        self.0.token_shape()
    }

    fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    fn max_record_len(&self) -> Option<usize> {
        self.0.max_record_len()
    }

    fn sweep_interval(&self) -> Option<Duration> {
        self.0.sweep_interval()
    }

    fn bind(&mut self, cookie: &SessionCookie) {
        self.0.bind(cookie);
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.0.load(token, now).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.0.create(fresh, record, now).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.0.update(token, from, change, now).await
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.0.touch(token, version, deadline, now).await
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        self.0.delete(token, tombstone, now).await
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        self.0.owned(owner, now).await
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.0.revoke(owner, revocation, now).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.0.sweep(limit, now).await
    }
}
