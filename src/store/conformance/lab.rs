//! What a law works with: the store, and records, tokens and times of its own.

use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::object::Object;
use super::{Profile, Subject};
use crate::clock::{micros, time};
use crate::error::StoreError;
use crate::record::{Entry, Record, SessionHandle, Tombstone, TombstoneKind, Values, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, Revoke, Updated};
use crate::token::{SessionToken, TokenShape};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How long the records of [`Lab::record`] live.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);
pub(super) const INSTANT: Duration = Duration::from_micros(1);

/// So many seconds after the time at which the records of [`Lab::record`] begin. Odd microseconds show a store that
/// rounds.
pub(super) fn at(seconds: u64) -> SystemTime {
    time(1_767_225_600_123_457) + Duration::from_secs(seconds)
}

#[derive(Clone)]
pub(super) struct Lab(Arc<Inner>);

struct Inner {
    subject: Subject,
    turn: AtomicUsize,
    seed: u64,
    random: Mutex<u64>,
}

impl Lab {
    pub(super) fn new(subject: Subject) -> Self {
        static RUN: AtomicU64 = AtomicU64::new(0);
        let given = std::env::var("SESSION_CONFORMANCE_SEED").ok().and_then(|seed| seed.parse().ok());
        let fresh = || micros(SystemTime::now()).wrapping_mul(1_000).wrapping_add(RUN.fetch_add(1, Ordering::Relaxed));
        let seed = given.unwrap_or_else(fresh);
        // The generator needs a state other than zero; neighbouring seeds need states that are far apart.
        let state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Arc::new(Inner { subject, turn: AtomicUsize::new(0), seed, random: Mutex::new(state) }))
    }

    pub(super) fn seed(&self) -> u64 {
        self.0.seed
    }

    /// A store under test; where there are several handles they take turns.
    pub(super) fn store(&self) -> &dyn Object {
        let handles = &self.0.subject.handles;
        handles[self.0.turn.fetch_add(1, Ordering::Relaxed) % handles.len()].as_ref()
    }

    pub(super) fn profile(&self) -> Profile {
        Profile::of(self.shape())
    }

    pub(super) fn shape(&self) -> TokenShape {
        self.store().token_shape()
    }

    /// How often to run each race.
    pub(super) fn rounds(&self) -> usize {
        let given = std::env::var("SESSION_CONFORMANCE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        given.or(self.0.subject.rounds).unwrap_or(if self.store().is_immediate() { 200 } else { 20 })
    }

    // Calls that have to succeed.

    pub(super) async fn load(&self, token: &SessionToken, now: SystemTime) -> Loaded {
        answer("load", self.store().load(token, now).await)
    }

    pub(super) async fn create(&self, token: &SessionToken, record: &Record, now: SystemTime) -> Created {
        answer("create", self.store().create(token, &Arc::new(record.clone()), now).await)
    }

    pub(super) async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Updated {
        answer("update", self.store().update(token, from, change, now).await)
    }

    pub(super) async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Updated {
        answer("touch", self.store().touch(token, version, deadline, now).await)
    }

    pub(super) async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Deleted {
        answer("delete", self.store().delete(token, tombstone, now).await)
    }

    /// Sorted by handle.
    pub(super) async fn owned(&self, owner: &str, now: SystemTime) -> Vec<OwnedSession> {
        let mut sessions = answer("owned", self.store().owned(owner, now).await);
        sessions.sort_by_key(|session| session.handle);
        sessions
    }

    /// Revokes by a clock that has never stepped back.
    pub(super) async fn revoke(&self, owner: &str, which: Revoke, tombstone: Duration, now: SystemTime) -> usize {
        self.revoke_as(owner, &Revocation::new(which, now, tombstone), now).await
    }

    pub(super) async fn revoke_as(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> usize {
        answer("revoke", self.store().revoke(owner, revocation, now).await)
    }

    pub(super) async fn sweep(&self, limit: usize, now: SystemTime) -> usize {
        let swept = answer("sweep", self.store().sweep(limit, now).await);
        assert!(swept <= limit, "a sweep removes no more than its limit: {limit} allowed, {swept} removed");
        swept
    }

    // What calls are made with.

    pub(super) fn number(&self) -> u64 {
        let mut state = self.0.random.lock().unwrap_or_else(PoisonError::into_inner);
        // xorshift64*
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&self, limit: usize) -> usize {
        usize::try_from(self.number() >> 32).unwrap_or_default() % limit
    }

    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|_| self.number().to_be_bytes()[0])
    }

    pub(super) fn token(&self) -> SessionToken {
        SessionToken::from_random(self.bytes())
    }

    pub(super) fn version(&self) -> Version {
        // Versions use all 64 bits; a store that keeps them as a signed or floating number shows.
        Version::new(self.number() | 1 << 63).expect("the highest bit is set")
    }

    /// An owner whom no other law knows.
    pub(super) fn owner(&self) -> String {
        format!("user-{:016x}", self.number())
    }

    /// A small session without an owner that began at `at(0)`, and ends [`IDLE`] later unless it is touched.
    pub(super) fn record(&self) -> Record {
        let began = micros(at(0));
        Record {
            created: began,
            seen: began,
            deadline: micros(at(0) + IDLE),
            absolute: micros(at(0) + 48 * IDLE),
            idle: 0,
            signed_in: 0,
            renewed: 0,
            version: self.version(),
            handle: SessionHandle::from_bytes(self.bytes()),
            owner: None,
            csrf: self.bytes(),
            pinned: false,
            flash: Values::default(),
            values: values([("counter", "0"), ("mark", &self.number().to_string())]),
        }
    }

    /// The same with an owner, who signed in then.
    pub(super) fn owned_record(&self, owner: &str, signed_in: SystemTime) -> Record {
        Record { owner: Some(owner.into()), signed_in: micros(signed_in), ..self.record() }
    }

    /// The session after a write at `now` that moves the deadline too.
    pub(super) fn next(&self, record: &Record, now: SystemTime) -> Record {
        let mut next = record.clone();
        next.version = self.version();
        next.seen = micros(now);
        next.deadline = micros(now + IDLE);
        next.values.insert(Entry::new("mark", &self.number().to_string()));
        next
    }

    /// A record of exactly that encoded length.
    pub(super) fn record_of_len(&self, len: usize) -> Record {
        let mut record = Record { values: Values::default(), ..self.record() };
        let frame = record.encoded_len() + 8 + "k".len() + "\"\"".len();
        let text: String =
            (0..len.saturating_sub(frame)).map(|_| char::from(b'a' + self.bytes::<1>()[0] % 26)).collect();
        record.values.insert(Entry::new("k", &format!("\"{text}\"")));
        record
    }

    /// Stores a new record and returns its token.
    pub(super) async fn stored(&self, record: &Record) -> SessionToken {
        let token = self.token();
        let created = self.create(&token, record, at(0)).await;
        same("a new session under an unused token is stored", &created, &Created::Stored);
        token
    }

    /// The tombstone of a renewal by a token that nobody has.
    pub(super) fn renewed(&self, old: &SessionToken, now: SystemTime) -> Tombstone {
        let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, now);
        stone.with_successor(old, &self.token(), self.bytes())
    }

    // What they have to lead to.

    pub(super) async fn expect(&self, rule: &str, token: &SessionToken, now: SystemTime, expected: &Loaded) {
        same_state(rule, &self.load(token, now).await, expected);
    }

    pub(super) async fn expect_owned(&self, rule: &str, owner: &str, now: SystemTime, expected: &[&Record]) {
        let mut expected: Vec<_> = expected.iter().map(|record| OwnedSession::from(*record)).collect();
        expected.sort_by_key(|session| session.handle);
        same(rule, &self.owned(owner, now).await, &expected);
    }
}

pub(super) fn values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Values {
    let mut values = Values::default();
    pairs.into_iter().for_each(|(key, json)| values.insert(Entry::new(key, json)));
    values
}

pub(super) fn replace(next: &Record) -> Change {
    Change::Replace(next.clone().into(), crate::store::Deadline::Extend)
}

fn answer<T>(call: &str, answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| panic!("`{call}` failed where it has an answer to give: {error}"))
}

pub(super) fn same<T: PartialEq + Debug>(rule: impl Display, got: &T, expected: &T) {
    assert!(got == expected, "broken: {rule}\n  expected: {expected:?}\n       got: {got:?}");
}

pub(super) fn same_state(rule: impl Display, got: &Loaded, expected: &Loaded) {
    let detail = match (got, expected) {
        (Loaded::Live(got), Loaded::Live(expected)) => differences(got, expected),
        _ => String::new(),
    };
    assert!(got == expected, "broken: {rule}\n  expected: {expected:?}\n       got: {got:?}{detail}");
}

/// `Debug` of a record shows no value, so this names what differs.
fn differences(got: &Record, expected: &Record) -> String {
    let fields = [
        ("created", got.created == expected.created),
        ("seen", got.seen == expected.seen),
        ("deadline", got.deadline == expected.deadline),
        ("absolute_deadline", got.absolute == expected.absolute),
        ("idle_timeout", got.idle == expected.idle),
        ("signed_in", got.signed_in == expected.signed_in),
        ("version", got.version == expected.version),
        ("handle", got.handle == expected.handle),
        ("owner", got.owner == expected.owner),
        ("csrf", got.csrf == expected.csrf && got.pinned == expected.pinned),
        ("flash", got.flash == expected.flash),
        ("values", got.values == expected.values),
    ];
    let differ: Vec<_> = fields.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
    format!("\n   differs: {}", differ.join(", "))
}
