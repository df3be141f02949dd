//! Records and tombstones: what each call answers, and leaves, in each state.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, fails, replace, same, values};
use super::time::expect_absent_for_every_call;
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{CSRF_LEN, Extensions, Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, Updated};
use crate::token::SessionToken;

pub(super) async fn record_is_loaded_as_it_was_created(fixture: Arc<Fixture>) {
    for (name, record) in samples(&fixture) {
        let token = fixture.stored(&record).await;
        for now in [at(0), at(60)] {
            fixture.expect_live(format!("a record ({name}) is loaded as it was created"), &token, now, &record).await;
        }
    }
    fixture.expect_absent("a token that nothing is stored for is absent", &fixture.token(), at(0)).await;
}

/// Returns records of every kind that fits into the store, by name.
fn samples(fixture: &Fixture) -> Vec<(&'static str, Record)> {
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
        csrf: [0xff; CSRF_LEN],
        csrf_handed_out: true,
        extensions: Extensions::read(&[2, 1, 9]).expect("an extension that need not be known"),
        // Nobody gives a moment to a session that is sealed in its token.
        sign_in: if fixture.is_client_side() { 0 } else { micros(at(0) - MINUTE) },
        flash: values([("notice", "\"hi\""), ("mark", "1")]),
        values: values(kinds),
        ..fixture.owned_record("ада 'd;\"a\\ %_*\u{1f}", at(0) - MINUTE)
    };
    let mut samples = vec![
        ("empty", Record { values: values([]), ..fixture.record() }),
        ("with owner, flash, CSRF secret and values of every kind", full),
        ("with bytes of zero", Record { csrf: [0; CSRF_LEN], ..fixture.record() }),
        ("with flash only", Record { flash: values(kinds), values: values([]), ..fixture.record() }),
        ("of 300 keys", Record { values: many, ..fixture.record() }),
        ("of 64 kB", fixture.record_of_len(64 * 1024)),
    ];
    let max = fixture.store().max_record_len().unwrap_or(usize::MAX);
    samples.retain(|(_, record)| record.encoded_len() <= max);
    samples
}

pub(super) async fn create_never_overwrites(fixture: Arc<Fixture>) {
    let (token, mut first) = fixture.session().await;
    let other = fixture.record();
    let rule = "create on a live session is Taken and leaves it alone";
    same(rule, &fixture.create(&token, &other, at(1)).await, &Created::Taken);
    fixture.expect_live(rule, &token, at(1), &first).await;

    let rule = "a create that is sent again is Stored and changes nothing";
    let created = first.clone();
    fixture.touched(&token, &mut first, at(60) + IDLE, at(60)).await;
    same(rule, &fixture.create(&token, &created, at(61)).await, &Created::Stored);
    fixture.expect_live(rule, &token, at(61), &first).await;

    // As from a random source that repeats itself.
    let version = created.version();
    let changed = Record { version, ..fixture.next(&created, at(0)) };
    let moved = Record { created: created.created + 1, ..created.clone() };
    for (name, record) in [("another", Record { version, ..other.clone() }), ("changed", changed), ("older", moved)] {
        let rule = format!("create of {name} record at the version that is stored is Taken and leaves it alone");
        same(&rule, &fixture.create(&token, &record, at(61)).await, &Created::Taken);
        fixture.expect_live(&rule, &token, at(61), &first).await;
    }

    let owner = fixture.owner();
    let (owned, session) = fixture.owned_session(&owner).await;
    let rule = "a sign-in that is sent again has the same answer, and another at its version is Taken";
    same(rule, &fixture.create(&owned, &session, at(61)).await, &Created::Stored);
    let again = Record { version: session.version(), ..fixture.owned_record(&owner, at(0)) };
    same(rule, &fixture.create(&owned, &again, at(61)).await, &Created::Taken);
    fixture.expect_live(rule, &owned, at(61), &session).await;
    fixture.expect_owned(rule, &owner, at(61), &[&session]).await;

    let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(62)));
    fixture.deleted(&token, MINUTE, at(62)).await;
    for (name, record) in [("another", &other), ("the same", &created)] {
        let rule = format!("create of {name} record on a tombstone is Taken and leaves it alone");
        same(&rule, &fixture.create(&token, record, at(63)).await, &Created::Taken);
        fixture.expect(&rule, &token, at(63), &stone).await;
    }
}

pub(super) async fn update_replaces_the_record_once(fixture: Arc<Fixture>) {
    for (name, sample) in samples(&fixture) {
        let owner = sample.owner().map(str::to_owned);
        let record = owner.map_or_else(|| fixture.record(), |owner| fixture.owned_record(&owner, at(0) - MINUTE));
        let token = fixture.stored(&record).await;
        let (other, bystander) = fixture.session().await;
        let (seen, sign_in) = (micros(at(5)), record.sign_in);
        let (version, handle) = (fixture.version(), record.handle);
        let mut next = Record { seen, sign_in, version, handle, ..sample };
        let rule = format!("update at the current version replaces the whole record ({name})");
        same(&rule, &fixture.update(&token, record.version(), &replace(&next), at(5)).await, &Updated::Done);
        fixture.expect_live(&rule, &token, at(5), &next).await;

        let rule = "an update that is sent again is Done and not applied twice";
        let again = Change::Replace(next.clone().into(), Deadline::Set);
        fixture.touched(&token, &mut next, at(9) + IDLE, at(9)).await;
        same(rule, &fixture.update(&token, record.version(), &again, at(10)).await, &Updated::Done);
        fixture.expect_live(rule, &token, at(10), &next).await;
        fixture.expect_live("a change concerns its own token only", &other, at(10), &bystander).await;
    }
}

pub(super) async fn update_of_what_is_not_live_creates_nothing(fixture: Arc<Fixture>) {
    let record = fixture.record();
    let next = fixture.next(&record, at(1));
    let missing = fixture.token();
    let rule = "update of an absent session is Gone and creates nothing";
    for change in [replace(&next), Change::Retire(fixture.renewed(at(1)))] {
        for version in [record.version(), next.version()] {
            same(rule, &fixture.update(&missing, version, &change, at(1)).await, &Updated::Gone);
            fixture.expect_absent(rule, &missing, at(1)).await;
        }
    }
    let rule = "update of a session that has ended is Gone and changes nothing";
    for tombstone in [MINUTE, Duration::ZERO] {
        let token = fixture.stored(&record).await;
        fixture.deleted(&token, tombstone, at(1)).await;
        let before = fixture.load(&token, at(2)).await;
        for change in [replace(&next), replace(&record), Change::Retire(fixture.renewed(at(2)))] {
            same(rule, &fixture.update(&token, record.version(), &change, at(2)).await, &Updated::Gone);
            fixture.expect(rule, &token, at(2), &before).await;
        }
    }
}

pub(super) async fn update_at_another_version_changes_nothing(fixture: Arc<Fixture>) {
    let (token, record) = fixture.session().await;
    let second = fixture.updated(&token, &record, at(1)).await;
    let rule = "update from another version is a Conflict and changes nothing";
    for version in [record.version(), fixture.version()] {
        for change in [replace(&fixture.next(&record, at(2))), Change::Retire(fixture.renewed(at(2)))] {
            same(rule, &fixture.update(&token, version, &change, at(2)).await, &Updated::Conflict);
            fixture.expect_live(rule, &token, at(2), &second).await;
        }
    }
}

pub(super) async fn deadline_moves_only_as_the_change_says(fixture: Arc<Fixture>) {
    let stored = at(100) + IDLE;
    for (name, deadline, asked, expected) in [
        ("Keep, later", Deadline::Keep, stored + MINUTE, stored),
        ("Keep, earlier", Deadline::Keep, stored - MINUTE, stored),
        ("Extend, later", Deadline::Extend, stored + MINUTE, stored + MINUTE),
        ("Extend, earlier", Deadline::Extend, stored - MINUTE, stored),
        ("Set, later", Deadline::Set, stored + MINUTE, stored + MINUTE),
        ("Set, earlier", Deadline::Set, stored - MINUTE, stored - MINUTE),
    ] {
        let (token, record) = fixture.session().await;
        // The touch moves the stored deadline away from that of the record which the change was made of.
        fixture.touched(&token, &mut record.clone(), stored, at(100)).await;
        let mut next = Record { deadline: micros(asked), ..fixture.next(&record, at(101)) };
        fixture.apply(&token, &record, &Change::Replace(next.clone().into(), deadline), at(101)).await;
        next.deadline = micros(expected);
        let rule = format!("the deadline of an update moves as the change says ({name})");
        for now in [at(101), expected - INSTANT] {
            fixture.expect_live(&rule, &token, now, &next).await;
        }
        fixture.expect_absent(&rule, &token, expected).await;
    }
}

pub(super) async fn touch_moves_the_deadline_and_nothing_else(fixture: Arc<Fixture>) {
    for (name, mut record) in samples(&fixture).into_iter().take(3) {
        let token = fixture.stored(&record).await;
        for (rule, deadline, now) in [
            ("a touch moves the deadline and leaves the rest", at(60) + IDLE, at(60)),
            ("a touch that is sent again changes nothing", at(60) + IDLE, at(60)),
            ("a touch never moves a deadline back", at(30) + IDLE, at(61)),
            ("a touch by a clock that went back moves nothing back", at(62) + IDLE, at(59)),
        ] {
            fixture.touched(&token, &mut record, deadline, now).await;
            fixture.expect_live(format!("{rule} ({name})"), &token, at(62), &record).await;
        }
        fixture.expect_live("a touched session lives until its new deadline", &token, at(61) + IDLE, &record).await;
        fixture.expect_absent("a touched session ends at its new deadline", &token, at(62) + IDLE).await;
    }
}

pub(super) async fn touch_of_anything_else_does_nothing(fixture: Arc<Fixture>) {
    let (missing, version, later) = (fixture.token(), fixture.version(), at(60) + IDLE);
    let rule = "touch of an absent session is Gone and creates nothing";
    same(rule, &fixture.touch(&missing, version, later, at(1)).await, &Updated::Gone);
    fixture.expect_absent(rule, &missing, at(1)).await;

    let (token, record) = fixture.session().await;
    let rule = "touch of another version is a Conflict and moves nothing";
    same(rule, &fixture.touch(&token, version, later, at(1)).await, &Updated::Conflict);
    fixture.expect_live(rule, &token, at(1), &record).await;

    let stone = fixture.renewed(at(2));
    fixture.apply(&token, &record, &Change::Retire(stone.clone()), at(2)).await;
    let rule = "touch of a session that has ended is Gone and moves nothing";
    same(rule, &fixture.touch(&token, record.version(), later, at(3)).await, &Updated::Gone);
    fixture.expect(rule, &token, at(3), &Loaded::Tombstone(stone)).await;
}

pub(super) async fn delete_ends_a_session_once(fixture: Arc<Fixture>) {
    let missing = fixture.token();
    let rule = "delete of an absent session is Absent and leaves nothing";
    same(rule, &fixture.delete(&missing, MINUTE, at(1)).await, &Deleted::Absent);
    fixture.expect_absent(rule, &missing, at(1)).await;

    let (other, bystander) = fixture.session().await;
    let (token, record) = fixture.session().await;
    fixture.updated(&token, &record, at(1)).await;
    let rule = "delete ends a session whatever its version and leaves a tombstone for the given time";
    let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(2));
    same(rule, &fixture.delete(&token, MINUTE, at(2)).await, &Deleted::Done);
    fixture.expect(rule, &token, at(2), &Loaded::Tombstone(stone.clone())).await;
    let rule = "delete of a session that has ended returns its tombstone and leaves it as it is";
    for again in [2 * MINUTE, Duration::ZERO] {
        same(rule, &fixture.delete(&token, again, at(3)).await, &Deleted::Retired(stone.clone()));
        fixture.expect(rule, &token, at(3), &Loaded::Tombstone(stone.clone())).await;
    }

    let (token, _) = fixture.session().await;
    let rule = "delete with a duration of zero leaves nothing";
    for expected in [Deleted::Done, Deleted::Absent] {
        same(rule, &fixture.delete(&token, Duration::ZERO, at(4)).await, &expected);
        fixture.expect_absent(rule, &token, at(4)).await;
    }
    fixture.expect_live("delete concerns its own token only", &other, at(4), &bystander).await;
}

/// Ends a renewed session by the tombstone that its old token left, as a late `destroy` does.
pub(super) async fn delete_follows_a_tombstone_to_its_successor(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    let (old, record) = fixture.owned_session(&owner).await;
    let next = fixture.next(&record, at(1));
    let fresh = fixture.stored_at(&next, at(1)).await;
    let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, at(1)).with_successor(fresh.key());
    fixture.apply(&old, &record, &Change::Retire(stone), at(1)).await;
    let Loaded::Tombstone(found) = fixture.load(&old, at(2)).await else {
        panic!("broken: a renewal leaves a tombstone")
    };
    let rule = "delete by a key that was read back from bytes ends the session";
    let read = Tombstone::decode(found.until(), &found.encode()).expect("broken: a tombstone is read back");
    let key = read.successor().expect("broken: a tombstone still names its successor");
    for expected in [Deleted::Done, Deleted::Retired(Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(3)))] {
        same(rule, &fixture.store().delete(key, MINUTE, at(3)).await.ok(), &Some(expected));
    }
    let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(3));
    fixture.expect(rule, &fresh, at(3), &Loaded::Tombstone(stone)).await;
    fixture.expect_owned(rule, &owner, at(3), &[]).await;
    let missing = fixture.token().key();
    let missing = Tombstone::new(TombstoneKind::Renewed, MINUTE, at(1)).with_successor(missing);
    let missing = Tombstone::decode(missing.until(), &missing.encode()).expect("broken: a tombstone is read back");
    let key = missing.successor().expect("broken: a tombstone still names its successor");
    same(rule, &fixture.store().delete(key, MINUTE, at(3)).await.ok(), &Some(Deleted::Absent));
}

pub(super) async fn tombstone_survives_unchanged(fixture: Arc<Fixture>) {
    use TombstoneKind::{Destroyed, Emptied, Forwarded, Renewed, Revoked};
    for kind in [Destroyed, Renewed, Forwarded, Revoked, Emptied] {
        let (token, record) = fixture.session().await;
        let mut stone = Tombstone::new(kind, MINUTE, at(1));
        let successor = matches!(kind, Renewed | Forwarded).then(|| fixture.token());
        if let Some(new) = &successor {
            stone = stone.with_successor(new.key());
        }
        let rule = format!("update leaves the tombstone that it was given ({kind:?})");
        fixture.apply(&token, &record, &Change::Retire(stone.clone()), at(1)).await;
        let loaded = fixture.load(&token, at(2)).await;
        let Loaded::Tombstone(found) = &loaded else { panic!("broken: {rule}\n  got: {loaded:?}") };
        same(&rule, found, &stone);
        same("a tombstone is kept byte for byte", &found.encode(), &stone.encode());
        same("a tombstone still names its successor", &found.successor().copied(), &successor.map(|new| new.key()));
        let other = Change::Retire(fixture.renewed(at(3)));
        let rule = "no call changes a tombstone";
        same(rule, &fixture.update(&token, record.version(), &other, at(3)).await, &Updated::Gone);
        same(rule, &fixture.delete(&token, 2 * MINUTE, at(3)).await, &Deleted::Retired(stone.clone()));
        fixture.expect(rule, &token, at(3), &Loaded::Tombstone(stone)).await;
    }
}

pub(super) async fn record_over_the_limit_is_a_typed_error(fixture: Arc<Fixture>) {
    // A store without a limit, or with one far above a layer's, must hold the largest record of a layer's defaults.
    let limit = fixture.store().max_record_len().filter(|max| *max <= 16 << 20);
    let max = limit.unwrap_or(1 << 20);
    let largest = fixture.record_of_len(max);
    let token = fixture.stored(&largest).await;
    fixture.expect_live("a record of the greatest length is loaded whole", &token, at(0), &largest).await;
    if limit.is_none() {
        return;
    }
    let larger = fixture.record_of_len(max + 1);
    let fresh = fixture.token();
    let refused = fixture.store().create(&fresh, &larger.clone().into(), at(1)).await;
    fails("create of a record over max_record_len is StoreError::too_large", &refused, StoreError::is_too_large);
    fixture.expect_absent("a record that was refused is not stored", &fresh, at(1)).await;
    let change = replace(&Record { version: fixture.version(), ..larger });
    let refused = fixture.store().update(&token, largest.version(), &change, at(1)).await;
    fails("update to a record over max_record_len is StoreError::too_large", &refused, StoreError::is_too_large);
    fixture.expect_live("an update that was refused changes nothing", &token, at(1), &largest).await;
}

pub(super) async fn token_of_another_shape_is_absent(fixture: Arc<Fixture>) {
    let (_, record) = fixture.session().await;
    let long = "A".repeat(8 * 1024);
    for text in ["A", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "etc-passwd", &long] {
        let token = SessionToken::from_sealed(text.to_owned()).expect("base64url text");
        let rule = format!("a sealed token of {} bytes is absent for every call", text.len());
        expect_absent_for_every_call(&fixture, &rule, &token, &record, at(1)).await;
    }
}
