//! What a hostile reading found, each named for the rule that it broke.

use std::sync::Arc;

use crate::support::direct::{act, begin, send, values};
use crate::support::{Backend, DAY, Fault, Op, Setup};
use serde_json::json;
use tower_session_layer::{Error, Session};

#[tokio::test]
async fn large_numbers_that_round_to_one_are_two() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("id", 1_u128 << 100)).await;
        let answer = act(&setup.layer, Some(&token), |session| session.insert("id", (1_u128 << 100) + 1)).await;
        let token = answer.token().unwrap_or(token);
        let read = send(&setup.layer, Some(&token), |session| async move {
            session.get::<u128>("id").unwrap().unwrap().to_string()
        });
        assert_eq!(read.await.body, ((1_u128 << 100) + 1).to_string(), "{backend:?}");
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

#[tokio::test]
async fn revoking_the_others_commits_nothing_but_a_sign_in() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.sign_in("ada")).await;
        let answer = send(&setup.layer, Some(&token), |session| async move {
            session.insert("cart", "mug").unwrap();
            session.owners().revoke_others(&session).await.unwrap();
            http::StatusCode::INTERNAL_SERVER_ERROR
        });
        answer.await;
        assert_eq!(values(&setup.layer, &token).await, Some(json!({})), "{backend:?}");
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
async fn destroy_follows_a_renewal_that_the_request_learned_of_before() {
    for reloads in [true, false] {
        let setup = Arc::new(Setup::new(Backend::Memory));
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (other, held) = (Arc::clone(&setup), token.clone());
        send(&setup.layer, Some(&token), move |session| async move {
            act(&other.layer, Some(&held), Session::renew).await;
            session.insert("b", 1).unwrap();
            let gone = if reloads { session.reload().await } else { session.commit().await };
            assert!(gone.unwrap_err().is_gone());
            session.destroy().unwrap();
            String::new()
        })
        .await;
        assert_eq!(setup.store.sessions().await, 0, "reloads: {reloads}");
    }
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

type Act = fn(&Session) -> Result<(), Error>;

/// Sends a request that changes its session while another does something to it, answers with this status, and goes on
/// afterwards.
async fn go_on_after<F>(
    setup: &Setup,
    token: &str,
    status: u16,
    meanwhile: Option<Act>,
    afterwards: impl FnOnce(Session) -> F,
) where
    F: Future<Output = ()>,
{
    let (given, kept) = tokio::sync::oneshot::channel();
    let (layer, held) = (setup.layer.clone(), token.to_owned());
    send(&setup.layer, Some(token), move |session| async move {
        session.insert("before", 1).unwrap();
        if let Some(meanwhile) = meanwhile {
            act(&layer, Some(&held), meanwhile).await;
        }
        given.send(session).unwrap();
        http::StatusCode::from_u16(status).unwrap()
    })
    .await;
    afterwards(kept.await.unwrap()).await;
}

#[tokio::test]
async fn commit_after_the_response_does_not_hide_that_changes_were_dropped_with_it() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let begin = || begin(&setup.layer, |session| session.insert("a", 1));
        go_on_after(&setup, &begin().await, 200, None, |session| async move { session.commit().await.unwrap() }).await;
        go_on_after(&setup, &begin().await, 200, Some(Session::destroy), |session| async move {
            assert!(session.commit().await.unwrap_err().is_gone(), "{backend:?}");
        })
        .await;
        let token = begin().await;
        go_on_after(&setup, &token, 500, None, |session| async move {
            session.insert("after", 1).unwrap();
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
            session.commit().await.unwrap();
        })
        .await;
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "a": 1, "after": 1 })), "{backend:?}");
        let token = begin().await;
        setup.store.fault(Op::Update, Fault::Fail, 1);
        go_on_after(&setup, &token, 200, None, |session| async move {
            assert!(!session.contains("before") && !session.is_changed(), "{backend:?}");
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
        })
        .await;
        // A session of its own, where the other one was emptied, needs a cookie.
        go_on_after(&setup, &begin().await, 304, Some(Session::clear), |session| async move {
            assert!(session.commit().await.unwrap_err().is_dropped(), "{backend:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn destroy_after_the_response_is_done_whatever_follows_it() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        go_on_after(&setup, &token, 200, None, |session| async move {
            session.destroy().unwrap();
            session.insert("b", 1).unwrap();
            assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}");
            assert!(session.commit().await.unwrap_err().is_response_sent(), "{backend:?}: it still cannot be stored");
        })
        .await;
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn destroy_after_the_response_that_needs_a_cookie_is_not_done_by_half() {
    let setup = Setup::new(Backend::Cookie);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    go_on_after(&setup, &token, 500, None, |session| async move {
        assert!(session.commit().await.unwrap_err().is_dropped());
        session.destroy().unwrap();
        session.insert("b", 1).unwrap();
        assert!(session.commit().await.unwrap_err().is_response_sent());
        assert!(!session.is_new(), "what the client holds goes on");
    })
    .await;
}

#[tokio::test]
async fn reload_of_a_session_that_was_emptied_finds_a_new_one() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let (layer, held) = (setup.layer.clone(), token.clone());
        let answer = send(&setup.layer, Some(&token), move |session| async move {
            act(&layer, Some(&held), Session::clear).await;
            session.reload().await?;
            assert!(session.is_new() && session.is_empty(), "{backend:?}");
            session.insert("b", 1)
        })
        .await;
        let fresh = answer.token().unwrap();
        assert_ne!(fresh, token, "{backend:?}");
        assert_eq!(values(&setup.layer, &fresh).await, Some(json!({ "b": 1 })), "{backend:?}");
    }
}

#[tokio::test]
async fn reload_of_an_outdated_session_finds_what_others_wrote_and_sends_its_token() {
    let setup = Setup::new(Backend::Memory);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    let (layer, store, held) = (setup.layer.clone(), setup.store.clone(), token.clone());
    let answer = send(&setup.layer, Some(&token), |session| async move {
        act(&layer, Some(&held), |session| session.insert("b", 1)).await;
        store.fault(Op::Load, Fault::Outdated, 1);
        session.reload().await.unwrap();
        assert!(session.contains("b"));
    });
    assert_eq!(answer.await.token(), Some(token));
}

#[tokio::test]
async fn idle_timeout_set_before_the_first_value_is_kept_by_a_commit_between_them() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let answer = send(&setup.layer, None, |session| async move {
            session.set_idle_timeout(DAY).unwrap();
            session.commit().await.unwrap();
            session.insert("a", 1).unwrap();
        })
        .await;
        assert_eq!(answer.max_age(), Some(DAY.as_secs()), "{backend:?}");
    }
}

#[tokio::test]
async fn sign_in_after_a_destroy_of_what_ended_meanwhile_is_done() {
    for backend in Backend::SERVER {
        for signs_in in [true, false] {
            let setup = Arc::new(Setup::new(backend));
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let (other, held) = (Arc::clone(&setup), token.clone());
            let answer = send(&setup.layer, Some(&token), move |session| async move {
                let renewed = act(&other.layer, Some(&held), Session::renew).await.token().unwrap();
                session.insert("b", 1).unwrap();
                assert!(session.commit().await.unwrap_err().is_gone());
                session.destroy().unwrap();
                session.insert("c", 1).unwrap();
                if signs_in {
                    session.sign_in("ada").unwrap();
                } else {
                    assert!(session.commit().await.unwrap_err().is_gone(), "only a renewal begins anew");
                }
                renewed
            });
            let answer = answer.await;
            assert_eq!(values(&setup.layer, &answer.body).await, None, "{backend:?}: what it became is destroyed");
            assert_eq!(answer.token().is_some(), signs_in, "{backend:?}");
            if let Some(token) = answer.token() {
                assert_eq!(values(&setup.layer, &token).await, Some(json!({ "c": 1 })), "{backend:?}");
            }
        }
    }
}
