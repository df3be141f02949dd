//! Any [`SessionStore`] as a trait object.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// The future of one store call.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Declares [`DynStore`] and implements it for every store, so that each signature is written once.
macro_rules! dyn_store {
    (
        properties { $($property:ident() -> $value:ty;)+ }
        calls { $($call:ident($($argument:ident: $type:ty),+) -> $answer:ty;)+ }
    ) => {
        /// The object-safe twin of [`SessionStore`], whose calls return a boxed future.
        #[allow(dead_code, reason = "not every feature uses all of it")]
        #[allow(clippy::elidable_lifetime_names, reason = "only `sweep` borrows no argument")]
        pub(crate) trait DynStore: Debug + Send + Sync + 'static {
            $(fn $property(&self) -> $value;)+
            fn bind(&mut self, cookie: &SessionCookie);
            $(fn $call<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $answer>;)+
        }

        #[allow(clippy::elidable_lifetime_names, reason = "only `sweep` borrows no argument")]
        impl<S: SessionStore> DynStore for S {
            $(fn $property(&self) -> $value {
                SessionStore::$property(self)
            })+

            fn bind(&mut self, cookie: &SessionCookie) {
                SessionStore::bind(self, cookie);
            }

            $(fn $call<'a>(&'a self, $($argument: $type),+) -> StoreFuture<'a, $answer> {
                Box::pin(SessionStore::$call(self, $($argument),+))
            })+
        }
    };
}

dyn_store! {
    properties {
        token_shape() -> TokenShape;
        is_immediate() -> bool;
        max_record_len() -> Option<usize>;
        sweep_interval() -> Option<Duration>;
    }
    calls {
        load(token: &'a SessionToken, now: SystemTime) -> Loaded;
        create(fresh: &'a SessionToken, record: &'a Arc<Record>, now: SystemTime) -> Created;
        update(token: &'a SessionToken, from: Version, change: &'a Change, now: SystemTime) -> Updated;
        touch(token: &'a SessionToken, version: Version, deadline: SystemTime, now: SystemTime) -> Updated;
        delete(key: &'a StoreKey, tombstone: Duration, now: SystemTime) -> Deleted;
        owned(owner: &'a str, now: SystemTime) -> Vec<OwnedSession>;
        count(owner: Option<&'a str>, now: SystemTime) -> usize;
        revoke(owner: &'a str, revocation: &'a Revocation, now: SystemTime) -> usize;
        sweep(limit: usize, now: SystemTime) -> usize;
    }
}
