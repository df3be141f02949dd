//! Takes back a renewal that could not be finished.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::record::Record;
use crate::session::{Answer, Shared, poll_once};
use crate::store::{Change, Deadline, Loaded, SessionStore, Updated};
use crate::token::SessionToken;

/// Removes the new record, so that the session goes on under the old token. The answer is `true` if it is too late for
/// that and the session goes on under the new token.
///
/// The undoing runs even if nobody waits for the answer, and for no longer than the store timeout.
pub(super) fn undo_renewal<S: SessionStore>(
    store: &Arc<S>,
    shared: &Shared,
    old: &SessionToken,
    fresh: SessionToken,
    from: Arc<Record>,
    now: SystemTime,
) -> Answer<bool> {
    let store = Arc::clone(store);
    let old = old.clone();
    let version = shared.random.version(Some(from.version));
    let undo = async move {
        // The old record may have been retired although no answer came, or may still be retired. Writing it once more
        // by compare-and-swap decides: the new record may be removed only if the old one was not retired.
        let Ok(version) = version else { return Ok(false) };
        let fence = Change::Replace(Record { version, ..(*from).clone() }.into(), Deadline::Keep);
        let is_retired = match store.update(&old, from.version, &fence, now).await? {
            Updated::Gone => is_successor(&store.load(&old, now).await?, &fresh),
            _ => false,
        };
        if !is_retired {
            store.delete(&fresh.key(), Duration::ZERO, now).await?;
        }
        Ok::<_, StoreError>(is_retired)
    };
    if shared.is_immediate {
        return Answer::Ready(matches!(poll_once(undo), Some(Ok(true))));
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Answer::Ready(false) };
    let timeout = shared.store_timeout;
    let undoing = runtime.spawn(async move {
        if let Ok(Ok(is_retired)) = tokio::time::timeout(timeout, undo).await {
            return is_retired;
        }
        tracing::warn!(
            name: "session.renew.abandoned",
            "the record of an unfinished renewal stays, unreachable, until its deadline"
        );
        false
    });
    Answer::Later(Box::pin(async move { undoing.await.unwrap_or(false) }))
}

/// Returns whether the tombstone of the old token names the fresh token as its successor.
pub(super) fn is_successor(found: &Loaded, fresh: &SessionToken) -> bool {
    matches!(found, Loaded::Tombstone(stone) if stone.successor() == Some(&fresh.key()))
}

/// Removes a record that may have been stored under a token which nobody will ever know.
pub(super) fn remove_unknown<S: SessionStore>(store: &Arc<S>, shared: &Shared, fresh: SessionToken, now: SystemTime) {
    let store = Arc::clone(store);
    let removing = async move { store.delete(&fresh.key(), Duration::ZERO, now).await };
    if shared.is_immediate {
        let _ = poll_once(removing);
    } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(shared.store_timeout, removing));
    }
}
