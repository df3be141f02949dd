//! The sealed cookie: what our cookie store adds to a bare service, beside a `cookie::PrivateJar` used by hand.

use peers::report::{columns, heading, nanoseconds, ratio, row};
use peers::system::{Bare, Ours, PrivateJar};
use peers::{Case, Lane, Options, Shape, Work, interleave, runtime};
use tower_session_layer::{CookieKey, CookieStore};

/// How much text a session holds beside the user and the count, in how many cookies at most. One cookie has no room for
/// 3 kB and its own attributes in the 4,096 bytes of a browser; the jar sends a larger one all the same.
const ROWS: [(&str, Work, usize, u8); 6] = [
    ("open and read, 200 B", Work::Read, 200, 1),
    ("open and read, 2.8 kB", Work::Read, 2_800, 1),
    ("open and read, 3 kB in two cookies", Work::Read, 3_000, 2),
    ("open, write and seal, 200 B", Work::Write, 200, 1),
    ("open, write and seal, 2.8 kB", Work::Write, 2_800, 1),
    ("open, write and seal, 3 kB in two cookies", Work::Write, 3_000, 2),
];

pub(crate) fn report(options: &Options) {
    heading("Overhead over the bare service, sealed cookies, one thread, ns a request");
    columns(&["work", "ours", "PrivateJar", "ratio"]);
    for (name, work, bytes, cookies) in ROWS {
        if options.wants(name) {
            measure(options, name, Case { work, session: Some(Shape::Text(bytes)) }, cookies);
        }
    }
}

fn measure(options: &Options, name: &str, case: Case, cookies: u8) {
    let runtime = runtime();
    let key = CookieKey::new(b"a key of 32 bytes for the benches").expect("a key");
    let store = CookieStore::builder([key]).max_chunks(cookies).build().expect("a store");
    let mut lanes = [
        Lane::new(&runtime, options, case, Bare),
        Lane::new(&runtime, options, case, Ours::with(store)),
        Lane::new(&runtime, options, case, PrivateJar::new()),
    ];
    interleave(options, &mut lanes);
    let [bare, ours, jar] = lanes;
    let (ours, jar) = (ours.overhead(&bare), jar.overhead(&bare));
    row(&[name.to_owned(), nanoseconds(ours), nanoseconds(jar), ratio(ours / jar)]);
}
