//! One session that moves from an old store to a new one, while somebody ends it.

use stateright::{Model, Property};

use crate::rules::Rules;
use crate::story::{Action, Step, Which, Who};

#[derive(Debug, Clone)]
pub(crate) struct Moving {
    pub(crate) rules: Rules,
    pub(crate) cast: Vec<Who>,
    /// The new store creates a session in one step, with its list and the mark.
    pub(crate) creates_at_once: bool,
    /// What may happen, each once.
    pub(crate) accidents: Vec<Action>,
}

/// What a store has of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Absent,
    /// The copy that somebody has made.
    Copy(usize),
    /// The rest of a session that was given up in favour of this copy.
    Rest(usize),
    Live,
    Tombstone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stores {
    pub(crate) old: Entry,
    pub(crate) new: Entry,
    /// The session is in the new store's list of its owner.
    pub(crate) is_listed: bool,
    /// The new store has a mark of the owner.
    pub(crate) is_marked: bool,
    pub(crate) steps: Vec<Step>,
    happened: u8,
}

impl Entry {
    fn end(&mut self) {
        if matches!(self, Self::Live | Self::Copy(_) | Self::Rest(_)) {
            *self = Self::Tombstone;
        }
    }
}

impl Moving {
    pub(crate) fn new(rules: Rules, cast: &[Who], accidents: &[Action]) -> Self {
        Self { rules, cast: cast.to_vec(), creates_at_once: false, accidents: accidents.to_vec() }
    }

    /// A load finds the session.
    fn gives_access(&self, stores: &Stores) -> bool {
        match stores.new {
            Entry::Absent => stores.old == Entry::Live,
            Entry::Copy(copy) => stores.old == Entry::Live || self.is_given_up(stores, copy),
            entry => entry == Entry::Live,
        }
    }

    fn is_given_up(&self, stores: &Stores, copy: usize) -> bool {
        matches!(stores.old, Entry::Rest(other) if other == copy || !self.rules.rest_names_copy)
    }

    fn has_ended(&self, stores: &Stores) -> bool {
        let ends = |(who, step): (&Who, &Step)| !matches!(who, Who::Mover(_) | Who::Lister) && *step == Step::Done;
        self.cast.iter().zip(&stores.steps).any(ends)
    }

    fn is_quiet(stores: &Stores) -> bool {
        stores.steps.iter().all(|step| step.is_end())
    }

    fn step(&self, stores: &mut Stores, who: Who, step: Step) -> Step {
        match (who, step) {
            (Who::Lister, Step::Begin) => {
                stores.is_listed &= matches!(stores.new, Entry::Live | Entry::Copy(_))
                    || (stores.new == Entry::Absent && !self.rules.strikes_absent);
                Step::Done
            }
            (Who::Mover(_), Step::Begin) => Self::look(stores, Step::Done),
            (Who::Destroy, Step::Begin) if self.rules.destroy_moves => Self::look(stores, Step::Delete),
            (Who::Destroy | Who::Revoke { .. }, Step::Begin) => Step::EndOld,
            (_, Step::EndOld) => {
                stores.old.end();
                match who {
                    Who::Revoke { which: Which::One, .. } => Step::List,
                    Who::Revoke { .. } => Step::Mark,
                    _ => Step::Delete,
                }
            }
            (Who::Revoke { .. }, _) => self.revoke(stores, step),
            (_, Step::Delete) => {
                stores.new.end();
                Step::Done
            }
            _ => match (self.bring(stores, who, step), who) {
                (Step::Done, Who::Destroy) => Step::Delete,
                (next, _) => next,
            },
        }
    }

    /// The first step of a load.
    fn look(stores: &Stores, found: Step) -> Step {
        match stores.new {
            Entry::Absent => Step::Load,
            Entry::Copy(copy) => Step::GiveUp(copy),
            _ => found,
        }
    }

    /// A step of moving the session.
    fn bring(&self, stores: &mut Stores, who: Who, step: Step) -> Step {
        let is_refused = stores.is_marked && !self.rules.settles;
        let mine = if let Who::Mover(number) = who { number } else { 0 };
        let stored = if self.rules.settles { Step::GiveUp(mine) } else { Step::DeleteOld };
        match step {
            Step::Load if stores.old == Entry::Live => match (self.creates_at_once, self.rules.list_first) {
                (true, _) | (false, false) => Step::Store,
                (false, true) => Step::Enlist,
            },
            Step::Load => Step::Done,
            Step::Store if self.creates_at_once && is_refused => Step::DeleteOld,
            Step::Store => {
                if stores.new != Entry::Absent {
                    return if self.rules.settles { Step::Begin } else { Step::DeleteOld };
                }
                stores.new = if self.rules.settles { Entry::Copy(mine) } else { Entry::Live };
                stores.is_listed |= self.creates_at_once;
                match (self.creates_at_once, self.rules.list_first, self.rules.checks_twice) {
                    (true, ..) | (_, true, false) => stored,
                    (_, true, true) => Step::Check,
                    (_, false, _) => Step::Enlist,
                }
            }
            Step::Enlist if self.rules.list_first && is_refused => Step::DeleteOld,
            Step::Enlist | Step::Check if is_refused => Step::Remove,
            Step::Enlist | Step::Check => {
                stores.is_listed = true;
                if step == Step::Enlist && self.rules.list_first { Step::Store } else { stored }
            }
            Step::Remove => {
                // A tombstone stays.
                if stores.new == Entry::Live {
                    stores.new = Entry::Absent;
                }
                Step::DeleteOld
            }
            Step::GiveUp(copy) => {
                if stores.old == Entry::Live {
                    stores.old = Entry::Rest(copy);
                }
                if self.is_given_up(stores, copy) { Step::Settle(copy) } else { Step::Clear(copy) }
            }
            Step::Settle(copy) if stores.new == Entry::Copy(copy) => {
                stores.new = Entry::Live;
                Step::DeleteOld
            }
            Step::Settle(_) if stores.new == Entry::Live => Step::DeleteOld,
            Step::Clear(copy) if stores.new == Entry::Copy(copy) => {
                stores.new = Entry::Tombstone;
                Step::Done
            }
            Step::Settle(_) | Step::Clear(_) => Step::Begin,
            Step::DeleteOld if stores.old == Entry::Tombstone => {
                if self.rules.settles {
                    Step::Done
                } else {
                    Step::Delete
                }
            }
            Step::DeleteOld => {
                stores.old = Entry::Absent;
                Step::Done
            }
            _ => Step::Failed,
        }
    }

    /// A step of a revocation in the new store.
    fn revoke(&self, stores: &mut Stores, step: Step) -> Step {
        match step {
            Step::Mark => {
                stores.is_marked = true;
                Step::List
            }
            Step::List if stores.is_listed => Step::End,
            Step::End => {
                if stores.new == Entry::Absent && self.rules.ends_absent {
                    stores.new = Entry::Tombstone;
                }
                stores.new.end();
                if stores.new == Entry::Tombstone || self.rules.strikes_absent {
                    stores.is_listed = false;
                }
                Step::Done
            }
            _ => Step::Done,
        }
    }
}

impl Model for Moving {
    type State = Stores;
    type Action = Action;

    fn init_states(&self) -> Vec<Stores> {
        let steps = vec![Step::Begin; self.cast.len()];
        let (old, new) = (Entry::Live, Entry::Absent);
        vec![Stores { old, new, is_listed: false, is_marked: false, steps, happened: 0 }]
    }

    fn actions(&self, stores: &Stores, actions: &mut Vec<Action>) {
        for (step, who) in stores.steps.iter().zip(&self.cast) {
            if !step.is_end() {
                actions.push(Action::Do(*who, *step));
            }
        }
        let is_moving =
            |(step, who): (&Step, &Who)| matches!(who, Who::Mover(_)) && !step.is_end() && *step != Step::Begin;
        for (place, accident) in self.accidents.iter().enumerate() {
            // A copy that is a session lives by its tombstones.
            let is_too_early = *accident == Action::Expire
                && !self.rules.settles
                && stores.steps.iter().zip(&self.cast).any(is_moving);
            if stores.happened & (1 << place) == 0 && !is_too_early {
                actions.push(*accident);
            }
        }
    }

    fn next_state(&self, stores: &Stores, action: Action) -> Option<Stores> {
        let mut next = stores.clone();
        // Tombstones end again and again.
        if action != Action::Expire
            && let Some(place) = self.accidents.iter().position(|accident| *accident == action)
        {
            next.happened |= 1 << place;
        }
        let place = |who| self.cast.iter().position(|other| *other == who);
        match action {
            Action::Do(who, step) => next.steps[place(who)?] = self.step(&mut next, who, step),
            Action::Cut(who) => {
                let step = &mut next.steps[place(who)?];
                if step.is_end() || *step == Step::Begin {
                    return None;
                }
                *step = Step::Failed;
            }
            Action::Expire => {
                for entry in [&mut next.old, &mut next.new] {
                    if *entry == Entry::Tombstone {
                        *entry = Entry::Absent;
                    }
                }
            }
            _ => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an ended session gives no access", |model: &Self, stores: &Stores| {
                !(model.has_ended(stores) && model.gives_access(stores))
            }),
            Property::always("an ended session gives no access once all is quiet", |model: &Self, stores: &Stores| {
                !(model.has_ended(stores) && Self::is_quiet(stores) && model.gives_access(stores))
            }),
            Property::always("a session that is not ended lives on", |model: &Self, stores: &Stores| {
                let ends = |who: &Who| !matches!(who, Who::Mover(_) | Who::Lister);
                model.cast.iter().any(ends) || model.gives_access(stores)
            }),
        ]
    }
}
