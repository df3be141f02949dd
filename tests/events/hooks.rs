//! What a program that listens is told, and that its listening changes nothing.

use crate::support::scope;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use crate::support::direct::{act, at_once, begin, hold, values};
use crate::support::{Backend, DAY, Fault, HOUR, Log, Op, Setup, renewal_keys};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service as _, ServiceExt as _};
use tower_session_layer::{Error, KeyPrefix, Session, SessionEvent, SessionLayer, SessionToken, TokenShape};

/// What was told, one line each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn hook(&self) -> impl Fn(&SessionEvent<'_>) + Send + Sync + 'static {
        let Self(lines) = self.clone();
        move |event| lines.lock().unwrap().push(line(event))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn setup(&self, backend: Backend) -> Setup {
        Setup::with(backend, |builder| builder.on_event(self.hook()))
    }
}

fn line(event: &SessionEvent<'_>) -> String {
    match event {
        SessionEvent::Created { key, .. } => format!("created {key}"),
        SessionEvent::Committed { key, .. } => format!("committed {key}"),
        SessionEvent::Renewed { key, .. } => format!("renewed {key}"),
        SessionEvent::Refreshed { key, .. } => format!("refreshed {key}"),
        SessionEvent::Removed { key, .. } => format!("removed {key}"),
        SessionEvent::Destroyed { key, .. } => format!("destroyed {key}"),
        SessionEvent::Revoked { ended, .. } => format!("revoked {ended}"),
        SessionEvent::Limited { ended, .. } => format!("limited {ended}"),
        SessionEvent::Imported { cookie, .. } => format!("imported {cookie}"),
        SessionEvent::Refused { why, key: Some(key), .. } => format!("refused {why:?} {key}"),
        SessionEvent::Refused { why, .. } => format!("refused {why:?}"),
        SessionEvent::Conflict { key, tries, .. } => format!("conflict {key} {tries}"),
        SessionEvent::Dropped { key, .. } => format!("dropped {key}"),
        SessionEvent::Failed { operation, error, .. } => format!("failed {operation:?} {}", error.is_unavailable()),
        _ => "something new".into(),
    }
}

/// The first eight digits of a token's digest.
fn key(token: &str, backend: Backend) -> KeyPrefix {
    let shape = if backend == Backend::Cookie { TokenShape::sealed(4_096, 1) } else { TokenShape::Random };
    SessionToken::parse(token.as_bytes(), shape, scope()).unwrap().key().into()
}

#[tokio::test]
async fn every_step_is_told_with_eight_digits_of_the_digest() {
    for backend in Backend::ALL {
        let told = Told::default();
        let setup = told.setup(backend);
        let layer = &setup.layer;
        let of = |token: &str| key(token, backend);
        let first = begin(layer, |session| session.insert("a", 1)).await;
        assert_eq!(told.take(), [format!("created {}", of(&first))], "{backend:?}");
        assert_eq!(of(&first).to_string().len(), 8);
        act(layer, None, |_| ()).await;
        act(layer, Some(&first), |session| assert_eq!(session.len(), 1)).await;
        assert!(told.take().is_empty(), "{backend:?}: a read is nothing to tell");
        let second = act(layer, Some(&first), |session| session.insert("b", 1)).await.token().unwrap_or(first);
        assert_eq!(told.take(), [format!("committed {}", of(&second))], "{backend:?}");
        let third = act(layer, Some(&second), Session::renew).await.token().unwrap();
        assert_eq!(told.take(), [format!("renewed {}", of(&third))], "{backend:?}");
        setup.clock.advance(DAY);
        let fourth = act(layer, Some(&third), |session| assert_eq!(session.len(), 2)).await.token().unwrap_or(third);
        assert_eq!(told.take(), [format!("refreshed {}", of(&fourth))], "{backend:?}");
        act(layer, Some(&fourth), Session::destroy).await;
        assert_eq!(told.take(), [format!("destroyed {}", of(&fourth))], "{backend:?}");
        let fifth = begin(layer, |session| session.insert("a", 1)).await;
        told.take();
        act(layer, Some(&fifth), Session::clear).await;
        assert_eq!(told.take(), [format!("removed {}", of(&fifth))], "{backend:?}");
    }
}

#[tokio::test]
async fn every_token_that_is_refused_is_told_with_its_reason() {
    for backend in Backend::ALL {
        let told = Told::default();
        let setup = told.setup(backend);
        act(&setup.layer, Some("malformed!"), |_| ()).await;
        act(&setup.layer, Some("!1; sid=!2; sid=!3"), |_| ()).await;
        assert_eq!(told.take(), ["refused Malformed"; 2], "{backend:?}: once a request");
        let setup_of_headers = Setup::with(backend, |builder| builder.token_header("x-token").on_event(told.hook()));
        let mut service =
            setup_of_headers.layer.layer(tower::service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        let request = Request::builder().header("x-token", "malformed!").body(()).unwrap();
        service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(told.take(), ["refused Malformed"], "{backend:?}: in a header");
        let unknown = "A".repeat(32);
        act(&setup.layer, Some(&unknown), |_| ()).await;
        assert_eq!(told.take(), [format!("refused Unknown {}", key(&unknown, backend))], "{backend:?}");
        let expired = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(8 * DAY);
        told.take();
        act(&setup.layer, Some(&expired), |_| ()).await;
        assert_eq!(told.take(), [format!("refused Unknown {}", key(&expired, backend))], "{backend:?}");
        if backend == Backend::Cookie {
            continue;
        }
        let act_on: [fn(&Session); 2] = [|session| session.renew().unwrap(), |session| session.destroy().unwrap()];
        for (why, end) in ["Renewed", "Destroyed"].into_iter().zip(act_on) {
            let dead = begin(&setup.layer, |session| session.insert("a", 1)).await;
            act(&setup.layer, Some(&dead), end).await;
            told.take();
            act(&setup.layer, Some(&dead), |_| ()).await;
            assert_eq!(told.take(), [format!("refused Dead({why}) {}", key(&dead, backend))], "{backend:?}");
        }
    }
}

#[tokio::test]
async fn conflicts_late_writers_and_revocations_are_told() {
    for backend in Backend::SERVER {
        let told = Told::default();
        let setup = told.setup(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let key = key(&token, backend);
        let slow = hold(&setup.layer, &token, |session| session.insert("b", 1)).await;
        act(&setup.layer, Some(&token), |session| session.insert("c", 1)).await;
        told.take();
        slow.release().await;
        let mut lines = told.take();
        lines.sort();
        assert_eq!(lines, [format!("committed {key}"), format!("conflict {key} 1")], "{backend:?}");
        let late = hold(&setup.layer, &token, |session| session.insert("d", 1)).await;
        act(&setup.layer, Some(&token), Session::destroy).await;
        told.take();
        late.release().await;
        assert_eq!(told.take(), [format!("dropped {key}")], "{backend:?}");
        begin(&setup.layer, |session| session.sign_in("ada")).await;
        told.take();
        setup.layer.owners().revoke_all("ada").await.unwrap();
        assert_eq!(told.take(), ["revoked 1"], "{backend:?}");
    }
}

#[tokio::test]
async fn whatever_fails_is_told_with_what_it_was() {
    for backend in Backend::SERVER {
        let told = Told::default();
        let setup = told.setup(backend);
        let begun = async || begin(&setup.layer, |session| session.insert("a", 1)).await;
        let changes: fn(&Session) = |session| session.insert("b", 2).unwrap();
        let destroys: fn(&Session) = |session| session.destroy().unwrap();
        let reads: fn(&Session) = |session| assert_eq!(session.len(), 1);
        for (op, act_on, operation) in [
            (Op::Load, reads, "Load"),
            (Op::Update, changes, "Commit"),
            (Op::Delete, destroys, "Commit"),
            (Op::Touch, reads, "Touch"),
        ] {
            let token = begun().await;
            setup.clock.advance(if op == Op::Touch { DAY } else { DAY / 100 });
            setup.store.fault(op, Fault::Fail, 1);
            told.take();
            act(&setup.layer, Some(&token), act_on).await;
            assert_eq!(told.take(), [format!("failed {operation} true")], "{backend:?} {op:?}");
        }
        let aging =
            Setup::on(setup.store.clone(), |builder| builder.renew_after(HOUR, renewal_keys()).on_event(told.hook()));
        let token = begin(&aging.layer, |session| session.insert("a", 1)).await;
        aging.clock.advance(HOUR);
        setup.store.fault(Op::Create, Fault::Fail, 1);
        told.take();
        assert!(act(&aging.layer, Some(&token), reads).await.leaves_cookie(), "{backend:?}");
        assert_eq!(told.take(), ["failed Renew true"], "{backend:?}");
        let owners = setup.layer.owners();
        setup.store.fault(Op::Owned, Fault::Fail, 1);
        setup.store.fault(Op::Revoke, Fault::Fail, 1);
        assert!(owners.list("ada").await.is_err() && owners.revoke_all("ada").await.is_err());
        assert_eq!(told.take(), ["failed List true", "failed Revoke true"], "{backend:?}");
        setup.store.fault(Op::Load, Fault::Fail, 0);
        let token = begun().await;
        setup.store.fault_after(Op::Load, 1, Fault::Fail);
        told.take();
        crate::support::direct::send(&setup.layer, Some(&token), |session| async move {
            assert!(session.reload().await.is_err());
        })
        .await;
        assert_eq!(told.take(), ["failed Load true"], "{backend:?}: a reload");
    }
    let told = Told::default();
    let setup = told.setup(Backend::Cookie);
    assert!(setup.layer.owners().list("ada").await.is_err());
    assert!(told.take().is_empty(), "what a store cannot do by its nature is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_fails_is_told() {
    let told = Told::default();
    let setup = told.setup(Backend::Memory);
    setup.store.fault(Op::Sweep, Fault::Fail, 1);
    begin(&setup.layer, |session| session.insert("a", 1)).await;
    told.take();
    tokio::time::sleep(DAY).await;
    assert_eq!(told.take(), ["failed Sweep true"]);
}

#[tokio::test]
async fn rv_10_a_hook_that_panics_stops_nothing_and_is_logged_once() {
    for backend in Backend::ALL {
        let log = Log::capture();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let panics = move |_: &SessionEvent<'_>| {
            counted.fetch_add(1, SeqCst);
            panic!("the hook is broken");
        };
        let setup = Setup::with(backend, |builder| builder.on_event(panics));
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let other = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let answer = act(&setup.layer, Some(&token), Session::destroy).await;
        assert!(answer.status == StatusCode::OK && answer.removes_cookie(), "{backend:?}");
        if backend != Backend::Cookie {
            assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}: it has ended all the same");
            assert_eq!(setup.layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
            assert_eq!(values(&setup.layer, &other).await, None, "{backend:?}");
        }
        act(&setup.layer, Some("malformed!"), |_| ()).await;
        assert!(calls.load(SeqCst) >= 4, "{backend:?}: it is called on");
        assert_eq!(log.text().matches("the event hook panicked").count(), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn a_store_that_panics_is_told_as_one_failure_and_answered_503() {
    type Act = fn(&Session) -> Result<(), Error>;
    let rows: [(Op, &str, &str, bool, Act); 5] = [
        (Op::Load, "Load", "session could not be loaded", true, |_| Ok(())),
        (Op::Create, "Commit", "session could not be committed", false, |session| session.insert("a", 2)),
        (Op::Update, "Commit", "session could not be committed", true, |session| session.insert("a", 2)),
        (Op::Create, "Commit", "session could not be committed", true, Session::renew),
        (Op::Delete, "Commit", "session could not be committed", true, Session::destroy),
    ];
    for backend in Backend::SERVER {
        for (op, operation, text, has_token, change) in rows {
            for is_broken in [false, true] {
                let log = Log::capture();
                let told = Told::default();
                let hook = told.hook();
                let setup = Setup::with(backend, |builder| {
                    builder.on_event(move |event| {
                        hook(event);
                        assert!(!(is_broken && matches!(event, SessionEvent::Failed { .. })), "the hook is broken too");
                    })
                });
                let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
                let token = token.as_str();
                told.take();
                setup.store.fault(op, Fault::Panic, 1);
                let answer = act(&setup.layer, has_token.then_some(token), change).await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?} {op:?}");
                assert_eq!(told.take(), [format!("failed {operation} true")], "{backend:?} {op:?}");
                assert!(log.text().contains("the store panicked"), "{backend:?} {op:?}: {}", log.text());
                assert_eq!(log.text().matches(text).count(), 1, "{backend:?} {op:?}: {}", log.text());
                // Nothing is locked or lost for the next.
                assert_eq!(values(&setup.layer, token).await.unwrap()["a"], 1, "{backend:?} {op:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_panic_elsewhere_is_none_of_the_store() {
    for backend in Backend::SERVER {
        let told = Told::default();
        let setup = told.setup(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        told.take();
        setup.store.fault(Op::Load, Fault::Hang, 1);
        let layer = setup.layer.clone();
        let request = async move {
            let mut hanging = Box::pin(act(&layer, Some(&token), |_| ()));
            std::future::poll_fn(|context| {
                assert!(hanging.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            // The request is dropped while this unwinds.
            std::panic::resume_unwind(Box::new("on purpose"));
        };
        if backend != Backend::Memory {
            assert!(tokio::spawn(request).await.unwrap_err().is_panic(), "{backend:?}");
            assert_eq!(told.take(), [""; 0], "{backend:?}");
        }
        let handler = setup.layer.clone();
        let request = async move { act(&handler, None, |_| -> () { panic!("on purpose") }).await };
        assert!(tokio::spawn(request).await.unwrap_err().is_panic(), "{backend:?}");
        assert_eq!(told.take(), [""; 0], "{backend:?}");
    }
}

#[tokio::test]
async fn a_hook_may_use_the_session_and_the_layer_that_it_hears_of() {
    for backend in [Backend::Memory, Backend::Cookie] {
        let shared: Arc<OnceLock<(SessionLayer, Session)>> = Arc::default();
        let heard = Arc::new(AtomicUsize::new(0));
        let (known, counted, is_within) = (Arc::clone(&shared), Arc::clone(&heard), AtomicBool::new(false));
        let reads = move |_: &SessionEvent<'_>| {
            let Some((layer, session)) = known.get() else { return };
            if !is_within.swap(true, SeqCst) {
                session.insert("from the hook", 1).unwrap();
                at_once(begin(layer, |session| session.insert("a", 1)));
                counted.fetch_add(1, SeqCst);
                is_within.store(false, SeqCst);
            }
        };
        let setup = Setup::with(backend, |builder| builder.on_event(reads));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let layer = setup.layer.clone();
        let answer = act(&setup.layer, Some(&token), move |session| {
            session.insert("b", 1).unwrap();
            shared.set((layer, session.clone())).ok().unwrap();
        })
        .await;
        assert_eq!((answer.status, heard.load(SeqCst)), (StatusCode::OK, 1), "{backend:?}");
    }
}

/// From its first conflict on a commit queues, and it must have left the queue when it is told.
#[test]
fn a_hook_that_waits_for_the_same_session_holds_up_nobody() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared: Arc<OnceLock<([SessionLayer; 2], String)>> = Arc::default();
    let (known, is_first) = (Arc::clone(&shared), AtomicBool::new(true));
    let statuses = Arc::new(Mutex::new(Vec::new()));
    let answered = Arc::clone(&statuses);
    let waits = move |event: &SessionEvent<'_>| {
        let Some((layers, token)) = known.get() else { return };
        if matches!(event, SessionEvent::Committed { .. }) && is_first.swap(false, SeqCst) {
            let status = std::thread::scope(|scope| {
                scope.spawn(|| runtime().block_on(conflicting(layers, token, "inner"))).join().unwrap()
            });
            answered.lock().unwrap().push(status);
        }
    };
    let setup = Setup::with(Backend::Remote, |builder| builder.on_event(waits));
    runtime().block_on(async {
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let beside = SessionLayer::builder(setup.store.direct()).cookie_name("sid").clock(setup.clock.clone());
        let layers = [setup.layer.clone(), beside.build().unwrap()];
        shared.set((layers.clone(), token.clone())).ok().unwrap();
        let status = conflicting(&layers, &token, "outer").await;
        assert_eq!((status, statuses.lock().unwrap().as_slice()), (StatusCode::OK, &[StatusCode::OK][..]));
        let values = values(&setup.layer, &token).await.unwrap();
        assert!(values["outer"] == 1 && values["inner"] == 1, "{values}");
    });
}

/// A request beside which another changes the session, so that it meets a conflict.
async fn conflicting([layer, beside]: &[SessionLayer; 2], token: &str, what: &'static str) -> StatusCode {
    let held = hold(layer, token, move |session| session.insert(what, 1)).await;
    act(beside, Some(token), move |session| session.insert("beside", what)).await;
    held.release().await.status
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_told_and_not_as_revoked() {
    for backend in Backend::SERVER {
        let told = Told::default();
        let setup = Setup::with(backend, |builder| builder.on_event(told.hook()).max_sessions_per_owner(1));
        begin(&setup.layer, |session| session.sign_in("ada")).await;
        let ends = |told: &Told| {
            let mut lines = told.take();
            lines.retain(|line| line.starts_with("revoked") || line.starts_with("limited"));
            lines
        };
        assert_eq!(ends(&told), [""; 0], "{backend:?}");
        setup.clock.advance(HOUR);
        begin(&setup.layer, |session| session.sign_in("ada")).await;
        assert_eq!(ends(&told), ["limited 1"], "{backend:?}");
        setup.clock.advance(HOUR);
        setup.layer.owners().revoke_all("ada").await.unwrap();
        assert_eq!(ends(&told), ["revoked 1"], "{backend:?}");
    }
}
