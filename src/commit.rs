//! Turns the changes of a request into store calls: first a decision without I/O, then its execution.

mod execute;
mod late;
mod owner_limit;
mod quick;
mod renewal;
mod resume;
mod span;
mod successor;
mod touch;
mod undo_renewal;
mod write;

use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::record::{CSRF_LEN, Record, SessionHandle, Version};
use crate::session::{
    CookieAction, Intent, Live, Occasion, Outgoing, ResponseHead, Session, SessionState, Shared, Stored, fits,
};
use crate::token::SessionToken;

pub(crate) use self::execute::{settle, waited};
pub(crate) use self::late::{destroys, end_late};
pub(crate) use self::quick::{Quick, settle_quickly};
pub(crate) use self::successor::Successor;

/// The kind of store calls that a commit makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Nothing,
    /// Moves the deadline to this time, in microseconds since the Unix epoch.
    Touch(u64),
    /// Drops the changes to a session that has ended.
    Refuse,
    /// Ends the loaded session.
    Destroy,
    /// Begins a session, after ending the loaded one if the intent says so.
    Create,
    /// Writes the loaded session, under a fresh token if it is renewed. Removes the session if nothing is left in it.
    Write,
}

/// Decides which store calls the commit makes.
fn plan(stored: &Stored, intent: &Intent, draft: &Record, refresh: Option<u64>) -> Plan {
    match stored {
        Stored::New if intent.is_change() && !draft.is_empty() => Plan::Create,
        Stored::EndedMeanwhile(Some(_)) if intent.destroy && (intent.renew.is_none() || draft.is_empty()) => {
            Plan::Destroy
        }
        // If the session that the request knew has ended, a request that renews begins a new one.
        Stored::Dead(_) | Stored::EndedMeanwhile(_) if intent.renew.is_some() && !draft.is_empty() => Plan::Create,
        Stored::Dead(_) | Stored::EndedMeanwhile(_) if intent.renew.is_none() && intent.edited => Plan::Refuse,
        Stored::New | Stored::Dead(_) | Stored::EndedMeanwhile(_) | Stored::Unavailable => Plan::Nothing,
        Stored::Live(_) if intent.destroy && draft.is_empty() => Plan::Destroy,
        Stored::Live(_) if intent.destroy => Plan::Create,
        Stored::Live(_) if intent.is_change() => Plan::Write,
        Stored::Live(live) if live.outdated => Plan::Touch(refresh.unwrap_or(live.record.deadline)),
        Stored::Live(_) => refresh.map_or(Plan::Nothing, Plan::Touch),
    }
}

/// The work of a commit, taken out of the session so that the commit holds no lock.
struct Job {
    stored: Stored,
    intent: Intent,
    draft: Arc<Record>,
    plan: Plan,
    /// True if the deadline may move.
    may_refresh: bool,
    /// True if the token is replaced because of its age.
    replaces_token: bool,
    /// True if a new token can still reach the client.
    can_send: bool,
    /// True if the draft has to be made again, because a replay failed.
    is_stale: bool,
    /// True if the request ends with this commit.
    is_last: bool,
    /// True if a record that an earlier commit may have stored is no longer wanted.
    withdraws: bool,
    /// Microseconds since the Unix epoch.
    now: u64,
}

impl Job {
    /// Takes the work out of the session. If there is no other clone (`is_alone`), the last commit takes the draft
    /// without a copy, since nobody else can read it any more.
    fn take(
        state: &mut SessionState,
        shared: &Shared,
        occasion: Occasion,
        is_alone: bool,
        now: u64,
    ) -> Result<Self, Error> {
        if occasion == Occasion::Explicit && std::mem::take(&mut state.dropped) {
            return Err(if state.stored.is_over() { Kind::Gone } else { Kind::Dropped }.into());
        }
        let is_last = occasion.is_last();
        let is_stale = state.work.as_ref().is_some_and(|work| work.is_stale);
        let (mut intent, mut draft) = match (state.work.take_if(|_| is_alone && is_last), &mut state.work) {
            (Some(work), _) => (work.intent, work.draft),
            (None, Some(work)) => (std::mem::take(&mut work.intent), Arc::clone(&work.draft)),
            (None, None) => (Intent::default(), state.stored.record_or_blank()),
        };
        let stored = state.stored.clone();
        let drops_values = match occasion {
            Occasion::Failed => true,
            Occasion::Response { is_server_error, .. } => is_server_error && !shared.save_on_server_error,
            Occasion::Explicit | Occasion::Reload => false,
        };
        if drops_values {
            let renew = intent.renew.filter(|_| occasion != Occasion::Failed && !intent.destroy);
            state.dropped |= intent.edited || renew != intent.renew;
            intent = Intent { destroy: intent.destroy, renew, pending: intent.pending, ..Intent::default() };
            draft = if intent.destroy { Arc::new(Record::blank()) } else { stored.record_or_blank() };
            if let Some(secret) = intent.renew {
                Arc::make_mut(&mut draft).csrf = secret;
            }
        }
        let is_not_modified = matches!(occasion, Occasion::Response { is_not_modified: true, .. });
        let can_send = state.head == ResponseHead::Open && !is_not_modified && occasion != Occasion::Failed;
        // Only an access refreshes the session. A sealed session's deadline never moves without the cookie.
        let may_move = can_send || (!shared.is_sealed() && occasion != Occasion::Failed);
        let is_used = if state.head == ResponseHead::Open { state.accessed } else { state.is_used };
        let may_refresh = is_used && may_move;
        let refresh = stored.record().filter(|_| may_refresh).and_then(|record| shared.lifetime.refresh(record, now));
        // Explicit commits leave the replacement to the end of the request, where the cookie is sent.
        let replaces_token = state.accessed
            && can_send
            && is_last
            && !draft.is_empty()
            && stored.record().is_some_and(|record| shared.lifetime.is_renewal_due(record, now));
        let mut plan = match plan(&stored, &intent, &draft, refresh) {
            Plan::Nothing | Plan::Touch(_) if replaces_token => Plan::Write,
            plan => plan,
        };
        let needs_cookie = match plan {
            // A `destroy` before the creation is carried out even without a cookie.
            Plan::Create => shared.is_sealed() || !intent.destroy,
            Plan::Write => {
                shared.is_sealed() || ((intent.renew.is_some() || brings_max_age(&intent, shared)) && !draft.is_empty())
            }
            Plan::Touch(_) => shared.is_sealed(),
            // A service that failed has no response, and nothing else of its request is carried out.
            Plan::Destroy => shared.is_sealed() && occasion != Occasion::Failed,
            Plan::Nothing | Plan::Refuse => false,
        };
        if needs_cookie && !can_send {
            if !is_last {
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
            && matches!(stored, Stored::New)
            && intent.idle().is_some()
            && !is_last
            && let Some(work) = &mut state.work
        {
            // The timeout is for the session that the request may yet begin.
            work.intent.prepend(std::mem::take(&mut intent));
        }
        if is_last {
            state.head = ResponseHead::Sent;
        }
        state.is_used = false;
        let (is_stale, withdraws) = (is_stale && !drops_values, drops_values || intent.destroy);
        Ok(Self {
            stored,
            intent,
            draft,
            plan,
            may_refresh,
            replaces_token,
            can_send,
            is_stale,
            is_last,
            withdraws,
            now,
        })
    }

    /// Puts uncommitted changes back into the session for another try. At the end of a request there is no other try,
    /// so they are dropped.
    fn give_back(self, state: &mut SessionState) {
        let is_live = |stored: &Stored| matches!(stored, Stored::Live(_));
        if is_live(&state.stored) && (self.intent.destroy || !is_live(&self.stored)) {
            // The client is to forget the token even if the store could not be told.
            state.cookie = CookieAction::Remove;
        }
        state.stored = self.stored;
        if self.is_last {
            // The changes are dropped with the response. Changes that were made during the commit still wait for a
            // `commit()`.
            state.dropped |= self.intent.is_change();
        }
        let Some(work) = &mut state.work else { return };
        if !self.is_last {
            work.intent.prepend(self.intent);
            state.is_used |= self.may_refresh;
            return;
        }
        work.is_stale = true;
        if work.intent.is_nothing() {
            state.work = None;
        }
    }
}

/// Returns whether the cookie gets a `Max-Age` that it did not have: that of a browser's session which is to be
/// remembered.
fn brings_max_age(intent: &Intent, shared: &Shared) -> bool {
    shared.browser_session && intent.idle().is_some()
}

const HANDLE_LEN: usize = 16;

/// Gives a draft its version and time, and the parts that a new session lacks. Returns whether the session is new; the
/// draft then has its first deadline too.
///
/// # Errors
///
/// The record is too large, or there is no randomness.
fn prepare(draft: &mut Record, before: Option<Version>, shared: &Shared, now: u64) -> Result<bool, Error> {
    fits(draft, shared.max_record_len)?;
    let (lacks_handle, lacks_csrf) = (draft.handle == SessionHandle::NONE, draft.csrf == [0; CSRF_LEN]);
    if !shared.is_sealed() {
        // Nobody knows a secret that was not handed out, so it need not be stored.
        if !draft.csrf_handed_out {
            draft.csrf = [0; CSRF_LEN];
        }
    } else if lacks_handle || lacks_csrf {
        // A sealed session is told from its copies and from other sessions by both.
        // One long draw costs hardly more than a short one.
        let bytes: [u8; HANDLE_LEN + CSRF_LEN] = shared.random.bytes()?;
        if let (true, Some(handle)) = (lacks_handle, bytes.first_chunk()) {
            draft.handle = SessionHandle::from_bytes(*handle);
        }
        if let (true, Some(secret)) = (lacks_csrf, bytes.last_chunk()) {
            draft.csrf = *secret;
        }
    }
    draft.version = shared.random.version(before)?;
    draft.seen = draft.seen.max(now);
    let begins = draft.created == 0;
    if begins {
        // Zero stands for a session that has not begun, and a clock that was never set also shows zero.
        draft.created = now.max(1);
        draft.absolute = shared.lifetime.absolute_deadline(now);
        draft.deadline = shared.lifetime.deadline(draft, now);
    }
    Ok(begins)
}

/// The result of a commit.
struct Settled {
    stored: Stored,
    cookie: CookieAction,
    outcome: Outcome,
}

/// The outcome of a commit for the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The changes are durable, or there were none.
    Stored,
    /// Dropped: the session had ended.
    Gone,
    /// Dropped: the owner's sessions were revoked since the sign-in began, or as many sign-ins as the limit allows
    /// began after it.
    Refused,
    /// Dropped: the changes needed a cookie, at the end of a request that can send none.
    Unsent,
}

impl Settled {
    /// Makes the result for a live session. The cookie is sent if its token or its attributes changed (`is_news`).
    fn live(token: SessionToken, record: Arc<Record>, is_news: bool) -> Self {
        let live = Live { token, record, outdated: false };
        let cookie = if is_news { CookieAction::set(&live, None) } else { CookieAction::Leave };
        Self { stored: Stored::Live(live), cookie, outcome: Outcome::Stored }
    }

    fn unchanged(stored: Stored) -> Self {
        Self { stored, cookie: CookieAction::Leave, outcome: Outcome::Stored }
    }

    fn gone(token: SessionToken) -> Self {
        Self { outcome: Outcome::Gone, ..Self::unchanged(Stored::EndedMeanwhile(Some(token))) }
    }

    fn refused(stored: Stored) -> Self {
        Self { outcome: Outcome::Refused, ..Self::unchanged(stored) }
    }
}

/// Finishes a request that needs no store, as most do; `None` if the request needs one.
///
/// After that, no token can be sent.
#[inline]
pub(crate) fn finish_at_once(session: &mut Session, loaded_at: u64) -> Option<Outgoing> {
    session.with_state(|shared, state| {
        is_idle(shared, state, loaded_at).then(|| {
            state.is_used = false;
            state.finish()
        })
    })
}

#[inline]
fn is_idle(shared: &Shared, state: &SessionState, loaded_at: u64) -> bool {
    match (&state.work, &state.stored) {
        (Some(_), _) => false,
        (None, Stored::Live(live)) if state.accessed => {
            !live.outdated && !shared.lifetime.is_due(&live.record, loaded_at)
        }
        (None, _) => true,
    }
}

/// Returns whether the commit ends a session: the loaded one, or a surplus one of the owner. Such a commit must finish
/// even if the client goes away.
pub(crate) fn ends_another(session: &Session) -> bool {
    let cell = session.cell();
    let is_limited = cell.shared.max_sessions_per_owner.is_some();
    let ends = |intent: &Intent| intent.destroy || (is_limited && intent.sign_in().is_some());
    cell.lock().work.as_ref().is_some_and(|work| ends(&work.intent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, Values};

    #[test]
    fn the_plan_follows_from_stored_session_and_intent() {
        let filled = Record { values: Values::from_sorted(vec![Entry::new("a", "1")]), ..Record::blank() };
        let live = |outdated| {
            Stored::Live(Live {
                token: SessionToken::from_random([0; 24], crate::token::TokenScope::of("sid")),
                record: filled.clone().into(),
                outdated,
            })
        };
        let nothing = Intent::default;
        let edited = || Intent { edited: true, ..nothing() };
        let renewed = || Intent { renew: Some([0; 24]), ..nothing() };
        let destroyed = || Intent { destroy: true, ..nothing() };
        let again = || Intent { destroy: true, ..renewed() };
        let one = || SessionToken::from_random([0; 24], crate::token::TokenScope::of("sid"));
        let (full, empty) = (&filled, &Record::blank());
        for (what, stored, intent, draft, refresh, expected) in [
            ("an anonymous read", Stored::New, nothing(), empty, None, Plan::Nothing),
            ("a first write", Stored::New, edited(), full, None, Plan::Create),
            ("a first write undone", Stored::New, edited(), empty, None, Plan::Nothing),
            ("renewing nothing", Stored::New, renewed(), empty, None, Plan::Nothing),
            ("a late write", Stored::EndedMeanwhile(None), edited(), full, None, Plan::Refuse),
            ("a write with a dead token", Stored::Dead(one()), edited(), full, None, Plan::Refuse),
            ("a late write once more", Stored::EndedMeanwhile(Some(one())), edited(), full, None, Plan::Refuse),
            ("a late logout", Stored::EndedMeanwhile(Some(one())), destroyed(), empty, None, Plan::Destroy),
            ("a late logout and a write", Stored::EndedMeanwhile(Some(one())), destroyed(), full, None, Plan::Destroy),
            ("a late logout and a sign-in", Stored::EndedMeanwhile(Some(one())), again(), full, None, Plan::Create),
            (
                "a late logout and a renewal of nothing",
                Stored::EndedMeanwhile(Some(one())),
                again(),
                empty,
                None,
                Plan::Destroy,
            ),
            ("a late read", Stored::EndedMeanwhile(None), nothing(), empty, None, Plan::Nothing),
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
            ("no store", Stored::Unavailable, edited(), full, None, Plan::Nothing),
        ] {
            assert_eq!(plan(&stored, &intent, draft, refresh), expected, "{what}");
        }
    }
}
