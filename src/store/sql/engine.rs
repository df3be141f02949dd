//! The store of one database, as programs name it.

/// Declares a store on one kind of pool, and the builder of its settings.
macro_rules! engine_store {
    ($(#[$docs:meta])* $store:ident, $builder:ident, $pool:ty) => {
        $(#[$docs])*
        #[derive(Clone)]
        pub struct $store(SqlStore<$pool>);

        #[doc = concat!("Settings of a [`", stringify!($store), "`].")]
        #[derive(Clone)]
        pub struct $builder(SqlStoreBuilder<$pool>);

        impl $store {
            /// Keeps sessions in the table `tower_session_layer` of the database that the pool is connected to.
            ///
            /// Sends nothing yet. The store keeps a clone of the pool, so the program may go on using its own.
            pub fn new(pool: $pool) -> Self {
                Self(SqlStore::new(pool))
            }

            /// Starts a store with settings of its own on the program's pool.
            pub fn builder(pool: $pool) -> $builder {
                $builder(SqlStore::builder(pool))
            }

            /// Makes the table and its indexes unless they exist, and checks that the table has this format.
            ///
            /// Call it at each start, before the first request; several processes may do so at the same time. It changes
            /// nothing that exists. The user needs the right to create tables; if the user lacks it, somebody who has it
            /// calls this once.
            ///
            /// # Errors
            ///
            /// The database could not be reached or refuses, or a table of that name is something else.
            ///
            /// # Cancel safety
            ///
            /// The table exists or not; calling it again is safe.
            pub async fn migrate(&self) -> Result<(), $crate::StoreError> {
                self.0.migrate().await
            }

            /// Returns the pool, to close it or to give it to a [`builder`](Self::builder).
            pub fn pool(&self) -> &$pool {
                &self.0.pool
            }
        }

        impl $builder {
            /// Sets the table's name, `tower_session_layer` by default: 1 to 48 ASCII letters, digits and `_`, beginning
            /// with no digit and not with `sqlite_`. Every statement quotes it, so words that SQL reserves are names too.
            ///
            /// Layers that share a table share their sessions.
            #[must_use]
            pub fn table(self, name: impl Into<String>) -> Self {
                Self(self.0.table(name.into()))
            }

            /// Creates the store. Sends nothing yet.
            ///
            /// # Errors
            ///
            /// [`ConfigError::TableName`](crate::ConfigError::TableName) for any other name.
            pub fn build(self) -> Result<$store, $crate::ConfigError> {
                self.0.build().map($store)
            }
        }

        impl std::fmt::Debug for $store {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $builder {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        /// Each call is that of the store inside, equally atomic, durable and safe to drop.
        const _: () = {
            use std::sync::Arc;
            use std::time::{Duration, SystemTime};

            use $crate::StoreError;
            use $crate::cookie::SessionCookie;
            use $crate::record::{Record, Version};
            use $crate::store::forward::forward;
            use $crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
            use $crate::token::{SessionToken, StoreKey, TokenShape};

            impl SessionStore for $store {
                forward!(0: token_shape is_immediate max_record_len sweep_interval bind);
                forward!(0: load create update touch delete owned count revoke sweep);
            }
        };
    };
}
pub(super) use engine_store;
