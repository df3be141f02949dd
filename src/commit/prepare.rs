//! Completes a draft for the store.

use crate::error::Error;
use crate::record::{CSRF_LEN, Record, SessionHandle, Version};
use crate::session::{Shared, fits};

const HANDLE_LEN: usize = 16;

/// Gives a draft its version and time, and the parts that a new session lacks. Returns whether the session is new; the
/// draft then has its first deadline too.
///
/// # Errors
///
/// The record is too large, or there is no randomness.
pub(super) fn prepare(draft: &mut Record, before: Option<Version>, shared: &Shared, now: u64) -> Result<bool, Error> {
    fits(draft, shared.max_record_len)?;
    let (lacks_handle, lacks_csrf) = (draft.handle == SessionHandle::NONE, draft.csrf == [0; CSRF_LEN]);
    if lacks_handle || lacks_csrf {
        // One long draw costs hardly more than a short one.
        let bytes: [u8; HANDLE_LEN + CSRF_LEN] = shared.random.bytes()?;
        if let (true, Some(handle)) = (lacks_handle, bytes.first_chunk()) {
            draft.handle = SessionHandle::from_bytes(*handle);
        }
        if let (true, Some(secret)) = (lacks_csrf, bytes.last_chunk()) {
            draft.csrf = *secret;
        }
    }
    draft.version = shared.random.version(before)?;
    draft.seen = draft.seen.max(now);
    let begins = draft.created == 0;
    if begins {
        // Zero stands for a session that has not begun, and a clock that was never set also shows zero.
        draft.created = now.max(1);
        draft.absolute = shared.lifetime.absolute_deadline(now);
        draft.deadline = shared.lifetime.deadline(draft, now);
    }
    Ok(begins)
}
