//! `cookie::PrivateJar`: the session sealed in a cookie by hand, as in the documentation of `CookieJar::private`.

use std::future::ready;
use std::hint::black_box;

use cookie::{Cookie, CookieJar, Key, SameSite};
use http::header::{COOKIE, SET_COOKIE};
use serde::{Deserialize, Serialize};
use time::Duration;
use tower::service_fn;

use super::{App, System, done};
use crate::work::{ADA, COUNT, USER, latest, next};
use crate::{Request, Response, Shape};

/// Handlers that open and seal the cookie themselves.
#[derive(Debug)]
pub struct PrivateJar(Key);

impl PrivateJar {
    /// Creates it with a new key.
    pub fn new() -> Self {
        Self(Key::generate())
    }
}

impl Default for PrivateJar {
    fn default() -> Self {
        Self::new()
    }
}

/// The values of such a program, in the leanest form for serde: a type without free keys.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    user: String,
    count: u64,
    text: String,
}

const NAME: &str = "__Host-sid";

fn open(request: &Request, key: &Key) -> (CookieJar, Option<Kept>) {
    let mut jar = CookieJar::new();
    for header in request.headers().get_all(COOKIE) {
        for cookie in Cookie::split_parse(header.to_str().expect("ASCII").to_owned()) {
            jar.add_original(cookie.expect("a cookie"));
        }
    }
    let cookie = jar.private(key).get(NAME);
    let kept = cookie.map(|cookie| serde_json::from_str(cookie.value()).expect("what was sealed"));
    (jar, kept)
}

fn seal(mut jar: CookieJar, key: &Key, kept: &Kept, response: &mut Response) {
    let value = serde_json::to_string(kept).expect("JSON");
    let cookie = Cookie::build((NAME, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax);
    jar.private_mut(key).add(cookie.max_age(Duration::days(7)));
    for cookie in jar.delta() {
        response.headers_mut().append(SET_COOKIE, cookie.to_string().parse().expect("a header"));
    }
}

impl System for PrivateJar {
    fn nothing(&self) -> impl App {
        service_fn(async |request: Request| done(request))
    }

    fn read(&self) -> impl App {
        service_fn(async |request: Request| {
            let (_, kept) = open(&request, &self.0);
            assert_eq!(black_box(kept).map(|kept| kept.user).as_deref(), Some(ADA));
            done(request)
        })
    }

    fn write(&self) -> impl App {
        service_fn(async |request: Request| {
            let (jar, kept) = open(&request, &self.0);
            let kept = Kept { count: next(), ..kept.expect("a session") };
            let Ok(mut response) = done(request);
            seal(jar, &self.0, &kept, &mut response);
            Ok(response)
        })
    }

    fn create(&self) -> impl App {
        self.sealed(|| Kept { user: ADA.to_owned(), ..Kept::default() })
    }

    fn fill(&self, shape: Shape) -> impl App {
        self.sealed(move || {
            let mut values = shape.values().into_iter().collect::<serde_json::Map<_, _>>();
            let mut text = |key| values.remove(key).map(|value| value.as_str().expect("a string").to_owned());
            let (user, text) = (text(USER).unwrap_or_default(), text("text").unwrap_or_default());
            Kept { user, count: values[COUNT].as_u64().expect("a number"), text }
        })
    }

    fn check(&self) -> impl App {
        service_fn(async |request: Request| {
            let (_, kept) = open(&request, &self.0);
            assert_eq!(kept.map(|kept| kept.count), Some(latest()));
            done(request)
        })
    }
}

impl PrivateJar {
    fn sealed(&self, kept: impl Fn() -> Kept) -> impl App {
        service_fn(move |request: Request| {
            let (jar, _) = open(&request, &self.0);
            let Ok(mut response) = done(request);
            seal(jar, &self.0, &kept(), &mut response);
            ready(Ok(response))
        })
    }
}
