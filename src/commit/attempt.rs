//! A write whose answer was lost: before it is tried again, the store is asked whether it happened.

use std::sync::Arc;
use std::time::Duration;

use super::execute::Commit;
use super::{Plan, Settled, refusal};
use crate::error::Error;
use crate::record::{CSRF_LEN, Record, Version};
use crate::session::Base;
use crate::store::{Created, Loaded, SessionStore};
use crate::token::SessionToken;

/// What the store was asked and has not answered.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(super) token: SessionToken,
    pub(super) version: Version,
    /// How much of the log it holds.
    pub(super) ops: usize,
    pub(super) renew: Option<[u8; CSRF_LEN]>,
    /// Whether the client has to hear of it.
    pub(super) is_news: bool,
}

impl<S: SessionStore> Commit<'_, S> {
    /// Takes over what an earlier try stored after all, so that nothing is applied twice: `Some` if that was everything. Where
    /// it is no longer wanted, it goes.
    pub(super) async fn resume(&mut self, earlier: Attempt) -> Result<Option<Settled>, Error> {
        if self.job.withdraws {
            let is_known = matches!(&self.job.base, Base::Live(live) if live.token == earlier.token);
            if !is_known {
                self.wait(self.store.delete(&earlier.token, Duration::ZERO, self.now())).await?;
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
            return Ok(Some(Settled::refused(self.job.base.clone())));
        }
        // Pending until the store has answered, and no longer, since the log is cut below.
        self.job.intent.pending = None;
        let record = match found {
            Loaded::Live(record) | Loaded::Outdated(record) if record.version() == earlier.version => record,
            _ => return Ok(None),
        };
        let intent = &mut self.job.intent;
        intent.log.forget(earlier.ops);
        intent.edited = !intent.log.is_empty();
        if intent.renew == earlier.renew {
            intent.renew = None;
        }
        let settled = Settled::live(earlier.token, record.clone(), earlier.is_news);
        if !intent.is_change() {
            return Ok(Some(settled));
        }
        self.job.plan = Plan::Write;
        self.job.draft = Arc::new(self.replay(&record)?);
        self.job.base = settled.base;
        self.resumed = settled.reply;
        Ok(None)
    }

    /// Whether the mark of its owner lets a session be whose creation was not answered. A store may have come as far as the
    /// record, and not to the owner's list: sent again, it does the rest.
    async fn is_admitted(&self, token: &SessionToken, record: &Arc<Record>) -> Result<bool, Error> {
        let was_there = matches!(&self.job.base, Base::Live(live) if live.token == *token);
        if was_there || record.owner().is_none() {
            return Ok(true);
        }
        let created = self.wait(self.store.create(token, record, self.now())).await?;
        if let Created::Revoked(mark) = &created {
            refusal::heed(self.shared, mark, self.job.now);
        }
        Ok(!matches!(created, Created::Revoked(_)))
    }

    /// Remembers what the store is being asked.
    pub(super) fn attempt(&mut self, token: &SessionToken, version: Version, is_news: bool) {
        let intent = &self.job.intent;
        let (ops, renew) = (intent.log.len(), intent.renew);
        self.attempt = Some(Attempt { token: token.clone(), version, ops, renew, is_news });
    }

    /// Deals with a last question that was never answered: another commit of this request asks again, and if there
    /// is none, a record whose token nobody will ever know goes.
    pub(super) fn leave_unanswered(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let is_known = matches!(&self.job.base, Base::Live(live) if live.token == attempt.token);
        if self.job.is_last || self.job.intent.renew.is_some() && matches!(self.job.base, Base::Live(_)) {
            if !is_known {
                super::retreat::abandon(self.store, self.shared, attempt.token, self.now());
            }
        } else {
            self.job.intent.pending = Some(Box::new(attempt));
        }
    }

    /// Adds what an earlier try has to tell the client.
    pub(super) fn with_resumed(&mut self, settled: Settled) -> Settled {
        let earlier = std::mem::take(&mut self.resumed);
        Settled { reply: settled.reply.or_keep(earlier), ..settled }
    }
}
