//! A custom store, the long way: a table of rows behind one lock, laid out as in a database.
//!
//! Each method is one transaction. `cargo test --example table_store` runs the public suite against it.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime as Time};

use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, RecordHead, Revocation, RevocationMark, SessionStore,
    SessionToken, StoreError, StoreKey, TokenScope, TokenShape, Tombstone, TombstoneKind, Updated, Version,
};

type Answer<T> = Result<T, StoreError>;

#[derive(Debug, Default)]
struct TableStore(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    sessions: BTreeMap<StoreKey, Row>,
    marks: HashMap<String, RevocationMark>,
    /// The latest moment of a sign-in or revocation.
    moment: u64,
}

/// A row. The columns that statements compare and change stand beside the encoded session.
#[derive(Debug)]
struct Row {
    head: RecordHead,
    body: Vec<u8>,
}

impl Row {
    fn live(record: &Record) -> Self {
        Self { head: record.head(), body: record.encode() }
    }

    fn tombstone(stone: &Tombstone, now: Time) -> Self {
        Self { head: RecordHead::new(None, stone.until(), now, None), body: stone.encode() }
    }

    fn read(&self, now: Time) -> Loaded {
        // Corrupt bytes count as absence, with a warning.
        Loaded::decode(self.head.clone(), &self.body, now)
            .inspect_err(|error| tracing::warn!(%error))
            .unwrap_or(Loaded::Absent)
    }
}

impl Tables {
    /// Returns the row of a key. An expired row is removed instead.
    fn row(&mut self, key: &StoreKey, now: Time) -> Option<&mut Row> {
        if self.sessions.get(key)?.head.deadline <= now {
            self.sessions.remove(key);
        }
        self.sessions.get_mut(key)
    }

    fn live(&mut self, token: &SessionToken, now: Time) -> Option<&mut Row> {
        self.row(&token.key(), now).filter(|row| row.head.version.is_some())
    }

    /// Returns the moment of the next sign-in or revocation, whatever the clock says.
    fn next_moment(&mut self, clock: Time) -> u64 {
        self.moment = RevocationMark::default().next_moment(self.moment, clock);
        self.moment
    }

    /// Returns an owner's live sessions. A database has an index for this.
    fn owned(&mut self, owner: &str, now: Time) -> Vec<(StoreKey, Arc<Record>)> {
        let is_owned = |row: &Row| row.head.owner.as_deref() == Some(owner);
        self.sessions.retain(|_, row| !is_owned(row) || row.head.deadline > now);
        let rows = self.sessions.iter().filter(|(_, row)| is_owned(row));
        rows.filter_map(|(key, row)| if let Loaded::Live(record) = row.read(now) { Some((*key, record)) } else { None })
            .collect()
    }
}

impl TableStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the answer for a record that is stored.
fn created(record: &Record) -> Created {
    if record.owner().is_some() { Created::SignedIn(record.sign_in()) } else { Created::Stored }
}

impl SessionStore for TableStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        true
    }

    async fn load(&self, token: &SessionToken, now: Time) -> Answer<Loaded> {
        Ok(self.tables().row(&token.key(), now).map_or(Loaded::Absent, |row| row.read(now)))
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: Time) -> Answer<Created> {
        let mut tables = self.tables();
        // Not `now`: one clock for all hosts, as a database's own.
        let clock = Time::now();
        let mark = record.owner().and_then(|owner| tables.marks.get(owner));
        if mark.is_some_and(|mark| !mark.is_expired(clock) && mark.refuses(record, clock)) {
            return Ok(Created::Revoked);
        }
        if let Some(row) = tables.row(&fresh.key(), now) {
            return Ok(match row.read(now) {
                Loaded::Live(standing) if record.is_same(&standing) => created(&standing),
                _ => Created::Taken,
            });
        }
        tables.moment = tables.moment.max(record.sign_in());
        let mut record = Record::clone(record);
        if record.owner().is_some() && record.sign_in() == 0 {
            record = record.with_sign_in(tables.next_moment(clock));
        }
        tables.sessions.insert(fresh.key(), Row::live(&record));
        Ok(created(&record))
    }

    async fn update(&self, token: &SessionToken, from: Version, change: &Change, now: Time) -> Answer<Updated> {
        let mut tables = self.tables();
        let Some(row) = tables.live(token, now) else {
            return Ok(Updated::Gone);
        };
        match change {
            Change::Replace(next, _) if row.head.version == Some(next.version()) => return Ok(Updated::Done),
            _ if row.head.version != Some(from) => return Ok(Updated::Conflict),
            Change::Replace(next, deadline) => *row = Row::live(&deadline.apply(row.head.deadline, next.clone())),
            Change::Retire(stone) => *row = Row::tombstone(stone, now),
            _ => return Err(StoreError::unsupported()),
        }
        Ok(Updated::Done)
    }

    async fn touch(&self, token: &SessionToken, version: Version, deadline: Time, now: Time) -> Answer<Updated> {
        let mut tables = self.tables();
        let Some(row) = tables.live(token, now) else {
            return Ok(Updated::Gone);
        };
        if row.head.version != Some(version) {
            return Ok(Updated::Conflict);
        }
        row.head.deadline = row.head.deadline.max(deadline);
        row.head.seen = row.head.seen.max(now);
        Ok(Updated::Done)
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: Time) -> Answer<Deleted> {
        let mut tables = self.tables();
        let Some(row) = tables.row(key, now) else { return Ok(Deleted::Absent) };
        match row.read(now) {
            Loaded::Live(_) => *row = Row::tombstone(&Tombstone::new(TombstoneKind::Destroyed, tombstone, now), now),
            Loaded::Tombstone(stone) => return Ok(Deleted::Retired(stone)),
            _ => return Ok(Deleted::Absent),
        }
        Ok(Deleted::Done)
    }

    async fn owned(&self, owner: &str, now: Time) -> Answer<Vec<OwnedSession>> {
        Ok(self.tables().owned(owner, now).iter().map(|(_, record)| (&**record).into()).collect())
    }

    async fn count(&self, owner: Option<&str>, now: Time) -> Answer<usize> {
        let is_live = |row: &&Row| row.head.version.is_some() && row.head.deadline > now;
        let is_owned = |row: &&Row| owner.is_none() || row.head.owner.as_deref() == owner;
        Ok(self.tables().sessions.values().filter(is_live).filter(is_owned).count())
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: Time) -> Answer<usize> {
        let mut tables = self.tables();
        if revocation.leaves_mark() {
            let (clock, moment) = (Time::now(), tables.next_moment(Time::now()));
            tables.marks.entry(owner.to_owned()).or_default().add(revocation, moment, clock);
        }
        let mut ended = tables.owned(owner, now);
        ended.retain(|(_, record)| revocation.includes(record.handle()));
        for (key, _) in &ended {
            tables.sessions.insert(*key, Row::tombstone(&revocation.tombstone(now), now));
        }
        Ok(ended.len())
    }

    async fn sweep(&self, limit: usize, now: Time) -> Answer<usize> {
        let mut tables = self.tables();
        let mut swept = 0;
        let mut stays = |has_expired: bool| {
            let goes = has_expired && swept < limit;
            swept += usize::from(goes);
            !goes
        };
        tables.sessions.retain(|_, row| stays(row.head.deadline <= now));
        tables.marks.retain(|_, mark| stays(mark.is_expired(Time::now())));
        Ok(swept)
    }
}

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let (store, token) = (TableStore::default(), SessionToken::from_random([7; 24], TokenScope::of("__Host-sid")));
    let found = store.load(&token, Time::now()).await?;
    println!("{:?} is {found:?}; `cargo test --example table_store` checks every promise", token.key());
    Ok(())
}

#[cfg(test)]
mod conformance {
    tower_session_layer::session_store_conformance!(super::TableStore::default());
}
