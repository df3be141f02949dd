//! The cookies that are read.

use allocation_counter::measure;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use tower_session_layer::{SessionCookie, TokenShape};

use crate::support::direct::{act, begin};
use crate::support::{Backend, Setup};

/// Whether a request with this whole `Cookie` header has the session; `{}` stands for its token.
async fn finds(backend: Backend, header: &str) -> bool {
    let setup = Setup::new(backend);
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    // `act` writes `sid=` in front, which here is the value of another cookie.
    let cookies = format!("; {}", header.replace("{}", &token));
    let answer = act(&setup.layer, Some(&cookies), |session| (!session.is_new()).to_string()).await;
    answer.body == "true"
}

#[tokio::test]
async fn pr_4_a_cookie_without_a_name_is_never_the_session() {
    for backend in Backend::ALL {
        assert!(finds(backend, "sid={}").await, "{backend:?}");
        for header in ["{}", "={}", "=sid={}", "; =sid={}; ", "==sid={}", " = sid={}"] {
            assert!(!finds(backend, header).await, "{backend:?} {header}");
        }
    }
}

#[tokio::test]
async fn pr_5_names_are_compared_to_the_letter_and_only_space_and_tab_are_trimmed() {
    for backend in Backend::ALL {
        for header in ["\tsid={}", " sid \t= {} ", "a=1;sid={}"] {
            assert!(finds(backend, header).await, "{backend:?} {header:?}");
        }
        for header in [
            "\u{2000}sid={}",
            "\u{a0}sid={}",
            "\u{85}sid={}",
            "sid\u{2003}={}",
            "sid=\u{2000}{}",
            "SID={}",
            "Sid={}",
            "$sid={}",
            "$Version=1, sid={}",
            "a=1, sid={}",
        ] {
            assert!(!finds(backend, header).await, "{backend:?} {header:?}");
        }
    }
}

#[test]
fn pr_7_what_the_parser_allocates_does_not_follow_what_the_client_sends() {
    let cookie = SessionCookie::builder().build().unwrap();
    let token = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let piece = "A".repeat(3_000);
    let other_pieces = format!("__Host-sid.1={piece};__Host-sid.2={piece};");
    let many = |piece: &str| {
        let pieces = format!("__Host-sid.1={piece};__Host-sid.2={piece};");
        (0..100).fold(pieces, |header, n| format!("{header}__Host-sid=3.{n};"))
    };
    for shape in [TokenShape::Random, TokenShape::sealed(4_096, 1), TokenShape::sealed(12_288, 3)] {
        let allocated = |header: &str| {
            let request = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(header).unwrap())]);
            measure(|| drop(cookie.tokens(&request, shape))).bytes_total
        };
        let one = allocated(&format!("__Host-sid={token}"));
        for (what, pairs, bound) in [
            ("others", "a=1;".repeat(2_000), 0),
            ("malformed ones of ours", "__Host-sid=!;".repeat(600), 0),
            ("huge numbers of chunks", "__Host-sid.999999999=x;".repeat(350), 0),
            ("a huge count", "__Host-sid=999999999.x;".repeat(350), 0),
            // Each is parsed, and none takes more than it brought.
            ("one of ours, often", format!("__Host-sid={token};").repeat(180), 8_192 * 2),
            // At most four candidates are put together of the same pieces.
            ("malformed beginnings", format!("{other_pieces}{}", "__Host-sid=3.!;".repeat(100)), 0),
            ("one beginning, often", format!("{other_pieces}{}", "__Host-sid=3.A;".repeat(100)), 4 * 2 * 8_192),
            ("many beginnings", many(&piece), 4 * 2 * 8_192),
            ("pieces longer than any text", many(&"A".repeat(13_000)), 0),
        ] {
            let many = allocated(&format!("{pairs}__Host-sid={token}"));
            assert!(many <= one + bound, "{shape:?} {what}: {many} bytes where one takes {one}");
        }
    }
}

#[tokio::test]
async fn pr_9_attributes_that_a_client_sends_back_do_no_harm() {
    for backend in Backend::ALL {
        for header in [
            "sid={}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=604800",
            "sid={}; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/",
            "Path=/; sid={}; HttpOnly",
        ] {
            assert!(finds(backend, header).await, "{backend:?} {header}");
        }
    }
}
