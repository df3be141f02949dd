//! How often a request allocates, exactly: beyond the bare service, with the memory store and the default options.

#[path = "../../benches/support/mod.rs"]
mod works;

use std::convert::Infallible;

use allocation_counter::{AllocationInfo, measure};
use http::header::HeaderValue;
use http::{Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_session_layer::{MemoryStore, Session, SessionLayer};

use self::works::{Work, answer, bare, cookie_of, fill, request, working};

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

/// A session of so many keys, and its cookie.
fn with_keys(layer: &SessionLayer, keys: usize) -> Response<()> {
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        let session = request.extensions().get::<Session>().unwrap();
        session.insert("user", "ada").unwrap();
        (1..keys).for_each(|key| session.insert(&format!("key {:06}", key * 7_919 % keys), key).unwrap());
        async { Ok::<_, Infallible>(Response::new(())) }
    }));
    answer(&mut service, Request::new(()))
}

#[test]
fn a_write_into_many_keys_copies_few_of_them() {
    let bytes = |keys| {
        let layer = SessionLayer::new(MemoryStore::builder().max_sessions(4_096).build().unwrap());
        let cookie = cookie_of(&with_keys(&layer, keys));
        fewest(&mut working(&layer, Work::Write), Some(&cookie)).bytes_total
    };
    let few = bytes(3);
    for keys in [200, 2_000] {
        let many = bytes(keys);
        // A chunk of entries and the pointers to all chunks.
        assert!(many - few < 4_096, "{keys} keys: {many} bytes, {few} with three");
    }
}

#[test]
fn twice_as_many_new_keys_allocate_hardly_more_than_twice_as_much() {
    let layer = SessionLayer::builder(MemoryStore::new()).max_record_bytes(16 << 20).build().unwrap();
    let counts = [10_000, 20_000, 40_000].map(|keys| {
        let info = measure(|| drop(with_keys(&layer, keys)));
        (info.count_total, info.bytes_total)
    });
    for pair in counts.windows(2) {
        assert!(pair[1].0 < pair[0].0 * 21 / 10 && pair[1].1 < pair[0].1 * 21 / 10, "{counts:?}");
    }
}
