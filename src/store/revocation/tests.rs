//! Tests of the mark.

use std::time::Instant;

use super::*;
use crate::record::{Began, Beginning, Record};

/// A session that signed in at this moment.
fn signed_in(handle: u8, moment: u64) -> Record {
    Record {
        sign_in: moment,
        handle: SessionHandle::from_bytes([handle; 16]),
        owner: Some("ada".into()),
        ..Record::blank()
    }
}

/// A sign-in that is under way since then.
fn under_way(handle: u8, began: Option<Instant>) -> Record {
    let began = began.map(|at| Began::at(Beginning { at, ..Beginning::now() })).unwrap_or_default();
    Record { began, ..signed_in(handle, 0) }
}

fn others(handle: u8) -> Revoke {
    Revoke::Others(SessionHandle::from_bytes([handle; 16]))
}

fn add(mark: &mut RevocationMark, which: Revoke, moment: u64) {
    mark.add(&Revocation::new(which, Duration::ZERO), moment, time(1_000 * moment));
}

#[test]
fn a_mark_refuses_what_signed_in_before_it_and_spares_one_session() {
    let clock = time(0);
    let mut mark = RevocationMark::default();
    assert!(!mark.refuses(&signed_in(1, 5), clock));
    add(&mut mark, others(1), 10);
    assert!(!mark.refuses(&signed_in(1, 5), clock), "the spared one");
    assert!(mark.refuses(&signed_in(2, 5), clock) && mark.refuses(&signed_in(2, 10), clock));
    assert!(!mark.refuses(&signed_in(2, 11), clock), "signed in afterwards");
    add(&mut mark, others(2), 20);
    assert!(mark.refuses(&signed_in(1, 15), clock), "spared by an earlier one only");
    assert!(mark.refuses(&signed_in(2, 9), clock), "revoked earlier, spared later");
    assert!(!mark.refuses(&signed_in(2, 15), clock));
    assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
    add(&mut mark, Revoke::These(vec![SessionHandle::from_bytes([1; 16])]), 30);
    assert_eq!(mark.moment(), 20);
    add(&mut mark, Revoke::All, 30);
    assert!(mark.refuses(&signed_in(2, 30), clock) && mark.refuses(&signed_in(1, 30), clock));
    assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
    assert_eq!(RevocationMark::decode(b"short"), None);
    assert_eq!(mark.next_moment(5, time(7)), 31);
    assert_eq!(mark.next_moment(50, time(70)), 70);
}

#[test]
fn a_sign_in_under_way_is_as_old_as_the_clocks_of_its_process_say() {
    let ago = |seconds: u64| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        // By the clock of the system alone: the monotonic one stands still while a machine is frozen.
        Record { began: Began::at(Beginning { time, ..Beginning::now() }), ..signed_in(1, 0) }
    };
    let at = |seconds: u64| time(seconds * 1_000_000);
    let mut mark = RevocationMark::default();
    mark.add(&Revocation::new(Revoke::All, Duration::ZERO).named(0x0a11_0000_0000_0000), 1, at(1_000));
    assert!(!mark.refuses(&ago(60), at(1_090)), "begun 60 s ago, revoked 90 s ago");
    assert!(mark.refuses(&under_way(1, None), at(1_090)), "older than any revocation");
    assert!(mark.refuses(&ago(60), at(1_030)), "begun 60 s ago, revoked 30 s ago");
}

#[test]
fn a_mark_that_was_seen_is_older_than_what_begins_afterwards() {
    let mut mark = RevocationMark::default();
    mark.add(&Revocation::new(Revoke::All, Duration::ZERO).named(0x0b11_0000_0000_0000), 1, time(1_000));
    let unseen = Instant::now();
    for clock in [time(0), time(999)] {
        assert!(mark.refuses(&under_way(1, Some(unseen)), clock), "no clock, or one that was set back");
    }
    let seen = Instant::now();
    assert!(!mark.refuses(&under_way(1, Some(seen)), time(0)), "known since it refused");
    assert!(mark.refuses(&under_way(1, Some(unseen)), time(0)));
    mark.add(&Revocation::new(Revoke::All, Duration::ZERO).named(0x0b11_0000_0000_0000), 2, time(1_001));
    assert!(mark.refuses(&under_way(1, Some(seen)), time(0)), "the same call, written once more");
}

#[test]
fn a_sign_in_after_a_revocation_of_this_process_is_later_whatever_the_clock_says() {
    let revocation = Revocation::new(Revoke::All, Duration::ZERO).named(0x0123_4567_89ab_cdef);
    let mut mark = RevocationMark::default();
    mark.add(&revocation, 1, time(5));
    let before = Instant::now();
    assert!(mark.refuses(&under_way(1, Some(before)), time(5)));
    revocation.complete();
    assert!(mark.refuses(&under_way(1, Some(before)), time(5)), "begun before it was complete");
    assert!(!mark.refuses(&under_way(1, Some(Instant::now())), time(5)));
}

#[test]
fn a_spared_sign_in_is_later_than_the_revocations_that_the_process_knew() {
    let before = Instant::now();
    let mut mark = RevocationMark::default();
    let first = Revocation::new(Revoke::All, Duration::ZERO).named(0x0e11_0000_0000_0000);
    mark.add(&first, 1, time(1));
    first.complete();
    for round in 0..3 {
        let began = Instant::now();
        let spares = Revocation::new(others(1), Duration::ZERO).named(0x0e12_0000_0000_0000 + round);
        mark.add(&spares, 2 + round, time(1));
        assert!(!mark.refuses(&under_way(1, Some(began)), time(0)), "round {round}");
        assert!(mark.refuses(&under_way(1, Some(before)), time(0)), "round {round}: begun before the first");
        assert!(mark.refuses(&under_way(2, Some(began)), time(0)), "round {round}: another one");
    }
}

#[test]
fn a_mark_without_a_layer_has_a_name_too() {
    let mut mark = RevocationMark::default();
    add(&mut mark, Revoke::All, 1);
    assert!(mark.refuses(&under_way(1, Some(Instant::now())), time(0)));
    assert!(!mark.refuses(&under_way(1, Some(Instant::now())), time(0)), "known since it refused");
}

#[test]
fn thousands_of_owners_make_a_process_forget_no_mark() {
    let named = |id: u64| Revocation::new(Revoke::All, Duration::ZERO).named(id);
    let refused = |ids: std::ops::Range<u64>| {
        let mark = |id| RevocationMark { latest: Threshold { moment: 1, at: 5 }, id, spared: None };
        ids.filter(|id| mark(*id).refuses(&under_way(1, Some(Instant::now())), time(0))).count()
    };
    let (own, others) = (0xc000_0000..0xc000_1000, 0xd000_0000..0xd000_1000);
    own.clone().for_each(|id| named(id).complete());
    let rounds = [(); 3].map(|()| (refused(own.clone()), refused(others.clone())));
    assert_eq!(rounds, [(0, 4_096), (0, 0), (0, 0)]);
}
