//! Closures of `update` that change a session themselves: an error, and no request that never ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::json;
use tower_session_layer::{Error, Session};

use super::shop;
use crate::support::direct::{act, begin, hold, send, values};
use crate::support::{Backend, Setup};

/// A closure that changes its session would run so often, if nobody stopped it.
const FOR_EVER: usize = 100;

/// Updates by this key and by the whole struct, with closures that do something else as well.
const UPDATES: [(&str, Update); 2] = [
    ("key", |session, beside| {
        session.update("visits", move |visits: Option<u64>| {
            beside();
            Some(visits.unwrap_or(0) + 1)
        })
    }),
    ("struct", |session, beside| {
        let updated = shop(session).update(move |shop| {
            beside();
            shop.visits += 1;
        });
        updated.map(drop)
    }),
];

type Update = fn(&Session, Box<dyn Fn() + Send + Sync>) -> Result<(), Error>;

/// Something that a closure does at some of its runs, counted from 0, beside what it is for.
fn at_runs(
    runs: std::ops::Range<usize>,
    effect: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
) -> (Arc<AtomicUsize>, Box<dyn Fn() + Send + Sync>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let beside = move || {
        if runs.contains(&counted.fetch_add(1, Ordering::Relaxed)) {
            effect().unwrap();
        }
    };
    (count, Box::new(beside))
}

#[tokio::test]
async fn a_closure_that_changes_the_session_is_an_error_and_runs_once() {
    type Effect = fn(&Session) -> Result<(), Error>;
    let effects: [(&str, Effect); 6] = [
        ("the same key", |s| s.insert("visits", s.get::<u64>("visits")?.unwrap_or(0) + 1)),
        ("another key", |s| s.insert("beside", s.len())),
        ("another update", |s| shop(s).update(|shop| shop.visits += 1).map(drop)),
        ("flash", |s| s.flash("notice", "hi")),
        ("sign-in", |s| s.sign_in("ada")),
        ("destroy", Session::destroy),
    ];
    for backend in Backend::ALL {
        for ((what, update), (effect_name, effect)) in UPDATES.into_iter().flat_map(|u| effects.map(|e| (u, e))) {
            act(&Setup::new(backend).layer, None, move |session| {
                let other = session.clone();
                let (runs, beside) = at_runs(0..FOR_EVER, move || effect(&other));
                let error = update(session, beside).unwrap_err();
                let name = format!("{what}, {effect_name}: {error}");
                assert!(error.to_string().contains("has itself changed the session"), "{name}");
                assert_eq!(runs.load(Ordering::Relaxed), 1, "{name}");
                assert!(!error.is_unavailable() && !error.is_gone() && !error.is_decode(), "{name}");
                update(session, Box::new(|| ())).unwrap();
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_closure_that_reads_the_session_is_none() {
    for (what, update) in UPDATES {
        let Setup { layer, .. } = &Setup::new(Backend::Memory);
        let answer = act(layer, None, move |session| {
            let other = session.clone();
            let (runs, beside) = at_runs(0..FOR_EVER, move || other.get::<u64>("visits").map(drop));
            update(session, beside).unwrap();
            assert_eq!(runs.load(Ordering::Relaxed), 1, "{what}");
        });
        assert_eq!(answer.await.status, StatusCode::OK, "{what}");
    }
}

#[tokio::test]
async fn one_that_does_so_only_when_it_is_run_again_fails_the_commit() {
    for backend in Backend::SERVER {
        for (what, update) in UPDATES {
            let Setup { layer, .. } = &Setup::new(backend);
            let token = begin(layer, |session| session.insert("visits", 1)).await;
            let late = hold(layer, &token, move |session| {
                let other = session.clone();
                let (_, beside) = at_runs(1..FOR_EVER, move || other.insert("beside", 1));
                update(session, beside)
            });
            let late = late.await;
            assert!(act(layer, Some(&token), |session| session.insert("visits", 5)).await.leaves_cookie());
            let answer = late.release().await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?} {what}");
            assert_eq!(values(layer, &token).await, Some(json!({ "visits": 5 })), "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn one_that_does_so_in_a_reload_ends_it_and_fails_the_commit() {
    for backend in Backend::SERVER {
        for (what, update) in UPDATES {
            let Setup { layer, .. } = &Setup::new(backend);
            let token = begin(layer, |session| session.insert("visits", 1)).await;
            let answer = send(layer, Some(&token), move |session| async move {
                let other = session.clone();
                let (runs, beside) = at_runs(1..FOR_EVER, move || other.insert("beside", 1));
                update(&session, beside).unwrap();
                session.reload().await.unwrap();
                assert_eq!(runs.load(Ordering::Relaxed), 2, "{what}");
            });
            assert_eq!(answer.await.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?} {what}");
            assert_eq!(values(layer, &token).await, Some(json!({ "visits": 1 })), "{backend:?} {what}");
        }
    }
}
