//! Checks the options and makes the layer.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};

use super::{DAY, OnStoreFailure, SessionLayerBuilder};
use crate::backend::Backend;
use crate::clock::{SystemClock, micros, span};
use crate::cookie::MAX_AGE;
use crate::error::ConfigError;
use crate::layer::SessionLayer;
use crate::lifetime::Lifetime;
use crate::record::GRACE;
use crate::session::{Queues, Shared, TokenHeader};
use crate::store::SessionStore;

impl<S: SessionStore> SessionLayerBuilder<S> {
    /// Checks the options and creates the layer.
    ///
    /// # Errors
    ///
    /// An option is invalid, or two options contradict each other. Each such case has its own [`ConfigError`].
    pub fn build(mut self) -> Result<SessionLayer, ConfigError> {
        let absolute = self.absolute;
        let idle = self.idle.unwrap_or_else(|| absolute.min(7 * DAY));
        if span(absolute) == 0 || absolute > MAX_AGE {
            return Err(ConfigError::AbsoluteTimeout(absolute));
        }
        if span(idle) == 0 || idle > MAX_AGE {
            return Err(ConfigError::IdleTimeout(idle));
        }
        if idle > absolute {
            return Err(ConfigError::IdleOverAbsolute { idle, absolute });
        }
        if self.store_timeout.is_zero() {
            return Err(ConfigError::StoreTimeout);
        }
        if self.max_record_bytes == 0 {
            return Err(ConfigError::MaxRecordBytes);
        }
        if self.max_sessions_per_owner == Some(0) {
            return Err(ConfigError::MaxSessionsPerOwner);
        }
        if let Some(age) = self.renewal.filter(|age| *age < GRACE || *age > absolute) {
            return Err(ConfigError::RenewAfter(age));
        }
        if self.renewal.is_some() && self.store.token_shape().is_sealed() {
            return Err(ConfigError::ClientSideStore("renew_after"));
        }
        if self.renewal.is_some() && self.renewal_keys.is_empty() {
            return Err(ConfigError::RenewalKeys);
        }
        if self.max_sessions_per_owner.is_some() && self.store.token_shape().is_sealed() {
            return Err(ConfigError::ClientSideStore("max_sessions_per_owner"));
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let cookie = self.cookie.build()?;
        self.store.bind(&cookie);
        let token_header = self.token_header.map(|(name, is_alone)| token_header(name, is_alone)).transpose()?;
        let by_cookie = !token_header.as_ref().is_some_and(|header| header.is_alone);
        let by_header = token_header.as_ref().map(|header| HeaderValue::from(header.name.clone()));
        let vary = by_cookie.then_some(HeaderValue::from_static("Cookie")).into_iter().chain(by_header).collect();
        let shared = Shared {
            shape: self.store.token_shape(),
            is_immediate: self.store.is_immediate(),
            max_record_len: self.max_record_bytes.min(self.store.max_record_len().unwrap_or(usize::MAX)),
            max_sessions_per_owner: self.max_sessions_per_owner,
            store: Box::new(Backend::new(
                self.store,
                Arc::clone(&clock),
                self.events.clone(),
                micros(self.not_before),
                Arc::clone(&self.renewal_keys),
            )),
            cookie,
            token_header,
            vary,
            is_lazy: self.lazy,
            lifetime: Lifetime::new(idle, absolute, self.renewal),
            browser_session: self.browser_session,
            store_timeout: self.store_timeout,
            goes_on_without_store: self.on_store_failure == OnStoreFailure::Continue,
            save_on_server_error: self.save_on_server_error,
            cache_headers: self.cache_headers,
            clear_site_data: self.clear_site_data,
            events: self.events,
            clock,
            random: self.random,
            renewal_keys: self.renewal_keys,
            queues: Queues::default(),
            overflows: Arc::default(),
        };
        Ok(SessionLayer { shared: Arc::new(shared) })
    }
}

/// Checks that the name of the header for tokens is valid and has no other use.
fn token_header(name: String, is_alone: bool) -> Result<TokenHeader, ConfigError> {
    const RESERVED: [HeaderName; 18] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::DATE,
        header::HOST,
        header::LOCATION,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VARY,
        header::EXPECT,
        header::RANGE,
    ];
    match HeaderName::try_from(name.as_str()) {
        // gRPC reserves the prefix, and the suffix marks headers with binary values.
        Ok(header) if header.as_str().starts_with("grpc-") || header.as_str().ends_with("-bin") => {
            Err(ConfigError::TokenHeader(name))
        }
        Ok(header) if !RESERVED.contains(&header) => Ok(TokenHeader { name: header, is_alone }),
        _ => Err(ConfigError::TokenHeader(name)),
    }
}
