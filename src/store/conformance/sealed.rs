//! The laws of stores whose token is the session: what the client holds is all there is.

use std::time::{Duration, SystemTime};

use super::lab::{IDLE, INSTANT, Lab, MINUTE, at, replace, same};
use super::records::{samples, too_large};
use super::time::{EDGES, record_at};
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, Revocation, Revoke, Updated};
use crate::token::{SessionToken, TokenShape};

/// Seals a record, takes the token through its text as a client does, and returns it.
async fn sealed(lab: &Lab, record: &Record, now: SystemTime) -> SessionToken {
    let created = lab.create(&lab.token(), record, now).await;
    let Created::Instead(token) = created else {
        panic!("broken: create returns the sealed session\n  expected: Instead\n       got: {created:?}")
    };
    returned(lab, &token)
}

fn returned(lab: &Lab, token: &SessionToken) -> SessionToken {
    let parsed = SessionToken::parse(text(token).as_bytes(), lab.shape());
    parsed.expect("broken: a sealed token has the shape that the store declares")
}

fn text(token: &SessionToken) -> String {
    let mut text = String::new();
    token.write_text(&mut text);
    text
}

fn instead(lab: &Lab, rule: &str, updated: &Updated) -> SessionToken {
    let Updated::Instead(token) = updated else {
        panic!("broken: {rule}\n  expected: Instead\n       got: {updated:?}")
    };
    returned(lab, token)
}

fn fits(lab: &Lab, record: &Record) -> bool {
    lab.store().max_record_len().is_none_or(|max| record.encoded_len() <= max)
}

pub(super) async fn shape_and_limits_are_declared(lab: Lab) {
    let shape = lab.shape();
    let TokenShape::Sealed { max_len, max_chunks } = shape else { panic!("broken: the shape is Sealed: {shape:?}") };
    assert!(max_len > 0 && (1..=3).contains(&max_chunks), "broken: the shape's limits are possible: {shape:?}");
    let max = lab.store().max_record_len();
    let max = max.expect("broken: a store whose token is a cookie has a largest record, once it is bound");
    assert!(max < max_len, "broken: what holds {max_len} bytes of text holds no record of {max} bytes");
}

pub(super) async fn record_is_loaded_as_it_was_sealed(lab: Lab) {
    for (name, record) in samples(&lab).into_iter().filter(|(_, record)| fits(&lab, record)) {
        let token = sealed(&lab, &record, at(0)).await;
        let rule = format!("a record ({name}) is loaded as it was sealed");
        for now in [at(0), at(60)] {
            lab.expect(&rule, &token, now, &Loaded::Live(record.clone().into())).await;
        }
    }
}

pub(super) async fn update_seals_the_new_record(lab: Lab) {
    for (name, deadline) in [("Keep", Deadline::Keep), ("Extend", Deadline::Extend), ("Set", Deadline::Set)] {
        for asked in [at(0) + IDLE - MINUTE, at(0) + IDLE + MINUTE] {
            let record = lab.record();
            let token = sealed(&lab, &record, at(0)).await;
            let next = Record { deadline: micros(asked), ..lab.next(&record, at(1)) };
            let change = Change::Replace(next.clone().into(), deadline);
            let rule = format!("update seals the new record, with the deadline as the change says ({name})");
            let updated = lab.update(&token, record.version(), &change, at(1)).await;
            let fresh = instead(&lab, &rule, &updated);
            let expected = deadline.apply(record.deadline(), next.into());
            lab.expect(&rule, &fresh, at(1), &Loaded::Live(expected)).await;

            let rule = "update from another version is a Conflict";
            let change = replace(&lab.next(&record, at(1)));
            same(rule, &lab.update(&fresh, record.version(), &change, at(1)).await, &Updated::Conflict);
        }
    }
    let record = lab.record();
    let token = sealed(&lab, &record, at(0)).await;
    let change = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, at(1)));
    let rule = "update to a tombstone from another version is a Conflict";
    same(rule, &lab.update(&token, lab.version(), &change, at(1)).await, &Updated::Conflict);
    let rule = "update to a tombstone is Done";
    same(rule, &lab.update(&token, record.version(), &change, at(1)).await, &Updated::Done);
    let token = sealed(&lab, &lab.record(), at(0)).await;
    same("delete of a live session is Done", &lab.delete(&token, MINUTE, at(1)).await, &Deleted::Done);
}

pub(super) async fn touch_seals_the_new_deadline(lab: Lab) {
    let mut record = lab.record();
    let mut token = sealed(&lab, &record, at(0)).await;
    for (rule, deadline) in [
        ("touch seals the session with its new deadline, and the rest as it was", at(60) + IDLE),
        ("touch never moves a deadline back", at(30) + IDLE),
    ] {
        token = instead(&lab, rule, &lab.touch(&token, record.version(), deadline, at(60)).await);
        record.touch(deadline, at(60));
        lab.expect(rule, &token, at(61), &Loaded::Live(record.clone().into())).await;
    }
    let rule = "touch of another version is a Conflict";
    same(rule, &lab.touch(&token, lab.version(), at(90) + IDLE, at(61)).await, &Updated::Conflict);
}

pub(super) async fn what_ends_now_is_absent_for_every_method(lab: Lab) {
    let record = lab.record();
    let token = sealed(&lab, &record, at(0)).await;
    let end = at(0) + IDLE;
    lab.expect("a session is live until its deadline", &token, end - INSTANT, &Loaded::Live(record.clone().into()))
        .await;
    for late in [Duration::ZERO, INSTANT, 100 * IDLE] {
        is_absent(&lab, &format!("a session is absent {late:?} after its deadline"), &token, &record, end + late).await;
    }
}

pub(super) async fn clock_that_goes_back_revives_nothing(lab: Lab) {
    let end = at(0) + IDLE;
    for found_by in ["load", "update", "touch", "delete"] {
        let record = lab.record();
        let token = sealed(&lab, &record, at(0)).await;
        let change = replace(&lab.next(&record, end));
        match found_by {
            "load" => lab.expect(found_by, &token, end, &Loaded::Absent).await,
            "update" => {
                same(found_by, &lab.update(&token, record.version(), &change, end).await, &Updated::Gone);
            }
            "touch" => {
                same(found_by, &lab.touch(&token, record.version(), end + IDLE, end).await, &Updated::Gone);
            }
            _ => same(found_by, &lab.delete(&token, MINUTE, end).await, &Deleted::Absent),
        }
        for back in [INSTANT, MINUTE, IDLE] {
            let rule = format!("what {found_by} found expired stays absent {back:?} before");
            is_absent(&lab, &rule, &token, &record, end - back).await;
        }
    }
    let long = Record { deadline: micros(end + 1_000 * IDLE), ..lab.record() };
    let token = sealed(&lab, &long, at(0)).await;
    let rule = "a wild clock finds a long session expired";
    lab.expect(rule, &token, long.deadline(), &Loaded::Absent).await;
    let record = lab.record();
    let fresh = sealed(&lab, &record, at(0)).await;
    let rule = "a session that begins after a step back lives, whatever was found expired before";
    lab.expect(rule, &fresh, at(1), &Loaded::Live(record.into())).await;
}

async fn is_absent(lab: &Lab, rule: &str, token: &SessionToken, record: &Record, now: SystemTime) {
    lab.expect(rule, token, now, &Loaded::Absent).await;
    let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE, now);
    for change in [replace(&lab.next(record, now)), Change::Retire(stone)] {
        same(rule, &lab.update(token, record.version(), &change, now).await, &Updated::Gone);
    }
    same(rule, &lab.touch(token, record.version(), now + IDLE, now).await, &Updated::Gone);
    same(rule, &lab.delete(token, MINUTE, now).await, &Deleted::Absent);
}

pub(super) async fn times_from_1970_to_9999_are_exact(lab: Lab) {
    for (name, seconds) in EDGES {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let record = record_at(lab.record(), now);
        let token = sealed(&lab, &record, now).await;
        let rule = format!("times are kept to the microsecond ({name})");
        lab.expect(&rule, &token, record.deadline() - INSTANT, &Loaded::Live(record.clone().into())).await;
        lab.expect(&rule, &token, record.deadline(), &Loaded::Absent).await;
    }
}

pub(super) async fn forged_tokens_are_absent(lab: Lab) {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let record = lab.record();
    let whole = text(&sealed(&lab, &record, at(0)).await).into_bytes();
    let other = text(&sealed(&lab, &record, at(0)).await).into_bytes();
    let mut forged = Vec::new();
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
    forged.push(("one digit longer".to_owned(), [whole.as_slice(), b"A"].concat()));
    forged.push(("twice".to_owned(), [whole.as_slice(), &whole].concat()));
    forged.push(("As of the same length".to_owned(), vec![b'A'; whole.len()]));
    for len in 1..200 {
        forged.push((format!("{len} random digits"), (0..len).map(|_| DIGITS[lab.below(64)]).collect()));
    }
    for (name, text) in forged {
        if let Some(token) = SessionToken::parse(&text, lab.shape()) {
            is_absent(&lab, &format!("a forged token is absent ({name})"), &token, &record, at(1)).await;
        }
    }
    is_absent(&lab, "a random token is absent", &lab.token(), &record, at(1)).await;
}

pub(super) async fn token_shows_nothing_and_is_never_the_same(lab: Lab) {
    use base64::Engine as _;
    let mut record = lab.record();
    let marker = "a-value-that-nobody-may-read";
    record.values.insert(crate::record::Entry::new(marker, &format!("\"{marker}\"")));
    let mut texts = std::collections::HashSet::new();
    for _ in 0..100 {
        let text = text(&sealed(&lab, &record, at(0)).await);
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&text).unwrap_or_default();
        for bytes in [text.as_bytes(), &raw] {
            let shows = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(!shows, "broken: a sealed token shows no value and no key");
        }
        assert!(texts.insert(text), "broken: sealing the same record twice gives different tokens");
    }
}

pub(super) async fn record_over_the_limit_is_a_typed_error(lab: Lab) {
    let Some(max) = lab.store().max_record_len() else { return };
    let largest = lab.record_of_len(max);
    let token = sealed(&lab, &largest, at(0)).await;
    lab.expect("a record of the greatest length is sealed whole", &token, at(0), &Loaded::Live(largest.clone().into()))
        .await;
    let larger = lab.record_of_len(max + 1);
    let refused = lab.store().create(&lab.token(), &larger.clone().into(), at(1)).await;
    too_large("create of a record over max_record_len", &refused);
    let change = replace(&Record { version: lab.version(), ..larger });
    let refused = lab.store().update(&token, largest.version(), &change, at(1)).await;
    too_large("update to a record over max_record_len", &refused);
}

pub(super) async fn owners_are_unsupported(lab: Lab) {
    let owner = lab.owner();
    let record = lab.owned_record(&owner, at(0));
    let token = sealed(&lab, &record, at(0)).await;
    lab.expect("a record with an owner is sealed whole", &token, at(0), &Loaded::Live(record.clone().into())).await;
    let owned = lab.store().owned(&owner, at(1)).await;
    let is_unsupported = owned.as_ref().is_err_and(StoreError::is_unsupported);
    assert!(is_unsupported, "broken: `owned` is StoreError::unsupported\n  got: {owned:?}");
    for which in [Revoke::All, Revoke::One(record.handle()), Revoke::Others(record.handle())] {
        let revoked = lab.store().revoke(&owner, &Revocation::new(which, at(1), MINUTE), at(1)).await;
        let is_unsupported = revoked.as_ref().is_err_and(StoreError::is_unsupported);
        assert!(is_unsupported, "broken: `revoke` is StoreError::unsupported\n  got: {revoked:?}");
    }
    lab.sweep(10, at(1)).await;
}

/// One session through many random writes and touches, always under its latest token.
pub(super) async fn answers_are_those_of_the_model(lab: Lab) {
    let mut record = lab.record();
    let mut now = at(0);
    let mut token = sealed(&lab, &record, now).await;
    for step in 0..500 {
        now += [INSTANT, Duration::from_secs(1), MINUTE][lab.below(3)];
        let rule = format!("step {step} of a random history is answered as by the model");
        if record.is_expired(now) {
            is_absent(&lab, &rule, &token, &record, now).await;
            let seen = micros(now);
            record = Record { created: seen, seen, deadline: micros(now + IDLE), ..lab.record() };
            token = sealed(&lab, &record, now).await;
        }
        let deadline = now + [Duration::from_secs(1), MINUTE, IDLE][lab.below(3)];
        if lab.below(2) == 0 {
            token = instead(&lab, &rule, &lab.touch(&token, record.version(), deadline, now).await);
            record.touch(deadline, now);
        } else {
            let next = Record { deadline: micros(deadline), ..lab.next(&record, now) };
            let moves = [Deadline::Keep, Deadline::Extend, Deadline::Set][lab.below(3)];
            let change = Change::Replace(next.clone().into(), moves);
            token = instead(&lab, &rule, &lab.update(&token, record.version(), &change, now).await);
            record = (*moves.apply(record.deadline(), next.into())).clone();
        }
        lab.expect(&rule, &token, now, &Loaded::Live(record.clone().into())).await;
    }
}
