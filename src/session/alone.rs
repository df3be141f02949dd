//! The closures of `update`, which are run again for each change that comes meanwhile, and so must make none themselves.

use std::cell::Cell;

use super::{Inner, Work};
use crate::error::{Error, Kind};
use crate::record::Record;

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

impl Inner {
    pub(super) fn id(&self) -> Id {
        Id::of(self)
    }

    /// Changes the session by what it is: user code makes a change of what was seen, outside the lock, and again where another
    /// handle changed that meanwhile. `install` gives the change back, or `None` if it no longer fits.
    pub(super) fn change<S, C, R>(
        &self,
        see: impl Fn(Option<&Record>) -> S,
        make: impl Fn(&S) -> Result<C, Error>,
        install: impl Fn(&mut Work, &S, C) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        loop {
            let seen = self.read(|record, _| see(record));
            let change = make(&seen)?;
            if let Some(result) = self.write(|work| install(work, &seen, change))? {
                return Ok(result);
            }
        }
    }
}
