//! Sign-ins and the marks of revocations.
//!
//! A sign-in and a revocation must not miss each other. A sign-in inserts its row as *arriving*, which only a revocation
//! sees, with its moment. Then it reads the mark, and makes the row live only if the mark lets it. A revocation writes the
//! owner's mark, deletes the rows that are arriving, and ends those that are live. Each of these steps is committed before
//! the next begins. So either the sign-in reads the mark, or it inserted its row before the mark was written and the
//! revocation finds the row. If the row was deleted, the sign-in starts again and reads the mark. Neither waits for a
//! transaction of the other, since there are none.
//!
//! A session keeps its moment when it is renewed, so a mark must have a larger moment than each session that did not see
//! it. The statement that writes the mark cannot see the rows of all of them. So the revocation looks for the latest
//! moment again once the mark is written, and writes a mark with a larger one if need be.

use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::dialect::THESE;
use super::driver::SqlPool;
use super::row::Arg;
use super::store::SqlStore;
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, SessionHandle};
use crate::store::{Created, Revocation, RevocationMark};
use crate::token::StoreKey;

/// How often a sign-in looks whether another one under its token arrives, and the pause between two looks. Only a session
/// that is moved from another store is created under a token that others know.
const PATIENCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The order of an owner's sign-ins and revocations, read in one statement.
pub(super) struct Order {
    /// The latest moment of the owner's sessions; zero without any.
    pub(super) latest: u64,
    /// The moment of the session that was asked for, if there is one.
    pub(super) sign_in: Option<u64>,
    pub(super) mark: RevocationMark,
    /// The bytes of the mark, if there is one.
    pub(super) mark_bytes: Option<Vec<u8>>,
    /// The database's clock.
    pub(super) clock: SystemTime,
}

impl<Pool: SqlPool> SqlStore<Pool> {
    /// Creates the session of an owner.
    pub(super) async fn create_owned(
        &self,
        key: StoreKey,
        record: &Record,
        owner: &str,
        now: SystemTime,
    ) -> Result<Created, StoreError> {
        let row = [Arg::Bytes(key.as_bytes()), Arg::version(record.version())];
        let (mut is_raised, mut waited) = (record.sign_in() > 0, 0);
        'arriving: loop {
            let standing = self.insert_record(key, record, true, now).await?;
            let is_another = standing.as_ref().is_some_and(|row| !row.is_of(record));
            if let Some(other) = standing.as_ref().filter(|other| is_another && other.is_arriving()) {
                // It arrives in a moment, or its call was broken off and it never will.
                if waited < PATIENCE {
                    waited += 1;
                    tokio::time::sleep(PAUSE).await;
                } else {
                    waited = 0;
                    let version = other.version.map_or(Arg::NoInt, Arg::Int);
                    self.execute(&self.statements.give_way, &[row[0], version]).await?;
                }
                continue 'arriving;
            }
            let is_live = standing.is_some_and(|row| row.is_live());
            loop {
                let order = self.order(owner, &row).await?;
                // A live session has its place in the order. One that arrives is as old as its process says.
                let placed = order.sign_in.filter(|_| !is_another).map(|moment| record.with_sign_in(moment));
                let judged = placed.as_ref().filter(|_| is_live).unwrap_or(record);
                if order.mark.refuses(judged, order.clock) {
                    if !is_another {
                        self.execute(&self.statements.withdraw, &row).await?;
                    }
                    return Ok(Created::Revoked);
                }
                if is_another {
                    return Ok(Created::Taken);
                }
                // A revocation deleted the row.
                let Some(placed) = placed else { continue 'arriving };
                if is_live {
                    return Ok(Created::SignedIn(placed.sign_in()));
                }
                // A sign-in is later by the clock than what was there before it, unless the clock was set back. Of many
                // at once each would find another one ahead, so it looks once.
                let is_behind = placed.sign_in() < order.latest && micros(order.clock) < order.latest && !is_raised;
                if is_behind || order.mark.refuses(&placed, order.clock) {
                    is_raised = true;
                    let moment = Arg::Int(order.mark.next_moment(order.latest, order.clock).cast_signed());
                    self.execute(&self.statements.raise, &[moment, row[0], row[1]]).await?;
                    continue;
                }
                if self.execute(&self.statements.admit, &[Arg::time(record.seen()), row[0], row[1]]).await? > 0 {
                    return Ok(Created::SignedIn(placed.sign_in()));
                }
                // A revocation deleted the row, or this very call was sent twice at once.
                continue 'arriving;
            }
        }
    }

    /// Removes an owner's expired rows, and returns their number.
    pub(super) async fn expire_owned(&self, owner: &str, now: SystemTime) -> Result<u64, StoreError> {
        self.execute(&self.statements.expire_owned, &[Arg::Bytes(owner.as_bytes()), Arg::time(now)]).await
    }

    /// Ends sessions of these handles, as many as one statement names, and returns their number.
    pub(super) async fn end_these(
        &self,
        tombstone: [Arg<'_>; 3],
        owner: Arg<'_>,
        handles: &[SessionHandle],
    ) -> Result<u64, StoreError> {
        let (statement, count) = match handles {
            [_] => (&self.statements.end_one, 1),
            _ => (&self.statements.end_these, THESE),
        };
        let mut args = [&tombstone[..], &[owner]].concat();
        args.extend(handles.iter().cycle().take(count).map(|handle| Arg::Bytes(handle.as_bytes())));
        let mut ended = self.end(statement, &args, None).await?;
        // A statement sees the rows as they were when it began. A renewal stores its new record before it ends the old
        // one, so a statement that begins now sees the new record.
        while ended == 0 || count > 1 {
            let more = self.end(statement, &args, None).await?;
            ended += more;
            if more == 0 {
                break;
            }
        }
        Ok(ended)
    }

    /// Ends the sessions up to a moment but one, in statements that hold up no other writer for long, and returns their
    /// number.
    pub(super) async fn end_others(
        &self,
        tombstone: [Arg<'_>; 3],
        owner: Arg<'_>,
        kept: &[u8],
        moment: u64,
    ) -> Result<u64, StoreError> {
        let [until, seen, body] = tombstone;
        let args = [until, seen, body, owner, Arg::Bytes(kept), Arg::Int(i64::try_from(moment).unwrap_or(i64::MAX))];
        let mut ended = 0;
        loop {
            let more = self.end(&self.statements.end_others, &args, None).await?;
            ended += more;
            if Pool::DIALECT.chunk.is_none_or(|most| more < most) {
                return Ok(ended);
            }
        }
    }

    /// Writes a revocation into an owner's mark, at a moment after all sessions that do not see the mark, and returns the
    /// moment.
    pub(super) async fn mark(&self, owner: &str, revocation: &Revocation) -> Result<u64, StoreError> {
        let moment = self.add_mark(owner, revocation).await?;
        let has_missed = self.order(owner, &NO_SESSION).await?.latest > moment;
        if has_missed { self.add_mark(owner, revocation).await } else { Ok(moment) }
    }

    /// Adds a revocation to an owner's mark, by compare-and-swap on its bytes, and returns its moment.
    async fn add_mark(&self, owner: &str, revocation: &Revocation) -> Result<u64, StoreError> {
        loop {
            let Order { latest, mut mark, mark_bytes, clock, .. } = self.order(owner, &NO_SESSION).await?;
            let moment = mark.next_moment(latest, clock);
            mark.add(revocation, moment, clock);
            if self.swap_mark(owner, mark_bytes.as_deref(), &mark, clock).await? {
                return Ok(moment);
            }
        }
    }

    async fn swap_mark(
        &self,
        owner: &str,
        before: Option<&[u8]>,
        mark: &RevocationMark,
        clock: SystemTime,
    ) -> Result<bool, StoreError> {
        let (id, body) = (mark_id(owner), mark.encode());
        let (id, body) = (Arg::Bytes(&id), Arg::Bytes(&body));
        let (deadline, seen) = (Arg::time(mark.deadline()), Arg::time(clock));
        let written = match before {
            None => {
                let row = [id, Arg::NoInt, deadline, seen, Arg::Null, Arg::Null, Arg::NoInt, body];
                self.execute(&self.statements.insert, &row).await?
            }
            // A row that the statement leaves as it was counts as found, too.
            Some(before) => {
                self.execute(&self.statements.mark, &[deadline, seen, body, id, Arg::Bytes(before)]).await?
            }
        };
        Ok(written > 0)
    }
}

/// The key and version of no session.
const NO_SESSION: [Arg<'static>; 2] = [Arg::Bytes(&[]), Arg::Int(0)];

/// Returns the key of an owner's mark. No session has it, since a session's key is the digest of 32 bytes.
pub(super) fn mark_id(owner: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"tower-session-layer mark of owner ").chain_update(owner).finalize().into()
}
