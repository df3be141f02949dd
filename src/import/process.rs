//! The import itself: the decision, the importer, and the session that is begun.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::header::HeaderMap;

use super::future::Removal;
use super::imported::Imported;
use crate::clock::micros;
use crate::cookie::SessionCookie;
use crate::error::{Error, Kind, StoreError};
use crate::event::Operation;
use crate::record::Beginning;
use crate::session::{Boxed, Carrier, Op, Scope, Session, SignIn};

/// The function of the program that reads the value of an old cookie.
pub(super) type Importer = dyn Fn(String) -> Boxed<Result<Option<Imported>, StoreError>> + Send + Sync;

/// An import, shared by the layer and its services.
pub(super) struct Import {
    pub(super) cookie: SessionCookie,
    pub(super) valid_until: SystemTime,
    pub(super) importer: Box<Importer>,
}

/// The treatment of a request with the old cookie.
pub(super) enum Course {
    Import(Scope),
    Pass(Removal),
}

impl Import {
    /// Decides whether a request is imported.
    pub(super) fn course(&self, scope: Scope, request: &HeaderMap) -> Course {
        let (shared, carrier) = (Arc::clone(scope.shared()), scope.carrier());
        // A client that carries its token in a header does not keep cookies.
        if carrier == Carrier::Header || shared.clock.now() >= self.valid_until {
            return Course::Pass(Removal::Never);
        }
        // A dead or expired token says that its session has ended, and the old cookie must not bring the session back.
        let has_token = !shared.candidates(request, carrier).is_empty();
        match scope {
            Scope::Loaded(session) if has_token => {
                let is_live = session.cell().lock().stored.record().is_some();
                Course::Pass(if is_live { Removal::now(&session, &self.cookie) } else { Removal::Never })
            }
            Scope::Lazy(lazy) if has_token => Course::Pass(Removal::if_live(lazy, &self.cookie)),
            scope => Course::Import(scope),
        }
    }

    /// Imports the first of the old cookie's values that the importer accepts. Returns whether the response removes the
    /// old cookie.
    pub(super) async fn run(self: Arc<Self>, scope: Scope, values: Vec<String>) -> Result<bool, Error> {
        let session = match scope {
            Scope::Loaded(session) => session,
            Scope::Lazy(lazy) => lazy.load().await?,
        };
        let shared = &session.cell().shared;
        for value in values {
            let imported = within(shared.store_timeout, (self.importer)(value)).await;
            if let Some(imported) = imported.inspect_err(|error| shared.events.failed(Operation::Import, error))? {
                return self.begin(&session, imported).await;
            }
        }
        Ok(false)
    }

    /// Fills the session and commits it before the handler runs, so that the handler's answer cannot undo the import.
    async fn begin(&self, session: &Session, imported: Imported) -> Result<bool, Error> {
        let shared = &session.cell().shared;
        if let Err(error) = fill(session, imported) {
            shared.events.failed(Operation::Import, &error);
            return if error.is_too_large() { Ok(false) } else { Err(error) };
        }
        let cookie = self.cookie.name();
        match session.commit().await {
            Ok(()) => shared.events.imported(cookie),
            Err(error) if error.is_gone() => tracing::info!(
                name: "session.import.refused",
                cookie, "an import was refused because its owner's sessions were revoked"
            ),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// Puts everything that was imported into a session, or nothing.
fn fill(session: &Session, imported: Imported) -> Result<(), Error> {
    let shared = &session.cell().shared;
    let (entries, flash, owner) = imported.into_parts();
    let mut ops: Vec<_> = entries.into_iter().map(Op::Insert).chain(flash.into_iter().map(Op::Flash)).collect();
    if let Some((owner, signed_in)) = owner {
        let (time, handle) = (micros(shared.clock.now()), shared.random.handle()?);
        // A future time is a mistake, such as milliseconds in place of seconds, and must not pass for a recent sign-in.
        // Zero means that nobody has signed in.
        let signed_in = if signed_in > time { 1 } else { signed_in.max(1) };
        let began = Beginning::ago(Duration::from_micros(time - signed_in));
        ops.push(Op::SignIn(SignIn { owner, began, time, signed_in, handle, begins_anew: false }));
    }
    let mut state = session.cell().lock();
    let before = state.work.clone();
    let work = state.work_mut()?;
    let filled = ops.into_iter().try_for_each(|op| work.apply(op, shared.max_record_len));
    if filled.is_err() {
        state.work = before;
    }
    filled
}

/// Waits for at most `limit`. A future that is ready at once needs no timer.
async fn within<T>(limit: Duration, mut asked: Boxed<Result<T, StoreError>>) -> Result<T, Error> {
    let answer = match poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await {
        Poll::Ready(answer) => answer,
        Poll::Pending => tokio::time::timeout(limit, asked).await.map_err(|_| Kind::TimedOut(limit))?,
    };
    Ok(answer?)
}
