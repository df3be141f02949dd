//! A commit whose answer was lost, and what follows it: nothing is applied twice, and nothing is left out.

use crate::support::scope;
use http::StatusCode;
use serde_json::json;
use tower_session_layer::store::{Change, Loaded, Tombstone, TombstoneKind, Updated};
use tower_session_layer::{
    Clock as _, Error, Session, SessionLayerBuilder, SessionStore as _, SessionToken, TokenShape,
};

use crate::support::direct::{act, begin, send, settle, values};
use crate::support::{Backend, DAY, Fault, HOUR, Op, Setup};

fn count(session: &Session) -> Result<(), Error> {
    session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1))
}

#[tokio::test]
async fn commit_whose_answer_was_lost_is_not_applied_twice() {
    for (backend, op) in [(Backend::Memory, Op::Update), (Backend::Remote, Op::Update), (Backend::Remote, Op::Create)] {
        let setup = Setup::new(backend);
        let token = match op {
            Op::Update => Some(begin(&setup.layer, |session| session.insert("n", 0)).await),
            _ => None,
        };
        setup.store.fault(op, Fault::LoseAnswer, 1);
        let answer = send(&setup.layer, token.as_deref(), |session| async move {
            count(&session).unwrap();
            session.commit().await.is_err().to_string()
        })
        .await;
        assert_eq!(answer.body, "true");
        let token = answer.token().or(token).unwrap();
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": 1 })), "{backend:?} {op:?}");
        assert_eq!(setup.store.sessions().await, 1, "{backend:?} {op:?}");
    }
}

#[tokio::test]
async fn what_follows_a_commit_whose_answer_was_lost_is_stored_with_it() {
    for backend in Backend::SERVER {
        for op in [Op::Create, Op::Update] {
            let setup = Setup::new(backend);
            let token = match op {
                Op::Update => Some(begin(&setup.layer, |session| session.insert("n", 0)).await),
                _ => None,
            };
            setup.store.fault(op, Fault::LoseAnswer, 1);
            let answer = send(&setup.layer, token.as_deref(), |session| async move {
                count(&session)?;
                session.commit().await.unwrap_err();
                session.insert("later", 1)?;
                session.commit().await
            })
            .await;
            assert_eq!(answer.token().is_some(), op == Op::Create, "{backend:?} {op:?}");
            let token = answer.token().or(token).unwrap();
            assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": 1, "later": 1 })), "{backend:?} {op:?}");
            assert_eq!(setup.store.sessions().await, 1, "{backend:?} {op:?}");
        }
    }
}

#[tokio::test]
async fn renewal_that_follows_a_commit_whose_answer_was_lost_is_done() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("n", 0)).await;
        setup.store.fault(Op::Update, Fault::LoseAnswer, 1);
        let answer = send(&setup.layer, Some(&token), |session| async move {
            count(&session)?;
            session.commit().await.unwrap_err();
            session.renew()?;
            session.commit().await
        });
        let fresh = answer.await.token().unwrap();
        assert_eq!(values(&setup.layer, &fresh).await, Some(json!({ "n": 1 })), "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn cookie_that_a_commit_whose_answer_was_lost_has_changed_is_sent() {
    for backend in Backend::SERVER {
        for is_remembered in [true, false] {
            let setup = Setup::with(backend, SessionLayerBuilder::browser_session);
            let token = begin(&setup.layer, |session| session.insert("n", 0)).await;
            setup.clock.advance(DAY);
            setup.store.fault(Op::Update, Fault::LoseAnswer, 1);
            let answer = send(&setup.layer, Some(&token), move |session| async move {
                count(&session)?;
                if is_remembered {
                    session.set_idle_timeout(HOUR)?;
                }
                session.commit().await.unwrap_err();
                session.commit().await
            })
            .await;
            // The `Max-Age` of a browser's session that is to be remembered; a deadline alone is the server's.
            assert_eq!(answer.max_age(), is_remembered.then_some(29 * DAY.as_secs()), "{backend:?}");
            assert_eq!(answer.token(), is_remembered.then(|| token.clone()), "{backend:?}");
            let end = setup.clock.now() + if is_remembered { HOUR } else { 7 * DAY };
            act(&setup.layer, Some(&token), move |session| assert_eq!(session.expires_at(), end, "{backend:?}")).await;
        }
    }
}

#[tokio::test]
async fn renewal_that_failed_can_no_longer_be_carried_out_by_a_call_that_comes_late() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let text = begin(&setup.layer, |session| session.insert("n", 0)).await;
        let token = SessionToken::parse(text.as_bytes(), TokenShape::Random, scope()).unwrap();
        let now = setup.clock.now();
        let Loaded::Live(before) = setup.store.load(&token, now).await.unwrap() else { unreachable!() };
        setup.store.fault(Op::Update, Fault::Fail, 1);
        assert_eq!(act(&setup.layer, Some(&text), Session::renew).await.status, StatusCode::SERVICE_UNAVAILABLE);
        settle().await;
        let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, HOUR, now));
        let late = setup.store.update(&token, before.version(), &retire, now).await.unwrap();
        assert_eq!(late, Updated::Conflict, "{backend:?}");
        assert_eq!(values(&setup.layer, &text).await, Some(json!({ "n": 0 })), "{backend:?}");
    }
}

#[tokio::test]
async fn session_lives_on_where_a_write_whose_answer_was_lost_is_not_sent_again() {
    for backend in Backend::SERVER {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("n", 0)).await;
        setup.store.fault(Op::Update, Fault::LoseAnswer, 1);
        let answer = send(&setup.layer, Some(&token), |session| async move {
            count(&session).unwrap();
            session.commit().await.unwrap_err();
            StatusCode::INTERNAL_SERVER_ERROR
        });
        assert_eq!(answer.await.set_cookie(), None, "{backend:?}");
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "n": 1 })), "{backend:?}");
    }
}

#[tokio::test]
async fn finding_out_costs_one_read_and_only_a_sign_in_that_began_a_session_is_sent_again() {
    for backend in Backend::SERVER {
        for (op, owner, expected) in [
            (Op::Update, None, &[Op::Load, Op::Update, Op::Load][..]),
            (Op::Update, Some("ada"), &[Op::Load, Op::Update, Op::Load]),
            (Op::Create, None, &[Op::Create, Op::Load]),
            (Op::Create, Some("ada"), &[Op::Create, Op::Load, Op::Create]),
        ] {
            let setup = Setup::new(backend);
            let sign_in = move |session: &Session| owner.map_or(Ok(()), |owner| session.sign_in(owner));
            let token = match op {
                Op::Update => {
                    Some(begin(&setup.layer, move |session| sign_in(session).and_then(|()| count(session))).await)
                }
                _ => None,
            };
            setup.store.forget();
            setup.store.fault(op, Fault::LoseAnswer, 1);
            let answer = send(&setup.layer, token.as_deref(), move |session| async move {
                if op == Op::Create {
                    sign_in(&session)?;
                }
                count(&session)?;
                session.commit().await.unwrap_err();
                session.commit().await
            });
            assert_eq!(answer.await.status, StatusCode::OK);
            assert_eq!(setup.store.order(), expected, "{backend:?} {op:?} {owner:?}");
        }
    }
}

// Promise 27: whoever is not in the owner's list cannot be reached by the next revocation, and must have escaped none.
#[tokio::test]
async fn sign_in_that_came_halfway_is_listed_when_it_is_committed_again_or_refused_by_a_revocation_in_between() {
    for backend in Backend::SERVER {
        for is_revoked in [false, true] {
            let setup = Setup::new(backend);
            setup.store.fault(Op::Create, Fault::Halfway, 1);
            let owners = setup.layer.owners();
            let answer = send(&setup.layer, None, move |session| async move {
                session.sign_in("ada")?;
                session.commit().await.unwrap_err();
                if is_revoked {
                    assert_eq!(owners.revoke_all("ada").await?, 0, "{backend:?}: it is not listed");
                    assert!(session.commit().await.unwrap_err().is_gone(), "{backend:?}");
                    return Ok(());
                }
                session.commit().await
            })
            .await;
            assert_eq!(answer.status, StatusCode::OK, "{backend:?}");
            assert_eq!(answer.token().is_some(), !is_revoked, "{backend:?}");
            let listed = setup.layer.owners().list("ada").await.unwrap();
            assert_eq!(listed.len(), usize::from(!is_revoked), "{backend:?}");
        }
    }
}
