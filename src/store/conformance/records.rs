//! Records and tombstones: what each method answers, and leaves, in each state.

use std::time::Duration;

use super::lab::{IDLE, INSTANT, Lab, MINUTE, at, replace, same, values};
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, Updated};
use crate::token::SessionToken;

pub(super) async fn record_is_loaded_as_it_was_created(lab: Lab) {
    for (name, record) in samples(&lab) {
        if lab.store().max_record_len().is_some_and(|max| max < record.encoded_len()) {
            continue;
        }
        let token = lab.stored(&record).await;
        let rule = format!("a record ({name}) is loaded as it was created");
        lab.expect(&rule, &token, at(0), &Loaded::Live(record.clone().into())).await;
        lab.expect(&rule, &token, at(60), &Loaded::Live(record.into())).await;
    }
    lab.expect("a token that nothing is stored for is absent", &lab.token(), at(0), &Loaded::Absent).await;
}

/// Records of every kind, by name.
pub(super) fn samples(lab: &Lab) -> Vec<(&'static str, Record)> {
    let nested = format!("{}0{}", "[".repeat(100), "]".repeat(100));
    let many: Vec<_> = (0..300).map(|key| (format!("key-{key}"), key.to_string())).collect();
    let many = values(many.iter().map(|(key, json)| (key.as_str(), json.as_str())));
    let kinds = [
        ("", "\"the empty key\""),
        ("escaped", r#""\u0000\u001f\"\\\n\ud83d\ude00""#),
        ("ключ 🔑 'quoted' %00", "\"žluťoučký 馬 \u{7f}\u{ffff}\""),
        ("nested", &nested),
        ("number", "-1.7976931348623157e308"),
        ("nothing", "null"),
    ];
    let full = Record {
        idle: micros(at(0)),
        renewed: u32::MAX,
        csrf: [0xff; crate::record::CSRF_LEN],
        pinned: true,
        flash: values([("notice", "\"hi\""), ("mark", "1")]),
        values: values(kinds),
        ..lab.owned_record("ада 'd;\"a\\ %_*\u{1f}", at(0) - MINUTE)
    };
    vec![
        ("empty", Record { values: values([]), ..lab.record() }),
        ("with owner, flash, CSRF secret and values of every kind", full),
        ("with bytes of zero", Record { csrf: [0; crate::record::CSRF_LEN], ..lab.record() }),
        ("with flash only", Record { flash: values(kinds), values: values([]), ..lab.record() }),
        ("of 300 keys", Record { values: many, ..lab.record() }),
        ("of 64 kB", lab.record_of_len(64 * 1024)),
    ]
}

pub(super) async fn create_never_overwrites(lab: Lab) {
    let (first, other) = (lab.record(), lab.record());
    let token = lab.stored(&first).await;
    same("create on a live session is Taken", &lab.create(&token, &other, at(1)).await, &Created::Taken);
    lab.expect("create leaves a live session alone", &token, at(1), &Loaded::Live(first.clone().into())).await;

    let rule = "a create that is sent again is Stored and changes nothing";
    let mut touched = first.clone();
    touched.touch(at(60) + IDLE, at(60));
    same("touch of a live session", &lab.touch(&token, first.version(), at(60) + IDLE, at(60)).await, &Updated::Done);
    same(rule, &lab.create(&token, &first, at(61)).await, &Created::Stored);
    lab.expect(rule, &token, at(61), &Loaded::Live(touched.into())).await;

    let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(62));
    same("delete of a live session", &lab.delete(&token, MINUTE, at(62)).await, &Deleted::Done);
    for (name, record) in [("another", &other), ("the same", &first)] {
        let rule = format!("create of {name} record on a tombstone is Taken and leaves it alone");
        same(&rule, &lab.create(&token, record, at(63)).await, &Created::Taken);
        lab.expect(&rule, &token, at(63), &Loaded::Tombstone(stone.clone())).await;
    }
}

pub(super) async fn update_replaces_the_record_once(lab: Lab) {
    for (name, sample) in samples(&lab) {
        if lab.store().max_record_len().is_some_and(|max| max < sample.encoded_len()) {
            continue;
        }
        let owner = sample.owner().map(str::to_owned);
        let record = owner.map_or_else(|| lab.record(), |owner| lab.owned_record(&owner, at(0) - MINUTE));
        let (token, bystander) = (lab.stored(&record).await, lab.record());
        let other = lab.stored(&bystander).await;
        let mut next = Record { version: lab.version(), handle: record.handle, ..sample };
        next.seen = micros(at(5));
        let rule = format!("update at the current version replaces the whole record ({name})");
        same(&rule, &lab.update(&token, record.version(), &replace(&next), at(5)).await, &Updated::Done);
        lab.expect(&rule, &token, at(5), &Loaded::Live(next.clone().into())).await;

        let rule = "an update that is sent again is Done and not applied twice";
        same("touch", &lab.touch(&token, next.version(), at(9) + IDLE, at(9)).await, &Updated::Done);
        let again = Change::Replace(next.clone().into(), Deadline::Set);
        same(rule, &lab.update(&token, record.version(), &again, at(10)).await, &Updated::Done);
        next.touch(at(9) + IDLE, at(9));
        lab.expect(rule, &token, at(10), &Loaded::Live(next.into())).await;
        lab.expect("a change concerns its own token only", &other, at(10), &Loaded::Live(bystander.into())).await;
    }
}

pub(super) async fn update_of_what_is_not_live_creates_nothing(lab: Lab) {
    let record = lab.record();
    let next = lab.next(&record, at(1));
    let missing = lab.token();
    for change in [replace(&next), Change::Retire(lab.renewed(&missing, at(1)))] {
        let rule = "update of what is not there is Gone and creates nothing";
        for version in [record.version(), next.version()] {
            same(rule, &lab.update(&missing, version, &change, at(1)).await, &Updated::Gone);
            lab.expect(rule, &missing, at(1), &Loaded::Absent).await;
        }
    }
    for tombstone in [MINUTE, Duration::ZERO] {
        let token = lab.stored(&record).await;
        same("delete of a live session", &lab.delete(&token, tombstone, at(1)).await, &Deleted::Done);
        let before = lab.load(&token, at(2)).await;
        for change in [replace(&next), replace(&record), Change::Retire(lab.renewed(&token, at(2)))] {
            let rule = "update of a session that has ended is Gone and changes nothing";
            same(rule, &lab.update(&token, record.version(), &change, at(2)).await, &Updated::Gone);
            lab.expect(rule, &token, at(2), &before).await;
        }
    }
}

pub(super) async fn update_at_another_version_changes_nothing(lab: Lab) {
    let record = lab.record();
    let token = lab.stored(&record).await;
    let second = lab.next(&record, at(1));
    same("update", &lab.update(&token, record.version(), &replace(&second), at(1)).await, &Updated::Done);
    for version in [record.version(), lab.version()] {
        for change in [replace(&lab.next(&record, at(2))), Change::Retire(lab.renewed(&token, at(2)))] {
            let rule = "update from another version is a Conflict and changes nothing";
            same(rule, &lab.update(&token, version, &change, at(2)).await, &Updated::Conflict);
            lab.expect(rule, &token, at(2), &Loaded::Live(second.clone().into())).await;
        }
    }
}

pub(super) async fn deadline_moves_only_as_the_change_says(lab: Lab) {
    let stored = at(100) + IDLE;
    for (name, deadline, asked, expected) in [
        ("Keep, later", Deadline::Keep, stored + MINUTE, stored),
        ("Keep, earlier", Deadline::Keep, stored - MINUTE, stored),
        ("Extend, later", Deadline::Extend, stored + MINUTE, stored + MINUTE),
        ("Extend, earlier", Deadline::Extend, stored - MINUTE, stored),
        ("Set, later", Deadline::Set, stored + MINUTE, stored + MINUTE),
        ("Set, earlier", Deadline::Set, stored - MINUTE, stored - MINUTE),
    ] {
        let record = lab.record();
        let token = lab.stored(&record).await;
        // A touch moves the stored deadline away from that of the record which the change was made of.
        same("touch", &lab.touch(&token, record.version(), stored, at(100)).await, &Updated::Done);
        let mut next = Record { deadline: micros(asked), ..lab.next(&record, at(101)) };
        let change = Change::Replace(next.clone().into(), deadline);
        same("update", &lab.update(&token, record.version(), &change, at(101)).await, &Updated::Done);
        next.deadline = micros(expected);
        let rule = format!("the deadline of an update moves as the change says ({name})");
        lab.expect(&rule, &token, at(101), &Loaded::Live(next.into())).await;
        lab.expect(&rule, &token, expected - INSTANT, &lab.load(&token, at(101)).await).await;
        lab.expect(&rule, &token, expected, &Loaded::Absent).await;
    }
}

pub(super) async fn touch_moves_the_deadline_and_nothing_else(lab: Lab) {
    for (name, mut record) in samples(&lab).into_iter().take(3) {
        let token = lab.stored(&record).await;
        for (rule, deadline, now) in [
            ("a touch moves the deadline and leaves the rest", at(60) + IDLE, at(60)),
            ("a touch that is sent again changes nothing", at(60) + IDLE, at(60)),
            ("a touch never moves a deadline back", at(30) + IDLE, at(61)),
            ("a touch by a clock that went back moves nothing back", at(62) + IDLE, at(59)),
        ] {
            let rule = format!("{rule} ({name})");
            same(&rule, &lab.touch(&token, record.version(), deadline, now).await, &Updated::Done);
            record.touch(deadline, now);
            lab.expect(&rule, &token, at(62), &Loaded::Live(record.clone().into())).await;
        }
        lab.expect(
            "a touched session lives until its new deadline",
            &token,
            at(61) + IDLE,
            &Loaded::Live(record.into()),
        )
        .await;
        lab.expect("a touched session ends at its new deadline", &token, at(62) + IDLE, &Loaded::Absent).await;
    }
}

pub(super) async fn touch_of_anything_else_does_nothing(lab: Lab) {
    let (missing, version, later) = (lab.token(), lab.version(), at(60) + IDLE);
    let rule = "touch of what is not there is Gone and creates nothing";
    same(rule, &lab.touch(&missing, version, later, at(1)).await, &Updated::Gone);
    lab.expect(rule, &missing, at(1), &Loaded::Absent).await;

    let record = lab.record();
    let token = lab.stored(&record).await;
    let rule = "touch of another version is a Conflict and moves nothing";
    same(rule, &lab.touch(&token, version, later, at(1)).await, &Updated::Conflict);
    lab.expect(rule, &token, at(1), &Loaded::Live(record.clone().into())).await;

    let stone = lab.renewed(&token, at(2));
    let change = Change::Retire(stone.clone());
    same("update", &lab.update(&token, record.version(), &change, at(2)).await, &Updated::Done);
    let rule = "touch of a session that has ended is Gone and moves nothing";
    same(rule, &lab.touch(&token, record.version(), later, at(3)).await, &Updated::Gone);
    lab.expect(rule, &token, at(3), &Loaded::Tombstone(stone)).await;
}

pub(super) async fn delete_ends_a_session_once(lab: Lab) {
    let missing = lab.token();
    let rule = "delete of what is not there is Absent and leaves nothing";
    same(rule, &lab.delete(&missing, MINUTE, at(1)).await, &Deleted::Absent);
    lab.expect(rule, &missing, at(1), &Loaded::Absent).await;

    let bystander = lab.record();
    let other = lab.stored(&bystander).await;
    let record = lab.record();
    let token = lab.stored(&record).await;
    let next = lab.next(&record, at(1));
    same("update", &lab.update(&token, record.version(), &replace(&next), at(1)).await, &Updated::Done);
    let rule = "delete ends a session whatever its version and leaves a tombstone for that long";
    let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(2));
    same(rule, &lab.delete(&token, MINUTE, at(2)).await, &Deleted::Done);
    lab.expect(rule, &token, at(2), &Loaded::Tombstone(stone.clone())).await;
    for again in [2 * MINUTE, Duration::ZERO] {
        let rule = "delete of a session that has ended returns its tombstone and leaves it as it is";
        same(rule, &lab.delete(&token, again, at(3)).await, &Deleted::Retired(stone.clone()));
        lab.expect(rule, &token, at(3), &Loaded::Tombstone(stone.clone())).await;
    }

    let token = lab.stored(&lab.record()).await;
    let rule = "delete with a duration of zero leaves nothing";
    same(rule, &lab.delete(&token, Duration::ZERO, at(4)).await, &Deleted::Done);
    lab.expect(rule, &token, at(4), &Loaded::Absent).await;
    same(rule, &lab.delete(&token, Duration::ZERO, at(4)).await, &Deleted::Absent);
    lab.expect("delete concerns its own token only", &other, at(4), &Loaded::Live(bystander.into())).await;
}

pub(super) async fn tombstone_survives_unchanged(lab: Lab) {
    use TombstoneKind::{Destroyed, Emptied, Forwarded, Renewed, Revoked};
    for kind in [Destroyed, Renewed, Forwarded, Revoked, Emptied] {
        let record = lab.record();
        let token = lab.stored(&record).await;
        let mut stone = Tombstone::new(kind, MINUTE, at(1));
        let successor = matches!(kind, Renewed | Forwarded).then(|| lab.token());
        if let Some(new) = &successor {
            stone = stone.with_successor(&token, new, lab.bytes());
        }
        let change = Change::Retire(stone.clone());
        let rule = format!("update leaves the tombstone that it was given ({kind:?})");
        same(&rule, &lab.update(&token, record.version(), &change, at(1)).await, &Updated::Done);
        let loaded = lab.load(&token, at(2)).await;
        let Loaded::Tombstone(found) = &loaded else { panic!("broken: {rule}\n  got: {loaded:?}") };
        same(&rule, found, &stone);
        same("a tombstone is kept byte for byte", &found.encode(), &stone.encode());
        same("a tombstone still opens to its successor", &found.successor(&token), &successor);
        let other = Change::Retire(lab.renewed(&token, at(3)));
        let rule = "a tombstone stays as it is, whatever comes";
        same(rule, &lab.update(&token, record.version(), &other, at(3)).await, &Updated::Gone);
        same(rule, &lab.delete(&token, 2 * MINUTE, at(3)).await, &Deleted::Retired(stone.clone()));
        lab.expect(rule, &token, at(3), &Loaded::Tombstone(stone)).await;
    }
}

pub(super) async fn record_over_the_limit_is_a_typed_error(lab: Lab) {
    // Where the store names no limit, or one that no layer comes near, it holds what the layer allows by default.
    let limit = lab.store().max_record_len().filter(|max| *max <= 16 << 20);
    let max = limit.unwrap_or(1 << 20);
    let largest = lab.record_of_len(max);
    let token = lab.stored(&largest).await;
    lab.expect("a record of the greatest length is loaded whole", &token, at(0), &Loaded::Live(largest.clone().into()))
        .await;
    if limit.is_none() {
        return;
    }
    let larger = lab.record_of_len(max + 1);
    let fresh = lab.token();
    let refused = lab.store().create(&fresh, &larger.clone().into(), at(1)).await;
    too_large("create of a record over max_record_len", &refused);
    lab.expect("a record that was refused is not stored", &fresh, at(1), &Loaded::Absent).await;
    let change = replace(&Record { version: lab.version(), ..larger });
    let refused = lab.store().update(&token, largest.version(), &change, at(1)).await;
    too_large("update to a record over max_record_len", &refused);
    lab.expect("an update that was refused changes nothing", &token, at(1), &Loaded::Live(largest.into())).await;
}

pub(super) fn too_large<T: std::fmt::Debug>(what: &str, answer: &Result<T, StoreError>) {
    let is_typed = answer.as_ref().is_err_and(StoreError::is_too_large);
    assert!(is_typed, "broken: {what} is StoreError::too_large\n  got: {answer:?}");
}

pub(super) async fn token_of_another_shape_is_absent(lab: Lab) {
    let record = lab.record();
    lab.stored(&record).await;
    let long = "A".repeat(8 * 1024);
    for text in ["A", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "etc-passwd", &long] {
        let token = SessionToken::from_sealed(text.to_owned()).expect("base64url text");
        let rule = format!("a sealed token of {} bytes is absent for every method", text.len());
        lab.expect(&rule, &token, at(1), &Loaded::Absent).await;
        let change = replace(&lab.next(&record, at(1)));
        same(&rule, &lab.update(&token, record.version(), &change, at(1)).await, &Updated::Gone);
        same(&rule, &lab.touch(&token, record.version(), at(1) + IDLE, at(1)).await, &Updated::Gone);
        same(&rule, &lab.delete(&token, MINUTE, at(1)).await, &Deleted::Absent);
        lab.expect(&rule, &token, at(1), &Loaded::Absent).await;
    }
}
