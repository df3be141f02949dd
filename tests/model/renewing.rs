//! One session under tokens that follow each other, while it is written to, renewed and destroyed.

use stateright::{Model, Property};

use crate::rules::Rules;
use crate::story::{Action, Effect, Step, Who};

const TOKENS: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct Renewing {
    pub(crate) rules: Rules,
    pub(crate) cast: Vec<Who>,
    /// What may happen, each once.
    pub(crate) accidents: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Absent,
    Live { values: u8, version: u8 },
    Tombstone { successor: Option<usize>, leads: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) step: Step,
    /// The token of the session, and the version and values that were read.
    token: usize,
    version: u8,
    values: u8,
}

/// The renewal's last call, whose answer was lost before it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Retirement {
    from: usize,
    version: u8,
    tombstone: Entry,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    entries: [Entry; TOKENS],
    pub(crate) jobs: Vec<Job>,
    /// The last version that was given.
    version: u8,
    /// The values whose write was answered.
    answered: u8,
    /// The tokens that a client has, and those that were dead once.
    known: [bool; TOKENS],
    dead: [bool; TOKENS],
    is_destroyed: bool,
    on_the_way: Option<Retirement>,
    happened: u8,
}

impl Tokens {
    fn is_live(&self, token: usize) -> bool {
        matches!(self.entries[token], Entry::Live { .. })
    }

    fn new_version(&mut self) -> u8 {
        self.version += 1;
        self.version
    }

    fn retire(&mut self, Retirement { from, version, tombstone }: Retirement) -> bool {
        let is_current = matches!(self.entries[from], Entry::Live { version: current, .. } if current == version);
        if is_current {
            self.entries[from] = tombstone;
            self.dead[from] = true;
        }
        is_current
    }

    /// The tokens that somebody has, or that lead on from the first one.
    fn reachable(&self) -> Vec<usize> {
        let mut tokens: Vec<_> = (0..TOKENS).filter(|token| self.known[*token]).collect();
        let mut token = 0;
        while let Entry::Tombstone { successor: Some(next), .. } = self.entries[token] {
            tokens.push(next);
            token = next;
        }
        tokens.sort_unstable();
        tokens.dedup();
        tokens.retain(|token| self.is_live(*token));
        tokens
    }
}

impl Renewing {
    pub(crate) fn new(rules: Rules, cast: &[Who], accidents: &[Action]) -> Self {
        Self { rules, cast: cast.to_vec(), accidents: accidents.to_vec() }
    }

    fn step(&self, tokens: &mut Tokens, place: usize, who: Who, step: Step) -> Step {
        match (who, step) {
            (_, Step::Begin) => {
                tokens.jobs[place].token = if let Who::Renew { from, .. } = who { from } else { 0 };
                self.load(tokens, place, who)
            }
            (_, Step::Load) => self.load(tokens, place, who),
            (Who::Write(value), Step::Swap) => {
                let job = tokens.jobs[place];
                match tokens.entries[job.token] {
                    Entry::Live { values, version } if version == job.version => {
                        let values = values | 1 << value;
                        tokens.entries[job.token] = Entry::Live { values, version: tokens.new_version() };
                        tokens.answered |= 1 << value;
                        Step::Done
                    }
                    _ => Step::Load,
                }
            }
            (Who::Destroy, Step::Delete) => {
                let token = tokens.jobs[place].token;
                match tokens.entries[token] {
                    Entry::Live { .. } => {
                        tokens.entries[token] = Entry::Tombstone { successor: None, leads: false };
                        (tokens.dead[token], tokens.is_destroyed) = (true, true);
                        Step::Done
                    }
                    Entry::Tombstone { successor: Some(next), .. } if self.rules.destroy_follows => {
                        tokens.jobs[place].token = next;
                        Step::Delete
                    }
                    _ => Step::Done,
                }
            }
            (Who::Renew { from, to, by_age }, _) => self.renew(tokens, place, (from, to, by_age), step),
            _ => Step::Failed,
        }
    }

    fn load(&self, tokens: &mut Tokens, place: usize, who: Who) -> Step {
        let found = tokens.entries[tokens.jobs[place].token];
        let job = &mut tokens.jobs[place];
        match (found, who) {
            (Entry::Live { values, version }, _) => {
                (job.values, job.version) = (values, version);
                match who {
                    Who::Write(_) => Step::Swap,
                    Who::Destroy => Step::Delete,
                    _ if self.rules.fresh_first => Step::Store,
                    _ => Step::Retire,
                }
            }
            (Entry::Tombstone { successor, .. }, Who::Renew { to, .. }) if successor == Some(to) => {
                Self::renewed(tokens, to)
            }
            (_, Who::Renew { .. }) => Step::Remove,
            (Entry::Tombstone { successor: Some(next), leads: true }, _) => {
                job.token = next;
                Step::Load
            }
            _ => Step::Refused,
        }
    }

    fn renewed(tokens: &mut Tokens, to: usize) -> Step {
        tokens.known[to] = true;
        Step::Done
    }

    fn renew(&self, tokens: &mut Tokens, place: usize, (from, to, by_age): (usize, usize, bool), step: Step) -> Step {
        let job = tokens.jobs[place];
        let tombstone = Entry::Tombstone { successor: Some(to), leads: by_age };
        match step {
            Step::Store => {
                tokens.entries[to] = Entry::Live { values: job.values, version: tokens.new_version() };
                if self.rules.fresh_first { Step::Retire } else { Self::renewed(tokens, to) }
            }
            Step::Retire if tokens.retire(Retirement { from, version: job.version, tombstone }) => {
                if self.rules.fresh_first { Self::renewed(tokens, to) } else { Step::Store }
            }
            Step::Retire => Step::Load,
            Step::Fence => match tokens.entries[from] {
                Entry::Live { values, version } => {
                    if version == job.version {
                        tokens.entries[from] = Entry::Live { values, version: tokens.new_version() };
                    }
                    Step::Remove
                }
                Entry::Tombstone { successor, .. } if successor == Some(to) => Self::renewed(tokens, to),
                _ => Step::Remove,
            },
            Step::Remove => {
                if tokens.is_live(to) {
                    tokens.entries[to] = Entry::Absent;
                }
                Step::Failed
            }
            _ => Step::Failed,
        }
    }
}

impl Model for Renewing {
    type State = Tokens;
    type Action = Action;

    fn init_states(&self) -> Vec<Tokens> {
        let idle = Job { step: Step::Begin, token: 0, version: 0, values: 0 };
        let mut entries = [Entry::Absent; TOKENS];
        entries[0] = Entry::Live { values: 0, version: 0 };
        vec![Tokens {
            entries,
            jobs: vec![idle; self.cast.len()],
            version: 0,
            answered: 0,
            known: [true, false, false],
            dead: [false; TOKENS],
            is_destroyed: false,
            on_the_way: None,
            happened: 0,
        }]
    }

    fn actions(&self, tokens: &Tokens, actions: &mut Vec<Action>) {
        for (job, who) in tokens.jobs.iter().zip(&self.cast) {
            // A client renews with a token that it has, and by age only when nothing leads on to that token.
            let is_too_early = |from: usize, by_age: bool| {
                let leads = |entry: &Entry| matches!(entry, Entry::Tombstone { successor, leads: true } if *successor == Some(from));
                !tokens.known[from] || (by_age && tokens.entries.iter().any(leads))
            };
            let waits = matches!(*who, Who::Renew { from, by_age, .. } if job.step == Step::Begin && is_too_early(from, by_age));
            if !job.step.is_end() && !waits {
                actions.push(Action::Do(*who, job.step));
            }
        }
        if tokens.on_the_way.is_some() {
            actions.push(Action::Arrive);
        }
        let is_busy = tokens.jobs.iter().any(|job| !job.step.is_end() && job.step != Step::Begin);
        for (place, accident) in self.accidents.iter().enumerate() {
            let is_too_early = *accident == Action::Expire && self.rules.tombstones_outlast && is_busy;
            if tokens.happened & (1 << place) == 0 && !is_too_early {
                actions.push(*accident);
            }
        }
    }

    fn next_state(&self, tokens: &Tokens, action: Action) -> Option<Tokens> {
        let mut next = tokens.clone();
        if let Some(place) = self.accidents.iter().position(|accident| *accident == action) {
            next.happened |= 1 << place;
        }
        let place = |who| self.cast.iter().position(|other| *other == who);
        match action {
            Action::Do(who, step) => {
                let place = place(who)?;
                next.jobs[place].step = self.step(&mut next, place, who, step);
            }
            Action::Lost(who @ Who::Renew { from, to, by_age }, effect) => {
                let job = next.jobs[place(who)?];
                if job.step != Step::Retire {
                    return None;
                }
                let tombstone = Entry::Tombstone { successor: Some(to), leads: by_age };
                let retirement = Retirement { from, version: job.version, tombstone };
                match effect {
                    Effect::Now => drop(next.retire(retirement)),
                    Effect::Later => next.on_the_way = Some(retirement),
                    Effect::Never => {}
                }
                next.jobs[place(who)?].step = if self.rules.fences { Step::Fence } else { Step::Remove };
            }
            Action::Arrive => {
                let retirement = next.on_the_way.take()?;
                next.retire(retirement);
            }
            Action::Cut(who) => {
                let job = &mut next.jobs[place(who)?];
                if job.step.is_end() || job.step == Step::Begin {
                    return None;
                }
                job.step = Step::Failed;
            }
            Action::Expire | Action::GraceEnds => {
                for entry in &mut next.entries {
                    match entry {
                        Entry::Tombstone { .. } if action == Action::Expire => *entry = Entry::Absent,
                        Entry::Tombstone { leads, .. } => *leads = false,
                        _ => {}
                    }
                }
            }
            _ => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a destroyed session gives no access", |model: &Self, tokens: &Tokens| {
                let mut destroys = model.cast.iter().zip(&tokens.jobs).filter(|(who, _)| **who == Who::Destroy);
                destroys.all(|(_, job)| job.step != Step::Done) || tokens.reachable().is_empty()
            }),
            Property::always("no update is lost", |_: &Self, tokens: &Tokens| {
                let has_all = |token: &usize| matches!(tokens.entries[*token], Entry::Live { values, .. } if values & tokens.answered == tokens.answered);
                tokens.is_destroyed || tokens.reachable().iter().any(has_all)
            }),
            Property::always("a session lives under one token", |_: &Self, tokens: &Tokens| {
                tokens.reachable().len() <= 1
            }),
            Property::always("a dead token stays dead", |_: &Self, tokens: &Tokens| {
                (0..TOKENS).all(|token| !(tokens.dead[token] && tokens.is_live(token)))
            }),
        ]
    }
}
