//! An end during a move is the end, whatever the clocks of the hosts say and however the move goes on.

use std::time::Duration;

use http::StatusCode;
use tower_session_layer::{Error, ManualClock, Session, SessionLayer};

use super::{STEPS, Step, begun, layer, pair, pause};
use crate::support::direct::{act, values};
use crate::support::{Answer, Backend, Fault, HOUR, MINUTE, Op, TestStore};

/// What ends a session, each through the layer.
const ENDS: [&str; 5] = ["destroy", "renew", "revoke one", "revoke all", "empty"];

/// Ends a session, and tells whether that was acknowledged.
async fn end(layer: &SessionLayer, text: &str, how: &'static str) -> bool {
    match how {
        "destroy" => act(layer, Some(text), Session::destroy).await.removes_cookie_at_200(),
        "renew" => act(layer, Some(text), Session::renew).await.token().is_some(),
        "empty" => act(layer, Some(text), |session| session.remove("cart").map(drop)).await.removes_cookie_at_200(),
        "revoke all" => layer.owners().revoke_all("ada").await.is_ok(),
        _ => match &layer.owners().list("ada").await.unwrap_or_default()[..] {
            [one] => layer.owners().revoke("ada", one.handle).await.unwrap_or_default(),
            _ => false,
        },
    }
}

trait Acknowledged {
    fn removes_cookie_at_200(&self) -> bool;
}

impl Acknowledged for Answer {
    fn removes_cookie_at_200(&self) -> bool {
        self.status == StatusCode::OK && self.removes_cookie()
    }
}

async fn is_over(layer: &SessionLayer, clock: &ManualClock, text: &str, case: &str) {
    assert_eq!(values(layer, text).await, None, "{case}");
    clock.advance(2 * MINUTE);
    assert_eq!(values(layer, text).await, None, "{case}: the tombstone has expired");
}

/// How far the clock of the host that moves is ahead of the other host's, or behind it.
const APART: [(Duration, Duration); 3] =
    [(Duration::ZERO, Duration::ZERO), (HOUR, Duration::ZERO), (Duration::ZERO, HOUR)];

/// Two hosts that move sessions, each with a clock of its own, and a session that only the old store has.
struct Hosts {
    new: TestStore,
    old: TestStore,
    text: String,
    moving: SessionLayer,
    other: SessionLayer,
    clocks: [ManualClock; 2],
}

impl Hosts {
    async fn new(backend: Backend, how: &'static str, (ahead, behind): (Duration, Duration)) -> Self {
        let (new, old, store) = pair(backend);
        let text = begun(&old, &ManualClock::default(), how).await;
        let clocks = [ahead, behind].map(|by| {
            let clock = ManualClock::default();
            clock.advance(by);
            clock
        });
        let (moving, other) = (layer(store.clone(), &clocks[0]), layer(store, &clocks[1]));
        Self { new, old, text, moving, other, clocks }
    }

    async fn are_over(&self, case: &str) {
        is_over(&self.moving, &self.clocks[0], &self.text, case).await;
        is_over(&self.other, &self.clocks[1], &self.text, case).await;
        assert_eq!(self.moving.owners().list("ada").await.unwrap().len(), 0, "{case}");
    }
}

/// The move is broken off at one call, and then the end at another, which is tried again only where it was not acknowledged.
#[tokio::test]
async fn what_ended_never_comes_back_wherever_it_was_broken_off() {
    let ops = [Op::Load, Op::Create, Op::Update, Op::Delete, Op::Revoke];
    for how in ENDS {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            for broken_move in [(0, Op::Create), (1, Op::Load), (1, Op::Delete)] {
                for (side, op) in [0, 1].into_iter().flat_map(|side| ops.map(|op| (side, op))) {
                    let case = format!("{how}, {fault:?}, moving at {broken_move:?}, ending at {side} {op:?}");
                    let (new, old, store) = pair(Backend::Memory);
                    let clock = ManualClock::default();
                    let text = begun(&old, &clock, how).await;
                    let (layer, sides) = (layer(store, &clock), [&new, &old]);
                    sides[broken_move.0].fault(broken_move.1, fault, 1);
                    act(&layer, Some(&text), |session| session.is_new().to_string()).await;
                    sides[side].fault(op, fault, 1);
                    let mut has_ended = end(&layer, &text, how).await;
                    new.heal();
                    old.heal();
                    if !has_ended {
                        has_ended = end(&layer, &text, how).await;
                    }
                    // What was not acknowledged may have happened all the same.
                    assert!(has_ended || values(&layer, &text).await.is_none(), "{case}: the second try goes right");
                    is_over(&layer, &clock, &text, &case).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_end_between_any_two_steps_of_a_move_is_the_end() {
    let requests: [fn(&Session) -> Result<(), Error>; 2] =
        [|session| session.get::<u8>("cart").map(drop), |session| session.insert("late", 1)];
    let mut seen = 0;
    for (how, apart) in ENDS.into_iter().flat_map(|how| APART.map(|apart| (how, apart))) {
        for (side, at, request) in (0..24).map(|case| (case % 2, case / 4, requests[case / 2 % 2])) {
            let case = format!("{how} before halt {at} of store {side}, clocks at {apart:?}");
            let hosts = Hosts::new(Backend::Remote, how, apart).await;
            let (told, ended) = std::sync::mpsc::channel();
            [&hosts.new, &hosts.old][side].interrupt(at, {
                let (other, text) = (hosts.other.clone(), hosts.text.clone());
                async move { told.send(end(&other, &text, how).await).unwrap() }
            });
            act(&hosts.moving, Some(&hosts.text), request).await;
            let Ok(is_acknowledged) = ended.try_recv() else { continue };
            seen += 1;
            assert!(is_acknowledged, "{case}");
            hosts.are_over(&case).await;
        }
    }
    assert!(seen > 250, "{seen} interleavings");
}

/// The session is moved and ends between two steps of a second move, which then goes on or is broken off.
#[tokio::test]
async fn an_end_after_another_move_is_the_end_of_a_move_that_is_late() {
    let mut seen = 0;
    for (how, apart) in ENDS.into_iter().flat_map(|how| APART.map(|apart| (how, apart))) {
        for (polls, is_broken_off) in (0..STEPS).flat_map(|polls| [(polls, false), (polls, true)]) {
            let case = format!("{how} after {polls} polls, broken off: {is_broken_off}, clocks at {apart:?}");
            let hosts = Hosts::new(Backend::Remote, how, apart).await;
            let late = pause(&hosts.moving, &hosts.text, polls).await;
            seen += usize::from(matches!(late, Step::Paused(_)));
            assert!(values(&hosts.other, &hosts.text).await.is_some(), "{case}");
            assert!(end(&hosts.other, &hosts.text, how).await, "{case}");
            // The tombstone has gone by every clock.
            hosts.clocks.iter().for_each(|clock| clock.advance(2 * MINUTE));
            assert_eq!(values(&hosts.other, &hosts.text).await, None, "{case}");
            late.go_on(is_broken_off).await;
            hosts.are_over(&case).await;
        }
    }
    assert!(seen > 300, "{seen} interleavings");
}

#[tokio::test]
async fn an_end_during_a_move_that_is_broken_off_is_the_end() {
    for (how, apart) in ENDS.into_iter().flat_map(|how| APART.map(|apart| (how, apart))) {
        for polls in 0..STEPS {
            let case = format!("{how} after {polls} polls, clocks at {apart:?}");
            let hosts = Hosts::new(Backend::Remote, how, apart).await;
            let late = pause(&hosts.moving, &hosts.text, polls).await;
            assert!(end(&hosts.other, &hosts.text, how).await, "{case}");
            late.go_on(true).await;
            hosts.are_over(&case).await;
        }
    }
}
