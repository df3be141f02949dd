//! Requests that are dropped at any await point, panic or fail: the old record or the new one, never a mixture, and no
//! lock left behind (promise 14).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use crate::support::direct::{act, at_once, begin, hold, respond, send, settle, until, values};
use crate::support::{Answer, Backend, Fault, Op, Setup, TestStore};
use axum::body::Body;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{Error, LazySession, MemoryStore, Session, SessionLayer, SessionLayerBuilder};

type Act = fn(&Session) -> Result<(), Error>;

/// Polls so many times, letting the background go on in between, and drops the future unless it has answered.
async fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..times {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

fn increment(session: &Session) -> Result<(), Error> {
    session.update("count", |count: Option<u64>| Some(count.unwrap_or(0) + 1))
}

/// What may be found under the old token once the request was dropped.
struct Row {
    what: &'static str,
    act: Act,
    /// After the request; `None` if the token is dead.
    after: Option<Value>,
    /// Whether the new state must be reached as soon as the handler has returned.
    must_finish: bool,
    /// How many sessions the store holds at the most.
    sessions: usize,
}

#[tokio::test(start_paused = true)]
async fn request_dropped_at_any_await_leaves_the_old_record_or_the_new_one_and_no_lock() {
    let row = |what, act, after, must_finish, sessions| Row { what, act, after, must_finish, sessions };
    // The session holds `{a: 1}`; with a rival, who writes `count` while the handler runs, each commit conflicts once.
    let rows: [Row; 8] = [
        row("read", |s| s.get::<u32>("a").map(drop), Some(json!({ "a": 1 })), false, 1),
        row("write", insert_two, Some(json!({ "a": 1, "b": 2, "c": 3 })), false, 1),
        row("renew", |s| insert_two(s).and_then(|()| s.renew()), None, false, 2),
        row("sign in", |s| insert_two(s).and_then(|()| s.sign_in("ada")), None, false, 2),
        row("empty", |s| s.remove("a").and_then(|_| s.remove("count")).map(drop), None, false, 1),
        row("clear and write", |s| s.clear().and_then(|()| insert_two(s)), Some(json!({ "b": 2, "c": 3 })), false, 1),
        row("destroy", Session::destroy, None, true, 1),
        row("destroy and write", |s| s.destroy().and_then(|()| insert_two(s)), None, true, 1),
    ];
    for Row { what, act: request, after, must_finish, sessions } in rows {
        for has_rival in [false, true] {
            for polls in 0.. {
                let Setup { layer, store, .. } = &Setup::new(Backend::Remote);
                let rival = Setup::on(store.direct(), |builder| builder).layer;
                let token = begin(layer, |session| session.insert("a", 1)).await;
                let (returned, others) = (Arc::new(AtomicBool::new(false)), token.clone());
                let has_returned = Arc::clone(&returned);
                let responding = respond(layer, Some(&token), move |session| async move {
                    let result = request(&session);
                    if has_rival {
                        at_once(act(&rival, Some(&others), increment));
                    }
                    has_returned.store(true, SeqCst);
                    result
                });
                let answered = poll_times(responding, polls).await;
                settle().await;

                let what = format!("{what}, rival: {has_rival}, dropped after {polls} polls");
                let rival_wrote = has_rival && returned.load(SeqCst);
                let is_cleared = what.starts_with("clear");
                let [before, after] =
                    [(Some(json!({ "a": 1 })), rival_wrote), (after.clone(), rival_wrote && !is_cleared)].map(
                        |(values, has_count)| {
                            values.map(|mut values| {
                                if has_count {
                                    values["count"] = json!(1);
                                }
                                values
                            })
                        },
                    );
                let found = values(layer, &token).await;
                let is_after = found == after;
                assert!(is_after || found == before, "{what}: {found:?}");
                let is_due = answered.is_some() || (must_finish && returned.load(SeqCst));
                assert!(is_after || !is_due, "{what}: {found:?}");
                assert!((usize::from(found.is_some())..=sessions).contains(&store.sessions().await), "{what}");
                if what.starts_with("renew") && found.is_none() {
                    assert_eq!(store.sessions().await, 1, "{what}: the new record is there");
                }
                if found.is_some() {
                    conflicts_and_lands(layer, &token, &what).await;
                }
                if let Some(answer) = answered {
                    assert_eq!(answer.status(), StatusCode::OK, "{what}");
                    assert!(polls >= 2, "{what}: it was dropped nowhere");
                    break;
                }
            }
        }
    }
}

fn insert_two(session: &Session) -> Result<(), Error> {
    session.insert("b", 2).and_then(|()| session.insert("c", 3))
}

/// A commit that meets a conflict needs the queue of its session.
async fn conflicts_and_lands(layer: &SessionLayer, token: &str, what: &str) {
    let late = hold(layer, token, |session| session.insert("late", 1)).await;
    assert!(act(layer, Some(token), |session| session.insert("early", 1)).await.leaves_cookie(), "{what}");
    assert!(late.release().await.leaves_cookie(), "{what}");
    let found = values(layer, token).await.unwrap();
    assert_eq!((&found["late"], &found["early"]), (&json!(1), &json!(1)), "{what}");
}

#[tokio::test(start_paused = true)]
async fn first_write_dropped_at_any_await_stores_nothing_or_one_whole_session() {
    for polls in 0.. {
        let Setup { layer, store, .. } = &Setup::new(Backend::Remote);
        let responding = respond(layer, None, |session| async move { insert_two(&session) });
        let answered = poll_times(responding, polls).await;
        settle().await;
        assert!(store.sessions().await <= 1, "{polls}");
        if answered.is_some() {
            assert!(polls >= 2 && store.sessions().await == 1);
            break;
        }
    }
}

#[tokio::test]
async fn panic_in_the_handler_commits_nothing_but_a_destroy() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let panics = async |act: Act| {
            let responding = respond(layer, Some(&token), move |session| async move {
                act(&session).unwrap();
                std::panic::resume_unwind(Box::new("on purpose"));
                #[expect(unreachable_code, reason = "says what the handler would have answered")]
                StatusCode::OK
            });
            assert!(tokio::spawn(responding).await.unwrap_err().is_panic());
        };
        for act in [insert_two, Session::renew, Session::clear] as [Act; 3] {
            panics(act).await;
            assert_eq!(values(layer, &token).await, Some(json!({ "a": 1 })), "{backend:?}");
        }
        conflicts_and_lands(layer, &token, &format!("{backend:?}")).await;
        panics(Session::destroy).await;
        until(async || values(layer, &token).await.is_none()).await;
    }
}

/// How a request ends after its handler has asked for a `destroy`.
#[derive(Debug, Clone, Copy)]
enum End {
    ClientLeaves,
    Panic,
    PanicAndStorePanics,
    Error,
    Status500,
}

/// Destroys the session `sid`, does something that waits, and ends so.
async fn sign_out(request: Request<Body>, end: End, asked: Arc<Notify>) -> Result<Response<Body>, &'static str> {
    let session =
        LazySession::from_extensions(request.extensions()).unwrap().named("sid").unwrap().load().await.unwrap();
    session.insert("b", 2).unwrap();
    session.destroy().unwrap();
    session.insert("c", 3).unwrap();
    asked.notify_one();
    tokio::task::yield_now().await;
    match end {
        End::ClientLeaves => std::future::pending().await,
        End::Panic | End::PanicAndStorePanics => std::panic::resume_unwind(Box::new("on purpose")),
        End::Error => Err("failed"),
        End::Status500 => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

/// A layer, and maybe another one inside it.
type Layers = (&'static str, fn(SessionLayerBuilder<TestStore>) -> SessionLayerBuilder<TestStore>, bool);

#[tokio::test]
async fn destroy_that_was_asked_for_is_carried_out_however_the_request_ends() {
    let layers: [Layers; 4] = [
        ("eager", |builder| builder, false),
        ("lazy", SessionLayerBuilder::lazy, false),
        ("eager, outermost", |builder| builder, true),
        ("lazy, outermost", SessionLayerBuilder::lazy, true),
    ];
    for backend in Backend::SERVER {
        for (kind, options, is_nested) in layers {
            for end in [End::ClientLeaves, End::Panic, End::PanicAndStorePanics, End::Error, End::Status500] {
                let setup = Setup::new(backend);
                let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
                let layer = Setup::on(setup.store.clone(), options).layer;
                let inner = SessionLayer::builder(MemoryStore::new()).cookie_name("inner").build().unwrap();
                let asked = Arc::new(Notify::new());
                let asks = Arc::clone(&asked);
                let handler = service_fn(move |request| sign_out(request, end, Arc::clone(&asks)));
                let request = Request::builder().header("cookie", format!("sid={token}")).body(Body::empty()).unwrap();
                if matches!(end, End::PanicAndStorePanics) {
                    setup.store.fault(Op::Delete, Fault::Panic, 1);
                }
                let request = if is_nested {
                    tokio::spawn(layer.layer(inner.layer(handler)).oneshot(request))
                } else {
                    tokio::spawn(layer.layer(handler).oneshot(request))
                };
                let at = format!("{backend:?} {kind} {end:?}");
                if matches!(end, End::ClientLeaves) {
                    asked.notified().await;
                    request.abort();
                }
                let ended = request.await;
                assert_eq!(ended.is_err(), !matches!(end, End::Error | End::Status500), "{at}");
                if matches!(end, End::PanicAndStorePanics) {
                    until(async || setup.store.calls(Op::Delete) > 0).await;
                    continue;
                }
                until(async || values(&setup.layer, &token).await.is_none()).await;
                let writes = Op::WRITES.map(|op| setup.store.calls(op));
                assert_eq!(writes, [1, 0, 0, 1], "{at}: the beginning and the end");
            }
        }
    }
}

#[test]
fn immediate_store_needs_no_runtime_to_carry_out_a_destroy() {
    let setup = Setup::new(Backend::Memory);
    let token = at_once(begin(&setup.layer, |session| session.insert("a", 1)));
    let mut leaving = Box::pin(respond(&setup.layer, Some(&token), |session| async move {
        session.destroy().unwrap();
        std::future::pending::<()>().await;
    }));
    assert!(leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(at_once(values(&setup.layer, &token)).is_some());
    drop(leaving);
    assert_eq!(at_once(values(&setup.layer, &token)), None);
}

#[tokio::test]
async fn closure_that_panics_when_it_is_played_again_leaves_the_changes_to_another_commit() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        let (rival, others, plays) = (layer.clone(), token.clone(), AtomicUsize::new(0));
        let answer = send(layer, Some(&token), move |session| async move {
            session.update("count", move |count: Option<u64>| {
                if plays.fetch_add(1, SeqCst) == 1 {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                Some(count.unwrap_or(0) + 1)
            })?;
            act(&rival, Some(&others), |session| session.insert("b", 2)).await;
            let panicking = session.clone();
            let panicked = tokio::spawn(async move { panicking.commit().await }).await;
            assert!(panicked.unwrap_err().is_panic(), "{backend:?}");
            session.insert("c", 3)?;
            session.commit().await
        });
        assert!(answer.await.leaves_cookie(), "{backend:?}");
        let expected = json!({ "a": 1, "b": 2, "c": 3, "count": 1 });
        assert_eq!(values(layer, &token).await, Some(expected), "{backend:?}");
    }
}

/// Sends a request that counts up and whose commit will meet a conflict, since a rival writes `b` meanwhile. Then it does
/// as told, with the rival's layer and the token at hand. Returns the answer, and the values that are left.
async fn overtaken<F, A, R>(then: F) -> (Answer, Value)
where
    F: FnOnce(Session, SessionLayer, String) -> A + Send + 'static,
    A: Future<Output = R> + Send + 'static,
    R: IntoResponse + 'static,
{
    let Setup { layer, store, .. } = &Setup::new(Backend::Remote);
    let rival = Setup::on(store.direct(), |builder| builder).layer;
    let token = begin(layer, |session| session.insert("a", 1)).await;
    let others = token.clone();
    let answer = send(layer, Some(&token), move |session| {
        increment(&session).unwrap();
        at_once(act(&rival, Some(&others), |session| session.insert("b", 2)));
        then(session, rival, others)
    });
    let answer = answer.await;
    (answer, values(layer, &token).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn explicit_commit_that_has_begun_goes_on_and_applies_an_increment_once() {
    for polls in 0..40 {
        for (status, is_kept) in [(StatusCode::OK, true), (StatusCode::INTERNAL_SERVER_ERROR, polls > 0)] {
            let (answer, found) = overtaken(move |session, _, _| async move {
                poll_times(session.commit(), polls).await;
                status
            })
            .await;
            assert_eq!(answer.status, status, "{polls}");
            let mut expected = json!({ "a": 1, "b": 2 });
            if is_kept {
                expected["count"] = json!(1);
            }
            assert_eq!(found, expected, "{polls} polls, then {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_reload_leaves_the_session_as_it_was_or_reloaded() {
    for polls in 0..8 {
        let (answer, found) = overtaken(move |session, _, _| async move {
            let reloaded = poll_times(session.reload(), polls).await;
            let found = (session.get::<u32>("a").unwrap(), session.get::<u32>("count").unwrap());
            assert_eq!(found, (Some(1), Some(1)), "{polls}");
            assert!(reloaded.is_none() || session.contains("b"), "{polls}");
        })
        .await;
        assert!(answer.leaves_cookie());
        assert_eq!(found, json!({ "a": 1, "b": 2, "count": 1 }), "{polls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_at_once_on_one_handle_apply_each_increment_once() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("a", 1)).await;
        for round in 1..=20 {
            let answer = send(layer, Some(&token), |session| async move {
                increment(&session)?;
                let commits: Vec<_> = (0..8)
                    .map(|number| {
                        let session = session.clone();
                        tokio::spawn(async move {
                            if number % 2 == 0 {
                                increment(&session)?;
                            }
                            session.commit().await
                        })
                    })
                    .collect();
                for commit in commits {
                    commit.await.unwrap()?;
                }
                Ok::<_, Error>(())
            });
            assert!(answer.await.leaves_cookie(), "{backend:?}");
            assert_eq!(values(layer, &token).await.unwrap()["count"], json!(5 * round), "{backend:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn commit_beside_another_returns_when_the_changes_of_both_are_durable() {
    for polls in 1..10 {
        // The first commit meets a conflict, so that the second has time to overtake it.
        let (answer, found) = overtaken(move |session, direct, token| async move {
            poll_times(session.commit(), polls).await;
            session.commit().await.unwrap();
            let found = at_once(values(&direct, &token));
            assert_eq!(found, Some(json!({ "a": 1, "b": 2, "count": 1 })), "{polls} polls");
        })
        .await;
        assert!(answer.leaves_cookie());
        assert_eq!(found["count"], json!(1));
    }
}
