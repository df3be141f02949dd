//! How often a request allocates, exactly: beyond the bare service, with the memory store and the default options.

#[path = "../../benches/support/mod.rs"]
mod works;

use std::convert::Infallible;

use allocation_counter::{AllocationInfo, measure};
use http::header::HeaderValue;
use http::{Request, Response};
use tower::Service;
use tower_session_layer::{MemoryStore, SessionLayer};

use self::works::{Work, answer, bare, fill, request, working};

/// The fewest of many requests, once thread-locals, the shards' tables and the session's values have settled: the
/// table of a shard grows now and then.
fn fewest<S>(service: &mut S, cookie: Option<&HeaderValue>) -> AllocationInfo
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    for _ in 0..500 {
        answer(service, request(cookie));
    }
    let once = |_| {
        let request = request(cookie);
        measure(|| drop(answer(service, request)))
    };
    (0..64).map(once).min_by_key(|info| info.count_total).unwrap()
}

/// What a request allocates beyond the bare service: how often, and how many bytes.
fn beyond_bare(work: Work, bytes: usize) -> (u64, u64) {
    // As few shards as there can be, so that a few hundred sessions are in each table.
    let layer = SessionLayer::new(MemoryStore::builder().max_sessions(4_096).build().unwrap());
    let cookie = work.has_cookie().then(|| fill(&layer, bytes));
    let bare = fewest(&mut bare(), cookie.as_ref());
    let with = fewest(&mut working(&layer, work), cookie.as_ref());
    (with.count_total - bare.count_total, with.bytes_total - bare.bytes_total)
}

#[test]
fn each_work_allocates_exactly_so_often_and_no_oftener_than_promised() {
    let counts = Work::ALL.map(|work| (work.name(), beyond_bare(work, 10).0));
    let today = [("no cookie", 4), ("untouched", 4), ("read", 7), ("read and write", 10), ("create", 10)];
    assert_eq!(counts, today, "a change for the better is written down here too");
    let promised = [4, 4, 7, 14];
    for ((work, count), promised) in counts.into_iter().zip(promised) {
        assert!(count <= promised, "{work}: {count}, promised {promised}");
    }
}

#[test]
fn a_large_session_costs_no_more_allocations_than_a_small_one() {
    for work in [Work::Untouched, Work::Read, Work::Write] {
        let [small, large] = [10, 200_000].map(|bytes| beyond_bare(work, bytes));
        assert_eq!(small, large, "{}", work.name());
    }
}

#[test]
fn reading_one_value_copies_nothing_of_the_others() {
    let (_, bytes) = beyond_bare(Work::Read, 200_000);
    assert!(bytes < 4_000, "{bytes} bytes");
}
