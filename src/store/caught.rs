//! A store whose panics are errors.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::forward::forward;
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// A store of the program whose panics are errors, so that the client gets 503 and the session is left as after any other
/// failure.
///
/// The panic hook has run by then. A panic in a sweep goes on, because the sweeper counts panics.
pub(crate) struct Caught<S>(pub(crate) S);

macro_rules! caught {
    ($($call:ident($($argument:ident: $type:ty),+) -> $answer:ty;)+) => {
        $(async fn $call(&self, $($argument: $type),+) -> Result<$answer, StoreError> {
            caught(|| self.0.$call($($argument),+)).await
        })+
    };
}

impl<S: SessionStore> SessionStore for Caught<S> {
    forward!(0: token_shape is_immediate max_record_len sweep_interval bind sweep);

    caught! {
        load(token: &SessionToken, now: SystemTime) -> Loaded;
        create(fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Created;
        update(token: &SessionToken, from: Version, change: &Change, now: SystemTime) -> Updated;
        touch(token: &SessionToken, version: Version, deadline: SystemTime, now: SystemTime) -> Updated;
        delete(key: &StoreKey, tombstone: Duration, now: SystemTime) -> Deleted;
        owned(owner: &str, now: SystemTime) -> Vec<OwnedSession>;
        count(owner: Option<&str>, now: SystemTime) -> usize;
        revoke(owner: &str, revocation: &Revocation, now: SystemTime) -> usize;
    }
}

/// Makes a store call, whose future may panic when it is made or polled.
#[inline]
async fn caught<T, F>(call: impl FnOnce() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut calling = pin!(async move { call().await });
    // A future that has panicked is not polled again, and the store's own state is for the store to keep whole.
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| calling.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Err(StoreError::new("the store panicked"))))
    })
    .await
}

impl<S: fmt::Debug> fmt::Debug for Caught<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
