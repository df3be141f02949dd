//! Somebody keeps a handle of the session beyond its request: nothing that is seen of the request differs.

#![allow(clippy::pedantic, missing_docs, missing_debug_implementations, unreachable_pub)]

mod requests;
mod store;

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use requests::*;
use store::*;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::Session;

/// Random requests, each made twice: with and without a handle that is kept.
#[tokio::test]
async fn a_kept_handle_changes_nothing_that_is_seen() {
    crate::support::log::listen();
    let mut bad = Vec::new();
    for seed in 1..=crate::support::rounds(250) as u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut alone, mut held) = (rig(false), rig(true));
        for at in 0..8 {
            let what = visit(&mut dice);
            let (one, other) = (alone.visit(&what).await, held.visit(&what).await);
            if one != other {
                bad.push(format!("seed {seed} at {at}: {what:#?}\nALONE\n{one}\nHELD\n{other}"));
                break;
            }
        }
    }
    assert!(
        bad.is_empty(),
        "{} differ\n{}",
        bad.len(),
        bad.iter().take(4).cloned().collect::<Vec<_>>().join("\n----\n")
    );
}

fn plain(steps: Vec<Step>) -> Visit {
    Visit { steps, end: End::Status(200), update: vec![], create: vec![], with_cookie: true, own_cookie: false }
}

/// A value that writes to the session, and to another layer's, while it is encoded.
struct Nosy(Session, u32);

impl serde::Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeMap as _};
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("depth", &self.1)?;
        self.0.insert(&format!("inner{}", self.1), vec![self.1; 9]).map_err(S::Error::custom)?;
        if self.1 > 0 {
            map.serialize_entry("next", &Nosy(self.0.clone(), self.1 - 1))?;
            self.0.insert("whole", Nosy(self.0.clone(), self.1 - 1)).map_err(S::Error::custom)?;
        }
        if self.1 == 77 {
            return Err(S::Error::custom("no"));
        }
        map.serialize_entry("end", "\u{e9}")?;
        map.end()
    }
}

#[tokio::test]
async fn a_value_that_writes_while_it_is_written_spoils_none() {
    crate::support::log::listen();
    let rig = rig(false);
    let service = rig.layer.layer(service_fn(|request: Request<()>| async move {
        let session = request.extensions().get::<Session>().unwrap().clone();
        assert!(session.insert("bad", Nosy(session.clone(), 77)).is_err());
        session.clear().unwrap();
        let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            struct Bad;
            impl serde::Serialize for Bad {
                fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                    panic!("made to panic")
                }
            }
            session.insert("bad", vec![Bad])
        }));
        assert!(panics.is_err());
        session.insert("v", Nosy(session.clone(), 2)).unwrap();
        session.update("u", |n: Option<u64>| Some(n.unwrap_or(1))).unwrap();
        let value: serde_json::Value = session.get("v").unwrap().unwrap();
        let end = "\u{e9}";
        let expected = serde_json::json!({"depth": 2, "end": end, "next":
            {"depth": 1, "end": end, "next": {"depth": 0, "end": end}}});
        assert_eq!(value, expected);
        assert_eq!(session.get::<Vec<u32>>("inner0").unwrap().unwrap(), [0; 9]);
        assert_eq!(session.keys(), ["inner0", "inner1", "inner2", "u", "v", "whole"]);
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    }));
    let answer = service.oneshot(Request::new(())).await.unwrap();
    assert!(answer.headers().contains_key(SET_COOKIE));
}

/// The gate, under handles of one session that commit on several threads, some of which go away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handles_that_commit_at_once_land_each_once() {
    use crate::support::{Backend, Op, Setup};
    for backend in [Backend::Memory, Backend::Remote] {
        let setup = Setup::new(backend);
        let service = setup.layer.layer(service_fn(|request: Request<()>| async move {
            let session = request.extensions().get::<Session>().unwrap().clone();
            session.insert("n", 0).unwrap();
            session.commit().await.unwrap();
            let mut tasks = Vec::new();
            for task in 0..16_u64 {
                let session = session.clone();
                tasks.push(tokio::spawn(async move {
                    for round in 0..40_u64 {
                        session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
                        if (task + round) % 5 == 0 {
                            let mut going = Box::pin(session.commit());
                            let _ = tokio::time::timeout(Duration::from_micros(round * 3), &mut going).await;
                        } else {
                            session.commit().await.unwrap();
                        }
                    }
                }));
            }
            for task in tasks {
                tokio::time::timeout(Duration::from_secs(60), task).await.expect("hangs").unwrap();
            }
            Ok::<_, std::convert::Infallible>(Response::new(session.get::<u64>("n").unwrap().unwrap().to_string()))
        }));
        let answer = service.oneshot(Request::new(())).await.unwrap();
        assert_eq!(answer.body(), "640", "{backend:?}");
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split_once(';').unwrap().0.to_owned();
        let read = setup.layer.layer(service_fn(|request: Request<()>| async move {
            let session = request.extensions().get::<Session>().unwrap().clone();
            Ok::<_, std::convert::Infallible>(Response::new(session.get::<u64>("n").unwrap().unwrap().to_string()))
        }));
        let answer = read.oneshot(Request::builder().header(COOKIE, cookie).body(()).unwrap()).await.unwrap();
        assert_eq!(answer.body(), "640", "{backend:?}");
        assert_eq!(setup.store.calls(Op::Create), 1);
    }
}

/// `Updated::Instead`: the session is now that token. The client has to hear of it.
#[tokio::test]
async fn a_token_that_a_store_gives_instead_reaches_the_client() {
    crate::support::log::listen();
    for hold in [true, false] {
        let mut rig = rig(hold);
        rig.visit(&plain(vec![Step::Insert(1, 1)])).await;
        let text = rig.visit(&Visit { update: vec![Fault::Instead], ..plain(vec![Step::Insert(1, 2)]) }).await;
        assert!(text.contains("SET t1"), "handle kept: {hold}\n{text}");
        let text = rig.visit(&plain(vec![Step::Read])).await;
        assert!(text.contains("[\"k\"]"), "handle kept: {hold}\n{text}");
    }
}

/// Promises 6 and 30: a collision is tried again, with an event.
#[tokio::test]
async fn a_taken_token_is_told_and_tried_eight_times() {
    crate::support::log::listen();
    let mut seen = Vec::new();
    for hold in [true, false] {
        for taken in [1, 20] {
            let mut rig = rig(hold);
            let text = rig.visit(&Visit { create: vec![Fault::Taken; taken], ..plain(vec![Step::Insert(1, 1)]) }).await;
            seen.push((hold, taken, text.matches("was taken").count(), text.matches("create").count()));
        }
    }
    assert_eq!(seen, [(true, 1, 1, 2), (true, 20, 8, 8), (false, 1, 1, 2), (false, 20, 8, 8)]);
}
