//! Every store behind one type, with calls counted and faults on demand.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, Revocation, Updated, Version,
};
use tower_session_layer::{
    CookieKey, CookieStore, FileStore, KeyValueStore, MemoryStore, SessionCookie, SessionStore, SessionToken,
    StoreError, StoreKey, TokenShape,
};

use super::key_value::Map;

/// Which store is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Answers at once.
    Memory,
    /// The same, as if over a network: each call waits once before it acts and once after.
    Remote,
    File,
    /// A map that waits, which `KeyValueStore` makes a store of.
    KeyValue,
    Cookie,
}

impl Backend {
    /// The stores that rules 5, 7, 9–12 and 27 bind.
    pub const SERVER: [Self; 4] = [Self::Memory, Self::Remote, Self::File, Self::KeyValue];
    pub const ALL: [Self; 5] = [Self::Memory, Self::Remote, Self::File, Self::KeyValue, Self::Cookie];
}

/// A store's methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Load,
    Create,
    Update,
    Touch,
    Delete,
    Owned,
    Revoke,
    Sweep,
}

impl Op {
    pub const WRITES: [Self; 4] = [Self::Create, Self::Update, Self::Touch, Self::Delete];
}

/// What goes wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it does anything.
    Fail,
    /// It takes less than it said, and says so before it does anything.
    TooLarge,
    /// It does what it should, but its answer is lost: the caller gets an error.
    LoseAnswer,
    /// It never answers, before it does anything.
    Hang,
    /// It does what it should and never answers.
    HangAfter,
    /// The answer is lost below the store, which sends the call again by itself.
    SentAgain,
    /// It panics before it does anything.
    Panic,
    /// A `create` comes as far as the record, and not to its owner's list, where a revocation would find it.
    Halfway,
    /// A `load` says that the client is to be sent another token.
    Outdated,
}

#[derive(Debug, Clone)]
pub struct TestStore {
    kind: Kind,
    is_remote: bool,
    controls: Arc<Controls>,
    /// Removes the file store's directory with the last handle.
    directory: Option<Arc<tempfile::TempDir>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Memory(MemoryStore),
    File(FileStore),
    KeyValue(Map, KeyValueStore<Map>),
    Cookie(CookieStore),
}

/// A fault that waits for its call.
#[derive(Debug)]
struct Planned {
    /// How many calls go right before.
    after: usize,
    fault: Fault,
    times: usize,
}

#[derive(Debug, Default)]
struct Controls {
    calls: Mutex<Vec<Op>>,
    faults: Mutex<HashMap<Op, Planned>>,
    waiting: AtomicUsize,
    interruption: Mutex<Option<(usize, Interruption)>>,
    /// What came halfway.
    half: Mutex<Option<(SessionToken, Arc<Record>)>>,
}

/// What happens between two steps of another request.
struct Interruption(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interruption")
    }
}

impl Planned {
    fn next(&mut self) -> Option<Fault> {
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.fault)
    }
}

impl TestStore {
    pub fn new(backend: Backend) -> Self {
        let (kind, directory) = match backend {
            Backend::Memory | Backend::Remote => (Kind::Memory(MemoryStore::new()), None),
            Backend::KeyValue => {
                let map = Map::default();
                (Kind::KeyValue(map.clone(), map.store()), None)
            }
            Backend::Cookie => (Kind::Cookie(CookieStore::new(CookieKey::new(&[7; 32]).unwrap())), None),
            Backend::File => {
                let directory = Arc::new(tempfile::tempdir().unwrap());
                (Kind::File(FileStore::new(directory.path()).unwrap()), Some(directory))
            }
        };
        Self { kind, is_remote: backend == Backend::Remote, controls: Arc::default(), directory }
    }

    /// How often a method was called since the last [`forget`](Self::forget).
    pub fn calls(&self, op: Op) -> usize {
        self.order().into_iter().filter(|call| *call == op).count()
    }

    /// The calls since the last [`forget`](Self::forget), in their order.
    pub fn order(&self) -> Vec<Op> {
        self.controls.calls.lock().unwrap().clone()
    }

    /// How many calls there were but for loads.
    pub fn writes(&self) -> usize {
        Op::WRITES.into_iter().map(|op| self.calls(op)).sum()
    }

    pub fn forget(&self) {
        self.controls.calls.lock().unwrap().clear();
    }

    /// Makes the next `times` calls of a method go wrong.
    pub fn fault(&self, op: Op, fault: Fault, times: usize) {
        self.fault_times(op, 0, fault, times);
    }

    /// Makes one call of a method go wrong, after so many that go right.
    pub fn fault_after(&self, op: Op, after: usize, fault: Fault) {
        self.fault_times(op, after, fault, 1);
    }

    /// Makes so many calls of a method go wrong, after so many that go right.
    pub fn fault_times(&self, op: Op, after: usize, fault: Fault, times: usize) {
        self.controls.faults.lock().unwrap().insert(op, Planned { after, fault, times });
    }

    /// Does something once, after so many halts. Each call halts before it acts and again before it answers.
    pub fn interrupt(&self, after: usize, what: impl Future<Output = ()> + Send + 'static) {
        *self.controls.interruption.lock().unwrap() = Some((after, Interruption(Box::pin(what))));
    }

    async fn halt(&self) {
        let due = {
            let mut planned = self.controls.interruption.lock().unwrap();
            match planned.as_mut() {
                Some((0, _)) => planned.take(),
                Some((after, _)) => {
                    *after -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, what)) = due {
            what.0.await;
        }
    }

    /// The same memory, answering at once.
    pub fn direct(&self) -> Self {
        Self { is_remote: false, ..self.clone() }
    }

    pub fn heal(&self) {
        self.controls.faults.lock().unwrap().clear();
    }

    /// How many records a server-side store holds, tombstones not counted.
    pub async fn sessions(&self) -> usize {
        match &self.kind {
            Kind::Memory(store) => store.len(),
            Kind::File(_) => files(self.directory.as_ref().unwrap().path()).len(),
            Kind::KeyValue(map, _) => map.sessions(),
            Kind::Cookie(_) => 0,
        }
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.as_ref().unwrap().path()
    }

    async fn enter(&self, op: Op) -> Result<Option<Fault>, StoreError> {
        self.controls.calls.lock().unwrap().push(op);
        let fault = self.controls.faults.lock().unwrap().get_mut(&op).and_then(Planned::next);
        if self.is_remote {
            tokio::task::yield_now().await;
        }
        self.halt().await;
        match fault {
            Some(Fault::Fail) => Err(StoreError::new("made to fail")),
            Some(Fault::TooLarge) => Err(StoreError::too_large(9_000, 8_000)),
            Some(Fault::Panic) => panic!("made to panic"),
            Some(Fault::Hang) => {
                self.controls.waiting.fetch_add(1, SeqCst);
                std::future::pending().await
            }
            fault => Ok(fault),
        }
    }

    async fn leave<T>(&self, fault: Option<Fault>, answer: T) -> Result<T, StoreError> {
        self.halt().await;
        if self.is_remote {
            tokio::task::yield_now().await;
        }
        match fault {
            Some(Fault::LoseAnswer) => Err(StoreError::new("answer made to get lost")),
            Some(Fault::HangAfter) => std::future::pending().await,
            _ => Ok(answer),
        }
    }
}

/// Calls a method of whichever store it is.
macro_rules! on {
    (@call $self:ident, $method:ident($($argument:expr),*)) => {
        match &$self.kind {
            Kind::Memory(store) => store.$method($($argument),*).await,
            Kind::File(store) => store.$method($($argument),*).await,
            Kind::KeyValue(_, store) => store.$method($($argument),*).await,
            Kind::Cookie(store) => store.$method($($argument),*).await,
        }
    };
    ($self:ident, $op:expr, $method:ident($($argument:expr),*)) => {{
        let fault = $self.enter($op).await?;
        for _ in 0..usize::from(fault == Some(Fault::SentAgain)) {
            on!(@call $self, $method($($argument),*))?;
        }
        let answer = on!(@call $self, $method($($argument),*))?;
        $self.leave(fault, answer).await
    }};
}

impl SessionStore for TestStore {
    fn token_shape(&self) -> TokenShape {
        match &self.kind {
            Kind::Memory(store) => store.token_shape(),
            Kind::File(store) => store.token_shape(),
            Kind::KeyValue(_, store) => store.token_shape(),
            Kind::Cookie(store) => store.token_shape(),
        }
    }

    fn is_immediate(&self) -> bool {
        !self.is_remote && !matches!(self.kind, Kind::File(_) | Kind::KeyValue(..))
    }

    fn max_record_len(&self) -> Option<usize> {
        match &self.kind {
            Kind::Cookie(store) => store.max_record_len(),
            Kind::Memory(store) => store.max_record_len(),
            Kind::File(store) => store.max_record_len(),
            Kind::KeyValue(_, store) => store.max_record_len(),
        }
    }

    fn bind(&mut self, cookie: &SessionCookie) {
        if let Kind::Cookie(store) = &mut self.kind {
            store.bind(cookie);
        }
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let fault = self.enter(Op::Load).await?;
        let half = self.controls.half.lock().unwrap().clone();
        let answer = match half.filter(|(half, _)| half == token) {
            Some((_, record)) => Loaded::Live(record),
            None => on!(@call self, load(token, now))?,
        };
        let answer = match answer {
            Loaded::Live(record) if fault == Some(Fault::Outdated) => Loaded::Outdated(record),
            answer => answer,
        };
        self.leave(fault, answer).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let fault = self.enter(Op::Create).await?;
        let half = (fault == Some(Fault::Halfway)).then(|| (fresh.clone(), Arc::clone(record)));
        let is_half = half.is_some();
        *self.controls.half.lock().unwrap() = half;
        if is_half {
            return Err(StoreError::new("made to stop halfway"));
        }
        for _ in 0..usize::from(fault == Some(Fault::SentAgain)) {
            on!(@call self, create(fresh, record, now))?;
        }
        let answer = on!(@call self, create(fresh, record, now))?;
        self.leave(fault, answer).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        on!(self, Op::Update, update(token, from, change, now))
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        on!(self, Op::Touch, touch(token, version, deadline, now))
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        on!(self, Op::Delete, delete(key, tombstone, now))
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        on!(self, Op::Owned, owned(owner, now))
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        on!(self, Op::Revoke, revoke(owner, revocation, now))
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        on!(self, Op::Sweep, sweep(limit, now))
    }
}

/// The session files below a directory: `ab/<62 hex digits>`, tombstones among them.
pub fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = |path: &std::path::Path| {
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_hex = |path: &std::path::PathBuf, len| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.len() == len && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    entries(directory)
        .into_iter()
        .filter(|path| is_hex(path, 2))
        .flat_map(|shard| entries(&shard))
        .filter(|path| is_hex(path, 62))
        .collect()
}
