//! Detects closures of `update` that change the session themselves: a commit runs them again for each conflict.

use std::cell::Cell;

use crate::error::{Error, Kind};

/// Identifies one session of a request, by any of its clones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CellId(usize);

thread_local! {
    /// The session whose closure this thread runs, and whether this thread has changed that session meanwhile.
    static RUNNING: Cell<Option<(CellId, bool)>> = const { Cell::new(None) };
}

impl CellId {
    pub(super) fn of<T>(cell: &T) -> Self {
        Self(std::ptr::from_ref(cell).addr())
    }

    /// Notes that this thread changes the session.
    #[inline]
    pub(super) fn disturb(self) {
        if RUNNING.get().is_some_and(|(running, _)| running == self) {
            RUNNING.set(Some((self, true)));
        }
    }

    /// Runs a closure that must not change the session: a change would run the closure again, without end.
    pub(super) fn run_alone<R>(self, closure: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
        // If the closure panics, this entry stays and does no harm: the next closure replaces it.
        let outer = RUNNING.replace(Some((self, false)));
        let result = closure();
        let is_disturbed = RUNNING.replace(outer) == Some((self, true));
        if is_disturbed { Err(Kind::Entangled.into()) } else { result }
    }
}
