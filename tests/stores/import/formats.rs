//! The cookies of other libraries, as those wrote them: `@remix-run/node` 2.17.5, `react-router` 7.18.6 and `express-session`
//! 1.19.0 with `cookie-signature` 1.2.2 and 1.0.7.

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_session_layer::ConfigError;

use super::*;

fn signature(secrets: &[&str]) -> CookieSignature {
    CookieSignature::new(secrets).unwrap()
}

#[test]
fn sessions_of_remix_are_read_whole() {
    let session = signature(&["s3cret"]).remix_session(OLD).unwrap();
    for (key, expected) in [
        ("userId", Some(json!("17"))),
        ("cart", Some(json!({"mug": 2, "näh": [1.5, null, true]}))),
        ("text", Some(json!("héllo ✓ 𝄞 \"quoted\" 100% + / = \n"))),
        ("notice", None),
        ("__flash_notice__", None),
    ] {
        assert_eq!(session.get::<Value>(key).unwrap(), expected, "{key}");
    }
}

#[test]
fn a_cookie_is_read_if_one_of_the_secrets_signed_it() {
    const ROTATED: &str = "eyJhIjoxfQ%3D%3D.ARclEl5cseSiN0RDAd7ldl%2BVPOKuJuuBHyLP30V%2BLbY";
    for (what, secrets, cookie, is_read) in [
        ("nothing in it", &["s3cret"][..], "e30%3D.kPg2gQnKz%2F1vH00zy6ifDAwZFZdlbakpxvSnM00ku4c", true),
        ("signed with the first", &["new", "s3cret"], ROTATED, true),
        ("signed with the second", &["s3cret", "new"], ROTATED, true),
        ("signed with another", &["s3cret"], ROTATED, false),
        ("a secret beyond ASCII", &["gehéim ✓"], "eyJhIjoxfQ%3D%3D.ai9FyjlAOuxay8xTURjqEMUssmawYKj6MzrGXvXhSwE", true),
        (
            "a lone surrogate",
            &["s3cret"],
            "eyJsb25lIjoiXHVkODAwIiwib2siOjF9.ssrU2Kpeblwxi02Hfh7NxDo%2Fk4IW67SkxknxG4wCnoA",
            true,
        ),
        ("not percent-encoded", &["new"], "eyJhIjoxfQ==.ARclEl5cseSiN0RDAd7ldl+VPOKuJuuBHyLP30V+LbY", true),
        ("padding after the signature", &["new"], "eyJhIjoxfQ==.ARclEl5cseSiN0RDAd7ldl+VPOKuJuuBHyLP30V+LbY=", false),
        ("trailing bits in the signature", &["new"], "eyJhIjoxfQ==.ARclEl5cseSiN0RDAd7ldl+VPOKuJuuBHyLP30V+LbZ", false),
        ("not signed", &["s3cret"], "eyJhIjoxfQ%3D%3D", false),
        ("an empty signature", &["s3cret"], "eyJhIjoxfQ%3D%3D.", false),
        ("empty", &["s3cret"], "", false),
        ("half an escape", &["s3cret"], "eyJhIjoxfQ%3D%3", false),
    ] {
        assert_eq!(signature(secrets).remix_session(cookie).is_some(), is_read, "{what}");
    }
}

#[test]
fn ids_of_express_are_read_if_they_are_signed() {
    let signature = signature(&["new secret", "old ✓"]);
    const PLAIN: &str = "s%3AZm9vYmFy-_0123456789abcdefghijkl.nleG%2Fd6JnRw8tcYTn4DNAIDTf0finBM%2F2pSUCvhBNeA";
    const ODD: &str = "s%3Aa.b%2Fc%2Bd%3De%20%C3%A9.PvPTXMqVJS0wunbLDTnnhqj3nY8Sn0RPNflm7nw04V0";
    for (cookie, id) in [
        (PLAIN, Some("Zm9vYmFy-_0123456789abcdefghijkl")),
        (ODD, Some("a.b/c+d=e é")),
        (&PLAIN[4..], None),
        (&PLAIN.replace("s%3A", "j%3A"), None),
        (&PLAIN.replace("Zm9v", "Zm9w"), None),
        (&ODD.replace("a.b", "a.c"), None),
        ("s%3AZm9vYmFy", None),
        ("s:", None),
    ] {
        assert_eq!(signature.express_session_id(cookie).as_deref(), id, "{cookie}");
    }
    assert_eq!(signature.verify(&PLAIN[4..]).as_deref(), Some("Zm9vYmFy-_0123456789abcdefghijkl"));
}

#[test]
fn secrets_are_needed_and_not_shown() {
    assert_eq!(CookieSignature::new([""; 0]).unwrap_err(), ConfigError::NoKey);
    assert_eq!(CookieSignature::new(["a", ""]).unwrap_err(), ConfigError::ShortKey(0));
    let signature = signature(&["s3cret"]);
    let session = signature.remix_session(OLD).unwrap();
    assert_eq!(format!("{signature:?}"), "CookieSignature(…)");
    assert_eq!(format!("{session:?}"), "Imported { keys: 3, flash: 1, has_owner: false }");
}

#[test]
fn only_json_objects_are_sessions() {
    for text in ["", "null", "[]", "17", "\"a\"", "{", r#"{"a": 1} x"#, r#"{"a": 01}"#, r#"{"\ud800": 1}"#] {
        assert!(Imported::from_json(text).is_none(), "{text}");
    }
    let deep = format!(r#"{{"a": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let session = Imported::from_json(&deep).unwrap();
    assert!(session.get::<Value>("a").unwrap_err().is_decode());
    let mut session = Imported::from_json(r#"{"a": {"b": [1, 2]}, "c": 1, "c": 2}"#).unwrap();
    assert_eq!(session.get::<Value>("a").unwrap(), Some(json!({"b": [1, 2]})));
    assert_eq!(session.get::<u8>("c").unwrap(), Some(2));
    session.insert("c", "new").unwrap();
    assert_eq!(session.get::<String>("c").unwrap().as_deref(), Some("new"));
    assert!(session.remove("c") && !session.remove("c"));
    assert!(session.sign_in("", SystemTime::UNIX_EPOCH).unwrap_err().is_no_owner());
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(text in ".*", part in "[a-zA-Z0-9%=.+/:]{0,80}", dot in 0_usize..100) {
        let signature = signature(&["s3cret"]);
        let at = OLD.char_indices().nth(dot).map_or(0, |(at, _)| at);
        for cookie in [text.clone(), part.clone(), format!("s:{part}"), format!("{}{part}{}", &OLD[..at], &OLD[at..])] {
            prop_assert!(cookie == OLD || signature.verify(&cookie).is_none());
            prop_assert!(cookie == OLD || signature.remix_session(&cookie).is_none());
            prop_assert_eq!(signature.express_session_id(&cookie), None);
        }
        let _ = Imported::from_json(&text);
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 0..OLD.len(), byte in 0x21_u8..0x7f) {
        let mut changed = OLD.as_bytes().to_vec();
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        // `%3d` means what `%3D` does.
        let is_same = changed.replace("%3d", "%3D") == OLD;
        prop_assert_eq!(signature(&["s3cret"]).remix_session(&changed).is_some(), is_same);
    }

    #[test]
    fn any_cookie_header_is_answered(header in prop::collection::vec(0x20_u8..=0xff, 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let import = Import::new(Backend::Memory);
            let app = routes()
                .layer(ImportLayer::new(old_cookie(), import.setup.clock.now() + DAY, importer(&import.asked)))
                .layer(import.setup.layer.clone());
            let header = [b"__session=".as_slice(), &header].concat();
            let header = http::HeaderValue::from_bytes(&header.replace_delete()).unwrap();
            let request = http::Request::get("/user").header("cookie", header).body(axum::body::Body::empty()).unwrap();
            let answer = tower::ServiceExt::oneshot(app, request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        });
    }
}

trait ReplaceDelete {
    fn replace_delete(self) -> Self;
}

impl ReplaceDelete for Vec<u8> {
    /// The one byte of these that no header may hold.
    fn replace_delete(mut self) -> Self {
        self.iter_mut().filter(|byte| **byte == 0x7f).for_each(|byte| *byte = b'~');
        self
    }
}
