//! A long random history, compared answer by answer with the reference.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use super::call::{Call, Reply};
use super::lab::{INSTANT, Lab, MINUTE, at};
use super::reference::Reference;
use crate::clock::micros;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deadline, Loaded, OwnedSession, Revoke};
use crate::token::SessionToken;

pub(super) async fn answers_are_those_of_the_model(lab: Lab) {
    let steps = if lab.store().is_immediate() { 5_000 } else { 1_000 };
    let model = Lab::new(Reference::default().into());
    let mut history = History::new(lab.clone(), model.clone());
    let mut last = VecDeque::new();
    for step in 0..steps {
        let calls = history.calls().await;
        for call in calls {
            let (got, expected) = (call.run(&lab, history.now).await, call.run(&model, history.now).await);
            let shown = history.now.duration_since(at(0)).unwrap_or_default();
            last.push_back(format!("{shown:?}: {call:?} -> {got:?}"));
            last.drain(..last.len().saturating_sub(12));
            assert!(
                history.is_right(&call, &got, &expected),
                "broken: step {step} of a random history is answered as by the model\n  expected: {expected:?}\n       \
                 got: {got:?}\n  after:\n    {}",
                last.make_contiguous().join("\n    ")
            );
        }
    }
}

/// What the next call is chosen by.
struct History {
    lab: Lab,
    model: Lab,
    now: SystemTime,
    tokens: Vec<SessionToken>,
    owners: Vec<String>,
    /// Sent before, and to be sent again.
    sent: VecDeque<Call>,
    revoked: HashSet<String>,
}

impl History {
    fn new(lab: Lab, model: Lab) -> Self {
        let tokens = (0..6).map(|_| lab.token()).collect();
        let owners = (0..2).map(|_| lab.owner()).collect();
        Self { lab, model, now: at(0), tokens, owners, sent: VecDeque::new(), revoked: HashSet::new() }
    }

    async fn calls(&mut self) -> Vec<Call> {
        let steps = [INSTANT, INSTANT, Duration::from_millis(1), Duration::from_secs(1), MINUTE / 4];
        // Never at rest: revocations and sign-ins differ in their times.
        self.now += steps[self.lab.below(steps.len())];
        let token = self.tokens[self.lab.below(self.tokens.len())].clone();
        let live = match self.model.load(&token, self.now).await {
            Loaded::Live(record) => Some(record),
            _ => None,
        };
        let record = live.clone().unwrap_or_else(|| self.record().into());
        let version = if self.lab.below(5) > 0 { record.version() } else { self.lab.version() };
        let call = match self.lab.below(21) {
            0..3 => Call::Create(token, self.record()),
            3..7 => Call::Update(token, version, Change::Replace(self.next(&record).into(), self.deadline())),
            7 => Call::Update(token, version, Change::Retire(self.tombstone())),
            8 | 9 => Call::Touch(token, version, self.now + self.lifetime()),
            10 => Call::Delete(token, [Duration::ZERO, MINUTE][self.lab.below(2)]),
            11 | 20 => self.revocation().await,
            12 => Call::Sweep(self.lab.below(4)),
            13 | 14 => Call::Owned(self.owners[self.lab.below(self.owners.len())].clone()),
            15 if live.is_some() => return self.renewal(&token, version, &record),
            16 | 17 if !self.sent.is_empty() => self.sent[self.lab.below(self.sent.len())].clone(),
            _ => Call::Load(token),
        };
        if matches!(call, Call::Create(..) | Call::Update(_, _, Change::Replace(..))) {
            self.sent.push_back(call.clone());
            self.sent.drain(..self.sent.len().saturating_sub(4));
        }
        vec![call]
    }

    fn record(&self) -> Record {
        // Some sign-ins began before a revocation that is over.
        let signed_in = self.now - [Duration::ZERO, Duration::from_secs(2), MINUTE][self.lab.below(3)];
        let owner = self.lab.below(self.owners.len() + 1);
        let record = match self.owners.get(owner) {
            Some(owner) => self.lab.owned_record(owner, signed_in),
            None => self.lab.record(),
        };
        let seen = micros(self.now);
        Record { created: seen, seen, deadline: micros(self.now + self.lifetime()), ..record }
    }

    fn next(&self, record: &Record) -> Record {
        Record { deadline: micros(self.now + self.lifetime()), ..self.lab.next(record, self.now) }
    }

    fn lifetime(&self) -> Duration {
        [Duration::from_secs(1), MINUTE, 10 * MINUTE][self.lab.below(3)]
    }

    fn deadline(&self) -> Deadline {
        [Deadline::Keep, Deadline::Extend, Deadline::Set][self.lab.below(3)]
    }

    fn tombstone(&self) -> Tombstone {
        let kind = [TombstoneKind::Emptied, TombstoneKind::Destroyed][self.lab.below(2)];
        Tombstone::new(kind, self.lifetime(), self.now)
    }

    async fn revocation(&mut self) -> Call {
        let mut owner = self.owners[self.lab.below(self.owners.len())].clone();
        let mut listed = Vec::new();
        for owner in &self.owners {
            listed.extend(self.model.owned(owner, self.now).await.into_iter().map(|one| (owner, one.handle)));
        }
        let which = match (self.lab.below(5), listed.len()) {
            (0, _) | (_, 0) => Revoke::All,
            (kind, count) => {
                let (whose, handle) = listed[self.lab.below(count)];
                // Now and then it is somebody else's.
                if self.lab.below(4) > 0 {
                    owner.clone_from(whose);
                }
                if kind < 3 { Revoke::Others(handle) } else { Revoke::One(handle) }
            }
        };
        if !matches!(which, Revoke::One(_)) {
            self.revoked.insert(owner.clone());
        }
        Call::Revoke(owner, which, [Duration::ZERO, MINUTE][self.lab.below(2)])
    }

    /// The new record and the old one's tombstone, and nothing in between: two live records of one handle are no
    /// state for a list or a revocation to be asked about.
    fn renewal(&mut self, token: &SessionToken, version: Version, record: &Record) -> Vec<Call> {
        let fresh = self.lab.token();
        let mut next = self.next(record);
        next.signed_in = record.signed_in;
        let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, self.now);
        let stone = stone.with_successor(token, &fresh, self.lab.bytes());
        if version != record.version() {
            return vec![Call::Update(token.clone(), version, Change::Retire(stone))];
        }
        // The session goes on under the new token; the old one is still asked about for as long as its turn is.
        let place = self.tokens.iter().position(|known| known != token).unwrap_or_default();
        self.tokens[place] = fresh.clone();
        vec![Call::Create(fresh, next), Call::Update(token.clone(), version, Change::Retire(stone))]
    }

    fn is_right(&self, call: &Call, got: &Reply, expected: &Reply) -> bool {
        match (call, got, expected) {
            // Where a token is taken and a mark refuses, either is said; how much a sweep finds is the store's own.
            (Call::Create(_, record), Reply::Created(Created::Revoked(_)), Reply::Created(Created::Taken)) => {
                record.owner().is_some_and(|owner| self.revoked.contains(owner))
            }
            (Call::Sweep(_), ..) => true,
            (_, Reply::Owned(got), Reply::Owned(expected)) => sorted(got) == sorted(expected),
            _ => got == expected,
        }
    }
}

fn sorted(sessions: &[OwnedSession]) -> Vec<OwnedSession> {
    let mut sessions = sessions.to_vec();
    sessions.sort_by_key(|session| (session.handle, session.last_seen));
    sessions
}
