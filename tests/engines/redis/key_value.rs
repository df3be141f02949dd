//! `KeyValueStore` on a map whose entries expire by themselves: one script of Redis that compares and swaps.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};
use tower_session_layer::store::conformance::Subject;
use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::{KeyValueStore, StoreError, session_store_conformance};

use std::time::{Duration, SystemTime};

use super::server::Server;

const SWAP: &str = r"
    local standing = redis.call('GET', KEYS[1]) or ''
    if standing ~= ARGV[1] then return 0 end
    if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
    return 1";

#[derive(Clone)]
struct Swapping(MultiplexedConnection);

impl std::fmt::Debug for Swapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Swapping")
    }
}

impl Swapping {
    async fn connect(server: &Server) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        Self(client.get_multiplexed_async_connection().await.unwrap())
    }
}

impl KeyValue for Swapping {
    type Revision = Vec<u8>;

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let got: Result<Option<Vec<u8>>, RedisError> =
            redis::cmd("GET").arg(key).query_async(&mut self.0.clone()).await;
        Ok(got.map_err(StoreError::new)?.map(|bytes| (bytes.clone(), bytes)))
    }

    async fn compare_and_swap(&self, key: &str, from: Option<&Vec<u8>>, to: Option<Entry>) -> Result<bool, StoreError> {
        let script = Script::new(SWAP);
        let (bytes, ttl) = to.map_or((Vec::new(), 0), |to| (to.bytes, to.ttl.as_micros().div_ceil(1_000)));
        let mut call = script.key(key);
        call.arg(from.map_or(&[][..], |from| from)).arg(bytes).arg(ttl.to_string());
        call.invoke_async(&mut self.0.clone()).await.map_err(StoreError::new)
    }

    async fn sweep(&self, _: usize, _: SystemTime) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn sweep_interval(&self) -> Option<Duration> {
        None
    }
}

session_store_conformance!({
    let server = Server::start();
    let (one, other) = (Swapping::connect(&server).await, Swapping::connect(&server).await);
    Subject::new(KeyValueStore::new(one)).with_other_handle(KeyValueStore::new(other)).rounds(4).keeping(server)
});
