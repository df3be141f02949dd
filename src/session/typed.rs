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

/// A session that is a struct of the program: each field is a key, with the field's name as serde writes it.
///
/// Changes merge field by field, as those of keys do: two requests that change different fields at the same time both
/// land, and a field that a request leaves as it was is neither written nor overwritten. A request that changes no field
/// writes nothing. Keys that are no field of the struct stay as they are, so that [`SessionKey`](crate::SessionKey)s, or a
/// second struct with fields of its own, can stand beside it.
///
/// With the feature `axum` it is an extractor; elsewhere it is made of a [`Session`].
///
/// # The struct
///
/// A field that the session does not hold yet takes its serde default. Give the struct `#[serde(default)]`, or a session
/// that has just begun is an error. What serde's attributes say holds:
///
/// - `skip_serializing_if`: a field that is no longer written is removed.
/// - `rename`: the key has that name. `alias`: an older name is read where the newer is not there, and goes when the field
///   changes; a field that is removed goes under all its names, those too under which an older release wrote it meanwhile.
/// - `flatten`: the fields of the inner struct are keys themselves; a flattened map holds every key that is no field.
/// - `deny_unknown_fields` has no effect, since other keys are not shown to the struct.
///
/// What JSON cannot give back, as a float that is not a number, makes the whole struct unreadable until its key is removed. A
/// field counts as changed when its JSON differs, so that a `HashSet` that was built anew may be written without need.
///
/// A struct or map within a field is one value: of two requests that change different parts of it with
/// [`edit`](Self::edit) at the same time, the later one wins, and with [`update`](Self::update) both land.
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
    /// A value is not of its field's type, or one is missing that has no default ([`Error::is_decode`]). What is stored
    /// stays; [`session`](Self::session) can remove it.
    pub fn get(&self) -> Result<T, Error>
    where
        T: for<'de> Deserialize<'de>,
    {
        read(&self.values())
    }

    /// Changes the struct, and returns what the closure returns.
    ///
    /// The closure runs once. Each field that differs then is set as by [`Session::insert`], or removed: of two requests that
    /// set the same field at the same time, the later one wins. Where the new value depends on what is there, as in a
    /// counter or a cart, use [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get); or the struct cannot be written ([`Error::is_encode`]), as one that is no map to serde, the
    /// session would become too large ([`Error::is_too_large`]), or it is unavailable. Nothing was changed.
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

    /// Changes the struct by what it is, and returns it as this request now sees it.
    ///
    /// The closure runs now, and again on the newer struct for each conflict with another request, so that it lands as often
    /// as it was called; what this handler sees may differ from what lands. Each time, the fields that differ are set or
    /// removed and the others stay. The closure must not have effects of its own. It never runs under a lock.
    ///
    /// # Errors
    ///
    /// As for [`edit`](Self::edit); or the closure has itself changed this session, through another handle, which
    /// stays changed. If the newer session is no `T`, the commit fails (500).
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
                // Another handle of this request may have changed something meanwhile.
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
