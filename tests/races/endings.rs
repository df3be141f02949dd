//! Sessions that end while others hold them: nothing comes back, and nothing of a renewed one is lost (promises 10–12).

use std::sync::Arc;
use std::time::Duration;

use crate::support::direct::{act, begin, hold, respond, send, values};
use crate::support::{Answer, Backend, DAY, HOUR, MINUTE, Op, Setup, answer, rounds};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower_session_layer::{Error, Session, SessionLayer};

type Act = fn(&Session) -> Result<(), Error>;

#[derive(Debug, Clone, Copy)]
enum End {
    Destroyed,
    Renewed,
    SignedIn,
    Revoked,
}

impl End {
    const ALL: [Self; 4] = [Self::Destroyed, Self::Renewed, Self::SignedIn, Self::Revoked];

    /// Ends a session of `ada` and returns the token that took over.
    async fn come(self, layer: &SessionLayer, token: &str) -> Option<String> {
        match self {
            Self::Destroyed => assert!(act(layer, Some(token), Session::destroy).await.removes_cookie()),
            Self::Renewed => return act(layer, Some(token), Session::renew).await.token(),
            Self::SignedIn => return act(layer, Some(token), |session| session.sign_in("ada")).await.token(),
            Self::Revoked => assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1),
        }
        None
    }
}

async fn begin_of_ada(layer: &SessionLayer) -> String {
    begin(layer, |session| session.insert("a", 1).and_then(|()| session.sign_in("ada"))).await
}

/// The log of a request is played again on a session without an owner, which must not make it the next person's.
#[tokio::test]
async fn what_a_request_wrote_for_one_person_never_becomes_anothers() {
    for (backend, end) in pairs() {
        for expires in [false, true] {
            let Setup { layer, clock, .. } = &Setup::new(backend);
            let token = begin_of_ada(layer).await;
            clock.advance(6 * DAY + 13 * HOUR);
            let held = hold(layer, &token, |session| {
                session.insert("note", "for ada")?;
                session.update("visits", |visits: Option<u32>| Some(visits.unwrap_or(0) + 1))?;
                session.flash("notice", "for ada")?;
                session.sign_in("grace")?;
                assert!(session.is_empty());
                session.insert("theme", "dark")
            });
            let held = held.await;
            if expires {
                clock.advance(12 * HOUR);
            } else {
                end.come(layer, &token).await;
            }
            let grace = held.release().await.token().unwrap();
            assert_eq!(values(layer, &grace).await, Some(json!({ "theme": "dark" })), "{backend:?} {end:?}");
            act(layer, Some(&grace), |session| {
                assert_eq!(session.owner().as_deref(), Some("grace"));
                assert_eq!(session.take_flash::<String>("notice").unwrap(), None);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn late_writer_revives_nothing_and_its_own_answer_stands() {
    for (backend, end) in pairs() {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin_of_ada(layer).await;
        let writer = hold(layer, &token, |session| session.insert("b", 2)).await;
        let remover = hold(layer, &token, |session| session.remove("a").map(drop)).await;
        let successor = end.come(layer, &token).await;
        store.forget();
        assert!(writer.release().await.leaves_cookie(), "{backend:?} {end:?}");
        assert!(remover.release().await.leaves_cookie(), "{backend:?} {end:?}");
        assert_eq!(store.calls(Op::Create), 0, "{backend:?} {end:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?} {end:?}");
        if let Some(successor) = successor {
            assert_eq!(values(layer, &successor).await, Some(json!({ "a": 1 })), "{backend:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn explicit_commit_to_a_session_that_ended_is_an_error() {
    for (backend, end) in pairs() {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin_of_ada(layer).await;
        let (inner, ended) = (layer.clone(), token.clone());
        let answer = send(layer, Some(&token), move |session| async move {
            session.insert("b", 2).unwrap();
            end.come(&inner, &ended).await;
            assert!(session.commit().await.unwrap_err().is_gone(), "{backend:?} {end:?}");
            assert_eq!(session.get::<u32>("b").unwrap(), None, "{backend:?} {end:?}");
        })
        .await;
        assert!(answer.leaves_cookie(), "{backend:?} {end:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?} {end:?}");
    }
}

#[tokio::test]
async fn destroy_follows_its_session_over_several_renewals() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let mut tokens = vec![begin_of_ada(layer).await];
        let logout = hold(layer, &tokens[0], Session::destroy).await;
        for end in [End::Renewed, End::SignedIn, End::Renewed] {
            tokens.extend(end.come(layer, tokens.last().unwrap()).await);
        }
        assert_eq!(values(layer, &tokens[3]).await, Some(json!({ "a": 1 })), "{backend:?}");
        assert!(logout.release().await.removes_cookie(), "{backend:?}");
        for token in tokens {
            assert_eq!(values(layer, &token).await, None, "{backend:?}");
        }
        assert!(layer.owners().list("ada").await.unwrap().is_empty(), "{backend:?}");
    }
}

#[tokio::test]
async fn dead_token_is_inert_but_for_who_signs_in_or_renews() {
    for (backend, end) in pairs() {
        let Setup { layer, store, .. } = &Setup::new(backend);
        let token = begin_of_ada(layer).await;
        end.come(layer, &token).await;
        store.forget();
        let inert: [(&str, Act); 8] = [
            ("read", |s| s.get::<u32>("a").map(|a| assert_eq!((a, s.is_new(), s.owner()), (None, true, None)))),
            ("insert", |s| s.insert("b", 2)),
            ("update", |s| s.update("b", |_: Option<u32>| Some(2))),
            ("flash", |s| s.flash("b", 2)),
            ("csrf_token", |s| s.csrf_token().map(drop)),
            ("clear", Session::clear),
            ("destroy", Session::destroy),
            ("renew without values", Session::renew),
        ];
        for (what, inert) in inert {
            assert!(act(layer, Some(&token), inert).await.leaves_cookie(), "{backend:?} {end:?}: {what}");
        }
        assert_eq!(store.writes(), 0, "{backend:?} {end:?}");

        let renewed = act(layer, Some(&token), |s| s.insert("b", 2).and_then(|()| s.renew())).await.token().unwrap();
        assert_eq!(values(layer, &renewed).await, Some(json!({ "b": 2 })), "{backend:?} {end:?}");
        let signed_in = act(layer, Some(&token), |s| s.sign_in("ada")).await.token().unwrap();
        assert_eq!(values(layer, &signed_in).await, Some(json!({})), "{backend:?} {end:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?} {end:?}");
    }
}

#[tokio::test]
async fn tombstone_goes_after_a_minute_and_a_writer_then_gets_a_fresh_token() {
    for (backend, end) in pairs() {
        let Setup { layer, clock, .. } = &Setup::new(backend);
        let token = begin_of_ada(layer).await;
        end.come(layer, &token).await;
        let micros = Duration::from_micros;
        clock.advance(micros(59_999_999));
        assert!(act(layer, Some(&token), |s| s.insert("b", 2)).await.leaves_cookie(), "{backend:?} {end:?}");
        // A revocation has a microsecond of its own, later than that of the sign-in before.
        clock.advance(micros(2));
        let fresh = act(layer, Some(&token), |s| s.insert("b", 2)).await.token().unwrap();
        assert_ne!(fresh, token);
        assert_eq!(values(layer, &fresh).await, Some(json!({ "b": 2 })), "{backend:?} {end:?}");
    }
}

#[tokio::test]
async fn what_follows_a_destroy_belongs_to_a_new_session() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin_of_ada(layer).await;
        let writer = hold(layer, &token, |s| s.insert("late", 1)).await;
        let answer = act(layer, Some(&token), |s| {
            s.insert("dropped", 1)?;
            s.destroy()?;
            assert!(s.is_empty() && s.owner().is_none());
            s.insert("b", 2)
        });
        let fresh = answer.await.token().unwrap();
        assert_ne!(fresh, token);
        assert!(writer.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(values(layer, &fresh).await, Some(json!({ "b": 2 })), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn double_clicked_login_gets_a_token_twice_and_the_second_holds_its_own_changes() {
    for backend in Backend::SERVER {
        for at_once in [true, false] {
            let Setup { layer, .. } = &Setup::new(backend);
            let token = begin(layer, |s| s.insert("cart", 1)).await;
            let login = |s: &Session| s.insert("seen", 1).and_then(|()| s.sign_in("ada"));
            let (first, second) = if at_once {
                let (first, second) = (hold(layer, &token, login).await, hold(layer, &token, login).await);
                (first.release().await, second.release().await)
            } else {
                (act(layer, Some(&token), login).await, act(layer, Some(&token), login).await)
            };
            let what = format!("{backend:?}, at once: {at_once}");
            let (first, second) = (first.token().unwrap(), second.token().unwrap());
            assert_eq!(values(layer, &first).await, Some(json!({ "cart": 1, "seen": 1 })), "{what}");
            assert_eq!(values(layer, &second).await, Some(json!({ "seen": 1 })), "{what}");
            assert_eq!(values(layer, &token).await, None, "{what}");
            assert_eq!(layer.owners().list("ada").await.unwrap().len(), 2, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_destroyed_beside_eight_writers_stays_dead_and_no_writer_touches_the_cookie() {
    for (backend, count) in ROUNDS {
        let rounds = rounds(count);
        let Setup { layer, store, .. } = &Setup::with(backend, |builder| builder.store_timeout(10 * MINUTE));
        for round in 0..rounds {
            let token = begin(layer, |session| session.insert("a", 1)).await;
            let (logout, writers) = round_of(layer, &token, round, Session::destroy).await;
            assert!(logout.removes_cookie(), "{backend:?} {round}");
            for (writer, _) in writers {
                assert!(writer.leaves_cookie(), "{backend:?} {round}: {writer:?}");
            }
            assert_eq!(values(layer, &token).await, None, "{backend:?} {round}");
        }
        assert!(backend == Backend::File || store.sessions().await == 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_renewed_beside_eight_writers_has_all_that_was_committed_and_nothing_else() {
    for (backend, count) in ROUNDS {
        let rounds = rounds(count);
        let Setup { layer, store, .. } = &Setup::with(backend, |builder| builder.store_timeout(10 * MINUTE));
        for round in 0..rounds {
            let token = begin(layer, |session| session.insert("a", 1)).await;
            let (renewal, writers) = round_of(layer, &token, round, Session::renew).await;
            let fresh = renewal.token().unwrap();
            let mut expected = json!({ "a": 1 });
            for (number, (writer, landed)) in writers.into_iter().enumerate() {
                assert!(writer.leaves_cookie(), "{backend:?} {round}: {writer:?}");
                if landed {
                    expected[format!("key{number}")] = json!(number);
                }
            }
            assert_eq!(values(layer, &fresh).await, Some(expected), "{backend:?} {round}");
            assert_eq!(values(layer, &token).await, None, "{backend:?} {round}");
        }
        assert!(backend == Backend::File || store.sessions().await == rounds, "{backend:?}");
    }
}

/// The requests come in eleven orders.
const ROUNDS: [(Backend, usize); 3] = [(Backend::Memory, 110), (Backend::Remote, 110), (Backend::File, 33)];

/// Ends a session beside eight writers that have loaded it, and returns what came back, and whose commit landed.
async fn round_of(layer: &SessionLayer, token: &str, round: usize, end: Act) -> (Answer, Vec<(Answer, bool)>) {
    let barrier = Arc::new(Barrier::new(9));
    let mut requests = JoinSet::new();
    for number in 0..9 {
        let barrier = Arc::clone(&barrier);
        let responding = respond(layer, Some(token), move |session| async move {
            barrier.wait().await;
            // Who comes first differs from round to round, beyond what the threads make of it.
            for _ in 0..(round * (number + 3)) % 11 {
                tokio::task::yield_now().await;
            }
            if number == 8 {
                return end(&session).map(|()| String::new());
            }
            session.insert(&format!("key{number}"), number)?;
            match session.commit().await {
                Ok(()) => Ok("landed".to_owned()),
                Err(error) if error.is_gone() => Ok(String::new()),
                Err(error) => Err(error),
            }
        });
        requests.spawn(async move { (number, answer(responding.await).await) });
    }
    let mut answers = requests.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    let (_, ended) = answers.pop().unwrap();
    (
        ended,
        answers
            .into_iter()
            .map(|(_, answer)| {
                let landed = answer.body == "landed";
                (answer, landed)
            })
            .collect(),
    )
}

fn pairs() -> impl Iterator<Item = (Backend, End)> {
    Backend::SERVER.into_iter().flat_map(|backend| End::ALL.map(|end| (backend, end)))
}

#[tokio::test]
async fn session_that_ended_sends_no_cookie_that_was_due_before() {
    let setup = Arc::new(Setup::new(Backend::Memory));
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    setup.clock.advance(2 * DAY);
    let (other, held) = (Arc::clone(&setup), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        session.insert("b", 1).unwrap();
        session.commit().await.unwrap();
        act(&other.layer, Some(&held), |session| session.sign_in("ada")).await;
        session.insert("b", 2).unwrap();
        session.commit().await.unwrap_err().is_gone().to_string()
    })
    .await;
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("true", None));
}

#[tokio::test]
async fn form_shown_to_a_dead_token_is_accepted_when_it_signs_in() {
    let shown = |session: Session| async move { session.csrf_token().unwrap() };
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let mut forms = Vec::new();
        for ends in [Session::destroy, Session::renew] {
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            act(&setup.layer, Some(&token), ends).await;
            let form = send(&setup.layer, Some(&token), shown).await;
            assert!(form.leaves_cookie(), "{backend:?}");
            assert_eq!(
                send(&setup.layer, Some(&token), shown).await.body,
                form.body,
                "{backend:?}: the same each time"
            );
            forms.push((token, form.body));
        }
        let [(first, of_first), (second, of_second)] = &forms[..] else { unreachable!() };
        for (token, form, is_accepted) in
            [(first, of_first, true), (second, of_first, false), (second, of_second, true)]
        {
            let form = form.clone();
            let answer = send(&setup.layer, Some(token), |session| async move {
                let is_accepted = session.verify_csrf(&form);
                session.sign_in("ada").unwrap();
                assert!(!session.verify_csrf(&form) && session.csrf_token().unwrap() != form);
                is_accepted.to_string()
            });
            let answer = answer.await;
            assert_eq!(answer.body, is_accepted.to_string(), "{backend:?}");
            assert!(answer.token().is_some(), "{backend:?}");
        }
    }
}

// Promise 7: a slow request with an old cookie must not clobber the one a login just set.
#[tokio::test]
async fn a_slow_logout_does_not_remove_the_cookie_of_the_login_that_followed_another_logout() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let slow = hold(&setup.layer, &token, Session::destroy).await;
        assert!(act(&setup.layer, Some(&token), Session::destroy).await.removes_cookie());
        setup.clock.advance(Duration::from_secs(1));
        let login = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let answer = slow.release().await;
        assert!(answer.leaves_cookie(), "{backend:?}: {:?}", answer.set_cookie());
        assert!(values(&setup.layer, &login).await.is_some());
    }
}
