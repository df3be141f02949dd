//! A request under way, in the model: what it sees, what it asks for, and what becomes of that.

use super::model::{ABSOLUTE, Contents, Found, Id, Model, Session, Slot, Why};
use super::script::Act;

/// What the response says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply {
    Leave,
    /// A token, and the second in which the client's cookie ends.
    Set(Id, u64),
    Remove,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stands {
    Stored,
    Gone,
}

#[derive(Clone)]
enum Base {
    New,
    Live(Id, Session),
    /// The token was dead when it came.
    Dead,
    /// The session ended under this request; who has its token can end what it was renewed to.
    Retired(Option<Id>),
}

/// A request under way.
pub struct Handling {
    base: Base,
    seen: Contents,
    /// What was done since the last commit.
    log: Vec<Act>,
    /// Whether the log begins with the sign-in of another person, who starts with nothing.
    begins_anew: bool,
    is_edited: bool,
    renews: bool,
    destroys: bool,
    is_accessed: bool,
    /// Whether anything was asked to change, even where it made no difference.
    has_work: bool,
    loaded_at: u64,
    reply: Reply,
}

impl Handling {
    /// The first live session wins, or the first of those sealed last; then the first that has ended.
    pub fn load(model: &Model, ids: &[Id]) -> Self {
        let mut ids = ids.to_vec();
        if model.is_sealed {
            ids.sort_by_key(|id| std::cmp::Reverse(model.begun[*id]));
        }
        let found = |id: &Id| match model.find(*id) {
            Found::Live(session) => Some(Base::Live(*id, session)),
            _ => None,
        };
        let is_dead = |id: &&Id| matches!(model.find(**id), Found::Ended(why) if why != Why::Emptied);
        let dead = || if ids.iter().any(|id| is_dead(&id)) { Base::Dead } else { Base::New };
        Self::new(ids.iter().find_map(found).unwrap_or_else(dead), model.now)
    }

    fn new(base: Base, loaded_at: u64) -> Self {
        let mut handling = Self {
            base,
            seen: Contents::default(),
            log: Vec::new(),
            begins_anew: false,
            is_edited: false,
            renews: false,
            destroys: false,
            is_accessed: false,
            has_work: false,
            loaded_at,
            reply: Reply::Leave,
        };
        handling.start_over();
        handling
    }

    pub fn contents(&self) -> &Contents {
        &self.seen
    }

    pub fn is_new(&self) -> bool {
        !matches!(self.base, Base::Live(..))
    }

    /// Forgets what was done.
    fn start_over(&mut self) {
        self.seen =
            if let Base::Live(_, session) = &self.base { session.contents.clone() } else { Contents::default() };
        self.log.clear();
        (self.is_edited, self.renews, self.destroys, self.has_work) = (false, false, false, false);
        self.begins_anew = false;
    }

    pub fn act(&mut self, act: &Act) {
        self.is_accessed = true;
        let act = match act {
            Act::Take(key, _) => match self.seen.values.get(key) {
                Some(value) => Act::Take(key, Some(*value)),
                None => return,
            },
            Act::TakeFlash(key, _) => match self.seen.flash.get(key) {
                Some(value) => Act::TakeFlash(key, Some(*value)),
                None => return,
            },
            // A dead token has one that is derived from it, unless there is to be a session after all.
            Act::Csrf if self.seen.has_csrf || (matches!(self.base, Base::Dead) && !self.renews) => return,
            Act::Look => return,
            Act::Destroy => {
                let is_there = matches!(self.base, Base::Live(..) | Base::Retired(Some(_)));
                self.start_over();
                self.seen = Contents::default();
                (self.destroys, self.has_work) = (is_there, true);
                return;
            }
            Act::Renew => {
                (self.renews, self.has_work) = (true, true);
                return;
            }
            act => act.clone(),
        };
        self.has_work = true;
        self.renews |= matches!(act, Act::SignIn(_));
        // What was another person's stays so, even where that session has ended by the time the log is played again.
        if matches!(act, Act::SignIn(owner) if self.seen.owner.is_some_and(|before| before != owner)) {
            self.log.retain(|act| matches!(act, Act::Idle(_)));
            self.begins_anew = true;
        }
        self.is_edited |= self.seen.apply(&act);
        self.log.push(act);
        self.seen.idle = self.own_idle().or(self.seen.idle);
    }

    /// The end of the request. A handler that failed keeps its renewal and its `destroy`, nothing else.
    pub fn end(mut self, model: &mut Model, fails: bool) -> Reply {
        if let (false, Base::Live(_, session)) = (self.has_work, &self.base)
            && session.refresh(&session.contents, self.loaded_at).is_none()
        {
            // A request that only looked is judged by the time at which it came.
            return self.reply;
        }
        if fails {
            let (renews, destroys) = (self.renews, self.destroys);
            self.start_over();
            if destroys {
                self.seen = Contents::default();
            }
            (self.renews, self.destroys) = (renews && !destroys, destroys);
        }
        self.commit(model);
        self.reply
    }

    pub fn commit(&mut self, model: &mut Model) -> Stands {
        let is_change = self.is_edited || self.renews || self.destroys;
        // A session's own timeout is kept until there is a session.
        if matches!(self.base, Base::New) && (!is_change || self.seen.is_empty()) {
            if !self.log.iter().any(|act| matches!(act, Act::Idle(_))) {
                self.start_over();
            }
            return Stands::Stored;
        }
        let stands = self.settle(model, is_change);
        if matches!(self.base, Base::Dead | Base::Retired(_)) && matches!(self.reply, Reply::Set(..)) {
            self.reply = Reply::Leave;
        }
        self.start_over();
        stands
    }

    fn settle(&mut self, model: &mut Model, is_change: bool) -> Stands {
        if self.destroys {
            return self.destroy(model);
        }
        match self.base.clone() {
            Base::Live(id, session) if is_change => self.write(model, id, session),
            Base::Live(id, session) => {
                self.touch(model, id, session);
                Stands::Stored
            }
            Base::New => self.create(model),
            // Whoever renews gets a session of its own.
            Base::Dead | Base::Retired(_) if self.renews && !self.seen.is_empty() => self.create(model),
            Base::Dead | Base::Retired(_) if self.is_edited && !self.renews => Stands::Gone,
            Base::Dead | Base::Retired(_) => Stands::Stored,
        }
    }

    fn create(&mut self, model: &mut Model) -> Stands {
        let absolute = model.now + ABSOLUTE;
        let contents = Contents { begins: false, ..self.seen.clone() };
        let deadline = contents.deadline(model.now, absolute);
        let session = Session { contents, version: 0, absolute, deadline };
        let id = model.begin(session.clone());
        self.reply = Reply::Set(id, model.cookie_end(&session));
        self.base = Base::Live(id, session);
        Stands::Stored
    }

    /// The idle timeout that this request has set for the session that it goes on with.
    fn own_idle(&self) -> Option<u64> {
        self.log.iter().rev().find_map(|act| if let Act::Idle(seconds) = act { Some(*seconds) } else { None })
    }

    /// Ends the session, and what it was renewed to; then what was done since begins a new one.
    fn destroy(&mut self, model: &mut Model) -> Stands {
        let (mut id, was_retired) = match self.base {
            Base::Live(id, _) => (id, false),
            Base::Retired(Some(id)) => (id, true),
            _ => unreachable!("there is something to destroy"),
        };
        let mut has_ended = true;
        loop {
            match model.find(id) {
                Found::Live(_) => break model.end(id, Why::Ended),
                Found::Ended(Why::RenewedTo(next)) => id = next,
                Found::Ended(_) | Found::Nothing => break has_ended = false,
            }
        }
        if was_retired {
            self.base = Base::Retired(None);
            return match (self.renews && !self.seen.is_empty(), self.is_edited) {
                (true, _) => self.create(model),
                (false, true) => Stands::Gone,
                (false, false) => Stands::Stored,
            };
        }
        self.base = Base::New;
        if has_ended || model.is_sealed {
            self.reply = Reply::Remove;
        }
        if self.seen.is_empty() { Stands::Stored } else { self.create(model) }
    }

    /// A session in use lives on, in steps of a tenth of its idle timeout.
    fn touch(&mut self, model: &mut Model, id: Id, mut session: Session) {
        let Some(deadline) = session.refresh(&session.contents, model.now).filter(|_| self.is_accessed) else { return };
        let Found::Live(stored) = model.find(id) else { return };
        if stored.version != session.version {
            return;
        }
        session.deadline = deadline;
        let id = if model.is_sealed { model.begin(session.clone()) } else { id };
        model.slots[id] = Slot::Live(Session { deadline: deadline.max(stored.deadline), ..session.clone() });
        if model.is_sealed {
            self.reply = Reply::Set(id, deadline);
        }
        self.base = Base::Live(id, session);
    }

    /// What was done is done again on whatever is stored by now.
    fn write(&mut self, model: &mut Model, id: Id, loaded: Session) -> Stands {
        let (before, contents) = match model.find(id) {
            Found::Live(stored) if stored.version == loaded.version => {
                (Session { deadline: loaded.deadline, ..stored }, self.seen.clone())
            }
            Found::Live(stored) => {
                let contents = self.replayed(stored.contents.clone());
                (stored, contents)
            }
            gone => return self.begin_anew(model, id, &gone),
        };
        if contents.is_empty() {
            model.end(id, Why::Emptied);
            self.base = Base::New;
            self.reply = Reply::Remove;
            return Stands::Stored;
        }
        let stored = if let Found::Live(stored) = model.find(id) { stored.deadline } else { 0 };
        let sets_idle = self.own_idle().is_some();
        let absolute = if contents.begins { model.now + ABSOLUTE } else { before.absolute };
        let is_set = contents.begins || sets_idle;
        let refresh = before.refresh(&contents, model.now).filter(|_| self.is_accessed);
        let mut written = Session {
            version: before.version + 1,
            absolute,
            deadline: if is_set { contents.deadline(model.now, absolute) } else { refresh.unwrap_or(before.deadline) },
            contents: Contents { begins: false, ..contents },
        };
        let is_moved = is_set || refresh.is_some();
        if model.is_sealed {
            let id = model.begin(written.clone());
            self.reply = Reply::Set(id, written.deadline);
            self.base = Base::Live(id, written);
        } else if self.renews {
            let fresh = model.begin(written.clone());
            model.end(id, Why::RenewedTo(fresh));
            self.reply = Reply::Set(fresh, model.cookie_end(&written));
            self.base = Base::Live(fresh, written);
        } else {
            self.base = Base::Live(id, written.clone());
            if !is_set {
                written.deadline = if is_moved { written.deadline.max(stored) } else { stored };
            }
            model.slots[id] = Slot::Live(written);
        }
        Stands::Stored
    }

    /// The session ended under this request.
    fn begin_anew(&mut self, model: &mut Model, id: Id, found: &Found) -> Stands {
        let was_emptied = matches!(found, Found::Ended(Why::Emptied));
        self.seen = self.replayed(Contents::default());
        if (was_emptied || self.renews) && !self.seen.is_empty() {
            return self.create(model);
        }
        if was_emptied {
            self.base = Base::New;
            return Stands::Stored;
        }
        self.base = Base::Retired(Some(id));
        Stands::Gone
    }

    fn replayed(&self, mut on: Contents) -> Contents {
        if self.begins_anew {
            on = Contents { begins: true, ..Contents::default() };
        }
        for act in &self.log {
            on.apply(act);
        }
        on.idle = self.own_idle().or(on.idle);
        on
    }
}
