//! Keys that know the type of their value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_core::de::DeserializeOwned;
use serde_core::{Deserialize, Serialize};

use super::request::Session;
use super::view::SessionView;
use crate::error::Error;

/// The key of a value of type `T`. A constant `SessionKey` states the key's name and the value's type once.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, Readable, SessionKey};
///
/// const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
/// const VISITS: SessionKey<u64> = SessionKey::new("visits");
///
/// fn country(of: &impl Readable) -> Result<String, Error> {
///     Ok(COUNTRY.get(of)?.unwrap_or_default())
/// }
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// COUNTRY.insert(&session, "US")?;
/// assert_eq!((country(&session)?, country(&session.view())?), ("US".into(), "US".into()));
/// VISITS.update(&session, |visits| Some(visits.unwrap_or(0) + 1))?;
/// assert_eq!(VISITS.take(&session)?, Some(1));
/// assert!(COUNTRY.remove(&session)? && !session.contains(COUNTRY.name()));
/// # Ok(())
/// # });
/// ```
pub struct SessionKey<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> SessionKey<T> {
    /// Makes a key of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Removes the value, and returns whether there was one; see [`Session::remove`].
    pub fn remove(&self, session: &Session) -> Result<bool, Error> {
        session.remove(self.name)
    }

    /// Returns the value in a [`Session`] or a [`SessionView`]; see [`Session::get`].
    pub fn get(&self, session: &impl Readable) -> Result<Option<T>, Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        session.read(self.name)
    }

    /// Removes the value, and returns it; see [`Session::take`].
    pub fn take(&self, session: &Session) -> Result<Option<T>, Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        session.take(self.name)
    }

    /// Sets the value to a `T` or a `&T`, or to a `&str` or slice for a `String` or `Vec`; see [`Session::insert`].
    ///
    /// ```compile_fail
    /// # use tower_session_layer::{Session, SessionKey};
    /// const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
    /// fn wrong(session: &Session) {
    ///     COUNTRY.insert(session, 49); // a number is no country
    /// }
    /// ```
    pub fn insert(&self, session: &Session, value: impl ValueOf<T>) -> Result<(), Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        session.insert_as::<T>(self.name, value)
    }

    /// Computes the value from its present value; see [`Session::update`].
    pub fn update<F>(&self, session: &Session, change: F) -> Result<(), Error>
    where
        T: Serialize + for<'de> Deserialize<'de>,
        F: Fn(Option<T>) -> Option<T> + Send + Sync + 'static,
    {
        session.update(self.name, change)
    }
}

impl<T> Clone for SessionKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SessionKey<T> {}

impl<T> fmt::Debug for SessionKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionKey").field(&self.name).finish()
    }
}

/// A value that a [`SessionKey<T>`](SessionKey) can be set to: a `T`, a `&T`, or the borrowed form of a string, slice, `Box`, `Arc`
/// or `PathBuf`.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, Session, SessionKey, ValueOf};
///
/// const CART: SessionKey<Vec<u32>> = SessionKey::new("cart");
///
/// fn put(session: &Session, cart: impl ValueOf<Vec<u32>>) -> Result<(), Error> {
///     CART.insert(session, cart)
/// }
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// put(&session, vec![1])?;
/// put(&session, &vec![1, 2])?;
/// put(&session, &[1, 2, 3][..])?;
/// assert_eq!(CART.get(&session)?, Some(vec![1, 2, 3]));
/// # Ok(())
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no value of a `SessionKey<{T}>`",
    label = "expected a `{T}` or a reference to one"
)]
pub trait ValueOf<T>: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> ValueOf<T> for T {}
impl<T: Serialize> ValueOf<T> for &T {}
impl ValueOf<String> for &str {}
impl ValueOf<Box<str>> for &str {}
impl ValueOf<Arc<str>> for &str {}
impl ValueOf<Cow<'_, str>> for &str {}
impl ValueOf<PathBuf> for &Path {}
impl<T: Serialize> ValueOf<Box<T>> for &T {}
impl<T: Serialize> ValueOf<Arc<T>> for &T {}
impl<T: Serialize> ValueOf<Vec<T>> for &[T] {}
impl<T: Serialize> ValueOf<Box<[T]>> for &[T] {}
impl<T: Serialize> ValueOf<Arc<[T]>> for &[T] {}

/// A session that a [`SessionKey`] can be read from: [`Session`] or [`SessionView`].
#[diagnostic::on_unimplemented(
    message = "a `SessionKey` cannot be read from `{Self}`",
    label = "expected a `Session` or a `SessionView`",
    note = "of a `LazySession` the session is `lazy.load().await?`, of a `TypedSession` it is `typed.session()`"
)]
pub trait Readable: sealed::Sealed {
    #[doc(hidden)]
    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error>;
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements `Readable`")]
    pub trait Sealed {}
    impl Sealed for super::Session {}
    impl Sealed for super::SessionView {}
}

impl Readable for Session {
    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.get(key)
    }
}

impl Readable for SessionView {
    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.get(key)
    }
}
