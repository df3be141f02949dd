//! The closures of `update`, which are run again for each change that comes meanwhile, and so must make none themselves.

use std::cell::Cell;

use crate::error::{Error, Kind};

/// Which session of a request is meant, wherever its handles are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

thread_local! {
    /// The session whose closure this thread runs, if any, and whether it was changed meanwhile by this thread.
    static RUNNING: Cell<Option<(Id, bool)>> = const { Cell::new(None) };
}

impl Id {
    pub(super) fn of<T>(inner: &T) -> Self {
        Self(std::ptr::from_ref(inner).addr())
    }

    /// This thread changes the session.
    #[inline]
    pub(super) fn disturb(self) {
        if RUNNING.get().is_some_and(|(running, _)| running == self) {
            RUNNING.set(Some((self, true)));
        }
    }

    /// Runs a closure of the program that must not change the session: one that does would be run again because of that, for
    /// ever.
    pub(super) fn alone<R>(self, closure: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
        // Where it panics this stays, and does no harm: whoever comes next puts its own in its place.
        let outer = RUNNING.replace(Some((self, false)));
        let result = closure();
        let is_disturbed = RUNNING.replace(outer) == Some((self, true));
        if is_disturbed { Err(Kind::Entangled.into()) } else { result }
    }
}
