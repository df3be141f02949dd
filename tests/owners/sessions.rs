//! Who is signed in where, and that a revocation leaves nobody behind (promise 27).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::direct::{act, begin, send, values};
use crate::support::{Answer, Backend, DAY, Fault, HOUR, MINUTE, Op, Setup};
use http::StatusCode;
use serde_json::json;
use tower_session_layer::{Clock as _, Error, OwnedSession, Session, SessionHandle};

const INSTANT: Duration = Duration::from_micros(1);

/// Signs in on a new device and returns its token.
async fn sign_in(setup: &Setup, owner: &'static str) -> String {
    begin(&setup.layer, move |session| session.sign_in(owner)).await
}

/// The session that a request with this token has.
async fn session(setup: &Setup, token: &str) -> Session {
    let slot = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&slot);
    act(&setup.layer, Some(token), move |session| *kept.lock().unwrap() = Some(session.clone())).await;
    slot.lock().unwrap().take().unwrap()
}

async fn owner(setup: &Setup, token: &str) -> Option<Arc<str>> {
    session(setup, token).await.owner()
}

async fn list(setup: &Setup, owner: &str) -> Vec<OwnedSession> {
    setup.layer.owners().list(owner).await.unwrap()
}

async fn handle(setup: &Setup, token: &str) -> SessionHandle {
    session(setup, token).await.handle().unwrap()
}

#[tokio::test]
async fn an_owners_sessions_are_listed_with_the_latest_sign_in_first() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let mut expected = Vec::new();
        for _ in 0..3 {
            setup.clock.advance(MINUTE);
            let token = begin(&setup.layer, |session| session.insert("cart", 1)).await;
            let created = setup.clock.now();
            setup.clock.advance(MINUTE);
            let token = act(&setup.layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
            let signed_in = setup.clock.now();
            expected.insert(0, (handle(&setup, &token).await, created, signed_in));
        }
        sign_in(&setup, "bob").await;
        let listed = list(&setup, "ada").await;
        assert_eq!(listed.len(), 3, "{backend:?}");
        for (found, (handle, created, signed_in)) in listed.iter().zip(expected) {
            assert_eq!((found.handle, found.created, found.last_seen), (handle, created, signed_in), "{backend:?}");
            let late = found.signed_in.unwrap().duration_since(signed_in).unwrap();
            assert!(late < Duration::from_millis(1), "{backend:?}: {late:?}");
        }
        assert_eq!((list(&setup, "bob").await.len(), list(&setup, "eve").await.len()), (1, 0), "{backend:?}");
    }
}

#[tokio::test]
async fn a_handle_is_no_token_and_of_no_use_to_another_owner() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let (ada, bob) = (sign_in(&setup, "ada").await, sign_in(&setup, "bob").await);
        let handle = list(&setup, "bob").await[0].handle;
        let text = handle.to_string();
        assert!(!bob.contains(&text) && SessionHandle::parse(&text) == Some(handle), "{backend:?}");
        for guess in [text.clone(), format!("{text}{}", "A".repeat(32 - text.len()))] {
            assert_eq!(owner(&setup, &guess).await, None, "{backend:?}");
        }
        assert!(!setup.layer.owners().revoke("ada", handle).await.unwrap(), "{backend:?}");
        assert_eq!(owner(&setup, &bob).await.as_deref(), Some("bob"), "{backend:?}");
        assert_eq!(owner(&setup, &ada).await.as_deref(), Some("ada"), "{backend:?}");
    }
}

#[tokio::test]
async fn every_session_of_an_owner_has_a_name_of_its_own_however_it_began() {
    type Start = fn(&Session) -> Result<(), Error>;
    let starts: [Start; 4] = [
        |session| session.insert("cart", 1),
        |session| session.csrf_token().map(drop),
        |session| session.renew().and_then(|()| session.insert("cart", 1)),
        |session| session.sign_in("ada"),
    ];
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut handles = HashSet::new();
        for (at, start) in starts.into_iter().enumerate() {
            let mut token = begin(&setup.layer, start).await;
            if at < 3 {
                assert_eq!(session(&setup, &token).await.handle(), None, "{backend:?} {at}: nobody's");
                token =
                    act(&setup.layer, Some(&token), |session| session.sign_in("ada").unwrap()).await.token().unwrap();
            }
            assert!(handles.insert(handle(&setup, &token).await.to_string()), "{backend:?} {at}");
        }
    }
}

#[tokio::test]
async fn one_other_sessions_or_all_are_revoked_and_nobody_elses() {
    for backend in Backend::SERVER {
        for (which, ended, alive) in [
            ("one", 1, [true, false, true, true]),
            ("others", 2, [true, false, false, true]),
            ("all", 3, [false, false, false, true]),
        ] {
            let setup = Setup::new(backend);
            let mut tokens = Vec::new();
            for name in ["ada", "ada", "ada", "bob"] {
                tokens.push(sign_in(&setup, name).await);
            }
            let owners = setup.layer.owners();
            let second = handle(&setup, &tokens[1]).await;
            let count = match which {
                "one" => usize::from(owners.revoke("ada", second).await.unwrap()),
                "others" => owners.revoke_others(&session(&setup, &tokens[0]).await).await.unwrap(),
                _ => owners.revoke_all("ada").await.unwrap(),
            };
            assert_eq!(count, ended, "{backend:?} {which}");
            for (at, token) in tokens.iter().enumerate() {
                assert_eq!(owner(&setup, token).await.is_some(), alive[at], "{backend:?} {which}: session {at}");
            }
            let listed = list(&setup, "ada").await;
            assert_eq!(listed.len(), 3 - ended, "{backend:?} {which}");
            assert!(!owners.revoke("ada", second).await.unwrap(), "{backend:?} {which}: it has ended");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_dead_at_once_and_inert() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = sign_in(&setup, "ada").await;
        setup.layer.owners().revoke_all("ada").await.unwrap();
        setup.store.forget();
        let answer = act(&setup.layer, Some(&token), |session| session.insert("cart", 1)).await;
        assert!(answer.leaves_cookie() && setup.store.writes() == 0, "{backend:?}: {answer:?}");
        let gone = send(&setup.layer, Some(&token), |session| async move {
            session.insert("cart", 1).unwrap();
            session.commit().await.is_err_and(|error| error.is_gone()).to_string()
        });
        assert_eq!(gone.await.body, "true", "{backend:?}");
        let again = act(&setup.layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
        assert_ne!(again, token, "{backend:?}");
        assert_eq!((owner(&setup, &again).await.as_deref(), owner(&setup, &token).await), (Some("ada"), None));
    }
}

/// What a request of a device does while its owner's sessions are revoked from elsewhere.
async fn work(session: Session, what: &str) -> Result<(), Error> {
    match what {
        "sign in" => session.sign_in("ada"),
        "sign in, committed early" => {
            session.sign_in("ada")?;
            session.commit().await.or_else(|error| if error.is_gone() { Ok(()) } else { Err(error) })
        }
        "renew" => session.renew(),
        _ => session.insert("cart", 1),
    }
}

#[tokio::test]
async fn after_a_revocation_no_session_remains_that_was_signed_in_or_being_signed_in_before_it() {
    for backend in Backend::SERVER {
        for which in ["all", "others", "one"] {
            for (what, is_new, halts) in [
                ("sign in", true, 2),
                ("sign in", false, 6),
                ("sign in, committed early", false, 6),
                ("renew", false, 6),
                ("write", false, 4),
            ] {
                for at in 0..halts {
                    let setup = Setup::new(backend);
                    let (here, there) = (sign_in(&setup, "ada").await, sign_in(&setup, "ada").await);
                    let (old, kept) = (handle(&setup, &here).await, session(&setup, &there).await);
                    let (has_begun, was_begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
                    let owners = setup.layer.owners();
                    setup.store.interrupt(at, {
                        let (has_begun, was_begun, kept) =
                            (Arc::clone(&has_begun), Arc::clone(&was_begun), kept.clone());
                        async move {
                            *was_begun.lock().unwrap() = Some(has_begun.load(SeqCst));
                            match which {
                                "all" => drop(owners.revoke_all("ada").await.unwrap()),
                                "others" => drop(owners.revoke_others(&kept).await.unwrap()),
                                _ => drop(owners.revoke("ada", old).await.unwrap()),
                            }
                        }
                    });
                    let token = Some(here.as_str()).filter(|_| !is_new);
                    let answer = send(&setup.layer, token, move |session| async move {
                        has_begun.store(true, SeqCst);
                        work(session, what).await
                    });
                    let answer: Answer = answer.await;
                    let name = format!("{backend:?}: revoke {which} at {at} while another request does: {what}");
                    // "Welcome" is never said without a session.
                    let is_refused = what == "sign in" && answer.token().is_none();
                    let status = if is_refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                    assert_eq!(answer.status, status, "{name}");
                    let before = was_begun.lock().unwrap().unwrap_or_else(|| panic!("{name}: never happened"));
                    // One session is revoked by its name, and a sign-in gives a new one.
                    let lives = what.starts_with("sign in") && (!before || which == "one");
                    assert_eq!(owner(&setup, &here).await, None, "{name}: the old token");
                    let mut expected: Vec<_> = kept.handle().filter(|_| which != "all").into_iter().collect();
                    if lives {
                        let fresh = answer.token().unwrap_or_else(|| panic!("{name}: no cookie"));
                        expected.push(handle(&setup, &fresh).await);
                    } else if let Some(token) = answer.token() {
                        assert_eq!(owner(&setup, &token).await, None, "{name}: the new token");
                    }
                    let mut listed: Vec<_> = list(&setup, "ada").await.iter().map(|session| session.handle).collect();
                    listed.sort();
                    expected.sort();
                    assert_eq!(listed, expected, "{name}");
                    if backend != Backend::File {
                        assert_eq!(setup.store.sessions().await, expected.len(), "{name}: stored");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_signs_in_and_revokes_all_others_stays_signed_in() {
    for backend in Backend::SERVER {
        for commits_first in [false, true] {
            let setup = Setup::new(backend);
            let (here, there) = (sign_in(&setup, "ada").await, sign_in(&setup, "ada").await);
            let answer = send(&setup.layer, Some(&here), move |session| async move {
                session.sign_in("ada").unwrap();
                if commits_first {
                    session.commit().await.unwrap();
                }
                session.owners().revoke_others(&session).await.unwrap().to_string()
            });
            let answer = answer.await;
            let fresh = answer.token().unwrap();
            assert_eq!(owner(&setup, &fresh).await.as_deref(), Some("ada"), "{backend:?}");
            assert_eq!((owner(&setup, &here).await, owner(&setup, &there).await), (None, None), "{backend:?}");
            let renewed = act(&setup.layer, Some(&fresh), Session::renew).await.token().unwrap();
            assert_eq!(owner(&setup, &renewed).await.as_deref(), Some("ada"), "{backend:?}: and may renew");
            assert_eq!(list(&setup, "ada").await.len(), 1, "{backend:?}");
        }
    }
}

#[tokio::test]
async fn the_list_follows_every_change_of_a_session() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.idle_timeout(HOUR));
        let token = sign_in(&setup, "ada").await;
        let handle_then = handle(&setup, &token).await;
        let token = act(&setup.layer, Some(&token), Session::renew).await.token().unwrap();
        let listed = list(&setup, "ada").await;
        assert_eq!((listed.len(), listed[0].handle), (1, handle_then), "{backend:?}: renewed");
        let token = act(&setup.layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
        let listed = list(&setup, "ada").await;
        assert_eq!(listed.len(), 1, "{backend:?}: signed in again");
        assert_ne!(listed[0].handle, handle_then, "{backend:?}: signed in again");
        let token = act(&setup.layer, Some(&token), |session| session.sign_in("bob")).await.token().unwrap();
        assert_eq!(
            (list(&setup, "ada").await.len(), list(&setup, "bob").await.len()),
            (0, 1),
            "{backend:?}: became bob"
        );
        assert!(act(&setup.layer, Some(&token), Session::destroy).await.removes_cookie());
        assert_eq!(owner(&setup, &token).await, None, "{backend:?}: a copy of the cookie");
        assert_eq!(list(&setup, "bob").await.len(), 0, "{backend:?}: destroyed");
        sign_in(&setup, "ada").await;
        setup.clock.advance(HOUR);
        assert_eq!(list(&setup, "ada").await.len(), 0, "{backend:?}: expired");
    }
}

#[tokio::test]
async fn a_sign_in_that_waits_a_day_for_its_commit_is_refused() {
    for backend in Backend::ALL {
        for (wait, is_refused) in [(DAY.checked_sub(MINUTE).unwrap(), false), (DAY + INSTANT, true)] {
            let setup = Setup::new(backend);
            let clock = setup.clock.clone();
            let answer = send(&setup.layer, None, move |session| async move {
                session.sign_in("ada").unwrap();
                clock.advance(wait);
            });
            let answer = answer.await;
            assert_eq!(answer.status == StatusCode::INTERNAL_SERVER_ERROR, is_refused, "{backend:?}");
            assert_eq!((answer.token().is_none(), setup.store.calls(Op::Create) == 0), (is_refused, is_refused));
        }
    }
}

#[tokio::test]
async fn a_program_can_ask_for_an_empty_name_and_for_a_sign_in_that_is_too_old() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let clock = setup.clock.clone();
        let answer = send(&setup.layer, None, move |session| async move {
            let empty = session.sign_in("").unwrap_err();
            assert!(empty.is_no_owner() && !empty.is_stale() && !session.is_changed());
            session.sign_in("ada").unwrap();
            clock.advance(DAY);
            let late = session.commit().await.unwrap_err();
            assert!(late.is_stale() && !late.is_no_owner());
            session.destroy()
        });
        let answer = answer.await;
        assert!(answer.status == StatusCode::OK && answer.leaves_cookie(), "{backend:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_revocation_that_fails_says_so() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = sign_in(&setup, "ada").await;
        setup.store.fault(Op::Revoke, Fault::Fail, 1);
        assert!(setup.layer.owners().revoke_all("ada").await.is_err_and(|error| error.is_unavailable()));
        assert_eq!(setup.layer.owners().revoke_all("ada").await.unwrap(), 1, "{backend:?}");
        assert_eq!(owner(&setup, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn sessions_that_clients_hold_cannot_be_listed_or_revoked_and_say_so() {
    let setup = Setup::new(Backend::Cookie);
    let token = sign_in(&setup, "ada").await;
    let (owners, session) = (setup.layer.owners(), session(&setup, &token).await);
    assert_eq!(session.owner().as_deref(), Some("ada"));
    let handle = session.handle().unwrap();
    for (what, result) in [
        ("list", owners.list("ada").await.map(drop)),
        ("revoke", owners.revoke("ada", handle).await.map(drop)),
        ("revoke_others", owners.revoke_others(&session).await.map(drop)),
        ("revoke_all", owners.revoke_all("ada").await.map(drop)),
    ] {
        assert!(result.is_err_and(|error| error.is_unsupported() && !error.is_unavailable()), "{what}");
    }
}

#[tokio::test]
async fn signing_in_again_and_revoking_the_others_keeps_the_values() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token =
            begin(&setup.layer, |session| session.insert("cart", "mug").and_then(|()| session.sign_in("ada"))).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            session.sign_in("ada").unwrap();
            session.owners().revoke_others(&session).await.unwrap().to_string()
        })
        .await;
        assert_eq!(answer.body, "0", "{backend:?}: there is no other");
        let token = answer.token().unwrap();
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "cart": "mug" })), "{backend:?}");
    }
}

/// The revocation spares the sign-in that asks for it, and earlier ones that the process knows do not refuse it.
#[tokio::test]
async fn signing_in_and_revoking_the_others_goes_well_again_and_again() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let mut before = sign_in(&setup, "ada").await;
        setup.layer.owners().revoke_all("ada").await.unwrap();
        for round in 0..4 {
            let answer = send(&setup.layer, None, |session| async move {
                session.sign_in("ada").unwrap();
                session.owners().revoke_others(&session).await.unwrap().to_string()
            })
            .await;
            assert_eq!(answer.body, u8::from(round > 0).to_string(), "{backend:?}, round {round}");
            assert_eq!(values(&setup.layer, &before).await, None, "{backend:?}, round {round}");
            before = answer.token().unwrap();
            assert!(values(&setup.layer, &before).await.is_some(), "{backend:?}, round {round}");
        }
    }
}

#[tokio::test]
async fn revoking_the_others_commits_nothing_but_a_sign_in() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            session.insert("cart", "mug").unwrap();
            session.owners().revoke_others(&session).await.unwrap();
            StatusCode::INTERNAL_SERVER_ERROR
        });
        answer.await;
        assert_eq!(values(&setup.layer, &token).await, Some(json!({})), "{backend:?}");
    }
}
