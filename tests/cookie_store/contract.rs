//! What each method does, as far as a client-side store can.

use super::*;

#[test]
fn ended_session_is_absent_and_a_clock_that_steps_back_revives_nothing() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let mut later = record(2);
    later.touch(start() + 61 * MINUTE, start());
    let later = create(&store, &later).unwrap();
    let end = start() + 60 * MINUTE;
    assert!(matches!(load_at(&store, &token, end - Duration::from_micros(1)), Loaded::Live(_)));
    // A wild step forward ends the one session that is asked for, and no other.
    assert_eq!(load_at(&store, &token, start() + 1_000_000 * MINUTE), Loaded::Absent);
    assert_eq!(load_at(&store, &token, start()), Loaded::Absent);
    assert_eq!(load_at(&store.clone(), &token, start()), Loaded::Absent);
    assert!(matches!(load_at(&store, &later, start()), Loaded::Live(_)));

    let change = Change::Replace(record(3).into(), Deadline::Extend);
    assert_eq!(now(store.update(&token, version(1), &change, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.touch(&token, version(1), end + MINUTE, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.update(&token, version(1), &retire(), start())).unwrap(), Updated::Gone);
    assert_eq!(load_at(&store, &later, end + MINUTE), Loaded::Absent);
}

/// The end of a session that its program destroys.
fn retire() -> Change {
    Change::Retire(Tombstone::new(TombstoneKind::Destroyed, MINUTE, start()))
}

#[test]
fn deadline_itself_is_already_too_late_for_every_method() {
    let end = start() + 60 * MINUTE;
    // A store each: the first that finds it ended would remember.
    let token = create(&store(&[NEW]), &record(1)).unwrap();
    assert_eq!(load_at(&store(&[NEW]), &token, end), Loaded::Absent);
    let change = Change::Replace(record(2).into(), Deadline::Set);
    assert_eq!(now(store(&[NEW]).update(&token, version(1), &change, end)).unwrap(), Updated::Gone);
    assert_eq!(now(store(&[NEW]).touch(&token, version(1), end + MINUTE, end)).unwrap(), Updated::Gone);
    assert_eq!(now(store(&[NEW]).update(&token, version(1), &retire(), end)).unwrap(), Updated::Gone);
}

#[test]
fn update_compares_versions_and_moves_the_deadline_as_asked() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let mut next = record_of(2, "\"next\"");
    next.touch(start() + 90 * MINUTE, start());
    for (deadline, minutes) in [(Deadline::Keep, 60), (Deadline::Extend, 90), (Deadline::Set, 90)] {
        let change = Change::Replace(next.clone().into(), deadline);
        assert_eq!(now(store.update(&token, version(9), &change, start())).unwrap(), Updated::Conflict);
        let written = instead(now(store.update(&token, version(1), &change, start())));
        let Loaded::Live(loaded) = load_at(&store, &written, start()) else { panic!("{deadline:?}") };
        assert_eq!(loaded.deadline(), start() + minutes * MINUTE, "{deadline:?}");
        assert_eq!(loaded.encode(), next.encode());
        // Sent again with the answer already in hand: nothing changes.
        assert_eq!(instead(now(store.update(&written, version(1), &change, start()))), written);
    }
    let forged = SessionToken::from_sealed("AAAA".into()).unwrap();
    let change = Change::Replace(next.into(), Deadline::Set);
    assert_eq!(now(store.update(&forged, version(1), &change, start())).unwrap(), Updated::Gone);
}

#[test]
fn retiring_and_deleting_answer_for_what_is_live_and_a_copy_survives() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let forged = SessionToken::from_sealed("AAAA".into()).unwrap();
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, start()));
    assert_eq!(now(store.update(&token, version(9), &retire, start())).unwrap(), Updated::Conflict);
    assert_eq!(now(store.update(&forged, version(1), &retire, start())).unwrap(), Updated::Gone);
    assert_eq!(now(store.update(&token, version(1), &retire, start())).unwrap(), Updated::Done);
    for token in [&token, &forged] {
        assert!(now(store.delete(&token.key(), MINUTE, start())).unwrap_err().is_unsupported(), "no key leads to it");
    }
    assert_eq!(load_at(&store, &token, start()), Loaded::Live(record(1).into()));
}

#[test]
fn touch_moves_the_deadline_later_and_nothing_else() {
    let store = store(&[NEW]);
    let token = create(&store, &record(1)).unwrap();
    let (sooner, later) = (start() + MINUTE, start() + 90 * MINUTE);
    let mut touched = record(1);
    touched.touch(later, sooner);
    let moved = instead(now(store.touch(&token, version(1), later, sooner)));
    assert_eq!(load_at(&store, &moved, start()), Loaded::Live(touched.clone().into()));
    let again = instead(now(store.touch(&moved, version(1), sooner, sooner)));
    assert_eq!(load_at(&store, &again, start()), Loaded::Live(touched.into()));
    assert_eq!(now(store.touch(&token, version(9), later, sooner)).unwrap(), Updated::Conflict);
}

#[test]
fn what_the_client_holds_cannot_be_listed_revoked_or_swept() {
    let store = store(&[NEW]);
    assert!(now(store.owned("ada", start())).unwrap_err().is_unsupported());
    let revocation = Revocation::new(Revoke::All, MINUTE);
    assert!(now(store.revoke("ada", &revocation, start())).unwrap_err().is_unsupported());
    assert_eq!(now(store.sweep(100, start())).unwrap(), 0);
    assert!(store.is_immediate() && store.sweep_interval().is_none());
}
