//! The end of a request whose last commit has waited in vain for other commits of the session.

use crate::session::{CookieAction, Intent, Occasion, Session, Stored};

/// Returns whether the request destroys its session.
pub(crate) fn destroys(session: &Session) -> bool {
    session.cell().lock().work.as_ref().is_some_and(|work| work.intent.destroy)
}

/// Drops the changes with the response. A `destroy` is carried out in the background, since its time went to other
/// commits. `has_tried` says that it was tried and has failed.
pub(crate) fn end_late(session: &Session, has_tried: bool) {
    let mut state = session.cell().lock();
    if has_tried && let Ok(work) = state.work_mut() {
        work.intent.destroy = true;
    }
    let Some(work) = &mut state.work else { return };
    let dropped = std::mem::take(&mut work.intent);
    work.is_stale = true;
    work.intent = Intent { destroy: dropped.destroy, pending: dropped.pending, ..Intent::default() };
    state.dropped |= dropped.edited || dropped.renew.is_some();
    if !dropped.destroy {
        return;
    }
    if matches!(state.stored, Stored::Live(_)) {
        // The client is to forget the token already.
        state.cookie = CookieAction::Remove;
    }
    drop(state);
    let session = session.clone();
    tokio::spawn(async move {
        let store = &session.cell().shared.store;
        store.commit(&session, Occasion::Failed, false).wait().await
    });
}
