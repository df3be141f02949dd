//! Sign-ins and the marks of revocations.
//!
//! A sign-in and a revocation must not miss each other. A revocation writes the owner's mark and then ends the owner's
//! sessions. A sign-in inserts its row as *arriving*, which only a revocation sees, then reads the mark, and makes the
//! row live only if the mark lets it. Each of these steps is committed before the next begins. So either the sign-in
//! reads the mark, or it inserted its row before the mark was written and the revocation finds the row. The revocation
//! deletes a row that is still arriving, whereupon the sign-in reads the mark again, and ends a row that is live. Neither
//! waits for a transaction of the other, since there are none.

use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::dialect::kind;
use super::driver::SqlPool;
use super::row::Arg;
use super::store::SqlStore;
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{Created, Revocation, RevocationMark};
use crate::token::StoreKey;

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
        loop {
            let standing = self.insert_record(key, kind::ARRIVING, record, now).await?;
            let is_another = standing.as_ref().is_some_and(|row| !row.is_at(record.version()));
            if let Some((mark, _)) = self.mark(owner).await?
                && mark.refuses(record)
            {
                if !is_another {
                    self.execute(&self.statements.withdraw, &row).await?;
                }
                return Ok(Created::Revoked(mark));
            }
            if is_another {
                return Ok(Created::Taken);
            }
            if standing.is_some_and(|row| row.kind == kind::LIVE) {
                return Ok(Created::Stored);
            }
            if self.execute(&self.statements.admit, &row).await? > 0 {
                return Ok(Created::Stored);
            }
            // A revocation deleted the row, or this very call was sent twice at once.
        }
    }

    /// Removes an owner's expired rows, and returns their number.
    pub(super) async fn expire_owned(&self, owner: &str, now: SystemTime) -> Result<u64, StoreError> {
        self.execute(&self.statements.expire_owned, &[Arg::Bytes(owner.as_bytes()), Arg::time(now)]).await
    }

    /// Reads an owner's mark, with its bytes.
    async fn mark(&self, owner: &str) -> Result<Option<(RevocationMark, Vec<u8>)>, StoreError> {
        let row = self.rows(&self.statements.find, &[Arg::Bytes(&mark_id(owner))]).await?.pop();
        Ok(row.map(|row| (RevocationMark::decode(&row.body).unwrap_or_default(), row.body)))
    }

    /// Adds a revocation to an owner's mark, by compare-and-swap on its bytes.
    pub(super) async fn add_mark(&self, owner: &str, revocation: &Revocation) -> Result<(), StoreError> {
        let id = mark_id(owner);
        loop {
            let (mut mark, before) = self.mark(owner).await?.unzip();
            let mark = mark.get_or_insert_default();
            mark.add(revocation);
            let body = mark.encode();
            let (id, body) = (Arg::Bytes(&id), Arg::Bytes(&body));
            let (deadline, seen) = (Arg::time(mark.deadline()), Arg::time(revocation.at()));
            let is_written = match &before {
                None => {
                    let (kind, version, owner, handle) = (Arg::Int(kind::MARK), Arg::Int(0), Arg::Null, Arg::Null);
                    self.insert(&[id, kind, version, deadline, seen, owner, handle, Arg::NoInt, body]).await?
                }
                // A row that the statement leaves as it was counts as found, too.
                Some(before) => {
                    self.execute(&self.statements.mark, &[deadline, seen, body, id, Arg::Bytes(before)]).await? > 0
                }
            };
            if is_written {
                return Ok(());
            }
        }
    }
}

/// Returns the key of an owner's mark. No session has it, since a session's key is the digest of 24 bytes.
fn mark_id(owner: &str) -> [u8; 32] {
    Sha256::new().chain_update(b"tower-session-layer mark of owner ").chain_update(owner).finalize().into()
}
