//! Sessions move from one store to another, nobody is logged out, and nothing that ended comes back.

mod broken_off;
mod ends;

use crate::support::scope;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::conformance::WRAPPED;
use crate::support::direct::{act, begin, values};
use crate::support::{Answer, Backend, DAY, Fault, MINUTE, Op, TestStore};
use http::StatusCode;
use tower_session_layer::store::conformance::{Profile, Subject, check};
use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, Revocation, Revoke, Updated, Version,
};
use tower_session_layer::{
    Clock as _, ConfigError, CookieKey, CookieStore, ManualClock, MemoryStore, MovingStore, Sealed, Session,
    SessionHandle, SessionLayer, SessionStore, SessionToken, StoreError, StoreKey, TokenShape,
    session_store_conformance,
};

type Pair = MovingStore<TestStore, TestStore>;

mod empty_old_store {
    use super::*;

    session_store_conformance!(
        Subject::new(MovingStore::new(MemoryStore::new(), MemoryStore::new()).unwrap()).rounds(WRAPPED)
    );
}

mod into_encryption {
    use super::*;

    session_store_conformance!({
        let old = MemoryStore::new();
        Subject::new(MovingStore::new(Sealed::new(MemoryStore::new()).unwrap(), old).unwrap()).rounds(WRAPPED)
    });
}

/// Every session that begins here begins in the old store, and keeps the moment that it had there.
#[derive(Debug, Clone)]
struct FromTheOld<S>(MovingStore<S, S>, S, Moments);

type Moments = Arc<Mutex<HashMap<SessionHandle, u64>>>;

impl<S: SessionStore + Clone> FromTheOld<S> {
    fn new(make: impl Fn() -> S) -> Self {
        let old = make();
        Self(MovingStore::new(make(), old.clone()).unwrap(), old, Moments::default())
    }

    fn moment(&self, handle: SessionHandle) -> Option<u64> {
        self.2.lock().unwrap().get(&handle).copied()
    }
}

impl<S: SessionStore + Clone> SessionStore for FromTheOld<S> {
    fn token_shape(&self) -> TokenShape {
        self.0.token_shape()
    }

    fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    fn max_record_len(&self) -> Option<usize> {
        self.0.max_record_len()
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(match self.0.load(token, now).await? {
            Loaded::Live(record) if record.owner().is_some() => {
                let moment = self.moment(record.handle()).unwrap_or(record.sign_in());
                Loaded::Live(record.with_sign_in(moment).into())
            }
            loaded => loaded,
        })
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let created = match self.0.load(fresh, now).await? {
            Loaded::Tombstone(_) if self.1.load(fresh, now).await? != Loaded::Absent => {
                self.1.create(fresh, record, now).await?
            }
            Loaded::Absent => self.1.create(fresh, record, now).await?,
            _ => self.0.create(fresh, record, now).await?,
        };
        let Created::SignedIn(moment) = created else { return Ok(created) };
        Ok(Created::SignedIn(*self.2.lock().unwrap().entry(record.handle()).or_insert(moment)))
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.0.update(token, from, change, now).await
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.0.touch(token, version, deadline, now).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        self.0.delete(key, tombstone, now).await
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let mut owned = self.0.owned(owner, now).await?;
        for session in &mut owned {
            session.sign_in = self.moment(session.handle).unwrap_or(session.sign_in);
        }
        Ok(owned)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.0.revoke(owner, revocation, now).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.0.sweep(limit, now).await
    }
}

/// All laws but two kinds: those of calls at once, since this one's own `create` is two steps; and that of a delete without
/// a tombstone, which the layer sends for tokens that it has given to nobody, and which does not stop a move.
const ONE_AFTER_THE_OTHER: [&str; 24] = [
    "revocation_refuses_sign_ins_that_began_before",
    "revocation_by_a_wrong_clock_counts_for_everybody",
    "answers_are_those_of_the_model",
    "record_is_loaded_as_it_was_created",
    "create_never_overwrites",
    "update_replaces_the_record_once",
    "update_of_what_is_not_live_creates_nothing",
    "update_at_another_version_changes_nothing",
    "deadline_moves_only_as_the_change_says",
    "touch_moves_the_deadline_and_nothing_else",
    "touch_of_anything_else_does_nothing",
    "delete_ends_a_session_once",
    "tombstone_survives_unchanged",
    "record_over_the_limit_is_a_typed_error",
    "token_of_another_shape_is_absent",
    "what_ends_now_is_absent_for_every_method",
    "clock_that_goes_back_revives_nothing",
    "tombstone_ends_at_its_time",
    "times_from_1970_to_9999_are_exact",
    "sweep_removes_what_expired_and_nothing_else",
    "owner_list_follows_the_sessions",
    "owners_are_told_apart",
    "revocation_ends_what_it_names",
    "dropped_call_leaves_the_old_state_or_the_new",
];

#[test]
fn what_began_in_the_old_store_follows_the_laws() {
    for law in ONE_AFTER_THE_OTHER {
        check(Profile::ServerSide, law, async || FromTheOld::new(MemoryStore::new));
        check(Profile::ServerSide, law, async || FromTheOld::new(|| TestStore::new(Backend::Remote)));
    }
}

fn layer(store: impl SessionStore, clock: &ManualClock) -> SessionLayer {
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap()
}

fn pair(backend: Backend) -> (TestStore, TestStore, Pair) {
    let (new, old) = (TestStore::new(backend), TestStore::new(backend));
    (new.clone(), old.clone(), MovingStore::new(new, old).unwrap())
}

fn parse(text: &str) -> SessionToken {
    SessionToken::parse(text.as_bytes(), TokenShape::Random, scope()).unwrap()
}

/// A session that only the old store has.
async fn begun(old: &TestStore, clock: &ManualClock, how: &'static str) -> String {
    begin(&layer(old.clone(), clock), move |session| {
        if how.starts_with("revoke") {
            session.sign_in("ada")?;
        }
        session.insert("cart", 3)
    })
    .await
}

/// More polls than a load takes that moves a session.
const STEPS: usize = 20;

/// A request that only reads, which may have come to its end.
enum Step {
    Paused(Pin<Box<dyn Future<Output = Answer>>>),
    Done,
}

/// Starts a request and polls it so often.
async fn pause(layer: &SessionLayer, text: &str, polls: usize) -> Step {
    let (layer, text) = (layer.clone(), text.to_owned());
    let mut request: Pin<Box<dyn Future<Output = Answer>>> =
        Box::pin(async move { act(&layer, Some(&text), |session| session.len().to_string()).await });
    for _ in 0..polls {
        if poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await.is_ready() {
            return Step::Done;
        }
    }
    Step::Paused(request)
}

impl Step {
    /// Lets the request go on, or drops it.
    async fn go_on(self, is_broken_off: bool) {
        if let (Self::Paused(request), false) = (self, is_broken_off) {
            request.await;
        }
    }
}

async fn moves(old: impl SessionStore + Clone, new: impl SessionStore + Clone) {
    let clock = ManualClock::default();
    let before = layer(old.clone(), &clock);
    let text = begin(&before, |session| {
        session.sign_in("ada")?;
        session.set_idle_timeout(2 * DAY)?;
        session.flash("notice", "hi")?;
        session.insert("cart", 3)
    })
    .await;
    let csrf = act(&before, Some(&text), |session| session.csrf_token().unwrap()).await.body;
    let token = parse(&text);
    let Loaded::Live(record) = old.load(&token, clock.now()).await.unwrap() else { panic!("not begun") };

    let moved = layer(MovingStore::new(new.clone(), old.clone()).unwrap(), &clock);
    let found = act(&moved, Some(&text), |session| {
        format!("{:?} {:?}", session.owner().unwrap(), session.get::<u8>("cart").unwrap())
    })
    .await;
    assert!(found.leaves_cookie(), "{found:?}");
    assert!(found.body.contains("ada") && found.body.contains('3'), "{}", found.body);
    assert_eq!(old.load(&token, clock.now()).await.unwrap(), Loaded::Absent);
    let Loaded::Live(moved_record) = new.load(&token, clock.now()).await.unwrap() else { panic!("not moved") };
    // The new store has an order of its own.
    assert_eq!(moved_record.with_sign_in(record.sign_in()), *record, "as it was");
    assert_eq!(act(&moved, Some(&text), |session| session.csrf_token().unwrap()).await.body, csrf);
    assert_eq!(moved.owners().list("ada").await.unwrap().len(), 1);
    assert!(moved.owners().count("ada").await.map_or_else(|error| error.is_unsupported(), |count| count == 1));
    // It slides on with its own idle timeout.
    clock.advance(DAY);
    act(&moved, Some(&text), |session| session.insert("cart", 4).unwrap()).await;
    clock.advance(DAY + DAY / 2);
    assert!(values(&moved, &text).await.is_some());
    clock.advance(2 * DAY);
    assert!(values(&moved, &text).await.is_none());
}

#[tokio::test]
async fn everyone_stays_signed_in() {
    moves(MemoryStore::new(), MemoryStore::new()).await;
    moves(TestStore::new(Backend::File), MemoryStore::new()).await;
    moves(MemoryStore::new(), Sealed::new(MemoryStore::new()).unwrap()).await;
    moves(Sealed::new(MemoryStore::new()).unwrap(), Sealed::new(MemoryStore::new()).unwrap()).await;
}

#[tokio::test]
async fn a_sign_in_in_the_old_store_after_a_revocation_is_moved() {
    for backend in Backend::SERVER {
        let (clock, (_, old, pair)) = (ManualClock::default(), pair(backend));
        let (moving, before) = (layer(pair, &clock), layer(old, &clock));
        let earlier = begin(&before, |session| session.sign_in("ada")).await;
        assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        let later = begin(&before, |session| session.sign_in("ada")).await;
        assert_eq!(values(&moving, &earlier).await, None, "{backend:?}");
        assert!(values(&moving, &later).await.is_some(), "{backend:?}");
        assert_eq!(moving.owners().list("ada").await.unwrap().len(), 1, "{backend:?}");
    }
}

/// The moments of two stores have nothing in common.
#[tokio::test]
async fn who_signs_in_to_the_new_store_is_later_than_who_has_not_moved() {
    for (before, after) in Backend::SERVER.into_iter().flat_map(|old| Backend::SERVER.map(|new| (old, new))) {
        let (clock, old) = (ManualClock::default(), TestStore::new(before));
        for _ in 0..3 {
            begin(&layer(old.clone(), &clock), |session| session.sign_in("ada")).await;
            clock.advance(MINUTE);
        }
        let store = MovingStore::new(TestStore::new(after), old).unwrap();
        let builder = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid");
        let moving = builder.max_sessions_per_owner(2).build().unwrap();
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(begin(&moving, |session| session.sign_in("ada")).await);
            let list = moving.owners().list("ada").await.unwrap();
            assert_eq!((list.len(), list[0].signed_in), (2, Some(clock.now())), "{before:?} to {after:?}");
            clock.advance(MINUTE);
        }
        assert!(values(&moving, &tokens[1]).await.is_some() && values(&moving, &tokens[2]).await.is_some());
        assert_eq!(values(&moving, &tokens[0]).await, None, "{before:?} to {after:?}");
    }
}

#[tokio::test]
async fn the_new_stores_mark_says_nothing_of_a_session_that_the_old_store_has() {
    for backend in Backend::SERVER {
        let (clock, (new, old, pair)) = (ManualClock::default(), pair(backend));
        let text = begin(&layer(old, &clock), |session| session.sign_in("ada")).await;
        let revocation = Revocation::new(Revoke::All, MINUTE);
        assert_eq!(new.revoke("ada", &revocation, clock.now()).await.unwrap(), 0);
        let moving = layer(pair, &clock);
        assert!(values(&moving, &text).await.is_some(), "{backend:?}");
        assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        assert_eq!(values(&moving, &text).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn two_processes_that_move_one_session_move_it_once_and_lose_nothing() {
    for (side, at) in (0..12).map(|case| (case % 2, case / 2)) {
        let (new, old, store) = pair(Backend::Remote);
        let clock = ManualClock::default();
        let text = begun(&old, &clock, "revoke").await;
        let (one, other) = (layer(store.clone(), &clock), layer(store, &clock));
        let add = |session: &Session| session.update("cart", |cart: Option<u8>| cart.map(|cart| cart + 1)).map(drop);
        let (inner, token) = (other.clone(), text.clone());
        [&new, &old][side].interrupt(at, async move {
            assert!(act(&inner, Some(&token), add).await.leaves_cookie());
        });
        assert!(act(&one, Some(&text), add).await.leaves_cookie());
        let cart = act(&other, Some(&text), |session| format!("{:?}", session.get::<u8>("cart").unwrap())).await.body;
        assert!(cart == "Some(5)" || cart == "Some(4)" && at > 3, "store {side}, halt {at}: {cart}");
        assert_eq!((new.sessions().await, old.sessions().await), (1, 0), "store {side}, halt {at}");
        assert_eq!(one.owners().list("ada").await.unwrap().len(), 1, "store {side}, halt {at}");
    }
}

#[tokio::test]
async fn what_has_expired_is_absent_and_is_not_moved() {
    let (new, old, store) = pair(Backend::Memory);
    let clock = ManualClock::default();
    let text = begun(&old, &clock, "destroy").await;
    clock.advance(8 * DAY);
    assert_eq!(values(&layer(store, &clock), &text).await, None);
    assert_eq!(new.writes(), 0, "what has expired is not brought over");
}

#[tokio::test]
async fn a_session_in_both_stores_is_listed_and_counted_once() {
    let (new, old, store) = pair(Backend::Memory);
    let clock = ManualClock::default();
    let text = begun(&old, &clock, "revoke").await;
    old.fault(Op::Delete, Fault::Fail, 1);
    let moving = layer(store, &clock);
    assert_eq!(
        act(&moving, Some(&text), |session| session.len().to_string()).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!((new.sessions().await, old.sessions().await), (1, 1));
    assert_eq!(moving.owners().list("ada").await.unwrap().len(), 1);
    assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 1);
}

#[test]
fn a_client_side_store_is_refused_on_either_side() {
    let cookies = || CookieStore::new(CookieKey::new(&[7; 32]).unwrap());
    let refused = ConfigError::ClientSideStore("MovingStore");
    assert_eq!(MovingStore::new(cookies(), MemoryStore::new()).unwrap_err(), refused);
    assert_eq!(MovingStore::new(MemoryStore::new(), cookies()).unwrap_err(), refused);
}
