//! The suite of laws that every store must pass, this crate's and your own.
//!
//! A law is one promise of [`SessionStore`]. The laws cover the answer of each call in each state, deadlines, owners, the
//! order of sign-ins and revocation. Races run on several threads, and again with one call suspended at each of its await points. Other
//! laws drop a call at each of its await points, and compare a long random history with a model.
//!
//! # From another crate
//!
//! ```toml
//! [dev-dependencies]
//! tower-session-layer = { version = "0.1", features = ["conformance"] }
//! ```
//!
//! One line makes a `#[test]` of each law. The test has the law's name and a tokio runtime of its own:
//!
//! ```
//! # use std::sync::Arc;
//! # use std::time::{Duration, SystemTime};
//! # use tower_session_layer::store::*;
//! # #[derive(Debug)] struct MyStore;
//! # impl MyStore { async fn connect(_: &str) -> Self { Self } }
//! # impl SessionStore for MyStore {
//! #     fn token_shape(&self) -> TokenShape { TokenShape::Random }
//! #     async fn load(&self, _: &SessionToken, _: SystemTime) -> Result<Loaded, StoreError> { Ok(Loaded::Absent) }
//! #     async fn create(&self, _: &SessionToken, _: &Arc<Record>, _: SystemTime) -> Result<Created, StoreError> { Ok(Created::Taken) }
//! #     async fn update(&self, _: &SessionToken, _: Version, _: &Change, _: SystemTime) -> Result<Updated, StoreError> { Ok(Updated::Gone) }
//! #     async fn touch(&self, _: &SessionToken, _: Version, _: SystemTime, _: SystemTime) -> Result<Updated, StoreError> { Ok(Updated::Gone) }
//! #     async fn delete(&self, _: &StoreKey, _: Duration, _: SystemTime) -> Result<Deleted, StoreError> { Ok(Deleted::Absent) }
//! #     async fn owned(&self, _: &str, _: SystemTime) -> Result<Vec<OwnedSession>, StoreError> { Ok(Vec::new()) }
//! #     async fn revoke(&self, _: &str, _: &Revocation, _: SystemTime) -> Result<usize, StoreError> { Ok(0) }
//! #     async fn sweep(&self, _: usize, _: SystemTime) -> Result<usize, StoreError> { Ok(0) }
//! # }
//! #[cfg(test)]
//! mod conformance {
//!     tower_session_layer::session_store_conformance!(super::MyStore::connect("db").await);
//! }
//! # fn main() {}
//! ```
//!
//! The expression is evaluated once for each law, in an async block. It must give a fresh and empty store: the store
//! itself, or a [`Subject`] if a value must live as long as the store or a second store of the same sessions takes
//! part in the races. A store whose token is the session itself ([`TokenShape::Sealed`]) has fewer laws; write
//! `client_side:` before the expression to choose them. [`run`] checks all laws inside a test of your own.
//!
//! # Repeating a failure
//!
//! Every law prints its seed; set `SESSION_CONFORMANCE_SEED` to repeat it. `SESSION_CONFORMANCE_ROUNDS` sets how often
//! each race runs. The default is 200 rounds, or 20 for a store that is not
//! [immediate](SessionStore::is_immediate). Each pair of calls runs for a quarter of that.

// The store under test, and the records, tokens and times that a law works with.
mod fixture;
// Store operations and their answers as values.
mod operation;
// The right answers.
mod model;
// Calls that are polled step by step, or run on several tasks at once.
mod polling;

// The laws of server-side stores.
mod drops;
mod owners;
mod races;
mod random;
mod records;
mod sign_ins;
mod time;

// The laws of stores whose token is the session.
mod sealed;

#[cfg(test)]
mod faults;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use self::fixture::Fixture;
use crate::cookie::SessionCookie;
use crate::store::SessionStore;
use crate::store::object::DynStore;
use crate::token::TokenShape;

/// A store under test, with the values that have to live as long as it does.
///
/// # Examples
///
/// ```no_run
/// # use tower_session_layer::store::conformance::Subject;
/// # use tower_session_layer::SessionStore;
/// # fn example<S: SessionStore>(open: impl Fn(&std::path::Path) -> S) -> std::io::Result<Subject> {
/// let directory = tempfile::tempdir()?;
/// let (one, other) = (open(directory.path()), open(directory.path()));
/// Ok(Subject::new(one).with_other_handle(other).keeping(directory).rounds(4))
/// # }
/// ```
#[derive(Debug)]
pub struct Subject {
    // Before `kept`, so that the stores are dropped before the values that they rest on.
    stores: Vec<Box<dyn DynStore>>,
    kept: Vec<Box<dyn Any + Send + Sync>>,
    rounds: Option<usize>,
}

impl Subject {
    /// Binds a store to a cookie with the default attributes, as a layer does.
    pub fn new(store: impl SessionStore) -> Self {
        Self { stores: Vec::new(), kept: Vec::new(), rounds: None }.with_other_handle(store)
    }

    /// Adds another store of the same sessions, as another process has one. The stores then take turns, call by call.
    #[must_use]
    pub fn with_other_handle(mut self, mut store: impl SessionStore) -> Self {
        store.bind(&SessionCookie::builder().build().expect("the defaults are a valid cookie"));
        self.stores.push(Box::new(store));
        self
    }

    /// Sets how often each race runs, for a store whose calls take long. `SESSION_CONFORMANCE_ROUNDS` overrides it.
    #[must_use]
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = Some(rounds);
        self
    }

    /// Keeps a value, such as a temporary directory, until the law has been checked.
    #[must_use]
    pub fn keeping(mut self, value: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(value));
        self
    }
}

impl<S: SessionStore> From<S> for Subject {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

/// Checks every law of the store, each with a fresh store, on the caller's tokio runtime.
///
/// # Panics
///
/// Panics at the first broken law, with the rule, the expected answer and the answer of the store.
pub async fn run<M: Into<Subject>>(make: impl AsyncFn() -> M) {
    for law in Profile::of(&make().await.into()).laws() {
        law.check(make().await.into()).await;
    }
}

/// Makes a `#[test]` of each law of a store, named after the law: see the [module](crate::store::conformance).
///
/// Takes an expression that gives a fresh store and may await. Write `client_side:` before it if the store's token is
/// the session itself.
#[macro_export]
macro_rules! session_store_conformance {
    (client_side: $make:expr) => {
        $crate::__session_store_laws! { client_side __session_store_tests [ClientSide; $make] }
    };
    ($make:expr) => {
        $crate::__session_store_laws! { server_side __session_store_tests [ServerSide; $make] }
    };
}

/// The one list of all laws, by module.
#[doc(hidden)]
#[macro_export]
macro_rules! __session_store_laws {
    (server_side $then:ident $args:tt) => {
        $crate::$then! { $args
            records::record_is_loaded_as_it_was_created,
            records::create_never_overwrites,
            records::update_replaces_the_record_once,
            records::update_of_what_is_not_live_creates_nothing,
            records::update_at_another_version_changes_nothing,
            records::deadline_moves_only_as_the_change_says,
            records::touch_moves_the_deadline_and_nothing_else,
            records::touch_of_anything_else_does_nothing,
            records::delete_ends_a_session_once,
            records::delete_follows_a_tombstone_to_its_successor,
            records::tombstone_survives_unchanged,
            records::record_over_the_limit_is_a_typed_error,
            records::token_of_another_shape_is_absent,
            time::what_ends_now_is_absent_for_every_method,
            time::clock_that_goes_back_revives_nothing,
            time::tombstone_ends_at_its_time,
            time::times_from_1970_to_9999_are_exact,
            time::sweep_removes_what_expired_and_nothing_else,
            owners::owner_list_follows_the_sessions,
            owners::owners_are_told_apart,
            owners::revocation_ends_what_it_names,
            owners::revocation_of_many_sessions_ends_each_of_them,
            owners::sessions_are_counted_or_counting_is_unsupported,
            sign_ins::each_sign_in_has_a_later_moment,
            sign_ins::revocation_refuses_sign_ins_that_began_before,
            sign_ins::revocation_by_a_wrong_clock_counts_for_everybody,
            sign_ins::revocation_reaches_a_concurrent_sign_in,
            sign_ins::session_that_is_created_during_listings_is_not_lost,
            races::concurrent_calls_are_atomic,
            races::one_of_two_renewals_wins,
            races::concurrent_updates_are_all_counted,
            races::ended_session_is_not_resurrected_by_many_writers,
            drops::dropped_call_leaves_the_old_state_or_the_new,
            random::answers_are_those_of_the_model,
        }
    };
    (client_side $then:ident $args:tt) => {
        $crate::$then! { $args
            sealed::shape_and_limits_are_declared,
            sealed::record_is_loaded_as_it_was_sealed,
            sealed::update_seals_the_new_record,
            sealed::touch_seals_the_new_deadline,
            time::what_ends_now_is_absent_for_every_method,
            time::clock_that_goes_back_revives_nothing,
            time::times_from_1970_to_9999_are_exact,
            sealed::forged_tokens_are_absent,
            sealed::token_shows_nothing_and_is_never_the_same,
            records::record_over_the_limit_is_a_typed_error,
            sealed::owners_are_unsupported,
            sealed::answers_are_those_of_the_model,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __session_store_tests {
    ([$profile:ident; $make:expr] $($module:ident::$law:ident,)*) => {$(
        #[test]
        fn $law() {
            $crate::store::conformance::check(
                $crate::store::conformance::Profile::$profile,
                stringify!($law),
                async || $make,
            );
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __session_store_table {
    ([] $($module:ident::$law:ident,)*) => {
        &[$(Law { name: stringify!($law), body: |fixture| Box::pin($module::$law(fixture)) },)*]
    };
}

/// Checks one law on a tokio runtime of its own, for the tests that the macro makes.
#[doc(hidden)]
pub fn check<M: Into<Subject>>(profile: Profile, name: &str, make: impl AsyncFn() -> M) {
    // Always four workers, even on fewer cores: preemption interleaves them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime needs threads").block_on(async {
        let subject = make().await.into();
        let law = profile.laws().iter().find(|law| law.name == name).expect("the macro names laws of the table");
        let declared = Profile::of(&subject);
        assert_eq!(declared, profile, "`client_side:` is for stores whose token_shape is Sealed, and only for them");
        law.check(subject).await;
    });
}

/// The kind of a store, which decides its laws.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    ServerSide,
    ClientSide,
}

impl Profile {
    fn of(subject: &Subject) -> Self {
        match subject.stores[0].token_shape() {
            TokenShape::Random => Self::ServerSide,
            TokenShape::Sealed { .. } => Self::ClientSide,
        }
    }

    fn laws(self) -> &'static [Law] {
        match self {
            Self::ServerSide => crate::__session_store_laws! { server_side __session_store_table [] },
            Self::ClientSide => crate::__session_store_laws! { client_side __session_store_table [] },
        }
    }
}

struct Law {
    name: &'static str,
    body: fn(Arc<Fixture>) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Law {
    async fn check(&self, subject: Subject) {
        let fixture = Fixture::new(subject);
        // The test harness shows it if the law is broken.
        eprintln!("law `{}`, SESSION_CONFORMANCE_SEED={}", self.name, fixture.seed());
        (self.body)(Arc::new(fixture)).await;
    }
}
