//! Draws in a process and in its fork, and writes down what each has drawn.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{CookieKey, CookieStore, MemoryStore, Session, SessionLayer};

const DRAWS: usize = 100_000;

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
}

fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).expect("a directory"));
    let key = CookieKey::new(&[7; 32]).expect("a key");
    let layers = [SessionLayer::new(MemoryStore::new()), SessionLayer::new(CookieStore::new(key))];
    layers.iter().for_each(|layer| drop(draw(layer, 1)));
    // SAFETY: the process has one thread.
    let child = unsafe { fork() };
    assert!(child >= 0, "no fork");
    let name = if child == 0 { "child" } else { "parent" };
    let [tokens, sealed] = layers.each_ref().map(|layer| draw(layer, DRAWS));
    // The nonce of a sealed text follows 9 bytes, which are 12 characters, and has 24 bytes.
    let nonces: Vec<_> = sealed.iter().map(|text| text[12..44].to_owned()).collect();
    write(&directory.join(format!("{name}.tokens")), &tokens);
    write(&directory.join(format!("{name}.nonces")), &nonces);
    if child > 0 {
        let mut status = 0;
        // SAFETY: the status is a number of its own.
        let ended = unsafe { waitpid(child, &raw mut status, 0) };
        assert_eq!((ended, status), (child, 0), "the child failed");
    }
}

/// Begins sessions and returns the values of their cookies.
fn draw(layer: &SessionLayer, count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let begin = async |request: Request<()>| {
        request.extensions().get::<Session>().expect("the layer is there").insert("n", 1).expect("a number");
        Ok::<_, Infallible>(Response::new(()))
    };
    runtime.block_on(async {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let response = layer.layer(service_fn(begin)).oneshot(Request::new(())).await.expect("no error");
            let cookie = response.headers()["set-cookie"].to_str().expect("ASCII");
            values.push(cookie.split(['=', ';']).nth(1).expect("a value").to_owned());
        }
        values
    })
}

fn write(path: &Path, lines: &[String]) {
    let text = lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    });
    fs::write(path, text).expect("a file");
}
