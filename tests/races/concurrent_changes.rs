//! Requests that change one session at the same time: nothing is lost, and it costs what it must (promises 3, 9, 13).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use crate::support::direct::{act, at_once, begin, hold, respond, send, values};
use crate::support::{Answer, Backend, MINUTE, Op, Setup, answer};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower_session_layer::{Error, Session, SessionLayer};

type Act = fn(&Session) -> Result<(), Error>;

/// Sends requests that all have loaded the session before the first of them commits.
async fn crowd(
    layer: &SessionLayer,
    token: &str,
    size: usize,
    act: impl Fn(usize, &Session) -> Result<(), Error> + Send + Sync + 'static,
) -> Vec<Answer> {
    let (barrier, act) = (Arc::new(Barrier::new(size)), Arc::new(act));
    let mut requests = JoinSet::new();
    for number in 0..size {
        let (barrier, act) = (Arc::clone(&barrier), Arc::clone(&act));
        let responding = respond(layer, Some(token), move |session| async move {
            let result = act(number, &session);
            barrier.wait().await;
            result
        });
        requests.spawn(async move { answer(responding.await).await });
    }
    requests.join_all().await
}

fn increment(session: &Session) -> Result<(), Error> {
    session.update("count", |count: Option<u64>| Some(count.unwrap_or(0) + 1))
}

#[tokio::test]
async fn changes_of_different_keys_both_land_and_a_conflict_costs_one_read_and_one_write() {
    for backend in Backend::SERVER {
        let Setup { store, layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("before", 0)).await;
        store.forget();
        let first = hold(layer, &token, |session| session.insert("first", 1)).await;
        let second = hold(layer, &token, |session| session.insert("second", 2)).await;
        assert_eq!((store.calls(Op::Load), store.writes()), (2, 0), "{backend:?}");
        assert!(first.release().await.leaves_cookie());
        assert_eq!((store.calls(Op::Load), store.writes()), (2, 1), "{backend:?}");
        assert!(second.release().await.leaves_cookie());
        let calls = (store.calls(Op::Load), store.calls(Op::Update), store.writes());
        assert_eq!(calls, (3, 3, 3), "{backend:?}: tried, read again, written");
        assert_eq!(values(layer, &token).await, Some(json!({ "before": 0, "first": 1, "second": 2 })), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_keys_of_two_hundred_requests_at_once_are_all_there() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::with(backend, |builder| builder.store_timeout(10 * MINUTE));
        let token = begin(layer, |session| session.insert("before", 0)).await;
        let answers = crowd(layer, &token, 200, |number, session| session.insert(&format!("key{number}"), number));
        assert!(answers.await.iter().all(Answer::leaves_cookie), "{backend:?}");
        let mut expected = json!({ "before": 0 });
        for number in 0..200 {
            expected[format!("key{number}")] = json!(number);
        }
        assert_eq!(values(layer, &token).await, Some(expected), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_increments_of_one_key_make_exactly_two_hundred() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::with(backend, |builder| builder.store_timeout(10 * MINUTE));
        let token = begin(layer, |session| session.insert("before", 0)).await;
        let answers = crowd(layer, &token, 200, |_, session| increment(session)).await;
        assert!(answers.iter().all(Answer::leaves_cookie), "{backend:?}");
        assert_eq!(values(layer, &token).await, Some(json!({ "before": 0, "count": 200 })), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_its_first_conflict_on_a_commit_waits_for_its_turn() {
    let Setup { store, layer, .. } = &Setup::with(Backend::Remote, |builder| builder.store_timeout(10 * MINUTE));
    let token = begin(layer, |session| session.insert("before", 0)).await;
    store.forget();
    crowd(layer, &token, 200, |_, session| increment(session)).await;
    // One try that fails and one in turn for each. Without turns each round of 200 has one winner: thousands of tries.
    assert!(store.calls(Op::Update) <= 3 * 200, "{} tries", store.calls(Op::Update));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closure_that_is_played_again_holds_up_no_other_session() {
    // All tokens begin alike, as those of one in so many sessions do.
    let count = AtomicU64::new(1);
    let source = move |out: &mut [u8]| {
        let number = count.fetch_add(1, SeqCst).to_le_bytes();
        out.fill(7);
        out[1..].iter_mut().zip(number).for_each(|(byte, digit)| *byte = digit);
        Ok(())
    };
    let Setup { layer, .. } = &Setup::with(Backend::Remote, |builder| builder.insecure_random_source(source));
    let ada = begin(layer, |session| session.insert("a", 1)).await;
    let bob = begin(layer, |session| session.insert("a", 1)).await;
    let ((runs, has_run), (go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let (plays, may_go) = (AtomicUsize::new(0), Mutex::new(may_go));
    let slow = hold(layer, &ada, move |session| {
        session.update("count", move |count: Option<u64>| {
            if plays.fetch_add(1, SeqCst) > 0 {
                runs.send(()).unwrap();
                let _ = may_go.lock().unwrap().recv();
            }
            Some(count.unwrap_or(0) + 1)
        })
    });
    let slow = slow.await;
    act(layer, Some(&ada), |session| session.insert("b", 2)).await;
    let slow = tokio::spawn(slow.release());
    tokio::task::spawn_blocking(move || has_run.recv().unwrap()).await.unwrap();
    let late = hold(layer, &bob, |session| session.insert("late", 1)).await;
    act(layer, Some(&bob), |session| session.insert("b", 2)).await;
    assert!(late.release().await.leaves_cookie(), "another session's commit waits");
    assert_eq!(values(layer, &bob).await, Some(json!({ "a": 1, "b": 2, "late": 1 })));
    go.send(()).unwrap();
    assert!(slow.await.unwrap().leaves_cookie());
    assert_eq!(values(layer, &ada).await, Some(json!({ "a": 1, "b": 2, "count": 1 })));
}

#[tokio::test]
async fn each_change_is_played_again_as_its_kind_demands() {
    // Both requests load `{a: 1}` and the flash `{note: 1}`; the other one commits first.
    let rows: [(&str, Act, Act, Value, Option<u32>); 16] = [
        ("insert as it was", |s| s.insert("a", 2), |s| s.insert("a", 3), json!({ "a": 2 }), Some(1)),
        (
            "insert of what was there already",
            |s| s.insert("a", 1).and_then(|()| s.insert("b", 2)),
            |s| s.insert("a", 3),
            json!({ "a": 1, "b": 2 }),
            Some(1),
        ),
        (
            "insert beside a clear",
            |s| s.insert("b", 2),
            |s| s.clear().and_then(|()| s.insert("c", 3)),
            json!({ "b": 2, "c": 3 }),
            None,
        ),
        ("remove as it was", |s| s.remove("a").map(drop), |s| s.insert("a", 3), json!({}), Some(1)),
        (
            "remove of what was not there yet",
            |s| s.remove("b").and_then(|_| s.insert("c", 3)),
            |s| s.insert("b", 2),
            json!({ "a": 1, "c": 3 }),
            Some(1),
        ),
        (
            "clear, and what came after it",
            |s| s.clear().and_then(|()| s.insert("c", 3)),
            |s| s.insert("b", 2).and_then(|()| s.flash("note", 2)),
            json!({ "c": 3 }),
            None,
        ),
        ("take of what is still the same", take, |s| s.insert("b", 2), json!({ "b": 2 }), Some(1)),
        ("take of what another replaced", take, |s| s.insert("a", 3), json!({ "a": 3 }), Some(1)),
        ("take of what another removed", take, |s| s.remove("a").map(drop), json!({}), Some(1)),
        ("flash as it was", |s| s.flash("note", 2), |s| s.flash("note", 3), json!({ "a": 1 }), Some(2)),
        ("take_flash of what is the same", take_flash, |s| s.insert("b", 2), json!({ "a": 1, "b": 2 }), None),
        ("take_flash of what another replaced", take_flash, |s| s.flash("note", 3), json!({ "a": 1 }), Some(3)),
        ("update of the newer value", add_ten, |s| s.insert("a", 5), json!({ "a": 15 }), Some(1)),
        ("update of what another removed", add_ten, |s| s.remove("a").map(drop), json!({ "a": 10 }), Some(1)),
        (
            "update that removed the older value",
            |s| s.update("a", |a: Option<u32>| a.filter(|a| *a > 1)),
            |s| s.insert("a", 5),
            json!({ "a": 5 }),
            Some(1),
        ),
        (
            "several in their order",
            |s| s.insert("a", 7).and_then(|()| add_ten(s)),
            |s| s.insert("a", 100),
            json!({ "a": 17 }),
            Some(1),
        ),
    ];
    for backend in Backend::SERVER {
        for (what, mine, others, expected, flash) in &rows {
            let Setup { store, layer, .. } = &Setup::new(backend);
            let token = begin(layer, |s| s.insert("a", 1).and_then(|()| s.flash("note", 1))).await;
            let (late, early) = (hold(layer, &token, *mine).await, hold(layer, &token, *others).await);
            store.forget();
            assert!(early.release().await.leaves_cookie(), "{backend:?}: {what}");
            assert!(late.release().await.leaves_cookie(), "{backend:?}: {what}");
            assert_eq!(store.order(), [Op::Update, Op::Update, Op::Load, Op::Update], "{backend:?}: {what}");
            let flashed = act(layer, Some(&token), |s| json_of(s.take_flash::<u32>("note"))).await.body;
            assert_eq!(flashed, json!(flash).to_string(), "{backend:?}: {what}");
            let found = values(layer, &token).await.unwrap_or(json!({}));
            assert_eq!(found, *expected, "{backend:?}: {what}");
        }
    }
}

fn take(session: &Session) -> Result<(), Error> {
    assert_eq!(session.take::<u32>("a")?, Some(1));
    Ok(())
}

fn take_flash(session: &Session) -> Result<(), Error> {
    assert_eq!(session.take_flash::<u32>("note")?, Some(1));
    Ok(())
}

fn add_ten(session: &Session) -> Result<(), Error> {
    session.update("a", |a: Option<u32>| Some(a.unwrap_or(0) + 10))
}

fn json_of(found: Result<Option<u32>, Error>) -> String {
    json!(found.unwrap()).to_string()
}

#[tokio::test]
async fn value_that_an_update_can_no_longer_read_fails_the_commit_and_stays() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let late = hold(layer, &token, |session| add_ten(session).and_then(|()| session.insert("b", 2))).await;
        act(layer, Some(&token), |session| session.insert("a", "text")).await;
        let answer = late.release().await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None), "{backend:?}");
        assert_eq!(values(layer, &token).await, Some(json!({ "a": "text" })), "{backend:?}: nothing of it landed");
    }
}

#[tokio::test]
async fn conflicts_without_end_are_given_up_when_the_store_timeout_is_used_up() {
    for backend in [Backend::Memory, Backend::Remote] {
        let timeout = std::time::Duration::from_millis(20);
        let Setup { store, layer, .. } = &Setup::with(backend, |builder| builder.store_timeout(timeout));
        let rival = Setup::on(store.direct(), |builder| builder).layer;
        let token = begin(layer, |session| session.insert("a", 1)).await;
        store.forget();
        let others = token.clone();
        let answer = act(layer, Some(&token), move |session| {
            // The closure runs again after each reading, and somebody writes before the next try.
            session.update("mine", move |mine: Option<u32>| {
                at_once(act(&rival, Some(&others), increment));
                Some(mine.unwrap_or(0) + 1)
            })
        })
        .await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "{backend:?}");
        let left = values(layer, &token).await.unwrap();
        assert!(left["count"].as_u64().unwrap() > 2 && left.get("mine").is_none(), "{backend:?}: {left}");
    }
}

#[tokio::test]
async fn closure_runs_once_where_nobody_interferes() {
    for backend in Backend::ALL {
        let Setup { layer, .. } = &Setup::new(backend);
        let plays = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&plays);
        begin(layer, |session| {
            session.update("a", move |a: Option<usize>| Some(a.unwrap_or(0) + counted.fetch_add(1, SeqCst)))
        })
        .await;
        assert_eq!(plays.load(SeqCst), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn session_that_one_request_empties_keeps_what_another_wrote_meanwhile() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let emptier = hold(layer, &token, |session| session.remove("a").map(drop)).await;
        act(layer, Some(&token), |session| session.insert("b", 2)).await;
        assert!(emptier.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(values(layer, &token).await, Some(json!({ "b": 2 })), "{backend:?}");
    }
}

#[tokio::test]
async fn writer_that_meets_an_emptied_session_begins_a_new_one_with_its_own_changes() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let writer = hold(layer, &token, |session| session.insert("b", 2)).await;
        let reader = hold(layer, &token, |session| assert!(session.contains("a"))).await;
        let also_empties = hold(layer, &token, |session| session.remove("a").map(drop)).await;
        assert!(act(layer, Some(&token), |session| session.remove("a").map(drop)).await.removes_cookie());
        assert_eq!(values(layer, &token).await, None, "{backend:?}");

        begins_anew(layer, &token, writer.release().await, backend).await;
        let later = act(layer, Some(&token), |session| session.insert("b", 2)).await;
        begins_anew(layer, &token, later, backend).await;
        assert!(reader.release().await.leaves_cookie(), "{backend:?}");
        assert!(also_empties.release().await.leaves_cookie(), "{backend:?}");
    }
}

async fn begins_anew(layer: &SessionLayer, old: &str, answer: Answer, backend: Backend) {
    assert_eq!(answer.status, StatusCode::OK, "{backend:?}");
    let fresh = answer.token().unwrap();
    assert_ne!(fresh, old, "{backend:?}");
    assert_eq!(values(layer, &fresh).await, Some(json!({ "b": 2 })), "{backend:?}");
    assert_eq!(values(layer, old).await, None, "{backend:?}");
}

#[tokio::test]
async fn owner_keeps_a_cleared_session() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1).and_then(|()| session.sign_in("ada"))).await;
        let writer = hold(layer, &token, |session| session.insert("b", 2)).await;
        assert!(act(layer, Some(&token), Session::clear).await.leaves_cookie(), "{backend:?}");
        assert!(writer.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(values(layer, &token).await, Some(json!({ "b": 2 })), "{backend:?}");
    }
}

#[tokio::test]
async fn another_persons_sign_in_starts_with_nothing_after_a_conflict_too() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let both = hold(layer, &token, |session| {
            session.sign_in("bob").and_then(|()| session.sign_in("ada")).and_then(|()| session.insert("c", 3))
        })
        .await;
        act(layer, Some(&token), |session| session.insert("b", 2)).await;
        let token = both.release().await.token().unwrap();
        assert_eq!(values(layer, &token).await, Some(json!({ "c": 3 })), "{backend:?}");
    }
}

#[tokio::test]
async fn replay_that_fails_overwrites_nothing() {
    let setup = Arc::new(Setup::new(Backend::Memory));
    let token = begin(&setup.layer, |session| session.insert("n", 0)).await;
    let (other, held) = (Arc::clone(&setup), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).unwrap();
        act(&other.layer, Some(&held), |session| {
            session.insert("n", "text").and_then(|()| session.insert("other", "kept"))
        })
        .await;
        session.reload().await.unwrap();
        String::new()
    })
    .await;
    assert_eq!(answer.status, 500);
    assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": "text", "other": "kept" })));
}

#[tokio::test]
async fn requests_that_are_the_first_to_take_the_csrf_token_take_the_same_one() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let forms = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&forms);
        crowd(layer, &token, 3, move |_, session| {
            taken.lock().unwrap().push(session.csrf_token()?);
            Ok(())
        })
        .await;
        let forms = forms.lock().unwrap().clone();
        assert_eq!(forms.len(), 3, "{backend:?}");
        for form in forms {
            let answer = act(layer, Some(&token), move |session| session.verify_csrf(&form).to_string()).await;
            assert_eq!(answer.body, "true", "{backend:?}");
        }
    }
}
