//! A store that answers at once, on top of the one in memory, in which things go wrong as planned.

use crate::support::scope;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::header::COOKIE;
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, Revocation, Updated, Version,
};
use tower_session_layer::{
    ManualClock, MemoryStore, Session, SessionLayer, SessionStore, SessionToken, StoreError, StoreKey, TokenShape,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another request writes first.
    Race,
    /// Another request signs in first, so that the token is renewed.
    Renewed,
    /// Another request destroys first.
    Destroyed,
    /// Another request empties it first.
    Emptied,
    FakeConflict,
    Taken,
    Instead,
    Fail,
    Lose,
    Twice,
    Panic,
    ClockOn,
}

#[derive(Clone, Debug)]
pub struct Wrap {
    pub inner: Arc<MemoryStore>,
    pub calls: Arc<Mutex<Vec<&'static str>>>,
    pub update: Arc<Mutex<VecDeque<Fault>>>,
    pub create: Arc<Mutex<VecDeque<Fault>>>,
    pub cookie: Arc<Mutex<Option<String>>>,
    pub other: Arc<Mutex<Option<SessionLayer>>>,
    pub clock: ManualClock,
}

#[derive(Clone, Debug)]
pub struct Shared(pub Arc<MemoryStore>);

macro_rules! forward {
    ($self:ident => $to:expr) => {
        async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
            let $self = self;
            $to.owned(owner, now).await
        }
        async fn revoke(&self, owner: &str, what: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
            let $self = self;
            $to.revoke(owner, what, now).await
        }
        async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
            let $self = self;
            $to.sweep(limit, now).await
        }
        fn token_shape(&self) -> TokenShape {
            TokenShape::Random
        }
        fn is_immediate(&self) -> bool {
            true
        }
    };
}

impl SessionStore for Shared {
    forward!(me => me.0);
    fn max_record_len(&self) -> Option<usize> {
        None
    }
    fn bind(&mut self, _: &tower_session_layer::SessionCookie) {}
    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.0.load(token, now).await
    }
    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.0.create(fresh, record, now).await
    }
    async fn update(
        &self,
        t: &SessionToken,
        from: Version,
        c: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.0.update(t, from, c, now).await
    }
    async fn touch(&self, t: &SessionToken, v: Version, d: SystemTime, now: SystemTime) -> Result<Updated, StoreError> {
        self.0.touch(t, v, d, now).await
    }
    async fn delete(&self, key: &StoreKey, stone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        self.0.delete(key, stone, now).await
    }
}

impl Wrap {
    pub async fn disturb(&self, fault: Fault) {
        let Some(cookie) = self.cookie.lock().unwrap().clone() else { return };
        let layer = self.other.lock().unwrap().clone().unwrap();
        let service = layer.layer(service_fn(move |request: Request<()>| async move {
            let session = request.extensions().get::<Session>().unwrap().clone();
            match fault {
                Fault::Race => session
                    .update("other", |n: Option<u64>| Some(n.unwrap_or(0) + 1))
                    .and_then(|()| session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 100)))
                    .unwrap(),
                Fault::Renewed => session.renew().unwrap(),
                Fault::Destroyed => session.destroy().unwrap(),
                _ => session.clear().unwrap(),
            }
            Ok::<_, std::convert::Infallible>(Response::new(String::new()))
        }));
        let request = Request::builder().header(COOKIE, format!("sid={cookie}")).body(()).unwrap();
        service.oneshot(request).await.unwrap();
    }

    pub fn note(&self, what: &'static str) {
        self.calls.lock().unwrap().push(what);
    }
}

pub fn lost() -> StoreError {
    StoreError::new("made to fail")
}

impl SessionStore for Wrap {
    forward!(me => me.inner);
    fn max_record_len(&self) -> Option<usize> {
        None
    }
    fn bind(&mut self, _: &tower_session_layer::SessionCookie) {}

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.note("load");
        self.inner.load(token, now).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.note("create");
        let fault = self.create.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Taken) => return Ok(Created::Taken),
            Some(Fault::Fail) => return Err(lost()),
            Some(Fault::Panic) => panic!("made to panic"),
            Some(Fault::ClockOn) => self.clock.advance(Duration::from_secs(20 * 3600)),
            Some(Fault::Twice) => drop(self.inner.create(fresh, record, now).await?),
            Some(Fault::Instead) => {
                let other = SessionToken::from_random([9; 24], scope());
                self.inner.create(&other, record, now).await?;
                return Ok(Created::Instead(other));
            }
            _ => {}
        }
        let answer = self.inner.create(fresh, record, now).await?;
        if fault == Some(Fault::Lose) { Err(lost()) } else { Ok(answer) }
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.note("update");
        let fault = self.update.lock().unwrap().pop_front();
        match fault {
            Some(what @ (Fault::Race | Fault::Renewed | Fault::Destroyed | Fault::Emptied)) => self.disturb(what).await,
            Some(Fault::FakeConflict) => return Ok(Updated::Conflict),
            Some(Fault::Fail) => return Err(lost()),
            Some(Fault::Panic) => panic!("made to panic"),
            Some(Fault::ClockOn) => self.clock.advance(Duration::from_secs(20 * 3600)),
            Some(Fault::Twice) => drop(self.inner.update(token, from, change, now).await?),
            _ => {}
        }
        let answer = self.inner.update(token, from, change, now).await?;
        match fault {
            Some(Fault::Lose) => Err(lost()),
            Some(Fault::Instead) if answer == Updated::Done => {
                let other = SessionToken::from_random([8; 24], scope());
                let Loaded::Live(record) = self.inner.load(token, now).await? else { return Ok(answer) };
                self.inner.delete(&token.key(), Duration::ZERO, now).await?;
                self.inner.create(&other, &record, now).await?;
                Ok(Updated::Instead(other))
            }
            _ => Ok(answer),
        }
    }

    async fn touch(&self, t: &SessionToken, v: Version, d: SystemTime, now: SystemTime) -> Result<Updated, StoreError> {
        self.note("touch");
        self.inner.touch(t, v, d, now).await
    }

    async fn delete(&self, key: &StoreKey, stone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        self.note("delete");
        self.inner.delete(key, stone, now).await
    }
}
