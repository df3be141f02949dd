//! The list of revocations: the sessions that have ended although their cookies would still open.
//!
//! The list is a server-side store that holds an empty record for each such session, until no copy of the session's cookie
//! can be good.

use std::time::SystemTime;

use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::object::DynStore;
use crate::store::{Created, Loaded};
use crate::token::{SessionToken, TokenScope, derive};

/// Returns whether the session has ended.
pub(super) async fn include(
    list: &dyn DynStore,
    scope: TokenScope,
    session: &Record,
    now: SystemTime,
) -> Result<bool, StoreError> {
    Ok(list.load(&id(scope, session), now).await? != Loaded::Absent)
}

/// Ends the session. Returns `false` if it had ended already: exactly one of several concurrent calls gets `true`.
pub(super) async fn add(
    list: &dyn DynStore,
    scope: TokenScope,
    session: &Record,
    now: SystemTime,
) -> Result<bool, StoreError> {
    let mut number = [0; 8];
    crate::random::fill(&mut number)?;
    // Another copy may have a later deadline than this one, but none outlives the absolute deadline.
    let until = session.absolute.max(session.deadline);
    let now_micros = micros(now);
    let note = Record {
        created: now_micros,
        seen: now_micros,
        deadline: until,
        absolute: until,
        version: Version::new(u64::from_be_bytes(number)).unwrap_or(Record::blank().version),
        ..Record::blank()
    };
    match list.create(&id(scope, session), &note.into(), now).await? {
        Created::Stored => Ok(true),
        Created::Taken => Ok(false),
        _ => Err(StoreError::new("the list of revocations did not answer as a store on the server")),
    }
}

/// Returns the token under which the list holds a session, derived from the session's CSRF secret and the cookie's
/// scope, so that several stores may share a list.
///
/// Every copy of a session's cookie holds the same CSRF secret, however often the session was written. A renewal
/// replaces the secret and keeps the handle, so the handle would end the renewed session too.
fn id(scope: TokenScope, session: &Record) -> SessionToken {
    let secret = [&session.csrf[..], &scope.bytes()].concat();
    SessionToken::from_random(derive(&secret, b"tower-session-layer revocation v1"), scope)
}
