//! A move that is broken off loses nothing, and the next load goes on with it, in whichever direction.

use http::StatusCode;
use serde_json::json;
use tower_session_layer::{ManualClock, MovingStore, Session};

use super::{STEPS, Step, begun, layer, pair, pause};
use crate::support::direct::{act, values};
use crate::support::{Backend, Fault, MINUTE, Op};

#[tokio::test]
async fn a_request_dropped_in_the_middle_of_a_move_leaves_the_session_whole() {
    let mut paused = 0;
    for (polls, how) in (0..STEPS).flat_map(|polls| [(polls, "destroy"), (polls, "revoke")]) {
        let (new, old, store) = pair(Backend::Remote);
        let clock = ManualClock::default();
        let text = begun(&old, &clock, how).await;
        let moving = layer(store, &clock);
        let request = pause(&moving, &text, polls).await;
        paused += usize::from(matches!(request, Step::Paused(_)));
        request.go_on(true).await;
        // Alone, each store has the whole session or none.
        let alone =
            [values(&layer(new.clone(), &clock), &text).await, values(&layer(old.clone(), &clock), &text).await];
        assert!(alone.iter().flatten().all(|found| *found == json!({ "cart": 3 })), "{alone:?} after {polls} polls");
        assert!(alone.iter().flatten().count() < 2, "after {polls} polls");
        let listed = usize::from(how == "revoke");
        assert_eq!(moving.owners().list("ada").await.unwrap().len(), listed, "after {polls} polls");
        assert_eq!(values(&moving, &text).await, Some(json!({ "cart": 3 })), "after {polls} polls");
        assert_eq!(values(&layer(new, &clock), &text).await, Some(json!({ "cart": 3 })), "it has settled");
        assert_eq!(values(&layer(old, &clock), &text).await, None);
        assert_eq!(moving.owners().list("ada").await.unwrap().len(), listed, "after {polls} polls");
        let ended = moving.owners().revoke_all("ada").await.unwrap();
        assert_eq!(ended, listed, "after {polls} polls");
        assert!(act(&moving, Some(&text), Session::destroy).await.status == StatusCode::OK);
        assert_eq!(values(&moving, &text).await, None, "after {polls} polls");
        assert!(moving.owners().list("ada").await.unwrap().is_empty(), "after {polls} polls");
    }
    assert!(paused > 20, "{paused}");
}

/// Each step of the way there may be the last before the stores are exchanged, and each step of the way back before they
/// are exchanged again.
#[tokio::test]
async fn the_stores_may_be_exchanged_after_any_step_of_a_move() {
    for (there, back) in (0..STEPS).flat_map(|there| (0..STEPS).map(move |back| (there, back))) {
        let case = format!("{there} polls there, {back} back");
        let (new, old, store) = pair(Backend::Remote);
        let clock = ManualClock::default();
        let text = begun(&old, &clock, "revoke").await;
        let moving = layer(store, &clock);
        let going_back = layer(MovingStore::new(old.clone(), new.clone()).unwrap(), &clock);
        pause(&moving, &text, there).await.go_on(true).await;
        pause(&going_back, &text, back).await.go_on(true).await;
        let cart = json!({ "cart": 3 });
        let first = if (there + back) % 2 == 0 { &moving } else { &going_back };
        assert_eq!(values(first, &text).await, Some(cart), "{case}");
        assert!(act(first, Some(&text), |session| session.insert("cart", 4)).await.leaves_cookie(), "{case}");
        for layer in [&moving, &going_back, &moving] {
            assert_eq!(values(layer, &text).await, Some(json!({ "cart": 4 })), "{case}");
            assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1, "{case}");
        }
        assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 1, "{case}");
        for layer in [&moving, &going_back, &moving] {
            assert_eq!(values(layer, &text).await, None, "{case}");
            assert!(layer.owners().list("ada").await.unwrap().is_empty(), "{case}");
        }
    }
}

/// The old store gives its sessions up by tombstones then.
#[tokio::test]
async fn an_old_store_that_takes_no_record_any_more_gives_its_sessions_up() {
    for (polls, is_broken_off) in (0..STEPS).flat_map(|polls| [(polls, false), (polls, true)]) {
        let case = format!("{polls} polls, broken off: {is_broken_off}");
        let (new, old, store) = pair(Backend::Remote);
        let clock = ManualClock::default();
        let text = begun(&old, &clock, "revoke").await;
        let (moving, other) = (layer(store.clone(), &clock), layer(store, &clock));
        old.fault(Op::Update, Fault::Fail, 1);
        let late = pause(&moving, &text, polls).await;
        assert_eq!(act(&other, Some(&text), |session| session.len().to_string()).await.body, "1", "{case}");
        late.go_on(is_broken_off).await;
        for layer in [&moving, &other] {
            assert_eq!(values(layer, &text).await, Some(json!({ "cart": 3 })), "{case}");
        }
        assert_eq!((new.sessions().await, old.sessions().await), (1, 0), "{case}");
        assert_eq!(moving.owners().list("ada").await.unwrap().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn a_session_that_left_a_tombstone_comes_back_after_a_minute() {
    let (new, old, store) = pair(Backend::Memory);
    let clock = ManualClock::default();
    let text = begun(&old, &clock, "revoke").await;
    old.fault(Op::Update, Fault::Fail, 1);
    assert!(values(&layer(store, &clock), &text).await.is_some());
    let going_back = layer(MovingStore::new(old, new).unwrap(), &clock);
    let refused = act(&going_back, Some(&text), |session| session.len().to_string()).await;
    assert_eq!((refused.status, refused.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
    clock.advance(MINUTE);
    assert_eq!(values(&going_back, &text).await, Some(json!({ "cart": 3 })));
}

#[tokio::test]
async fn a_call_that_fails_during_a_move_is_503_and_the_session_is_whole() {
    let calls = [(0, Op::Load), (0, Op::Create), (0, Op::Update), (1, Op::Load), (1, Op::Update), (1, Op::Delete)];
    for ((side, op), how) in calls.into_iter().flat_map(|call| [(call, "destroy"), (call, "revoke")]) {
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            let case = format!("{op:?} of store {side}, {fault:?}, {how}");
            let (new, old, store) = pair(Backend::Remote);
            let clock = ManualClock::default();
            let text = begun(&old, &clock, how).await;
            let moving = layer(store, &clock);
            [&new, &old][side].fault(op, fault, 2);
            let refused = act(&moving, Some(&text), |session| session.len().to_string()).await;
            assert_eq!((refused.status, refused.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{case}");
            new.heal();
            old.heal();
            assert_eq!(values(&moving, &text).await, Some(json!({ "cart": 3 })), "{case}");
            let listed = moving.owners().list("ada").await.unwrap().len();
            assert_eq!(listed, usize::from(how == "revoke"), "{case}");
        }
    }
}
