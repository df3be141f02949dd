//! Owners' lists, and revocation.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, live, replace, same};
use crate::record::{Tombstone, TombstoneKind};
use crate::store::{Change, Loaded, Revoke, Updated};

pub(super) async fn owner_list_follows_the_sessions(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    fixture.expect_owned("an owner without sessions has an empty list", &owner, at(0), &[]).await;
    let mut first = fixture.owned_record(&owner, at(0) - MINUTE);
    let second = fixture.owned_record(&owner, at(0) - INSTANT);
    let (token, other) = (fixture.stored(&first).await, fixture.stored(&second).await);
    fixture.session().await;
    fixture.expect_owned("create enters a session in its owner's list", &owner, at(0), &[&first, &second]).await;
    fixture.create(&token, &first, at(0)).await;
    fixture.expect_owned("a create that is sent again enters nothing", &owner, at(0), &[&first, &second]).await;
    fixture.create(&token, &fixture.owned_record(&owner, at(0)), at(0)).await;
    fixture.expect_owned("a create that is Taken enters nothing", &owner, at(0), &[&first, &second]).await;

    first = fixture.updated(&token, &first, at(1)).await;
    fixture.expect_owned("the list shows when a session was last written", &owner, at(1), &[&first, &second]).await;
    fixture.touched(&token, &mut first, at(2) + IDLE, at(2)).await;
    fixture.expect_owned("the list shows when a session was last touched", &owner, at(2), &[&first, &second]).await;

    // A renewal: the new record keeps the handle.
    let renewed = fixture.next(&first, at(3));
    fixture.stored_at(&renewed, at(3)).await;
    fixture.apply(&token, &first, &Change::Retire(fixture.renewed(at(3))), at(3)).await;
    fixture.expect_owned("a renewed session is listed once", &owner, at(3), &[&renewed, &second]).await;

    fixture.deleted(&other, MINUTE, at(4)).await;
    fixture.expect_owned("a deleted session leaves the list", &owner, at(4), &[&renewed]).await;
    fixture.expect_owned("an expired session leaves the list", &owner, at(3) + IDLE, &[]).await;
}

pub(super) async fn owners_are_told_apart(fixture: Arc<Fixture>) {
    let base = fixture.owner();
    let suffixes =
        ["A", "a", "a ", " a", "á", "a\u{301}", "%", "_", "'--", "\"", "\\", "/../x", ":", "{1}", "*", "\n", "ß", "ss"];
    let mut owners = vec![base.repeat(20)];
    owners.extend(suffixes.map(|suffix| format!("{base}{suffix}")));
    let mut sessions = Vec::new();
    for owner in owners {
        let (token, record) = fixture.owned_session(&owner).await;
        sessions.push((owner, token, record));
    }
    for (owner, _, record) in &sessions {
        let rule = format!("owners are told apart byte for byte ({owner:?})");
        fixture.expect_owned(&rule, owner, at(0), &[record]).await;
    }
    for (index, (owner, ..)) in sessions.iter().enumerate() {
        let rule = format!("revoking an owner's sessions leaves everybody else's ({owner:?})");
        same(&rule, &fixture.revoke(owner, Revoke::All, MINUTE, at(1)).await, &1);
        for (_, token, record) in &sessions[index + 1..] {
            fixture.expect_live(&rule, token, at(1), record).await;
        }
    }
}

pub(super) async fn revocation_ends_what_it_names(fixture: Arc<Fixture>) {
    let (ada, bob) = (fixture.owner(), fixture.owner());
    let mut sessions = Vec::new();
    for owner in [&ada, &ada, &ada, &ada, &bob] {
        sessions.push(fixture.owned_session(owner).await);
    }
    sessions.push(fixture.session().await);
    let mut states: Vec<_> = sessions.iter().map(|(_, record)| live(record)).collect();
    let handle = |index: usize| sessions[index].1.handle();

    fixture.deleted(&sessions[3].0, 2 * IDLE, at(1)).await;
    states[3] = Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, 2 * IDLE, at(1)));
    for (name, owner, which, second, ended) in [
        ("These: none", &ada, Revoke::These(vec![]), 2, vec![]),
        ("These: a handle that nobody has", &ada, Revoke::These(vec![fixture.handle()]), 2, vec![]),
        ("These: somebody else's handle", &ada, Revoke::These(vec![handle(4)]), 3, vec![]),
        ("These: an anonymous session's handle", &ada, Revoke::These(vec![handle(5)]), 4, vec![]),
        ("These: a session that has ended", &ada, Revoke::These(vec![handle(3)]), 5, vec![]),
        ("These", &ada, Revoke::These(vec![handle(4), handle(0), handle(0)]), 6, vec![0]),
        ("These, again", &ada, Revoke::These(vec![handle(0)]), 7, vec![]),
        ("Others", &ada, Revoke::Others(handle(1)), 8, vec![2]),
        ("Others, again", &ada, Revoke::Others(handle(1)), 9, vec![]),
        ("All", &ada, Revoke::All, 10, vec![1]),
        ("All, again", &ada, Revoke::All, 11, vec![]),
        ("Others but somebody else's", &bob, Revoke::Others(handle(0)), 12, vec![4]),
    ] {
        let rule = format!("a revocation ends what it names, nothing else, and counts it: {name}");
        same(&rule, &fixture.revoke(owner, which, MINUTE, at(second)).await, &ended.len());
        for index in ended {
            states[index] = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(second)));
        }
        // All rows run before the first tombstone ends.
        for ((token, _), state) in sessions.iter().zip(&states) {
            fixture.expect(&rule, token, at(second), state).await;
        }
        let is_live = |index: &usize| matches!(states[*index], Loaded::Live(_));
        let live: Vec<_> = (0..3).filter(is_live).map(|index| &sessions[index].1).collect();
        fixture.expect_owned(&rule, &ada, at(second), &live).await;
    }
    let (token, record) = &sessions[0];
    let rule = "a revoked session is Gone";
    let change = replace(&fixture.next(record, at(13)));
    same(rule, &fixture.update(token, record.version(), &change, at(13)).await, &Updated::Gone);
    same(rule, &fixture.touch(token, record.version(), at(13) + IDLE, at(13)).await, &Updated::Gone);

    let owner = fixture.owner();
    let (token, _) = fixture.owned_session(&owner).await;
    let rule = "a revocation with a duration of zero leaves nothing";
    same(rule, &fixture.revoke(&owner, Revoke::All, Duration::ZERO, at(14)).await, &1);
    fixture.expect_absent(rule, &token, at(14)).await;
}

/// Revokes a large part of an owner's sessions by their handles, as a layer does after the limit was lowered.
pub(super) async fn revocation_of_many_sessions_ends_each_of_them(fixture: Arc<Fixture>) {
    let count = if fixture.store().is_immediate() { 400 } else { 100 };
    let (owner, other) = (fixture.owner(), fixture.owner());
    let (bystander, bystander_record) = fixture.owned_session(&other).await;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(fixture.owned_session(&owner).await);
    }
    let rule = "a revocation of many sessions ends exactly those, in one call, and counts them";
    let (kept, ended): (Vec<_>, Vec<_>) = sessions.iter().enumerate().partition(|(index, _)| index % 10 == 3);
    let handles: Vec<_> = ended.iter().rev().map(|(_, (_, record))| record.handle()).collect();
    let which = || Revoke::These(handles.clone());
    same(rule, &fixture.revoke(&other, which(), MINUTE, at(1)).await, &0);
    same(rule, &fixture.revoke(&owner, Revoke::These(Vec::new()), MINUTE, at(1)).await, &0);
    same(rule, &fixture.revoke(&owner, which(), MINUTE, at(1)).await, &ended.len());
    let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(1)));
    for (_, (token, _)) in &ended {
        fixture.expect(rule, token, at(1), &stone).await;
    }
    for (_, (token, record)) in &kept {
        fixture.expect_live(rule, token, at(1), record).await;
    }
    let listed: Vec<_> = kept.iter().map(|(_, (_, record))| record).collect();
    fixture.expect_owned(rule, &owner, at(1), &listed).await;
    same(rule, &fixture.revoke(&owner, which(), MINUTE, at(2)).await, &0);
    let rule = "a revocation ends all sessions of an owner who has many";
    same(rule, &fixture.revoke(&owner, Revoke::Others(kept[0].1.1.handle()), MINUTE, at(3)).await, &(kept.len() - 1));
    fixture.expect_owned(rule, &owner, at(3), &[&kept[0].1.1]).await;
    fixture.expect_live(rule, &bystander, at(3), &bystander_record).await;
}

pub(super) async fn sessions_are_counted_or_counting_is_unsupported(fixture: Arc<Fixture>) {
    let (ada, bob) = (fixture.owner(), fixture.owner());
    let expect = async |rule: &str, now, counts: [usize; 3]| {
        for (owner, count) in [Some(ada.as_str()), Some(bob.as_str()), None].into_iter().zip(counts) {
            let got = fixture.store().count(owner, now).await;
            let is_right = match &got {
                Ok(got) => *got == count,
                Err(error) => error.is_unsupported(),
            };
            let whose = if owner.is_some() { "an owner's" } else { "all" };
            assert!(is_right, "broken: {rule} ({whose})\n  expected: {count}, or unsupported\n       got: {got:?}");
        }
    };
    expect("a store without sessions counts none", at(0), [0, 0, 0]).await;
    let mut sessions = Vec::new();
    for owner in [&ada, &ada, &ada, &ada, &bob] {
        sessions.push(fixture.owned_session(owner).await);
    }
    let (token, record) = fixture.session().await;
    expect("each live session counts", at(0), [4, 1, 6]).await;
    fixture.updated(&token, &record, at(1)).await;
    fixture.create(&sessions[0].0, &sessions[0].1, at(1)).await;
    expect("a session counts once, however often it was written", at(1), [4, 1, 6]).await;
    let next = fixture.next(&sessions[0].1, at(2));
    fixture.stored_at(&next, at(2)).await;
    fixture.apply(&sessions[0].0, &sessions[0].1, &Change::Retire(fixture.renewed(at(2))), at(2)).await;
    expect("a renewed session counts once", at(2), [4, 1, 6]).await;
    fixture.deleted(&sessions[1].0, MINUTE, at(3)).await;
    fixture.deleted(&token, Duration::ZERO, at(3)).await;
    expect("a session that was deleted does not count", at(3), [3, 1, 4]).await;
    fixture.revoke(&ada, Revoke::These(vec![sessions[2].1.handle()]), MINUTE, at(4)).await;
    expect("a session that was revoked does not count", at(4), [2, 1, 3]).await;
    fixture.revoke(&ada, Revoke::All, Duration::ZERO, at(5)).await;
    expect("after all were revoked none counts", at(5), [0, 1, 1]).await;
    let rule = "a session that has expired counts until it is swept, or not at all";
    let counted = fixture.store().count(Some(&bob), at(0) + IDLE).await;
    assert!(!counted.as_ref().is_ok_and(|count| *count > 1), "broken: {rule}\n  got: {counted:?}");
}
