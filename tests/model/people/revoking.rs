//! The steps of a revocation.

use super::{Entry, Mark, People, RECORDS, World, bits};
use crate::story::{Step, Which, Who};

impl People {
    pub(super) fn revoke(&self, world: &mut World, place: usize, host: usize, which: Which, step: Step) -> Step {
        let next = match step {
            Step::Begin => {
                self.call(world, place, host, which);
                if which == Which::One { Step::List } else { Step::Mark }
            }
            Step::Mark => {
                self.mark(world, place, host, which);
                let is_late = world.jobs[place].has_ended;
                world.jobs[place].is_marked = true;
                let is_enough = self.rules.load_compares || (is_late && !self.rules.lists_after_late_mark);
                if is_enough { Step::Done } else { Step::List }
            }
            Step::List => {
                let mark = world.mark.filter(|_| self.rules.ends_up_to_mark && world.jobs[place].is_marked);
                let is_meant = |record: &usize| {
                    let listed = world.records[*record].listed;
                    let is_later = mark.is_some_and(|mark| listed > Some(mark.moment));
                    listed.is_some() && !is_later && self.includes(which, *record)
                };
                let listed = (0..RECORDS).filter(is_meant).fold(0, |mask, record| mask | 1 << record);
                let job = &mut world.jobs[place];
                job.todo = listed & !job.visited;
                job.visited |= listed;
                if job.todo == 0 { Self::after_ending(world, place, which) } else { Step::End }
            }
            Step::End => {
                if let Some(record) = bits(world.jobs[place].todo).next() {
                    world.jobs[place].todo &= !(1 << record);
                    self.end(world, record);
                }
                match (world.jobs[place].todo, self.rules.lists_again) {
                    (0, true) => Step::List,
                    (0, false) => Self::after_ending(world, place, which),
                    _ => Step::End,
                }
            }
            _ => Step::Failed,
        };
        if next == Step::Done {
            world.knows[host] |= 1 << world.jobs[place].mark_name;
        }
        next
    }

    /// Notes who has begun to sign in before the call. Of those nobody may live once it has returned.
    fn call(&self, world: &mut World, place: usize, host: usize, which: Which) {
        let has_begun = |record: usize| {
            self.cast.iter().zip(&world.jobs).any(|(who, job)| match *who {
                Who::SignIn { session, .. } => {
                    session == record && !matches!(job.step, Step::Begin | Step::Refused | Step::Failed)
                }
                _ => self.session_of(record) == 0,
            })
        };
        let must_end = (0..RECORDS).filter(|record| self.includes(which, *record) && has_begun(*record));
        let must_end = must_end.fold(0, |mask, record| mask | 1 << record);
        let order = (world.time + self.ahead[host]).max(world.latest[host] + 1);
        for job in &mut world.jobs {
            job.is_late = false;
        }
        world.jobs[place].must_end = must_end;
        if !self.rules.store_orders {
            world.jobs[place].order = order;
            world.latest[host] = order;
        }
    }

    fn after_ending(world: &mut World, place: usize, which: Which) -> Step {
        let job = &mut world.jobs[place];
        if job.is_marked || which == Which::One {
            return Step::Done;
        }
        // There is room now.
        (job.has_ended, job.visited) = (true, 0);
        Step::Mark
    }

    fn mark(&self, world: &mut World, place: usize, host: usize, which: Which) {
        let before = world.mark;
        if self.rules.names_each_mark && before.is_some_and(|mark| mark.by == place) {
            // The same call, sent again.
            return;
        }
        let spared = (which == Which::Others).then(|| before.map_or(-1, |mark| self.threshold(&mark, 0)));
        let order = world.jobs[place].order;
        let moment = if self.rules.store_orders { self.clock(world, host).max(world.last()) } else { order };
        let moment = before.map_or(moment, |mark| mark.moment.max(moment));
        world.marks += 1;
        let name = if self.rules.names_each_mark { world.marks } else { u8::try_from(place).unwrap_or(u8::MAX) + 1 };
        world.jobs[place].mark_name = name;
        world.mark = Some(Mark { moment, at: self.clock(world, host), by: place, name, spared });
    }

    /// Ends a session that was listed, and strikes it.
    pub(super) fn end(&self, world: &mut World, record: usize) {
        let is_absent = world.records[record].entry == Entry::Absent;
        if !is_absent || self.rules.ends_absent {
            world.records[record].entry = Entry::Tombstone;
        }
        if !is_absent || self.rules.ends_absent || self.rules.strikes_absent {
            world.records[record].listed = None;
        }
    }
}
