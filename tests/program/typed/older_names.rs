//! Older names of a struct's fields (`serde(alias)`): they are read, and the program removes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_session_layer::TypedSession;

use super::shapes::{after, with};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Renamed {
    #[serde(rename = "countryCode", alias = "country", alias = "land", skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    visits: u32,
}

#[tokio::test]
async fn an_older_name_is_read_where_the_newer_is_missing_and_stays_as_it_is() {
    let leave = |_: &mut Renamed| ();
    let visit = |renamed: &mut Renamed| renamed.visits += 1;
    let set = |renamed: &mut Renamed| renamed.country = Some("FR".into());
    let unset = |renamed: &mut Renamed| renamed.country = None;
    let rows: [(Value, fn(&mut Renamed), Value); 9] = [
        (json!({ "country": "US" }), leave, json!({ "country": "US" })),
        (json!({ "country": "US" }), visit, json!({ "country": "US", "visits": 1 })),
        (json!({ "country": "US", "beside": 1 }), set, json!({ "country": "US", "countryCode": "FR", "beside": 1 })),
        (json!({ "country": null, "beside": 1 }), set, json!({ "country": null, "countryCode": "FR", "beside": 1 })),
        (json!({ "land": null, "countryCode": "US" }), unset, json!({ "land": null })),
        // A process of the older version wrote while one of the newer did.
        (json!({ "country": "IT", "countryCode": "US" }), leave, json!({ "country": "IT", "countryCode": "US" })),
        (json!({ "land": "IT", "countryCode": "US" }), set, json!({ "land": "IT", "countryCode": "FR" })),
        (json!({ "country": "IT", "land": "ES" }), visit, json!({ "country": "IT", "land": "ES", "visits": 1 })),
        (
            json!({ "country": "IT", "land": "ES", "countryCode": "US" }),
            set,
            json!({ "country": "IT", "land": "ES", "countryCode": "FR" }),
        ),
    ];
    for (before, change, expected) in rows {
        assert_eq!(after(before.clone(), change).await, expected, "{before}");
    }
    with(json!({ "country": "IT", "land": "ES", "countryCode": "US" }), |session| {
        for (key, read) in [("countryCode", "US"), ("country", "IT"), ("land", "ES")] {
            let country = TypedSession::<Renamed>::from(session).get().unwrap().country;
            assert_eq!(country.as_deref(), Some(read), "the newer name hides the older ones");
            session.remove(key).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_field_that_is_removed_reads_as_its_older_value_until_that_is_removed_as_well() {
    for before in [json!({ "land": "US" }), json!({ "land": "US", "countryCode": "IT" })] {
        for updates in [false, true] {
            with(before.clone(), move |session| {
                let typed = TypedSession::<Renamed>::from(session);
                let unset = |renamed: &mut Renamed| renamed.country = None;
                let outcome = if updates { typed.update(unset).map(drop) } else { typed.edit(unset) };
                outcome.unwrap();
                assert_eq!(session.keys(), ["land"]);
                assert_eq!(typed.get().unwrap().country.as_deref(), Some("US"));
                session.remove("land").unwrap();
                assert_eq!(typed.get().unwrap().country, None);
            })
            .await;
        }
    }
}

#[tokio::test]
async fn an_older_name_in_a_flattened_struct_is_hidden_as_well() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Address {
        #[serde(alias = "town", alias = "place")]
        city: String,
        zip: u32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        address: Address,
        #[serde(flatten)]
        others: BTreeMap<String, Value>,
    }
    for mut names in [
        json!({ "city": "Rome", "town": "Bonn" }),
        json!({ "city": "Rome", "town": "Bonn", "place": "Oslo" }),
        json!({ "town": "Bonn", "place": "Rome" }),
        json!({ "town": "Rome" }),
    ] {
        (names["name"], names["beside"]) = (json!("ada"), json!(1));
        let visit = |flat: &mut Flat| flat.address.zip += 1;
        let mut expected = names.clone();
        expected["zip"] = json!(1);
        assert_eq!(after::<Flat>(names.clone(), visit).await, expected);
        let mut expected = names.clone();
        expected["city"] = json!("ROME");
        let found = after::<Flat>(names.clone(), |flat| flat.address.city = flat.address.city.to_uppercase());
        assert_eq!(found.await, expected, "{names}");
        with(names, |session| {
            let others = TypedSession::<Flat>::from(session).get().unwrap().others;
            assert_eq!(others["beside"], 1, "what is no field is shown nevertheless");
        })
        .await;
    }
}

#[tokio::test]
async fn an_older_name_in_an_enum_is_hidden_as_well() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "step")]
    enum Checkout {
        Address {
            #[serde(alias = "town")]
            city: String,
            zip: u32,
        },
    }
    let before = json!({ "step": "Address", "city": "Rome", "town": "Bonn", "zip": 1 });
    let found = after::<Checkout>(before, |Checkout::Address { city, .. }| *city = city.to_uppercase());
    assert_eq!(found.await, json!({ "step": "Address", "city": "ROME", "town": "Bonn", "zip": 1 }));
}

#[tokio::test]
async fn a_duplicate_that_is_no_older_name_is_an_error() {
    #[derive(Debug)]
    struct Picky;
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::duplicate_field("a"))
        }
    }
    with(json!({ "a": 1, "b": 2 }), |session| {
        let error = session.view().typed::<Picky>().unwrap_err();
        assert!(error.is_decode(), "{error}");
    })
    .await;
}
