//! Whether some order of what was acknowledged explains what is there.

use std::collections::BTreeMap;

use super::world::{Asked, BROWSERS, Committed, Effect, Log, Seen};

/// What the tokens that were ever sent show at a time when nothing else happens, by browser.
pub(crate) type Found = Vec<BTreeMap<String, Seen>>;

/// What is wrong with a history.
pub(crate) fn check(log: &Log, found: &Found) -> Vec<String> {
    let mut wrong = log.wrong.clone();
    for browser in 0..BROWSERS {
        wrong.extend(unreachable(log, found, browser));
        wrong.extend(doubled(&found[browser], browser));
    }
    for asked in &log.asked {
        wrong.extend(asked.effects.iter().filter_map(|effect| repeated(log, asked, effect)));
        wrong.extend(asked.effects.iter().filter_map(|effect| misplaced(log, &found[asked.browser], asked, effect)));
        wrong.extend(resurrected(log, asked));
        wrong.extend(adopted(log, asked));
        wrong.extend(not_revoked(log, asked));
    }
    wrong
}

/// The latest cookie of a browser shows a session, unless somebody ended it or asked for its end.
fn unreachable(log: &Log, found: &Found, browser: usize) -> Option<String> {
    let token = log.jars[browser].as_ref()?;
    if found[browser].get(token).is_some_and(|seen| seen.generation.is_some()) {
        return None;
    }
    let mut set_by = log.asked.iter().filter(|asked| asked.set.as_ref() == Some(token));
    let first = set_by.next()?;
    let generations = [generation(first), Some(first.id)];
    let is_ended = log.asked.iter().any(|asked| {
        let is_meant = asked.browser == browser && generations.contains(&generation(asked));
        // A client that goes away may miss the new token.
        is_meant && (asked.plan.destroys || (asked.plan.changes_token() && asked.status.is_none()))
    });
    let is_revoked = log.revocations.iter().any(|other| other.browser == browser && other.end > first.start);
    (!is_ended && !is_revoked).then(|| format!("browser {browser} holds a cookie without a session, set by {first:?}"))
}

/// A session has one token.
fn doubled(found: &BTreeMap<String, Seen>, browser: usize) -> Option<String> {
    let mut live: Vec<_> = found.values().filter_map(|seen| seen.generation).collect();
    live.sort_unstable();
    live.windows(2).any(|pair| pair[0] == pair[1]).then(|| format!("browser {browser} has a session twice: {live:?}"))
}

/// What was acknowledged is there, and what was refused is not.
fn misplaced(log: &Log, found: &BTreeMap<String, Seen>, asked: &Asked, effect: &Effect) -> Option<String> {
    let is_there = found.values().any(|seen| seen.marks.contains(&effect.mark));
    if is_there {
        let is_refused = asked.status == Some(500) && effect.committed.is_none();
        return is_refused.then(|| format!("{effect:?} of a handler that failed is there: {asked:?}"));
    }
    let is_explicit = effect.committed == Some(Committed::Done);
    let is_acknowledged = is_explicit || (asked.status == Some(200) && effect.committed != Some(Committed::Gone));
    if !is_acknowledged {
        return None;
    }
    let started_with = generation(asked).filter(|_| !asked.plan.destroys);
    let is_untold = asked.token.is_none() && asked.set.is_none() && asked.status == Some(200);
    // What a commit began, a revocation may have ended before the response.
    if started_with.is_none() && is_untold && !revoked_beside(log, asked) {
        return Some(format!("{effect:?} began a session that nobody was told of: {asked:?}"));
    }
    // Where the session has ended there is nothing to look at.
    let is_live = |wanted: usize| found.values().any(|seen| seen.generation == Some(wanted));
    let lives = started_with.is_some_and(is_live) || is_live(asked.id);
    // A write beside the end of its session is let go, unless a `commit` that renewed nothing has said that it is done.
    let is_let_go = (!is_explicit || asked.plan.changes_token()) && ends_beside(log, asked);
    (lives && !is_let_go).then(|| format!("{effect:?} is lost: {asked:?}"))
}

/// Nothing is applied twice, but for what `commit` says of itself: where its answer was lost, and another request has written
/// before it is sent again, nobody can tell whether it was stored.
fn repeated(log: &Log, asked: &Asked, effect: &Effect) -> Option<String> {
    let writes = |other: &&Asked| {
        let is_write = !other.effects.is_empty() || other.plan.changes_token();
        is_write && other.id != asked.id && other.browser == asked.browser && is_beside(asked, other.start, other.end)
    };
    let is_excused = effect.is_unsure && log.asked.iter().any(|other| writes(&other));
    let is_wrong = log.twice.contains(&effect.mark) && !is_excused;
    is_wrong.then(|| format!("{effect:?} was applied twice: {asked:?}"))
}

/// Whether the token of a request may have died under it.
fn ends_beside(log: &Log, asked: &Asked) -> bool {
    let was_dead = asked.token.is_some() && generation(asked).is_none();
    let is_other = |other: &&Asked| other.id != asked.id && other.browser == asked.browser;
    let ends = |other: &Asked| {
        // A session that began with what was refused has no generation yet, but it has a token.
        let is_same = generation(other) == generation(asked) || (other.token.is_some() && other.token == asked.token);
        is_same && (other.plan.destroys || other.plan.changes_token()) && is_beside(asked, other.start, other.end)
    };
    was_dead || log.asked.iter().filter(is_other).any(ends) || revoked_beside(log, asked)
}

fn revoked_beside(log: &Log, asked: &Asked) -> bool {
    let is_beside = |start, end| is_beside(asked, start, Some(end));
    log.revocations.iter().any(|other| other.browser == asked.browser && is_beside(other.start, other.end))
}

/// Whether something happened while a request was under way. What has no end may still go on.
fn is_beside(asked: &Asked, start: usize, end: Option<usize>) -> bool {
    end.is_none_or(|end| end > asked.start) && asked.end.is_none_or(|end| start < end)
}

/// A session whose end was acknowledged is seen by no request that begins later.
fn resurrected(log: &Log, asked: &Asked) -> Option<String> {
    let seen = generation(asked)?;
    let end = ended_before(log, asked, seen)?;
    Some(format!("a session that {end:?} destroyed is there for {asked:?}"))
}

/// A write with the token of a destroyed session stores nothing and sends no cookie.
fn adopted(log: &Log, asked: &Asked) -> Option<String> {
    let token = asked.token.as_ref().filter(|_| asked.set.is_some() && !asked.plan.changes_token())?;
    let was = log.asked.iter().filter(|other| other.token.as_ref() == Some(token)).find_map(generation)?;
    let end = ended_before(log, asked, was)?;
    Some(format!("{asked:?} began a session with a token that {end:?} had ended"))
}

fn ended_before<'a>(log: &'a Log, asked: &Asked, generation_of: usize) -> Option<&'a Asked> {
    log.asked.iter().find(|other| {
        let is_acknowledged = matches!(other.status, Some(200 | 500));
        other.plan.destroys
            && is_acknowledged
            && generation(other) == Some(generation_of)
            && other.end.is_some_and(|end| end < asked.start)
    })
}

/// After a revocation no session remains whose sign-in began before it.
fn not_revoked(log: &Log, asked: &Asked) -> Option<String> {
    let seen = asked.seen.as_ref().filter(|seen| seen.owner && seen.generation.is_some())?;
    let signed_in = log.asked[seen.signed?].signed_in?;
    let revocation = log.revocations.iter().find(|other| {
        other.is_done && other.browser == asked.browser && other.start > signed_in && other.end < asked.start
    })?;
    Some(format!("{asked:?} sees a session that {revocation:?} should have ended"))
}

fn generation(asked: &Asked) -> Option<usize> {
    asked.seen.as_ref()?.generation
}
