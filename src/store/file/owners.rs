//! Whose sessions are whose: a directory for each owner, with an empty file named by each session, and the mark.
//!
//! Entries are hints. The record says whose it is and whether it lives; an entry without one is removed when it is
//! met. Entries come and go under the owner's lock only, and so does the mark, which is how a sign-in and a revocation
//! find each other: the one that takes the lock second sees what the first has written.

use std::io::{self, Read as _};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::dir::{self, Dir, Found, Locked, NEW};
use super::session::{self, Glance, Standing};
use super::turns::Tree;
use crate::store::{OwnedSession, Revocation, RevocationMark};
use crate::token::StoreKey;

const MARK: &str = "mark";

/// The SHA-256 of an owner's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner([u8; 32]);

impl Owner {
    pub(super) fn of(name: &str) -> Self {
        Self(Sha256::digest(name).into())
    }

    pub(super) fn shard(self) -> u8 {
        self.0[0]
    }

    /// The name of the owner's directory in its shard.
    fn name(self) -> String {
        StoreKey::from_bytes(self.0).hex().split_off(2)
    }
}

/// What became of a session that [`visit`] was sent to.
pub(super) enum Visit {
    Lives(OwnedSession),
    Ended,
    /// It is not there, or somebody else's: the entry is gone now.
    Stale,
}

/// Reads an owner's mark, an empty one if there is none.
pub(super) fn mark(owners: &Dir, owner: Owner) -> io::Result<RevocationMark> {
    match owners.sub(&owner.name())? {
        Some(list) => read_mark(&list).map(Option::unwrap_or_default),
        None => Ok(RevocationMark::default()),
    }
}

/// Adds a revocation to an owner's mark.
pub(super) fn add_mark(owners: &Locked<'_>, owner: Owner, revocation: &Revocation) -> io::Result<()> {
    let list = owners.make_locked(&owner.name())?;
    let mut mark = read_mark(&list)?.unwrap_or_default();
    mark.add(revocation);
    list.replace(MARK, &mark.encode())
}

/// Enters a session in its owner's list.
pub(super) fn add(owners: &Locked<'_>, owner: Owner, key: &StoreKey) -> io::Result<()> {
    owners.make_locked(&owner.name())?.note(&key.hex())
}

/// Lists an owner's sessions as they look without a lock; `None` where only [`visit`] can say.
pub(super) fn list(tree: &Tree, owner: Owner, now: SystemTime) -> io::Result<Vec<(StoreKey, Option<OwnedSession>)>> {
    let Some(list) = tree.owners(owner.shard())?.map_or(Ok(None), |owners| owners.sub(&owner.name()))? else {
        return Ok(Vec::new());
    };
    let look = |key: StoreKey| {
        let shard = tree.shard(key.as_bytes()[0])?;
        Ok((
            key,
            match session::glance(shard.as_ref(), &key, now)? {
                Glance::Sure(standing) => owned(&standing, owner),
                Glance::Unsure => None,
            },
        ))
    };
    keys(&list)?.into_iter().map(look).collect()
}

/// Ends a listed session if it is meant, and removes its entry if it does not live.
pub(super) fn visit(
    (owners, shard): (&Locked<'_>, &Locked<'_>),
    owner: Owner,
    key: &StoreKey,
    end: Option<Revocation>,
    now: SystemTime,
) -> io::Result<Visit> {
    let visit = match owned(&session::settle(shard, key, now)?, owner) {
        Some(session) => match end {
            Some(revocation) if revocation.includes(session.handle) => {
                session::retire(shard, key, &revocation.tombstone(now), now)?;
                Visit::Ended
            }
            _ => return Ok(Visit::Lives(session)),
        },
        None => Visit::Stale,
    };
    if let Some(list) = owners.sub_locked(&owner.name())? {
        list.remove(&key.hex())?;
        owners.remove_empty(&owner.name())?;
    }
    Ok(visit)
}

/// Lists the owners of a shard with the entries that [`visit`] should see, and whether [`tidy`] has something to do.
pub(super) fn stale(tree: &Tree, shard: u8, now: SystemTime) -> io::Result<Vec<(Owner, Vec<StoreKey>, bool)>> {
    let Some(owners) = tree.owners(shard)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in owners.names()? {
        let name = name?;
        let Some(owner) = digest(&format!("{shard:02x}{name}")).map(Owner) else { continue };
        let list = match owners.sub(&name) {
            Ok(Some(list)) => list,
            // No directory of ours: left alone.
            Err(error) if dir::is_foreign(&error) => continue,
            Ok(None) => continue,
            Err(error) => return Err(error),
        };
        let keys = keys(&list)?;
        let untidy = match list.file(MARK)? {
            Found::Nothing => keys.is_empty(),
            Found::File(_) | Found::Foreign => read_mark(&list)?.is_none_or(|mark| mark.is_expired(now)),
        };
        let mut gone = Vec::new();
        for key in keys {
            let shard = tree.shard(key.as_bytes()[0])?;
            let header = shard.map_or(Ok(None), |shard| session::peek(&shard, &session::name(&key)))?;
            if !header.is_some_and(|header| header.is_record()) {
                gone.push(key);
            }
        }
        if untidy || !gone.is_empty() {
            found.push((owner, gone, untidy));
        }
    }
    Ok(found)
}

/// Removes an owner's mark if it has expired, and the directory if nothing is left in it. Returns whether a mark went.
pub(super) fn tidy(owners: &Locked<'_>, owner: Owner, now: SystemTime) -> io::Result<bool> {
    let Some(list) = owners.sub_locked(&owner.name())? else { return Ok(false) };
    let expired = read_mark(&list)?.is_none_or(|mark| mark.is_expired(now));
    let removed = expired && list.remove(MARK)?;
    list.remove(NEW)?;
    owners.remove_empty(&owner.name())?;
    Ok(removed)
}

/// The bytes of 64 lower-case hex digits, the only way in which we write a digest.
pub(super) fn digest(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs: &[[u8; 2]; 32] = hex.as_bytes().as_chunks().0.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (hex.len() == 64).then_some(bytes)
}

fn owned(standing: &Standing, owner: Owner) -> Option<OwnedSession> {
    match standing {
        Standing::Live(record, _) if record.owner().map(Owner::of) == Some(owner) => Some((&**record).into()),
        _ => None,
    }
}

fn keys(list: &Dir) -> io::Result<Vec<StoreKey>> {
    list.names()?.filter_map(|name| name.map(|name| digest(&name).map(StoreKey::from_bytes)).transpose()).collect()
}

/// `None` where there is no readable mark. Only a power loss tears one, where nothing was synced, and no sign-in that
/// the mark would have refused outlives that.
fn read_mark(list: &Dir) -> io::Result<Option<RevocationMark>> {
    let Found::File(mut file) = list.file(MARK)? else { return Ok(None) };
    let mut bytes = [0; 33];
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(RevocationMark::decode(&bytes[..len]))
}
