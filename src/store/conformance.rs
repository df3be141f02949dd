//! The suite that every store must pass, this crate's and anyone's.
//!
//! It checks what [`SessionStore`] promises, one law at a time: answers in every state, deadlines, owners and
//! revocation, races on several threads and with one call suspended at each of its await points, calls dropped at each
//! of them, and a long random history compared with a model.
//!
//! # From another crate
//!
//! ```toml
//! [dev-dependencies]
//! tower-session-layer = { version = "0.1", features = ["conformance"] }
//! ```
//!
//! Then one line makes a `#[test]` of each law, named after it, on a tokio runtime of its own:
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
//! #     async fn delete(&self, _: &SessionToken, _: Duration, _: SystemTime) -> Result<Deleted, StoreError> { Ok(Deleted::Absent) }
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
//! The expression is evaluated once for each law, in an async block, and must give a fresh and empty store: the store
//! itself, or a [`Subject`] where something has to live as long or a second handle is to take part in the races. A
//! store whose token is the session itself ([`TokenShape::Sealed`]) has fewer laws: `client_side:` before the
//! expression chooses them. [`run`] checks all laws inside a test of your own.
//!
//! # Repeating a failure
//!
//! Every law prints its seed, which `SESSION_CONFORMANCE_SEED` sets. `SESSION_CONFORMANCE_ROUNDS` sets how often each
//! race is run: 200 times by default, 20 for a store that is not [immediate](SessionStore::is_immediate), and a quarter of
//! that for each pair of calls.

// Any store behind one type, so that the laws are compiled once.
mod object;
// Records, tokens and times to work with.
mod lab;
// Calls and replies as values.
mod call;
// Calls run poll by poll, or at once.
mod steps;
// What the right answers are.
mod reference;

// The laws of server-side stores.
mod drops;
mod owners;
mod races;
mod random;
mod records;
mod time;

// The laws of stores whose token is the session.
mod sealed;

#[cfg(test)]
mod faults;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use self::lab::Lab;
use self::object::Object;
use super::SessionStore;
use crate::cookie::SessionCookie;
use crate::token::TokenShape;

/// A store under test, with what has to live as long as it does.
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
pub struct Subject {
    // Dropped before what they rest on.
    handles: Vec<Arc<dyn Object>>,
    kept: Vec<Box<dyn Any + Send + Sync>>,
    rounds: Option<usize>,
}

impl Subject {
    /// Binds a store to a cookie with the default attributes, as a layer does.
    pub fn new(store: impl SessionStore) -> Self {
        Self { handles: Vec::new(), kept: Vec::new(), rounds: None }.with_other_handle(store)
    }

    /// Adds another handle of the same sessions, as another process has it: calls then take turns.
    #[must_use]
    pub fn with_other_handle(mut self, mut store: impl SessionStore) -> Self {
        store.bind(&default_cookie());
        self.handles.push(Arc::new(store));
        self
    }

    /// Sets how often each race is run, for a store whose calls take long; `SESSION_CONFORMANCE_ROUNDS` comes first.
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

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("handles", &self.handles)
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

fn default_cookie() -> SessionCookie {
    SessionCookie::builder().build().expect("the defaults are a valid cookie")
}

/// Checks all laws that concern the store, each with a fresh one, on the tokio runtime of the caller.
///
/// # Panics
///
/// At the first law that is broken, with the rule, what was expected and what came.
pub async fn run<M: Into<Subject>>(make: impl AsyncFn() -> M) {
    let profile = Lab::new(make().await.into()).profile();
    for law in profile.laws() {
        law.check(make().await.into()).await;
    }
}

/// Makes a `#[test]` of each law of a store, named after it: see the [module](crate::store::conformance).
///
/// Takes an expression that gives a fresh store and may await; `client_side:` stands before it where the token is the
/// session itself.
#[macro_export]
macro_rules! session_store_conformance {
    (client_side: $make:expr) => {
        $crate::__session_store_laws! { client_side __session_store_tests [ClientSide; $make] }
    };
    ($make:expr) => {
        $crate::__session_store_laws! { server_side __session_store_tests [ServerSide; $make] }
    };
}

/// The laws, by module: the one list of them.
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
            owners::revocation_refuses_sign_ins_that_began_before,
            owners::revocation_ahead_of_the_clock_ends_no_more,
            owners::revocation_ahead_of_the_clock_refuses_sign_ins_up_to_its_time,
            races::concurrent_calls_are_atomic,
            races::revocation_reaches_a_concurrent_sign_in,
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
            sealed::what_ends_now_is_absent_for_every_method,
            sealed::clock_that_goes_back_revives_nothing,
            sealed::times_from_1970_to_9999_are_exact,
            sealed::forged_tokens_are_absent,
            sealed::token_shows_nothing_and_is_never_the_same,
            sealed::record_over_the_limit_is_a_typed_error,
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
        &[$(Law { name: stringify!($law), body: |lab| Box::pin($module::$law(lab)) },)*]
    };
}

/// Checks one law: what the tests of the macro do.
#[doc(hidden)]
pub fn check<M: Into<Subject>>(profile: Profile, name: &str, make: impl AsyncFn() -> M) {
    // The law may ask for more workers than there are cores: preemption interleaves them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime needs threads").block_on(async {
        let subject: Subject = make().await.into();
        let law = profile.laws().iter().find(|law| law.name == name).expect("the macro names laws of the table");
        let declared = Lab::new(Subject { handles: subject.handles.clone(), kept: Vec::new(), rounds: None }).profile();
        assert_eq!(declared, profile, "`client_side:` is for stores whose token_shape is Sealed, and only for them");
        law.check(subject).await;
    });
}

/// Which laws a store has.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    ServerSide,
    ClientSide,
}

impl Profile {
    fn of(shape: TokenShape) -> Self {
        match shape {
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
    body: fn(Lab) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Law {
    async fn check(&self, subject: Subject) {
        let lab = Lab::new(subject);
        // Shown by the test harness when the law is broken.
        eprintln!("law `{}`, SESSION_CONFORMANCE_SEED={}", self.name, lab.seed());
        (self.body)(lab).await;
    }
}
