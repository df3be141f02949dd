//! Resumes a write whose answer was lost: before the write is tried again, the store is asked whether it was carried
//! out.

use std::sync::Arc;
use std::time::Duration;

use super::execute::{Commit, came_too_late};
use super::undo_renewal::remove_unknown;
use super::{Plan, Settled};
use crate::error::Error;
use crate::record::{Began, Record};
use crate::session::{Attempt, Stored};
use crate::store::{Created, Loaded, SessionStore};
use crate::token::SessionToken;

impl<S: SessionStore> Commit<'_, S> {
    /// Adopts the record that an earlier try stored after all, so that no change is applied twice. Returns a result if
    /// that record holds all changes. Removes the record if it is no longer wanted.
    pub(super) async fn resume(&mut self, earlier: Attempt) -> Result<Option<Settled>, Error> {
        if self.job.withdraws {
            let is_known = matches!(&self.job.stored, Stored::Live(live) if live.token == earlier.token);
            if !is_known {
                self.wait(self.store.delete(&earlier.token.key(), Duration::ZERO, self.now())).await?;
            }
            self.job.intent.pending = None;
            return Ok(None);
        }
        let found = self.wait(self.store.load(&earlier.token, self.now())).await?;
        if let Loaded::Live(record) | Loaded::Outdated(record) = &found
            && record.version() == earlier.version
            && !self.is_admitted(&earlier.token, record).await?
        {
            self.job.intent.pending = None;
            return Ok(Some(Settled::refused(self.job.stored.clone())));
        }
        // The attempt is no longer pending once the store has answered, since its changes leave the log below.
        self.job.intent.pending = None;
        let record = match found {
            Loaded::Live(record) | Loaded::Outdated(record) if record.version() == earlier.version => record,
            _ => return Ok(None),
        };
        let intent = &mut self.job.intent;
        intent.log.drain(..earlier.ops.min(intent.log.len()));
        intent.edited = !intent.log.is_empty();
        if intent.renew == earlier.renew {
            intent.renew = None;
        }
        let settled = Settled::live(earlier.token, Arc::clone(&record), earlier.is_news);
        if !intent.is_change() {
            return Ok(Some(settled));
        }
        self.job.plan = Plan::Write;
        self.replay(&record)?;
        self.job.stored = settled.stored;
        self.resumed = settled.cookie;
        Ok(None)
    }

    /// Returns whether the owner's mark admits a session whose creation was not answered.
    ///
    /// The store may have written the record but not the owner's list. The same call, sent again, completes the
    /// creation.
    async fn is_admitted(&self, token: &SessionToken, record: &Arc<Record>) -> Result<bool, Error> {
        let was_there = matches!(&self.job.stored, Stored::Live(live) if live.token == *token);
        if was_there || record.owner().is_none() {
            return Ok(true);
        }
        // As it was sent: with the time at which the sign-in began, and without the moment that the store gave it.
        let began = self.job.intent.sign_in().map(|sign_in| Began::at(sign_in.began));
        let sign_in = if began.is_some() { 0 } else { record.sign_in };
        let sent = Record { began: began.unwrap_or_default(), sign_in, ..(**record).clone() };
        let created = self.wait(self.store.create(token, &sent.into(), self.now())).await?;
        if created == Created::Revoked {
            came_too_late();
        }
        Ok(created != Created::Revoked)
    }

    /// Remembers that the store is being asked to write the draft.
    pub(super) fn attempt(&mut self, token: &SessionToken, is_news: bool) {
        let intent = &self.job.intent;
        let (version, ops, renew) = (self.job.draft.version, intent.log.len(), intent.renew);
        self.attempt = Some(Attempt { token: token.clone(), version, ops, renew, is_news });
    }

    /// Keeps or removes the record of a write that was never answered.
    ///
    /// If another commit of this request can follow, that commit asks the store again. Otherwise a record under a token
    /// that nobody will ever know is removed.
    pub(super) fn leave_unanswered(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let is_known = matches!(&self.job.stored, Stored::Live(live) if live.token == attempt.token);
        if self.job.is_last || self.job.intent.renew.is_some() && matches!(self.job.stored, Stored::Live(_)) {
            if !is_known {
                remove_unknown(self.store, self.shared, attempt.token, self.now());
            }
        } else {
            self.job.intent.pending = Some(Box::new(attempt));
        }
    }

    /// Adds the instruction for the cookie from an earlier try.
    pub(super) fn with_resumed(&mut self, settled: Settled) -> Settled {
        let earlier = std::mem::take(&mut self.resumed);
        Settled { cookie: settled.cookie.or_keep(earlier), ..settled }
    }
}
