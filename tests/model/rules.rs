//! The rules that a design is made of.

/// The clock that dates an owner's sign-ins and mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The store's, whichever host asks.
    Store,
    /// That of the host that asks.
    Host,
    /// None: moments only count up, and no mark has an age.
    None,
}

/// A design. Each rule can be changed alone, to see what it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The store gives each sign-in its moment. Otherwise its order is the time of its host, which learns later times.
    pub(crate) store_orders: bool,
    pub(crate) clock: Clock,
    /// The entry in the owner's list is written before the record.
    pub(crate) list_first: bool,
    /// After the record the entry is written and the mark compared once more.
    pub(crate) checks_twice: bool,
    /// The second look refuses a sign-in if the mark is another than at the first. Otherwise it compares moments.
    pub(crate) checks_name: bool,
    /// The entry and the record become visible together, some time after the mark was read, as in one transaction of a
    /// database.
    pub(crate) lists_with_record: bool,
    /// A listing strikes an entry whose record is not there.
    pub(crate) strikes_absent: bool,
    /// Ending a listed session whose record is not there leaves a tombstone, so that the record can no longer be
    /// written.
    pub(crate) ends_absent: bool,
    /// A revocation lists again until it meets no new entry, since a renewal brings one.
    pub(crate) lists_again: bool,
    /// A revocation with a mark spares the sessions that signed in after the mark.
    pub(crate) ends_up_to_mark: bool,
    /// Each mark that is written has a name of its own. Otherwise it has that of its revocation, even if that is sent
    /// again after another.
    pub(crate) names_each_mark: bool,
    /// A refused sign-in that was sent again removes the record that it had stored.
    pub(crate) refusal_removes: bool,
    /// A sign-in that is sent again keeps the moment that its record has.
    pub(crate) keeps_moment: bool,
    /// A sign-in that began after its process had seen the mark is admitted. Otherwise only if that process itself had
    /// completed the revocation.
    pub(crate) remembers_marks: bool,
    /// A mark that is later than the store's clock is dated anew.
    pub(crate) dates_mark_anew: bool,
    /// A sign-in is as old as the host's steady clock or its wall clock says, whichever says more.
    pub(crate) asks_both_clocks: bool,
    /// If the mark could be written only after sessions had ended, they are listed and ended once more.
    pub(crate) lists_after_late_mark: bool,
    /// The sessions beyond the limit end in one step, which is carried out to its end. Otherwise they end one by one,
    /// until the time is up.
    pub(crate) limit_in_bulk: bool,
    /// Loading compares a session with its owner's mark, and a revocation is its mark.
    pub(crate) load_compares: bool,
    /// A session that moves is a copy until the old store gives it up. Otherwise it is a session at once.
    pub(crate) settles: bool,
    /// The old store gives a session up in favour of one copy, and says which.
    pub(crate) rest_names_copy: bool,
    /// Destroying moves the session to the new store first and ends it there, as a renewal does. Otherwise it ends by its
    /// key, in the old store and then in the new one.
    pub(crate) destroy_moves: bool,
    /// A renewal stores the new record before the old one ends.
    pub(crate) fresh_first: bool,
    /// A renewal whose last answer was lost writes the old record once more before it gives the new one up.
    pub(crate) fences: bool,
    /// A destroy follows the tombstone of a renewal.
    pub(crate) destroy_follows: bool,
    /// A tombstone stands for longer than any request takes.
    pub(crate) tombstones_outlast: bool,
}

impl Rules {
    /// The design as it was.
    pub(crate) const BEFORE: Self = Self {
        store_orders: false,
        clock: Clock::Store,
        list_first: false,
        checks_twice: false,
        checks_name: false,
        lists_with_record: false,
        strikes_absent: true,
        ends_absent: false,
        lists_again: true,
        ends_up_to_mark: false,
        names_each_mark: false,
        refusal_removes: true,
        keeps_moment: true,
        remembers_marks: false,
        dates_mark_anew: false,
        asks_both_clocks: false,
        lists_after_late_mark: false,
        limit_in_bulk: false,
        load_compares: false,
        settles: false,
        rest_names_copy: true,
        destroy_moves: true,
        fresh_first: true,
        fences: true,
        destroy_follows: true,
        tombstones_outlast: true,
    };

    /// The design as it is.
    pub(crate) const NOW: Self = Self {
        store_orders: true,
        list_first: true,
        checks_twice: true,
        checks_name: true,
        strikes_absent: false,
        ends_absent: true,
        ends_up_to_mark: true,
        names_each_mark: true,
        remembers_marks: true,
        asks_both_clocks: true,
        lists_after_late_mark: true,
        limit_in_bulk: true,
        settles: true,
        destroy_moves: false,
        ..Self::BEFORE
    };
}
