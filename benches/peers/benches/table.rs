//! The table of bounds: the time that the layer adds to a bare service, compared with `tower-sessions` and `axum_session`.

use peers::report::{columns, environment, heading, nanoseconds, ratio, row};
use peers::system::{AxumSession, Bare, Ours, TowerSessions};
use peers::{Case, Lane, Options, Shape, Work, interleave, runtime};

const SMALL: Option<Shape> = Some(Shape::Small);
const CART_2_KB: Option<Shape> = Some(Shape::Cart(20));
const CART_200_KB: Option<Shape> = Some(Shape::Cart(2_000));
const KEYS: Option<Shape> = Some(Shape::Keys(2_000));

/// Each work, the session that it uses, and the largest allowed ratio to the time of `tower-sessions`.
const ROWS: [(&str, Work, Option<Shape>, Option<f64>); 14] = [
    ("no cookie, untouched", Work::Nothing, None, Some(0.45)),
    ("cookie, untouched, small", Work::Nothing, SMALL, Some(0.35)),
    ("cookie, untouched, 2 kB", Work::Nothing, CART_2_KB, Some(0.35)),
    ("cookie, untouched, 200 kB", Work::Nothing, CART_200_KB, Some(0.35)),
    ("cookie, untouched, 200 kB in 2,000 keys", Work::Nothing, KEYS, None),
    ("cookie, read one key, small", Work::Read, SMALL, Some(0.25)),
    ("cookie, read one key, 2 kB", Work::Read, CART_2_KB, Some(0.035)),
    ("cookie, read one key, 200 kB", Work::Read, CART_200_KB, Some(0.001)),
    ("cookie, read one key, 200 kB in 2,000 keys", Work::Read, KEYS, None),
    ("cookie, write one key, small", Work::Write, SMALL, Some(0.30)),
    ("cookie, write one key, 2 kB", Work::Write, CART_2_KB, Some(0.05)),
    ("cookie, write one key, 200 kB", Work::Write, CART_200_KB, Some(0.001)),
    ("cookie, write one key, 200 kB in 2,000 keys", Work::Write, KEYS, None),
    ("create", Work::Create, None, Some(0.50)),
];

fn main() {
    let options = Options::from_args();
    println!("{}", environment(&options));
    heading("Overhead over the bare service, memory stores, one thread, ns a request");
    columns(&["work", "ours", "tower-sessions", "ratio", "bound", "", "axum_session", "ratio"]);
    for (name, work, session, bound) in ROWS {
        if options.wants(name) {
            measure(&options, name, Case { work, session }, bound);
        }
    }
}

fn measure(options: &Options, name: &str, case: Case, bound: Option<f64>) {
    let runtime = runtime();
    let mut lanes = [
        Lane::new(&runtime, options, case, Bare),
        Lane::new(&runtime, options, case, Ours::new()),
        Lane::new(&runtime, options, case, TowerSessions::new()),
        Lane::new(&runtime, options, case, runtime.block_on(AxumSession::new())),
    ];
    interleave(options, &mut lanes);
    let [bare, lanes @ ..] = lanes;
    let [ours, tower_sessions, axum_session] = lanes.map(|lane| lane.overhead(&bare));
    let share = ours / tower_sessions;
    row(&[
        name.to_owned(),
        nanoseconds(ours),
        nanoseconds(tower_sessions),
        ratio(share),
        bound.map(|bound| bound.to_string()).unwrap_or_default(),
        bound.map(|bound| if share <= bound { "ok" } else { "missed" }.to_owned()).unwrap_or_default(),
        nanoseconds(axum_session),
        ratio(ours / axum_session),
    ]);
}
