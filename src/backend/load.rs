//! Finds the session of a request among the tokens that it brought.

use std::time::SystemTime;

use crate::commit::Successor;
use crate::cookie::Candidates;
use crate::error::StoreError;
use crate::event::Events;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::session::Opened;
use crate::store::{ExpiredSessions, Loaded, SessionStore};
use crate::token::{SessionToken, StoreKey};

/// Admits sessions, and reports the tokens that are refused.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) events: Events,
    /// Microseconds since the Unix epoch.
    pub(super) not_before: u64,
    /// Tokens that were found to lead on no longer.
    pub(super) no_longer_leading: ExpiredSessions<StoreKey>,
}

impl Admission {
    #[inline]
    fn admits(&self, record: &Record, now: u64) -> bool {
        record.deadline > now && record.created >= self.not_before
    }

    /// Whether a token still leads on to its successor, and was never found not to.
    fn leads_on(&self, stone: &Tombstone, token: &SessionToken, micros: u64) -> bool {
        let Some(until) = stone.forwards_until() else { return false };
        if until <= micros {
            // The tombstone stands longer, and a clock that steps back must not revive the token.
            self.no_longer_leading.note(token.key(), until);
            return false;
        }
        !self.no_longer_leading.includes(token.key(), until)
    }
}

/// Finds the first live candidate. A tombstone counts only if none is live.
pub(super) async fn load(
    store: &impl SessionStore,
    admission: &Admission,
    candidates: &Candidates,
    now: SystemTime,
    micros: u64,
) -> Result<Opened, StoreError> {
    let mut found = Opened::Nothing;
    for at in 0.. {
        let Some(token) = candidates.get(at) else { break };
        let (record, outdated) = match store.load(token, now).await? {
            Loaded::Live(record) if admission.admits(&record, micros) => (record, false),
            Loaded::Outdated(record) if admission.admits(&record, micros) => (record, true),
            Loaded::Tombstone(stone) if stone.kind() != TombstoneKind::Emptied => {
                if admission.leads_on(&stone, token, micros) {
                    match Box::pin(Successor::find(store, &stone, token, now)).await? {
                        Successor::Live(live) if admission.admits(&live.record, micros) => {
                            return Ok(Opened::Successor(Box::new(live)));
                        }
                        Successor::Emptied(_) => continue,
                        Successor::Live(_) | Successor::None => {}
                    }
                }
                admission.events.dead(token, stone.kind());
                if matches!(found, Opened::Nothing) {
                    found = Opened::Dead { at };
                }
                continue;
            }
            _ => {
                admission.events.unknown(token);
                continue;
            }
        };
        tracing::trace!(name: "session.loaded", key = ?token.key(), outdated, "a session was loaded");
        return Ok(Opened::Live { at, record, outdated });
    }
    Ok(found)
}
