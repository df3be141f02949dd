//! A long random history, compared with the model answer by answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fixture::{Fixture, INSTANT, MINUTE, at};
use super::model::Model;
use super::operation::{StoreAnswer, StoreOperation};
use crate::clock::micros;
use crate::record::{Began, Beginning, Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Deadline, Loaded, Revoke};
use crate::token::SessionToken;

pub(super) async fn answers_are_those_of_the_model(fixture: Arc<Fixture>) {
    let steps = if fixture.store().is_immediate() { 5_000 } else { 1_000 };
    let mut history = History::new(&fixture);
    let mut last = VecDeque::new();
    for step in 0..steps {
        for call in history.calls() {
            let got = call.run(&fixture, history.now).await;
            let expected = history.model.answer(&call, history.now);
            let shown = history.now.duration_since(at(0)).unwrap_or_default();
            last.push_back(format!("{shown:?}: {call:?} -> {got:?}"));
            last.drain(..last.len().saturating_sub(12));
            assert!(
                // A sweep may find less than there is.
                got == expected || matches!(call, StoreOperation::Sweep(_)),
                "broken: step {step} of a random history is answered as by the model\n  expected: {expected:?}\n       \
                 got: {got:?}\n  after:\n    {}",
                last.make_contiguous().join("\n    ")
            );
            history.follow(&call).await;
        }
    }
}

/// The state of the history, from which its next calls are chosen.
struct History<'a> {
    fixture: &'a Fixture,
    model: Model,
    now: SystemTime,
    tokens: [SessionToken; 6],
    owners: [String; 2],
    /// The last writes, some of which are sent again.
    sent: VecDeque<StoreOperation>,
    start: Beginning,
}

impl<'a> History<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let tokens = std::array::from_fn(|_| fixture.token());
        let owners = std::array::from_fn(|_| fixture.owner());
        Self {
            fixture,
            model: Model::default(),
            now: at(0),
            tokens,
            owners,
            sent: VecDeque::new(),
            start: Beginning::now(),
        }
    }

    /// Takes the tombstones into the model that a revocation left for sessions that were absent already.
    async fn follow(&mut self, call: &StoreOperation) {
        for token in self.tokens.iter().filter(|_| matches!(call, StoreOperation::Revoke(..))) {
            if self.model.load(token, self.now) == Loaded::Absent {
                let found = self.fixture.load(token, self.now).await;
                if StoreAnswer::Loaded(found.clone()).is_left_by_a_revocation() {
                    self.model.sessions.insert(token.key(), found);
                }
            }
        }
    }

    fn calls(&mut self) -> Vec<StoreOperation> {
        use StoreOperation::{Create, Delete, Load, Owned, Sweep, Touch, Update};
        let fixture = self.fixture;
        self.now += fixture.one_of([INSTANT, INSTANT, Duration::from_millis(1), Duration::from_secs(1), MINUTE / 4]);
        let token = self.tokens[fixture.below(self.tokens.len())].clone();
        let live = match self.model.load(&token, self.now) {
            Loaded::Live(record) => Some(record),
            _ => None,
        };
        let record = live.clone().unwrap_or_else(|| self.record().into());
        let version = if fixture.below(5) > 0 { record.version() } else { fixture.version() };
        let call = match fixture.below(21) {
            0..3 => Create(token, self.record()),
            3..7 => {
                let deadline = fixture.one_of([Deadline::Keep, Deadline::Extend, Deadline::Set]);
                Update(token, version, Change::Replace(self.next(&record).into(), deadline))
            }
            7 => {
                let kind = fixture.one_of([TombstoneKind::Emptied, TombstoneKind::Destroyed]);
                Update(token, version, Change::Retire(Tombstone::new(kind, self.lifetime(), self.now)))
            }
            8 | 9 => Touch(token, version, self.now + self.lifetime()),
            10 => Delete(token, fixture.one_of([Duration::ZERO, MINUTE])),
            11 | 20 => self.revocation(),
            12 => Sweep(fixture.below(4)),
            13 | 14 => Owned(self.owner()),
            15 if live.is_some() => return self.renewal(&token, version, &record),
            16 | 17 if !self.sent.is_empty() => match self.sent[fixture.below(self.sent.len())].clone() {
                // A handle that was spared signs in once. A store without a clock cannot tell when it does so again.
                Create(token, record) if self.model.spares(&record) => Load(token),
                call => call,
            },
            _ => Load(token),
        };
        if matches!(call, Create(..) | Update(_, _, Change::Replace(..))) {
            self.sent.push_back(call.clone());
            self.sent.drain(..self.sent.len().saturating_sub(4));
        }
        vec![call]
    }

    fn owner(&self) -> String {
        self.owners[self.fixture.below(self.owners.len())].clone()
    }

    fn record(&self) -> Record {
        let record = match self.owners.get(self.fixture.below(self.owners.len() + 1)) {
            Some(owner) => {
                // Some sign-ins began before all revocations, whatever they say about themselves.
                let signed_in = self.now - self.fixture.one_of([Duration::ZERO, Duration::from_secs(2), MINUTE]);
                let record = self.fixture.owned_record(owner, signed_in);
                let is_early = self.fixture.below(3) == 0;
                if is_early { Record { began: Began::at(self.start), ..record } } else { record }
            }
            None => self.fixture.record(),
        };
        let seen = micros(self.now);
        Record { created: seen, seen, deadline: micros(self.now + self.lifetime()), ..record }
    }

    fn next(&self, record: &Record) -> Record {
        Record { deadline: micros(self.now + self.lifetime()), ..self.fixture.next(record, self.now) }
    }

    fn lifetime(&self) -> Duration {
        self.fixture.one_of([Duration::from_secs(1), MINUTE, 10 * MINUTE])
    }

    fn revocation(&mut self) -> StoreOperation {
        let mut owner = self.owner();
        let mut listed = Vec::new();
        for owner in &self.owners {
            listed.extend(self.model.owned(owner, self.now).into_iter().map(|session| (owner, session.handle)));
        }
        let which = match (self.fixture.below(5), listed.len()) {
            (0, _) | (_, 0) => Revoke::All,
            (kind, count) => {
                let (whose, handle) = listed[self.fixture.below(count)];
                // Sometimes the handle is that of another owner's session.
                if self.fixture.below(4) > 0 {
                    owner.clone_from(whose);
                }
                match kind {
                    1 | 2 => Revoke::Others(handle),
                    _ => Revoke::These(vec![handle, listed[self.fixture.below(count)].1]),
                }
            }
        };
        let tombstone = self.fixture.one_of([Duration::ZERO, MINUTE]);
        StoreOperation::Revoke(owner, self.fixture.revocation(which, tombstone))
    }

    /// Returns the two calls of a renewal: the new record, and the old one's tombstone.
    ///
    /// No other call comes between them, since the contract says nothing of lists and revocations while one handle has
    /// two live records.
    fn renewal(&mut self, token: &SessionToken, version: Version, record: &Record) -> Vec<StoreOperation> {
        let fresh = self.fixture.token();
        let next = self.next(record);
        let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, self.now);
        let stone = stone.with_successor(fresh.key());
        let retire = StoreOperation::Update(token.clone(), version, Change::Retire(stone));
        if version != record.version() {
            return vec![retire];
        }
        // The new token takes the place of another one, so that the old one is still asked about.
        let place = self.tokens.iter().position(|known| known != token).unwrap_or_default();
        self.tokens[place] = fresh.clone();
        vec![StoreOperation::Create(fresh, next), retire]
    }
}
