//! From what a request did to what the store is asked: first a decision without I/O, then its execution.

mod attempt;
mod execute;
mod limit;
mod overflow;
mod plain;
mod refusal;
mod retreat;
mod stamp;
mod swap;
mod watch;

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::layer::Shared;
use crate::record::Record;
use crate::session::{Base, Head, Intent, Live, Reply, Session, State, blank};
use crate::token::SessionToken;

pub(crate) use self::attempt::Attempt;
pub(crate) use self::execute::settle;
pub(crate) use self::limit::Limit;
pub(crate) use self::plain::{Plain, settle_plainly, waited};
pub(crate) use self::watch::Met;

/// On what occasion a session is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The handler called `commit()`.
    Explicit,
    /// The handler called `reload()`.
    Reload,
    /// The handler answered.
    Response { is_server_error: bool, is_not_modified: bool },
    /// The inner service failed: there is no response to put a cookie on.
    Failed,
}

impl Ending {
    /// Whether the request ends with this.
    fn is_last(self) -> bool {
        matches!(self, Self::Response { .. } | Self::Failed)
    }
}

/// What the store is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Nothing,
    /// Moves the deadline there.
    Touch(u64),
    /// Drops changes to a session that has ended.
    Refuse,
    /// Ends the session that was loaded.
    Destroy,
    /// Begins a session, after ending the one that was loaded if the intent says so.
    Create,
    /// Writes the session that was loaded, under a fresh token if that is asked, or removes it if nothing is left.
    Write,
}

/// Decides what to ask the store.
fn plan(base: &Base, intent: &Intent, draft: &Record, refresh: Option<u64>) -> Plan {
    match base {
        Base::New if intent.is_change() && !draft.is_empty() => Plan::Create,
        Base::Retired(Some(_)) if intent.destroy && (intent.renew.is_none() || draft.is_empty()) => Plan::Destroy,
        // Whoever renews gets a session of its own where the one it knew has ended.
        Base::Dead(_) | Base::Retired(_) if intent.renew.is_some() && !draft.is_empty() => Plan::Create,
        Base::Dead(_) | Base::Retired(_) if intent.renew.is_none() && intent.edited => Plan::Refuse,
        Base::New | Base::Dead(_) | Base::Retired(_) | Base::Unavailable => Plan::Nothing,
        Base::Live(_) if intent.destroy && draft.is_empty() => Plan::Destroy,
        Base::Live(_) if intent.destroy => Plan::Create,
        Base::Live(_) if intent.is_change() => Plan::Write,
        Base::Live(live) if live.outdated => Plan::Touch(refresh.unwrap_or(live.record.deadline)),
        Base::Live(_) => refresh.map_or(Plan::Nothing, Plan::Touch),
    }
}

/// What a commit works on, taken out of the session so that no lock is held meanwhile.
struct Job {
    base: Base,
    intent: Intent,
    draft: Arc<Record>,
    plan: Plan,
    /// Whether the deadline may move and the cookie be sent again.
    may_refresh: bool,
    /// Whether the token is replaced because of its age.
    replaces_token: bool,
    /// Whether a new token can still reach the client.
    can_send: bool,
    /// Whether the draft has to be made anew, since a replay failed.
    is_stale: bool,
    /// Whether the request ends with this commit.
    is_last: bool,
    /// Whether what an earlier commit may have stored is no longer wanted.
    withdraws: bool,
    /// Microseconds since the Unix epoch.
    now: u64,
}

impl Job {
    fn take(state: &mut State, shared: &Shared, ending: Ending, now: u64) -> Result<Self, Error> {
        if ending == Ending::Explicit && std::mem::take(&mut state.dropped) {
            return Err(if state.base.is_over() { Kind::Gone } else { Kind::Dropped }.into());
        }
        let (mut intent, mut draft) = match &mut state.work {
            Some(work) => (std::mem::take(&mut work.intent), Arc::clone(&work.draft)),
            None => (Intent::default(), state.base.shared_record().unwrap_or_else(|| Arc::new(blank()))),
        };
        let base = state.base.clone();
        let drops_values = match ending {
            Ending::Failed => true,
            Ending::Response { is_server_error, .. } => is_server_error && !shared.save_on_server_error,
            Ending::Explicit | Ending::Reload => false,
        };
        if drops_values {
            let renew = intent.renew.filter(|_| ending != Ending::Failed && !intent.destroy);
            state.dropped |= intent.edited || renew != intent.renew;
            intent = Intent { destroy: intent.destroy, renew, pending: intent.pending, ..Intent::default() };
            draft = if intent.destroy { None } else { base.shared_record() }.unwrap_or_else(|| Arc::new(blank()));
            if let Some(secret) = intent.renew {
                Arc::make_mut(&mut draft).csrf = secret;
            }
        }
        let is_not_modified = matches!(ending, Ending::Response { is_not_modified: true, .. });
        let can_send = state.head == Head::Open && !is_not_modified && ending != Ending::Failed;
        // A refresh is for requests that used the session, and goes with a cookie.
        let may_refresh = state.accessed && can_send;
        let refresh = base.record().filter(|_| may_refresh).and_then(|record| shared.lifetime.refresh(record, now));
        // Explicit commits leave it to the end of the request, which always has a cookie to send.
        let replaces_token = may_refresh
            && ending.is_last()
            && !draft.is_empty()
            && base.record().is_some_and(|record| shared.lifetime.is_renewal_due(record, now));
        let mut plan = match plan(&base, &intent, &draft, refresh) {
            Plan::Nothing | Plan::Touch(_) if replaces_token => Plan::Write,
            plan => plan,
        };
        let needs_cookie = match plan {
            // A `destroy` that comes before it is carried out all the same.
            Plan::Create => shared.is_sealed() || !intent.destroy,
            // The record's deadline never moves without the cookie's.
            Plan::Write => shared.is_sealed() || ((intent.renew.is_some() || intent.sets_idle()) && !draft.is_empty()),
            Plan::Touch(_) | Plan::Destroy => shared.is_sealed(),
            Plan::Nothing | Plan::Refuse => false,
        };
        if needs_cookie && !can_send {
            if !ending.is_last() {
                if let Some(work) = &mut state.work {
                    work.intent.prepend(intent);
                }
                return Err(Kind::ResponseSent.into());
            }
            if intent.is_change() {
                state.dropped = true;
                tracing::warn!(
                    name: "session.changes.not_modified",
                    cookie = shared.cookie.name(),
                    "a 304 response carries no session cookie: changes that need one are dropped"
                );
            }
            plan = if intent.destroy { Plan::Destroy } else { Plan::Nothing };
        }
        if plan == Plan::Nothing
            && matches!(base, Base::New)
            && intent.sets_idle()
            && !ending.is_last()
            && let Some(work) = &mut state.work
        {
            // It holds for whatever the request may yet begin.
            work.intent.prepend(std::mem::take(&mut intent));
        }
        if ending.is_last() {
            state.head = Head::Sent;
        }
        let is_stale = state.work.as_ref().is_some_and(|work| work.is_stale) && !drops_values;
        let (is_last, withdraws) = (ending.is_last(), drops_values || intent.destroy);
        Ok(Self { base, intent, draft, plan, may_refresh, replaces_token, can_send, is_stale, is_last, withdraws, now })
    }

    /// Puts back what could not be committed, for another try; at the end of a request there is none.
    fn give_back(self, state: &mut State, ending: Ending) {
        let is_live = |base: &Base| matches!(base, Base::Live(_));
        if is_live(&state.base) && (self.intent.destroy || !is_live(&self.base)) {
            // The client is to forget the token even where the store could not be told.
            state.reply = Reply::Remove;
        }
        state.base = self.base;
        let Some(work) = &mut state.work else { return };
        if !ending.is_last() {
            work.intent.prepend(self.intent);
            return;
        }
        // What the request did is dropped with its response; what came meanwhile stays to be committed.
        state.dropped |= self.intent.is_change();
        work.is_stale = true;
        if work.intent.is_nothing() {
            state.work = None;
        }
    }
}

/// What a commit came to.
struct Settled {
    base: Base,
    reply: Reply,
    fate: Fate,
}

/// What became of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are durable, or there were none.
    Stored,
    /// Dropped: the session had ended.
    Gone,
    /// Dropped: the owner's sessions were revoked since the sign-in, or enough signed in after it.
    Refused,
    /// Dropped: they needed a cookie, at the end of a request that can send none.
    Unsent,
}

impl Settled {
    /// The session is live; `is_news` to the client if its token or deadline changed.
    fn live(token: SessionToken, record: Arc<Record>, is_news: bool) -> Self {
        let live = Live { token, record, outdated: false };
        let reply = if is_news { Reply::set(&live, None) } else { Reply::Leave };
        Self { base: Base::Live(live), reply, fate: Fate::Stored }
    }

    fn unchanged(base: Base) -> Self {
        Self { base, reply: Reply::Leave, fate: Fate::Stored }
    }

    fn gone(token: SessionToken) -> Self {
        Self { base: Base::Retired(Some(token)), reply: Reply::Leave, fate: Fate::Gone }
    }

    fn refused(base: Base) -> Self {
        Self { fate: Fate::Refused, ..Self::unchanged(base) }
    }
}

/// Decides the end of a request that needs no store, which most do not: `None` if it needs one.
///
/// Afterwards no token can be sent.
#[inline]
pub(crate) fn finish_at_once(session: &mut Session, loaded_at: u64) -> Option<Finish> {
    session.with_state(|shared, state| is_idle(shared, state, loaded_at).then(|| finish(state)))
}

#[inline]
fn is_idle(shared: &Shared, state: &State, loaded_at: u64) -> bool {
    match (&state.work, &state.base) {
        (Some(_), _) => false,
        (None, Base::Live(live)) if state.accessed => {
            !live.outdated && !shared.lifetime.is_due(&live.record, loaded_at)
        }
        (None, _) => true,
    }
}

/// What the response has to show of the session.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) reply: Reply,
    pub(crate) accessed: bool,
}

/// Ends the request: no token can be sent from now on.
#[inline]
pub(crate) fn finish(state: &mut State) -> Finish {
    state.head = Head::Sent;
    Finish { reply: std::mem::take(&mut state.reply), accessed: state.accessed }
}

/// Whether the session asks for the end of another, its own from before or one of its owner's, which must not depend on a
/// client that stays.
pub(crate) fn ends_another(session: &Session) -> bool {
    let inner = session.inner();
    let is_limited = inner.shared.max_sessions_per_owner.is_some();
    let ends = |intent: &Intent| intent.destroy || (is_limited && intent.sign_in_stamp().is_some());
    inner.lock().work.as_ref().is_some_and(|work| ends(&work.intent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, Values};

    #[test]
    fn the_plan_follows_from_base_and_intent() {
        let filled = Record { values: Values::from_sorted(vec![Entry::new("a", "1")]), ..blank() };
        let live = |outdated| {
            Base::Live(Live { token: SessionToken::from_random([0; 24]), record: filled.clone().into(), outdated })
        };
        let nothing = Intent::default;
        let edited = || Intent { edited: true, ..nothing() };
        let renewed = || Intent { renew: Some([0; 24]), ..nothing() };
        let destroyed = || Intent { destroy: true, ..nothing() };
        let again = || Intent { destroy: true, ..renewed() };
        let one = || SessionToken::from_random([0; 24]);
        let (full, empty) = (&filled, &blank());
        for (what, base, intent, draft, refresh, expected) in [
            ("an anonymous read", Base::New, nothing(), empty, None, Plan::Nothing),
            ("a first write", Base::New, edited(), full, None, Plan::Create),
            ("a first write undone", Base::New, edited(), empty, None, Plan::Nothing),
            ("renewing nothing", Base::New, renewed(), empty, None, Plan::Nothing),
            ("a late write", Base::Retired(None), edited(), full, None, Plan::Refuse),
            ("a write with a dead token", Base::Dead(one()), edited(), full, None, Plan::Refuse),
            ("a late write once more", Base::Retired(Some(one())), edited(), full, None, Plan::Refuse),
            ("a late logout", Base::Retired(Some(one())), destroyed(), empty, None, Plan::Destroy),
            ("a late logout and a write", Base::Retired(Some(one())), destroyed(), full, None, Plan::Destroy),
            ("a late logout and a sign-in", Base::Retired(Some(one())), again(), full, None, Plan::Create),
            ("a late logout and a renewal of nothing", Base::Retired(Some(one())), again(), empty, None, Plan::Destroy),
            ("a late read", Base::Retired(None), nothing(), empty, None, Plan::Nothing),
            ("a read", live(false), nothing(), full, None, Plan::Nothing),
            ("a read when a refresh is due", live(false), nothing(), full, Some(9), Plan::Touch(9)),
            ("a read of an outdated form", live(true), nothing(), full, None, Plan::Touch(0)),
            ("a write", live(false), edited(), full, Some(9), Plan::Write),
            ("a write that leaves nothing", live(false), edited(), empty, None, Plan::Write),
            ("a renewal", live(false), renewed(), full, None, Plan::Write),
            ("a renewal that leaves nothing", live(false), renewed(), empty, None, Plan::Write),
            ("a renewal of a sealed session", live(false), renewed(), full, None, Plan::Write),
            ("a logout", live(false), destroyed(), empty, Some(9), Plan::Destroy),
            ("a logout and a new start", live(false), destroyed(), full, None, Plan::Create),
            ("no store", Base::Unavailable, edited(), full, None, Plan::Nothing),
        ] {
            assert_eq!(plan(&base, &intent, draft, refresh), expected, "{what}");
        }
    }
}
