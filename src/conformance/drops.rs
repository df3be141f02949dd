//! Calls that are dropped before they complete.

use std::sync::Arc;

use super::fixture::{Fixture, IDLE, MINUTE, at, live, replace};
use super::operation::StoreOperation::{self, Create, Delete, Load, Owned, Touch, Update};
use super::polling::polled;
use crate::record::{Tombstone, TombstoneKind};
use crate::store::{Change, Loaded, Revoke};

/// Drops each call after 0, 1, 2, … polls until it completes.
///
/// After the drop the session is as before or as asked, sending the call again completes it, and every later load
/// answers for its own token.
pub(super) async fn dropped_call_leaves_the_old_state_or_the_new(fixture: Arc<Fixture>) {
    let mut bystanders = Vec::new();
    for _ in 0..8 {
        bystanders.push(fixture.session().await);
    }
    for kind in 0..8 {
        for polls in 0.. {
            let owner = fixture.owner();
            let record = fixture.owned_record(&owner, at(0));
            let next = fixture.next(&record, at(1));
            let token = if kind == 0 { fixture.token() } else { fixture.stored(&record).await };
            let version = record.version();
            let stone = fixture.renewed(at(1));
            let mut touched = record.clone();
            touched.touch(at(1) + IDLE, at(1));
            let ended = |kind| Loaded::Tombstone(Tombstone::new(kind, MINUTE, at(1)));
            let same = token.clone();
            let old = if kind == 0 { Loaded::Absent } else { live(&record) };
            let (call, new) = match kind {
                0 => (Create(same, record.clone()), live(&record)),
                1 => (Update(same, version, replace(&next)), live(&next)),
                2 => (Update(same, version, Change::Retire(stone.clone())), Loaded::Tombstone(stone)),
                3 => (Touch(same, version, at(1) + IDLE), live(&touched)),
                4 => (Delete(same, MINUTE), ended(TombstoneKind::Destroyed)),
                5 => {
                    let revocation = fixture.revocation(Revoke::All, MINUTE);
                    (StoreOperation::Revoke(owner.clone(), revocation), ended(TombstoneKind::Revoked))
                }
                6 => (Owned(owner.clone()), live(&record)),
                _ => (Load(same), live(&record)),
            };
            let is_complete = polled(polls, call.run(&fixture, at(1))).await.is_some();
            for (token, bystander) in &bystanders {
                let rule = "a dropped call changes no other session, and a load after it answers for its own token";
                fixture.expect_live(rule, token, at(1), bystander).await;
            }
            let state = fixture.load(&token, at(1)).await;
            assert!(
                state == new || (state == old && !is_complete),
                "broken: a call dropped after {polls} polls leaves the old state or the new: {call:?}\n  expected: \
                 {old:?}\n        or: {new:?}\n       got: {state:?}"
            );
            call.run(&fixture, at(1)).await;
            let rule = format!("a dropped call is completed by sending it again: {call:?}");
            fixture.expect(&rule, &token, at(1), &new).await;
            let listed = if let Loaded::Live(record) = &new { vec![&**record] } else { Vec::new() };
            fixture.expect_owned(&rule, &owner, at(1), &listed).await;
            if is_complete {
                break;
            }
        }
    }
    for polls in 0.. {
        let is_complete = polled(polls, fixture.sweep(1_000, at(1))).await.is_some();
        for (token, bystander) in &bystanders {
            fixture.expect_live("a dropped sweep removes nothing live", token, at(1), bystander).await;
        }
        if is_complete {
            break;
        }
    }
}
