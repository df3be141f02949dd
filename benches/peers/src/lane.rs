//! One system at one work, measured batch by batch.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::{coop::unconstrained, yield_now};

use crate::browser;
use crate::report::median;
use crate::system::{App, System};
use crate::work::{Case, Shape, Work};
use crate::{Options, Request};

/// The most requests without a cookie in a batch. Some systems keep a session for each, and all sessions of a run must stay far
/// below every store's bound.
const WITHOUT_COOKIE: u32 = 500;
const WITH_COOKIE: u32 = 10_000;

/// One system at one work.
pub struct Lane<'a> {
    batch: Box<dyn FnMut(u32) -> Duration + 'a>,
    requests: u32,
    /// Nanoseconds a request, one for each round.
    rounds: Vec<f64>,
}

impl<'a> Lane<'a> {
    /// Lets the system make the session with a request, and finds the number of requests that fill a batch.
    ///
    /// # Panics
    ///
    /// The system does not keep what a handler writes.
    pub fn new(runtime: &'a Runtime, options: &Options, case: Case, system: impl System + 'a) -> Self {
        let cookie = runtime.block_on(async {
            browser::verify(&system, case.session.unwrap_or(Shape::Small)).await;
            match case.session {
                Some(shape) => Some(browser::sign_up(&system, shape).await),
                None => None,
            }
        });
        let template = browser::request(cookie.as_ref());
        let batch = Box::new(move |requests| runtime.block_on(batch(&system, case.work, &template, requests)));
        let mut lane = Self { batch, requests: 1, rounds: Vec::with_capacity(options.rounds) };
        lane.calibrate(options.batch, if case.session.is_some() { WITH_COOKIE } else { WITHOUT_COOKIE });
        lane
    }

    /// Doubles the batch until it takes more than half of its time. This also warms up.
    fn calibrate(&mut self, target: Duration, most: u32) {
        // The fastest of three: an interrupted one would make the batch far too short.
        while (0..3).map(|_| (self.batch)(self.requests)).min() < Some(target / 2) && self.requests < most {
            self.requests = (self.requests * 2).min(most);
        }
    }

    /// Returns the difference of the median times of a request on this lane and on another, in nanoseconds.
    pub fn overhead(&self, bare: &Self) -> f64 {
        median(self.rounds.iter().copied()) - median(bare.rounds.iter().copied())
    }
}

impl fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("requests", &self.requests).field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

/// Measures lanes in turns. Each round begins with another lane.
pub fn interleave(options: &Options, lanes: &mut [Lane<'_>]) {
    for round in 0..options.rounds {
        for turn in 0..lanes.len() {
            let at = (round + turn) % lanes.len();
            let lane = &mut lanes[at];
            let elapsed = (lane.batch)(lane.requests);
            lane.rounds.push(elapsed.as_secs_f64() * 1e9 / f64::from(lane.requests));
        }
    }
}

async fn batch(system: &impl System, work: Work, template: &Request, requests: u32) -> Duration {
    match work {
        Work::Nothing => send_all(system.nothing(), template, requests).await,
        Work::Read => send_all(system.read(), template, requests).await,
        Work::Write => send_all(system.write(), template, requests).await,
        Work::Create => send_all(system.create(), template, requests).await,
    }
}

/// Sends requests one after the other and returns their total time.
pub async fn send_all(mut app: impl App, template: &Request, requests: u32) -> Duration {
    // Tasks that a layer spawned when it was made run before the clock starts.
    yield_now().await;
    // Each connection of a server has its own budget of tokio. One task that sends everything would be made to yield by
    // every store whose locks count against the budget.
    unconstrained(async {
        let start = Instant::now();
        for _ in 0..requests {
            black_box(browser::send(&mut app, template.clone()).await);
        }
        start.elapsed()
    })
    .await
}
