//! The steps of signing in and renewing, each one atomic call of the store.

use super::{Entry, Job, Mark, People, RECORDS, Record, World, bits};
use crate::rules::Clock;
use crate::story::{Step, Who};

impl People {
    pub(super) fn step(&self, world: &mut World, place: usize, step: Step) {
        let next = match (self.cast[place], step) {
            (Who::Revoke { host, which }, _) => self.revoke(world, place, host, which, step),
            (Who::SignIn { host, session }, Step::Begin) => self.begin(world, place, host, session),
            (Who::Renewal { .. }, Step::Begin) => match world.records[0].entry {
                Entry::Live { moment } => {
                    world.jobs[place].order = moment;
                    self.first_write()
                }
                _ => Step::Failed,
            },
            (Who::SignIn { host, session }, _) => self.write(world, place, host, session, step),
            (Who::Renewal { host }, _) => self.write(world, place, host, 3, step),
            _ => Step::Failed,
        };
        world.jobs[place].step = next;
    }

    fn first_write(&self) -> Step {
        if self.rules.list_first { Step::Enlist } else { Step::Store }
    }

    fn begin(&self, world: &mut World, place: usize, host: usize, session: usize) -> Step {
        // A sign-in that is tried again is another one, under another token.
        for job in &mut world.jobs {
            job.must_end &= !(1 << session);
            job.visited &= !(1 << session);
            job.todo &= !(1 << session);
        }
        world.records[session] = Record { entry: Entry::Absent, listed: None, is_known: false };
        let wall = world.time + self.ahead[host];
        let mut revocations = self.cast.iter().zip(&world.jobs).filter(|(who, _)| matches!(who, Who::Revoke { .. }));
        let is_late = revocations.all(|(_, job)| job.step == Step::Done);
        let order = if self.rules.store_orders { wall } else { wall.max(world.latest[host] + 1) };
        let knew = world.knows[host];
        let began = self.times(world, host);
        let began_under_mark = world.mark.is_some();
        let job = &mut world.jobs[place];
        (job.order, job.began, job.knew, job.is_late) = (order, began, knew, is_late);
        job.began_under_mark = began_under_mark;
        job.shown_ahead = order - wall;
        if !self.rules.store_orders {
            world.latest[host] = order;
        }
        self.first_write()
    }

    /// A step of a sign-in, or of the new record of a renewal.
    fn write(&self, world: &mut World, place: usize, host: usize, record: usize, step: Step) -> Step {
        let is_sign_in = self.cast[place].is_sign_in();
        let after = if !is_sign_in {
            Step::Retire
        } else if self.limit.is_some() {
            Step::Limit
        } else {
            Step::Done
        };
        let next = match step {
            Step::Enlist if self.rules.list_first => {
                let mark = world.mark;
                if self.refuses(world, place, host, record) {
                    // A sign-in that is sent again has stored its record already.
                    if world.is_live(record) && self.rules.refusal_removes {
                        return Step::Remove;
                    }
                    return self.refused(world, place, host, mark);
                }
                if let Entry::Live { moment } = world.records[record].entry
                    && self.rules.keeps_moment
                {
                    world.jobs[place].order = moment;
                } else if is_sign_in {
                    let marked = mark.map_or(0, |mark| mark.moment);
                    world.jobs[place].order = self.clock(world, host).max(world.last() + 1).max(marked + 1);
                }
                world.jobs[place].mark_name = mark.map_or(0, |mark| mark.name);
                if !self.rules.lists_with_record {
                    world.records[record].listed = Some(world.jobs[place].order);
                }
                Step::Store
            }
            Step::Store => {
                match world.records[record].entry {
                    Entry::Absent => world.records[record].entry = Entry::Live { moment: world.jobs[place].order },
                    // The same call, sent again.
                    Entry::Live { .. } => {}
                    // The session was ended before it was there.
                    Entry::Tombstone => return self.refused(world, place, host, None),
                }
                if self.rules.lists_with_record {
                    world.records[record].listed = Some(world.jobs[place].order);
                }
                match (self.rules.list_first, self.rules.checks_twice) {
                    (false, _) => Step::Enlist,
                    (true, true) => Step::Check,
                    (true, false) => after,
                }
            }
            Step::Enlist | Step::Check => {
                let Job { order, mark_name, .. } = world.jobs[place];
                let is_refused = world.mark.is_some_and(|mark| {
                    let is_another = self.rules.checks_name && is_sign_in && mark.name != mark_name;
                    is_another || order <= self.threshold(&mark, record)
                });
                if is_refused {
                    Step::Remove
                } else {
                    world.records[record].listed = Some(order);
                    after
                }
            }
            Step::Remove => {
                // A tombstone stays.
                if world.is_live(record) {
                    world.records[record].entry = Entry::Absent;
                }
                let mark = world.mark;
                return self.refused(world, place, host, mark);
            }
            Step::Retire if world.is_live(0) => {
                world.records[0].entry = Entry::Tombstone;
                world.records[0].listed = None;
                Step::Done
            }
            // The session has ended meanwhile.
            Step::Retire => Step::Remove,
            Step::Limit => self.limit(world, place),
            Step::End => self.end_surplus(world, place, record),
            _ => Step::Failed,
        };
        if next == Step::Done {
            world.records[record].is_known = true;
        }
        next
    }

    /// Returns whether the mark refuses a record that is to be entered in the list.
    fn refuses(&self, world: &mut World, place: usize, host: usize, record: usize) -> bool {
        let Some(mark) = world.mark else { return false };
        let job = &world.jobs[place];
        if !self.cast[place].is_sign_in() {
            return job.order <= self.threshold(&mark, record);
        }
        if let Entry::Live { moment } = world.records[record].entry
            && self.rules.keeps_moment
            && moment <= mark.moment
        {
            return true;
        }
        if job.knew & (1 << mark.name) != 0 {
            return false;
        }
        if self.rules.clock == Clock::None {
            return true;
        }
        let age = self.clock(world, host) - mark.at;
        if age < 0 && self.rules.dates_mark_anew {
            world.mark = Some(Mark { at: self.clock(world, host), ..mark });
            return true;
        }
        let [_, steady, wall] = self.times(world, host);
        let (steady, wall) = (steady - job.began[1], wall - job.began[2]);
        let elapsed = if self.rules.asks_both_clocks { steady.max(wall) } else { steady };
        elapsed >= age
    }

    fn refused(&self, world: &mut World, place: usize, host: usize, mark: Option<Mark>) -> Step {
        if !self.cast[place].is_sign_in() {
            return Step::Failed;
        }
        if let Some(mark) = mark {
            if self.rules.remembers_marks {
                world.knows[host] |= 1 << mark.name;
            }
            if !self.rules.store_orders {
                world.latest[host] = world.latest[host].max(mark.moment);
            }
        }
        world.jobs[place].refusals += u8::from(world.jobs[place].is_late);
        Step::Refused
    }

    /// Lists the sessions, and chooses those beyond the limit.
    fn limit(&self, world: &mut World, place: usize) -> Step {
        let moment = |record: usize| match world.records[record] {
            Record { entry: Entry::Live { moment }, listed: Some(_), .. } => Some((moment, self.session_of(record))),
            _ => None,
        };
        let mut listed: Vec<_> = (0..RECORDS).filter_map(moment).collect();
        listed.sort_unstable();
        listed.dedup();
        let kept = self.limit.unwrap_or(RECORDS).min(listed.len());
        let mut surplus = &listed[..listed.len() - kept];
        if !self.rules.limit_in_bulk {
            // The time is up after the first, and later sign-ins are left alone.
            let own = world.jobs[place].order;
            let earlier = surplus.iter().take_while(|(moment, _)| *moment <= own).count();
            surplus = &surplus[..earlier.min(1)];
        }
        let is_meant = |record: &usize| {
            let is_surplus = surplus.iter().any(|(_, session)| *session == self.session_of(*record));
            is_surplus && world.records[*record].listed.is_some()
        };
        let todo = (0..RECORDS).filter(is_meant).fold(0, |mask, record| mask | 1 << record);
        world.jobs[place].todo = todo;
        if todo == 0 { Step::Done } else { Step::End }
    }

    fn end_surplus(&self, world: &mut World, place: usize, own: usize) -> Step {
        if let Some(record) = bits(world.jobs[place].todo).next() {
            world.jobs[place].todo &= !(1 << record);
            self.end(world, record);
        }
        match world.jobs[place].todo {
            0 if self.rules.limit_in_bulk && self.rules.lists_again => Step::Limit,
            0 if world.is_live(own) => Step::Done,
            0 => Step::Failed,
            _ => Step::End,
        }
    }
}
