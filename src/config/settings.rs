//! The options by their keys.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cookie::SameSite;
use serde::Deserialize;

use super::key_ring::KeyRing;
use super::kind::{Durability, Former, Nist, OrOff, read};
use super::store_url::StoreUrl;
use crate::builder::OnStoreFailure;
use crate::session::CacheHeaders;

/// Declares a struct of optional values, each with its key: the table's name, a dot, and the key within the table.
macro_rules! settings {
    ($($field:ident: $kind:ty = $key:literal,)+) => {
        /// The options that are set.
        #[derive(Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct Settings {
            $(#[serde(rename = $key, deserialize_with = "read")] pub(super) $field: Option<$kind>,)+
        }

        /// All keys, in the order of the documentation.
        pub(super) const KEYS: &[&str] = &[$($key),+];

        impl fmt::Debug for Settings {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut map = f.debug_map();
                $(if let Some(value) = &self.$field {
                    map.entry(&format_args!($key), value);
                })+
                map.finish()
            }
        }
    };
}

settings! {
    store: StoreUrl = "store",
    store_url_file: PathBuf = "store_url_file",
    sealed: bool = "sealed",
    cookie_name: String = "cookie_name",
    path: String = "path",
    domain: String = "domain",
    formerly: Former = "formerly",
    same_site: SameSite = "same_site",
    partitioned: bool = "partitioned",
    insecure_http: bool = "insecure_http",
    insecure_script_access: bool = "insecure_script_access",
    browser_session: bool = "browser_session",
    nist: Nist = "nist",
    idle_timeout: Duration = "idle_timeout",
    absolute_timeout: Duration = "absolute_timeout",
    not_before: SystemTime = "not_before",
    renew_after: OrOff<Duration> = "renew_after",
    store_timeout: Duration = "store_timeout",
    on_store_failure: OnStoreFailure = "on_store_failure",
    save_on_server_error: bool = "save_on_server_error",
    cache_headers: CacheHeaders = "cache_headers",
    clear_site_data: bool = "clear_site_data",
    token_header: String = "token_header",
    token_header_alone: String = "token_header_alone",
    lazy: bool = "lazy",
    max_record_bytes: u64 = "max_record_bytes",
    max_sessions_per_owner: OrOff<usize> = "max_sessions_per_owner",
    cookie_keys: KeyRing = "cookie.keys",
    cookie_key_file: PathBuf = "cookie.key_file",
    cookie_audience: String = "cookie.audience",
    cookie_max_chunks: u8 = "cookie.max_chunks",
    cookie_revocations: StoreUrl = "cookie.revocations",
    cookie_revocations_url_file: PathBuf = "cookie.revocations_url_file",
    memory_max_sessions: usize = "memory.max_sessions",
    memory_max_bytes: u64 = "memory.max_bytes",
    file_durability: Durability = "file.durability",
    redis_prefix: String = "redis.prefix",
    redis_connect_timeout: Duration = "redis.connect_timeout",
    redis_response_timeout: Duration = "redis.response_timeout",
    redis_insecure_eviction: bool = "redis.insecure_eviction",
    sql_table: String = "sql.table",
    sql_max_connections: u32 = "sql.max_connections",
    sql_migrate: bool = "sql.migrate",
    cached_max_staleness: OrOff<Duration> = "cached.max_staleness",
    cached_max_bytes: u64 = "cached.max_bytes",
}

/// The environment variable that sets a key.
pub(super) fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.replace('.', "_").to_ascii_uppercase())
}
