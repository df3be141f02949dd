//! A struct of the program as the session.

// From the session's values to the struct, and from a changed struct to the session's changes.
mod fields;
// The session's values as serde reads them.
mod source;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_core::{Deserialize, Serialize};

use self::fields::{Edited, edit, read};
use super::changes::Op;
use super::request::Session;
use super::view::SessionView;
use crate::error::Error;
use crate::record::Values;

/// A session that is a struct of the program. Each field is a key, named as serde writes the field.
///
/// Changes merge field by field, as changes of keys do. If two requests change different fields at the same time, both
/// changes land. A field that a request leaves as it was is neither written nor overwritten. A request that changes no
/// field writes nothing. Keys that are not fields of the struct stay as they are, so a program can also use
/// [`SessionKey`](crate::SessionKey)s, or a second struct with other fields.
///
/// With the feature `axum` a `TypedSession` is an extractor. Without axum it is made from a [`Session`].
///
/// # The struct
///
/// A field that the session does not hold yet takes its serde default. Give the struct `#[serde(default)]`, since a
/// session that has just begun holds no field. serde's attributes have these effects:
///
/// - `skip_serializing_if`: a field that serde no longer writes is removed from the session.
/// - `rename`: the key has the new name.
/// - `alias`: a value under an older name is read while there is none under the field's own name. Of several older
///   names the first in byte order is read. Changes are written under the field's own name. The older value stays in
///   the session until the program removes it with [`Session::remove`]. If the field is removed first, it reads as the
///   older value again.
/// - `flatten`: the fields of the inner struct are keys themselves. A flattened map holds every key that is not a
///   field.
/// - `deny_unknown_fields` has no effect, since the struct does not see other keys.
///
/// A field counts as changed if its JSON differs, so a `HashSet` that was built anew may be written without need. A changed
/// field that could not be read back, such as a float that is not a number, is an error, as with [`Session::insert`].
///
/// A struct or map within a field is one value. If two requests change different parts of one value at the same time,
/// the later one wins with [`edit`](Self::edit), and both land with [`update`](Self::update).
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use serde::{Deserialize, Serialize};
/// use tower_session_layer::{Error, MemoryStore, SessionLayer, TypedSession};
///
/// #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
/// #[serde(default)]
/// struct Shop {
///     country: Option<String>,
///     cart: Vec<String>,
///     visits: u64,
/// }
///
/// async fn home(session: TypedSession<Shop>) -> Result<String, Error> {
///     let shop = session.update(|shop| shop.visits += 1)?; // runs again on a conflict
///     Ok(format!("visit {} from {}", shop.visits, shop.country.unwrap_or_default()))
/// }
///
/// async fn country(session: TypedSession<Shop>, name: String) -> Result<(), Error> {
///     session.edit(|shop| shop.country = Some(name))
/// }
///
/// let app: Router = Router::new()
///     .route("/", get(home))
///     .route("/country", post(country))
///     .layer(SessionLayer::new(MemoryStore::new()));
/// # let _ = app;
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// // The same without axum:
/// let typed = TypedSession::<Shop>::from(&session);
/// assert_eq!(typed.get()?, Shop::default());
/// let count = typed.edit(|shop| { shop.cart.push("mug".into()); shop.cart.len() })?;
/// assert_eq!((count, session.keys()), (1, vec!["cart".into()]));
/// assert_eq!(typed.update(|shop| shop.visits += 1)?.visits, 1);
/// typed.session().sign_in("ada")?;
/// assert_eq!(session.view().typed::<Shop>()?, typed.get()?);
/// # Ok(())
/// # });
/// ```
pub struct TypedSession<T> {
    session: Session,
    fields: PhantomData<fn() -> T>,
}

impl<T> TypedSession<T> {
    /// Returns the session, to sign in, renew, destroy or commit it, or to work with its other keys.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn values(&self) -> Values {
        self.session.cell().read(|record, _| record.map(|record| record.values.clone())).unwrap_or_default()
    }

    /// Returns the struct, with the changes of this request.
    ///
    /// # Errors
    ///
    /// A value does not have its field's type, or a field without a default is missing ([`Error::is_decode`]). The
    /// stored value stays; [`session`](Self::session) can remove it.
    pub fn get(&self) -> Result<T, Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        read(&self.values())
    }

    /// Changes the struct, and returns what the closure returns.
    ///
    /// The closure runs once. Then each field that differs is set as by [`Session::insert`], or removed. If two
    /// requests set the same field at the same time, the later one wins. Use [`update`](Self::update) for a new value
    /// that depends on the present one, such as a counter or a cart.
    ///
    /// # Errors
    ///
    /// Returns an error as [`get`](Self::get) does. It is also an error if the struct cannot be written, for example
    /// because serde does not write it as a map, or a changed field not be read back ([`Error::is_encode`]), if the
    /// session would become too large ([`Error::is_too_large`]), or if the session is unavailable. After an error nothing
    /// has changed.
    pub fn edit<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, Error>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let Edited { ops, result, .. } = edit(&self.values(), change)?;
        let limit = self.session.cell().shared.max_record_len;
        self.session.cell().write(|work| work.apply_all(ops, limit))?;
        Ok(result)
    }

    /// Changes the struct based on its present fields, and returns the struct as this request now sees it.
    ///
    /// The closure runs now. It runs again, on the newer struct, for each conflict with another request. So each call
    /// of `update` counts once, and the stored struct may differ from the one that this request sees. After each run
    /// the fields that differ are set or removed, and the others stay. The closure must have no side effects, and be
    /// quick: while it runs again, later commits of this session that have met a conflict wait for it.
    ///
    /// # Errors
    ///
    /// Returns an error as [`edit`](Self::edit) does. It is also an error if the closure changes this session through
    /// another clone of the [`Session`]; that change stays. If the newer session cannot be read as a `T`, the commit
    /// fails (500).
    pub fn update<F>(&self, change: F) -> Result<T, Error>
    where
        T: Serialize + for<'de> Deserialize<'de>,
        F: Fn(&mut T) + Send + Sync + 'static,
    {
        let id = self.session.cell().id();
        let edit = Arc::new(move |values: &Values| id.run_alone(|| edit(values, |fields: &mut T| change(fields))));
        let again = {
            let edit = Arc::clone(&edit);
            Arc::new(move |values: &Values| edit(values).map(|edited| edited.ops))
        };
        let limit = self.session.cell().shared.max_record_len;
        self.session.cell().change(
            |record| record.map(|record| record.values.clone()).unwrap_or_default(),
            |before| edit(before),
            |work, before, Edited { ops, fields, .. }| {
                // Another clone of this `Session` may have changed a value meanwhile.
                if !work.draft.values.same(before) {
                    return Ok(None);
                }
                work.apply_as(&ops, Op::Edit(again.clone()), limit)?;
                Ok(Some(fields))
            },
        )
    }
}

impl SessionView {
    /// Returns the values as a struct of the program, as [`TypedSession::get`] does.
    ///
    /// # Errors
    ///
    /// A value does not have its field's type, or a field without a default is missing ([`Error::is_decode`]).
    pub fn typed<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Error> {
        read(self.values())
    }
}

impl<T> From<Session> for TypedSession<T> {
    fn from(session: Session) -> Self {
        Self { session, fields: PhantomData }
    }
}

impl<T> From<&Session> for TypedSession<T> {
    fn from(session: &Session) -> Self {
        session.clone().into()
    }
}

impl<T> Clone for TypedSession<T> {
    fn clone(&self) -> Self {
        Self::from(&self.session)
    }
}

impl<T> fmt::Debug for TypedSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSession").field(&self.session).finish()
    }
}
