//! Sessions move from one store to another, nobody is logged out, and nothing that ended comes back.

mod support;

use support::direct::{act, begin, values};
use support::{Backend, DAY, Fault, MINUTE, Op, TestStore};
use tower_session_layer::store::Loaded;
use tower_session_layer::{
    Clock as _, ConfigError, CookieKey, CookieStore, ManualClock, MemoryStore, MovingStore, Sealed, SessionLayer,
    SessionStore, SessionToken, TokenShape, session_store_conformance,
};

type Pair = MovingStore<TestStore, TestStore>;

mod empty_old_store {
    use super::*;

    session_store_conformance!(MovingStore::new(MemoryStore::new(), MemoryStore::new()).unwrap());
}

mod into_encryption {
    use super::*;

    session_store_conformance!({
        let old = MemoryStore::new();
        MovingStore::new(Sealed::new(MemoryStore::new()).unwrap(), old).unwrap()
    });
}

fn layer(store: impl SessionStore, clock: &ManualClock) -> SessionLayer {
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap()
}

fn pair(backend: Backend) -> (TestStore, TestStore, Pair) {
    let (new, old) = (TestStore::new(backend), TestStore::new(backend));
    (new.clone(), old.clone(), MovingStore::new(new, old).unwrap())
}

fn parse(text: &str) -> SessionToken {
    SessionToken::parse(text.as_bytes(), TokenShape::Random).unwrap()
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
    assert_eq!(new.load(&token, clock.now()).await.unwrap(), Loaded::Live(record), "as it was");
    assert_eq!(act(&moved, Some(&text), |session| session.csrf_token().unwrap()).await.body, csrf);
    assert_eq!(moved.owners().list("ada").await.unwrap().len(), 1);
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

/// What ends a session, each through the layer.
const ENDS: [&str; 5] = ["destroy", "renew", "revoke one", "revoke all", "empty"];

async fn end(layer: &SessionLayer, text: &str, how: &'static str) {
    match how {
        "destroy" => drop(act(layer, Some(text), |session| session.destroy().is_ok().to_string()).await),
        "renew" => drop(act(layer, Some(text), |session| session.renew().is_ok().to_string()).await),
        "empty" => drop(act(layer, Some(text), |session| session.remove("cart").is_ok().to_string()).await),
        "revoke all" => drop(layer.owners().revoke_all("ada").await),
        _ => {
            let listed = layer.owners().list("ada").await.unwrap_or_default();
            for one in listed {
                drop(layer.owners().revoke("ada", one.handle).await);
            }
        }
    }
}

/// The move is broken off at one call, then the session is ended, broken off at another, and ended again.
#[tokio::test]
async fn what_ended_never_comes_back_wherever_it_was_broken_off() {
    for how in ENDS {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            for broken_move in [(0, Op::Create), (1, Op::Load), (1, Op::Delete)] {
                for (side, op) in [0, 1]
                    .into_iter()
                    .flat_map(|side| [Op::Load, Op::Create, Op::Update, Op::Delete, Op::Revoke].map(|op| (side, op)))
                {
                    let case = format!("{how}, {fault:?}, moving at {broken_move:?}, ending at {side} {op:?}");
                    let (new, old, store) = pair(Backend::Memory);
                    let clock = ManualClock::default();
                    let text = begin(&layer(old.clone(), &clock), move |session| {
                        if how.starts_with("revoke") {
                            session.sign_in("ada")?;
                        }
                        session.insert("cart", 3)
                    })
                    .await;
                    let layer = layer(store, &clock);
                    let sides = [&new, &old];
                    sides[broken_move.0].fault(broken_move.1, fault, 1);
                    act(&layer, Some(&text), |session| session.is_new().to_string()).await;
                    sides[side].fault(op, fault, 1);
                    end(&layer, &text, how).await;
                    new.heal();
                    old.heal();
                    end(&layer, &text, how).await;
                    assert_eq!(values(&layer, &text).await, None, "{case}");
                    clock.advance(2 * MINUTE);
                    assert_eq!(values(&layer, &text).await, None, "{case}: the tombstone has expired");
                }
            }
        }
    }
}

#[test]
fn a_client_side_store_is_refused_on_either_side() {
    let cookies = || CookieStore::new(CookieKey::new(&[7; 32]).unwrap());
    let refused = ConfigError::ClientSideStore("MovingStore");
    assert_eq!(MovingStore::new(cookies(), MemoryStore::new()).unwrap_err(), refused);
    assert_eq!(MovingStore::new(MemoryStore::new(), cookies()).unwrap_err(), refused);
}
