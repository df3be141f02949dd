//! Reads per second from one thread and from two, on sessions of their own and on one session.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use http::HeaderValue;
use peers::lane::send_all;
use peers::report::{columns, heading, median, ratio, row};
use peers::system::{AxumSession, Ours, TowerSessions};
use peers::{Options, Shape, System, browser, runtime};
use tokio::runtime::Runtime;

/// Each with how many threads read, and whether all of one session.
const COLUMNS: [(usize, bool); 3] = [(1, true), (2, false), (2, true)];

pub(crate) fn report(options: &Options) {
    let runtime = runtime();
    let ours = Ours::new();
    let tower_sessions = TowerSessions::new();
    let axum_session = runtime.block_on(AxumSession::new());
    let mut systems = [
        Reader::new("ours", &runtime, &ours, Some(1.0)),
        Reader::new("tower-sessions", &runtime, &tower_sessions, None),
        Reader::new("axum_session", &runtime, &axum_session, None),
    ];
    for _ in 0..options.rounds.div_ceil(3) {
        for column in 0..COLUMNS.len() {
            for system in systems.iter_mut().filter(|system| options.wants(system.name)) {
                system.sample(column, options.requests);
            }
        }
    }
    heading("Reads of one key of a small session, memory stores, requests a second, the bare service included");
    columns(&["system", "1 thread", "2, distinct sessions", "ratio", "2, one session", "ratio", "bound", ""]);
    for system in systems.iter().filter(|system| options.wants(system.name)) {
        system.print();
    }
}

/// A system with a session for each thread.
struct Reader<'a> {
    name: &'static str,
    read: Box<dyn Fn(&[HeaderValue], u32) -> f64 + 'a>,
    cookies: [HeaderValue; 2],
    bound: Option<f64>,
    rates: [Vec<f64>; COLUMNS.len()],
}

impl<'a> Reader<'a> {
    fn new<S: System + Sync>(name: &'static str, runtime: &Runtime, system: &'a S, bound: Option<f64>) -> Self {
        let cookies = runtime.block_on(async {
            browser::verify(system, Shape::Small).await;
            [browser::sign_up(system, Shape::Small).await, browser::sign_up(system, Shape::Small).await]
        });
        let read = Box::new(move |cookies: &[_], requests| rate(system, cookies, requests));
        Self { name, read, cookies, bound, rates: Default::default() }
    }

    fn sample(&mut self, column: usize, requests: u32) {
        let [first, second] = &self.cookies;
        let cookies = match COLUMNS[column] {
            (1, _) => &[first.clone()][..],
            (_, true) => &[first.clone(), first.clone()],
            (_, false) => &[first.clone(), second.clone()],
        };
        self.rates[column].push((self.read)(cookies, requests));
    }

    fn print(&self) {
        let [one, distinct, same] = self.rates.each_ref().map(|rates| median(rates.iter().copied()));
        let holds = |bound| if distinct.min(same) >= bound * one { "ok" } else { "missed" };
        row(&[
            self.name.to_owned(),
            format!("{one:.0}"),
            format!("{distinct:.0}"),
            ratio(distinct / one),
            format!("{same:.0}"),
            ratio(same / one),
            self.bound.map(|bound| format!("{bound:.1}")).unwrap_or_default(),
            self.bound.map(holds).unwrap_or_default().to_owned(),
        ]);
    }
}

/// Has one thread for each cookie send so many requests, and returns how many all of them sent a second.
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
    // The first ones find cold caches.
    runtime.block_on(async { send_all(system.read(), &template, requests / 20).await });
    barrier.wait();
    let start = Instant::now();
    runtime.block_on(async { send_all(system.read(), &template, requests).await });
    (start, Instant::now())
}
