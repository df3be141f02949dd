//! What each session must hold, said as plainly as it can be: one map, no bytes, no versions but a counter.

use std::collections::BTreeMap;

use super::script::Act;

/// Seconds.
pub const IDLE: u64 = 100;
pub const ABSOLUTE: u64 = 1_000;
const TOMBSTONE: u64 = 60;

/// A session's token, before anybody knows how it reads.
pub type Id = usize;

pub struct Model {
    pub now: u64,
    /// Whether a token is the session itself: then each state is a token of its own, and no one else can end it.
    pub is_sealed: bool,
    pub slots: Vec<Slot>,
    /// When each slot began.
    pub begun: Vec<u64>,
}

#[derive(Clone)]
pub enum Slot {
    Live(Session),
    /// Until then there is a tombstone.
    Ended {
        why: Why,
        until: u64,
    },
}

#[derive(Clone, Copy, PartialEq)]
pub enum Why {
    Emptied,
    Ended,
    RenewedTo(Id),
}

#[derive(Clone)]
pub struct Session {
    pub contents: Contents,
    pub version: usize,
    pub absolute: u64,
    pub deadline: u64,
}

/// What the handler sees of a session, and the settings that go with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    pub values: BTreeMap<&'static str, u64>,
    pub flash: BTreeMap<&'static str, u64>,
    pub owner: Option<usize>,
    pub has_csrf: bool,
    pub idle: Option<u64>,
    /// Another owner signed in: the life of the session begins anew.
    pub begins: bool,
}

/// What the store holds of a token.
pub enum Found {
    Live(Session),
    Ended(Why),
    Nothing,
}

impl Model {
    pub fn new(is_sealed: bool) -> Self {
        Self { now: 0, is_sealed, slots: Vec::new(), begun: Vec::new() }
    }

    pub fn live(&self) -> usize {
        (0..self.slots.len()).filter(|id| matches!(self.find(*id), Found::Live(_))).count()
    }

    /// How many sessions ended; `None` where the clients hold them.
    pub fn revoke(&mut self, owner: usize) -> Option<usize> {
        let is_meant = |found| matches!(found, Found::Live(session) if session.contents.owner == Some(owner));
        let meant: Vec<_> = (0..self.slots.len()).filter(|id| is_meant(self.find(*id))).collect();
        if self.is_sealed {
            return None;
        }
        meant.iter().for_each(|id| self.end(*id, Why::Ended));
        Some(meant.len())
    }

    pub fn find(&self, id: Id) -> Found {
        match &self.slots[id] {
            Slot::Live(session) if session.deadline > self.now => Found::Live(session.clone()),
            Slot::Ended { why, until } if *until > self.now => Found::Ended(*why),
            _ => Found::Nothing,
        }
    }

    pub fn end(&mut self, id: Id, why: Why) {
        if !self.is_sealed {
            self.slots[id] = Slot::Ended { why, until: self.now + TOMBSTONE };
        }
    }

    /// When a cookie ends: with a session that it is itself, or when the session on the server can live no longer.
    pub fn cookie_end(&self, session: &Session) -> u64 {
        if self.is_sealed { session.deadline } else { session.absolute }
    }

    /// A new session, or a new token of one.
    pub fn begin(&mut self, session: Session) -> Id {
        self.slots.push(Slot::Live(session));
        self.begun.push(self.now);
        self.slots.len() - 1
    }
}

impl Session {
    pub fn refresh(&self, contents: &Contents, now: u64) -> Option<u64> {
        let deadline = contents.deadline(now, self.absolute);
        // Compared in tenths, since the clock of the model has whole seconds.
        (deadline > self.deadline && (deadline - self.deadline) * 10 >= contents.idle.unwrap_or(IDLE))
            .then_some(deadline)
    }
}

impl Contents {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.flash.is_empty() && self.owner.is_none() && !self.has_csrf
    }

    pub fn deadline(&self, now: u64, absolute: u64) -> u64 {
        absolute.min(now + self.idle.unwrap_or(IDLE))
    }

    /// Whether it made a difference.
    pub fn apply(&mut self, act: &Act) -> bool {
        let before = self.clone();
        match act {
            Act::Insert(key, value) => drop(self.values.insert(key, *value)),
            Act::Flash(key, value) => drop(self.flash.insert(key, *value)),
            Act::Remove(key) => drop(self.values.remove(key)),
            Act::Take(key, taken) if self.values.get(key) == taken.as_ref() => drop(self.values.remove(key)),
            Act::TakeFlash(key, taken) if self.flash.get(key) == taken.as_ref() => drop(self.flash.remove(key)),
            Act::Add(key) => *self.values.entry(key).or_default() += 1,
            Act::Drop(key) => self.values.retain(|other, value| other != key || *value % 2 == 0),
            Act::Clear => (self.values, self.flash) = Default::default(),
            Act::Csrf => self.has_csrf = true,
            Act::Idle(seconds) => self.idle = Some(*seconds),
            Act::SignIn(owner) => {
                if self.owner.is_some_and(|before| before != *owner) {
                    *self = Self { begins: true, ..Self::default() };
                }
                self.owner = Some(*owner);
                return true;
            }
            _ => {}
        }
        *self != before
    }
}
