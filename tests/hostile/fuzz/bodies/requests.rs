//! Histories of requests through the layer, beside a model of what each session must hold.

mod handling;
mod model;
mod script;

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{Clock as _, CookieKey, CookieStore, ManualClock, Session, SessionLayer, SessionStore};

use self::handling::{Handling, Reply, Stands};
use self::model::{ABSOLUTE, IDLE, Id, Model};
use self::script::{Act, Cookie, OWNERS, Script, Step};
use super::choices::{Choices, at_once, small_memory};

/// The first byte chooses the store, the rest is a history.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let memory = small_memory();
    if choices.below(2) == 0 {
        let world = World::new(memory.clone(), false);
        play(&world, &mut choices);
        let now = world.borrow().clock.now();
        at_once(memory.sweep(usize::MAX, now)).unwrap();
        assert_eq!(memory.len(), world.borrow().model.live(), "no record is left over");
    } else {
        let world = World::new(CookieStore::new(CookieKey::new(&[7; 32]).unwrap()), true);
        play(&world, &mut choices);
    }
}

fn play(world: &Shared, choices: &mut Choices<'_>) {
    for _ in 0..40 {
        if choices.is_empty() {
            break;
        }
        match Step::of(choices) {
            Step::Wait(seconds) => world.borrow_mut().wait(seconds),
            Step::Revoke(owner) => revoke(world, owner),
            Step::Request(script) => request(world, &script),
        }
    }
    // Every token that was ever sent shows what its session holds.
    let sent = world.borrow().sent.len();
    for at in 0..sent {
        request(world, &Script::looking(Cookie::Sent(at)));
    }
}

type Shared = Rc<RefCell<World>>;

struct World {
    layer: SessionLayer,
    clock: ManualClock,
    model: Model,
    /// What each client holds.
    jars: [Option<String>; 3],
    /// All tokens in the order in which they were sent.
    sent: Vec<String>,
    ids: HashMap<String, Id>,
}

impl World {
    fn new(store: impl SessionStore, is_sealed: bool) -> Shared {
        let clock = ManualClock::default();
        let layer = SessionLayer::builder(store)
            .clock(clock.clone())
            .cookie_name("sid")
            .idle_timeout(Duration::from_secs(IDLE))
            .absolute_timeout(Duration::from_secs(ABSOLUTE))
            .build()
            .unwrap();
        let (jars, sent, ids) = (Default::default(), Vec::new(), HashMap::new());
        Rc::new(RefCell::new(Self { layer, clock, model: Model::new(is_sealed), jars, sent, ids }))
    }

    fn wait(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.model.now += seconds;
    }

    /// The cookies that a request sends.
    fn cookies(&self, script: &Script) -> Vec<String> {
        let pick = |cookie: &Cookie| match cookie {
            Cookie::Latest => self.jars[script.client].clone(),
            Cookie::Sent(at) => (!self.sent.is_empty()).then(|| self.sent[at % self.sent.len()].clone()),
            Cookie::Unknown => Some("A".repeat(32)),
            Cookie::Malformed => Some("%00; sid; =".to_owned()),
        };
        script.cookies.iter().filter_map(pick).collect()
    }
}

fn revoke(world: &Shared, owner: usize) {
    let owners = world.borrow().layer.owners();
    let ended = at_once(owners.revoke_all(OWNERS[owner]));
    let expected = world.borrow_mut().model.revoke(owner);
    assert_eq!(ended.ok(), expected);
}

/// Sends one request, from whose handler another may be sent, and compares all that can be seen of it.
fn request(world: &Shared, script: &Script) {
    let cookies = world.borrow().cookies(script);
    let handling = {
        let world = world.borrow();
        let known: Vec<_> = cookies.iter().filter_map(|token| world.ids.get(token).copied()).collect();
        Rc::new(RefCell::new(Handling::load(&world.model, &known)))
    };
    let handler = {
        let (world, script, handling) = (Rc::clone(world), script.clone(), Rc::clone(&handling));
        move |request: Request<()>| {
            let session = request.extensions().get::<Session>().unwrap().clone();
            for act in &script.acts {
                handle(&world, &session, act, &handling);
            }
            let status = if script.fails { 500 } else { 200 };
            drop(session);
            async move { Ok::<_, Infallible>(Response::builder().status(status).body(String::new()).unwrap()) }
        }
    };
    let mut sent = Request::builder();
    for cookie in &cookies {
        sent = sent.header(COOKIE, format!("sid={cookie}"));
    }
    let service = world.borrow().layer.layer(service_fn(handler));
    let response = at_once(service.oneshot(sent.body(()).unwrap())).unwrap();

    let world = &mut *world.borrow_mut();
    let reply = Rc::into_inner(handling).unwrap().into_inner().end(&mut world.model, script.fails);
    assert_eq!(response.status(), if script.fails { 500 } else { 200 });
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
    match (reply, &cookies[..]) {
        (Reply::Leave, []) => {}
        (Reply::Remove, [cookie]) => {
            assert!(cookie.starts_with("sid=; Max-Age=0;"), "{cookie}");
            world.jars[script.client] = None;
        }
        (Reply::Set(id, end), [cookie]) => {
            let (token, rest) = cookie.strip_prefix("sid=").unwrap().split_once(';').unwrap();
            // A handler may outlive the session that it committed.
            let left = end.saturating_sub(world.model.now);
            assert!(rest.starts_with(&format!(" Max-Age={left};")), "{cookie}, not {left}");
            let known = world.ids.insert(token.to_owned(), id);
            assert!(known.is_none_or(|known| known == id), "a token means one session");
            if known.is_none() {
                assert!(
                    !world.ids.iter().any(|(other, known)| *known == id && other != token),
                    "one session, one token"
                );
                world.sent.push(token.to_owned());
            }
            world.jars[script.client] = Some(token.to_owned());
        }
        (reply, cookies) => panic!("{reply:?} is due, not {cookies:?}"),
    }
}

/// Does one thing to the session and to the model.
fn handle(world: &Shared, session: &Session, act: &Act, handling: &Rc<RefCell<Handling>>) {
    match act {
        Act::Nested(script) => {
            // The clock moves, so that no two ends of one session look alike.
            world.borrow_mut().wait(1);
            request(world, script);
            world.borrow_mut().wait(1);
            return;
        }
        Act::Commit => {
            let committed = at_once(session.commit());
            let stands = handling.borrow_mut().commit(&mut world.borrow_mut().model);
            match committed {
                Ok(()) => assert_eq!(stands, Stands::Stored),
                Err(error) => assert!(error.is_gone() && stands == Stands::Gone, "{error}, not {stands:?}"),
            }
            return;
        }
        _ => {}
    }
    let mut handling = handling.borrow_mut();
    match act {
        Act::Look => {
            let found = handling.contents();
            for key in script::KEYS {
                assert_eq!(session.get::<u64>(key).unwrap(), found.values.get(key).copied());
                assert_eq!(session.contains(key), found.values.contains_key(key));
            }
            assert_eq!(session.len(), found.values.len());
            assert_eq!(session.owner().as_deref(), found.owner.map(|owner| OWNERS[owner]));
            assert_eq!(session.is_new(), handling.is_new());
        }
        Act::Insert(key, value) => session.insert(key, value).unwrap(),
        Act::Flash(key, value) => session.flash(key, value).unwrap(),
        Act::Add(key) => session.update(key, |value: Option<u64>| Some(value.unwrap_or(0) + 1)).unwrap(),
        Act::Drop(key) => session.update(key, |value: Option<u64>| value.filter(|value| value % 2 == 0)).unwrap(),
        Act::Remove(key) => {
            assert_eq!(session.remove(key).unwrap(), handling.contents().values.contains_key(key));
        }
        Act::Take(key, _) => {
            assert_eq!(session.take::<u64>(key).unwrap(), handling.contents().values.get(key).copied());
        }
        Act::TakeFlash(key, _) => {
            assert_eq!(session.take_flash::<u64>(key).unwrap(), handling.contents().flash.get(key).copied());
        }
        Act::Clear => session.clear().unwrap(),
        Act::Csrf => assert!(session.verify_csrf(&session.csrf_token().unwrap())),
        Act::Idle(seconds) => session.set_idle_timeout(Duration::from_secs(*seconds)).unwrap(),
        Act::SignIn(owner) => session.sign_in(OWNERS[*owner]).unwrap(),
        Act::Renew => session.renew().unwrap(),
        Act::Destroy => session.destroy().unwrap(),
        Act::Nested(_) | Act::Commit => {}
    }
    handling.act(act);
}
