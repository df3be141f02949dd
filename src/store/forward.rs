//! The parts that wrappers of a store have in common.

use super::SessionStore;
use crate::error::ConfigError;

/// Returns the store for a wrapper of this name, unless it is a client-side store.
pub(super) fn server_side<S: SessionStore>(store: S, wrapper: &'static str) -> Result<S, ConfigError> {
    if store.token_shape().is_sealed() { Err(ConfigError::ClientSideStore(wrapper)) } else { Ok(store) }
}

/// Implements methods of [`SessionStore`] by those of the store in a field of `self`.
///
/// Such a call is one call of the inner store, and as atomic, durable and safe to drop. The types in the signatures must
/// be in scope.
macro_rules! forward {
    ($store:tt: token_shape) => { forward! { @get $store token_shape -> TokenShape } };
    ($store:tt: is_immediate) => { forward! { @get $store is_immediate -> bool } };
    ($store:tt: max_record_len) => { forward! { @get $store max_record_len -> Option<usize> } };
    ($store:tt: sweep_interval) => { forward! { @get $store sweep_interval -> Option<Duration> } };
    ($store:tt: bind) => {
        fn bind(&mut self, cookie: &SessionCookie) {
            self.$store.bind(cookie);
        }
    };
    ($store:tt: load) => { forward! { @call $store load(token: &SessionToken, now: SystemTime) -> Loaded } };
    ($store:tt: create) => {
        forward! { @call $store create(fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Created }
    };
    ($store:tt: update) => {
        forward! { @call $store
            update(token: &SessionToken, from: Version, change: &Change, now: SystemTime) -> Updated }
    };
    ($store:tt: touch) => {
        forward! { @call $store
            touch(token: &SessionToken, version: Version, deadline: SystemTime, now: SystemTime) -> Updated }
    };
    ($store:tt: delete) => {
        forward! { @call $store delete(key: &StoreKey, tombstone: Duration, now: SystemTime) -> Deleted }
    };
    ($store:tt: owned) => { forward! { @call $store owned(owner: &str, now: SystemTime) -> Vec<OwnedSession> } };
    ($store:tt: count) => { forward! { @call $store count(owner: Option<&str>, now: SystemTime) -> usize } };
    ($store:tt: revoke) => {
        forward! { @call $store revoke(owner: &str, revocation: &Revocation, now: SystemTime) -> usize }
    };
    ($store:tt: sweep) => { forward! { @call $store sweep(limit: usize, now: SystemTime) -> usize } };
    ($store:tt: $($method:ident)+) => {
        $(forward! { $store: $method })+
    };
    (@get $store:tt $property:ident -> $value:ty) => {
        fn $property(&self) -> $value {
            self.$store.$property()
        }
    };
    (@call $store:tt $call:ident($($argument:ident: $type:ty),+) -> $answer:ty) => {
        async fn $call(&self, $($argument: $type),+) -> Result<$answer, StoreError> {
            self.$store.$call($($argument),+).await
        }
    };
}
pub(crate) use forward;
