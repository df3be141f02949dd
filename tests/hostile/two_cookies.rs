//! Two layers with different cookies on one store never take each other's tokens (promise 6).

use crate::support::key_value::Map;
use crate::support::two_cookies::tokens_stay_with_their_cookie;
use crate::support::{Backend, TestStore};
use tower_session_layer::{CachedStore, MemoryStore, MovingStore, Sealed};

#[tokio::test]
async fn the_token_of_one_cookie_is_absence_in_another() {
    for backend in Backend::SERVER {
        tokens_stay_with_their_cookie(TestStore::new(backend), &format!("{backend:?}")).await;
        tokens_stay_with_their_cookie(Sealed::new(TestStore::new(backend)).unwrap(), "sealed").await;
    }
    tokens_stay_with_their_cookie(CachedStore::new(Map::default().store()).unwrap(), "cached").await;
    let moving = MovingStore::new(Map::default().store(), MemoryStore::new()).unwrap();
    tokens_stay_with_their_cookie(moving, "moving").await;
}
