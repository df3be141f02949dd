//! The session that a token leads on to, after that token was replaced because of its age.

use std::time::SystemTime;

use crate::error::StoreError;
use crate::key::{CookieKey, open_leading};
use crate::record::{Tombstone, TombstoneKind};
use crate::session::Live;
use crate::store::{Loaded, SessionStore};
use crate::token::SessionToken;

pub(crate) enum Successor {
    Live(Live),
    /// The successor was left empty and has this tombstone. A request that writes then begins a new session.
    Emptied(Tombstone),
    None,
}

impl Successor {
    /// Finds the successor, as long as the tombstone leads on to it.
    ///
    /// One step is enough: by the time that a token is replaced, its own predecessor no longer leads on.
    pub(crate) async fn find(
        store: &impl SessionStore,
        keys: &[CookieKey],
        stone: &Tombstone,
        token: &SessionToken,
        now: SystemTime,
    ) -> Result<Self, StoreError> {
        let leading = stone.leading(now).and_then(|sealed| open_leading(keys, token, sealed));
        let Some(successor) = leading else { return Ok(Self::None) };
        tracing::debug!(
            name: "session.token.led_on",
            key = ?token.key(), "a token that was replaced because of its age leads on to the new one"
        );
        Ok(match store.load(&successor, now).await? {
            Loaded::Live(record) | Loaded::Outdated(record) if !record.is_expired(now) => {
                Self::Live(Live { token: successor, record, outdated: true })
            }
            Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Self::Emptied(stone),
            _ => Self::None,
        })
    }
}
