//! An owner's sessions on two hosts: signing in, renewing, revoking and the limit.

use stateright::{Model, Property};

use crate::rules::{Clock, Rules};
use crate::story::{Action, Step, Which, Who};

mod revoking;
mod steps;

pub(crate) const RECORDS: usize = 4;

/// The cast of a run, and what may go wrong in it.
#[derive(Debug, Clone)]
pub(crate) struct People {
    pub(crate) rules: Rules,
    pub(crate) cast: Vec<Who>,
    /// The time by which each host's wall clock is ahead.
    pub(crate) ahead: [i8; 2],
    pub(crate) ticks: i8,
    pub(crate) limit: Option<usize>,
    /// The store's clock is the wall clock of the only machine.
    pub(crate) is_one_machine: bool,
    /// What may happen, each once.
    pub(crate) accidents: Vec<Action>,
}

impl People {
    pub(crate) fn new(rules: Rules, cast: &[Who]) -> Self {
        Self {
            rules,
            cast: cast.to_vec(),
            ahead: [0, 0],
            ticks: 0,
            limit: None,
            is_one_machine: false,
            accidents: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Absent,
    Live { moment: i8 },
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) entry: Entry,
    /// The moment in the owner's list, if the record is listed.
    pub(crate) listed: Option<i8>,
    /// A client has the token.
    pub(crate) is_known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) moment: i8,
    pub(crate) at: i8,
    /// The revocation, by its place in the cast.
    pub(crate) by: usize,
    pub(crate) name: u8,
    /// The moment that counts for session 0, if it was spared.
    pub(crate) spared: Option<i8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) step: Step,
    /// The true time, the host's steady clock and its wall clock when the sign-in began.
    pub(crate) began: [i8; 3],
    /// The marks that the host knew then, a bit each.
    pub(crate) knew: u8,
    /// The order of a sign-in or revocation: a moment of the store, or a time of the host.
    pub(crate) order: i8,
    /// The records that are to end, and those that were looked at, a bit each.
    pub(crate) todo: u8,
    pub(crate) visited: u8,
    /// The records that must not live once the revocation has returned.
    pub(crate) must_end: u8,
    pub(crate) is_marked: bool,
    /// The name of the mark that the revocation has written, or that the sign-in has read; 0 for none.
    pub(crate) mark_name: u8,
    /// The owner had a mark when the sign-in began.
    pub(crate) began_under_mark: bool,
    /// The sessions were ended before the mark could be written.
    pub(crate) has_ended: bool,
    /// Every revocation had returned when this sign-in began.
    pub(crate) is_late: bool,
    pub(crate) refusals: u8,
    /// How far the shown time is ahead of the host's clock.
    pub(crate) shown_ahead: i8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) time: i8,
    pub(crate) store_ahead: i8,
    pub(crate) paused: [i8; 2],
    pub(crate) records: [Record; RECORDS],
    pub(crate) mark: Option<Mark>,
    /// The number of marks that were written.
    pub(crate) marks: u8,
    pub(crate) jobs: Vec<Job>,
    /// The latest order that each host gave or learnt.
    pub(crate) latest: [i8; 2],
    /// The marks that each host knows, a bit each.
    pub(crate) knows: [u8; 2],
    pub(crate) happened: u8,
    pub(crate) has_crashed: bool,
}

impl World {
    /// The last moment in the owner's list.
    pub(crate) fn last(&self) -> i8 {
        self.records.iter().filter_map(|record| record.listed).max().unwrap_or(0)
    }

    pub(crate) fn is_live(&self, record: usize) -> bool {
        matches!(self.records[record].entry, Entry::Live { .. })
    }
}

impl People {
    pub(crate) fn session_of(&self, record: usize) -> usize {
        if record == 3 && self.cast.iter().any(|who| matches!(who, Who::Renewal { .. })) { 0 } else { record }
    }

    pub(crate) fn includes(&self, which: Which, record: usize) -> bool {
        match which {
            Which::All => true,
            Which::Others => self.session_of(record) != 0,
            Which::One => self.session_of(record) == 0,
        }
    }

    pub(crate) fn clock(&self, world: &World, host: usize) -> i8 {
        match self.rules.clock {
            Clock::Store => world.time + world.store_ahead,
            Clock::Host => world.time + self.ahead[host],
            Clock::None => 0,
        }
    }

    /// The true time, the host's steady clock and its wall clock.
    pub(crate) fn times(&self, world: &World, host: usize) -> [i8; 3] {
        let steps = if self.is_one_machine { world.store_ahead } else { 0 };
        [world.time, world.time - world.paused[host], world.time + steps]
    }

    /// The records that give access: live, known to a client, and not refused when they are loaded.
    fn gives_access(&self, world: &World, record: usize) -> bool {
        let Record { entry: Entry::Live { moment }, is_known: true, .. } = world.records[record] else { return false };
        let ended = world.mark.is_some_and(|mark| moment <= self.threshold(&mark, record));
        !(self.rules.load_compares && ended)
    }

    pub(crate) fn threshold(&self, mark: &Mark, record: usize) -> i8 {
        mark.spared.filter(|_| self.session_of(record) == 0).unwrap_or(mark.moment)
    }

    fn nobody_revoked_has_access(&self, world: &World) -> bool {
        world.jobs.iter().zip(&self.cast).all(|(job, who)| {
            let has_returned = matches!(who, Who::Revoke { .. }) && job.step == Step::Done;
            !has_returned || bits(job.must_end).all(|record| !self.gives_access(world, record))
        })
    }

    fn every_session_is_listed(&self, world: &World) -> bool {
        (0..RECORDS).all(|record| !self.gives_access(world, record) || world.records[record].listed.is_some())
    }

    fn limit_holds_after_a_burst(&self, world: &World) -> bool {
        let Some(most) = self.limit else { return true };
        let is_over = world.jobs.iter().all(|job| job.step.is_end()) && !world.has_crashed;
        !is_over || (0..RECORDS).filter(|record| self.gives_access(world, *record)).count() <= most
    }

    fn refused_sign_in_leaves_nothing(&self, world: &World) -> bool {
        self.cast.iter().zip(&world.jobs).all(|(who, job)| match *who {
            Who::SignIn { session, .. } => job.step != Step::Refused || !world.is_live(session),
            _ => true,
        })
    }

    fn revocation_spares_later_sign_ins(&self, world: &World) -> bool {
        let revocations = self.cast.iter().filter(|who| matches!(who, Who::Revoke { .. })).count();
        let is_alone = revocations == 1 && self.limit.is_none();
        self.cast.iter().zip(&world.jobs).all(|(who, job)| match *who {
            Who::SignIn { session, .. } if is_alone && job.began_under_mark && job.step == Step::Done => {
                self.gives_access(world, session)
            }
            _ => true,
        })
    }

    fn sign_in_stays_after_a_revocation(&self, world: &World) -> bool {
        self.cast.iter().zip(&world.jobs).all(|(who, job)| match *who {
            Who::SignIn { session, .. } => self.gives_access(world, session),
            _ => job.step == Step::Done,
        })
    }

    fn spared_session_lives(&self, world: &World) -> bool {
        let only_others = |who: &Who| !matches!(who, Who::Revoke { which: Which::All | Which::One, .. });
        let is_spared = self.cast.iter().all(only_others) && self.limit.is_none() && !world.has_crashed;
        !is_spared || (0..RECORDS).any(|record| self.session_of(record) == 0 && world.is_live(record))
    }
}

impl Model for People {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let idle = Job {
            step: Step::Begin,
            began: [0; 3],
            knew: 0,
            order: 0,
            todo: 0,
            visited: 0,
            must_end: 0,
            is_marked: false,
            mark_name: 0,
            began_under_mark: false,
            has_ended: false,
            is_late: false,
            refusals: 0,
            shown_ahead: 0,
        };
        let nothing = Record { entry: Entry::Absent, listed: None, is_known: false };
        let mut records = [nothing; RECORDS];
        let moment = if self.rules.store_orders { self.clock_at_first() } else { 0 };
        records[0] = Record { entry: Entry::Live { moment }, listed: Some(moment), is_known: true };
        vec![World {
            time: 0,
            store_ahead: 5,
            paused: [0, 0],
            records,
            mark: None,
            marks: 0,
            jobs: vec![idle; self.cast.len()],
            latest: [0, 0],
            knows: [0, 0],
            happened: 0,
            has_crashed: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (job, who) in world.jobs.iter().zip(&self.cast) {
            // Whoever was refused tries again after a while.
            let may_retry = job.step == Step::Refused && job.refusals < 2 && world.time > job.began[0];
            if !job.step.is_end() {
                actions.push(Action::Do(*who, job.step));
            } else if may_retry && who.is_sign_in() {
                actions.push(Action::Do(*who, Step::Begin));
            }
        }
        if world.time < self.ticks {
            actions.push(Action::Tick);
        }
        for (place, accident) in self.accidents.iter().enumerate() {
            if world.happened & (1 << place) == 0 {
                actions.push(*accident);
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        if let Some(place) = self.accidents.iter().position(|accident| *accident == action) {
            next.happened |= 1 << place;
        }
        match action {
            Action::Do(who, step) => self.step(&mut next, self.place(who), step),
            Action::Full(who, step) => {
                let job = &mut next.jobs[self.place(who)];
                if job.step != step {
                    return None;
                }
                // The mark does not fit: the sessions end first.
                job.step = Step::List;
            }
            Action::Again(who, step) => {
                let place = self.place(who);
                if next.jobs[place].step != step {
                    return None;
                }
                let refusals = next.jobs[place].refusals;
                self.step(&mut next, place, step);
                (next.jobs[place].step, next.jobs[place].refusals) = (step, refusals);
            }
            Action::Resume(who) => {
                let job = &mut next.jobs[self.place(who)];
                if job.step != Step::Check {
                    return None;
                }
                job.step = Step::Enlist;
            }
            Action::Tick => next.time += 1,
            Action::StoreClock(by) => next.store_ahead += by,
            Action::Pause(host) => {
                next.time += 1;
                next.paused[host] += 1;
            }
            Action::Expire => {
                for record in &mut next.records {
                    if record.entry == Entry::Tombstone {
                        record.entry = Entry::Absent;
                    }
                }
            }
            Action::Evict => next.records.iter_mut().for_each(|record| record.listed = None),
            Action::Crash(host) => {
                for (job, who) in next.jobs.iter_mut().zip(&self.cast) {
                    if who.host() == host && job.step != Step::Begin && !job.step.is_end() {
                        job.step = Step::Failed;
                    }
                }
                (next.latest[host], next.knows[host], next.has_crashed) = (0, 0, true);
            }
            _ => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // Refusing everybody would keep the promises below.
            Property::sometimes("a sign-in stays after a revocation", Self::sign_in_stays_after_a_revocation),
            Property::always("a revocation spares the sign-ins after it", Self::revocation_spares_later_sign_ins),
            Property::always("a refused sign-in leaves nothing", Self::refused_sign_in_leaves_nothing),
            Property::always("nobody who was revoked has access", Self::nobody_revoked_has_access),
            Property::always("every session with access is listed", Self::every_session_is_listed),
            Property::always("the limit holds after a burst", Self::limit_holds_after_a_burst),
            Property::always("the spared session lives", Self::spared_session_lives),
            Property::always("a sign-in after a revocation is refused at most once", |_: &Self, world: &World| {
                world.jobs.iter().all(|job| job.refusals < 2)
            }),
            Property::always("the time that is shown is the host's", |_: &Self, world: &World| {
                world.jobs.iter().all(|job| job.shown_ahead <= 2)
            }),
        ]
    }
}

impl People {
    fn clock_at_first(&self) -> i8 {
        if self.rules.clock == Clock::Store { 5 } else { 0 }
    }

    fn place(&self, who: Who) -> usize {
        self.cast.iter().position(|other| *other == who).expect("only the cast acts")
    }
}

pub(crate) fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..RECORDS).filter(move |record| mask & (1 << record) != 0)
}
