//! The time that the layer adds to a bare service: in process, one thread, memory and cookie stores.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_session_layer::{CookieKey, CookieStore, MemoryStore, Session, SessionLayer, SessionStore};

/// The work of a handler.
#[derive(Clone, Copy, Debug)]
enum Work {
    Nothing,
    Read,
    Write,
}

fn handle(request: &Request<()>, work: Work, count: u64) {
    let session = || request.extensions().get::<Session>().expect("the layer is there");
    match work {
        Work::Nothing => {}
        Work::Read => {
            black_box(session().get::<String>("user").expect("a string"));
        }
        Work::Write => {
            black_box(session().get::<String>("user").expect("a string"));
            session().insert("count", count).expect("a number");
        }
    }
}

fn run(layer: &SessionLayer, cookie: Option<&str>, work: Work, bencher: &mut criterion::Bencher<'_>) {
    let mut count = 0;
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        count += 1;
        handle(&request, work, count);
        async { Ok::<_, Infallible>(Response::new(())) }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        bencher.iter(|| {
            let mut request = Request::new(());
            if let Some(cookie) = cookie {
                request.headers_mut().insert(COOKIE, cookie.parse().expect("a header"));
            }
            let future = service.ready().now_or_never().call(request);
            black_box(future.now_or_never())
        });
    });
}

/// Polls a future once; no future here waits.
trait NowOrNever: Future + Sized {
    fn now_or_never(self) -> <Self::Output as IntoOk>::Ok
    where
        Self::Output: IntoOk,
    {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(self).poll(&mut context) {
            std::task::Poll::Ready(output) => output.into_ok(),
            std::task::Poll::Pending => unreachable!("an immediate store never waits"),
        }
    }
}

impl<F: Future> NowOrNever for F {}

trait IntoOk {
    type Ok;
    fn into_ok(self) -> Self::Ok;
}

impl<T> IntoOk for Result<T, Infallible> {
    type Ok = T;
    fn into_ok(self) -> T {
        let Ok(value) = self;
        value
    }
}

/// Returns a layer, and the cookie of a session that a handler has filled.
fn filled(store: impl SessionStore, fill: impl Fn(&Session)) -> (SessionLayer, String) {
    let layer = SessionLayer::builder(store).max_record_bytes(16 << 20).build().expect("a valid layer");
    let response = begin(&layer, fill);
    let cookie = response.headers()[SET_COOKIE].to_str().expect("ASCII");
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    (layer, pair)
}

fn begin(layer: &SessionLayer, fill: impl Fn(&Session)) -> Response<()> {
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        fill(request.extensions().get::<Session>().expect("the layer is there"));
        async { Ok::<_, Infallible>(Response::new(())) }
    }));
    service.ready().now_or_never().call(Request::new(())).now_or_never()
}

/// Fills a session with a user and so many bytes.
fn bytes(bytes: usize) -> impl Fn(&Session) {
    let cart = "x".repeat(bytes);
    move |session| {
        session.insert("user", "ada").expect("room");
        session.insert("cart", &cart).expect("room");
    }
}

/// Fills a session with a user and other keys, so many together, in no order.
fn keys(keys: usize) -> impl Fn(&Session) {
    move |session| {
        session.insert("user", "ada").expect("room");
        (1..keys).for_each(|key| session.insert(&format!("key {}", key * 7_919 % keys), key).expect("room"));
    }
}

fn middleware(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("memory");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let (layer, _) = filled(MemoryStore::new(), bytes(10));
    group.bench_function("no cookie", |bencher| run(&layer, None, Work::Nothing, bencher));
    for count in [10, 2_000, 200_000] {
        let (layer, cookie) = filled(MemoryStore::new(), bytes(count));
        for work in [Work::Nothing, Work::Read, Work::Write] {
            group.bench_function(format!("{work:?}, {count} bytes"), |bencher| {
                run(&layer, Some(&cookie), work, bencher);
            });
        }
    }
    let layer = SessionLayer::new(MemoryStore::builder().max_sessions(100_000).build().expect("valid bounds"));
    group.bench_function("create", |bencher| run(&layer, None, Work::Write, bencher));
    for count in [3, 200, 2_000] {
        let (layer, cookie) = filled(MemoryStore::new(), keys(count));
        group.bench_function(format!("Write, {count} keys"), |bencher| {
            run(&layer, Some(&cookie), Work::Write, bencher);
        });
    }
    group.sample_size(10);
    for count in [20_000, 40_000, 80_000] {
        let store = MemoryStore::builder().max_sessions(1).build().expect("valid bounds");
        let (layer, _) = filled(store, bytes(10));
        group.bench_function(format!("{count} new keys"), |bencher| bencher.iter(|| begin(&layer, keys(count))));
    }
    group.finish();

    let mut group = criterion.benchmark_group("cookie");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for count in [10, 2_000] {
        let store = CookieStore::new(CookieKey::new(&[7; 32]).expect("a key"));
        let (layer, cookie) = filled(store, bytes(count));
        for work in [Work::Nothing, Work::Write] {
            group.bench_function(format!("{work:?}, {count} bytes"), |bencher| {
                run(&layer, Some(&cookie), work, bencher);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, middleware);
criterion_main!(benches);
