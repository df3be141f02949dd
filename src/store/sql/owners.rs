//! Whose sessions are whose, and the marks of revocations.
//!
//! A sign-in and a revocation must not miss each other. The revocation writes the owner's mark and then ends the
//! owner's sessions. The sign-in inserts its row as arriving, which nobody but a revocation sees, then reads the mark, and
//! makes the row live only if the mark lets it. Each of these is committed before the next begins. So either the
//! sign-in reads a mark that was written before, or it had inserted its row before the mark was written, and the revocation
//! finds it: still arriving, and turns it away, whereupon the sign-in looks again; or live, and ends it. The two
//! never wait for each other's transaction, since there is none to wait for.

use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::dialect::kind;
use super::driver::{Arg, Driver};
use super::table::{Inserted, NewRow, Table, int, is_expired, read, signed};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{Created, Loaded, OwnedSession, Revocation, RevocationMark, Revoke};
use crate::token::StoreKey;

impl<D: Driver> Table<D> {
    /// Creates the session of somebody who signed in.
    pub(super) async fn create_owned(
        &self,
        key: StoreKey,
        record: &Record,
        owner: &str,
        now: SystemTime,
    ) -> Result<Created, StoreError> {
        let row = [Arg::Bytes(key.as_bytes()), Arg::Int(record.version().get().cast_signed())];
        loop {
            let inserted = self.insert_record(key, kind::ARRIVING, record, now).await?;
            if let Some((mark, _)) = self.mark(owner).await?
                && mark.refuses(record)
            {
                if inserted != Inserted::Taken {
                    self.execute(&self.statements.withdraw, &row).await?;
                }
                return Ok(Created::Revoked(mark));
            }
            match inserted {
                Inserted::Taken => return Ok(Created::Taken),
                Inserted::Again(kind::LIVE) => return Ok(Created::Stored),
                Inserted::New | Inserted::Again(_) => {}
            }
            if self.execute(&self.statements.admit, &row).await? > 0 {
                return Ok(Created::Stored);
            }
            // A revocation turned the row away, or this very call was sent twice at once: look again.
        }
    }

    pub(super) async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let rows = loop {
            let rows = self.rows(&self.statements.owned, &[Arg::Bytes(owner.as_bytes())]).await?;
            let expired = rows.iter().filter(|row| is_expired(row, now)).count() as u64;
            // Fewer go where a deadline moved meanwhile.
            if expired == 0 || self.expire_owned(owner, now).await? >= expired {
                break rows;
            }
        };
        let live = rows.into_iter().filter(|row| !is_expired(row, now)).filter_map(|row| match read(row, now) {
            Loaded::Live(record) => Some(OwnedSession::from(&*record)),
            _ => None,
        });
        Ok(live.collect())
    }

    pub(super) async fn revoke(
        &self,
        owner: &str,
        revocation: &Revocation,
        now: SystemTime,
    ) -> Result<usize, StoreError> {
        let name = Arg::Bytes(owner.as_bytes());
        if revocation.leaves_mark() {
            self.add_mark(owner, revocation).await?;
            self.execute(&self.statements.turn_away, &[name]).await?;
        }
        // First, so that whatever is live then has not expired, or only just.
        self.expire_owned(owner, now).await?;
        // No session has a handle without a byte.
        let (statement, handle) = match &revocation.which {
            Revoke::One(handle) => (&self.statements.end_one, &handle.as_bytes()[..]),
            Revoke::Others(handle) => (&self.statements.end_others, &handle.as_bytes()[..]),
            Revoke::All => (&self.statements.end_others, &[][..]),
        };
        let stone = revocation.tombstone(now);
        let body = stone.encode();
        let args = [int(stone.until()), int(now), Arg::Bytes(&body), name, Arg::Bytes(handle)];
        let mut ended = self.execute(statement, &args).await?;
        if ended == 0 && !revocation.leaves_mark() {
            // A statement sees what was there as it began, and what has ended since no more. A renewal stores its new record
            // first, which one that begins now sees.
            ended = self.execute(statement, &args).await?;
        }
        Ok(usize::try_from(ended).unwrap_or(usize::MAX))
    }

    async fn expire_owned(&self, owner: &str, now: SystemTime) -> Result<u64, StoreError> {
        self.execute(&self.statements.expire_owned, &[Arg::Bytes(owner.as_bytes()), int(now)]).await
    }

    /// Reads an owner's mark, with its bytes.
    async fn mark(&self, owner: &str) -> Result<Option<(RevocationMark, Vec<u8>)>, StoreError> {
        let row = self.rows(&self.statements.find, &[Arg::Bytes(&mark_id(owner))]).await?.pop();
        Ok(row.map(|row| (RevocationMark::decode(&row.body).unwrap_or_default(), row.body)))
    }

    /// Adds a revocation to an owner's mark, by compare-and-swap on its bytes.
    async fn add_mark(&self, owner: &str, revocation: &Revocation) -> Result<(), StoreError> {
        let id = mark_id(owner);
        loop {
            let standing = self.mark(owner).await?;
            let mut mark = standing.as_ref().map(|(mark, _)| *mark).unwrap_or_default();
            mark.add(revocation);
            let body = mark.encode();
            let (deadline, seen) = (signed(mark.deadline()), signed(revocation.at()));
            let is_written = match &standing {
                None => {
                    let (kind, version, owner, handle) = (kind::MARK, 0, None, None);
                    let row = NewRow { id: &id, kind, version, deadline, seen, owner, handle, body: &body };
                    self.insert(&row).await?
                }
                // Found again as it is, it counts as written.
                Some((_, before)) => {
                    let args =
                        [Arg::Int(deadline), Arg::Int(seen), Arg::Bytes(&body), Arg::Bytes(&id), Arg::Bytes(before)];
                    self.execute(&self.statements.mark, &args).await? > 0
                }
            };
            if is_written {
                return Ok(());
            }
        }
    }
}

/// Under what an owner's mark stands: no session does, since its key is the digest of 24 bytes.
fn mark_id(owner: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"tower-session-layer mark of owner ").chain_update(owner).finalize().into()
}
