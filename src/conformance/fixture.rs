//! The store under test, and the records, tokens and times that a law works with.

mod calls;

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

use super::Subject;
use crate::clock::{micros, time};
use crate::error::StoreError;
use crate::random::Random;
use crate::record::{
    Began, Beginning, Entry, Extensions, Record, SessionHandle, Tombstone, TombstoneKind, Values, Version,
};
use crate::store::object::DynStore;
use crate::store::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, Revoke, Updated};
use crate::token::{SessionToken, TokenScope};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// The lifetime of a record of [`Fixture::record`].
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);
pub(super) const INSTANT: Duration = Duration::from_micros(1);

/// Returns the time `seconds` after the one at which every record of [`Fixture::record`] begins.
///
/// Its odd microseconds reveal a store that rounds.
pub(super) fn at(seconds: u64) -> SystemTime {
    time(1_767_225_600_123_457) + Duration::from_secs(seconds)
}

/// Returns the scope of the cookie that the stores are bound to.
pub(super) fn scope() -> TokenScope {
    TokenScope::of("__Host-sid")
}

pub(super) struct Fixture {
    subject: Subject,
    turn: AtomicUsize,
    seed: u64,
    random: Mutex<ChaCha20Rng>,
    /// The sign-ins that the store has answered, by handle.
    sign_ins: Mutex<HashMap<SessionHandle, SignIn>>,
}

/// A record with an owner as it was first sent, and the moments that the store answered for its handle, the latest last:
/// a handle that signs in again, as a random history does, gets another.
struct SignIn {
    sent: Record,
    moments: Vec<u64>,
}

impl SignIn {
    fn moment(&self) -> u64 {
        self.moments.last().copied().unwrap_or_default()
    }
}

impl Fixture {
    pub(super) fn new(subject: Subject) -> Self {
        let fresh = || u64::from_be_bytes(Random::default().bytes().expect("the system gives random bytes"));
        let seed = from_env("SESSION_CONFORMANCE_SEED").unwrap_or_else(fresh);
        let random = Mutex::new(ChaCha20Rng::seed_from_u64(seed));
        Self { subject, turn: AtomicUsize::new(0), seed, random, sign_ins: Mutex::default() }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the store under test. Several stores take turns.
    pub(super) fn store(&self) -> &dyn DynStore {
        let stores = &self.subject.stores;
        stores[self.turn.fetch_add(1, Ordering::Relaxed) % stores.len()].as_ref()
    }

    pub(super) fn is_client_side(&self) -> bool {
        self.store().token_shape().is_sealed()
    }

    pub(super) fn is_swept(&self) -> bool {
        self.store().sweep_interval().is_some()
    }

    /// Returns how often to run each race.
    pub(super) fn rounds(&self) -> usize {
        let rounds = from_env("SESSION_CONFORMANCE_ROUNDS").or(self.subject.rounds);
        rounds.unwrap_or(if self.store().is_immediate() { 200 } else { 20 })
    }

    // Arguments for calls.

    fn random(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random().fill_bytes(&mut bytes);
        bytes
    }

    pub(super) fn number(&self) -> u64 {
        self.random().next_u64()
    }

    pub(super) fn below(&self, limit: usize) -> usize {
        usize::try_from(self.number() >> 32).unwrap_or_default() % limit
    }

    pub(super) fn one_of<T: Copy, const N: usize>(&self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

    pub(super) fn token(&self) -> SessionToken {
        SessionToken::from_random(self.bytes(), scope())
    }

    pub(super) fn handle(&self) -> SessionHandle {
        SessionHandle::from_bytes(self.bytes())
    }

    /// Returns a version with the highest bit set, which reveals a store that keeps it as a signed or floating number.
    pub(super) fn version(&self) -> Version {
        Version::new(self.number() | 1 << 63).expect("the highest bit is set")
    }

    pub(super) fn revocation(&self, which: Revoke, tombstone: Duration) -> Revocation {
        Revocation::new(which, tombstone).named(self.number() | 1)
    }

    /// Returns the name of an owner whom no other law knows.
    pub(super) fn owner(&self) -> String {
        format!("user-{:016x}", self.number())
    }

    /// Returns a small record without an owner that begins at `at(0)` and ends [`IDLE`] later unless it is touched.
    pub(super) fn record(&self) -> Record {
        let began = micros(at(0));
        Record {
            created: began,
            seen: began,
            deadline: micros(at(0) + IDLE),
            absolute: micros(at(0) + 48 * IDLE),
            idle: 0,
            signed_in: 0,
            sign_in: 0,
            began: Began::default(),
            renewed: 0,
            version: self.version(),
            handle: self.handle(),
            owner: None,
            csrf: self.bytes(),
            csrf_handed_out: false,
            flash: Values::default(),
            values: values([("counter", "0"), ("mark", &self.number().to_string())]),
            extensions: Extensions::default(),
        }
    }

    /// Returns a record of a sign-in that begins now. `signed_in` is the time that people are shown.
    pub(super) fn owned_record(&self, owner: &str, signed_in: SystemTime) -> Record {
        let began = Began::at(Beginning::now());
        Record { owner: Some(owner.into()), signed_in: micros(signed_in), began, ..self.record() }
    }

    /// Returns the record after a write at `now` that also moves the deadline.
    pub(super) fn next(&self, record: &Record, now: SystemTime) -> Record {
        let (seen, deadline) = (micros(now), micros(now + IDLE));
        let mut next = Record { seen, deadline, version: self.version(), ..record.clone() };
        next.values.insert(&Entry::new("mark", &self.number().to_string()));
        next
    }

    /// Returns a record whose encoded length is `len` bytes.
    pub(super) fn record_of_len(&self, len: usize) -> Record {
        let mut record = Record { values: Values::default(), ..self.record() };
        let frame = record.encoded_len() + 8 + "k".len() + "\"\"".len();
        let mut bytes = vec![0; len.saturating_sub(frame)];
        self.random().fill_bytes(&mut bytes);
        let text: String = bytes.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        record.values.insert(&Entry::new("k", &format!("\"{text}\"")));
        record
    }

    /// Returns the tombstone of a renewal to a token that nobody has.
    pub(super) fn renewed(&self, now: SystemTime) -> Tombstone {
        Tombstone::new(TombstoneKind::Renewed, MINUTE, now).with_successor(self.token().key())
    }

    // Steps that lead to the state which a law is about.

    /// Stores a new record at `now` and returns the token with which the client comes back.
    pub(super) async fn stored_at(&self, record: &Record, now: SystemTime) -> SessionToken {
        let token = self.token();
        match (self.create(&token, record, now).await, self.is_client_side()) {
            (Created::Stored, false) => token,
            (Created::Instead(sealed), true) => self.returned(&sealed),
            (created, _) => panic!(
                "broken: create of a new session is Stored, or Instead if the token is the session\n  got: {created:?}"
            ),
        }
    }

    pub(super) async fn stored(&self, record: &Record) -> SessionToken {
        self.stored_at(record, at(0)).await
    }

    /// Stores a new [`record`](Self::record).
    pub(super) async fn session(&self) -> (SessionToken, Record) {
        let record = self.record();
        (self.stored(&record).await, record)
    }

    pub(super) async fn owned_session(&self, owner: &str) -> (SessionToken, Record) {
        let record = self.owned_record(owner, at(0));
        (self.stored(&record).await, record)
    }

    /// Returns what a client sends back for a sealed token: its text, parsed.
    pub(super) fn returned(&self, token: &SessionToken) -> SessionToken {
        let parsed = SessionToken::parse(text(token).as_bytes(), self.store().token_shape(), scope());
        parsed.expect("broken: a sealed token has the shape that the store declares")
    }

    /// Replaces a live record by its [`next`](Self::next), and returns that.
    pub(super) async fn updated(&self, token: &SessionToken, record: &Record, now: SystemTime) -> Record {
        let next = self.next(record, now);
        self.apply(token, record, &replace(&next), now).await;
        next
    }

    /// Changes a live record.
    pub(super) async fn apply(&self, token: &SessionToken, record: &Record, change: &Change, now: SystemTime) {
        let updated = self.update(token, record.version(), change, now).await;
        same("update at the current version is Done", &updated, &Updated::Done);
    }

    /// Touches a live record, in the store and here.
    pub(super) async fn touched(
        &self,
        token: &SessionToken,
        record: &mut Record,
        deadline: SystemTime,
        now: SystemTime,
    ) {
        let touched = self.touch(token, record.version(), deadline, now).await;
        same("touch of the current version is Done", &touched, &Updated::Done);
        record.touch(deadline, now);
    }

    /// Deletes a live session.
    pub(super) async fn deleted(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) {
        same("delete of a live session is Done", &self.delete(token, tombstone, now).await, &Deleted::Done);
    }

    // The state to which the steps have to lead.

    pub(super) async fn expect(&self, rule: impl Display, token: &SessionToken, now: SystemTime, expected: &Loaded) {
        let (got, expected) = (self.load(token, now).await, self.stripped(expected.clone()));
        let detail = match (&got, &expected) {
            (Loaded::Live(got), Loaded::Live(expected)) => differences(got, expected),
            _ => String::new(),
        };
        assert!(got == expected, "broken: {rule}\n  expected: {expected:?}\n       got: {got:?}{detail}");
    }

    pub(super) async fn expect_live(&self, rule: impl Display, token: &SessionToken, now: SystemTime, record: &Record) {
        self.expect(rule, token, now, &live(record)).await;
    }

    pub(super) async fn expect_absent(&self, rule: impl Display, token: &SessionToken, now: SystemTime) {
        self.expect(rule, token, now, &Loaded::Absent).await;
    }

    pub(super) async fn expect_owned(&self, rule: &str, owner: &str, now: SystemTime, expected: &[&Record]) {
        let expected =
            expected.iter().map(|record| OwnedSession { sign_in: 0, ..OwnedSession::from(*record) }).collect();
        same(rule, &self.owned(owner, now).await, &sorted(expected));
    }
}

fn from_env<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().and_then(|value| value.parse().ok())
}

fn succeeded<T>(call: &str, answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| panic!("`{call}` failed where it has an answer to give: {error}"))
}

pub(super) fn sorted(mut sessions: Vec<OwnedSession>) -> Vec<OwnedSession> {
    sessions.sort_by_key(|session| (session.handle, session.last_seen));
    sessions
}

pub(super) fn without_moment(mut loaded: Loaded) -> Loaded {
    if let Loaded::Live(record) = &mut loaded
        && record.sign_in > 0
    {
        Arc::make_mut(record).sign_in = 0;
    }
    loaded
}

pub(super) fn text(token: &SessionToken) -> String {
    let mut text = String::new();
    token.write_text(&mut text);
    text
}

pub(super) fn values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Values {
    let mut values = Values::default();
    for (key, json) in pairs {
        values.insert(&Entry::new(key, json));
    }
    values
}

pub(super) fn live(record: &Record) -> Loaded {
    Loaded::Live(record.clone().into())
}

pub(super) fn replace(next: &Record) -> Change {
    Change::Replace(next.clone().into(), Deadline::Extend)
}

/// Expects an error of a kind, such as [`StoreError::is_too_large`].
pub(super) fn fails<T: Debug>(rule: &str, answer: &Result<T, StoreError>, is_kind: fn(&StoreError) -> bool) {
    assert!(answer.as_ref().is_err_and(is_kind), "broken: {rule}\n  got: {answer:?}");
}

pub(super) fn same<T: PartialEq + Debug>(rule: impl Display, got: &T, expected: &T) {
    assert!(got == expected, "broken: {rule}\n  expected: {expected:?}\n       got: {got:?}");
}

/// Names the fields that differ, since the `Debug` of a record shows no values.
fn differences(got: &Record, expected: &Record) -> String {
    macro_rules! differing {
        ($($field:ident)+) => {
            [$((stringify!($field), got.$field != expected.$field)),+]
        };
    }
    let fields = differing! {
        created seen deadline absolute idle signed_in sign_in renewed version handle owner csrf csrf_handed_out flash values
        extensions
    };
    let differ: Vec<_> = fields.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    format!("\n   differs: {}", differ.join(", "))
}
