//! Removing what has expired, in steps that hold up nobody.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::dir::NEW;
use super::owners::{self, Owner};
use super::session;
use super::turns::{Tree, Turns};
use crate::clock::micros;
use crate::error::StoreError;
use crate::token::StoreKey;

/// Files that are removed under one lock.
const STEP: usize = 16;
/// 256 shards of sessions, then 256 of owners: what a session leaves in its owner's list goes in the same round.
const PLACES: usize = 512;

/// Where the next call goes on.
#[derive(Debug, Default)]
pub(super) struct Cursor(AtomicUsize);

impl Cursor {
    /// Removes up to `limit` records, tombstones and marks; fewer went only if everything was visited once.
    pub(super) async fn sweep(&self, turns: &Turns, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        let start = self.0.load(Ordering::Relaxed) % PLACES;
        let mut gone = 0;
        for place in (start..PLACES).chain(0..start) {
            // Moved on first, so that one place which always fails does not keep the sweep from all others.
            self.0.store(place + 1, Ordering::Relaxed);
            let left = limit - gone;
            gone += match u8::try_from(place) {
                Ok(shard) => sessions(turns, shard, left, now).await?,
                Err(_) => marks(turns, u8::try_from(place - PLACES / 2).unwrap_or_default(), left, now).await?,
            };
            if gone >= limit {
                self.0.store(place, Ordering::Relaxed);
                break;
            }
        }
        Ok(gone)
    }
}

async fn sessions(turns: &Turns, shard: u8, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
    let (expired, stray) = turns.read(move |tree| expired(tree, shard, limit, now)).await?;
    if stray {
        turns.in_shard(shard, |shard| shard.remove(NEW)).await?;
    }
    let mut gone = 0;
    for names in expired.chunks(STEP) {
        let names = names.to_vec();
        gone += turns
            .in_shard(shard, move |shard| {
                let mut gone = 0;
                for name in &names {
                    let expired = session::peek(shard, name)?.is_some_and(|header| header.is_expired(micros(now)));
                    gone += usize::from(expired && shard.remove(name)?);
                }
                Ok(gone)
            })
            .await?;
    }
    Ok(gone)
}

/// The names of what has expired in a shard, and whether there is a file that is being written or was.
fn expired(tree: &Tree, shard: u8, limit: usize, now: SystemTime) -> io::Result<(Vec<String>, bool)> {
    let (mut expired, mut stray) = (Vec::new(), false);
    let Some(dir) = tree.shard(shard)? else { return Ok((expired, stray)) };
    for name in dir.names()? {
        let name = name?;
        stray |= name == NEW;
        let is_ours = owners::digest(&format!("{shard:02x}{name}")).is_some();
        if is_ours && session::peek(&dir, &name)?.is_some_and(|header| header.is_expired(micros(now))) {
            expired.push(name);
            if expired.len() == limit {
                break;
            }
        }
    }
    Ok((expired, stray))
}

async fn marks(turns: &Turns, shard: u8, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
    let mut gone = 0;
    for (owner, keys, untidy) in turns.read(move |tree| owners::stale(tree, shard, now)).await? {
        if gone == limit {
            break;
        }
        for key in keys {
            prune(turns, owner, key, now).await?;
        }
        if untidy {
            gone += usize::from(turns.in_owners(owner, move |owners| owners::tidy(owners, owner, now)).await?);
        }
    }
    Ok(gone)
}

/// Removes a session's entry in its owner's list if the session does not live.
pub(super) async fn prune(turns: &Turns, owner: Owner, key: StoreKey, now: SystemTime) -> Result<(), StoreError> {
    let visit = turns
        .in_both(owner, key, move |owners, shard| owners::visit((owners, shard), owner, &key, None, now).map(drop));
    visit.await
}
