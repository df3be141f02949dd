//! The runs of `model/traces.rs` on the real code: each breaks its promise in another design, and none does here
//! (promises 10, 22 and 27).
//!
//! A host is a layer with a clock of its own on one map. Its calls of the map are let through one by one, so that what two
//! hosts do meets at every point where a trace could have it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::support::direct::{act, begin, settle, values};
use crate::support::key_value::Map;
use crate::support::{Answer, HOUR, MINUTE};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::{
    Clock as _, KeyValueStore, ManualClock, MemoryStore, MovingStore, OwnedSession, Session, SessionLayer,
    SessionLayerBuilder, SessionStore, StoreError,
};

/// More calls than anything here makes.
const ALL: usize = 10_000;

/// The map as one host calls it.
#[derive(Debug, Clone)]
struct Turns {
    map: Map,
    calls: Arc<Semaphore>,
    /// The map's own clock, if it has one.
    clock: Option<ManualClock>,
}

impl Turns {
    fn new(map: &Map, clock: Option<&ManualClock>) -> Self {
        Self { map: map.clone(), calls: Arc::new(Semaphore::new(ALL)), clock: clock.cloned() }
    }

    async fn turn(&self) {
        self.calls.acquire().await.unwrap().forget();
    }

    fn hold(&self) {
        self.calls.forget_permits(usize::MAX >> 4);
    }

    /// Lets so many calls through, and everything go on as far as it can.
    async fn run(&self, calls: usize) {
        self.calls.add_permits(calls);
        settle().await;
        self.hold();
    }

    fn free(&self) {
        self.calls.add_permits(ALL);
    }
}

impl KeyValue for Turns {
    type Revision = u64;

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, StoreError> {
        self.turn().await;
        self.map.get(key).await
    }

    async fn compare_and_swap(&self, key: &str, from: Option<&u64>, to: Option<Entry>) -> Result<bool, StoreError> {
        self.turn().await;
        self.map.compare_and_swap(key, from, to).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.map.sweep(limit, now).await
    }

    async fn clock(&self) -> Result<Option<SystemTime>, StoreError> {
        Ok(self.clock.as_ref().map(ManualClock::now))
    }
}

/// A layer, whose calls can be held.
struct Host {
    layer: SessionLayer,
    clock: ManualClock,
    turns: Turns,
}

impl Host {
    fn on<S: SessionStore>(
        turns: Turns,
        store: S,
        options: impl FnOnce(SessionLayerBuilder<S>) -> SessionLayerBuilder<S>,
    ) -> Self {
        let clock = ManualClock::default();
        let builder = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR);
        Self { layer: options(builder).build().unwrap(), clock, turns }
    }

    fn new(map: &Map, clock: Option<&ManualClock>) -> Self {
        let turns = Turns::new(map, clock);
        Self::on(turns.clone(), KeyValueStore::new(turns), |builder| builder)
    }

    /// Begins something whose calls of the map wait until they are let through.
    async fn start<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.turns.hold();
        let task = tokio::spawn(what);
        settle().await;
        task
    }

    async fn finish<T>(&self, task: JoinHandle<T>) -> T {
        self.turns.free();
        task.await.unwrap()
    }

    async fn sign_in(&self) -> String {
        begin(&self.layer, |session| session.sign_in("ada")).await
    }

    /// A request that signs in, under way.
    async fn signing_in(&self) -> JoinHandle<Answer> {
        let layer = self.layer.clone();
        self.start(async move { act(&layer, None, |session| session.sign_in("ada")).await }).await
    }

    async fn list(&self) -> Vec<OwnedSession> {
        self.layer.owners().list("ada").await.unwrap()
    }

    async fn has_access(&self, token: &str) -> bool {
        values(&self.layer, token).await.is_some()
    }
}

/// `SIGN_IN_AHEAD`: nobody who was revoked has access.
#[tokio::test]
async fn a_sign_in_under_way_on_a_host_whose_clock_is_off_does_not_outlive_a_revocation() {
    for has_clock in [true, false] {
        for off in [-4, 0, 4] {
            for calls in 0..8 {
                let what = format!("a clock: {has_clock}, {off} hours, {calls} calls");
                let (map, time) = (Map::default(), ManualClock::default());
                let shared = has_clock.then_some(&time);
                let (right, wrong) = (Host::new(&map, shared), Host::new(&map, shared));
                wrong.clock.set(shift(right.clock.now(), off));
                let old = right.sign_in().await;
                let signing_in = wrong.signing_in().await;
                wrong.turns.run(calls).await;
                time.advance(MINUTE);
                assert!(right.layer.owners().revoke_all("ada").await.unwrap() > 0, "{what}");
                let answer = wrong.finish(signing_in).await;
                assert_eq!(map.sessions(), 0, "{what}: {answer:?}");
                for token in answer.token().iter().chain([&old]) {
                    assert!(!right.has_access(token).await && !wrong.has_access(token).await, "{what}");
                }
                // And no clock keeps anybody out afterwards.
                let token = wrong.sign_in().await;
                assert!(right.has_access(&token).await && right.list().await.len() == 1, "{what}");
            }
        }
    }
}

fn shift(time: SystemTime, hours: i32) -> SystemTime {
    let by = HOUR * hours.unsigned_abs();
    if hours < 0 { time - by } else { time + by }
}

/// `LEARNT_TIME`: the time that is shown is the host's.
#[tokio::test]
async fn a_host_shows_its_own_time_after_one_that_is_ahead_has_revoked() {
    for has_clock in [true, false] {
        let (map, time) = (Map::default(), ManualClock::default());
        let shared = has_clock.then_some(&time);
        let (right, ahead) = (Host::new(&map, shared), Host::new(&map, shared));
        ahead.clock.set(shift(right.clock.now(), 4));
        ahead.sign_in().await;
        assert_eq!(ahead.layer.owners().revoke_all("ada").await.unwrap(), 1);
        for _ in 0..2 {
            let token = right.sign_in().await;
            let now = right.clock.now();
            let shown = act(&right.layer, Some(&token), |session| format!("{:?}", session.signed_in_at())).await.body;
            assert_eq!(shown, format!("{:?}", Some(now)), "a clock: {has_clock}");
            assert_eq!(right.list().await[0].signed_in, Some(now), "a clock: {has_clock}");
            right.clock.advance(MINUTE);
        }
        assert_eq!(right.list().await.len(), 2, "a clock: {has_clock}");
    }
}

/// `LATE_MARK`: nobody who was revoked has access once a revocation says so, whichever of its calls failed before.
#[tokio::test]
async fn a_revocation_that_cannot_write_is_an_error_until_nobody_is_left() {
    for (calls, fails, acts) in
        (0..6).flat_map(|calls| (0..12).flat_map(move |fails| [(calls, fails, false), (calls, fails, true)]))
    {
        let what = format!("{calls} calls, the revocation fails at {fails}, acts: {acts}");
        let map = Map::default();
        let (here, there) = (Host::new(&map, None), Host::new(&map, None));
        let old = here.sign_in().await;
        let signing_in = there.signing_in().await;
        there.turns.run(calls).await;
        map.state().fault = Some((fails, acts));
        let revoked = here.layer.owners().revoke_all("ada").await;
        map.state().fault = None;
        let answer = there.finish(signing_in).await;
        if revoked.is_err() {
            here.layer.owners().revoke_all("ada").await.unwrap();
        }
        assert_eq!(map.sessions(), 0, "{what}: {revoked:?} {answer:?}");
        for token in answer.token().iter().chain([&old]) {
            assert!(!here.has_access(token).await, "{what}: {revoked:?}");
        }
    }
}

/// `RENEWED_WHILE_REVOKED`: nobody who was revoked has access.
#[tokio::test]
async fn a_revocation_reaches_the_session_that_is_renewed_between_its_calls() {
    for (which, before, meanwhile) in [false, true]
        .into_iter()
        .flat_map(|all| (0..9).flat_map(move |before| (0..9).map(move |meanwhile| (all, before, meanwhile))))
    {
        let what = format!("all: {which}, {before} calls of the revocation, {meanwhile} of the renewal");
        let map = Map::default();
        let (here, there) = (Host::new(&map, None), Host::new(&map, None));
        let old = here.sign_in().await;
        let handle = here.list().await[0].handle;
        let owners = there.layer.owners();
        let revoking = async move {
            if which {
                owners.revoke_all("ada").await.map(|_| ())
            } else {
                owners.revoke("ada", handle).await.map(|_| ())
            }
        };
        let revoking = there.start(revoking).await;
        there.turns.run(before).await;
        let (layer, token) = (here.layer.clone(), old.clone());
        let renewing = here.start(async move { act(&layer, Some(&token), Session::renew).await }).await;
        here.turns.run(meanwhile).await;
        there.finish(revoking).await.unwrap();
        let answer = here.finish(renewing).await;
        settle().await;
        for token in answer.token().iter().chain([&old]) {
            assert!(!here.has_access(token).await, "{what}: {answer:?}");
        }
        assert!(map.sessions() == 0 && here.list().await.is_empty(), "{what}");
    }
}

/// `MOVE_CUT_OFF_BEFORE_LIST` and `MOVE_CUT_OFF_BEFORE_CHECK`: an ended session gives no access once all is quiet.
#[tokio::test]
async fn a_move_that_is_cut_off_leaves_no_session_that_a_revocation_does_not_reach() {
    for (before, after) in (0..10).flat_map(|before| (0..10).map(move |after| (before, after))) {
        for is_cut in [true, false] {
            let what = format!("cut: {is_cut}, {before} calls before the revocation, {after} after it");
            let (map, old) = (Map::default(), MemoryStore::new());
            let moving = || {
                let turns = Turns::new(&map, None);
                let store = MovingStore::new(KeyValueStore::new(turns.clone()), old.clone()).unwrap();
                Host::on(turns, store, |builder| builder)
            };
            let (mover, other) = (moving(), moving());
            let only_old = Host::on(Turns::new(&map, None), old.clone(), |builder| builder);
            let token = only_old.sign_in().await;
            let (layer, moved) = (mover.layer.clone(), token.clone());
            let loading = mover.start(async move { values(&layer, &moved).await }).await;
            mover.turns.run(before).await;
            assert!(other.layer.owners().revoke_all("ada").await.is_ok(), "{what}");
            mover.turns.run(after).await;
            if is_cut {
                loading.abort();
                settle().await;
                mover.turns.free();
            } else {
                mover.finish(loading).await;
            }
            assert!(!other.has_access(&token).await && !mover.has_access(&token).await, "{what}");
            assert!(!only_old.has_access(&token).await && other.list().await.is_empty(), "{what}");
            assert_eq!(map.sessions(), 0, "{what}");
        }
    }
}

/// `BURST`: the limit holds after a burst.
#[tokio::test]
async fn a_burst_on_two_hosts_leaves_as_many_sessions_as_the_limit_allows() {
    for most in [1, 2] {
        for (calls, leaves) in (0..10).flat_map(|calls| [(calls, false), (calls, true)]) {
            let what = format!("at most {most}, {calls} calls, clients leave: {leaves}");
            let map = Map::default();
            let limited = || {
                let turns = Turns::new(&map, None);
                Host::on(turns.clone(), KeyValueStore::new(turns), |builder| builder.max_sessions_per_owner(most))
            };
            let hosts = [limited(), limited(), limited()];
            let mut signing_in = Vec::new();
            for host in &hosts {
                signing_in.push(host.signing_in().await);
            }
            // Each stores its session before any looks at the limit.
            for calls in [5, calls] {
                for host in &hosts {
                    host.turns.run(calls).await;
                }
            }
            let mut tokens = Vec::new();
            for (at, (host, task)) in hosts.iter().zip(signing_in).enumerate() {
                if leaves && at < 2 {
                    task.abort();
                    host.turns.free();
                } else {
                    tokens.extend(host.finish(task).await.token());
                }
                settle().await;
            }
            settle().await;
            assert!((1..=most).contains(&hosts[0].list().await.len()), "{what}: {:?}", hosts[0].list().await);
            assert!(map.sessions() <= most, "{what}");
        }
    }
}
