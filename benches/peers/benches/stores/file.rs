//! Sessions as files: the time that our file store adds to a bare service. The releases of the peers have no file store.

use std::path::Path;

use peers::report::{columns, heading, nanoseconds, row};
use peers::system::{Bare, Ours};
use peers::{Case, Lane, Options, Shape, Work, interleave, runtime};
use tower_session_layer::{Durability, FileStore};

const ROWS: [(&str, Work, Shape); 6] = [
    ("untouched, small", Work::Nothing, Shape::Small),
    ("read one key, small", Work::Read, Shape::Small),
    ("read one key, 200 kB", Work::Read, Shape::Cart(2_000)),
    ("write one key, small", Work::Write, Shape::Small),
    ("write one key, 2 kB", Work::Write, Shape::Cart(20)),
    ("write one key, 200 kB", Work::Write, Shape::Cart(2_000)),
];

pub(crate) fn report(options: &Options) {
    if !options.wants("file store") {
        return;
    }
    // In the target directory, because the system's temporary directory may be in memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    heading("Overhead over the bare service, file store, one thread, ns a request");
    columns(&["file store", "Durability::Process", "Durability::System"]);
    for (name, work, session) in ROWS {
        measure(options, name, Case { work, session: Some(session) }, directory.path());
    }
}

fn measure(options: &Options, name: &str, case: Case, directory: &Path) {
    let runtime = runtime();
    let system = |durability| {
        let directory = directory.join(format!("{durability:?}"));
        Ours::with(FileStore::builder(directory).durability(durability).build().expect("a store"))
    };
    let mut lanes = [
        Lane::new(&runtime, options, case, Bare),
        Lane::new(&runtime, options, case, system(Durability::Process)),
        Lane::new(&runtime, options, case, system(Durability::System)),
    ];
    interleave(options, &mut lanes);
    let [bare, process, full] = lanes;
    row(&[name.to_owned(), nanoseconds(process.overhead(&bare)), nanoseconds(full.overhead(&bare))]);
}
