//! What serde's attributes make of a struct, and what is no session.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_session_layer::{Error, Session, TypedSession};

use super::shop;
use crate::support::direct::{act, begin, hold, values};
use crate::support::{Backend, Setup};

/// What a session holds that began with these values, after a change in a request of its own.
pub(super) async fn after<T>(before: Value, change: fn(&mut T)) -> Value
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let mut found = Vec::new();
    for updates in [false, true] {
        let Setup { layer, .. } = &Setup::new(Backend::Memory);
        let before = before.clone();
        let token = begin(layer, move |session| fill(session, &before)).await;
        let answer = act(layer, Some(&token), move |session| {
            let typed = TypedSession::<T>::from(session);
            let mut expected = typed.get()?;
            change(&mut expected);
            if updates {
                typed.update(change).map(drop)?;
            } else {
                typed.edit(change)?;
            }
            assert_eq!(typed.get()?, expected, "what was written is what is read");
            Ok::<_, Error>(())
        });
        assert!(answer.await.leaves_cookie());
        found.push(values(layer, &token).await.unwrap());
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

fn fill(session: &Session, values: &Value) -> Result<(), Error> {
    values.as_object().unwrap().iter().try_for_each(|(key, value)| session.insert(key, value))
}

/// Works on a session that holds these values and is never stored.
pub(super) async fn with(values: Value, work: impl FnOnce(&Session) + Send + 'static) {
    act(&Setup::new(Backend::Memory).layer, None, move |session| {
        fill(session, &values).unwrap();
        work(session);
    })
    .await;
}

#[tokio::test]
async fn a_field_that_is_no_longer_written_is_removed() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        count: u32,
    }
    let found = after::<Sparse>(json!({ "name": "ada", "count": 1, "beside": 1 }), |sparse| sparse.name = None);
    assert_eq!(found.await, json!({ "count": 1, "beside": 1 }));
    let found = after::<Sparse>(json!({ "beside": 1 }), |sparse| sparse.name = Some("ada".into()));
    assert_eq!(found.await, json!({ "name": "ada", "beside": 1 }), "and `count` stays at its default");
    let found = after::<Sparse>(json!({ "name": null, "count": 1 }), |sparse| sparse.count = 2);
    assert_eq!(found.await, json!({ "name": null, "count": 2 }), "what was not touched stays as it was");
}

#[tokio::test]
async fn fields_of_a_flattened_struct_are_keys_and_a_flattened_map_holds_the_others() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Address {
        city: String,
        zip: u32,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        address: Address,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Open {
        #[serde(default)]
        name: String,
        #[serde(flatten)]
        others: BTreeMap<String, Value>,
    }
    let found =
        after::<Flat>(json!({ "name": "ada", "zip": 1, "beside": [1] }), |flat| flat.address.city = "Rome".into());
    assert_eq!(found.await, json!({ "name": "ada", "zip": 1, "city": "Rome", "beside": [1] }));
    let found = after::<Open>(json!({ "name": "ada", "a": 1, "b": 2 }), |open| {
        open.others.remove("a");
        open.others.insert("c".into(), json!({ "d": 3 }));
    });
    assert_eq!(found.await, json!({ "name": "ada", "b": 2, "c": { "d": 3 } }));
}

#[tokio::test]
async fn whatever_serde_writes_as_a_map_can_be_the_session() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "step", rename_all = "lowercase")]
    enum Checkout {
        Address { city: String },
        Payment { card: u32 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapper(BTreeMap<String, u64>);
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Strict {
        large: u128,
        text: Box<str>,
    }
    let before = json!({ "step": "address", "city": "Rome", "beside": 1 });
    let found = after::<Checkout>(before, |step| *step = Checkout::Payment { card: 4 });
    assert_eq!(found.await, json!({ "step": "payment", "card": 4, "beside": 1 }));
    let found = after::<Wrapper>(json!({ "a": 1, "b": 2 }), |map| *map.0.get_mut("b").unwrap() += 1);
    assert_eq!(found.await, json!({ "a": 1, "b": 3 }));
    let found = after::<BTreeMap<u32, u32>>(json!({ "7": 1 }), |map| _ = map.insert(8, map[&7] + 1));
    assert_eq!(found.await, json!({ "7": 1, "8": 2 }));
    let found =
        after::<BTreeMap<Option<bool>, u32>>(json!({ "true": 1 }), |map| *map.get_mut(&Some(true)).unwrap() += 1);
    assert_eq!(found.await, json!({ "true": 2 }));
    with(json!({ "beside": 1 }), |session| {
        let error = TypedSession::<BTreeMap<u32, u32>>::from(session).get().unwrap_err();
        assert!(error.is_decode(), "{error}");
        let typed = TypedSession::<Strict>::from(session);
        typed.edit(|strict| (strict.large, strict.text) = (u128::MAX, "\"\u{1F980}\\".into())).unwrap();
        assert_eq!(typed.get().unwrap(), Strict { large: u128::MAX, text: "\"\u{1F980}\\".into() });
        assert_eq!(session.get::<u128>("large").unwrap(), Some(u128::MAX), "nothing is rounded");
    })
    .await;
}

#[tokio::test]
async fn two_structs_with_fields_of_their_own_stand_side_by_side() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Theme {
        dark: bool,
    }
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, |session| session.insert("beside", 1)).await;
        let theme = |s: &Session| TypedSession::<Theme>::from(s).edit(|theme| theme.dark = true);
        let late = hold(layer, &token, theme).await;
        assert!(act(layer, Some(&token), |s| shop(s).edit(|shop| shop.visits = 1)).await.leaves_cookie());
        assert!(late.release().await.leaves_cookie());
        assert_eq!(values(layer, &token).await, Some(json!({ "beside": 1, "dark": true, "visits": 1 })));
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_that_names_the_key_and_not_the_value() {
    with(json!({ "visits": "secret", "country": "US" }), |session| {
        for error in [
            shop(session).get().unwrap_err(),
            session.view().typed::<super::Shop>().unwrap_err(),
            shop(session).edit(|shop| shop.visits = 1).unwrap_err(),
            shop(session).update(|shop| shop.visits = 1).unwrap_err(),
        ] {
            assert!(error.is_decode());
            assert_eq!(error.to_string(), "the session's `visits` does not fit `program::typed::Shop`");
            assert_eq!(error.source().unwrap().to_string(), "expected u64 at line 1 column 8");
        }
        assert_eq!(session.get::<String>("visits").unwrap().as_deref(), Some("secret"), "it stays");
        session.remove("visits").unwrap();
        assert_eq!(shop(session).get().unwrap().country.as_deref(), Some("US"));
    })
    .await;
}

#[tokio::test]
async fn a_field_that_is_missing_and_has_no_default_is_an_error_that_says_what_to_add() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Bare {
        name: String,
        nickname: Option<String>,
    }
    with(json!({ "nickname": null }), |session| {
        let bare = TypedSession::<Bare>::from(session);
        let error = bare.get().unwrap_err();
        assert!(error.is_decode() && error.to_string().ends_with("::Bare`"), "{error}");
        let expected = "missing field `name`, which has no `#[serde(default)]`";
        assert_eq!(error.source().unwrap().to_string(), expected);
        session.insert("name", "ada").unwrap();
        session.remove("nickname").unwrap();
        bare.edit(|bare| bare.nickname = Some(bare.name.clone())).unwrap();
        assert_eq!(session.get::<String>("nickname").unwrap().as_deref(), Some("ada"));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_map_is_no_session() {
    fn refused<T: Serialize + DeserializeOwned>(session: &Session) -> Error {
        TypedSession::<T>::from(session).edit(|_| ()).unwrap_err()
    }
    /// Reads as anything and writes as a list.
    #[derive(Default)]
    struct List;
    impl Serialize for List {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            [1, 2].serialize(to)
        }
    }
    impl<'de> Deserialize<'de> for List {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            serde::de::IgnoredAny::deserialize(from).map(|_| Self)
        }
    }
    with(json!({ "a": 1 }), |session| {
        for error in [refused::<u32>(session), refused::<Vec<u32>>(session), refused::<String>(session)] {
            assert!(error.is_decode() && error.to_string().starts_with("the session does not fit `"), "{error}");
            assert!(error.source().unwrap().to_string().starts_with("expected "), "{:?}", error.source());
        }
        let error = refused::<List>(session);
        assert!(error.is_encode());
        assert!(error.to_string().ends_with("::List` cannot be written as the fields of a session"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "expected a struct or a map");
        assert_eq!(session.keys(), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn what_would_be_too_large_changes_no_field_at_all() {
    let setup = Setup::with(Backend::Memory, |builder| builder.max_record_bytes(2_000));
    act(&setup.layer, None, |session| {
        let shop = shop(session);
        shop.edit(|shop| shop.country = Some("x".repeat(1_000))).unwrap();
        let before = shop.get().unwrap();
        let grow = |shop: &mut super::Shop| {
            shop.visits += 1;
            super::put(&mut shop.cart, &"y".repeat(1_000), 1);
        };
        assert!(shop.edit(grow).unwrap_err().is_too_large());
        assert!(shop.update(grow).unwrap_err().is_too_large());
        assert_eq!(shop.get().unwrap(), before);
        // What one field gives up another may take, whichever is first.
        shop.edit(|shop| {
            shop.country = None;
            grow(shop);
        })
        .unwrap();
        shop.edit(|shop| (shop.country, shop.cart) = (before.country.clone(), before.cart.clone())).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_closure_may_read_the_session_and_one_of_edit_change_it() {
    with(json!({}), |session| {
        let typed = shop(session);
        let inside = session.clone();
        let found = typed.edit(|shop| {
            inside.insert("beside", 1).unwrap();
            shop.visits = 1;
        });
        assert!(found.is_ok());
        let inside = session.clone();
        let seen = typed.update(move |shop| shop.visits += inside.get::<u64>("visits").unwrap().unwrap());
        assert_eq!((seen.unwrap().visits, typed.get().unwrap().visits), (2, 2));
        assert_eq!(session.get("beside").unwrap(), Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_view_is_unchanged_by_later_edits() {
    with(json!({ "visits": 1 }), |session| {
        let view = session.view();
        shop(session).edit(|shop| shop.visits = 2).unwrap();
        assert_eq!((view.typed::<super::Shop>().unwrap().visits, shop(session).get().unwrap().visits), (1, 2));
    })
    .await;
}
