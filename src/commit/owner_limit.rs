//! Ends an owner's surplus sessions after a sign-in.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Instrument as _;

use super::execute::Commit;
use super::{Outcome, Settled};
use crate::clock::Clock;
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::record::{SessionHandle, TOMBSTONE};
use crate::session::{CookieAction, Overflows, Stored};
use crate::store::{OwnedSession, Revocation, Revoke, SessionStore};

impl<S: SessionStore> Commit<'_, S> {
    /// Ends the sessions that a sign-in makes surplus. The sign-in is durable, so a failure here is only logged; the
    /// owner's next sign-in makes up for it.
    pub(super) async fn end_overflow(&mut self, settled: Settled) -> Settled {
        let (Some(most), Stored::Live(live), Outcome::Stored) =
            (self.shared.max_sessions_per_owner, &settled.stored, settled.outcome)
        else {
            return settled;
        };
        let Some(owner) = live.record.owner.clone() else { return settled };
        match self.end_beyond(most, owner, live.record.handle).await {
            Ok(false) => settled,
            Ok(true) => {
                tracing::info!(
                    name: "session.sign_in.overtaken",
                    most, "a sign-in came too late: as many later sign-ins of its owner as the limit allows came after it"
                );
                // A dead token in the response could replace the live token of another sign-in.
                self.resumed = CookieAction::Leave;
                Settled { outcome: Outcome::Refused, ..Settled::gone(live.token.clone()) }
            }
            Err(error) => {
                let source = std::error::Error::source(&error);
                tracing::warn!(
                    name: "session.owner.limit.failed",
                    %error, source, most, "an owner may have more sessions than allowed"
                );
                self.shared.events.failed(Operation::Revoke, &error);
                settled
            }
        }
    }

    /// Ends the sessions beyond the limit, and returns whether the sign-in itself is among them.
    async fn end_beyond(&self, most: usize, owner: Arc<str>, own: SessionHandle) -> Result<bool, Error> {
        let runs = Runs { store: Arc::clone(self.store), events: self.shared.events.clone(), owner, most };
        if self.shared.is_immediate {
            // Nothing waits, so there is no other sign-in to share the run with.
            return Ok(runs.run(&[own], self.now()).await?.contains(&own));
        }
        let (answer, is_first) = self.shared.overflows.join(&runs.owner, own);
        if is_first {
            let (overflows, clock) = (Arc::clone(&self.shared.overflows), Arc::clone(&self.shared.clock));
            tokio::spawn(runs.go_on(overflows, clock).in_current_span());
        }
        let broken_off = |_| StoreError::new("the owner's runs were broken off");
        self.wait(async { answer.await.map_err(broken_off)? }).await
    }
}

/// The runs that end the surplus sessions of one owner.
struct Runs<S> {
    store: Arc<S>,
    events: Events,
    owner: Arc<str>,
    most: usize,
}

impl<S: SessionStore> Runs<S> {
    /// Makes one run after another until no sign-in waits for one.
    async fn go_on(self, overflows: Arc<Overflows>, clock: Arc<dyn Clock>) {
        let _end = OnDrop(|| overflows.end(&self.owner));
        loop {
            let waiting = overflows.take(&self.owner);
            if waiting.is_empty() {
                break;
            }
            let own: Vec<_> = waiting.iter().map(|sign_in| sign_in.handle).collect();
            let ended = self.run(&own, clock.now()).await.map_err(Arc::new);
            for sign_in in waiting {
                let answer = match &ended {
                    Ok(ended) => Ok(ended.contains(&sign_in.handle)),
                    Err(error) => Err(StoreError::from(std::io::Error::other(Arc::clone(error)))),
                };
                let _ = sign_in.answer.send(answer);
            }
        }
    }

    /// Ends the sessions beyond the limit in one step, for the sign-ins `own`, and returns them.
    async fn run(&self, own: &[SessionHandle], now: SystemTime) -> Result<Vec<SessionHandle>, StoreError> {
        let surplus = surplus(self.store.owned(&self.owner, now).await?, own, self.most);
        if !surplus.is_empty() {
            let revocation = Revocation::new(Revoke::These(surplus.clone()), TOMBSTONE);
            let ended = self.store.revoke(&self.owner, &revocation, now).await?;
            if ended > 0 {
                self.events.overflowed(ended, self.most);
            }
        }
        Ok(surplus)
    }
}

/// Runs a closure when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns the sessions beyond the limit, those that were used longest ago first.
///
/// The sign-ins `own` are the ones to make room for. Sign-ins count in the order of the store, and the last one always
/// stays: if each sign-in spared only itself, two at once could end each other. Of the sessions before `own`, those that
/// were used longest ago end.
fn surplus(mut listed: Vec<OwnedSession>, own: &[SessionHandle], most: usize) -> Vec<SessionHandle> {
    // A session that is being renewed is listed twice.
    listed.sort_unstable_by_key(|session| (session.handle, Reverse(session.last_seen)));
    listed.dedup_by_key(|session| session.handle);
    let own: HashSet<_> = own.iter().collect();
    let order = |session: &OwnedSession| (session.sign_in, session.handle);
    let Some(first) = listed.iter().filter(|session| own.contains(&session.handle)).map(order).min() else {
        return Vec::new();
    };
    let (mut later, mut earlier): (Vec<_>, Vec<_>) = listed.into_iter().partition(|session| order(session) >= first);
    later.sort_unstable_by_key(|session| Reverse(order(session)));
    earlier.sort_unstable_by_key(|session| Reverse((session.last_seen, order(session))));
    let ranked = later.into_iter().chain(earlier).skip(most);
    let mut surplus: Vec<_> = ranked.map(|session| session.handle).collect();
    surplus.reverse();
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    /// A session that signed in at this moment and was last used then.
    fn session((sign_in, seen): (u64, u64)) -> OwnedSession {
        (&Record { sign_in, seen, handle: handle(sign_in), ..Record::blank() }).into()
    }

    fn handle(sign_in: u64) -> SessionHandle {
        SessionHandle::from_bytes(u128::from(sign_in).to_be_bytes())
    }

    #[test]
    fn what_goes_is_what_was_used_longest_ago_and_never_the_last_to_sign_in() {
        for (what, own, listed, most, expected) in [
            ("there is room", vec![5], vec![(5, 5), (1, 1), (2, 2)], 3, vec![]),
            ("the oldest goes", vec![5], vec![(5, 5), (1, 1), (2, 2), (3, 3)], 3, vec![1]),
            ("by its last use", vec![5], vec![(5, 5), (1, 4), (2, 2), (3, 3)], 3, vec![2]),
            ("then by its sign-in", vec![5], vec![(5, 5), (2, 4), (1, 4), (3, 4)], 3, vec![1]),
            ("however much others are used", vec![5], vec![(5, 5), (1, 9), (2, 8)], 1, vec![2, 1]),
            ("one that is being renewed counts once", vec![5], vec![(5, 5), (1, 1), (2, 2), (2, 4)], 3, vec![]),
            ("a later one is left alone", vec![5], vec![(5, 5), (1, 9), (6, 5)], 2, vec![1]),
            ("overtaken", vec![5], vec![(5, 9), (1, 1), (6, 6), (7, 7)], 2, vec![1, 5]),
            ("ended meanwhile", vec![5], vec![(6, 6), (7, 7)], 1, vec![]),
            ("a burst", vec![3, 4, 5, 6], vec![(1, 9), (3, 9), (4, 1), (5, 1), (6, 1)], 2, vec![1, 3, 4]),
        ] {
            let own: Vec<_> = own.into_iter().map(handle).collect();
            let expected: Vec<_> = expected.into_iter().map(handle).collect();
            assert_eq!(surplus(listed.into_iter().map(session).collect(), &own, most), expected, "{what}");
        }
    }
}
