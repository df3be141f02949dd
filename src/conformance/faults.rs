//! Proof that the suite can fail: stores with one fault each, and the law that finds it.

mod faulty_sealed_store;
mod faulty_store;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::faulty_store::{Fault, FaultyStore};
use super::{Profile, check};

mod model {
    crate::session_store_conformance!(super::FaultyStore::new(super::Fault::NoneAtOnce));
}

mod yielding_model {
    crate::session_store_conformance!(super::FaultyStore::new(super::Fault::None));
}

/// Each fault, and a law that finds it.
const FAULTS: &[(Fault, &str)] = &[
    (Fault::LosesFlash, "record_is_loaded_as_it_was_created"),
    (Fault::RoundsToMillis, "times_from_1970_to_9999_are_exact"),
    (Fault::CreateOverwrites, "create_never_overwrites"),
    (Fault::ResentCreateIsTaken, "create_never_overwrites"),
    (Fault::CreateGoesByVersion, "create_never_overwrites"),
    (Fault::CreateInTwoSteps, "concurrent_calls_are_atomic"),
    (Fault::UpdateIgnoresVersion, "update_at_another_version_changes_nothing"),
    (Fault::UpdateIgnoresVersion, "concurrent_updates_are_all_counted"),
    (Fault::UpdateUpserts, "update_of_what_is_not_live_creates_nothing"),
    (Fault::UpdateUpserts, "ended_session_is_not_resurrected_by_many_writers"),
    (Fault::ResentUpdateIsConflict, "update_replaces_the_record_once"),
    (Fault::ResentUpdateIsAppliedAgain, "update_replaces_the_record_once"),
    (Fault::DeadlineIsAlwaysSet, "deadline_moves_only_as_the_change_says"),
    (Fault::DeadlineIsAlwaysKept, "deadline_moves_only_as_the_change_says"),
    (Fault::LosesSuccessor, "delete_follows_a_tombstone_to_its_successor"),
    (Fault::DeleteNeedsTheToken, "delete_follows_a_tombstone_to_its_successor"),
    (Fault::LosesSuccessor, "tombstone_survives_unchanged"),
    (Fault::LosesSuccessor, "one_of_two_renewals_wins"),
    (Fault::UpdateInTwoSteps, "concurrent_calls_are_atomic"),
    (Fault::UpdateInTwoSteps, "ended_session_is_not_resurrected_by_many_writers"),
    (Fault::UpdateInTwoSteps, "concurrent_updates_are_all_counted"),
    (Fault::UpdateInTwoSteps, "one_of_two_renewals_wins"),
    (Fault::UpdateInHalves, "dropped_call_leaves_the_old_state_or_the_new"),
    (Fault::TouchIgnoresVersion, "touch_of_anything_else_does_nothing"),
    (Fault::TouchMovesBack, "touch_moves_the_deadline_and_nothing_else"),
    (Fault::TouchChangesVersion, "touch_moves_the_deadline_and_nothing_else"),
    (Fault::TouchInTwoSteps, "concurrent_calls_are_atomic"),
    (Fault::DeleteLeavesNothing, "delete_ends_a_session_once"),
    (Fault::DeleteOverwritesTombstones, "delete_ends_a_session_once"),
    (Fault::DeleteLeavesWhatWasNotThere, "delete_ends_a_session_once"),
    (Fault::LoadReturnsExpired, "what_ends_now_is_absent_for_every_method"),
    (Fault::LoadMovesDeadline, "what_ends_now_is_absent_for_every_method"),
    (Fault::DeadlineIsInclusive, "what_ends_now_is_absent_for_every_method"),
    (Fault::DeadlineIsInclusive, "tombstone_ends_at_its_time"),
    (Fault::LoadKeepsExpired, "clock_that_goes_back_revives_nothing"),
    (Fault::LoadAnswersADroppedOne, "dropped_call_leaves_the_old_state_or_the_new"),
    (Fault::OwnedListsAll, "owner_list_follows_the_sessions"),
    (Fault::OwnersIgnoreCase, "owners_are_told_apart"),
    (Fault::RevokeTheseIsAnyones, "revocation_ends_what_it_names"),
    (Fault::RevokeOthersIsAll, "revocation_ends_what_it_names"),
    (Fault::RevokeIsDestroy, "revocation_ends_what_it_names"),
    (Fault::RevokeLeavesNoMark, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::RevokeLeavesNoMark, "revocation_reaches_a_concurrent_sign_in"),
    (Fault::MarkSparesNobody, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::SweepForgetsMarks, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::MarkForgetsTheOneBefore, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::MarkGoesByTheLayersClock, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::MarkLetsRenewalsIn, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::MarkLetsUnknownBeginsIn, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::RevokeTheseLeavesAMark, "revocation_refuses_sign_ins_that_began_before"),
    (Fault::MarkGoesByTheLayersClock, "revocation_by_a_wrong_clock_counts_for_everybody"),
    (Fault::RevokeGoesByTheStoresClock, "revocation_by_a_wrong_clock_counts_for_everybody"),
    (Fault::RevokeTheseOfNoneIsAll, "revocation_ends_what_it_names"),
    (Fault::RevokeTheseEndsTen, "revocation_of_many_sessions_ends_each_of_them"),
    (Fault::CountsEverybody, "sessions_are_counted_or_counting_is_unsupported"),
    (Fault::MomentIsTheLayersTime, "each_sign_in_has_a_later_moment"),
    (Fault::MomentIsThatOfTheHost, "each_sign_in_has_a_later_moment"),
    (Fault::RenewalIsASignIn, "each_sign_in_has_a_later_moment"),
    (Fault::ResentSignInIsAnother, "each_sign_in_has_a_later_moment"),
    (Fault::UpdateLosesTheMoment, "each_sign_in_has_a_later_moment"),
    (Fault::ListsWhatIsThereOnly, "session_that_is_created_during_listings_is_not_lost"),
    (Fault::MarkIsReadFirst, "revocation_reaches_a_concurrent_sign_in"),
    (Fault::SweepRemovesAll, "sweep_removes_what_expired_and_nothing_else"),
    (Fault::SweepRemovesNothing, "sweep_removes_what_expired_and_nothing_else"),
    (Fault::SweepHasNoLimit, "sweep_removes_what_expired_and_nothing_else"),
    (Fault::SweepInTwoSteps, "concurrent_calls_are_atomic"),
    (Fault::TooLargeIsUntyped, "record_over_the_limit_is_a_typed_error"),
    (Fault::TooLargeIsCut, "record_over_the_limit_is_a_typed_error"),
    (Fault::AdoptsSealedTokens, "token_of_another_shape_is_absent"),
    // The random history finds faults that have a law of their own above, too.
    (Fault::CreateOverwrites, "answers_are_those_of_the_model"),
    (Fault::UpdateUpserts, "answers_are_those_of_the_model"),
    (Fault::DeadlineIsAlwaysSet, "answers_are_those_of_the_model"),
    (Fault::RevokeOthersIsAll, "answers_are_those_of_the_model"),
    (Fault::RevokeLeavesNoMark, "answers_are_those_of_the_model"),
    (Fault::TouchIgnoresVersion, "answers_are_those_of_the_model"),
];

#[test]
fn each_fault_is_found_by_its_law() {
    let missed: Vec<_> = FAULTS
        .iter()
        .filter(|(fault, law)| {
            let checked = || check(Profile::ServerSide, law, async || FaultyStore::new(*fault));
            // A random history may hold no call that matters, and on a busy machine a race may not happen.
            (0..20).all(|_| catch_unwind(AssertUnwindSafe(checked)).is_ok())
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn each_law_finds_a_fault() {
    let names = Profile::ServerSide.laws().iter().map(|law| law.name);
    let idle: Vec<_> = names.filter(|name| !FAULTS.iter().any(|(_, law)| law == name)).collect();
    assert!(idle.is_empty(), "no fault shows that these laws can fail: {idle:?}");
}
