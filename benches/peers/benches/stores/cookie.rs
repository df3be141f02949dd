//! The sealed cookie: the time that our cookie store adds to a bare service, compared with a `cookie::PrivateJar` used by hand.

use peers::report::{columns, heading, nanoseconds, ratio, row};
use peers::system::{Bare, Ours, PrivateJar};
use peers::{Case, Lane, Options, Shape, Work, interleave, runtime};
use tower_session_layer::{CookieKey, CookieStore};

/// The bytes of text in a session beside the user and the count, and the most cookies for it. The 4,096 bytes of a browser's cookie
/// have no room for 3 kB and the attributes; the jar sends a larger cookie all the same.
const SIZES: [(&str, usize, u8); 3] =
    [("200 B", 200, 1), ("2.7 kB", 2_700, 1), ("3 kB (ours in two cookies)", 3_000, 2)];

pub(crate) fn report(options: &Options) {
    if !options.wants("cookie store") {
        return;
    }
    heading("Overhead over the bare service, sealed cookies, one thread, ns a request");
    columns(&["cookie store", "ours", "PrivateJar", "ratio"]);
    for (size, bytes, cookies) in SIZES {
        let measure = |work| measure(options, Case { work, session: Some(Shape::Text(bytes)) }, cookies);
        let (read, write) = (measure(Work::Read), measure(Work::Write));
        print(&format!("{size}: open and read"), read);
        print(&format!("{size}: open, write and seal"), write);
        print(&format!("{size}: a write and a read"), [read[0] + write[0], read[1] + write[1]]);
    }
}

/// Returns the time that our store adds and the time that the jar adds.
fn measure(options: &Options, case: Case, cookies: u8) -> [f64; 2] {
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
    [ours.overhead(&bare), jar.overhead(&bare)]
}

fn print(name: &str, [ours, jar]: [f64; 2]) {
    row(&[name.to_owned(), nanoseconds(ours), nanoseconds(jar), ratio(ours / jar)]);
}
