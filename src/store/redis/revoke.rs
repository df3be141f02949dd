//! The revocation of an owner's sessions: the mark first, then the list, page by page.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::JoinSet;

use super::keyspace::{Keyspace, Meant, Member};
use super::link::RedisFailure;
use super::owners::{millis, read_mark};
use crate::clock::time;
use crate::error::StoreError;
use crate::record::Tombstone;
use crate::store::{Revocation, Revoke};

/// The number of sessions that are ended at once. The commands of other requests wait behind no more than these.
const BATCH: usize = 64;

impl Keyspace {
    /// Ends the sessions of an owner that a revocation includes, and returns how many it ended.
    pub(super) async fn revoke(
        self: &Arc<Self>,
        owner: &str,
        revocation: &Revocation,
        now: SystemTime,
    ) -> Result<usize, StoreError> {
        if !revocation.leaves_mark() {
            return self.end_listed(owner, revocation, None, now).await;
        }
        let marked = self.mark(owner, revocation).await;
        // Where the mark cannot be written, ending sessions may make room for it.
        let mut ended = self.end_listed(owner, revocation, marked.as_ref().ok().copied(), now).await?;
        if marked.is_err() {
            let latest = self.mark(owner, revocation).await?;
            ended += self.end_listed(owner, revocation, Some(latest), now).await?;
        }
        Ok(ended)
    }

    /// Adds a revocation to the owner's mark, and returns its moment.
    async fn mark(&self, owner: &str, add: &Revocation) -> Result<u64, StoreError> {
        let names = self.names(owner);
        let (mut stored, mut next, mut moment, mut lifetime) = (Vec::new(), Vec::new(), 0, 1);
        loop {
            let (at, kept) = (u64::to_string(&moment), u128::to_string(&lifetime));
            let arguments = [stored.as_slice(), &next, at.as_bytes(), kept.as_bytes()];
            let reply = self.scripts.mark.call(&self.link, &names, &arguments).await?;
            if reply.word == b"done" {
                return Ok(moment);
            }
            // The first call reads. A later one does where another call was faster.
            let read: (Vec<u8>, u64, u64) = reply.parse()?;
            let mut mark = read_mark(&read.0)?.unwrap_or_default();
            let clock = time(read.1);
            mark.add(add, read.2, clock);
            (moment, lifetime) = (read.2, millis(mark.deadline(), clock));
            (stored, next) = (read.0, mark.encode().to_vec());
        }
    }

    /// Ends the listed sessions that a revocation includes, up to this moment; without one, all.
    async fn end_listed(
        self: &Arc<Self>,
        owner: &str,
        revocation: &Revocation,
        latest: Option<u64>,
        now: SystemTime,
    ) -> Result<usize, StoreError> {
        let these: Option<HashSet<_>> = match revocation.which() {
            Revoke::These(handles) => Some(handles.iter().copied().collect()),
            _ => None,
        };
        let includes = |member: &Member| match &these {
            Some(these) => these.contains(&member.handle),
            None => revocation.includes(member.handle),
        };
        let (tombstone, mut ended, mut after) = (revocation.tombstone(now), 0, 0);
        loop {
            let page = self.page(owner, after).await?;
            let meant: Vec<_> = page.sessions.into_iter().filter(|(member, _)| includes(member)).collect();
            let mut are_later = true;
            for batch in meant.chunks(BATCH) {
                let batch = self.end_batch(owner, batch, latest, &tombstone, now).await?;
                ended += batch.ended;
                are_later &= batch.are_later;
            }
            // A session that is renewed enters the list before the old one ends, at the last place. So it comes in a later
            // page, and one more is read after the last that had any.
            if page.is_last && are_later {
                return Ok(ended);
            }
            after = page.last;
        }
    }

    /// Ends a few sessions at once, and removes them from their list.
    async fn end_batch(
        self: &Arc<Self>,
        owner: &str,
        batch: &[(Member, u64)],
        latest: Option<u64>,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<Batch, StoreError> {
        let (mut ending, owner) = (JoinSet::new(), Arc::<str>::from(owner));
        for &(member, place) in batch {
            let (keyspace, owner, tombstone) = (Arc::clone(self), Arc::clone(&owner), tombstone.clone());
            ending.spawn(async move {
                let meant = Meant::Listed(member.handle, &owner, latest.unwrap_or(u64::MAX));
                (member, keyspace.end(&member.key, &meant, Some(place), &tombstone, now).await)
            });
        }
        let (mut ended, mut absent, mut done) = (Vec::new(), Vec::new(), Batch { ended: 0, are_later: true });
        while let Some(answer) = ending.join_next().await {
            let (member, reply) = answer.map_err(StoreError::new)?;
            let reply = reply?;
            // A process that knows a newer format may read a foreign value, and then needs the entry.
            done.are_later &= [&b"later"[..], b"foreign"].contains(&&*reply.word);
            match &*reply.word {
                b"done" => {
                    done.ended += 1;
                    ended.push(member);
                }
                b"retired" | b"other" => ended.push(member),
                b"gone" => absent.push(member),
                b"later" | b"foreign" => {}
                _ => return Err(RedisFailure::Reply.into()),
            }
        }
        self.strike_ended(&owner, &ended).await;
        self.strike_absent(&owner, &absent).await?;
        Ok(done)
    }
}

/// The end of a few sessions.
struct Batch {
    /// The number of those that this call ended.
    ended: usize,
    /// All of them signed in after the revocation, or cannot be read.
    are_later: bool,
}
