//! What a record gets when it is about to be stored.

use crate::error::Error;
use crate::layer::Shared;
use crate::record::{CSRF_LEN, Record, SessionHandle, Version};
use crate::session::{blank, fits};

const HANDLE_LEN: usize = 16;

/// Gives a record its version and the time, and what a new session lacks. Returns whether the session begins with it: then
/// it has its first deadline as well.
///
/// # Errors
///
/// The record is too large, or there is no randomness.
pub(super) fn stamp(record: &mut Record, before: Option<Version>, shared: &Shared, now: u64) -> Result<bool, Error> {
    fits(record, shared.max_record_len)?;
    let (lacks_handle, lacks_csrf) = (record.handle == blank().handle, record.csrf == [0; CSRF_LEN]);
    if lacks_handle || lacks_csrf {
        // In one draw, which costs hardly more than a short one.
        let bytes: [u8; HANDLE_LEN + CSRF_LEN] = shared.random.bytes()?;
        if let (true, Some(handle)) = (lacks_handle, bytes.first_chunk()) {
            record.handle = SessionHandle::from_bytes(*handle);
        }
        if let (true, Some(secret)) = (lacks_csrf, bytes.last_chunk()) {
            record.csrf = *secret;
        }
    }
    record.version = shared.random.version(before)?;
    record.seen = record.seen.max(now);
    let begins = record.created == 0;
    if begins {
        // Zero is what a session has that did not begin yet, and also what a clock shows that was never set.
        record.created = now.max(1);
        record.absolute = shared.lifetime.absolute_deadline(now);
        record.deadline = shared.lifetime.deadline(record, now);
    }
    Ok(begins)
}
