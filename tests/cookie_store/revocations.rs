//! The list of revocations: what has ended opens nowhere, and nobody is let in while the list cannot be asked.

use http::StatusCode;
use tower_session_layer::{ManualClock, SessionLayer};

use super::*;
use crate::support::direct::{act, begin, hold, respond, until, values};
use crate::support::{Answer, Backend, DAY, Fault, HOUR, Op, TestStore};

/// One server of an application: its cookie store, with this list.
fn server(list: Option<&TestStore>, clock: &ManualClock) -> SessionLayer {
    let builder = CookieStore::builder([key(NEW)]);
    let builder = match list {
        Some(list) => builder.revocations(list.clone()),
        None => builder,
    };
    let store = builder.build().unwrap();
    assert_eq!(store.is_immediate(), list.is_none_or(SessionStore::is_immediate));
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap()
}

async fn logged_in(layer: &SessionLayer) -> String {
    begin(layer, |session| {
        session.insert("cart", 3)?;
        session.sign_in("user-17")
    })
    .await
}

async fn log_out(layer: &SessionLayer, token: &str) -> Answer {
    act(layer, Some(token), |session| session.destroy().unwrap()).await
}

async fn renew(layer: &SessionLayer, token: &str) -> Answer {
    act(layer, Some(token), |session| session.renew().unwrap()).await
}

#[tokio::test]
async fn copy_of_a_cookie_is_empty_after_logout_on_every_server() {
    for backend in Backend::SERVER {
        let (list, clock) = (TestStore::new(backend), ManualClock::default());
        let (one, other) = (server(Some(&list), &clock), server(Some(&list), &clock));
        let before = logged_in(&one).await;
        let copy = act(&one, Some(&before), |session| session.insert("cart", 4).unwrap()).await.token().unwrap();
        let bystander = logged_in(&one).await;
        assert!(values(&other, &copy).await.is_some());
        assert!(log_out(&one, &copy).await.removes_cookie());
        for server in [&one, &other] {
            assert_eq!(values(server, &copy).await, None, "{backend:?}");
            assert_eq!(values(server, &before).await, None, "{backend:?}: an older copy");
            assert!(values(server, &bystander).await.is_some(), "{backend:?}: another session");
        }
        // What begins with such a copy is another session.
        let anew = act(&one, Some(&copy), |session| session.insert("cart", 1).unwrap()).await.token().unwrap();
        assert_eq!(values(&other, &anew).await, Some(serde_json::json!({ "cart": 1 })));
    }
}

#[tokio::test]
async fn copy_of_a_cookie_is_empty_after_a_renewal_and_the_renewed_session_lives() {
    for backend in Backend::SERVER {
        let (list, clock) = (TestStore::new(backend), ManualClock::default());
        let (one, other) = (server(Some(&list), &clock), server(Some(&list), &clock));
        let planted = begin(&one, |session| session.insert("cart", 3)).await;
        let signed_in = act(&one, Some(&planted), |session| session.sign_in("user-17").unwrap()).await.token().unwrap();
        let renewed = renew(&one, &signed_in).await.token().unwrap();
        for server in [&one, &other] {
            assert_eq!(values(server, &planted).await, None, "{backend:?}: from before the sign-in");
            assert_eq!(values(server, &signed_in).await, None, "{backend:?}: from before the renewal");
            assert_eq!(values(server, &renewed).await, Some(serde_json::json!({ "cart": 3 })), "{backend:?}");
        }
    }
}

#[tokio::test]
async fn copy_of_a_cookie_is_empty_after_a_logout_whose_client_left() {
    for backend in Backend::SERVER {
        let (list, clock) = (TestStore::new(backend), ManualClock::default());
        let layer = server(Some(&list), &clock);
        let copy = logged_in(&layer).await;
        let (out, is_out) = tokio::sync::oneshot::channel();
        let leaving = tokio::spawn(respond(&layer, Some(&copy), |session| async move {
            session.destroy().unwrap();
            out.send(()).unwrap();
            std::future::pending::<()>().await;
        }));
        is_out.await.unwrap();
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        until(async || values(&layer, &copy).await.is_none()).await;
    }
}

#[tokio::test]
async fn without_a_list_a_copy_survives() {
    let clock = ManualClock::default();
    let layer = server(None, &clock);
    let copy = logged_in(&layer).await;
    assert!(renew(&layer, &copy).await.token().is_some());
    assert!(log_out(&layer, &copy).await.removes_cookie());
    assert!(values(&layer, &copy).await.is_some());
}

#[tokio::test]
async fn list_that_fails_is_503_and_never_an_empty_session() {
    for backend in Backend::SERVER {
        let (list, clock) = (TestStore::new(backend), ManualClock::default());
        let layer = server(Some(&list), &clock);
        let token = logged_in(&layer).await;
        list.fault(Op::Load, Fault::Fail, 2);
        for _ in 0..2 {
            let answer = act(&layer, Some(&token), |_| "the handler ran").await;
            assert!(!answer.body.contains("ran"), "{backend:?}");
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{backend:?}");
        }
        assert!(values(&layer, &token).await.is_some(), "{backend:?}: it came back");

        list.fault_after(Op::Load, 1, Fault::Fail);
        let answer = act(&layer, Some(&token), |session| session.insert("cart", 4).unwrap()).await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{backend:?}");
        for fault in [Fault::Fail, Fault::LoseAnswer] {
            let token = logged_in(&layer).await;
            list.fault(Op::Create, fault, 1);
            let answer = renew(&layer, &token).await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{fault:?}");
            let lives = values(&layer, &token).await.is_some();
            assert_eq!(lives, fault == Fault::Fail, "{backend:?}: what the list knows has ended");
        }
        list.fault(Op::Create, Fault::Fail, 1);
        let answer = log_out(&layer, &token).await;
        assert!(answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.removes_cookie(), "{backend:?}");
        assert!(values(&layer, &token).await.is_some(), "{backend:?}: and so it was said");
    }
}

#[tokio::test]
async fn request_that_held_an_ended_session_brings_nothing_back() {
    for backend in Backend::SERVER {
        let (list, clock) = (TestStore::new(backend), ManualClock::default());
        let layer = server(Some(&list), &clock);
        let token = logged_in(&layer).await;
        let writer = hold(&layer, &token, |session| session.insert("cart", 9).unwrap()).await;
        let renewing = hold(&layer, &token, |session| session.renew().unwrap()).await;
        log_out(&layer, &token).await;
        assert!(writer.release().await.leaves_cookie(), "{backend:?}");
        // It gets a session of its own changes, of which there are none.
        assert!(renewing.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(list.calls(Op::Create), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn end_is_noted_for_as_long_as_any_copy_could_be_good() {
    let (list, clock) = (TestStore::new(Backend::Memory), ManualClock::default());
    let layer = server(Some(&list), &clock);
    let old = logged_in(&layer).await;
    clock.advance(6 * DAY);
    // Six days later another copy is good for a week from now.
    let refreshed = act(&layer, Some(&old), |session| session.len().to_string()).await.token().unwrap();
    log_out(&layer, &old).await;
    clock.advance(2 * DAY);
    sweep(&list, &clock).await;
    assert_eq!(values(&layer, &old).await, None);
    assert_eq!(values(&layer, &refreshed).await, None, "past the deadline of the copy that logged out");
    clock.advance(21 * DAY + 23 * HOUR);
    assert_eq!(sweep(&list, &clock).await, 0);
    clock.advance(HOUR);
    assert_eq!(sweep(&list, &clock).await, 1, "at the absolute deadline");
}

/// Sweeps as the layer does: through the cookie store.
async fn sweep(list: &TestStore, clock: &ManualClock) -> usize {
    let store = CookieStore::builder([key(NEW)]).revocations(list.clone()).build().unwrap();
    assert_eq!(store.sweep_interval(), SessionStore::sweep_interval(list));
    store.sweep(10, tower_session_layer::Clock::now(clock)).await.unwrap()
}

#[tokio::test]
async fn list_is_asked_only_about_cookies_that_open() {
    let (list, clock) = (TestStore::new(Backend::Memory), ManualClock::default());
    let layer = server(Some(&list), &clock);
    act(&layer, None, |session| session.is_new().to_string()).await;
    let token = logged_in(&layer).await;
    assert_eq!(values(&layer, &format!("{token}A")).await, None);
    assert_eq!(list.order(), [], "no cookie, a new session, a forged one");
    assert!(values(&layer, &token).await.is_some());
    assert_eq!(list.order(), [Op::Load], "a request that reads");
    list.forget();
    let token = act(&layer, Some(&token), |session| session.insert("cart", 5).unwrap()).await.token().unwrap();
    assert_eq!(list.order(), [Op::Load; 2], "a request that writes");
    list.forget();
    let token = renew(&layer, &token).await.token().unwrap();
    assert_eq!(list.order(), [Op::Load, Op::Load, Op::Create], "a renewal");
    list.forget();
    log_out(&layer, &token).await;
    assert_eq!(list.order(), [Op::Load, Op::Create], "a logout");
}

#[test]
fn of_two_ends_at_once_one_is_the_first() {
    let list = TestStore::new(Backend::Memory);
    let store = || bound(CookieStore::builder([key(NEW)]).revocations(list.clone()).build().unwrap(), "sid");
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, start()));
    let token = create(&store(), &record(1)).unwrap();
    assert_eq!(now(store().update(&token, version(9), &retire, start())).unwrap(), Updated::Conflict);
    assert_eq!(now(store().update(&token, version(1), &retire, start())).unwrap(), Updated::Done);
    assert_eq!(now(store().update(&token, version(1), &retire, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store().touch(&token, version(1), start() + 90 * MINUTE, start())).unwrap(), Updated::Gone);
    assert_eq!(load_at(&store(), &token, start()), Loaded::Absent);
}

#[test]
fn session_that_was_left_empty_is_not_noted() {
    let list = TestStore::new(Backend::Memory);
    let store = bound(CookieStore::builder([key(NEW)]).revocations(list.clone()).build().unwrap(), "sid");
    let token = create(&store, &record(1)).unwrap();
    let emptied = Change::Retire(Tombstone::new(TombstoneKind::Emptied, MINUTE, start()));
    assert_eq!(now(store.update(&token, version(1), &emptied, start())).unwrap(), Updated::Done);
    assert!(matches!(load_at(&store, &token, start()), Loaded::Live(_)));
}

#[test]
fn list_that_is_a_cookie_store_is_refused() {
    let refused = CookieStore::builder([key(NEW)]).revocations(CookieStore::new(key(OLD))).build();
    assert_eq!(refused.unwrap_err(), ConfigError::ClientSideStore("revocations"));
}

// Promise 6. The sessions are the same but for the name of the cookie.
#[test]
fn cookies_of_two_names_end_no_session_of_each_other_in_one_list() {
    let list = TestStore::new(Backend::Memory);
    let store = |name| bound(CookieStore::builder([key(NEW)]).revocations(list.clone()).build().unwrap(), name);
    let [(shop, shops), (admin, admins)] = ["shop", "admin"].map(|name| {
        let store = store(name);
        let token = create(&store, &record(1)).unwrap();
        (store, token)
    });
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Destroyed, MINUTE, start()));
    assert_eq!(now(shop.update(&shops, version(1), &retire, start())).unwrap(), Updated::Done);
    assert_eq!(load_at(&shop, &shops, start()), Loaded::Absent);
    assert!(matches!(load_at(&admin, &admins, start()), Loaded::Live(_)));
    assert_eq!(load_at(&admin, &shops, start()), Loaded::Absent, "the name is in the seal");
    assert_eq!(now(admin.update(&admins, version(1), &retire, start())).unwrap(), Updated::Done);
    assert_eq!(load_at(&admin, &admins, start()), Loaded::Absent);
}
