//! A store around another one that adds nothing to its calls.

/// Implements [`SessionStore`](super::SessionStore) for a type by the store in its only field. Each call is that of the
/// store inside, equally atomic, durable and safe to drop.
macro_rules! forward_store {
    ($store:ty) => {
        const _: () = {
            use std::sync::Arc;
            use std::time::{Duration, SystemTime};

            use $crate::cookie::SessionCookie;
            use $crate::error::StoreError;
            use $crate::record::{Record, Version};
            use $crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
            use $crate::token::{SessionToken, TokenShape};

            impl SessionStore for $store {
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

                async fn create(
                    &self,
                    fresh: &SessionToken,
                    record: &Arc<Record>,
                    now: SystemTime,
                ) -> Result<Created, StoreError> {
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

                async fn delete(
                    &self,
                    token: &SessionToken,
                    tombstone: Duration,
                    now: SystemTime,
                ) -> Result<Deleted, StoreError> {
                    self.0.delete(token, tombstone, now).await
                }

                async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
                    self.0.owned(owner, now).await
                }

                async fn revoke(
                    &self,
                    owner: &str,
                    revocation: &Revocation,
                    now: SystemTime,
                ) -> Result<usize, StoreError> {
                    self.0.revoke(owner, revocation, now).await
                }

                async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
                    self.0.sweep(limit, now).await
                }
            }
        };
    };
}
pub(crate) use forward_store;
