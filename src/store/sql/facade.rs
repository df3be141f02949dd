//! What the three stores have in common: all but their documentation, and how they are reached by a URL.

/// Makes a store of a [`Table`](super::table::Table), with its builder.
macro_rules! sql_store {
    ($(#[$store_docs:meta])* $store:ident, $(#[$builder_docs:meta])* $builder:ident, $pool:ty) => {
        $(#[$store_docs])*
        #[derive(Clone)]
        pub struct $store {
            table: Table<$pool>,
        }

        $(#[$builder_docs])*
        #[derive(Clone)]
        pub struct $builder {
            pool: $pool,
            table: String,
        }

        impl $store {
            /// Keeps sessions in the table `tower_session_layer` of the database that the pool is connected to.
            ///
            /// Nothing is sent yet. A clone of the pool is kept, so the program may go on using its own.
            pub fn new(pool: $pool) -> Self {
                let table = Table::new(pool, DEFAULT_TABLE).expect("the default name is a valid one");
                Self { table }
            }

            /// Starts a store with settings of its own on the program's pool.
            pub fn builder(pool: $pool) -> $builder {
                $builder { pool, table: DEFAULT_TABLE.to_owned() }
            }

            /// Makes the table and its indexes, unless they are there, and looks whether the table is of this format.
            ///
            /// Call it at each start, before the first request. Several processes may do so at the same time. Nothing that is
            /// there is changed. The user needs the right to create tables; where it has none, somebody who has it calls
            /// this once.
            ///
            /// # Errors
            ///
            /// The database could not be reached or refuses, or a table of that name is something else.
            ///
            /// # Cancel safety
            ///
            /// The table is there or not; doing it again is safe.
            pub async fn migrate(&self) -> Result<(), StoreError> {
                self.table.migrate().await
            }

            /// Returns the pool, to close it or to give it to a [`builder`](Self::builder).
            pub fn pool(&self) -> &$pool {
                &self.table.pool
            }
        }

        impl $builder {
            /// Sets the table's name, `tower_session_layer` unless set: 1 to 48 ASCII letters, digits and `_`, beginning with no
            /// digit and not with `sqlite_`. It is quoted in every statement, so words that SQL reserves are names too.
            ///
            /// Layers that share a table share their sessions.
            #[must_use]
            pub fn table(mut self, name: impl Into<String>) -> Self {
                self.table = name.into();
                self
            }

            /// Creates the store. Nothing is sent yet.
            ///
            /// # Errors
            ///
            /// [`ConfigError::TableName`] for any other name.
            pub fn build(self) -> Result<$store, ConfigError> {
                Table::new(self.pool, &self.table).map(|table| $store { table })
            }
        }

        impl SessionStore for $store {
            fn token_shape(&self) -> TokenShape {
                TokenShape::Random
            }

            async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
                self.table.load(token.key(), now).await
            }

            async fn create(
                &self,
                fresh: &SessionToken,
                record: &Arc<Record>,
                now: SystemTime,
            ) -> Result<Created, StoreError> {
                match record.owner() {
                    Some(owner) => self.table.create_owned(fresh.key(), record, owner, now).await,
                    None => self.table.create(fresh.key(), record, now).await,
                }
            }

            async fn update(
                &self,
                token: &SessionToken,
                from: Version,
                change: &Change,
                now: SystemTime,
            ) -> Result<Updated, StoreError> {
                self.table.update(token.key(), from, change, now).await
            }

            async fn touch(
                &self,
                token: &SessionToken,
                version: Version,
                deadline: SystemTime,
                now: SystemTime,
            ) -> Result<Updated, StoreError> {
                self.table.touch(token.key(), version, deadline, now).await
            }

            async fn delete(
                &self,
                token: &SessionToken,
                tombstone: Duration,
                now: SystemTime,
            ) -> Result<Deleted, StoreError> {
                self.table.delete(token.key(), tombstone, now).await
            }

            async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
                self.table.owned(owner, now).await
            }

            async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
                self.table.revoke(owner, revocation, now).await
            }

            async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
                self.table.sweep(limit, now).await
            }
        }

        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($store)).field("table", &self.table.statements.table).finish_non_exhaustive()
            }
        }

        impl fmt::Debug for $builder {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($builder)).field("table", &self.table).finish_non_exhaustive()
            }
        }
    };
}
