//! Any [`SessionStore`] as a trait object.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::{SessionToken, TokenShape};

/// The future of one store call.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Declares [`DynStore`], implements it for every store, and forwards [`ConfiguredStore`]'s calls to it, so that each
/// signature is written once.
macro_rules! dyn_store {
    (
        properties { $($property:ident() -> $value:ty;)+ }
        calls {
            $($call:ident(
                $($argument:ident: $(&$lifetime:lifetime)? $type:ident $(<$parameter:ident>)?),+
            ) -> $answer:ty;)+
        }
    ) => {
        /// The object-safe twin of [`SessionStore`], whose calls return a boxed future.
        #[allow(dead_code, reason = "not every feature uses all of it")]
        #[allow(clippy::elidable_lifetime_names, reason = "only `sweep` borrows no argument")]
        pub(crate) trait DynStore: Debug + Send + Sync + 'static {
            $(fn $property(&self) -> $value;)+
            fn bind(&mut self, cookie: &SessionCookie);
            $(fn $call<'f, $($($lifetime: 'f,)?)+>(
                &'f self,
                $($argument: $(&$lifetime)? $type $(<$parameter>)?),+
            ) -> StoreFuture<'f, $answer>;)+
        }

        #[allow(clippy::elidable_lifetime_names, reason = "only `sweep` borrows no argument")]
        impl<S: SessionStore> DynStore for S {
            $(fn $property(&self) -> $value {
                SessionStore::$property(self)
            })+

            fn bind(&mut self, cookie: &SessionCookie) {
                SessionStore::bind(self, cookie);
            }

            $(fn $call<'f, $($($lifetime: 'f,)?)+>(
                &'f self,
                $($argument: $(&$lifetime)? $type $(<$parameter>)?),+
            ) -> StoreFuture<'f, $answer> {
                Box::pin(SessionStore::$call(self, $($argument),+))
            })+
        }

        /// Each call is that of the store inside, equally atomic, durable and safe to drop.
        #[cfg(feature = "config")]
        impl SessionStore for ConfiguredStore {
            $(fn $property(&self) -> $value {
                self.0.$property()
            })+

            fn bind(&mut self, cookie: &SessionCookie) {
                self.0.bind(cookie);
            }

            $(async fn $call<$($($lifetime,)?)+>(
                &self,
                $($argument: $(&$lifetime)? $type $(<$parameter>)?),+
            ) -> Result<$answer, StoreError> {
                self.0.$call($($argument),+).await
            })+
        }
    };
}

// Each reference has a lifetime of its own, as it has in `SessionStore`.
dyn_store! {
    properties {
        token_shape() -> TokenShape;
        is_immediate() -> bool;
        max_record_len() -> Option<usize>;
        sweep_interval() -> Option<Duration>;
    }
    calls {
        load(token: &'t SessionToken, now: SystemTime) -> Loaded;
        create(fresh: &'t SessionToken, record: &'r Arc<Record>, now: SystemTime) -> Created;
        update(token: &'t SessionToken, from: Version, change: &'c Change, now: SystemTime) -> Updated;
        touch(token: &'t SessionToken, version: Version, deadline: SystemTime, now: SystemTime) -> Updated;
        delete(token: &'t SessionToken, tombstone: Duration, now: SystemTime) -> Deleted;
        owned(owner: &'o str, now: SystemTime) -> Vec<OwnedSession>;
        revoke(owner: &'o str, revocation: &'r Revocation, now: SystemTime) -> usize;
        sweep(limit: usize, now: SystemTime) -> usize;
    }
}

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
#[cfg(feature = "config")]
#[derive(Debug)]
pub struct ConfiguredStore(Box<dyn CloneStore>);

#[cfg(feature = "config")]
impl ConfiguredStore {
    pub(crate) fn new(store: impl SessionStore + Clone) -> Self {
        Self(Box::new(store))
    }
}

#[cfg(feature = "config")]
impl Clone for ConfiguredStore {
    fn clone(&self) -> Self {
        Self(self.0.boxed_clone())
    }
}

/// A store whose clones are bound to their cookies one by one, which an `Arc` would not allow.
#[cfg(feature = "config")]
trait CloneStore: DynStore {
    fn boxed_clone(&self) -> Box<dyn CloneStore>;
}

#[cfg(feature = "config")]
impl<S: SessionStore + Clone> CloneStore for S {
    fn boxed_clone(&self) -> Box<dyn CloneStore> {
        Box::new(self.clone())
    }
}
