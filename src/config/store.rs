//! The store that a configuration names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::forward::forward;
use crate::store::object::DynStore;
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, StoreKey, TokenShape};

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
    forward!(0: token_shape is_immediate max_record_len sweep_interval bind);
    forward!(0: load create update touch delete owned count revoke sweep);
}
