//! Finding the session of a request among the tokens that it brought.

use std::sync::Arc;
use std::time::SystemTime;

use super::expired::ExpiredSessions;
use super::{Loaded, SessionStore};
use crate::cookie::Candidates;
use crate::error::StoreError;
use crate::event::Events;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::session::{Base, Live};
use crate::token::{SessionToken, StoreKey};

/// What was found, and for which of the candidates: the token itself is moved only once, since that is dear.
pub(crate) enum Opened {
    Nothing,
    Live {
        at: usize,
        record: Arc<Record>,
        outdated: bool,
    },
    Dead {
        at: usize,
    },
    /// The session that a token which was replaced because of its age leads on to.
    LedOn(Box<Live>),
}

impl Opened {
    #[inline]
    pub(crate) fn with(self, candidates: &mut Candidates) -> Base {
        let base = match self {
            Self::Nothing => None,
            Self::Live { at, record, outdated } => {
                candidates.take(at).map(|token| Base::Live(Live { token, record, outdated }))
            }
            Self::Dead { at } => candidates.take(at).map(Base::Dead),
            Self::LedOn(live) => Some(Base::Live(*live)),
        };
        base.unwrap_or(Base::New)
    }
}

/// Which sessions are let in, and who hears of the others.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) events: Events,
    /// Microseconds since the Unix epoch.
    pub(super) not_before: u64,
    /// The tokens that were found to forward no longer.
    pub(super) expired: ExpiredSessions<StoreKey>,
}

impl Door {
    #[inline]
    fn admits(&self, record: &Record, now: u64) -> bool {
        record.deadline > now && record.created >= self.not_before
    }
}

/// Finds the first live candidate. A tombstone counts only if none is live.
pub(super) async fn open(
    store: &impl SessionStore,
    door: &Door,
    candidates: &Candidates,
    now: SystemTime,
    micros: u64,
) -> Result<Opened, StoreError> {
    let (mut found, mut at) = (Opened::Nothing, 0);
    while let Some(token) = candidates.get(at) {
        let (record, outdated) = match store.load(token, now).await? {
            Loaded::Live(record) if door.admits(&record, micros) => (record, false),
            Loaded::Outdated(record) if door.admits(&record, micros) => (record, true),
            Loaded::Tombstone(stone) if stone.kind() != TombstoneKind::Emptied => {
                if is_leading(&stone, token, &door.expired, micros) {
                    match Box::pin(led_on(store, &stone, token, now)).await? {
                        Led::To(live) if door.admits(&live.record, micros) => {
                            return Ok(Opened::LedOn(Box::new(live)));
                        }
                        Led::ToEmptied(_) => {
                            at += 1;
                            continue;
                        }
                        Led::To(_) | Led::Nowhere => {}
                    }
                }
                door.events.dead(token, stone.kind());
                if matches!(found, Opened::Nothing) {
                    found = Opened::Dead { at };
                }
                at += 1;
                continue;
            }
            _ => {
                door.events.unknown(token);
                at += 1;
                continue;
            }
        };
        tracing::trace!(name: "session.loaded", key = ?token.key(), outdated, "a session was loaded");
        return Ok(Opened::Live { at, record, outdated });
    }
    Ok(found)
}

/// Whether a token still leads on, and never did not.
fn is_leading(stone: &Tombstone, token: &SessionToken, expired: &ExpiredSessions<StoreKey>, micros: u64) -> bool {
    let Some(until) = stone.forwards_until() else { return false };
    if until <= micros {
        // The tombstone stands on, and a clock that steps back must not revive the token.
        expired.note(token.key(), until);
        return false;
    }
    !expired.includes(token.key(), until)
}

/// What a token that was replaced because of its age leads on to.
pub(crate) enum Led {
    To(Live),
    /// A session that was left empty, with its tombstone: whoever writes begins a new one.
    ToEmptied(Tombstone),
    Nowhere,
}

/// Finds the session that a token which was replaced because of its age leads on to, while it does.
///
/// That session is not led on further: a token becomes older than its predecessor leads on.
pub(crate) async fn led_on(
    store: &impl SessionStore,
    stone: &Tombstone,
    token: &SessionToken,
    now: SystemTime,
) -> Result<Led, StoreError> {
    let Some(successor) = stone.forwards(token, now) else { return Ok(Led::Nowhere) };
    tracing::debug!(
        name: "session.token.led_on",
        key = ?token.key(), "a token that was replaced because of its age leads on to the new one"
    );
    Ok(match store.load(&successor, now).await? {
        Loaded::Live(record) | Loaded::Outdated(record) if !record.is_expired(now) => {
            Led::To(Live { token: successor, record, outdated: true })
        }
        Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Led::ToEmptied(stone),
        _ => Led::Nowhere,
    })
}
