//! The cost of a memory store with a million sessions: time, memory, and the pauses of a sweep.
//!
//! `cargo bench --bench scale` prints each figure beside its bound; `-- --test` runs everything once, tiny. It needs
//! about 2 GB of memory, and Linux, whose `/proc` shows the memory in use. The times of one thread are processor time, so that
//! a busy machine matters little. The wait of a request is wall-clock time, and true only on a quiet machine.

#![allow(clippy::print_stdout, reason = "the table is for people")]
#![allow(clippy::cast_precision_loss, reason = "counts and times are far below 2^52")]

mod support;

use std::fmt::Display;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use rustix::time::{ClockId, clock_gettime};
use tower_session_layer::{Clock as _, ManualClock, MemoryStore, SessionLayer, SessionStore as _};

use self::support::{Work, answer, at_once, fill, request, working};

/// The sizes of a run.
struct Scale {
    /// The numbers of sessions in a store, smallest first.
    sizes: [usize; 3],
    /// The requests that are timed together, and the number of such batches in a round.
    batch: usize,
    batches: usize,
    rounds: usize,
    /// The number of sessions in the store that is filled up.
    full: usize,
    /// True if the figures are large enough to mean something.
    is_measured: bool,
}

const FULL: Scale =
    Scale { sizes: [1_000, 100_000, 1_000_000], batch: 256, batches: 400, rounds: 5, full: 100_000, is_measured: true };
const TINY: Scale = Scale { sizes: [10, 100, 1_000], batch: 4, batches: 2, rounds: 1, full: 100, is_measured: false };

fn main() {
    let scale = if std::env::args().any(|argument| argument == "--test") { TINY } else { FULL };
    println!("{}; {}; load {}", compiler(), processor(), load());
    println!("{:<58}{:>12}  bound", "", "measured");
    memory(&scale);
    access(&scale);
    eviction(&scale);
    pauses(&scale);
}

impl Scale {
    fn row(&self, what: impl Display, measured: f64, unit: &str, bound: Option<f64>) {
        let verdict = if bound.is_none_or(|bound| measured <= bound) { "ok" } else { "missed" };
        // A tiny store consists of its tables, not of its sessions.
        let bound = bound.filter(|_| self.is_measured).map(|bound| format!("  {bound}{unit}: {verdict}"));
        println!("{what:<58}{measured:>9.2}{unit:<3}{}", bound.unwrap_or_default());
    }
}

/// A layer with sessions, and the cookies of their browsers. The cookies are packed, so that they do not distort the figures.
struct Filled {
    layer: SessionLayer,
    cookies: Cookies,
}

struct Cookies {
    bytes: Vec<u8>,
    count: usize,
}

/// The length of `__Host-sid=` and the token.
const COOKIE_LEN: usize = 43;
/// The length of the values of a session of [`fill`]: "user", "count", "cart" and their texts.
const VALUES_LEN: usize = 4 + 5 + 5 + 1 + 4 + 12;

impl Cookies {
    fn with_room(count: usize) -> Self {
        // The writes make the system map the pages before anything is measured.
        let mut bytes = vec![1; count * COOKIE_LEN];
        bytes.clear();
        Self { bytes, count: 0 }
    }

    fn push(&mut self, cookie: &HeaderValue) {
        assert_eq!(cookie.len(), COOKIE_LEN);
        self.bytes.extend_from_slice(cookie.as_bytes());
        self.count += 1;
    }

    fn at(&self, n: usize) -> HeaderValue {
        HeaderValue::from_bytes(&self.bytes[n * COOKIE_LEN..][..COOKIE_LEN]).expect("a header")
    }

    fn random(&self, random: &mut Random) -> HeaderValue {
        self.at(random.below(self.count))
    }
}

impl Filled {
    fn new(store: MemoryStore, sessions: usize) -> Self {
        let layer = SessionLayer::new(store);
        let mut cookies = Cookies::with_room(sessions);
        for _ in 0..sessions {
            cookies.push(&fill(&layer, 10));
        }
        Self { layer, cookies }
    }
}

/// A fixed sequence (xorshift), so that each run does the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

fn memory(scale: &Scale) {
    let sessions = scale.sizes[2];
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let mut cookies = Cookies::with_room(sessions);
    let before = resident();
    for _ in 0..sessions {
        cookies.push(&fill(&layer, 10));
    }
    let each = resident().saturating_sub(before) as f64 / sessions as f64;
    scale.row(
        format!("bytes a session beyond its values, {sessions} sessions"),
        each - VALUES_LEN as f64,
        " B",
        Some(400.0),
    );
    let counted = store.bytes() as f64 / sessions as f64;
    scale.row("  as counted against max_bytes", counted - VALUES_LEN as f64, " B", None);
    black_box(&cookies.bytes);
}

/// Requests for random sessions. Their cookies are in the processor's cache when they arrive, as in a server; the sessions are not.
fn access(scale: &Scale) {
    let filled = scale.sizes.map(|sessions| Filled::new(MemoryStore::new(), sessions));
    for work in [Work::Read, Work::Write] {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut times = [const { Vec::new() }; 3];
        // Interleaved, so that a busy neighbour disturbs all alike.
        for _ in 0..scale.rounds {
            for (filled, times) in filled.iter().zip(&mut times) {
                times.push(round(scale, filled, work, &mut random));
            }
        }
        let [smallest, ..] = times.clone().map(median);
        for (times, sessions) in times.into_iter().zip(scale.sizes) {
            let time = median(times);
            scale.row(format!("{}, one of {sessions} sessions", work.name()), time, " ns", None);
            if sessions > scale.sizes[0] {
                scale.row(format!("  against {} sessions", scale.sizes[0]), time / smallest, " x", Some(2.0));
            }
        }
    }
}

/// Returns the nanoseconds a request.
fn round(scale: &Scale, filled: &Filled, work: Work, random: &mut Random) -> f64 {
    let mut service = working(&filled.layer, work);
    let mut spent = Duration::ZERO;
    for _ in 0..scale.batches {
        let requests: Vec<_> = (0..scale.batch).map(|_| request(Some(&filled.cookies.random(random)))).collect();
        let start = processor_time();
        for request in requests {
            black_box(answer(&mut service, request));
        }
        spent += processor_time().saturating_sub(start);
    }
    spent.as_nanos() as f64 / (scale.batch * scale.batches) as f64
}

fn eviction(scale: &Scale) {
    let (mut before, mut full) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let store = MemoryStore::builder().max_sessions(scale.full).build().expect("valid bounds");
        let layer = Filled::new(store.clone(), scale.full / 2).layer;
        before.push(creates(&layer, scale.full * 2 / 5));
        while store.len() < scale.full {
            fill(&layer, 10);
        }
        full.push(creates(&layer, scale.full * 2 / 5));
        assert_eq!(store.len(), scale.full, "the bound holds");
    }
    let (before, full) = (median(before), median(full));
    scale.row(format!("create, {} of {} sessions", scale.full / 2, scale.full), before, " ns", None);
    scale.row("create in the full store, which evicts one", full, " ns", None);
    scale.row("  against one that is not full", full / before, " x", None);
}

/// Returns the nanoseconds a create.
fn creates(layer: &SessionLayer, count: usize) -> f64 {
    let mut service = working(layer, Work::Create);
    let start = processor_time();
    for _ in 0..count {
        black_box(answer(&mut service, request(None)));
    }
    (processor_time().saturating_sub(start)).as_nanos() as f64 / count as f64
}

/// Measures the longest request while half of all sessions are swept, and in an equally long time without a sweep.
fn pauses(scale: &Scale) {
    let sessions = scale.sizes[2];
    let (mut quiet, mut swept, mut sweeps, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let clock = ManualClock::default();
        let store = MemoryStore::new();
        let idle = Duration::from_secs(60 * 60);
        let layer = SessionLayer::builder(store.clone()).idle_timeout(idle).clock(clock.clone());
        let layer = layer.build().expect("a valid layer");
        for _ in 0..sessions / 2 {
            fill(&layer, 10);
        }
        clock.advance(Duration::from_secs(59 * 60));
        let mut cookies = Cookies::with_room(sessions / 2);
        for _ in 0..sessions / 2 {
            cookies.push(&fill(&layer, 10));
        }
        // The first half has expired, and the second half is not yet due for a touch.
        clock.advance(Duration::from_secs(120));
        let filled = Filled { layer, cookies };
        let (longest, took) = longest_beside(&filled, || steps.push(sweep(&store, &clock, sessions / 2)));
        swept.push(longest);
        sweeps.push(took.as_secs_f64() * 1e3);
        quiet.push(longest_beside(&filled, || std::thread::sleep(took)).0);
    }
    scale.row(format!("sweep of {sessions} sessions, half of them expired"), median(sweeps), " ms", None);
    scale.row("longest step of it, processor time, median of the runs", median(steps), " ms", Some(2.0));
    println!("  longest request of each run, in ms: {}", list(&swept));
    scale.row("longest request meanwhile, median of the runs", median(swept), " ms", Some(2.0));
    println!("  longest request of each run, in ms: {}", list(&quiet));
    scale.row("longest request without a sweep, median of the runs", median(quiet), " ms", None);
}

/// Sweeps as the layer's sweeper does, without its rests, until `left` sessions remain. Returns the longest step in milliseconds of
/// processor time; no lock is held for longer.
fn sweep(store: &MemoryStore, clock: &ManualClock, left: usize) -> f64 {
    let mut longest = Duration::ZERO;
    while store.len() > left {
        let start = processor_time();
        at_once(store.sweep(256, clock.now())).expect("memory does not fail");
        longest = longest.max(processor_time().saturating_sub(start));
    }
    longest.as_secs_f64() * 1e3
}

/// Returns the longest of the requests that another thread sends meanwhile, in milliseconds, and the whole duration.
fn longest_beside(filled: &Filled, busy: impl FnOnce()) -> (f64, Duration) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let mut random = Random(0x2545_F491_4F6C_DD1D);
            let (mut read, mut write) = (working(&filled.layer, Work::Read), working(&filled.layer, Work::Write));
            let mut longest = Duration::ZERO;
            while !is_over.load(Relaxed) {
                for n in 0..64 {
                    let request = request(Some(&filled.cookies.random(&mut random)));
                    let start = Instant::now();
                    black_box(if n % 4 == 0 { answer(&mut write, request) } else { answer(&mut read, request) });
                    longest = longest.max(start.elapsed());
                }
            }
            longest
        });
        let start = Instant::now();
        busy();
        let took = start.elapsed();
        is_over.store(true, Relaxed);
        (requests.join().expect("no request panics").as_secs_f64() * 1e3, took)
    })
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("it is never negative")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn list(figures: &[f64]) -> String {
    figures.iter().map(|figure| format!("{figure:.2}")).collect::<Vec<_>>().join(", ")
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or("an unknown processor", |(_, name)| name).to_owned()
}

fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&version).trim().to_owned()
}
