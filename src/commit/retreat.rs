//! Taking a renewal back that could not be finished.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::layer::Shared;
use crate::record::Record;
use crate::store::{Change, Deadline, Loaded, SessionStore, Updated};
use crate::token::SessionToken;

/// Lets the old token go on and removes the new record, beside the answer, which must not take longer for it.
pub(super) fn retreat<S: SessionStore>(
    store: &Arc<S>,
    shared: &Shared,
    old: &SessionToken,
    fresh: SessionToken,
    from: Record,
    now: SystemTime,
) {
    let store = Arc::clone(store);
    let old = old.clone();
    let version = shared.random.version(Some(from.version));
    let undo = async move {
        // The retiring of the old record may have been applied although its answer never came, or may yet be. Writing
        // the old record once more, by compare-and-swap, settles which: only if it was not may the new one go.
        let Ok(version) = version else { return Ok(()) };
        let fence = Change::Replace(Record { version, ..from.clone() }, Deadline::Keep);
        let is_retired = match store.update(&old, from.version, &fence, now).await? {
            Updated::Gone => match store.load(&old, now).await? {
                Loaded::Tombstone(stone) => stone.successor(&old).is_some_and(|successor| successor == fresh),
                _ => false,
            },
            _ => false,
        };
        if !is_retired {
            store.delete(&fresh, Duration::ZERO, now).await?;
        }
        Ok::<_, StoreError>(())
    };
    if shared.is_immediate {
        let _ = crate::store::poll_once(undo);
    } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let timeout = shared.store_timeout;
        runtime.spawn(async move {
            if !matches!(tokio::time::timeout(timeout, undo).await, Ok(Ok(()))) {
                tracing::warn!("the record of an unfinished renewal stays, unreachable, until its deadline");
            }
        });
    }
}
