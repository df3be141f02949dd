//! What is written is read back, by every way to write it; what cannot be read back is refused where it is written.

mod shapes;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Debug;

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower_session_layer::{Error, Session, SessionKey, TypedSession};

use crate::support::direct::{act, begin};
use crate::support::{Backend, Setup};

/// A struct with a value of the program as its field.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de>"))]
struct Holder<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<T>,
    beside: u8,
}

impl<T> Default for Holder<T> {
    fn default() -> Self {
        Self { field: None, beside: 0 }
    }
}

/// A way to write a value, the key that it has then, and the way to read it again.
type Way<T> = (&'static str, fn(&Session, T) -> Result<(), Error>, fn(&Session) -> Result<Option<T>, Error>);

/// Ways that know nothing but the value.
fn blind_ways<T: Serialize + DeserializeOwned>() -> [Way<T>; 2] {
    [
        ("insert", |session, value| session.insert("insert", value), |session| session.get("insert")),
        ("flash", |session, value| session.flash("flash", value), |session| session.take_flash("flash")),
    ]
}

/// Ways that know the type that will be read.
fn knowing_ways<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>() -> [Way<T>; 4] {
    [
        (
            "key",
            |session, value| SessionKey::<T>::new("key").insert(session, value),
            |session| SessionKey::<T>::new("key").get(session),
        ),
        (
            "update",
            |session, value| session.update("update", move |_: Option<T>| Some(value.clone())),
            |session| session.get("update"),
        ),
        (
            "field",
            |session, value| TypedSession::<Holder<T>>::from(session).edit(|holder| holder.field = Some(value)),
            |session| TypedSession::<Holder<T>>::from(session).get().map(|holder| holder.field),
        ),
        (
            "field",
            |session, value| {
                let typed = TypedSession::<Holder<T>>::from(session);
                typed.update(move |holder| holder.field = Some(value.clone())).map(drop)
            },
            |session| TypedSession::<Holder<T>>::from(session).get().map(|holder| holder.field),
        ),
    ]
}

/// Writes a value in these ways and reads it in the next request; asserts that nothing was refused.
async fn comes_back<T>(backend: Backend, value: T, ways: impl IntoIterator<Item = Way<T>>)
where
    T: Clone + PartialEq + Debug + Send + Sync + 'static,
{
    for (key, write, read) in ways {
        let (written, setup) = (value.clone(), Setup::new(backend));
        let token = begin(&setup.layer, move |session| write(session, written)).await;
        let value = value.clone();
        let answer = act(&setup.layer, Some(&token), move |session| {
            let found = read(session).unwrap().unwrap();
            // Debug tells the zeros apart.
            assert_eq!((format!("{found:?}"), &found), (format!("{value:?}"), &value), "{key}");
        });
        assert_eq!(answer.await.status, StatusCode::OK);
    }
}

/// Asserts that a value is refused in these ways, by an error that names the key, and that nothing is changed.
async fn is_refused<T: Clone + Send + 'static>(value: T, ways: impl IntoIterator<Item = Way<T>>, why: &'static str) {
    for (key, write, _) in ways {
        let (setup, value) = (Setup::new(Backend::Memory), value.clone());
        let answer = act(&setup.layer, None, move |session| {
            let error = write(session, value).expect_err(why);
            assert!(error.is_encode() && error.to_string().contains(&format!("`{key}`")), "{error}");
            let source = error.source().unwrap().to_string();
            assert!(source.contains(why), "{key}: {source}");
            assert!(!session.is_changed());
        });
        assert_eq!(answer.await.status, StatusCode::OK, "{why}");
    }
}

fn ways<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>() -> impl Iterator<Item = Way<T>> {
    blind_ways().into_iter().chain(knowing_ways())
}

#[tokio::test]
async fn every_float_comes_back_as_it_was() {
    for backend in Backend::ALL {
        for float in [0.999_999_999_999_999_9, 0.1 + 0.2, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e23] {
            comes_back(backend, float, ways()).await;
        }
        for float in [f32::MAX, 0.1, 16_777_217.0, 1e-45] {
            comes_back(backend, float, ways()).await;
        }
    }
}

#[tokio::test]
async fn a_float_that_is_not_finite_is_refused() {
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        is_refused(float, ways(), "not finite").await;
        is_refused(Some(vec![BTreeMap::from([("a".to_owned(), float)])]), ways(), "not finite").await;
    }
    is_refused(f32::NAN, ways(), "not finite").await;
}

/// Lists within each other, so many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Levels(Vec<Levels>);

impl Levels {
    fn new(levels: usize) -> Self {
        (1..levels).fold(Self(Vec::new()), |inner, _| Self(vec![inner]))
    }
}

#[tokio::test]
async fn as_many_levels_are_written_as_are_read() {
    for backend in Backend::ALL {
        comes_back(backend, Levels::new(127), ways()).await;
    }
    is_refused(Levels::new(128), ways(), "127 levels").await;
    is_refused(BTreeMap::from([("a".to_owned(), Levels::new(127))]), ways(), "127 levels").await;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Wide { id: u128 },
    Cart(Cart),
    Counts(BTreeMap<i16, u8>),
    Within { list: Vec<Option<BTreeMap<bool, u8>>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: BTreeMap<u64, u32>,
}

#[tokio::test]
async fn what_an_internally_tagged_enum_does_not_read_is_refused() {
    let cart = |items: &[(u64, u32)]| Cart { items: items.iter().copied().collect() };
    let within = |map: &[(bool, u8)]| Tagged::Within { list: vec![None, Some(map.iter().copied().collect())] };
    for tagged in [
        Tagged::Wide { id: 1 },
        Tagged::Cart(cart(&[(17, 2)])),
        Tagged::Counts(BTreeMap::from([(-1, 1)])),
        within(&[(true, 1)]),
    ] {
        is_refused(tagged.clone(), blind_ways(), "internally tagged").await;
        is_refused(tagged, knowing_ways(), "").await;
    }
    for tagged in [Tagged::Cart(cart(&[])), Tagged::Counts(BTreeMap::new()), within(&[])] {
        comes_back(Backend::KeyValue, tagged, ways()).await;
    }
    comes_back(Backend::KeyValue, cart(&[(17, 2)]), ways()).await;

    /// Reads its own field directly, also behind the tag.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Around {
        #[serde(flatten)]
        tagged: Tagged,
        id: u128,
    }
    let around = Around { tagged: Tagged::Cart(cart(&[])), id: u128::MAX };
    comes_back(Backend::KeyValue, around, ways()).await;
}

#[tokio::test]
async fn a_field_that_a_closure_leaves_alone_is_not_refused() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Ratios {
        usual: f64,
        own: Option<f64>,
        visits: u8,
    }
    impl Default for Ratios {
        fn default() -> Self {
            Self { usual: f64::NAN, own: None, visits: 0 }
        }
    }
    let setup = Setup::new(Backend::Memory);
    let answer = act(&setup.layer, None, |session| {
        let typed = TypedSession::<Ratios>::from(session);
        typed.edit(|ratios| ratios.visits = 1).unwrap();
        for (key, change) in [
            ("own", (|ratios| ratios.own = Some(f64::NAN)) as fn(&mut Ratios)),
            ("usual", |ratios| (ratios.usual, ratios.own) = (f64::INFINITY, Some(1.0))),
        ] {
            if key == "own" {
                let error = typed.edit(change).unwrap_err();
                assert!(error.is_encode() && error.to_string().contains("`own`"), "{error}");
            } else {
                // The field was no number before and is not stored.
                typed.edit(change).unwrap();
            }
        }
        assert_eq!(session.keys(), ["own", "visits"]);
        assert!(typed.get().unwrap().usual.is_nan());
    });
    assert_eq!(answer.await.status, StatusCode::OK);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Basket {
    total: u32,
    #[serde(flatten)]
    items: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Parcel {
    Items(BTreeMap<String, String>),
    Present(Present),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Present {
    kind: String,
}

/// What is read by way of serde's buffer is read on trial, since a key of it may be another one's.
#[tokio::test]
async fn who_knows_the_type_refuses_a_map_that_holds_the_name_of_a_field_or_of_the_tag() {
    let basket = |item: &str| Basket { total: 1, items: BTreeMap::from([(item.to_owned(), 5)]) };
    let parcel = |key: &str| Parcel::Items(BTreeMap::from([(key.to_owned(), "x".to_owned())]));
    comes_back(Backend::Memory, basket("tea"), ways()).await;
    comes_back(Backend::Memory, parcel("tea"), ways()).await;
    is_refused(basket("total"), knowing_ways(), "unexpected value").await;
    is_refused(parcel("kind"), knowing_ways(), "unexpected value").await;
    is_refused(Parcel::Present(Present { kind: "x".to_owned() }), knowing_ways(), "unexpected value").await;
}
