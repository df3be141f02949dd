//! A struct of the program as the session.

mod fields;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_core::{Deserialize, Serialize};

use self::fields::{Edited, again, edit, read};
use super::changes::Op;
use super::request::Session;
use super::view::SessionView;
use crate::error::Error;
use crate::record::Values;

/// A session that is a struct of the program: each field is a key, named as serde writes the field.
///
/// Changes merge field by field, as changes of keys do. If two requests change different fields at the same time, both
/// changes land. A field that a request leaves as it was is neither written nor overwritten. A request that changes no
/// field writes nothing. Keys that are not fields of the struct stay as they are, so a program can also use
/// [`SessionKey`](crate::SessionKey)s, or a second struct with other fields.
///
/// With the feature `axum` it is an extractor. Elsewhere, make it from a [`Session`].
///
/// # The struct
///
/// A field that the session does not hold yet takes its serde default. Give the struct `#[serde(default)]`: without it,
/// reading a new session is an error. Serde's attributes apply:
///
/// - `skip_serializing_if`: a field that is no longer written is removed.
/// - `rename`: the key has that name. `alias`: if there is no value under the field's name, the value under an older
///   name is read. A change of the field removes the values under its older names. A removal of the field removes the
///   values under all its names, even one that an older release has written meanwhile.
/// - `flatten`: the fields of the inner struct are keys themselves; a flattened map holds every key that is not a
///   field.
/// - `deny_unknown_fields` has no effect, since other keys are not shown to the struct.
///
/// A value that cannot be read back from JSON, such as a float that is not a number, makes the whole struct unreadable
/// until its key is removed. A field counts as changed if its JSON differs, so a `HashSet` that was built anew may be
/// written needlessly.
///
/// A struct or map within a field is one value. If two requests change different parts of it at the same time, with
/// [`edit`](Self::edit) the later change replaces the earlier one, and with [`update`](Self::update) both land.
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
///     let shop = session.update(|shop| shop.visits += 1)?; // runs again if another request was faster
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
    /// Returns the session, to sign in, renew, destroy or commit it, or for its other keys.
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
    /// A value is not of its field's type, or a field without a default has no value ([`Error::is_decode`]). The stored
    /// value stays; [`session`](Self::session) can remove it.
    pub fn get(&self) -> Result<T, Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        read(&self.values())
    }

    /// Changes the struct, and returns what the closure returns.
    ///
    /// The closure runs once. Each field that it changes is set as by [`Session::insert`], or removed. If two requests
    /// set the same field at the same time, the later one wins. If the new value depends on the present one, as in a
    /// counter or a cart, use [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// The same as for [`get`](Self::get). Also: the struct cannot be written, for example because serde does not write
    /// it as a map ([`Error::is_encode`]), the session would become too large ([`Error::is_too_large`]), or it is
    /// unavailable. After an error nothing is changed.
    pub fn edit<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, Error>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let Edited { ops, removed, result, .. } = edit(&self.values(), change)?;
        let limit = self.session.cell().shared.max_record_len;
        self.session.cell().write(|work| {
            if removed.is_empty() {
                return work.apply_all(ops, limit);
            }
            let edit = ops.clone();
            let edit = move |values: &Values| Ok(again::<T>(edit.clone(), &removed, values));
            work.apply_as(&ops, Op::Edit(Arc::new(edit)), limit)
        })?;
        Ok(result)
    }

    /// Computes the struct's fields from their present values, and returns the struct as this request now sees it.
    ///
    /// The closure runs now. It runs again, on the newer struct, for each conflict with another request. So each call
    /// of `update` counts once, and the stored struct may differ from the one that this handler sees. Each run sets or
    /// removes the fields that it changes; the other fields stay. The closure must have no side effects. It never runs
    /// under a lock.
    ///
    /// # Errors
    ///
    /// The same as for [`edit`](Self::edit). Also: the closure itself has changed this session through another clone;
    /// that change stays. If a newer session cannot be read as a `T`, the commit fails (500).
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
                // Another clone of the session may have changed something meanwhile.
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
    /// Returns the snapshot's values as a struct of the program, as [`TypedSession::get`] does.
    ///
    /// # Errors
    ///
    /// A value is not of its field's type, or one is missing that has no default ([`Error::is_decode`]).
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
