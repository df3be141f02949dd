//! The answers of each kind of error to the questions, and the form of the messages: that of the standard library.

use super::*;

type Question = (&'static str, fn(&Error) -> bool);

const QUESTIONS: [Question; 14] = [
    ("decode", Error::is_decode),
    ("encode", Error::is_encode),
    ("too_large", Error::is_too_large),
    ("idle_timeout", Error::is_idle_timeout),
    ("gone", Error::is_gone),
    ("response_sent", Error::is_response_sent),
    ("dropped", Error::is_dropped),
    ("unavailable", Error::is_unavailable),
    ("unsupported", Error::is_unsupported),
    ("no_owner", Error::is_no_owner),
    ("stale", Error::is_stale),
    ("not_signed_in", Error::is_not_signed_in),
    ("not_loaded", Error::is_not_loaded),
    ("no_layer", Error::is_no_layer),
];

fn json() -> serde_json::Error {
    serde_json::from_str::<u32>("x").unwrap_err()
}

/// Samples of an enum, at least one for each variant: a variant without a row does not compile.
macro_rules! every {
    ($enum:ty: $($variant:pat => [$($sample:expr),+ $(,)?],)+) => {{
        fn is_listed(kind: &$enum) {
            match kind {
                $($variant => (),)+
            }
        }
        let mut samples = Vec::new();
        $($(
            let sample = $sample;
            assert!(matches!(sample.kind(), $variant));
            is_listed(sample.kind());
            samples.push(sample);
        )+)+
        samples
    }};
}

/// A kind, the question that it affirms, and whether it has a source.
struct Row(Kind, &'static str, bool);

impl Row {
    fn kind(&self) -> &Kind {
        &self.0
    }
}

fn kinds() -> Vec<Row> {
    let second = Duration::from_secs(1);
    let largest = || Some("k".to_owned());
    every! { Kind:
        Kind::Decode { .. } => [Row(Kind::Decode { key: "k".into(), wanted: "u32", source: json() }, "decode", true)],
        Kind::Encode { .. } => [Row(Kind::Encode { key: "k".into(), source: json() }, "encode", true)],
        Kind::Unfit { .. } => [
            Row(Kind::Unfit { key: Some("k".into()), wanted: "Shop", source: json() }, "decode", true),
            Row(Kind::Unfit { key: None, wanted: "Shop", source: json() }, "decode", true),
        ],
        Kind::Unwritable { .. } => [Row(Kind::Unwritable { given: "Shop", source: json() }, "encode", true)],
        Kind::TooLarge { .. } => [
            Row(Kind::TooLarge { actual: 2, allowed: 1, largest: None }, "too_large", false),
            Row(Kind::TooLarge { actual: 2, allowed: 1, largest: largest() }, "too_large", false),
        ],
        // A mistake of the program affirms no question.
        Kind::Entangled => [Row(Kind::Entangled, "nothing", false)],
        Kind::IdleTimeout { .. } => [Row(Kind::IdleTimeout { asked: second, longest: second }, "idle_timeout", false)],
        Kind::Gone => [Row(Kind::Gone, "gone", false)],
        Kind::Refused => [Row(Kind::Refused, "gone", false)],
        Kind::ResponseSent => [Row(Kind::ResponseSent, "response_sent", false)],
        Kind::Dropped => [Row(Kind::Dropped, "dropped", false)],
        Kind::Unavailable => [Row(Kind::Unavailable, "unavailable", false)],
        Kind::NoOwner => [Row(Kind::NoOwner, "no_owner", false)],
        Kind::NoLayer => [Row(Kind::NoLayer, "no_layer", false)],
        Kind::NotLoaded => [Row(Kind::NotLoaded, "not_loaded", false)],
        Kind::NobodySignedIn => [Row(Kind::NobodySignedIn, "not_signed_in", false)],
        Kind::Stale => [Row(Kind::Stale, "stale", false)],
        Kind::Random(_) => [Row(Kind::Random(std::io::Error::other("none")), "unavailable", true)],
        Kind::Panicked => [Row(Kind::Panicked, "nothing", false)],
        Kind::TimedOut(_) => [Row(Kind::TimedOut(second), "unavailable", false)],
        Kind::GoesOn(_) => [Row(Kind::GoesOn(second), "unavailable", false)],
        Kind::Store(_) => [
            Row(Kind::Store(StoreError::new("broken")), "unavailable", true),
            Row(Kind::Store(StoreError::unsupported()), "unsupported", false),
            Row(Kind::Store(StoreError::too_large(2, 1)), "too_large", false),
        ],
    }
}

impl StoreError {
    fn kind(&self) -> &StoreKind {
        &self.0
    }
}

fn store_errors() -> Vec<StoreError> {
    every! { StoreKind:
        StoreKind::Failed(_) => [StoreError::new("no connection"), StoreError::from(std::io::Error::other("disk full"))],
        StoreKind::Unsupported => [StoreError::unsupported()],
        StoreKind::TooLarge { .. } => [StoreError::too_large(3_000, 2_920)],
    }
}

impl ConfigError {
    fn kind(&self) -> &Self {
        self
    }
}

fn config_errors() -> Vec<ConfigError> {
    use super::ConfigError as C;
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    every! { C:
        C::CookieName(_) => [C::CookieName("a b".into())],
        C::HostPrefix { .. } => [C::HostPrefix { name: "__Host-sid".into(), conflict: "a domain" }],
        C::SecurePrefix(_) => [C::SecurePrefix("__Secure-sid".into())],
        C::HttpPrefix(_) => [C::HttpPrefix("__Http-sid".into())],
        C::SameSiteNone => [C::SameSiteNone],
        C::Partitioned => [C::Partitioned],
        C::Path(_) => [C::Path("shop".into()), C::Path("/".repeat(2_000))],
        C::Domain(_) => [C::Domain("a b".into())],
        C::Formerly { .. } => [C::Formerly { domain: None, path: "/".into() }],
        C::IdleTimeout(_) => [C::IdleTimeout(zero)],
        C::AbsoluteTimeout(_) => [C::AbsoluteTimeout(zero)],
        C::IdleOverAbsolute { .. } => [C::IdleOverAbsolute { idle: 2 * second, absolute: second }],
        C::RenewAfter(_) => [C::RenewAfter(second)],
        C::RenewalKeys => [C::RenewalKeys],
        C::TokenHeader(_) => [C::TokenHeader("cookie".into())],
        C::StoreTimeout => [C::StoreTimeout],
        C::MaxRecordBytes => [C::MaxRecordBytes],
        C::MaxSessionsPerOwner => [C::MaxSessionsPerOwner],
        C::ShortKey(_) => [C::ShortKey(16)],
        C::ZeroKey => [C::ZeroKey],
        C::NoKey => [C::NoKey],
        C::MaxChunks(_) => [C::MaxChunks(4)],
        C::ZeroBound(_) => [C::ZeroBound("max_sessions")],
        C::ClientSideStore(_) => [C::ClientSideStore("revocations")],
        C::KeyPrefix(_) => [C::KeyPrefix("a b".into())],
        C::RedisUrl(_) => [C::RedisUrl("the port is no number".into())],
        C::RedisEviction(_) => [C::RedisEviction("allkeys-lru".into())],
        C::Directory { .. } => [C::Directory { path: "/nowhere".into(), reason: "permission denied".into() }],
        C::TableName(_) => [C::TableName("1st".into())],
        C::NoStore => [C::NoStore],
        C::UnknownStore(_) => [C::UnknownStore("mongodb".into())],
        C::FeatureOff { .. } => [C::FeatureOff { what: "store redis://host".into(), feature: "redis" }],
        C::Unreachable { .. } => [C::Unreachable { store: "redis://host".into(), reason: "connection refused".into() }],
        C::Setting { .. } => [C::Setting { name: "idle_timeout".into(), reason: "expected a duration".into() }],
        C::UnknownVariable { .. } => [
            C::UnknownVariable { name: "SHOP_IDLE".into(), nearest: Some("SHOP_IDLE_TIMEOUT".into()) },
            C::UnknownVariable { name: "SHOP_COLOUR".into(), nearest: None },
        ],
        C::SetBy { .. } => [C::SetBy { by: "SHOP_PATH".into(), error: Box::new(C::Path("shop".into())) }],
    }
}

/// A fragment that can stand after `error: ` and before `, since …`: one line, lower case, without a full stop at its
/// end.
fn is_fragment(text: &str) -> bool {
    let mut first = text.chars();
    let (first, second) = (first.next(), first.next());
    let is_acronym = second.is_some_and(char::is_uppercase);
    first.is_some_and(|first| first.is_lowercase() || first == '`' || is_acronym)
        && (10..=240).contains(&text.len())
        && !text.ends_with(['.', '!', ':', ' ', '\n'])
        && !text.contains(['\n', '\t'])
        && !text.contains("  ")
        // One of the characters that a cookie's name may have is a backtick.
        && text.replace("_`|", "").matches('`').count().is_multiple_of(2)
        && !text.to_lowercase().starts_with("error")
}

#[test]
fn every_message_is_a_fragment_of_one_line() {
    let mut said = Vec::new();
    said.extend(kinds().into_iter().map(|row| Error::from(row.0).to_string()));
    said.extend(store_errors().iter().map(ToString::to_string));
    said.extend(config_errors().iter().map(ToString::to_string));
    for text in &said {
        assert!(is_fragment(text), "{text:?}");
    }
}

#[test]
fn each_message_of_the_configuration_says_what_would_be_right() {
    let mut said: Vec<_> = config_errors().iter().map(ToString::to_string).collect();
    for text in &said {
        // Only a failure outside the configuration names no valid value.
        let says = ["expected", " needs ", "without the feature", "the nearest is", "connection refused"];
        assert!(says.iter().any(|word| text.contains(word)), "{text:?}");
    }
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), config_errors().len(), "each says something of its own");
}

#[test]
fn each_kind_affirms_at_most_one_question() {
    for Row(kind, affirmed, has_source) in kinds() {
        let error = Error::from(kind);
        for (name, ask) in QUESTIONS {
            assert_eq!(ask(&error), name == affirmed, "is_{name} of {error:?}");
        }
        assert_eq!(error.source().is_some(), has_source, "{error:?}");
    }
}

#[test]
fn what_a_store_cannot_do_is_said_otherwise_than_that_it_failed() {
    let says = |error: StoreError| Error::from(error).to_string();
    assert_eq!(says(StoreError::unsupported()), "this session store cannot do that");
    assert_eq!(says(StoreError::too_large(2, 1)), "the session would take 2 bytes where the store allows 1");
    assert_eq!(says(StoreError::new("broken")), "the session store failed");
}

#[test]
fn nothing_is_said_twice_by_whoever_prints_an_error_and_what_is_behind_it() {
    let mut errors: Vec<Box<dyn StdError>> = Vec::new();
    errors.extend(kinds().into_iter().map(|row| Error::from(row.0).into()));
    errors.extend(store_errors().into_iter().map(Into::into));
    errors.extend(kinds().into_iter().map(|row| StoreError::new(Error::from(row.0)).into()));
    errors.extend(config_errors().into_iter().map(Into::into));
    for error in errors {
        let mut chain = vec![error.to_string()];
        let mut behind = error.source();
        while let Some(error) = behind {
            chain.push(error.to_string());
            behind = error.source();
        }
        for (at, said) in chain.iter().enumerate() {
            assert!(chain[..at].iter().all(|before| !before.contains(said.as_str())), "{chain:?}");
        }
    }
}

#[test]
fn what_is_too_large_for_a_store_says_by_how_much_and_what_to_look_at() {
    let mut record = Record::blank();
    record.values.insert(&crate::record::Entry::new("cart", "[1,2,3]"));
    record.values.insert(&crate::record::Entry::new("name", "1"));
    let named = |error: StoreError| Error::from(error).naming(&record);
    let error = named(StoreError::too_large(3_000, 2_920));
    assert!(error.is_too_large() && !error.is_unavailable());
    assert_eq!(
        error.to_string(),
        "the session would take 3000 bytes where 2920 are allowed; the largest value is `cart`"
    );
    assert_eq!(named(StoreError::new("broken")).to_string(), "the session store failed");
}

#[test]
fn a_failed_store_says_what_failed_and_what_is_behind_that_is_its_source() {
    let row = kinds().into_iter().find(|row| row.1 == "decode").unwrap().0;
    let error = StoreError::new(Error::from(row));
    assert_eq!(error.to_string(), "session store: the session's `k` is not of type `u32`");
    assert!(error.get_ref().unwrap().is::<Error>());
    assert!(error.source().unwrap().is::<serde_json::Error>());
    for error in [StoreError::unsupported(), StoreError::too_large(2, 1)] {
        assert!(error.get_ref().is_none() && error.source().is_none(), "{error}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_shown_as_far_as_it_is_not_too_long() {
    let says = |path: String| ConfigError::Path(path).to_string();
    assert!(says("shop".into()).starts_with("path \"shop\": "));
    assert!(
        says(format!("{}é", "x".repeat(59))).starts_with(&format!("path \"{}\": ", "x".repeat(59))),
        "whole characters"
    );
    assert!(says("x".repeat(61)).starts_with(&format!("path \"{}\": ", "x".repeat(60))));
}
