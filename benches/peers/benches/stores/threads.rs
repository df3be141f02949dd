//! Reads a second of one thread and of two, on a session for each and on one session.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use http::HeaderValue;
use peers::lane::send_all;
use peers::report::{columns, heading, median, ratio, row};
use peers::system::{AxumSession, Ours, TowerSessions};
use peers::{Options, Shape, System, browser, runtime};
use tokio::runtime::Runtime;

/// The number of threads, and true if all of them read one session.
const ROWS: [(&str, usize, bool); 3] =
    [("1 thread", 1, true), ("2 threads on distinct sessions", 2, false), ("2 threads on one session", 2, true)];

/// The least ratio of the reads of two threads to those of one, on one session.
const BOUND: f64 = 1.0;

pub(crate) fn report(options: &Options) {
    if !options.wants("threads") {
        return;
    }
    let runtime = runtime();
    let ours = Ours::new();
    let tower_sessions = TowerSessions::new();
    let axum_session = runtime.block_on(AxumSession::new());
    let mut systems =
        [Reader::new(&runtime, &ours), Reader::new(&runtime, &tower_sessions), Reader::new(&runtime, &axum_session)];
    for _ in 0..options.rounds.div_ceil(3) {
        for at in 0..ROWS.len() {
            for system in &mut systems {
                system.sample(at, options.requests);
            }
        }
    }
    heading("Reads of one key of a small session, memory stores, requests a second, the bare service included");
    columns(&["threads", "ours", "tower-sessions", "axum_session", "bound", ""]);
    let rates = systems.map(|system| system.rates.map(median));
    let print = |name: &str, cells: [String; 3], bound: [&str; 2]| {
        row(&[&[name.to_owned()], &cells[..], &bound.map(str::to_owned)].concat());
    };
    for (at, (name, ..)) in ROWS.into_iter().enumerate() {
        print(name, rates.map(|rates| format!("{:.0}", rates[at])), [""; 2]);
    }
    let (one, verdict) = (rates.map(|rates| rates[2] / rates[0]), rates[0][2] >= BOUND * rates[0][0]);
    let verdict = if verdict { "ok" } else { "missed" };
    print("2 threads on distinct sessions / 1 thread", rates.map(|rates| ratio(rates[1] / rates[0])), [""; 2]);
    print("2 threads on one session / 1 thread", one.map(ratio), [&format!("{BOUND:.1}"), verdict]);
}

/// Sends requests from one thread for each cookie, and returns the requests a second of all threads.
type Read<'a> = dyn Fn(&[HeaderValue], u32) -> f64 + 'a;

/// A system with a session for each thread.
struct Reader<'a> {
    read: Box<Read<'a>>,
    cookies: [HeaderValue; 2],
    rates: [Vec<f64>; ROWS.len()],
}

impl<'a> Reader<'a> {
    fn new<S: System + Sync>(runtime: &Runtime, system: &'a S) -> Self {
        let cookies = runtime.block_on(async {
            browser::verify(system, Shape::Small).await;
            [browser::sign_up(system, Shape::Small).await, browser::sign_up(system, Shape::Small).await]
        });
        let read = Box::new(move |cookies: &[_], requests| rate(system, cookies, requests));
        Self { read, cookies, rates: Default::default() }
    }

    fn sample(&mut self, at: usize, requests: u32) {
        let [first, second] = &self.cookies;
        let cookies = match ROWS[at] {
            (_, 1, _) => &[first.clone()][..],
            (_, _, true) => &[first.clone(), first.clone()],
            (_, _, false) => &[first.clone(), second.clone()],
        };
        self.rates[at].push((self.read)(cookies, requests));
    }
}

fn rate(system: &(impl System + Sync), cookies: &[HeaderValue], requests: u32) -> f64 {
    let barrier = &Barrier::new(cookies.len());
    let spans = thread::scope(|scope| {
        let spawn = |cookie| scope.spawn(move || read(system, cookie, requests, barrier));
        let threads = Vec::from_iter(cookies.iter().map(spawn));
        Vec::from_iter(threads.into_iter().map(|thread| thread.join().expect("a reader")))
    });
    let start = spans.iter().map(|(start, _)| *start).min().expect("a thread");
    let end = spans.iter().map(|(_, end)| *end).max().expect("a thread");
    f64::from(requests) * cookies.len() as f64 / (end - start).as_secs_f64()
}

fn read(system: &impl System, cookie: &HeaderValue, requests: u32, barrier: &Barrier) -> (Instant, Instant) {
    let runtime = runtime();
    let template = browser::request(Some(cookie));
    // The first requests find cold caches.
    runtime.block_on(async { send_all(system.read(), &template, requests / 20).await });
    barrier.wait();
    let start = Instant::now();
    runtime.block_on(async { send_all(system.read(), &template, requests).await });
    (start, Instant::now())
}
