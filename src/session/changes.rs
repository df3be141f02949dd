//! What a request does to its session, as a log that can be played again on a newer record.

use std::fmt;
use std::sync::Arc;

use super::log::Log;
use crate::commit::Attempt;
use crate::error::{Error, Kind};
use crate::record::{CSRF_LEN, Entry, Record, SessionHandle, Values};

/// One change. `Entry` and `Arc` make a copy cheap.
#[derive(Clone)]
pub(crate) enum Op {
    Insert(Entry),
    Remove(Arc<str>),
    /// Removes what was taken, and nothing that took its place meanwhile.
    Take(Entry),
    Update(Arc<str>, Arc<Closure>),
    /// Several keys at once, as the fields of a `TypedSession`.
    Edit(Arc<Edit>),
    Clear,
    Flash(Entry),
    TakeFlash(Entry),
    Idle(u64),
    SignIn(SignIn),
    /// The CSRF secret was handed out: this one, if the session had none yet.
    Pin([u8; CSRF_LEN]),
}

/// The closure of an `update`: JSON in, JSON out, `None` for absence.
pub(crate) type Closure = dyn Fn(Option<&str>) -> Result<Option<Entry>, Error> + Send + Sync;

/// The closure of a `TypedSession::update`: what it makes of these values, as inserts and removals.
pub(crate) type Edit = dyn Fn(&Values) -> Result<Vec<Op>, Error> + Send + Sync;

#[derive(Clone)]
pub(crate) struct SignIn {
    pub(crate) owner: Arc<str>,
    /// When it began, which orders it among revocations that are under way.
    pub(crate) stamp: u64,
    /// When the owner proved who it is: the same, but for a session that began elsewhere.
    pub(crate) signed_in: u64,
    pub(crate) handle: SessionHandle,
    /// Whether the session was another person's: then what the request changed before was that person's too.
    pub(crate) begins_anew: bool,
}

impl Op {
    /// Applies the change and tells whether it made a difference. Runs user code only for `Update` and `Edit`.
    pub(crate) fn apply(&self, to: &mut Record) -> Result<bool, Error> {
        Ok(match self {
            Self::Insert(entry) => put(&mut to.values, entry),
            Self::Flash(entry) => put(&mut to.flash, entry),
            Self::Remove(key) => to.values.remove(key).is_some(),
            Self::Take(entry) => take(&mut to.values, entry),
            Self::TakeFlash(entry) => take(&mut to.flash, entry),
            Self::Update(key, closure) => match closure(to.values.get(key).map(Entry::json))? {
                Some(entry) => put(&mut to.values, &entry),
                None => to.values.remove(key).is_some(),
            },
            Self::Edit(edit) => {
                let mut edited = false;
                for op in edit(&to.values)? {
                    edited |= op.apply(to)?;
                }
                edited
            }
            Self::Clear => {
                let had_any = !(to.values.is_empty() && to.flash.is_empty());
                (to.values, to.flash) = (Values::default(), Values::default());
                had_any
            }
            Self::Idle(idle) => std::mem::replace(&mut to.idle, *idle) != *idle,
            Self::SignIn(sign_in) => {
                sign_in.apply(to);
                true
            }
            Self::Pin(secret) => {
                if to.csrf == [0; CSRF_LEN] {
                    to.csrf = *secret;
                }
                !std::mem::replace(&mut to.pinned, true)
            }
        })
    }
}

impl SignIn {
    fn apply(&self, to: &mut Record) {
        if to.owner.as_ref().is_some_and(|before| *before != self.owner) {
            // Another person's session begins: nothing of the one before may show (CVE-2014-0482). The zero makes
            // the commit give it a lifetime of its own.
            (to.values, to.flash) = (Values::default(), Values::default());
            (to.created, to.renewed, to.idle, to.pinned) = (0, 0, 0, false);
        }
        to.owner = Some(Arc::clone(&self.owner));
        to.signed_in = self.signed_in;
        to.handle = self.handle;
    }
}

/// Inserts an entry unless an equal one is there already.
fn put(values: &mut Values, entry: &Entry) -> bool {
    let place = values.find(entry.key());
    if place.is_ok_and(|at| values.entries()[at].equals(entry)) {
        return false;
    }
    values.put(place, entry.clone());
    true
}

fn take(values: &mut Values, taken: &Entry) -> bool {
    values.get(taken.key()).is_some_and(|present| present.equals(taken)) && values.remove(taken.key()).is_some()
}

/// What a request wants done and has not yet committed.
#[derive(Clone, Default)]
pub(crate) struct Intent {
    /// The session that was loaded is to be destroyed; the rest belongs to a new one.
    pub(crate) destroy: bool,
    /// The token is to be replaced, and the CSRF secret by this one.
    pub(crate) renew: Option<[u8; CSRF_LEN]>,
    /// Whether any change in the log made a difference.
    pub(crate) edited: bool,
    pub(crate) log: Log,
    /// An earlier try whose answer was lost.
    pub(crate) pending: Option<Box<Attempt>>,
}

impl Intent {
    pub(crate) fn is_nothing(&self) -> bool {
        !self.destroy && self.renew.is_none() && self.log.is_empty()
    }

    /// Whether there is something that a commit would write.
    pub(crate) fn is_change(&self) -> bool {
        self.destroy || self.renew.is_some() || self.edited
    }

    /// Whether it is nothing but changes to values, which need no new token and no new deadline.
    pub(crate) fn is_plain(&self) -> bool {
        let is_other = |op: &Op| matches!(op, Op::Idle(_) | Op::SignIn(_));
        self.edited && !self.destroy && self.renew.is_none() && self.pending.is_none() && !self.log.iter().any(is_other)
    }

    pub(crate) fn sets_idle(&self) -> bool {
        self.log.iter().any(|op| matches!(op, Op::Idle(_)))
    }

    /// When the sign-in began that this would commit.
    pub(crate) fn sign_in_stamp(&self) -> Option<u64> {
        self.log.iter().rev().find_map(|op| match op {
            Op::SignIn(sign_in) => Some(sign_in.stamp),
            _ => None,
        })
    }

    /// Plays the log again on another record, and tells whether it made a difference.
    ///
    /// # Errors
    ///
    /// A value that an `update` can no longer read, or that no longer fits.
    pub(crate) fn replay(&self, on: &Record, limit: usize) -> Result<(Record, bool), Error> {
        let mut record = on.clone();
        let mut edited = false;
        // The record may have no owner by now, since that person's session has ended: the changes must not outlive it.
        let anew = |op: &Op| matches!(op, Op::SignIn(sign_in) if sign_in.begins_anew);
        let theirs = self.log.iter().rev().position(anew).map_or(0, |last| self.log.len() - 1 - last);
        for op in self.log.iter().skip(theirs) {
            edited |= op.apply(&mut record)?;
        }
        if let Some(secret) = self.renew {
            record.csrf = secret;
        }
        fits(&record, limit)?;
        Ok((record, edited))
    }

    /// Puts what a failed commit could not do in front of what was asked for since.
    pub(crate) fn prepend(&mut self, mut earlier: Self) {
        if self.destroy {
            // What came before a `destroy` has no effect, except that it may have been a `destroy` too.
            return;
        }
        self.pending = earlier.pending;
        earlier.log.append(std::mem::take(&mut self.log));
        self.log = earlier.log;
        self.destroy = earlier.destroy;
        self.renew = self.renew.or(earlier.renew);
        self.edited |= earlier.edited;
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intent")
            .field("destroy", &self.destroy)
            .field("renew", &self.renew.is_some())
            .field("edited", &self.edited)
            .field("log", &self.log.len())
            .finish_non_exhaustive()
    }
}

/// Refuses a record that is larger than `limit` bytes, naming the value to look at first.
pub(crate) fn fits(record: &Record, limit: usize) -> Result<(), Error> {
    let actual = record.encoded_len();
    if actual <= limit {
        return Ok(());
    }
    Err(Kind::TooLarge { actual, allowed: limit, largest: record.largest_key() }.into())
}
