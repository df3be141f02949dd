//! Keys that know the type of their value.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use super::{Session, SessionView};
use crate::error::Error;

/// A key whose values are `T`s: name and type stand once, in a constant.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, Session, SessionKey};
///
/// const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
///
/// fn move_to(session: &Session, country: &str) -> Result<Option<String>, Error> {
///     let before = COUNTRY.get(session)?;
///     COUNTRY.insert(session, country)?;
///     Ok(before)
/// }
/// ```
pub struct SessionKey<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> SessionKey<T> {
    /// Names a key.
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Removes the value and tells whether there was one; see [`Session::remove`].
    pub fn remove(&self, session: &Session) -> Result<bool, Error> {
        session.remove(self.name)
    }

    /// Sets the value, which is a `T` or a reference to what a `T` can be borrowed as; see [`Session::insert`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use tower_session_layer::{Error, Session, SessionKey};
    /// const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
    /// const CART: SessionKey<BTreeMap<String, u32>> = SessionKey::new("cart");
    /// const SEEN: SessionKey<Vec<u64>> = SessionKey::new("seen");
    ///
    /// fn fill(session: &Session) -> Result<(), Error> {
    ///     COUNTRY.insert(session, "US")?;
    ///     let cart = BTreeMap::from([("mug".to_owned(), 2)]);
    ///     CART.insert(session, &cart)?;
    ///     CART.insert(session, cart)?;
    ///     SEEN.insert(session, &[4, 8][..])
    /// }
    /// ```
    ///
    /// Nothing else is taken:
    ///
    /// ```compile_fail,E0277
    /// # use tower_session_layer::{Error, Session, SessionKey};
    /// # const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
    /// fn fill(session: &Session) -> Result<(), Error> {
    ///     COUNTRY.insert(session, 49_i32)
    /// }
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a value at hand can be given as it is")]
    pub fn insert<Q>(&self, session: &Session, value: impl ValueOf<T, Q>) -> Result<(), Error>
    where
        Q: Serialize + ?Sized,
    {
        session.insert(self.name, value.value())
    }
}

impl<T: DeserializeOwned> SessionKey<T> {
    /// Returns the value, from a [`Session`] or a [`SessionView`]; see [`Session::get`].
    pub fn get(&self, session: &impl Readable) -> Result<Option<T>, Error> {
        session.read(self.name)
    }

    /// Removes the value and returns it; see [`Session::take`].
    pub fn take(&self, session: &Session) -> Result<Option<T>, Error> {
        session.take(self.name)
    }
}

impl<T: Serialize + DeserializeOwned> SessionKey<T> {
    /// Changes the value by what it is; see [`Session::update`].
    pub fn update<F>(&self, session: &Session, change: F) -> Result<(), Error>
    where
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

/// What [`SessionKey::insert`] takes: a `T`, or a reference to the `Q` that a `T` can be borrowed as, a `&str` for a
/// `String`.
///
/// [`Borrow`] itself does not say which `Q` a string literal is to be for a `String`.
#[diagnostic::on_unimplemented(message = "`{Self}` is no value for a `SessionKey<{T}>`")]
pub trait ValueOf<T, Q: ?Sized> {
    #[doc(hidden)]
    fn value(&self) -> &Q;
}

impl<T> ValueOf<T, T> for T {
    fn value(&self) -> &T {
        self
    }
}

impl<T: Borrow<Q>, Q: ?Sized> ValueOf<T, Q> for &Q {
    fn value(&self) -> &Q {
        self
    }
}

/// What a [`SessionKey`] can be read from: [`Session`] and [`SessionView`].
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
