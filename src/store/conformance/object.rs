//! A store as an object: each call is boxed, which a test can afford.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, TokenShape};

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

pub(super) trait Object: Debug + Send + Sync {
    fn token_shape(&self) -> TokenShape;
    fn is_immediate(&self) -> bool;
    fn max_record_len(&self) -> Option<usize>;
    fn sweeps(&self) -> bool;
    fn load<'a>(&'a self, token: &'a SessionToken, now: SystemTime) -> Answer<'a, Loaded>;
    fn create<'a>(&'a self, fresh: &'a SessionToken, record: &'a Arc<Record>, now: SystemTime) -> Answer<'a, Created>;
    fn update<'a>(
        &'a self,
        token: &'a SessionToken,
        from: Version,
        change: &'a Change,
        now: SystemTime,
    ) -> Answer<'a, Updated>;
    fn touch<'a>(
        &'a self,
        token: &'a SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Answer<'a, Updated>;
    fn delete<'a>(&'a self, token: &'a SessionToken, tombstone: Duration, now: SystemTime) -> Answer<'a, Deleted>;
    fn owned<'a>(&'a self, owner: &'a str, now: SystemTime) -> Answer<'a, Vec<OwnedSession>>;
    fn revoke<'a>(&'a self, owner: &'a str, revocation: &'a Revocation, now: SystemTime) -> Answer<'a, usize>;
    fn sweep(&self, limit: usize, now: SystemTime) -> Answer<'_, usize>;
}

impl<S: SessionStore> Object for S {
    fn token_shape(&self) -> TokenShape {
        SessionStore::token_shape(self)
    }

    fn is_immediate(&self) -> bool {
        SessionStore::is_immediate(self)
    }

    fn max_record_len(&self) -> Option<usize> {
        SessionStore::max_record_len(self)
    }

    fn sweeps(&self) -> bool {
        self.sweep_interval().is_some()
    }

    fn load<'a>(&'a self, token: &'a SessionToken, now: SystemTime) -> Answer<'a, Loaded> {
        Box::pin(SessionStore::load(self, token, now))
    }

    fn create<'a>(&'a self, fresh: &'a SessionToken, record: &'a Arc<Record>, now: SystemTime) -> Answer<'a, Created> {
        Box::pin(SessionStore::create(self, fresh, record, now))
    }

    fn update<'a>(
        &'a self,
        token: &'a SessionToken,
        from: Version,
        change: &'a Change,
        now: SystemTime,
    ) -> Answer<'a, Updated> {
        Box::pin(SessionStore::update(self, token, from, change, now))
    }

    fn touch<'a>(
        &'a self,
        token: &'a SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Answer<'a, Updated> {
        Box::pin(SessionStore::touch(self, token, version, deadline, now))
    }

    fn delete<'a>(&'a self, token: &'a SessionToken, tombstone: Duration, now: SystemTime) -> Answer<'a, Deleted> {
        Box::pin(SessionStore::delete(self, token, tombstone, now))
    }

    fn owned<'a>(&'a self, owner: &'a str, now: SystemTime) -> Answer<'a, Vec<OwnedSession>> {
        Box::pin(SessionStore::owned(self, owner, now))
    }

    fn revoke<'a>(&'a self, owner: &'a str, revocation: &'a Revocation, now: SystemTime) -> Answer<'a, usize> {
        Box::pin(SessionStore::revoke(self, owner, revocation, now))
    }

    fn sweep(&self, limit: usize, now: SystemTime) -> Answer<'_, usize> {
        Box::pin(SessionStore::sweep(self, limit, now))
    }
}
