//! Random requests, and everything that is seen of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{ManualClock, MemoryStore, Session, SessionLayer};

use super::store::*;
use crate::support::Log;

pub const KEYS: [&str; 7] = ["", "k", "k\0", "key", "keys", "k\u{e9}y", "\u{1F600}\0"];

#[derive(Debug, Clone)]
pub enum Step {
    Insert(usize, u64),
    Remove(usize),
    Take(usize),
    Bump,
    Flash(u64),
    TakeFlash,
    Clear,
    Csrf,
    Idle(u64),
    Renew,
    SignIn(u64),
    Destroy,
    Commit,
    Reload,
    Clock(i64),
    Big,
    Read,
}

#[derive(Debug, Clone, Copy)]
pub enum End {
    Status(u16),
    Grpc,
    Err,
    Panic,
}

#[derive(Debug, Clone)]
pub struct Visit {
    pub steps: Vec<Step>,
    pub end: End,
    pub update: Vec<Fault>,
    pub create: Vec<Fault>,
    pub with_cookie: bool,
    pub own_cookie: bool,
}

pub struct Rig {
    pub store: Wrap,
    pub layer: SessionLayer,
    pub kept: Option<Arc<Mutex<Vec<Session>>>>,
    pub names: HashMap<String, usize>,
}

pub fn rig(hold: bool) -> Rig {
    let clock = ManualClock::default();
    let inner = Arc::new(MemoryStore::new());
    let other =
        SessionLayer::builder(Shared(Arc::clone(&inner))).clock(clock.clone()).cookie_name("sid").build().unwrap();
    let store = Wrap {
        inner,
        calls: Arc::default(),
        update: Arc::default(),
        create: Arc::default(),
        cookie: Arc::default(),
        other: Arc::new(Mutex::new(Some(other))),
        clock: clock.clone(),
    };
    let layer =
        SessionLayer::builder(store.clone()).clock(clock).cookie_name("sid").max_record_bytes(600).build().unwrap();
    Rig { store, layer, kept: hold.then(Arc::default), names: HashMap::new() }
}

pub async fn act(session: &Session, steps: &[Step], clock: &ManualClock) -> String {
    let mut said = String::new();
    for step in steps {
        use std::fmt::Write as _;
        let answer = match step {
            Step::Insert(key, value) => format!("{:?}", session.insert(KEYS[*key], value).map_err(|e| e.to_string())),
            Step::Remove(key) => format!("{:?}", session.remove(KEYS[*key]).map_err(|e| e.to_string())),
            Step::Take(key) => format!("{:?}", session.take::<u64>(KEYS[*key]).map_err(|e| e.to_string())),
            Step::Bump => format!(
                "{:?}",
                session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).map_err(|e| e.to_string())
            ),
            Step::Flash(value) => format!("{:?}", session.flash("f", value).map_err(|e| e.to_string())),
            Step::TakeFlash => format!("{:?}", session.take_flash::<u64>("f").map_err(|e| e.to_string())),
            Step::Clear => format!("{:?}", session.clear().map_err(|e| e.to_string())),
            Step::Csrf => format!("{:?}", session.csrf_token().is_ok()),
            Step::Idle(idle) => {
                format!("{:?}", session.set_idle_timeout(Duration::from_secs(*idle)).map_err(|e| e.to_string()))
            }
            Step::Renew => format!("{:?}", session.renew().map_err(|e| e.to_string())),
            Step::SignIn(who) => format!("{:?}", session.sign_in(&format!("u{who}")).map_err(|e| e.to_string())),
            Step::Destroy => format!("{:?}", session.destroy().map_err(|e| e.to_string())),
            Step::Commit => format!("{:?}", session.commit().await.map_err(|e| e.to_string())),
            Step::Reload => format!("{:?}", session.reload().await.map_err(|e| e.to_string())),
            Step::Clock(by) => {
                use tower_session_layer::Clock as _;
                let by_abs = Duration::from_secs(by.unsigned_abs());
                clock.set(if *by < 0 { clock.now() - by_abs } else { clock.now() + by_abs });
                String::new()
            }
            Step::Big => format!("{:?}", session.insert("big", "x".repeat(400)).map_err(|e| e.to_string())),
            Step::Read => {
                use tower_session_layer::Clock as _;
                let view = session.view();
                format!(
                    "{:?} {:?} {:?} {} {:?}",
                    view.keys(),
                    session.get::<u64>("n").map_err(|e| e.to_string()),
                    session.owner(),
                    session.is_new(),
                    view.expires_at().duration_since(clock.now()).ok()
                )
            }
        };
        let _ = writeln!(said, "  {step:?}: {answer}");
    }
    said
}

impl Rig {
    pub async fn visit(&mut self, visit: &Visit) -> String {
        *self.store.update.lock().unwrap() = visit.update.clone().into();
        *self.store.create.lock().unwrap() = visit.create.clone().into();
        self.store.calls.lock().unwrap().clear();
        let kept = self.kept.clone();
        let (clock, seen) = (self.store.clock.clone(), Arc::new(Mutex::new(String::new())));
        let (steps, end, own) = (visit.steps.clone(), visit.end, visit.own_cookie);
        let said = Arc::clone(&seen);
        let service = self.layer.layer(service_fn(move |request: Request<()>| {
            let (steps, clock, kept, said) = (steps.clone(), clock.clone(), kept.clone(), Arc::clone(&said));
            async move {
                let session = request.extensions().get::<Session>().unwrap().clone();
                drop(request);
                if let Some(kept) = kept {
                    kept.lock().unwrap().push(session.clone());
                }
                let text = act(&session, &steps, &clock).await;
                said.lock().unwrap().push_str(&text);
                let mut response = Response::new(String::from("body"));
                if own {
                    response.headers_mut().append(SET_COOKIE, "mine=1".parse().unwrap());
                    response.headers_mut().append(SET_COOKIE, "sid=evil".parse().unwrap());
                    response.headers_mut().append("cache-control", "public, Private".parse().unwrap());
                    response.headers_mut().append("cache-control", "max-age=3".parse().unwrap());
                    response.headers_mut().append("cdn-cache-control", "max-age=3".parse().unwrap());
                    response.headers_mut().append("vary", "accept".parse().unwrap());
                }
                match end {
                    End::Status(status) => *response.status_mut() = status.try_into().unwrap(),
                    End::Grpc => drop(response.headers_mut().insert("grpc-status", "2".parse().unwrap())),
                    End::Err => return Err("made to fail"),
                    End::Panic => panic!("handler panics"),
                }
                Ok(response)
            }
        }));
        let mut request = Request::builder();
        let cookie = self.store.cookie.lock().unwrap().clone();
        if let (Some(cookie), true) = (cookie, visit.with_cookie) {
            request = request.header(COOKIE, format!("sid={cookie}"));
        }
        let request = request.body(()).unwrap();
        let log = Log::capture();
        let answer = tokio::spawn(service.oneshot(request)).await;
        let events = log.take();
        drop(log);
        let mut text = std::mem::take(&mut *seen.lock().unwrap());
        match answer {
            Err(panic) => text += &format!("panicked: {}\n", panic.is_panic()),
            Ok(Err(error)) => text += &format!("{error}\n"),
            Ok(Ok(response)) => {
                text += &format!("{} {:?}\n", response.status(), response.body());
                let mut headers: Vec<_> = response
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                    .collect();
                headers.sort();
                for header in headers {
                    match header.strip_prefix("set-cookie: sid=") {
                        Some("evil") => text += "EVIL\n",
                        Some(rest) if header.contains("Max-Age=0;") => {
                            text += &format!("REMOVED {rest}\n");
                            *self.store.cookie.lock().unwrap() = None;
                        }
                        Some(rest) => {
                            let (token, rest) = rest.split_once(';').unwrap();
                            let next = self.names.len();
                            let name = *self.names.entry(token.to_owned()).or_insert(next);
                            text += &format!("SET t{name};{rest}\n");
                            *self.store.cookie.lock().unwrap() = Some(token.to_owned());
                        }
                        None => text += &format!("{header}\n"),
                    }
                }
            }
        }
        text += &format!("calls: {:?}\n", self.store.calls.lock().unwrap());
        text += &format!("sessions: {}\n", self.store.inner.len());
        for line in events.lines() {
            // `events/spans.rs` is about the span: here it is what happens in it.
            let line = match line.split_once("session.commit").and_then(|(_, span)| span.split_once('}')) {
                Some((_, event)) => event,
                None => line.trim_start(),
            };
            let words: Vec<_> = line
                .split_inclusive(' ')
                .filter(|word| {
                    !word.contains("tower_session_layer::")
                        && !word.contains("key=")
                        && !word.contains("StoreKey")
                        && !word.contains("\u{1b}[3mkey")
                })
                .collect();
            text += &format!("event: {}\n", words.concat());
        }
        text
    }
}

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}

pub fn steps(dice: &mut Dice) -> Vec<Step> {
    (0..dice.roll(4))
        .map(|_| match dice.roll(40) {
            0..=9 => Step::Insert(dice.roll(7) as usize, dice.roll(3)),
            10..=12 => Step::Remove(dice.roll(7) as usize),
            13..=14 => Step::Take(dice.roll(7) as usize),
            15..=19 => Step::Bump,
            20..=21 => Step::Flash(dice.roll(3)),
            22..=23 => Step::TakeFlash,
            24 => Step::Clear,
            25 => Step::Csrf,
            26 => Step::Idle(1000 + dice.roll(3) * 100_000),
            27 => Step::Renew,
            28 => Step::SignIn(dice.roll(2)),
            29 => Step::Destroy,
            30..=31 => Step::Commit,
            32 => Step::Reload,
            33..=35 => Step::Clock([1, 600, 20 * 3600, 3 * 86400, 8 * 86400, -3600, -20 * 3600][dice.roll(7) as usize]),
            36 => Step::Big,
            _ => Step::Read,
        })
        .collect()
}

pub fn visit(dice: &mut Dice) -> Visit {
    const UPDATE: [Fault; 10] = [
        Fault::Race,
        Fault::Renewed,
        Fault::Destroyed,
        Fault::Emptied,
        Fault::FakeConflict,
        Fault::Fail,
        Fault::Lose,
        Fault::Twice,
        Fault::Panic,
        Fault::ClockOn,
    ];
    const CREATE: [Fault; 7] =
        [Fault::Instead, Fault::Fail, Fault::Lose, Fault::Twice, Fault::Panic, Fault::ClockOn, Fault::Lose];
    let faults = |dice: &mut Dice, which: &[Fault]| -> Vec<Fault> {
        if dice.roll(3) > 0 {
            return Vec::new();
        }
        (0..=dice.roll(2)).map(|_| which[dice.roll(which.len() as u64) as usize]).collect()
    };
    Visit {
        steps: steps(dice),
        end: match dice.roll(12) {
            0 => End::Status(500),
            1 => End::Status(304),
            2 => End::Grpc,
            3 => End::Err,
            4 => End::Panic,
            _ => End::Status(200),
        },
        update: faults(dice, &UPDATE),
        create: faults(dice, &CREATE),
        with_cookie: dice.roll(12) > 0,
        own_cookie: dice.roll(3) == 0,
    }
}
