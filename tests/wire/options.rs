//! Every wrong combination of options is an error of its own when the layer is built (promise 19).

use std::time::Duration;

use crate::support::DAY;
use tower_session_layer::{
    ConfigError, CookieKey, CookieStore, FileStore, MemoryStore, SameSite, SessionLayer, SessionLayerBuilder,
};

type Options = fn(SessionLayerBuilder<MemoryStore>) -> SessionLayerBuilder<MemoryStore>;

fn refused(options: Options) -> ConfigError {
    options(SessionLayer::builder(MemoryStore::new())).build().unwrap_err()
}

fn accepted(options: Options) {
    options(SessionLayer::builder(MemoryStore::new())).build().unwrap();
}

#[test]
fn a_name_is_a_token() {
    for name in
        ["", " ", "a b", "a=b", "a;b", "a,b", "a\"b", "a\r\nb", "a\0", "sé", "(a)", "a/b", "a@b", "{a}", "a\u{7f}"]
    {
        let error = SessionLayer::builder(MemoryStore::new()).cookie_name(name).build().unwrap_err();
        assert_eq!(error, ConfigError::CookieName(name.into()));
    }
    for name in ["a", "__Host-a", "sid.1", "!#$%&'*+-.^_`|~09azAZ"] {
        SessionLayer::builder(MemoryStore::new()).cookie_name(name).build().unwrap();
    }
}

#[test]
fn a_prefix_keeps_its_promise_in_any_case() {
    for name in ["__Host-a", "__hOsT-a", "__HOST-a"] {
        let with = || SessionLayer::builder(MemoryStore::new()).cookie_name(name);
        for builder in [with().insecure_http(), with().domain("example.com"), with().path("/a")] {
            let error = builder.build().unwrap_err();
            assert!(matches!(&error, ConfigError::HostPrefix { name: is, .. } if is == name), "{error}");
        }
        with().build().unwrap();
    }
    for name in ["__Secure-a", "__sEcUrE-a"] {
        let with = || SessionLayer::builder(MemoryStore::new()).cookie_name(name);
        assert_eq!(with().insecure_http().build().unwrap_err(), ConfigError::SecurePrefix(name.into()));
        with().domain("example.com").path("/a").build().unwrap();
    }
    for name in ["__Http-a", "__hTtP-a", "__Host-Http-a"] {
        let error = SessionLayer::builder(MemoryStore::new()).cookie_name(name).insecure_script_access().build();
        assert_eq!(error.unwrap_err(), ConfigError::HttpPrefix(name.into()));
        SessionLayer::builder(MemoryStore::new()).cookie_name(name).build().unwrap();
    }
    assert_eq!(
        refused(|builder| builder.cookie_name("__Http-a").insecure_http()),
        ConfigError::HttpPrefix("__Http-a".into())
    );
}

#[test]
fn the_default_name_follows_its_options() {
    accepted(|builder| builder);
    accepted(SessionLayerBuilder::insecure_http);
    assert!(matches!(
        refused(|builder| builder.domain("example.com")),
        ConfigError::HostPrefix { conflict: "a domain", .. }
    ));
    assert!(matches!(refused(|builder| builder.path("/a")), ConfigError::HostPrefix { conflict: "another path", .. }));
}

#[test]
fn what_browsers_send_to_other_sites_is_secure() {
    assert_eq!(refused(|builder| builder.insecure_http().same_site(SameSite::None)), ConfigError::SameSiteNone);
    assert_eq!(refused(|builder| builder.insecure_http().partitioned()), ConfigError::Partitioned);
    accepted(|builder| builder.same_site(SameSite::None).partitioned());
}

#[test]
fn an_attribute_injects_nothing() {
    let long = "a".repeat(1_025);
    for path in ["", "a", "/;Secure", "/;", "/\r\n", "/\0", "/\u{7f}", "/é", &format!("/{}", &long[1..])] {
        let error = SessionLayer::builder(MemoryStore::new()).cookie_name("a").path(path).build().unwrap_err();
        assert_eq!(error, ConfigError::Path(path.into()));
        assert!(error.to_string().len() < 300, "{error}");
    }
    for domain in ["", "a;b", "a b", "a\r\nb", "a\0b", "é.com", "a,b", &long] {
        let error = SessionLayer::builder(MemoryStore::new()).cookie_name("a").domain(domain).build().unwrap_err();
        assert_eq!(error, ConfigError::Domain(domain.into()));
        assert!(error.to_string().len() < 300, "{error}");
    }
    let path = format!("/{}", &long[2..]);
    SessionLayer::builder(MemoryStore::new()).cookie_name("a").path(path).domain("example.com").build().unwrap();
}

#[test]
fn lifetimes_are_within_400_days_and_in_order() {
    const LONG: Duration = Duration::from_secs(34_560_000);
    const LONGER: Duration = Duration::from_secs(34_560_001);
    for wrong in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_nanos(999),
        LONG + Duration::from_nanos(1),
        LONGER,
        Duration::MAX,
    ] {
        let builder = || SessionLayer::builder(MemoryStore::new());
        let error = builder().idle_timeout(wrong).absolute_timeout(LONG).build().unwrap_err();
        assert_eq!(error, ConfigError::IdleTimeout(wrong));
        let error = builder().absolute_timeout(wrong).idle_timeout(Duration::from_micros(1)).build().unwrap_err();
        assert_eq!(error, ConfigError::AbsoluteTimeout(wrong));
    }
    assert_eq!(
        refused(|builder| builder.idle_timeout(2 * DAY).absolute_timeout(DAY)),
        ConfigError::IdleOverAbsolute { idle: 2 * DAY, absolute: DAY }
    );
    // The default idle timeout follows a shorter absolute one.
    accepted(|builder| builder.absolute_timeout(DAY));
    accepted(|builder| builder.idle_timeout(LONG).absolute_timeout(LONG));
    for preset in [SessionLayerBuilder::nist_aal1, SessionLayerBuilder::nist_aal2, SessionLayerBuilder::nist_aal3] {
        accepted(preset);
    }
}

#[test]
fn bounds_are_more_than_nothing() {
    assert_eq!(refused(|builder| builder.store_timeout(Duration::ZERO)), ConfigError::StoreTimeout);
    assert_eq!(refused(|builder| builder.max_record_bytes(0)), ConfigError::MaxRecordBytes);
    let zero = |error: Result<MemoryStore, _>| matches!(error, Err(ConfigError::ZeroBound(_)));
    assert!(zero(MemoryStore::builder().max_sessions(0).build()));
    assert!(zero(MemoryStore::builder().max_bytes(0).build()));
    let key = || [CookieKey::new(&[1; 32]).unwrap()];
    for chunks in [0, 4, 255] {
        let refused = CookieStore::builder(key()).max_chunks(chunks).build();
        assert_eq!(refused.unwrap_err(), ConfigError::MaxChunks(chunks));
    }
    CookieStore::builder(key()).max_chunks(3).build().unwrap();
}

#[test]
fn a_key_is_long_and_not_all_zeros() {
    for len in [0, 1, 31] {
        assert_eq!(CookieKey::new(&vec![7; len]).unwrap_err(), ConfigError::ShortKey(len));
    }
    for len in [32, 64] {
        assert_eq!(CookieKey::new(&vec![0; len]).unwrap_err(), ConfigError::ZeroKey);
        CookieKey::new(&vec![7; len]).unwrap();
    }
    assert_eq!(CookieStore::builder([]).build().unwrap_err(), ConfigError::NoKey);
}

#[test]
fn a_directory_can_be_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = FileStore::new(file.path()).unwrap_err();
    assert!(matches!(&error, ConfigError::Directory { path, .. } if path == file.path()), "{error}");
}

#[test]
fn every_error_says_which_option_and_what_is_expected() {
    for (error, option) in [
        (refused(|builder| builder.cookie_name("a b")), "cookie_name"),
        (refused(|builder| builder.domain("example.com")), "cookie_name"),
        (refused(|builder| builder.cookie_name("__Secure-a").insecure_http()), "insecure_http"),
        (refused(|builder| builder.insecure_http().same_site(SameSite::None)), "same_site"),
        (refused(|builder| builder.insecure_http().partitioned()), "partitioned"),
        (refused(|builder| builder.cookie_name("a").path("a")), "path"),
        (refused(|builder| builder.cookie_name("a").domain("")), "domain"),
        (refused(|builder| builder.idle_timeout(Duration::ZERO)), "idle_timeout"),
        (refused(|builder| builder.absolute_timeout(Duration::ZERO)), "absolute_timeout"),
        (refused(|builder| builder.idle_timeout(2 * DAY).absolute_timeout(DAY)), "absolute_timeout"),
        (refused(|builder| builder.store_timeout(Duration::ZERO)), "store_timeout"),
        (refused(|builder| builder.max_record_bytes(0)), "max_record_bytes"),
    ] {
        let text = error.to_string();
        assert!(text.contains(option), "{text}");
        assert!(text.contains("expected") || text.contains("needs"), "{text}");
    }
}
