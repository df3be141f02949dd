//! The changes that a request makes to its session, as a change log that can be replayed on a newer record.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::span;
use crate::error::{Error, Kind};
use crate::record::{Began, Beginning, CSRF_LEN, Entry, Extensions, Record, SessionHandle, Values, Version};
use crate::store::RevocationMark;
use crate::token::SessionToken;

/// One change. `Entry` and `Arc` make a copy cheap.
#[derive(Clone)]
pub(crate) enum Op {
    Insert(Entry),
    Remove(Arc<str>),
    /// Removes the entry that was taken, but not a newer entry in its place.
    Take(Entry),
    Update(Arc<str>, Arc<Closure>),
    /// Changes several keys at once, as a `TypedSession` does.
    Edit(Arc<Edit>),
    Clear,
    Flash(Entry),
    TakeFlash(Entry),
    Idle(u64),
    SignIn(SignIn),
    /// Keeps the session's CSRF secret, since it was handed out. A session that has none yet gets this one.
    KeepCsrf([u8; CSRF_LEN]),
}

/// The closure of an `update`: JSON in, JSON out, `None` for absence.
pub(crate) type Closure = dyn Fn(Option<&str>) -> Result<Option<Entry>, Error> + Send + Sync;

/// The closure of a `TypedSession::update`: values in, inserts and removals out.
pub(crate) type Edit = dyn Fn(&Values) -> Result<Vec<Op>, Error> + Send + Sync;

#[derive(Clone)]
pub(crate) struct SignIn {
    pub(crate) owner: Arc<str>,
    /// The time at which the sign-in began, which orders it among revocations: of an imported one, when the owner proved
    /// their identity.
    pub(crate) began: Beginning,
    /// The time at which the handler signed the owner in, by the layer's clock in microseconds.
    pub(crate) time: u64,
    /// The time at which the owner proved their identity, in microseconds.
    pub(crate) signed_in: u64,
    pub(crate) handle: SessionHandle,
    /// True if the session was another person's: then the request's earlier changes were that person's too.
    pub(crate) begins_anew: bool,
}

impl Op {
    /// Applies the change and returns whether it made a difference. Runs user code only for `Update` and `Edit`.
    pub(crate) fn apply(&self, to: &mut Record) -> Result<bool, Error> {
        Ok(match self {
            Self::Insert(entry) => to.values.insert(entry),
            Self::Flash(entry) => to.flash.insert(entry),
            Self::Remove(key) => to.values.remove(key).is_some(),
            Self::Take(entry) => take(&mut to.values, entry),
            Self::TakeFlash(entry) => take(&mut to.flash, entry),
            Self::Update(key, closure) => match closure(to.values.get(key).map(Entry::json))? {
                Some(entry) => to.values.insert(&entry),
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
            Self::KeepCsrf(secret) => {
                if to.csrf == [0; CSRF_LEN] {
                    to.csrf = *secret;
                }
                !std::mem::replace(&mut to.csrf_handed_out, true)
            }
        })
    }

    /// Returns the most bytes that the change can add.
    pub(super) fn growth(&self) -> usize {
        match self {
            Self::Insert(entry) | Self::Flash(entry) => 8 + entry.key().len() + entry.json().len(),
            Self::SignIn(sign_in) => sign_in.owner.len(),
            _ => 0,
        }
    }
}

impl SignIn {
    /// Returns whether the sign-in was made so long ago that a store may have removed the mark of a revocation since.
    pub(crate) fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.time) >= span(RevocationMark::LIFETIME)
    }

    fn apply(&self, to: &mut Record) {
        if self.begins_anew || to.owner.as_ref().is_some_and(|before| *before != self.owner) {
            // Another person's session begins, and must show nothing of the session before (CVE-2014-0482). The zero in
            // `created` makes the commit give it a lifetime of its own.
            (to.values, to.flash) = (Values::default(), Values::default());
            (to.created, to.renewed, to.idle, to.csrf_handed_out) = (0, 0, 0, false);
            to.extensions = Extensions::default();
        }
        to.owner = Some(Arc::clone(&self.owner));
        (to.signed_in, to.sign_in, to.began) = (self.signed_in, 0, Began::at(self.began));
        to.handle = self.handle;
    }
}

fn take(values: &mut Values, taken: &Entry) -> bool {
    values.get(taken.key()).is_some_and(|present| present.equals(taken)) && values.remove(taken.key()).is_some()
}

/// The changes that a request has asked for and not yet committed.
#[derive(Clone, Default)]
pub(crate) struct Intent {
    /// True if the loaded session is to be destroyed; the other changes then belong to a new session.
    pub(crate) destroy: bool,
    /// The new CSRF secret, if the token is to be replaced.
    pub(crate) renew: Option<[u8; CSRF_LEN]>,
    /// True if any change in the log made a difference.
    pub(crate) edited: bool,
    /// The log holds one change without an allocation, and most requests make one.
    pub(crate) log: SmallVec<[Op; 1]>,
    /// An earlier write whose answer was lost.
    pub(crate) pending: Option<Box<Attempt>>,
}

/// A write that was sent to the store and is not answered yet.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) token: SessionToken,
    pub(crate) version: Version,
    /// The number of logged changes that the written record holds.
    pub(crate) ops: usize,
    pub(crate) renew: Option<[u8; CSRF_LEN]>,
    /// True if the client has to be sent the token.
    pub(crate) is_news: bool,
}

impl Intent {
    pub(crate) fn is_nothing(&self) -> bool {
        !self.destroy && self.renew.is_none() && self.log.is_empty()
    }

    /// Returns whether there is something that a commit would write.
    pub(crate) fn is_change(&self) -> bool {
        self.destroy || self.renew.is_some() || self.edited
    }

    /// Returns whether there are only changes to values, which need no new token and no new deadline.
    pub(crate) fn is_simple(&self) -> bool {
        let is_other = |op: &Op| matches!(op, Op::Idle(_) | Op::SignIn(_));
        self.edited && !self.destroy && self.renew.is_none() && self.pending.is_none() && !self.log.iter().any(is_other)
    }

    /// Returns the idle timeout that this log sets, in microseconds.
    pub(crate) fn idle(&self) -> Option<u64> {
        self.log.iter().rev().find_map(|op| match op {
            Op::Idle(idle) => Some(*idle),
            _ => None,
        })
    }

    /// Returns the sign-in in this log, if there is one.
    pub(crate) fn sign_in(&self) -> Option<&SignIn> {
        self.log.iter().rev().find_map(|op| match op {
            Op::SignIn(sign_in) => Some(sign_in),
            _ => None,
        })
    }

    /// Replays the change log on another record, and returns whether it made a difference.
    ///
    /// # Errors
    ///
    /// An `update` cannot read the newer value, or the record becomes too large.
    pub(crate) fn replay(&self, on: &Record, limit: usize) -> Result<(Record, bool), Error> {
        let mut record = on.clone();
        let mut edited = false;
        // Changes before such a sign-in belong to the person before. They are skipped even if that person's session has
        // ended and the record has no owner.
        let anew = |op: &Op| matches!(op, Op::SignIn(sign_in) if sign_in.begins_anew);
        let theirs = self.log.iter().rev().position(anew).map_or(0, |last| self.log.len() - 1 - last);
        for op in self.log.iter().skip(theirs) {
            edited |= op.apply(&mut record)?;
        }
        // Set by this request for whoever the session goes on with.
        record.idle = self.idle().unwrap_or(record.idle);
        if let Some(secret) = self.renew {
            record.csrf = secret;
        }
        fits(&record, limit)?;
        Ok((record, edited))
    }

    /// Puts the changes of a failed commit in front of the changes made since.
    pub(crate) fn prepend(&mut self, mut earlier: Self) {
        if self.destroy {
            // Changes before a `destroy` have no effect.
            return;
        }
        self.pending = earlier.pending;
        earlier.log.append(&mut self.log);
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

/// Refuses a record that is larger than `limit` bytes, and names the largest value.
pub(crate) fn fits(record: &Record, limit: usize) -> Result<(), Error> {
    let actual = record.encoded_len();
    if actual <= limit {
        return Ok(());
    }
    Err(Kind::TooLarge { actual, allowed: limit, largest: record.largest_key() }.into())
}
