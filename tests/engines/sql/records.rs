//! Records, tokens and times to work with, for calls on a store itself.

use crate::support::scope;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tower_session_layer::store::{Record, RecordHead, Version};
use tower_session_layer::{SessionHandle, SessionToken};

use crate::support::record::record_of;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The time at which tests begin, and so many seconds later.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

pub(crate) fn token(n: u64) -> SessionToken {
    let mut bytes = [7; 24];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    SessionToken::from_random(bytes, scope())
}

pub(crate) fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

/// A record of this version that ends in an hour and holds `{"n": n}`.
pub(crate) fn record(n: u64) -> Arc<Record> {
    owned(n, None)
}

/// A record of somebody who signed in at the start.
pub(crate) fn owned(n: u64, owner: Option<&str>) -> Arc<Record> {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let handle = SessionHandle::from_bytes(u128::from(n).to_be_bytes());
    let head = RecordHead::new(Some(version(n)), at(3600), at(0), owner.map(Into::into)).with_sign_in(handle, 0);
    let times = [seconds(at(0)), seconds(at(1 << 20)), owner.map_or(0, |_| seconds(at(0)))];
    record_of(head, times, "n", &n.to_string()).into()
}

/// Polls a future up to so many times, then drops it.
pub(crate) async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(less) => {
            left = less;
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }
    })
    .await
}
