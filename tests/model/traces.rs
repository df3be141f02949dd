//! Runs that break a promise in another design than today's, as data: the model checks each, and the real code can be
//! driven through the same steps.

use crate::story::Step::{Begin, Check, End, EndOld, Enlist, Limit, List, Load, Mark, Remove, Retire, Store};
use crate::story::Which::{All, One};
use crate::story::Who::{Mover, Renewal, Revoke, SignIn};
use crate::story::{Action, Who};

/// A run, with the promise that it breaks. In the beginning session 0 is signed in. It is in the old store if there are
/// two.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) breaks: &'static str,
    pub(crate) cast: &'static [Who],
    /// The time by which the wall clock of each host is ahead of the true time.
    pub(crate) ahead: [i8; 2],
    /// The limit of the owner's sessions.
    pub(crate) limit: Option<usize>,
    pub(crate) steps: &'static [Action],
}

const FIRST: Who = SignIn { host: 0, session: 1 };
const SECOND: Who = SignIn { host: 1, session: 2 };
const THIRD: Who = SignIn { host: 1, session: 3 };
const AHEAD: Who = SignIn { host: 1, session: 1 };
const RENEWAL: Who = Renewal { host: 0 };
const REVOKE_ALL: Who = Revoke { host: 0, which: All };
const REVOKE_ALL_AHEAD: Who = Revoke { host: 1, which: All };
const REVOKE_ONE: Who = Revoke { host: 1, which: One };
const MOVER: Who = Mover(1);

use Action::{Cut, Do, Evict, Full};

/// The time was up before each sign-in had ended all sessions beyond the limit.
pub(crate) const BURST: Trace = Trace {
    breaks: "the limit holds after a burst",
    cast: &[FIRST, SECOND, THIRD],
    ahead: [0, 0],
    limit: Some(1),
    steps: &[
        Do(FIRST, Begin),
        Do(FIRST, Store),
        Do(FIRST, Enlist),
        Do(SECOND, Begin),
        Do(SECOND, Store),
        Do(SECOND, Enlist),
        Do(THIRD, Begin),
        Do(THIRD, Store),
        Do(THIRD, Enlist),
        Do(FIRST, Limit),
        Do(SECOND, Limit),
        Do(THIRD, Limit),
        Do(FIRST, End),
        Do(SECOND, End),
        Do(THIRD, End),
    ],
};

/// The store has lost the list, and the revocation meets nobody.
pub(crate) const EVICTED_LIST: Trace = Trace {
    breaks: "nobody who was revoked has access",
    cast: &[REVOKE_ALL],
    ahead: [0, 0],
    limit: None,
    steps: &[Evict, Do(REVOKE_ALL, Begin), Do(REVOKE_ALL, Mark), Do(REVOKE_ALL, List)],
};

/// A sign-in under way on a host whose clock is ahead outlives a revocation.
pub(crate) const SIGN_IN_AHEAD: Trace = Trace {
    breaks: "nobody who was revoked has access",
    cast: &[AHEAD, REVOKE_ALL],
    ahead: [0, 4],
    limit: None,
    steps: &[
        Do(AHEAD, Begin),
        Do(AHEAD, Store),
        Do(REVOKE_ALL, Begin),
        Do(REVOKE_ALL, Mark),
        Do(REVOKE_ALL, List),
        Do(REVOKE_ALL, End),
        Do(REVOKE_ALL, List),
        Do(AHEAD, Enlist),
    ],
};

/// A host with a right clock shows the time of one whose clock is ahead.
pub(crate) const LEARNT_TIME: Trace = Trace {
    breaks: "the time that is shown is the host's",
    cast: &[FIRST, REVOKE_ALL_AHEAD],
    ahead: [0, 4],
    limit: None,
    steps: &[
        Do(REVOKE_ALL_AHEAD, Begin),
        Do(REVOKE_ALL_AHEAD, Mark),
        Do(FIRST, Begin),
        Do(FIRST, Store),
        Do(FIRST, Enlist),
        Do(FIRST, Remove),
        Action::Tick,
        Do(FIRST, Begin),
    ],
};

/// A move was cut off between the record and the list.
pub(crate) const MOVE_CUT_OFF_BEFORE_LIST: Trace = Trace {
    breaks: "an ended session gives no access once all is quiet",
    cast: &[MOVER, REVOKE_ALL],
    ahead: [0, 0],
    limit: None,
    steps: &[
        Do(MOVER, Begin),
        Do(MOVER, Load),
        Do(MOVER, Store),
        Cut(MOVER),
        Do(REVOKE_ALL, Begin),
        Do(REVOKE_ALL, EndOld),
        Do(REVOKE_ALL, Mark),
        Do(REVOKE_ALL, List),
    ],
};

/// A move was cut off between the record and the second look at the mark. The revocation met the entry in the list
/// before the record was there.
pub(crate) const MOVE_CUT_OFF_BEFORE_CHECK: Trace = Trace {
    breaks: "an ended session gives no access once all is quiet",
    cast: &[MOVER, REVOKE_ALL],
    ahead: [0, 0],
    limit: None,
    steps: &[
        Do(MOVER, Begin),
        Do(MOVER, Load),
        Do(MOVER, Enlist),
        Do(REVOKE_ALL, Begin),
        Do(REVOKE_ALL, EndOld),
        Do(REVOKE_ALL, Mark),
        Do(REVOKE_ALL, List),
        Do(REVOKE_ALL, End),
        Do(MOVER, Store),
        Cut(MOVER),
    ],
};

/// The store was full, and the mark was written only after the sessions had ended. A sign-in was stored in between.
pub(crate) const LATE_MARK: Trace = Trace {
    breaks: "nobody who was revoked has access",
    cast: &[AHEAD, REVOKE_ALL],
    ahead: [0, 0],
    limit: None,
    steps: &[
        Do(AHEAD, Begin),
        Do(REVOKE_ALL, Begin),
        Full(REVOKE_ALL, Mark),
        Do(REVOKE_ALL, List),
        Do(REVOKE_ALL, End),
        Do(REVOKE_ALL, List),
        Do(AHEAD, Enlist),
        Do(AHEAD, Store),
        Do(AHEAD, Check),
        Do(REVOKE_ALL, Mark),
    ],
};

/// A revocation of one session read the list once, before a renewal had entered the new record.
pub(crate) const RENEWED_WHILE_REVOKED: Trace = Trace {
    breaks: "nobody who was revoked has access",
    cast: &[RENEWAL, REVOKE_ONE],
    ahead: [0, 0],
    limit: None,
    steps: &[
        Do(REVOKE_ONE, Begin),
        Do(REVOKE_ONE, List),
        Do(RENEWAL, Begin),
        Do(RENEWAL, Enlist),
        Do(RENEWAL, Store),
        Do(RENEWAL, Check),
        Do(RENEWAL, Retire),
        Do(REVOKE_ONE, End),
    ],
};
