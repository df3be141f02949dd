//! Browsers with several tabs, what they ask of the layer, and what came of it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{ManualClock, Session, SessionLayer, SessionStore};

use super::chance::Chance;
use super::chaos::{Chaos, Faults};
use super::turns::Turns;

pub(crate) const BROWSERS: usize = 2;
pub(crate) const TABS: usize = 3;
const REQUESTS: usize = 4;

pub(crate) struct World {
    layer: SessionLayer,
    clock: ManualClock,
    pub(crate) turns: Turns,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    owners: Vec<String>,
    log: Mutex<Log>,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Log {
    steps: usize,
    pub(crate) asked: Vec<Asked>,
    pub(crate) revocations: Vec<Revocation>,
    /// What each browser holds.
    pub(crate) jars: [Option<String>; BROWSERS],
    /// Everything that it was ever sent.
    pub(crate) tokens: [Vec<String>; BROWSERS],
    /// What was seen more than once.
    pub(crate) twice: BTreeSet<u64>,
    pub(crate) wrong: Vec<String>,
}

/// A request: what it was to do, what it found and how it ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) id: usize,
    pub(crate) browser: usize,
    pub(crate) plan: Plan,
    pub(crate) token: Option<String>,
    pub(crate) start: usize,
    /// When the handler had called `sign_in`.
    pub(crate) signed_in: Option<usize>,
    /// What was there at first; `None` until the handler ran.
    pub(crate) seen: Option<Seen>,
    pub(crate) effects: Vec<Effect>,
    /// `None` where the client went away.
    pub(crate) status: Option<u16>,
    pub(crate) end: Option<usize>,
    pub(crate) set: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) destroys: bool,
    pub(crate) renews: bool,
    pub(crate) signs_in: bool,
    first: Option<Kind>,
    commits: bool,
    second: Option<Kind>,
    fails: bool,
    /// After how many polls the client goes away.
    patience: Option<usize>,
}

/// A change that can be told from every other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effect {
    pub(crate) mark: u64,
    /// What `commit()` said of it, if it was asked.
    pub(crate) committed: Option<Committed>,
    /// Whether a `commit()` failed, which may have stored it.
    pub(crate) is_unsure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Committed {
    Done,
    Gone,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Appends to a list.
    Update,
    /// Sets a key of its own.
    Insert,
}

/// What a session holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    /// The request that began it; `None` where there is no session.
    pub(crate) generation: Option<usize>,
    pub(crate) owner: bool,
    /// The request that signed in last.
    pub(crate) signed: Option<usize>,
    pub(crate) marks: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Revocation {
    pub(crate) browser: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) is_done: bool,
}

impl Plan {
    fn of(chance: &Chance) -> Self {
        let kind =
            |percent| chance.percent(percent).then(|| if chance.percent(60) { Kind::Update } else { Kind::Insert });
        let destroys = chance.percent(8);
        Self {
            destroys,
            renews: chance.percent(15),
            signs_in: chance.percent(15),
            first: kind(if destroys { 20 } else { 90 }),
            commits: chance.percent(40),
            second: kind(25),
            fails: chance.percent(8),
            patience: chance.percent(5).then(|| chance.below(12)),
        }
    }

    pub(crate) fn changes_token(&self) -> bool {
        self.renews || self.signs_in
    }
}

impl World {
    pub(crate) fn new<S: SessionStore>(
        store: S,
        is_immediate: bool,
        name: &str,
        (turns, chance, faults): (Turns, Chance, Faults),
    ) -> Arc<Self> {
        let clock = ManualClock::default();
        let store = Chaos::new(store, turns.clone(), faults.clone(), is_immediate);
        let layer = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap();
        let owners = (0..BROWSERS).map(|browser| format!("{name}-{browser}")).collect();
        Arc::new(Self { layer, clock, turns, chance, faults, owners, log: Mutex::default() })
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn step(&self) -> usize {
        // No two ends of a session have the same time.
        self.clock.advance(Duration::from_millis(1));
        let mut log = self.log();
        log.steps += 1;
        log.steps
    }

    /// All tabs at once, until each has done its requests.
    pub(crate) async fn burst(self: &Arc<Self>) {
        let tabs = (0..BROWSERS * TABS).map(|tab| {
            let world = Arc::clone(self);
            tokio::spawn(async move {
                for _ in 0..REQUESTS {
                    world.turns.take().await;
                    world.one(tab % BROWSERS).await;
                }
            })
        });
        for tab in tabs.collect::<Vec<_>>() {
            tab.await.unwrap();
        }
    }

    async fn one(self: &Arc<Self>, browser: usize) {
        if self.chance.percent(6) {
            let start = self.step();
            let is_done = self.layer.owners().revoke_all(&self.owners[browser]).await.is_ok();
            let end = self.step();
            return self.log().revocations.push(Revocation { browser, start, end, is_done });
        }
        let plan = Plan::of(&self.chance);
        let token = {
            let log = self.log();
            let all = &log.tokens[browser];
            let is_old = !all.is_empty() && self.chance.percent(8);
            if is_old { Some(all[self.chance.below(all.len())].clone()) } else { log.jars[browser].clone() }
        };
        self.ask(browser, plan, token).await;
    }

    /// What a token shows when nothing else happens.
    pub(crate) async fn look(self: &Arc<Self>, browser: usize, token: &str) -> Option<Seen> {
        let id = self.ask(browser, Plan::default(), Some(token.to_owned())).await;
        self.log().asked[id].seen.clone()
    }

    async fn ask(self: &Arc<Self>, browser: usize, plan: Plan, token: Option<String>) -> usize {
        let start = self.step();
        let id = {
            let mut log = self.log();
            let (id, plan, token) = (log.asked.len(), plan.clone(), token.clone());
            log.asked.push(Asked { id, browser, plan, token, start, ..Asked::default() });
            id
        };
        let world = Arc::clone(self);
        let service = self.layer.layer(service_fn(move |request: Request<()>| {
            let session = request.extensions().get::<Session>().unwrap().clone();
            let world = Arc::clone(&world);
            async move { Ok::<_, Infallible>(world.handle(id, session).await) }
        }));
        let mut request = Request::builder();
        if let Some(token) = token {
            request = request.header(COOKIE, format!("sid={token}"));
        }
        // On the heap, since with an engine it is large.
        let mut responding = Box::pin(service.oneshot(request.body(()).unwrap()));
        let mut polls = plan.patience.unwrap_or(usize::MAX);
        let response = poll_fn(|context| match polls.checked_sub(1) {
            None => Poll::Ready(None),
            Some(left) => {
                polls = left;
                responding.as_mut().poll(context).map(Some)
            }
        });
        let response = response.await.map(Result::unwrap);
        let end = self.step();
        let log = &mut *self.log();
        let Some(response) = response else { return id };
        let asked = &mut log.asked[id];
        (asked.status, asked.end) = (Some(response.status().as_u16()), Some(end));
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (value, _) = cookie.to_str().unwrap().strip_prefix("sid=").unwrap().split_once(';').unwrap();
            log.jars[browser] = (!value.is_empty()).then(|| value.to_owned());
            asked.set.clone_from(&log.jars[browser]);
            if !value.is_empty() && !log.tokens[browser].iter().any(|known| known == value) {
                log.tokens[browser].push(value.to_owned());
            }
        }
        id
    }

    async fn handle(&self, id: usize, session: Session) -> Response<String> {
        let (browser, plan) = {
            let log = self.log();
            (log.asked[id].browser, log.asked[id].plan.clone())
        };
        let seen = self.seen(browser, &session);
        self.log().asked[id].seen = Some(seen);
        let is_look = plan.first.is_none() && plan.second.is_none() && !plan.destroys && !plan.changes_token();
        if is_look {
            return Response::new(String::new());
        }
        self.turns.take().await;
        if plan.destroys {
            session.destroy().unwrap();
        }
        if plan.renews {
            session.renew().unwrap();
        }
        if plan.signs_in {
            session.sign_in(&self.owners[browser]).unwrap();
            session.insert("signed", id).unwrap();
            let step = self.step();
            self.log().asked[id].signed_in = Some(step);
        }
        if !plan.destroys || plan.first.is_some() || plan.second.is_some() || plan.changes_token() {
            session.update("generation", move |known: Option<usize>| Some(known.unwrap_or(id))).unwrap();
            session.update("canary", move |known: Option<usize>| Some(known.unwrap_or(browser))).unwrap();
        }
        if let Some(kind) = plan.first {
            self.effect(id, &session, kind);
        }
        self.turns.take().await;
        if plan.commits {
            let mut committed = Committed::Unknown;
            for _ in 0..3 {
                match session.commit().await {
                    Ok(()) => committed = Committed::Done,
                    Err(error) if error.is_gone() => committed = Committed::Gone,
                    Err(_) => {
                        self.log().asked[id].effects.iter_mut().for_each(|effect| effect.is_unsure = true);
                        continue;
                    }
                }
                break;
            }
            self.log().asked[id].effects.iter_mut().for_each(|effect| effect.committed = Some(committed));
            self.turns.take().await;
        }
        if let Some(kind) = plan.second {
            self.effect(id, &session, kind);
            self.turns.take().await;
        }
        self.seen(browser, &session);
        let status = if plan.fails { 500 } else { 200 };
        Response::builder().status(status).body(String::new()).unwrap()
    }

    fn effect(&self, id: usize, session: &Session, kind: Kind) {
        let mark = {
            let effects = &mut self.log().asked[id].effects;
            let mark = u64::try_from(id * 10 + effects.len()).unwrap();
            effects.push(Effect { mark, committed: None, is_unsure: false });
            mark
        };
        match kind {
            Kind::Update => session.update("marks", move |marks: Option<Vec<u64>>| {
                let mut marks = marks.unwrap_or_default();
                marks.push(mark);
                Some(marks)
            }),
            Kind::Insert => session.insert(&format!("mark{mark}"), mark),
        }
        .unwrap();
    }

    /// Reads a session, in which nothing may be of another browser, and nothing there twice.
    fn seen(&self, browser: usize, session: &Session) -> Seen {
        let mut marks: Vec<u64> = session.get("marks").unwrap().unwrap_or_default();
        marks.extend(session.keys().iter().filter_map(|key| key.strip_prefix("mark")?.parse::<u64>().ok()));
        marks.sort_unstable();
        let twice = marks.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        self.log().twice.extend(twice);
        let canary = session.get::<usize>("canary").unwrap();
        let owner = session.owner();
        if canary.is_some_and(|canary| canary != browser)
            || owner.as_ref().is_some_and(|owner| **owner != *self.owners[browser])
        {
            self.log().wrong.push(format!("browser {browser} sees the session of {canary:?}, {owner:?}"));
        }
        let is_new = session.is_new();
        let generation = session.get("generation").unwrap().filter(|_| !is_new);
        Seen { generation, owner: owner.is_some(), signed: session.get("signed").unwrap(), marks }
    }
}
