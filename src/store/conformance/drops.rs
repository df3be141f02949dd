//! Calls that are dropped before they are through.

use super::call::Call;
use super::lab::{IDLE, Lab, MINUTE, at, replace};
use super::steps::polled;
use crate::record::{Tombstone, TombstoneKind};
use crate::store::{Change, Loaded, Revoke};

/// Drops each call after 0, 1, 2, … polls until it completes: what it was to change is as before or as asked, sending
/// it again brings it to its end, and every later load answers for its own token.
pub(super) async fn dropped_call_leaves_the_old_state_or_the_new(lab: Lab) {
    let mut canaries = Vec::new();
    for _ in 0..8 {
        let record = lab.record();
        canaries.push((lab.stored(&record).await, record));
    }
    for kind in 0..8 {
        for polls in 0.. {
            let owner = lab.owner();
            let record = lab.owned_record(&owner, at(0));
            let next = lab.next(&record, at(1));
            let token = if kind == 0 { lab.token() } else { lab.stored(&record).await };
            let version = record.version();
            let stone = lab.renewed(&token, at(1));
            let mut touched = record.clone();
            touched.touch(at(1) + IDLE, at(1));
            let ended = |kind| Loaded::Tombstone(Tombstone::new(kind, MINUTE, at(1)));
            let old = Loaded::Live(record.clone().into());
            let revoke = Call::Revoke(owner.clone(), Revoke::All, MINUTE);
            let (call, old, new) = match kind {
                0 => (Call::Create(token.clone(), record.clone()), Loaded::Absent, old),
                1 => (Call::Update(token.clone(), version, replace(&next)), old, Loaded::Live(next.into())),
                2 => {
                    (Call::Update(token.clone(), version, Change::Retire(stone.clone())), old, Loaded::Tombstone(stone))
                }
                3 => (Call::Touch(token.clone(), version, at(1) + IDLE), old, Loaded::Live(touched.into())),
                4 => (Call::Delete(token.clone(), MINUTE), old, ended(TombstoneKind::Destroyed)),
                5 => (revoke, old, ended(TombstoneKind::Revoked)),
                6 => (Call::Owned(owner.clone()), old.clone(), old),
                _ => (Call::Load(token.clone()), old.clone(), old),
            };
            let is_complete = polled(polls, call.run(&lab, at(1))).await.is_some();
            let rule = format!("a call dropped after {polls} polls leaves the old state or the new: {call:?}");
            for (token, canary) in &canaries {
                lab.expect(
                    "a load after a dropped call answers for its own token",
                    token,
                    at(1),
                    &Loaded::Live(canary.clone().into()),
                )
                .await;
            }
            let state = lab.load(&token, at(1)).await;
            assert!(
                state == new || (state == old && !is_complete),
                "broken: {rule}\n  expected: {old:?}\n        or: {new:?}\n       got: {state:?}"
            );
            call.run(&lab, at(1)).await;
            let rule = format!("a dropped call is brought to its end by sending it again: {call:?}");
            lab.expect(&rule, &token, at(1), &new).await;
            let listed = if let Loaded::Live(record) = &new { vec![&**record] } else { Vec::new() };
            lab.expect_owned(&rule, &owner, at(1), &listed).await;
            if is_complete {
                break;
            }
        }
    }
    for polls in 0.. {
        let is_complete = polled(polls, lab.sweep(1_000, at(1))).await.is_some();
        for (token, canary) in &canaries {
            lab.expect("a dropped sweep removes nothing live", token, at(1), &Loaded::Live(canary.clone().into()))
                .await;
        }
        if is_complete {
            break;
        }
    }
}
