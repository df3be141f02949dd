//! The laws of stores whose token is the session: the client holds all that is stored.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, fails, replace, same, scope, text};
pub(super) use super::records::record_is_loaded_as_it_was_created as record_is_loaded_as_it_was_sealed;
use super::time::expect_absent_for_every_call;
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Entry, Record, Tombstone, TombstoneKind};
use crate::store::{Change, Deadline, Revocation, Revoke, Updated};
use crate::token::{SessionToken, TokenShape};

fn instead(fixture: &Fixture, rule: &str, updated: &Updated) -> SessionToken {
    let Updated::Instead(token) = updated else {
        panic!("broken: {rule}\n  expected: Instead\n       got: {updated:?}")
    };
    fixture.returned(token)
}

pub(super) async fn shape_and_limits_are_declared(fixture: Arc<Fixture>) {
    let shape = fixture.store().token_shape();
    let TokenShape::Sealed { max_len, max_chunks } = shape else { panic!("broken: the shape is Sealed: {shape:?}") };
    assert!(max_len > 0 && (1..=3).contains(&max_chunks), "broken: the shape's limits are possible: {shape:?}");
    let max = fixture.store().max_record_len();
    let max = max.expect("broken: a store whose token is a cookie has a largest record, once it is bound");
    assert!(max < max_len, "broken: a text of {max_len} bytes cannot hold a record of {max} bytes");
}

pub(super) async fn update_seals_the_new_record(fixture: Arc<Fixture>) {
    for (name, deadline) in [("Keep", Deadline::Keep), ("Extend", Deadline::Extend), ("Set", Deadline::Set)] {
        for asked in [at(0) + IDLE - MINUTE, at(0) + IDLE + MINUTE] {
            let (token, record) = fixture.session().await;
            let next = Record { deadline: micros(asked), ..fixture.next(&record, at(1)) };
            let change = Change::Replace(next.clone().into(), deadline);
            let rule = format!("update seals the new record, with the deadline as the change says ({name})");
            let fresh = instead(&fixture, &rule, &fixture.update(&token, record.version(), &change, at(1)).await);
            fixture.expect_live(&rule, &fresh, at(1), &deadline.apply(record.deadline(), next.into())).await;

            let rule = "update from another version is a Conflict";
            let change = replace(&fixture.next(&record, at(1)));
            same(rule, &fixture.update(&fresh, record.version(), &change, at(1)).await, &Updated::Conflict);
        }
    }
    let (token, record) = fixture.session().await;
    let change = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, at(1)));
    let rule = "update to a tombstone from another version is a Conflict";
    same(rule, &fixture.update(&token, fixture.version(), &change, at(1)).await, &Updated::Conflict);
    fixture.apply(&token, &record, &change, at(1)).await;
}

pub(super) async fn touch_seals_the_new_deadline(fixture: Arc<Fixture>) {
    let (mut token, mut record) = fixture.session().await;
    for (rule, deadline) in [
        ("touch seals the session with its new deadline, and the rest as it was", at(60) + IDLE),
        ("touch never moves a deadline back", at(30) + IDLE),
    ] {
        token = instead(&fixture, rule, &fixture.touch(&token, record.version(), deadline, at(60)).await);
        record.touch(deadline, at(60));
        fixture.expect_live(rule, &token, at(61), &record).await;
    }
    let rule = "touch of another version is a Conflict";
    same(rule, &fixture.touch(&token, fixture.version(), at(90) + IDLE, at(61)).await, &Updated::Conflict);
}

pub(super) async fn forged_tokens_are_absent(fixture: Arc<Fixture>) {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let record = fixture.record();
    let whole = text(&fixture.stored(&record).await).into_bytes();
    let other = text(&fixture.stored(&record).await).into_bytes();
    let mut forged = vec![
        ("one digit longer".to_owned(), [whole.as_slice(), b"A"].concat()),
        ("twice".to_owned(), [whole.as_slice(), &whole].concat()),
        ("As of the same length".to_owned(), vec![b'A'; whole.len()]),
    ];
    for index in 0..whole.len() {
        let value = DIGITS.iter().position(|digit| *digit == whole[index]).expect("base64url");
        for bit in 0..6 {
            let mut flipped = whole.clone();
            flipped[index] = DIGITS[value ^ (1 << bit)];
            forged.push((format!("bit {bit} of digit {index} flipped"), flipped));
        }
        forged.push((format!("cut off after {index} digits"), whole[..index].to_vec()));
        let spliced = [&whole[..index], &other[index.min(other.len())..]].concat();
        if spliced != whole && spliced != other {
            forged.push((format!("another session's from digit {index} on"), spliced));
        }
    }
    for len in 1..200 {
        forged.push((format!("{len} random digits"), (0..len).map(|_| DIGITS[fixture.below(64)]).collect()));
    }
    for (name, text) in forged {
        if let Some(token) = SessionToken::parse(&text, fixture.store().token_shape(), scope()) {
            let rule = format!("a forged token is absent ({name})");
            expect_absent_for_every_call(&fixture, &rule, &token, &record, at(1)).await;
        }
    }
    expect_absent_for_every_call(&fixture, "a random token is absent", &fixture.token(), &record, at(1)).await;
}

pub(super) async fn token_shows_nothing_and_is_never_the_same(fixture: Arc<Fixture>) {
    let mut record = fixture.record();
    let marker = "a-value-that-nobody-may-read";
    record.values.insert(&Entry::new(marker, &format!("\"{marker}\"")));
    let mut texts = HashSet::new();
    for _ in 0..100 {
        let text = text(&fixture.stored(&record).await);
        let raw = URL_SAFE_NO_PAD.decode(&text).unwrap_or_default();
        for bytes in [text.as_bytes(), &raw] {
            let shows = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(!shows, "broken: a sealed token shows no value and no key");
        }
        assert!(texts.insert(text), "broken: sealing the same record twice gives different tokens");
    }
}

pub(super) async fn owners_are_unsupported(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    let (token, record) = fixture.owned_session(&owner).await;
    fixture.expect_live("a record with an owner is sealed whole", &token, at(0), &record).await;
    let owned = fixture.store().owned(&owner, at(1)).await;
    fails("`owned` is StoreError::unsupported", &owned, StoreError::is_unsupported);
    for which in [Revoke::All, Revoke::These(vec![record.handle()]), Revoke::Others(record.handle())] {
        let revoked = fixture.store().revoke(&owner, &Revocation::new(which, MINUTE), at(1)).await;
        fails("`revoke` is StoreError::unsupported", &revoked, StoreError::is_unsupported);
    }
    let deleted = fixture.store().delete(&token.key(), MINUTE, at(1)).await;
    fails("`delete` by a key is StoreError::unsupported", &deleted, StoreError::is_unsupported);
    fixture.sweep(10, at(1)).await;
}

/// Takes one session through many random writes and touches, always under its latest token.
pub(super) async fn answers_are_those_of_the_model(fixture: Arc<Fixture>) {
    let mut now = at(0);
    let (mut token, mut record) = fixture.session().await;
    for step in 0..500 {
        now += fixture.one_of([INSTANT, Duration::from_secs(1), MINUTE]);
        let rule = format!("step {step} of a random history is answered as by the model");
        if record.is_expired(now) {
            expect_absent_for_every_call(&fixture, &rule, &token, &record, now).await;
            let seen = micros(now);
            record = Record { created: seen, seen, deadline: micros(now + IDLE), ..fixture.record() };
            token = fixture.stored_at(&record, now).await;
        }
        let deadline = now + fixture.one_of([Duration::from_secs(1), MINUTE, IDLE]);
        if fixture.below(2) == 0 {
            token = instead(&fixture, &rule, &fixture.touch(&token, record.version(), deadline, now).await);
            record.touch(deadline, now);
        } else {
            let next = Record { deadline: micros(deadline), ..fixture.next(&record, now) };
            let moves = fixture.one_of([Deadline::Keep, Deadline::Extend, Deadline::Set]);
            let change = Change::Replace(next.clone().into(), moves);
            token = instead(&fixture, &rule, &fixture.update(&token, record.version(), &change, now).await);
            record = (*moves.apply(record.deadline(), next.into())).clone();
        }
        fixture.expect_live(&rule, &token, now, &record).await;
    }
}
