//! From environment variables to a configuration, and from a configuration to a layer.

use super::kind::{Former, Nist, OrOff};
use super::open::{Unopened, both, renewal_keys};
use super::stores::fitting;
use super::{ConfiguredStore, SessionConfig, env};
use crate::builder::SessionLayerBuilder;
use crate::error::ConfigError;
use crate::key::CookieKey;
use crate::layer::SessionLayer;
use crate::store::SessionStore;

impl SessionConfig {
    /// Reads the environment variables of this process that have a prefix, such as `SHOP_SESSION_`.
    ///
    /// No other variable may have the prefix: a variable that has it and stands for no key is an error, since it may be a
    /// mistyped timeout. (`SESSION_MANAGER`, which desktops set, is ignored under any prefix, and so are the variables
    /// that Kubernetes sets for services.)
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownVariable`] for a variable that stands for no key, [`ConfigError::Setting`] for a value that its
    /// key cannot have, that is empty or that is not UTF-8. Each names the variable.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{ConfigError, SessionConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ConfigError> {
    /// let nothing_is_set = SessionConfig::from_env("SHOP_SESSION_")?;
    /// assert_eq!(nothing_is_set.build().await.unwrap_err(), ConfigError::NoStore);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env(prefix: &str) -> Result<Self, ConfigError> {
        Self::default().override_with_env(prefix)
    }

    /// Reads variables from pairs of names and values, as [`from_env`](Self::from_env) reads those of this process.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{ConfigError, SessionConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ConfigError> {
    /// let vars = [("APP_STORE", "memory:"), ("APP_COOKIE_NAME", "__Host-shop"), ("HOME", "/root")];
    /// let sessions = SessionConfig::from_vars("APP_", vars)?.build().await?;
    /// assert!(format!("{sessions:?}").contains("__Host-shop"));
    ///
    /// let mistyped = SessionConfig::from_vars("APP_", [("APP_IDLE_TIMEOUTS", "30m")]).unwrap_err();
    /// assert_eq!(
    ///     mistyped.to_string(),
    ///     "environment variable APP_IDLE_TIMEOUTS: stands for no key; the nearest is APP_IDLE_TIMEOUT",
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_vars<N: Into<String>, V: Into<String>>(
        prefix: &str,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        Self::default().override_with_vars(prefix, vars)
    }

    /// Overrides the options with the environment variables of this process.
    ///
    /// A variable also removes the keys that say the same in another way: `STORE_URL_FILE` removes `store`, and `NIST`
    /// removes both timeouts.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn override_with_env(self, prefix: &str) -> Result<Self, ConfigError> {
        let is_ours = |name: &std::ffi::OsString| name.to_str().is_some_and(|name| name.starts_with(prefix));
        let vars = std::env::vars_os().filter(|(name, _)| is_ours(name)).map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(ConfigError::Setting { name, reason: "is not UTF-8".to_owned() }),
            }
        });
        self.override_with_vars(prefix, vars.collect::<Result<Vec<_>, _>>()?)
    }

    /// Overrides the options with variables from pairs of names and values, as
    /// [`override_with_env`](Self::override_with_env) does with those of this process.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::SessionConfig;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file: SessionConfig = serde_json::from_str(r#"{ "store": "file:./sessions", "idle_timeout": "30m" }"#)?;
    /// let config = file.override_with_vars("APP_", [("APP_STORE", "redis://:secret@10.0.0.7")])?;
    /// assert_eq!(format!("{config:?}"), r#"{store: "redis://10.0.0.7", idle_timeout: 1800s}"#);
    /// let config = config.override_with_env("APP_")?; // sets nothing
    /// assert!(format!("{config:?}").contains("1800s"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn override_with_vars<N: Into<String>, V: Into<String>>(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        env::set(&mut self, prefix, vars.into_iter().map(|(name, value)| (name.into(), value.into())))?;
        Ok(self)
    }

    /// Checks the options, opens the store and builds the layer.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store) and [`SessionLayerBuilder::build`]. A combination that cannot work is the same
    /// [`ConfigError`] as without a configuration, within a [`ConfigError::SetBy`] if environment variables have set it.
    /// No store is opened if an option is refused.
    ///
    /// # Cancel safety
    ///
    /// As [`store`](Self::store).
    pub async fn build(&self) -> Result<SessionLayer, ConfigError> {
        self.opened(|_| true).await?.build().map_err(|error| self.named(error))
    }

    /// Opens the store and returns the builder, for options that are not data: a clock, a closure for events.
    ///
    /// An option that is wrong by itself is refused before the store is opened. Options that contradict each other are
    /// refused by the builder's own `build`, since the program may still change one of them.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store), [`ConfigError::Setting`] if two keys exclude each other, and as [`build`](Self::build) for
    /// an option that is wrong by itself.
    ///
    /// # Cancel safety
    ///
    /// As [`store`](Self::store).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{ManualClock, SessionConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_session_layer::ConfigError> {
    /// let config = SessionConfig::from_vars("APP_", [("APP_STORE", "memory:")])?;
    /// let sessions = config.builder().await?.clock(ManualClock::default()).on_event(|event| println!("{event:?}")).build();
    /// assert!(sessions.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn builder(&self) -> Result<SessionLayerBuilder<ConfiguredStore>, ConfigError> {
        // The program may still change one of several options that contradict each other.
        self.opened(|error| error.options().len() == 1).await
    }

    /// Opens the store, unless the options have an error that counts.
    async fn opened(
        &self,
        counts: fn(&ConfigError) -> bool,
    ) -> Result<SessionLayerBuilder<ConfiguredStore>, ConfigError> {
        let opening = async {
            let unopened = Unopened::new(self)?;
            let keys = if unopened.is_on_server() { renewal_keys(self)? } else { Vec::new() };
            if let Some(error) = self.configure(unopened.stand_in()?, &keys)?.build().err().filter(counts) {
                return Err(error);
            }
            self.configure(unopened.open().await?, &keys)
        };
        opening.await.map_err(|error| self.named(error))
    }

    /// Returns a builder with these options on a store of the program, such as one on a pool that the program has.
    ///
    /// Settings for stores are ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if two keys exclude each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_session_layer::{MemoryStore, SessionConfig};
    ///
    /// let config = SessionConfig::from_vars("APP_", [("APP_COOKIE_NAME", "__Host-shop")])?;
    /// let sessions = config.builder_on(MemoryStore::new())?.build()?;
    /// assert!(format!("{sessions:?}").contains("__Host-shop"));
    /// # Ok::<(), tower_session_layer::ConfigError>(())
    /// ```
    pub fn builder_on<S: SessionStore>(&self, store: S) -> Result<SessionLayerBuilder<S>, ConfigError> {
        let keys = if store.token_shape().is_sealed() { Vec::new() } else { renewal_keys(self)? };
        self.configure(store, &keys)
    }

    fn configure<S: SessionStore>(&self, store: S, keys: &[CookieKey]) -> Result<SessionLayerBuilder<S>, ConfigError> {
        if self.settings.token_header.is_some() && self.settings.token_header_alone.is_some() {
            return Err(both(self, "token_header", "token_header_alone"));
        }
        let builder = self.options(SessionLayer::builder(store));
        Ok(match self.settings.renew_after.and_then(OrOff::on) {
            Some(age) => builder.renew_after(age, keys.iter().cloned()),
            None => builder,
        })
    }

    /// Opens the store alone, with the wrappers that are configured: connects, makes a directory or a table. Reading files
    /// of secrets blocks for a few system calls.
    ///
    /// Databases and Redis need a tokio runtime with I/O and timers. They are waited for, 30 seconds at most.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoStore`], [`ConfigError::UnknownStore`], [`ConfigError::FeatureOff`] for a store or wrapper that is
    /// not in this program, [`ConfigError::Unreachable`] for a store that does not answer or refuses,
    /// [`ConfigError::Setting`] for a file that cannot be read or for keys that cannot be decoded, and the errors of the
    /// store's builder. An error about an environment variable, or about another key than `store`, is within a
    /// [`ConfigError::SetBy`] that names it. No error repeats a secret.
    ///
    /// # Cancel safety
    ///
    /// Nothing stays open. A directory, file or table may have been made.
    pub async fn store(&self) -> Result<ConfiguredStore, ConfigError> {
        let opening = async {
            let unopened = Unopened::new(self)?;
            unopened.stand_in()?;
            unopened.open().await
        };
        opening.await.map_err(|error| self.named(error))
    }

    /// Returns the name of a key in errors: the variable that has set it, or the key itself.
    pub(super) fn by<'a>(&'a self, key: &'a str) -> &'a str {
        self.variables.get(key).map_or(key, String::as_str)
    }

    /// Adds the variables that have set the options which an error is about.
    fn named(&self, error: ConfigError) -> ConfigError {
        let options = error.options();
        let is_about = |key: &str| options.contains(&key.rsplit('.').next().unwrap_or(key));
        let by: Vec<_> = self.variables.iter().filter(|(key, _)| is_about(key)).map(|(_, name)| &name[..]).collect();
        if by.is_empty() { error } else { ConfigError::SetBy { by: by.join(", "), error: Box::new(error) } }
    }

    fn options<S: SessionStore>(&self, builder: SessionLayerBuilder<S>) -> SessionLayerBuilder<S> {
        let settings = &self.settings;
        // First, since a timeout that is set by itself outweighs the preset.
        let mut builder = match settings.nist {
            Some(Nist::Aal1) => builder.nist_aal1(),
            Some(Nist::Aal2) => builder.nist_aal2(),
            Some(Nist::Aal3) => builder.nist_aal3(),
            None => builder,
        };
        macro_rules! take {
            (values: $($option:ident $(.$convert:ident($with:path))?),+; flags: $($flag:ident),+) => {
                $(if let Some(value) = settings.$option.clone()$(.$convert($with))? {
                    builder = builder.$option(value);
                })+
                $(if settings.$flag == Some(true) {
                    builder = builder.$flag();
                })+
            };
        }
        take! {
            values: cookie_name, path, domain, same_site, idle_timeout, absolute_timeout, not_before, store_timeout,
                on_store_failure, cache_headers, token_header, token_header_alone, max_record_bytes.map(fitting),
                max_sessions_per_owner.and_then(OrOff::on);
            flags: partitioned, insecure_http, insecure_script_access, browser_session, save_on_server_error,
                clear_site_data, lazy
        }
        for (domain, path) in settings.formerly.iter().flat_map(|Former(former)| former) {
            builder = builder.formerly(domain.as_deref(), path);
        }
        builder
    }
}
