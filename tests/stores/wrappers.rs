//! What a store around another says of itself: what the inner one does, where it does not say otherwise.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, Revocation, Updated, Version,
};
use tower_session_layer::{
    CachedStore, MovingStore, Sealed, SessionCookie, SessionLayer, SessionStore, SessionToken, StoreError, StoreKey,
    TokenShape,
};

/// Says of itself what no other store says, and holds nothing.
#[derive(Debug, Clone)]
struct Odd {
    is_immediate: bool,
    most: Option<usize>,
    interval: Option<Duration>,
    bound_to: Arc<Mutex<Vec<String>>>,
    /// How many of those it had.
    expired: Arc<AtomicUsize>,
}

fn odd(is_immediate: bool, most: Option<usize>, interval: Option<u64>) -> Odd {
    let interval = interval.map(Duration::from_secs);
    Odd { is_immediate, most, interval, bound_to: Arc::default(), expired: Arc::default() }
}

impl SessionStore for Odd {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        self.is_immediate
    }

    fn max_record_len(&self) -> Option<usize> {
        self.most
    }

    fn sweep_interval(&self) -> Option<Duration> {
        self.interval
    }

    fn bind(&mut self, cookie: &SessionCookie) {
        self.bound_to.lock().unwrap().push(cookie.name().to_owned());
    }

    async fn load(&self, _: &SessionToken, _: SystemTime) -> Result<Loaded, StoreError> {
        Ok(Loaded::Absent)
    }

    async fn create(&self, _: &SessionToken, _: &Arc<Record>, _: SystemTime) -> Result<Created, StoreError> {
        Ok(Created::Taken)
    }

    async fn update(&self, _: &SessionToken, _: Version, _: &Change, _: SystemTime) -> Result<Updated, StoreError> {
        Ok(Updated::Gone)
    }

    async fn touch(&self, _: &SessionToken, _: Version, _: SystemTime, _: SystemTime) -> Result<Updated, StoreError> {
        Ok(Updated::Gone)
    }

    async fn delete(&self, _: &StoreKey, _: Duration, _: SystemTime) -> Result<Deleted, StoreError> {
        Ok(Deleted::Absent)
    }

    async fn owned(&self, _: &str, _: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        Err(StoreError::unsupported())
    }

    async fn revoke(&self, _: &str, _: &Revocation, _: SystemTime) -> Result<usize, StoreError> {
        Err(StoreError::unsupported())
    }

    async fn sweep(&self, limit: usize, _: SystemTime) -> Result<usize, StoreError> {
        let swept = self.expired.load(SeqCst).min(limit);
        self.expired.fetch_sub(swept, SeqCst);
        Ok(swept)
    }
}

#[test]
fn wrapper_waits_where_what_it_wraps_does() {
    for is_immediate in [true, false] {
        let store = || odd(is_immediate, None, None);
        assert_eq!(Sealed::new(store()).unwrap().is_immediate(), is_immediate);
        assert_eq!(CachedStore::new(store()).unwrap().is_immediate(), is_immediate);
        for other in [true, false] {
            let both = MovingStore::new(store(), odd(other, None, None)).unwrap();
            assert_eq!(both.is_immediate(), is_immediate && other);
        }
    }
}

#[test]
fn wrapper_holds_no_longer_records_than_what_it_wraps() {
    for most in [None, Some(4_096)] {
        let store = || odd(false, most, None);
        assert_eq!(CachedStore::new(store()).unwrap().max_record_len(), most);
        assert_eq!(MovingStore::new(store(), odd(false, Some(7), None)).unwrap().max_record_len(), most);
        let sealed = Sealed::new(store()).unwrap().max_record_len();
        assert_eq!(sealed.is_some(), most.is_some());
        assert!(sealed < most || most.is_none(), "a seal takes room");
    }
}

#[test]
fn wrapper_is_swept_as_often_as_what_it_wraps() {
    for seconds in [None, Some(7)] {
        let store = || odd(false, None, seconds);
        let interval = seconds.map(Duration::from_secs);
        assert_eq!(Sealed::new(store()).unwrap().sweep_interval(), interval);
        assert_eq!(CachedStore::new(store()).unwrap().sweep_interval(), interval);
        assert_eq!(MovingStore::new(store(), odd(false, None, None)).unwrap().sweep_interval(), interval);
        // The more frequent of both.
        let both = MovingStore::new(store(), odd(false, None, Some(3))).unwrap();
        assert_eq!(both.sweep_interval(), Some(Duration::from_secs(3)));
    }
}

#[tokio::test]
async fn what_is_wrapped_is_told_its_cookie() {
    let store = odd(false, None, None);
    let bound_to = || std::mem::take(&mut *store.bound_to.lock().unwrap());
    let layer = SessionLayer::builder(Sealed::new(store.clone()).unwrap());
    layer.cookie_name("theirs").build().unwrap();
    assert_eq!(bound_to(), ["theirs"]);
    let layer = SessionLayer::builder(CachedStore::new(store.clone()).unwrap());
    layer.cookie_name("theirs").build().unwrap();
    assert_eq!(bound_to(), ["theirs"]);
    let layer = SessionLayer::builder(MovingStore::new(store.clone(), store.clone()).unwrap());
    layer.cookie_name("theirs").build().unwrap();
    assert_eq!(bound_to(), ["theirs", "theirs"]);
}

#[tokio::test]
async fn both_stores_of_a_move_are_swept_within_one_limit() {
    let (new, old) = (odd(false, None, None), odd(false, None, None));
    let both = MovingStore::new(new.clone(), old.clone()).unwrap();
    let now = SystemTime::UNIX_EPOCH;
    for (in_new, in_old, limit, left) in [(3, 4, 10, (0, 0)), (3, 4, 5, (0, 2)), (3, 4, 3, (0, 4)), (5, 4, 3, (2, 4))] {
        new.expired.store(in_new, SeqCst);
        old.expired.store(in_old, SeqCst);
        assert_eq!(both.sweep(limit, now).await.unwrap(), (in_new + in_old).min(limit));
        assert_eq!(
            (new.expired.load(SeqCst), old.expired.load(SeqCst)),
            left,
            "{in_new} and {in_old}, at most {limit}"
        );
    }
}
