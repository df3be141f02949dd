//! The words in which the models tell what happens, and in which the traces are written down.

use Who::{Renewal, Revoke, SignIn};

/// Somebody who takes steps. A host is a process with a clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Signs in. The session is the number of its record.
    SignIn { host: usize, session: usize },
    /// Gives session 0, which stands from the start, a new token, under which it is record 3.
    Renewal { host: usize },
    /// Ends the owner's sessions.
    Revoke { host: usize, which: Which },
    /// Loads a session through a store that moves it.
    Mover(usize),
    /// Lists the owner's sessions, and strikes entries.
    Lister,
    /// Ends session 0, or the session that moves.
    Destroy,
    /// Writes a value to session 0, under the number of the value.
    Write(usize),
    /// Renews the token of the session under the token that the request came with. The second number is the new token.
    Renew { from: usize, to: usize, by_age: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    All,
    /// All but session 0.
    Others,
    /// Session 0.
    One,
}

/// A step that somebody takes: one atomic call of the store, or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Begin,
    /// Enters the owner's list, and reads the mark in the same step.
    Enlist,
    /// Writes the record.
    Store,
    /// Enters the list and reads the mark once more.
    Check,
    /// Takes the record back.
    Remove,
    /// Reads the list, to see who is beyond the limit.
    Limit,
    /// Writes the owner's mark.
    Mark,
    /// Reads the owner's list.
    List,
    /// Ends the next of the listed sessions.
    End,
    /// Loads from the (old) store.
    Load,
    /// Compares and swaps.
    Swap,
    /// Makes the old record a tombstone.
    Retire,
    /// Writes the old record once more, to see whether it is a tombstone.
    Fence,
    /// Ends the session in the old store.
    EndOld,
    /// Gives the session up in the old store, in favour of this copy.
    GiveUp(usize),
    /// Makes this copy the session.
    Settle(usize),
    /// Ends this copy of a session that is no more.
    Clear(usize),
    /// Deletes in the old store, without a tombstone.
    DeleteOld,
    /// Deletes in the new store, or in the only one.
    Delete,
    Done,
    Refused,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Do(Who, Step),
    /// The store refuses the call for want of room.
    Full(Who, Step),
    /// The call's answer is lost, and the store sends the call again by itself.
    Again(Who, Step),
    /// The answer to a sign-in's last call is lost, and the whole sign-in is sent again.
    Resume(Who),
    /// The call's answer is lost. It takes effect at once, later or never.
    Lost(Who, Effect),
    /// The call whose answer was lost takes effect.
    Arrive,
    /// The future is dropped, or its process dies.
    Cut(Who),
    /// All that the host was about to do is lost.
    Crash(usize),
    Tick,
    /// The store's clock steps by this much.
    StoreClock(i8),
    /// The host is frozen for a tick, and its steady clock with it.
    Pause(usize),
    /// The store loses the owner's list.
    Evict,
    /// All tombstones come to their end.
    Expire,
    /// The grace of replaced tokens comes to its end.
    GraceEnds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    Now,
    Later,
    Never,
}

impl Who {
    pub(crate) fn host(self) -> usize {
        match self {
            SignIn { host, .. } | Renewal { host } | Revoke { host, .. } => host,
            _ => 0,
        }
    }

    pub(crate) fn is_sign_in(self) -> bool {
        matches!(self, SignIn { .. })
    }
}

impl Step {
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Refused | Self::Failed)
    }
}
