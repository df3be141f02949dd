//! Renews a session, which goes on under a fresh token.

use std::sync::Arc;
use std::time::Duration;

use super::Settled;
use super::execute::{Commit, came_too_late};
use crate::error::Error;
use crate::record::{GRACE, Record, TOMBSTONE, Tombstone, TombstoneKind};
use crate::session::{Live, Stored};
use crate::store::{Change, Deadline, SessionStore, Updated};
use crate::token::SessionToken;

/// The record that a renewal stored under a token which nobody knows yet.
pub(super) struct Fresh {
    pub(super) token: SessionToken,
    pub(super) record: Arc<Record>,
    /// True if the store was asked to retire the old record and has not refused.
    pub(super) is_retiring: bool,
}

impl<S: SessionStore> Commit<'_, S> {
    /// Returns whether the draft is to be stored under a fresh token. A sealed session gets a new token with each write
    /// anyway.
    pub(super) fn renews(&self) -> bool {
        let is_asked = self.job.intent.renew.is_some() || self.job.replaces_token;
        is_asked && !self.shared.is_sealed() && !self.job.draft.is_empty()
    }

    /// Stores the draft under the fresh token. If there is nothing to renew after all, removes the fresh record.
    /// Returns a result if the commit ends here.
    pub(super) async fn prepare_renewal(
        &mut self,
        live: &Live,
        fresh: &mut Option<Fresh>,
    ) -> Result<Option<Settled>, Error> {
        let unchanged = || Stored::Live(Live { outdated: false, ..live.clone() });
        if !self.renews() {
            self.drop_fresh(fresh).await?;
            return Ok(None);
        }
        let renewed = self.shared.lifetime.renewed(&self.job.draft, self.job.now);
        Arc::make_mut(&mut self.job.draft).renewed = renewed;
        if !self.job.can_send {
            return self.cannot_send(unchanged()).map(Some);
        }
        // A refusal concerns the new record alone. The old record stays live, unless it has the same owner.
        let is_stored = self.store_fresh(fresh).await?;
        Ok((!is_stored).then(|| Settled::refused(unchanged())))
    }

    /// Stores the draft under the fresh token; `false` if the owner's sessions were revoked meanwhile.
    async fn store_fresh(&mut self, fresh: &mut Option<Fresh>) -> Result<bool, Error> {
        let Some(Fresh { token, record: stored, .. }) = fresh else {
            let token = self.insert().await?;
            *fresh = token.map(|token| Fresh { token, record: Arc::clone(&self.job.draft), is_retiring: false });
            return Ok(fresh.is_some());
        };
        // A replayed sign-in has no moment, and the store has given it one.
        Arc::make_mut(&mut self.job.draft).sign_in = stored.sign_in;
        let record = &self.job.draft;
        let change = Change::Replace(Arc::clone(record), Deadline::Set);
        let asked = self.wait(self.store.update(token, stored.version, &change, self.now())).await;
        let updated = asked.map_err(|error| error.naming(record))?;
        *stored = Arc::clone(record);
        if updated != Updated::Done {
            // Nobody else knows the fresh token, so only a revocation of its owner can have ended it.
            came_too_late();
            *fresh = None;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) async fn drop_fresh(&mut self, fresh: &mut Option<Fresh>) -> Result<(), Error> {
        if let Some(Fresh { token, .. }) = fresh {
            self.wait(self.store.delete(&token.key(), Duration::ZERO, self.now())).await?;
            *fresh = None;
        }
        Ok(())
    }

    /// Makes the change that turns the old record into a tombstone, which names the key of the fresh token. Only after a
    /// renewal by age does it hold the fresh token itself, sealed.
    pub(super) fn retire(&self, old: &SessionToken, fresh: &mut Fresh) -> Result<Change, Error> {
        let stone = if self.job.intent.renew.is_some() {
            self.tombstone(TombstoneKind::Renewed)
        } else {
            let stone = Tombstone::new(TombstoneKind::Forwarded, GRACE + TOMBSTONE, self.now());
            let nonce = self.shared.random.bytes()?;
            let key = self.shared.renewal_keys.first();
            match key.and_then(|key| key.seal_leading(old, &fresh.token, nonce)) {
                Some(leading) => stone.leading_to(leading),
                None => stone,
            }
        };
        fresh.is_retiring = true;
        Ok(Change::Retire(stone.with_successor(fresh.token.key())))
    }
}
