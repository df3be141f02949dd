//! What the client sends is hostile: whatever it is, it is absence, never an error and never a panic (promise 4).

use std::convert::Infallible;

use crate::support::{Backend, DAY, Op, Setup, rounds};
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _};
use tower_session_layer::{Session, SessionService, SessionToken};

/// Answers who the session is; `POST` makes it somebody's.
async fn whoever(request: Request<()>) -> Result<Response<String>, Infallible> {
    let session = request.extensions().get::<Session>().unwrap();
    if request.method() == "POST" {
        session.insert("who", "victim").unwrap();
    }
    Ok(Response::new(session.get::<String>("who").unwrap().unwrap_or_else(|| "nobody".into())))
}

macro_rules! service {
    ($setup:expr) => {
        $setup.layer.layer(tower::service_fn(whoever))
    };
}

/// Sends these `Cookie` headers; `None` where one of them could not even be a header.
async fn send<S>(service: &mut SessionService<S>, method: &str, cookies: &[&[u8]]) -> Option<Response<String>>
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible> + Clone,
{
    let mut request = Request::builder().method(method);
    for cookie in cookies {
        request = request.header(COOKIE, HeaderValue::from_bytes(cookie).ok()?);
    }
    let request = request.body(()).unwrap();
    Some(service.ready().await.unwrap().call(request).await.unwrap())
}

fn token(response: &Response<String>) -> String {
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().strip_prefix("sid=").unwrap().to_owned()
}

#[tokio::test]
async fn a_token_of_another_shape_is_absence_and_never_reaches_the_store() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut service = service!(setup);
        let valid = token(&send(&mut service, "POST", &[]).await.unwrap());
        let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let object = r#"{"a":"#.repeat(10_000);
        for (what, value) in [
            ("empty", String::new()),
            ("8 kB of A", "A".repeat(8_192)),
            ("1 MB of A", "A".repeat(1_048_576)),
            ("percent-encoded", "%00%0d%0a".into()),
            ("percent inside", format!("%00{}", &valid[3..])),
            ("percent-encoded whole", valid.bytes().map(|byte| format!("%{byte:02x}")).collect()),
            ("quoted", format!("\"{valid}\"")),
            ("padded", format!("{valid}=")),
            ("standard alphabet", format!("+/{}", &valid[2..])),
            ("white space inside", format!("{} {}", &valid[..16], &valid[17..])),
            ("a path", "../../../../../../../etc/passwd0".into()),
            ("a formula", "' OR 1=1 --                     ".into()),
            ("JSON", r#"{"who":"victim"}"#.into()),
            ("JSON null", "null!".into()),
            ("JSON in quotes", r#""{\"who\":\"victim\"}""#.into()),
            ("JSON array nested 10,000 deep", nested),
            ("JSON object nested 10,000 deep", object),
            ("non-ASCII", "é".repeat(16)),
        ] {
            setup.store.forget();
            let answer = send(&mut service, "GET", &[format!("sid={value}").as_bytes()]).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{backend:?} {what}");
            assert_eq!(answer.body(), "nobody", "{backend:?} {what}");
            assert_eq!(answer.headers().get(SET_COOKIE), None, "{backend:?} {what}");
            assert_eq!((setup.store.calls(Op::Load), setup.store.writes()), (0, 0), "{backend:?} {what}");
        }
        for (what, header) in [
            ("non-UTF-8", &b"sid=\xff\xfe\xfd\xfc"[..]),
            ("non-UTF-8 of the right length", &[b"sid=".as_slice(), &[0xff; 32]].concat()),
            ("a header of nothing", b""),
            ("separators only", b";;;; ; ;=;=;"),
            ("non-UTF-8 only", b"\xff"),
            ("name only", b"sid"),
        ] {
            setup.store.forget();
            let answer = send(&mut service, "GET", &[header]).await.unwrap();
            assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "nobody"), "{backend:?} {what}");
            assert_eq!(setup.store.calls(Op::Load), 0, "{backend:?} {what}");
        }
        assert_eq!(send(&mut service, "GET", &[format!("sid={valid}").as_bytes()]).await.unwrap().body(), "victim");
    }
}

#[tokio::test]
async fn unknown_forged_truncated_and_expired_tokens_are_absence() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut service = service!(setup);
        let valid = token(&send(&mut service, "POST", &[]).await.unwrap());
        let key = SessionToken::from_sealed(valid.clone()).unwrap().key().hex();
        for (what, value) in [
            ("unknown", "A".repeat(32)),
            ("unknown, long", "A".repeat(400)),
            ("truncated by one", valid[..valid.len() - 1].into()),
            ("truncated by four", valid[..valid.len() - 4].into()),
            ("its start", valid[..8].into()),
            ("one more", format!("{valid}A")),
            ("twice in a row", format!("{valid}{valid}")),
            ("reversed", valid.chars().rev().collect()),
            ("another case", valid.to_ascii_lowercase()),
            ("its digest", key[..32].into()),
            ("its whole digest", key.clone()),
        ] {
            let header = format!("sid={value}");
            let answer = send(&mut service, "GET", &[header.as_bytes()]).await.unwrap();
            assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "nobody"), "{backend:?} {what}");
            assert_eq!(answer.headers().get(SET_COOKIE), None, "{backend:?} {what}");
        }
        assert_eq!(setup.store.writes(), 1, "{backend:?}");
        let header = format!("sid={valid}");
        assert_eq!(send(&mut service, "GET", &[header.as_bytes()]).await.unwrap().body(), "victim");
        setup.clock.advance(8 * DAY);
        let answer = send(&mut service, "GET", &[header.as_bytes()]).await.unwrap();
        assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "nobody"), "{backend:?} expired");
        assert_eq!(answer.headers().get(SET_COOKIE), None, "{backend:?} expired");
    }
}

#[tokio::test]
async fn every_single_byte_of_a_token_counts() {
    for backend in [Backend::Memory, Backend::Cookie] {
        let setup = Setup::new(backend);
        let mut service = service!(setup);
        let valid = token(&send(&mut service, "POST", &[]).await.unwrap());
        setup.store.forget();
        let mut plain = 0;
        for place in 0..valid.len() {
            for byte in 0..=u8::MAX {
                let mut header = [b"sid=", valid.as_bytes()].concat();
                if std::mem::replace(&mut header[4 + place], byte) == byte {
                    continue;
                }
                let Some(answer) = send(&mut service, "GET", &[&header]).await else { continue };
                assert_eq!(
                    (answer.status(), answer.body().as_str(), answer.headers().get(SET_COOKIE)),
                    (StatusCode::OK, "nobody", None),
                    "{backend:?} {byte:#x} at {place}"
                );
                plain += usize::from(byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            }
        }
        assert_eq!(plain, 63 * valid.len());
        if backend == Backend::Memory {
            // Every other byte makes another shape.
            assert_eq!(setup.store.calls(Op::Load), plain);
        }
        assert_eq!(send(&mut service, "GET", &[format!("sid={valid}").as_bytes()]).await.unwrap().body(), "victim");
    }
}

/// A generator that needs nothing and always starts alike (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 32).unwrap() % sides
    }

    /// A byte that a header may have.
    fn byte(&mut self) -> u8 {
        match self.roll(4) {
            0 => b"=;, \t\"\\%"[self.roll(8)],
            1 => u8::try_from(128 + self.roll(128)).unwrap(),
            _ => u8::try_from(32 + self.roll(95)).unwrap(),
        }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.byte()).collect()
    }

    /// The token with up to four bytes replaced, dropped, inserted or swapped.
    fn mutation(&mut self, valid: &str) -> Vec<u8> {
        let mut value = valid.as_bytes().to_vec();
        for _ in 0..=self.roll(4) {
            let place = self.roll(value.len());
            match self.roll(5) {
                0 => value[place] = self.byte(),
                1 => drop(value.remove(place)),
                2 => value.insert(place, self.byte()),
                3 => value.swap(place, 0),
                _ => value[place] = valid.as_bytes()[self.roll(valid.len())],
            }
        }
        value
    }

    fn pairs(&mut self, valid: &str) -> Vec<u8> {
        let mut header = Vec::new();
        for _ in 0..self.roll(40) {
            let name = ["sid", "sid", "SID", "sid.1", "sid.99", "", "$Version", "theme", " sid\t"][self.roll(9)];
            header.extend_from_slice(name.as_bytes());
            header.extend_from_slice([&b"="[..], b"==", b" = ", b""][self.roll(4)]);
            match self.roll(6) {
                0 => header.extend_from_slice(valid.as_bytes()),
                1 => header.extend(self.mutation(valid)),
                2 => header.extend(self.bytes(40)),
                _ => header.extend((0..32).map(|_| b"AB-_"[self.roll(4)])),
            }
            header.extend_from_slice([&b";"[..], b"; ", b"", b",", b";;"][self.roll(5)]);
        }
        header
    }

    fn header(&mut self, valid: &str) -> Vec<u8> {
        match self.roll(100) {
            0 => [b"sid=".to_vec(), vec![self.byte(); 8_192 + self.roll(8_192)]].concat(),
            1..20 => self.bytes(200),
            20..60 => [b"sid=".to_vec(), self.mutation(valid)].concat(),
            _ => self.pairs(valid),
        }
    }
}

/// Whether a header holds exactly this cookie, read as RFC 6265bis says and not as the library does it.
fn holds(header: &[u8], valid: &str) -> bool {
    let space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let trim = |text: &[u8]| {
        let text: Vec<_> = text.iter().copied().skip_while(space).collect();
        let end = text.iter().rposition(|byte| !space(byte)).map_or(0, |last| last + 1);
        text[..end].to_vec()
    };
    header.split(|byte| *byte == b';').any(|pair| {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else { return false };
        trim(&pair[..at]) == b"sid" && trim(&pair[at + 1..]) == valid.as_bytes()
    })
}

#[tokio::test]
async fn random_cookie_headers_do_no_harm() {
    for (backend, seed) in [(Backend::Memory, 1), (Backend::Cookie, 2)] {
        let setup = Setup::new(backend);
        let mut service = service!(setup);
        let valid = token(&send(&mut service, "POST", &[]).await.unwrap());
        let mut dice = Dice(seed);
        let (mut found, mut begun) = (0, 0);
        let rounds = rounds(10_000);
        for round in 0..rounds {
            let headers: Vec<_> = (0..=dice.roll(8) / 6).map(|_| dice.header(&valid)).collect();
            let headers: Vec<_> = headers.iter().map(Vec::as_slice).collect();
            let method = if round % 16 == 0 { "POST" } else { "GET" };
            setup.store.forget();
            let answer = send(&mut service, method, &headers).await.unwrap();
            let shown = || headers.iter().map(|header| header.escape_ascii().to_string()).collect::<Vec<_>>();
            assert_eq!(answer.status(), StatusCode::OK, "{backend:?} {:?}", shown());
            assert!(setup.store.calls(Op::Load) <= 4, "{backend:?} {:?}", shown());
            let could = headers.iter().any(|header| holds(header, &valid));
            let is_known = match method {
                // Writing the same again changes nothing; a new session has a token of its own.
                "POST" => answer.headers().get(SET_COOKIE).is_none(),
                _ => answer.body() == "victim",
            };
            assert!(could || !is_known, "{backend:?} {:?}", shown());
            if method == "POST" && !is_known {
                begun += 1;
                let fresh = token(&answer);
                assert!(!headers.iter().any(|header| holds(header, &fresh)), "{backend:?} {:?}", shown());
            }
            found += usize::from(is_known);
        }
        assert!(found > rounds / 100 && begun > rounds / 100, "{backend:?}: {found} found, {begun} begun");
        if backend == Backend::Memory {
            assert_eq!(setup.store.sessions().await, 1 + begun);
        }
    }
}
