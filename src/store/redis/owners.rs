//! The lists and marks of owners; the parent module documents the order in which they are written and read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::Value;

use super::keyspace::{Keyspace, Meant, Member};
use super::link::RedisFailure;
use crate::clock::time;
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::log::entry_left;
use crate::store::{Created, Loaded, OwnedSession, RevocationMark, format};
use crate::token::StoreKey;

/// The number of records that are read at once.
const BATCH: usize = 64;
/// The number of sessions of a list that are read at once.
const PAGE: usize = 512;

/// The place that a session takes in its owner's list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// The last one.
    Last,
    /// The one that it has; the last if it has none.
    Kept,
}

/// The answer to entering a list.
struct Enlisted {
    mark: Option<RevocationMark>,
    /// The time by the server's clock.
    clock: SystemTime,
    /// The last place of the list.
    place: u64,
    is_new: bool,
    /// Some sessions that were listed a day ago or earlier.
    old: Vec<Member>,
}

/// Some sessions of a list, in its order, each with its place.
pub(super) struct Page {
    pub(super) sessions: Vec<(Member, u64)>,
    /// The place of the last one.
    pub(super) last: u64,
    /// Nothing followed.
    pub(super) is_last: bool,
}

impl Enlisted {
    fn refuses(&self, record: &Record) -> bool {
        self.mark.is_some_and(|mark| mark.refuses(record, self.clock))
    }
}

impl Keyspace {
    /// Creates the record of an owner: enters the list first, writes the record second, and then enters the list once more
    /// and checks the mark.
    pub(super) async fn sign_in(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<Created, StoreError> {
        let entered = self.enlist(owner, key, record, Place::Last, now).await?;
        let (mut is_refused, mut is_taken) = (entered.refuses(record), false);
        if !is_refused {
            let moment = if record.sign_in() > 0 { record.sign_in() } else { entered.place };
            let mut signed_in = record.with_sign_in(moment);
            match self.insert(key, &signed_in, now).await? {
                // The moment that an earlier sending of this call stored.
                Some(standing) => signed_in = signed_in.with_sign_in(standing),
                None => is_taken = true,
            }
            let admitted = self.enlist(owner, key, &signed_in, Place::Last, now).await?;
            is_refused = admitted.refuses(&signed_in);
            if !is_refused && !is_taken {
                self.prune(owner, &admitted.old, now).await;
                return Ok(Created::SignedIn(signed_in.sign_in()));
            }
        }
        if is_refused {
            self.end_refused(owner, key, record, now).await?;
        }
        if entered.is_new {
            self.strike_ended(owner, &[Member::of(*key, record)]).await;
        }
        Ok(if is_refused { Created::Revoked } else { Created::Taken })
    }

    /// Enters a session that is written to in its owner's list again. Returns `false` if the owner's mark refuses the
    /// session, which then has ended.
    pub(super) async fn keep_listed(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let is_refused = self.enlist(owner, key, record, Place::Kept, now).await?.refuses(record);
        if is_refused {
            self.end_refused(owner, key, record, now).await?;
        }
        Ok(!is_refused)
    }

    /// Ends a session that its owner's mark refuses.
    async fn end_refused(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let nothing = Tombstone::new(TombstoneKind::Revoked, Duration::ZERO, now);
        // By handle, since a request that has the token already may have written meanwhile.
        let meant = Meant::Listed(record.handle(), owner, u64::MAX);
        self.retire(key, &meant, &nothing, now).await.map(drop)
    }

    async fn enlist(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        place: Place,
        now: SystemTime,
    ) -> Result<Enlisted, StoreError> {
        let longest = record.deadline().max(record.absolute_deadline());
        // The day is for clocks that step back, after which a session lives longer than foreseen.
        let longest = millis(longest, now).saturating_add(RevocationMark::LIFETIME.as_millis()).to_string();
        let (member, moment) = (Member::of(*key, record).encode(), record.sign_in().to_string());
        let place: &[u8] = match place {
            Place::Last => b"GT",
            Place::Kept => b"NX",
        };
        let arguments = [&member[..], longest.as_bytes(), moment.as_bytes(), place];
        let reply = self.scripts.enlist.call(&self.link, &self.names(owner), &arguments).await?;
        let (mark, clock, place, is_new, old): (Vec<u8>, u64, u64, bool, Vec<Vec<u8>>) = reply.parse()?;
        let old = old.iter().filter_map(|member| Member::decode(member)).collect();
        Ok(Enlisted { mark: read_mark(&mark)?, clock: time(clock), place, is_new, old })
    }

    /// Reads the next sessions of an owner's list, live or not, after this place.
    pub(super) async fn page(&self, owner: &str, after: u64) -> Result<Page, StoreError> {
        let [list, _] = self.names(owner);
        let mut command = redis::cmd("ZRANGE");
        command.arg(list).arg(format!("({after}")).arg("+inf");
        command.arg("BYSCORE").arg("LIMIT").arg(0).arg(PAGE).arg("WITHSCORES");
        let read: Vec<(Vec<u8>, f64)> =
            redis::from_redis_value(self.link.send(&command).await?).map_err(|_| RedisFailure::Reply)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds within 2^53")]
        let place = |score: f64| score as u64;
        Ok(Page {
            is_last: read.len() < PAGE,
            last: read.last().map_or(after, |(_, score)| place(*score)),
            // Members that the store did not write are left out.
            sessions: read
                .iter()
                .filter_map(|(member, score)| Some((Member::decode(member)?, place(*score))))
                .collect(),
        })
    }

    /// Returns an owner's live sessions.
    pub(super) async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let (mut owned, mut after) = (Vec::new(), 0);
        loop {
            let page = self.page(owner, after).await?;
            let listed: Vec<_> = page.sessions.iter().map(|(member, _)| *member).collect();
            owned.extend(self.visit(owner, &listed, now).await?.iter().map(|record| OwnedSession::from(&**record)));
            if page.is_last {
                return Ok(owned);
            }
            after = page.last;
        }
    }

    /// Counts the sessions in an owner's list.
    pub(super) async fn count(&self, owner: &str) -> Result<usize, StoreError> {
        let [list, _] = self.names(owner);
        let counted = self.link.send(redis::cmd("ZCARD").arg(list)).await?;
        Ok(redis::from_redis_value(counted).map_err(|_| RedisFailure::Reply)?)
    }

    /// Reads listed sessions, removes those that do not live from the list, if it can be changed, and returns
    /// the others.
    pub(super) async fn visit(
        &self,
        owner: &str,
        listed: &[Member],
        now: SystemTime,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut live, mut ended, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for batch in listed.chunks(BATCH) {
            let names: Vec<_> = batch.iter().map(|member| self.name(&member.key)).collect();
            let values = match self.link.send(redis::cmd("MGET").arg(&names)).await? {
                Value::Array(values) if values.len() == batch.len() => values,
                _ => return Err(RedisFailure::Reply.into()),
            };
            for (member, value) in batch.iter().zip(&values) {
                let loaded = match value {
                    Value::BulkString(value) => match format::decode(&member.key, value, now) {
                        Ok(Loaded::Absent) => self.settle_expired(&member.key, now).await?,
                        Ok(loaded) => loaded,
                        // A process that knows a newer format may read the value, and then needs the entry.
                        Err(_) => continue,
                    },
                    _ => Loaded::Absent,
                };
                match loaded {
                    Loaded::Live(record)
                        if record.owner() == Some(owner) && Member::of(member.key, &record) == *member =>
                    {
                        live.push(record);
                    }
                    // A sign-in or a move under way enters the list before it writes the record.
                    Loaded::Absent => absent.push(*member),
                    _ => ended.push(*member),
                }
            }
        }
        self.strike_ended(owner, &ended).await;
        if let Err(error) = self.strike_absent(owner, &absent).await
            && let Some(member) = absent.first()
        {
            entry_left(&member.key, error);
        }
        Ok(live)
    }

    /// Removes those of a few listed sessions that have ended: more than a sign-in adds, so that the list stays short.
    async fn prune(&self, owner: &str, listed: &[Member], now: SystemTime) {
        if let Err(error) = self.visit(owner, listed, now).await
            && let Some(member) = listed.first()
        {
            entry_left(&member.key, error);
        }
    }
}

/// Reads a mark and returns `None` for no bytes.
///
/// Bytes of any other length than a mark's are an error, since a sign-in that cannot be checked must not count.
pub(super) fn read_mark(bytes: &[u8]) -> Result<Option<RevocationMark>, RedisFailure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    RevocationMark::decode(bytes).map(Some).ok_or(RedisFailure::Mark)
}

/// Returns the time from `now` to `end` in milliseconds: at least one, at most a century.
pub(super) fn millis(end: SystemTime, now: SystemTime) -> u128 {
    const CENTURY: u128 = 100 * 31_557_600_000;
    end.duration_since(now).map_or(1, |left| left.as_micros().div_ceil(1_000).clamp(1, CENTURY))
}
