//! A request's session between load and commit: what was loaded apart from what was changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Scope;
use super::changes::{Intent, Op, fits};
use super::gate::Gate;
use crate::error::{Error, Kind};
use crate::layer::Shared;
use crate::record::{CSRF_LEN, Record, SessionHandle, Values, Version};
use crate::token::SessionToken;

/// What all handles of one request's session share.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    /// The session of the layer around this one.
    pub(crate) outer: Option<Scope>,
    pub(crate) carrier: Carrier,
    state: Mutex<State>,
    pub(crate) gate: Gate,
}

pub(crate) struct State {
    pub(crate) base: Base,
    /// Whether the handler looked at the session: then the response varies with the cookie.
    pub(crate) accessed: bool,
    pub(crate) head: Head,
    /// Whether changes were dropped with the response, of which nobody was told yet.
    pub(crate) dropped: bool,
    /// Made at the first change.
    pub(crate) work: Option<Work>,
    /// What the response's cookie has to say so far.
    pub(crate) reply: Reply,
}

/// What brings tokens from the client and to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Cookie,
    /// A header of the layer's own, for clients without cookies.
    Header,
}

/// Whether a new token can still reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Open,
    /// The response has been decided.
    Sent,
    /// There will be no response, since the request was dropped; with how many changes it had until then.
    Lost(u64),
}

/// What the store holds, as far as this request knows.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    New,
    Live(Live),
    /// The token was dead when it came: only a `renew` of this request itself may begin a session.
    Dead(SessionToken),
    /// The session ended under this request, and its token is as dead. Where it is known, a `destroy` ends whatever it was
    /// renewed to.
    Retired(Option<SessionToken>),
    /// The store could not be read, and the layer was told to go on.
    Unavailable,
}

#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) token: SessionToken,
    pub(crate) record: Arc<Record>,
    /// Whether the client is to be sent another token although nothing changed: it was sealed with an old key, or the one
    /// that came leads on to this one.
    pub(crate) outdated: bool,
}

/// The changed session as the handler sees it, and the changes that are not yet committed.
#[derive(Clone)]
pub(crate) struct Work {
    /// Shared only while a commit is under way.
    pub(crate) draft: Arc<Record>,
    pub(crate) intent: Intent,
    /// Counts changes, so that a commit sees what came while it was under way.
    pub(crate) edits: u64,
    /// Whether the draft is not what the intent makes of the base.
    pub(crate) is_stale: bool,
}

/// What the response does to the client's cookie. A later answer replaces an earlier one, except by `Leave`.
#[derive(Debug, Clone, Default)]
pub(crate) enum Reply {
    #[default]
    Leave,
    Set {
        token: SessionToken,
        deadline: u64,
        /// Whether the session has an idle timeout of its own ("remember me").
        remembered: bool,
        /// When that was decided, if the response follows at once.
        as_of: Option<u64>,
    },
    Remove,
}

impl Reply {
    /// The cookie of a live session, decided at `as_of` if the response follows at once.
    pub(crate) fn set(live: &Live, as_of: Option<u64>) -> Self {
        let remembered = live.record.idle > 0;
        Self::Set { token: live.token.clone(), deadline: live.record.deadline, remembered, as_of }
    }

    pub(crate) fn or_keep(self, earlier: Self) -> Self {
        if matches!(self, Self::Leave) { earlier } else { self }
    }
}

impl Inner {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, base: Base, outer: Option<Scope>, carrier: Carrier) -> Self {
        let state = State { base, accessed: false, head: Head::Open, dropped: false, work: None, reply: Reply::Leave };
        Self { shared, outer, carrier, state: Mutex::new(state), gate: Gate::default() }
    }

    /// Never held while user code runs or across an await; a panic elsewhere left the state whole.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn parts(&mut self) -> (&Shared, &mut State) {
        (&self.shared, self.state.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the session as the handler sees it; `None` where there is none yet. This is an access.
    pub(crate) fn read<R>(&self, look: impl FnOnce(Option<&Record>, &State) -> R) -> R {
        let mut state = self.lock();
        state.accessed = true;
        look(state.current(), &state)
    }

    /// Changes the session as the handler sees it.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut Work) -> Result<R, Error>) -> Result<R, Error> {
        let mut state = self.lock();
        let work = state.work_mut()?;
        let result = change(work)?;
        work.edits += 1;
        drop(state);
        self.id().disturb();
        Ok(result)
    }

    /// Ends a request whose response will never be sent.
    pub(crate) fn lose(&self) {
        let mut state = self.lock();
        let edits = state.work.as_ref().map_or(0, |work| work.edits);
        state.head = Head::Lost(edits);
    }

    /// Installs what a commit or reload brought, with what was changed meanwhile on top.
    pub(crate) fn rebase(&self, base: Base, reply: Reply) {
        let mut state = self.lock();
        if base.is_over() && matches!(state.reply, Reply::Set { .. }) {
            // The cookie of a session that has ended must not replace that of whatever came after it.
            state.reply = Reply::Leave;
        }
        state.base = base;
        state.reply = reply.or_keep(std::mem::take(&mut state.reply));
        while let Some(work) = state.work.take() {
            if work.intent.is_nothing() {
                return;
            }
            let on = if work.intent.destroy { None } else { state.base.record().cloned() };
            let mut stale = work.clone();
            stale.is_stale = true;
            state.work = Some(stale);
            // Closures are user code: they run outside the lock, and again if yet another change came meanwhile.
            drop(state);
            let replayed = work.intent.replay(&on.unwrap_or_else(blank), usize::MAX);
            // A closure that cannot read the newer value fails again in the commit, which reports it.
            let Ok((draft, edited)) = replayed else { return };
            state = self.lock();
            if let Some(latest) = state.work.as_mut().filter(|latest| latest.edits == work.edits) {
                latest.draft = Arc::new(draft);
                latest.intent.edited = edited;
                latest.is_stale = false;
                return;
            }
        }
    }
}

impl State {
    /// The record that the handler sees.
    pub(crate) fn current(&self) -> Option<&Record> {
        self.work.as_ref().map(|work| &*work.draft).or_else(|| self.base.record())
    }

    /// The CSRF secret that forms hold: the session's, once it was handed out. A dead token, for which nothing can be
    /// stored, has one of its own, so that the sign-in form works for whoever was signed out elsewhere.
    pub(crate) fn csrf(&self) -> Option<[u8; CSRF_LEN]> {
        let renews = self.work.as_ref().is_some_and(|work| work.intent.renew.is_some());
        match (self.current().filter(|record| record.pinned), &self.base) {
            (Some(record), _) => Some(record.csrf),
            (None, Base::Dead(token)) if !renews => Some(token.derive(b"tower-session-layer csrf of the dead v1")),
            (None, _) => None,
        }
    }

    pub(crate) fn work_mut(&mut self) -> Result<&mut Work, Error> {
        self.accessed = true;
        if matches!(self.base, Base::Unavailable) {
            return Err(Kind::Unavailable.into());
        }
        Ok(self.work.get_or_insert_with(|| {
            let draft = Arc::new(self.base.record().cloned().unwrap_or_else(blank));
            Work { draft, intent: Intent::default(), edits: 0, is_stale: false }
        }))
    }
}

impl Base {
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Live(live) => Some(&live.record),
            _ => None,
        }
    }

    pub(crate) fn shared_record(&self) -> Option<Arc<Record>> {
        match self {
            Self::Live(live) => Some(Arc::clone(&live.record)),
            _ => None,
        }
    }

    /// Whether the token is dead, so that what the request changes has nowhere to go.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Dead(_) | Self::Retired(_))
    }
}

impl Work {
    pub(crate) fn draft_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.draft)
    }

    /// Applies a change without user code in it, unless the session would become too large.
    pub(crate) fn apply(&mut self, op: Op, limit: usize) -> Result<(), Error> {
        let edited = self.make(std::slice::from_ref(&op), limit)?;
        self.log(op, edited);
        Ok(())
    }

    /// Applies changes, all or none, and logs another, which a replay is to do in their place.
    pub(crate) fn apply_as(&mut self, ops: &[Op], logged: Op, limit: usize) -> Result<(), Error> {
        let edited = self.make(ops, limit)?;
        self.log(logged, edited);
        Ok(())
    }

    /// Applies changes without user code in them, all or none.
    pub(crate) fn apply_all(&mut self, ops: Vec<Op>, limit: usize) -> Result<(), Error> {
        let edited = self.make(&ops, limit)?;
        ops.into_iter().for_each(|op| self.log(op, edited));
        Ok(())
    }

    fn make(&mut self, ops: &[Op], limit: usize) -> Result<bool, Error> {
        let growth: usize = ops.iter().map(Op::growth).sum();
        let before = (self.draft.encoded_len() + growth > limit).then(|| Arc::clone(&self.draft));
        let mut edited = false;
        for op in ops {
            edited |= op.apply(self.draft_mut())?;
        }
        if let Some(before) = before.filter(|before| before.encoded_len() < self.draft.encoded_len())
            && let Err(error) = fits(&self.draft, limit)
        {
            self.draft = before;
            return Err(error);
        }
        Ok(edited)
    }

    pub(crate) fn log(&mut self, op: Op, edited: bool) {
        self.intent.log.push(op);
        self.intent.edited |= edited;
    }
}

impl Op {
    /// At most how many bytes the change adds.
    fn growth(&self) -> usize {
        match self {
            Self::Insert(entry) | Self::Flash(entry) => 8 + entry.key().len() + entry.json().len(),
            Self::SignIn(sign_in) => sign_in.owner.len(),
            _ => 0,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let known = match state.head {
            // A request that ends by itself without an answer drops its changes, as it should.
            Head::Open => return,
            Head::Sent => 0,
            Head::Lost(edits) => edits,
        };
        if state.work.as_ref().is_some_and(|work| work.intent.is_change() && work.edits > known) {
            tracing::warn!(
                name: "session.changes.lost",
                cookie = self.shared.cookie.name(),
                "a session was changed after the response was committed, and the change is lost: call `commit()`"
            );
        }
    }
}

/// A session that nothing was done to yet. The commit fills in what a new one needs.
pub(crate) fn blank() -> Record {
    Record {
        created: 0,
        seen: 0,
        deadline: 0,
        absolute: 0,
        idle: 0,
        signed_in: 0,
        renewed: 0,
        version: Version::after(None),
        handle: SessionHandle::from_bytes([0; 16]),
        owner: None,
        csrf: [0; 24],
        pinned: false,
        flash: Values::default(),
        values: Values::default(),
    }
}
