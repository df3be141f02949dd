//! Models of how sessions end, in which `stateright` tries every order of steps.
//!
//! `people` is one owner's sessions on two hosts whose clocks differ: sign-ins, a renewal, revocations and the limit.
//! `moving` is one session that moves between two stores while somebody ends it. `renewing` is one session under tokens
//! that follow each other, with writes, renewals whose answers are lost, and late destroys. A step is one atomic call of
//! a store: the owner's list with its mark is one, a record is another. Time is a counter, and each accident (a crash, a
//! call cut off, a clock that steps, a full store, a tombstone that ends) happens at most once in a run. `Rules` is the
//! design. The checker must find the faults of `Rules::BEFORE`. It must find a fault in `Rules::NOW` when one of its rules
//! is changed, and nothing in `Rules::NOW` itself but the limits that the last tests name. `traces` has runs as data;
//! `races/traces.rs` takes the real code through them.

mod moving;
mod people;
mod renewing;
mod rules;
mod story;
mod traces;

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use self::moving::Moving;
use self::people::People;
use self::renewing::Renewing;
use self::rules::{Clock, Rules};
use self::story::{Action, Effect, Step, Which, Who};
use self::traces::Trace;

const NOW: Rules = Rules::NOW;
const REVOKED: &str = "nobody who was revoked has access";
const REFUSED: &str = "a sign-in after a revocation is refused at most once";
const QUIET: &str = "an ended session gives no access once all is quiet";
const ENDED: &str = "an ended session gives no access";

/// A model that the checker can run.
trait Checked:
    Model<Action = Action, State: Debug + Clone + Hash + PartialEq + Send + Sync> + Clone + Send + Sync + 'static
{
    /// Tries every order, and expects no broken promise.
    fn finds_nothing(self, what: &str) {
        let checked = self.clone().checker().spawn_bfs().join();
        for (promise, path) in checked.discoveries() {
            if self.property(promise).expectation == Expectation::Sometimes {
                continue;
            }
            panic!("{what}: \"{promise}\" is broken by {:#?}", path.into_actions());
        }
        eprintln!("{what}: {} states", checked.unique_state_count());
    }

    /// Returns the shortest run that breaks the promise.
    fn shortest(self, promise: &'static str) -> Option<Vec<Action>> {
        let checker = || self.clone().checker().threads(1).finish_when(HasDiscoveries::AllOf([promise].into()));
        checker().spawn_bfs().join().discovery(promise)?;
        let within = |depth| checker().target_max_depth(depth).spawn_bfs().join().discovery(promise);
        (1..).find_map(within).map(Path::into_actions)
    }

    fn finds(self, what: &str, promise: &'static str) {
        assert!(self.shortest(promise).is_some(), "{what}: no run breaks \"{promise}\"");
    }

    /// Expects that this run breaks the promise, and that no shorter one does.
    fn finds_trace(self, trace: &Trace) {
        let found = self.clone().shortest(trace.breaks).unwrap_or_default();
        assert_eq!(found.len(), trace.steps.len(), "the shortest run is {found:#?}");
        let state = self.after(trace.steps).expect("the run is possible");
        assert!(!(self.property(trace.breaks).condition)(&self, &state), "the run breaks \"{}\"", trace.breaks);
    }

    /// Returns the state after a run, unless a step is impossible.
    fn after(&self, steps: &[Action]) -> Option<Self::State> {
        let state = self.init_states().pop()?;
        steps.iter().try_fold(state, |state, step| {
            let mut possible = Vec::new();
            self.actions(&state, &mut possible);
            if possible.contains(step) { self.next_state(&state, *step) } else { None }
        })
    }
}

impl<M> Checked for M where
    M: Model<Action = Action, State: Debug + Clone + Hash + PartialEq + Send + Sync> + Clone + Send + Sync + 'static
{
}

fn people(rules: Rules, cast: &[Who], ticks: i8, accidents: &[Action]) -> People {
    People { ahead: [0, 4], ticks, accidents: accidents.to_vec(), ..People::new(rules, cast) }
}

fn limited(rules: Rules, cast: &[Who], most: usize) -> People {
    People { limit: Some(most), ..people(rules, cast, 0, &[]) }
}

fn owner_of(rules: Rules, trace: &Trace) -> People {
    let ticks = i8::from(trace.steps.contains(&Action::Tick));
    People { ahead: trace.ahead, limit: trace.limit, ..people(rules, trace.cast, ticks, &accidents(trace)) }
}

fn stores_of(rules: Rules, trace: &Trace) -> Moving {
    Moving::new(rules, trace.cast, &accidents(trace))
}

fn accidents(trace: &Trace) -> Vec<Action> {
    trace.steps.iter().filter(|step| !matches!(step, Action::Do(..) | Action::Tick)).copied().collect()
}

const fn sign_in(host: usize, session: usize) -> Who {
    Who::SignIn { host, session }
}

const fn revoke(host: usize, which: Which) -> Who {
    Who::Revoke { host, which }
}

const ALL: Who = revoke(0, Which::All);
const ONE: Who = revoke(0, Which::One);
const AHEAD: Who = sign_in(1, 1);
const RENEWAL: Who = Who::Renewal { host: 0 };
const MOVERS: [Who; 2] = [Who::Mover(1), Who::Mover(2)];
const RENEW: Who = Who::Renew { from: 0, to: 1, by_age: false };

#[test]
fn before_a_burst_that_breaks_the_limit_is_found() {
    owner_of(Rules::BEFORE, &traces::BURST).finds_trace(&traces::BURST);
}

#[test]
fn before_an_evicted_list_is_found() {
    owner_of(Rules::BEFORE, &traces::EVICTED_LIST).finds_trace(&traces::EVICTED_LIST);
}

#[test]
fn before_a_clock_that_ran_ahead_is_found() {
    owner_of(Rules::BEFORE, &traces::SIGN_IN_AHEAD).finds_trace(&traces::SIGN_IN_AHEAD);
    owner_of(Rules::BEFORE, &traces::LEARNT_TIME).finds_trace(&traces::LEARNT_TIME);
}

#[test]
fn before_a_move_that_was_cut_off_before_the_list_is_found() {
    stores_of(Rules::BEFORE, &traces::MOVE_CUT_OFF_BEFORE_LIST).finds_trace(&traces::MOVE_CUT_OFF_BEFORE_LIST);
}

#[test]
fn now_nothing_is_found_among_an_owners_sessions() {
    let others = |host| revoke(host, Which::Others);
    let crashes = [Action::Crash(0), Action::Crash(1), Action::Expire];
    people(NOW, &[AHEAD, RENEWAL, ALL], 0, &crashes).finds_nothing("a sign-in, a renewal, all, crashes");
    people(NOW, &[AHEAD, RENEWAL, revoke(1, Which::One)], 0, &crashes)
        .finds_nothing("a sign-in, a renewal, one, crashes");
    people(NOW, &[sign_in(0, 1), RENEWAL, revoke(1, Which::All), others(0)], 0, &[]).finds_nothing("all and others");
    people(NOW, &[sign_in(0, 1), RENEWAL, others(1), others(0)], 0, &[]).finds_nothing("others and others");
    people(NOW, &[AHEAD, sign_in(0, 2), ALL], 1, &[]).finds_nothing("two sign-ins, all");
    let again = [Action::Again(AHEAD, Step::Enlist), Action::Again(AHEAD, Step::Store), Action::Resume(AHEAD)];
    people(NOW, &[AHEAD, ALL], 2, &[&again[..], &[Action::Again(ALL, Step::Mark)]].concat())
        .finds_nothing("calls sent again");
    people(NOW, &[AHEAD, ALL, revoke(1, Which::All)], 1, &[Action::Again(ALL, Step::Mark)])
        .finds_nothing("a mark sent again");
    let full = [Action::Full(ALL, Step::Mark), Action::Resume(AHEAD), Action::Expire];
    let database = Rules { lists_with_record: true, ..NOW };
    let back = [Action::StoreClock(-5), Action::Expire];
    people(database, &[AHEAD, RENEWAL, ALL], 1, &back).finds_nothing("a database, a renewal, all");
    let files = Rules { load_compares: true, ..NOW };
    people(database, &[AHEAD, ALL], 0, &full).finds_nothing("a full database, a sign-in sent again");
    people(files, &[AHEAD, ALL], 0, &full).finds_nothing("full files, a sign-in sent again");
    people(files, &[AHEAD, RENEWAL, ALL], 1, &[Action::Expire]).finds_nothing("a store whose loads compare, all");
}

#[test]
fn now_a_sign_in_after_a_revocation_goes_through() {
    let stays = |rules| people(rules, &[AHEAD, ALL], 1, &[]).shortest("a sign-in stays after a revocation").is_some();
    assert!(stays(NOW) && stays(Rules { clock: Clock::None, ..NOW }));
}

#[test]
fn now_nothing_is_found_with_clocks_that_step_and_a_full_store() {
    let clocks = [Action::StoreClock(-5), Action::Pause(1)];
    people(NOW, &[AHEAD, ALL], 3, &clocks).finds_nothing("the store's clock steps back, a host pauses");
    people(NOW, &[sign_in(0, 1), ALL], 3, &[Action::StoreClock(-1)]).finds_nothing("a small step back");
    let machine = people(NOW, &[AHEAD, ALL], 3, &[Action::StoreClock(5)]);
    People { is_one_machine: true, ..machine }.finds_nothing("the machine's clock steps forward");
    let clockless = Rules { clock: Clock::None, ..NOW };
    people(clockless, &[AHEAD, RENEWAL, ALL], 1, &[]).finds_nothing("a map without a clock");
    people(NOW, &[AHEAD, RENEWAL, ALL], 1, &[Action::Full(ALL, Step::Mark)]).finds_nothing("a full store");
}

#[test]
fn now_nothing_is_found_in_a_burst() {
    limited(NOW, &[sign_in(0, 1), sign_in(1, 2), sign_in(1, 3)], 1).finds_nothing("a burst");
    limited(NOW, &[sign_in(0, 1), sign_in(1, 2), RENEWAL], 1).finds_nothing("a burst and a renewal");
}

#[test]
fn now_nothing_is_found_in_moves() {
    let by_version = Rules { destroy_moves: true, ..NOW };
    for (rules, end) in [(NOW, ALL), (NOW, ONE), (NOW, Who::Destroy), (by_version, Who::Destroy)] {
        let cast = [MOVERS[0], MOVERS[1], Who::Lister, end];
        let accidents = [Action::Cut(MOVERS[0]), Action::Cut(MOVERS[1]), Action::Cut(end), Action::Expire];
        let moving = Moving::new(rules, &cast, &accidents);
        moving.clone().finds_nothing("moves that somebody ends");
        Moving { creates_at_once: true, ..moving }.finds_nothing("moves in one step that somebody ends");
    }
    let accidents = [Action::Cut(MOVERS[0]), Action::Cut(MOVERS[1])];
    Moving::new(NOW, &MOVERS, &accidents).finds_nothing("moves that nobody ends");
}

#[test]
fn now_nothing_is_found_in_renewals() {
    let renew = |from, by_age| Who::Renew { from, to: from + 1, by_age };
    let lost =
        |who| [Action::Lost(who, Effect::Now), Action::Lost(who, Effect::Later), Action::Lost(who, Effect::Never)];
    let (asked, aged) = (renew(0, false), renew(0, true));
    let cut = [&lost(asked)[..], &[Action::Cut(asked)]].concat();
    Renewing::new(NOW, &[asked, renew(1, false), Who::Write(1), Who::Destroy], &cut)
        .finds_nothing("renewals, a destroy");
    Renewing::new(NOW, &[asked, Who::Write(1), Who::Write(2)], &cut).finds_nothing("a renewal, writes");
    let ends = [&lost(aged)[..], &[Action::GraceEnds, Action::Expire]].concat();
    Renewing::new(NOW, &[aged, renew(1, true), Who::Write(1), Who::Destroy], &ends).finds_nothing("renewals by age");
}

#[test]
fn each_rule_of_an_owners_sessions_is_needed() {
    let back = [Action::StoreClock(-5)];
    let forward = [Action::StoreClock(5)];
    let forgetful = Rules { remembers_marks: false, ..NOW };
    people(forgetful, &[AHEAD, ALL], 3, &back).finds("a mark later than the clock is not remembered", REFUSED);
    let own_host = Rules { dates_mark_anew: true, ..forgetful };
    people(own_host, &[sign_in(0, 1), ALL], 3, &back)
        .finds_nothing("on the host of the revocation dating it anew does");

    let steady = Rules { asks_both_clocks: false, ..NOW };
    people(steady, &[AHEAD, ALL], 0, &[Action::Pause(1)]).finds("a frozen host", REVOKED);
    let machine = people(steady, &[AHEAD, ALL], 0, &forward);
    People { is_one_machine: true, ..machine }.finds("the machine's clock steps forward", REVOKED);

    let host = Rules { clock: Clock::Host, ..NOW };
    people(host, &[AHEAD, ALL], 0, &[]).finds("a mark is dated by another host", REVOKED);

    let again = [Action::Again(ALL, Step::Mark), Action::Resume(AHEAD)];
    let same_name = Rules { names_each_mark: false, ..NOW };
    people(same_name, &[AHEAD, ALL, revoke(1, Which::All)], 1, &again).finds("two marks of one name", REVOKED);
    let momentary = Rules { checks_name: false, lists_with_record: true, ..NOW };
    let later = people(momentary, &[AHEAD, ALL], 0, &back);
    later.finds("a moment later than the clock, in a transaction", REVOKED);
    let fresh = Rules { keeps_moment: false, load_compares: true, ..NOW };
    let full = [Action::Full(ALL, Step::Mark), Action::Resume(AHEAD), Action::Expire];
    people(fresh, &[AHEAD, ALL], 0, &full).finds("a sign-in sent again gets another moment", REVOKED);
    let lax = Rules { refusal_removes: false, ..NOW };
    people(lax, &[AHEAD, ALL], 0, &again).finds("a refusal leaves the record", "a refused sign-in leaves nothing");
    let greedy = Rules { ends_up_to_mark: false, ..NOW };
    people(greedy, &[AHEAD, ALL], 1, &[]).finds("later sign-ins end", "a revocation spares the sign-ins after it");

    let once = Rules { checks_twice: false, ..NOW };
    people(once, &[AHEAD, ALL], 0, &[Action::Expire]).finds("the mark is compared once", REVOKED);

    let trusting = Rules { lists_after_late_mark: false, ..NOW };
    owner_of(trusting, &traces::LATE_MARK).finds_trace(&traces::LATE_MARK);

    let single = Rules { lists_again: false, ..NOW };
    owner_of(single, &traces::RENEWED_WHILE_REVOKED).finds_trace(&traces::RENEWED_WHILE_REVOKED);
    let limit = limited(single, &[sign_in(0, 1), sign_in(0, 2), RENEWAL], 2);
    limit.finds("the limit lists once", "the limit holds after a burst");
    let slow = Rules { limit_in_bulk: false, ..NOW };
    limited(slow, &[sign_in(0, 1), sign_in(1, 2), sign_in(1, 3)], 1)
        .finds("one by one", "the limit holds after a burst");
}

#[test]
fn each_rule_of_moves_is_needed() {
    let at_once = Rules { settles: false, ..NOW };
    let unending = Rules { ends_absent: false, ..at_once };
    stores_of(unending, &traces::MOVE_CUT_OFF_BEFORE_CHECK).finds_trace(&traces::MOVE_CUT_OFF_BEFORE_CHECK);
    let cut = [Action::Cut(MOVERS[0])];
    Moving::new(at_once, &[MOVERS[0], MOVERS[1], ONE], &cut).finds("one that moves, cut off", QUIET);
    Moving::new(at_once, &[MOVERS[0], MOVERS[1], ONE], &[]).finds("one that moves", ENDED);
    Moving::new(at_once, &[MOVERS[0], Who::Destroy], &cut).finds("a destroy, cut off", QUIET);

    let nameless = Rules { rest_names_copy: false, destroy_moves: true, ..NOW };
    Moving::new(nameless, &[MOVERS[0], MOVERS[1], Who::Destroy], &[cut[0], Action::Expire])
        .finds("a rest that names no copy", QUIET);
    let cast = [MOVERS[0], MOVERS[1], Who::Lister, ALL];
    Moving::new(Rules { list_first: false, ..NOW }, &cast, &cut).finds("the list comes last", QUIET);
    Moving::new(Rules { strikes_absent: true, ..NOW }, &cast, &cut).finds("an absent session is struck", QUIET);
}

#[test]
fn each_rule_of_renewals_is_needed() {
    let lost = [Action::Lost(RENEW, Effect::Later)];
    Renewing::new(Rules { fences: false, ..NOW }, &[RENEW], &lost).finds("no second write", "no update is lost");
    Renewing::new(Rules { fresh_first: false, ..NOW }, &[RENEW], &[])
        .finds("the old one dies first", "no update is lost");
    let deaf = Renewing::new(Rules { destroy_follows: false, ..NOW }, &[RENEW, Who::Destroy], &[]);
    deaf.finds("a destroy does not follow", "a destroyed session gives no access");
}

/// The clock of a server that is set forward, or the clock of the replica that takes over, makes the mark look older
/// than it is.
#[test]
fn the_limit_of_a_servers_clock_that_steps_forward_is_found() {
    people(NOW, &[AHEAD, ALL], 0, &[Action::StoreClock(5)]).finds("a step forward", REVOKED);
    let clockless = Rules { clock: Clock::None, ..NOW };
    people(clockless, &[AHEAD, ALL], 1, &[Action::StoreClock(5)]).finds_nothing("without ages it cannot");
}

/// A store that loses lists breaks the promise in any design. It is refused when the layer is built.
#[test]
fn the_limit_of_a_store_that_loses_lists_is_found() {
    owner_of(NOW, &traces::EVICTED_LIST).finds_trace(&traces::EVICTED_LIST);
}

/// A request that takes longer than a tombstone stands cannot follow a renewal.
#[test]
fn the_limit_of_a_destroy_later_than_the_tombstone_is_found() {
    let short = Rules { tombstones_outlast: false, ..NOW };
    let late = Renewing::new(short, &[RENEW, Who::Destroy], &[Action::Expire]);
    late.finds("a tombstone ends first", "a destroyed session gives no access");
}
