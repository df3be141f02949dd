//! Ends an owner's surplus sessions after a sign-in.

use std::cmp::Reverse;

use super::execute::Commit;
use super::{Outcome, Settled};
use crate::clock::{micros, time};
use crate::error::Error;
use crate::event::Operation;
use crate::record::{Record, SessionHandle, TOMBSTONE};
use crate::session::{CookieAction, Stored};
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
        match self.end_beyond(most, &owner, &live.record).await {
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
    async fn end_beyond(&self, most: usize, owner: &str, signed_in: &Record) -> Result<bool, Error> {
        let listed = self.wait(self.store.owned(owner, self.now())).await?;
        let overflow = Overflow::of(listed, signed_in, most);
        let mut ended = 0;
        for handle in &overflow.handles {
            let revocation = Revocation::new(Revoke::One(*handle), time(self.shared.sign_in_time()), TOMBSTONE);
            ended += self.wait(self.store.revoke(owner, &revocation, self.now())).await?;
        }
        if ended > 0 {
            self.shared.events.overflowed(ended, most);
        }
        if let Some(latest) = overflow.overtaken_by {
            // If another server's clock is ahead, the next sign-in must get a later time than the sign-ins that this
            // server stored.
            self.shared.sign_in_times.learn(latest);
        }
        Ok(overflow.overtaken_by.is_some())
    }
}

/// The sessions that exceed the limit.
#[derive(Debug, PartialEq, Eq)]
struct Overflow {
    handles: Vec<SessionHandle>,
    /// The time of the latest sign-in, if the calling sign-in itself is surplus.
    overtaken_by: Option<u64>,
}

impl Overflow {
    /// Finds the sessions beyond the limit. Sign-ins count in the order in which they began, not in which they were
    /// stored, and the last one to begin always stays. If each sign-in spared only itself, two at once could end each
    /// other. Of the sign-ins that began earlier, those that were used longest ago end first.
    fn of(mut listed: Vec<OwnedSession>, own: &Record, most: usize) -> Self {
        // A session that is being renewed is listed twice.
        listed.sort_unstable_by_key(|session| (session.handle, Reverse(session.last_seen)));
        listed.dedup_by_key(|session| session.handle);
        let order = |session: &OwnedSession| (session.signed_in, session.handle);
        let present = (own.signed_in(), own.handle());
        let latest = listed.iter().filter_map(|session| session.signed_in).max();
        let later = listed.iter().filter(|session| order(session) > present).count();
        let is_overtaken = later >= most && listed.iter().any(|session| session.handle == own.handle());
        let kept = most.saturating_sub(later + 1);
        let mut earlier: Vec<_> = listed.into_iter().filter(|session| order(session) < present).collect();
        earlier.sort_unstable_by_key(|session| Reverse((session.last_seen, session.signed_in, session.handle)));
        let mut handles: Vec<_> = earlier.into_iter().skip(kept).map(|session| session.handle).collect();
        // The oldest come first, so that they are gone if the work stops half-way.
        handles.reverse();
        handles.extend(is_overtaken.then(|| own.handle()));
        Self { handles, overtaken_by: latest.filter(|_| is_overtaken).map(micros) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    /// A session that signed in and was last used at these times.
    fn session(signed_in: u64, seen: u64) -> Record {
        let mut handle = [0; 16];
        handle[0] = u8::try_from(signed_in).unwrap();
        Record { signed_in, seen, handle: SessionHandle::from_bytes(handle), ..Record::blank() }
    }

    #[test]
    fn what_goes_is_what_was_used_longest_ago_and_never_the_last_to_begin() {
        for (what, own, others, most, ended, overtaken_by) in [
            ("there is room", (5, 5), vec![(1, 1), (2, 2)], 3, vec![], None),
            ("the oldest goes", (5, 5), vec![(1, 1), (2, 2), (3, 3)], 3, vec![1], None),
            ("by its last use", (5, 5), vec![(1, 4), (2, 2), (3, 3)], 3, vec![2], None),
            ("then by its sign-in", (5, 5), vec![(2, 4), (1, 4), (3, 4)], 3, vec![1], None),
            ("however much others are used", (5, 5), vec![(1, 9), (2, 8)], 1, vec![2, 1], None),
            ("one that is being renewed counts once", (5, 5), vec![(1, 1), (2, 2), (2, 4)], 3, vec![], None),
            ("a later one is left alone", (5, 5), vec![(1, 9), (6, 5)], 2, vec![1], None),
            ("overtaken", (5, 9), vec![(1, 1), (6, 6), (7, 7)], 2, vec![1, 5], Some(7)),
        ] {
            let own_record = session(own.0, own.1);
            let listed = others.into_iter().chain([own]).map(|(signed_in, seen)| (&session(signed_in, seen)).into());
            let overflow = Overflow::of(listed.collect(), &own_record, most);
            let handles: Vec<_> = overflow.handles.iter().map(|handle| u64::from(handle.as_bytes()[0])).collect();
            assert_eq!((handles, overflow.overtaken_by), (ended, overtaken_by), "{what}");
        }
    }

    #[test]
    fn a_sign_in_that_was_ended_meanwhile_is_not_ended_for_being_one_too_many() {
        let listed = [(6, 6), (7, 7)].map(|(signed_in, seen)| (&session(signed_in, seen)).into());
        let overflow = Overflow::of(listed.into(), &session(5, 9), 2);
        assert_eq!(overflow, Overflow { handles: vec![], overtaken_by: None });
    }
}
