//! Requests at the same time, and what they cost.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower_session_layer::{Error, OnStoreFailure, Session, TypedSession};

use super::{Shop, put, shop, start};
use crate::support::direct::{act, begin, hold, respond, values};
use crate::support::{Answer, Backend, Browser, Fault, MINUTE, Op, Setup, answer};

type Act = fn(&Session) -> Result<(), Error>;

/// Two requests that have both loaded what `start` left; the first one commits before the second.
async fn race(setup: &Setup, first: Act, second: Act) -> Value {
    let token = begin(&setup.layer, start).await;
    let (early, late) = (hold(&setup.layer, &token, first).await, hold(&setup.layer, &token, second).await);
    assert!(early.release().await.leaves_cookie());
    assert!(late.release().await.leaves_cookie());
    let mut found = values(&setup.layer, &token).await.unwrap();
    assert_eq!(found["tags"].as_object_mut().unwrap().len(), 20);
    found.as_object_mut().unwrap().remove("tags");
    found
}

#[tokio::test]
async fn fields_are_keys_and_one_that_is_missing_takes_its_default() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| {
            assert_eq!(shop(session).get()?, Shop::default());
            shop(session).edit(|shop| shop.country = Some("US".into()))
        });
        let token = token.await;
        assert_eq!(values(&setup.layer, &token).await, Some(json!({ "country": "US" })), "{backend:?}");
        act(&setup.layer, Some(&token), |session| {
            let expected = Shop { country: Some("US".into()), ..Shop::default() };
            assert_eq!(shop(session).get().unwrap(), expected);
            assert_eq!(session.view().typed::<Shop>().unwrap(), expected);
        })
        .await;
    }
}

#[tokio::test]
async fn changes_of_different_fields_both_land() {
    let rows: [(&str, Act, Act); 4] = [
        (
            "edit, edit",
            |s| shop(s).edit(|shop| shop.country = Some("FR".into())),
            |s| shop(s).edit(|shop| shop.visits = 3),
        ),
        (
            "update, update",
            |s| shop(s).update(|shop| shop.country = Some("FR".into())).map(drop),
            |s| shop(s).update(|shop| shop.visits += 3).map(drop),
        ),
        ("key, edit", |s| s.insert("country", "FR"), |s| shop(s).edit(|shop| shop.visits = 3)),
        ("update, key", |s| shop(s).update(|shop| shop.visits += 3).map(drop), |s| s.insert("country", "FR")),
    ];
    for backend in Backend::SERVER {
        for (name, one, other) in rows {
            for (first, second) in [(one, other), (other, one)] {
                let expected = json!({ "beside": "stays", "cart": { "mug": 1 }, "country": "FR", "visits": 3 });
                assert_eq!(race(&Setup::new(backend), first, second).await, expected, "{backend:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_is_left_as_it_was_is_not_overwritten_with_what_it_was() {
    let rows: [(&str, Act); 4] = [
        ("another field", |s| shop(s).edit(|shop| shop.visits = 3)),
        ("set to what it was", |s| shop(s).edit(|shop| (shop.country, shop.visits) = (Some("US".to_owned()), 3))),
        ("changed and back", |s| {
            let changed = shop(s).update(|shop| shop.visits = 3)?;
            shop(s).edit(|shop| *shop = changed)
        }),
        ("the whole struct", |s| {
            let read = shop(s).get()?;
            shop(s).edit(|shop| *shop = Shop { visits: 3, ..read })
        }),
    ];
    for backend in Backend::SERVER {
        for (name, late) in rows {
            let early: Act = |s| {
                shop(s).edit(|shop| {
                    shop.country = None;
                    put(&mut shop.cart, "pot", 1);
                })
            };
            let expected = json!({ "beside": "stays", "cart": { "mug": 1, "pot": 1 }, "country": null, "visits": 3 });
            assert_eq!(race(&Setup::new(backend), early, late).await, expected, "{backend:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_change_leaves_the_older_name_that_an_older_release_writes_meanwhile() {
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Renamed {
        #[serde(alias = "land", skip_serializing_if = "Option::is_none")]
        country: Option<String>,
        visits: u32,
    }
    fn unset(renamed: &mut Renamed) {
        renamed.country = None;
    }
    fn set(renamed: &mut Renamed) {
        renamed.country = Some("FR".into());
    }
    let unsets: [(&str, Act); 2] = [
        ("edit", |s| TypedSession::<Renamed>::from(s).edit(unset)),
        ("update", |s| TypedSession::<Renamed>::from(s).update(unset).map(drop)),
    ];
    let sets: [(&str, Act); 2] = [
        ("edit", |s| TypedSession::<Renamed>::from(s).edit(set)),
        ("update", |s| TypedSession::<Renamed>::from(s).update(set).map(drop)),
    ];
    let older: Act = |s| s.insert("land", "IT");
    let both: Act = |s| s.insert("land", "IT").and_then(|()| s.insert("country", "IT"));
    let other: Act = |s| s.insert("visits", 1);
    let rows: [(&str, [(&str, Act); 2], &str, Act, Value); 9] = [
        ("land", unsets, "older name", older, json!({ "beside": 1, "land": "IT" })),
        ("land", unsets, "both names", both, json!({ "beside": 1, "country": "IT", "land": "IT" })),
        ("land", unsets, "another field", other, json!({ "beside": 1, "land": "US", "visits": 1 })),
        ("country", unsets, "older name", older, json!({ "beside": 1, "land": "IT" })),
        ("country", unsets, "both names", both, json!({ "beside": 1, "land": "IT" })),
        ("country", unsets, "another field", other, json!({ "beside": 1, "visits": 1 })),
        ("land", sets, "older name", older, json!({ "beside": 1, "country": "FR", "land": "IT" })),
        ("country", sets, "older name", older, json!({ "beside": 1, "country": "FR", "land": "IT" })),
        ("country", sets, "both names", both, json!({ "beside": 1, "country": "FR", "land": "IT" })),
    ];
    let race = |setup: Setup, start: &'static str, change: Act, meanwhile: Act| async move {
        let token = begin(&setup.layer, move |s| s.insert(start, "US").and_then(|()| s.insert("beside", 1))).await;
        let late = hold(&setup.layer, &token, change).await;
        act(&setup.layer, Some(&token), meanwhile).await;
        assert_eq!(late.release().await.status, StatusCode::OK);
        let read = |s: &Session| assert!(TypedSession::<Renamed>::from(s).get().is_ok_and(|it| it.visits < 2));
        act(&setup.layer, Some(&token), read).await;
        values(&setup.layer, &token).await
    };
    for backend in Backend::SERVER {
        for (start, changes, other, meanwhile, expected) in &rows {
            for (what, change) in changes {
                let found = race(Setup::new(backend), start, *change, *meanwhile).await;
                assert_eq!(found.as_ref(), Some(expected), "{backend:?} {start} {what} {other}");
            }
        }
    }
}

#[tokio::test]
async fn an_edit_lands_on_a_session_that_is_the_struct_no_longer() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, start).await;
        let late = hold(layer, &token, |s| shop(s).edit(|shop| shop.country = None)).await;
        assert!(act(layer, Some(&token), |s| s.insert("visits", "many")).await.leaves_cookie());
        assert!(late.release().await.leaves_cookie(), "{backend:?}");
        let found = values(layer, &token).await.unwrap();
        assert_eq!((&found["country"], &found["visits"]), (&json!(null), &json!("many")), "{backend:?}");
    }
}

#[tokio::test]
async fn of_one_field_the_later_edit_wins_and_every_update_lands() {
    for backend in Backend::SERVER {
        let edit = |setup| async move {
            race(
                setup,
                |s| shop(s).edit(|shop| put(&mut shop.cart, "pot", 1)),
                |s| shop(s).edit(|shop| put(&mut shop.cart, "cup", 1)),
            )
            .await
        };
        assert_eq!(edit(&Setup::new(backend)).await["cart"], json!({ "mug": 1, "cup": 1 }), "{backend:?}");
        let update = |setup| async move {
            race(
                setup,
                |s| shop(s).update(|shop| put(&mut shop.cart, "mug", 1)).map(drop),
                |s| {
                    let seen = shop(s).update(|shop| put(&mut shop.cart, "mug", 1))?;
                    assert_eq!(seen.cart["mug"], 2, "what lands is three");
                    shop(s).update(|shop| put(&mut shop.cart, "cup", 1)).map(drop)
                },
            )
            .await
        };
        assert_eq!(update(&Setup::new(backend)).await["cart"], json!({ "mug": 3, "cup": 1 }), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_updates_of_two_fields_land_a_hundred_times() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::with(backend, |builder| builder.store_timeout(10 * MINUTE));
        let token = begin(layer, |session| session.insert("beside", "stays")).await;
        let barrier = Arc::new(Barrier::new(100));
        let mut requests = JoinSet::new();
        for number in 0..100_u32 {
            let barrier = Arc::clone(&barrier);
            let responding = respond(layer, Some(&token), move |session| async move {
                let updated = shop(&session).update(move |shop| {
                    shop.visits += 1;
                    put(&mut shop.cart, &format!("item{}", number % 10), 1);
                });
                barrier.wait().await;
                updated.map(drop)
            });
            requests.spawn(async move { answer(responding.await).await });
        }
        assert!(requests.join_all().await.iter().all(Answer::leaves_cookie), "{backend:?}");
        let cart: Value = (0..10).map(|item| (format!("item{item}"), json!(10))).collect();
        let expected = json!({ "beside": "stays", "cart": cart, "visits": 100 });
        assert_eq!(values(layer, &token).await, Some(expected), "{backend:?}");
    }
}

#[tokio::test]
async fn a_request_that_changes_no_field_writes_nothing() {
    let rows: [(&str, Act); 6] = [
        ("get", |s| shop(s).get().map(drop)),
        ("view", |s| s.view().typed::<Shop>().map(drop)),
        ("edit of nothing", |s| shop(s).edit(|_| ())),
        ("update of nothing", |s| shop(s).update(|_| ()).map(drop)),
        ("set to what it was", |s| shop(s).edit(|shop| shop.country = Some("US".into()))),
        // A `HashMap` that is made anew is in another order.
        ("set to the same map", |s| {
            shop(s).update(|shop| shop.tags = shop.tags.clone().into_iter().collect()).map(drop)
        }),
    ];
    for backend in Backend::ALL {
        for (name, act_so) in rows {
            let Setup { store, layer, .. } = &Setup::new(backend);
            let token = begin(layer, start).await;
            store.forget();
            assert!(act(layer, Some(&token), act_so).await.leaves_cookie(), "{backend:?} {name}");
            assert_eq!(store.writes(), 0, "{backend:?} {name}");
            // Nor does it begin a session, with whatever defaults the struct has.
            if name != "set to what it was" {
                assert!(act(layer, None, act_so).await.leaves_cookie(), "{backend:?} {name}");
                assert_eq!(store.writes(), 0, "{backend:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn all_changes_of_a_request_are_one_write_and_a_conflict_costs_one_read_and_one_write() {
    for backend in Backend::SERVER {
        let Setup { store, layer, .. } = &Setup::new(backend);
        let token = begin(layer, start).await;
        store.forget();
        let change: Act = |s| {
            shop(s).edit(|shop| (shop.country, shop.visits) = (None, 3))?;
            shop(s).update(|shop| shop.visits += 1).map(drop)
        };
        let (early, late) = (hold(layer, &token, change).await, hold(layer, &token, change).await);
        early.release().await;
        assert_eq!((store.calls(Op::Load), store.writes()), (2, 1), "{backend:?}");
        late.release().await;
        assert_eq!((store.calls(Op::Load), store.writes()), (3, 3), "{backend:?}: tried, read again, written");
    }
}

#[tokio::test]
async fn an_update_that_meets_a_value_of_another_type_fails_and_the_value_stays() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, start).await;
        let late = hold(layer, &token, |s| shop(s).update(|shop| shop.visits += 1).map(drop)).await;
        assert!(act(layer, Some(&token), |s| s.insert("visits", "many")).await.leaves_cookie());
        assert_eq!(late.release().await.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?}");
        assert_eq!(values(layer, &token).await.unwrap()["visits"], json!("many"), "{backend:?}");
    }
}

#[tokio::test]
async fn a_session_that_was_destroyed_is_not_brought_back() {
    for backend in Backend::SERVER {
        let Setup { layer, .. } = &Setup::new(backend);
        let token = begin(layer, start).await;
        let late = hold(layer, &token, |s| shop(s).update(|shop| shop.visits += 1).map(drop)).await;
        assert!(act(layer, Some(&token), Session::destroy).await.removes_cookie());
        assert!(late.release().await.leaves_cookie(), "{backend:?}");
        assert_eq!(values(layer, &token).await, None, "{backend:?}");
    }
}

#[tokio::test]
async fn the_extractor_alone_is_no_access_and_reading_is() {
    let app = || {
        Router::new()
            .route("/held", get(|_: TypedSession<Shop>| async { "held" }))
            .route("/maybe", get(|it: Option<TypedSession<Shop>>| async move { it.is_some().to_string() }))
            .route("/read", get(|it: TypedSession<Shop>| async move { it.get().map(|shop| shop.visits.to_string()) }))
            .route(
                "/visit",
                post(|it: TypedSession<Shop>| async move {
                    it.update(|shop| shop.visits += 1).map(|shop| shop.visits.to_string())
                }),
            )
    };
    for backend in Backend::ALL {
        for is_lazy in [false, true] {
            let setup = Setup::with(backend, |builder| if is_lazy { builder.lazy() } else { builder });
            let mut browser = Browser::new(app().layer(setup.layer.clone()));
            for (method, path, body, accesses) in [
                ("GET", "/held", "held", false),
                ("GET", "/maybe", "true", false),
                ("GET", "/read", "0", true),
                ("POST", "/visit", "1", true),
                ("POST", "/visit", "2", true),
                ("GET", "/read", "2", true),
                ("GET", "/held", "held", false),
            ] {
                let answer = browser.send(method, path, "").await;
                let found = (answer.status, answer.body.as_str(), answer.headers.contains_key("vary"));
                assert_eq!(found, (StatusCode::OK, body, accesses), "{backend:?} {is_lazy} {path}");
            }
        }
    }
    let mut without = Browser::new(app());
    assert_eq!(without.get("/held").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(without.get("/maybe").await.body, "false");
}

#[tokio::test]
async fn a_session_that_is_unavailable_reads_as_the_defaults_and_refuses_changes() {
    let Setup { store, layer, .. } =
        &Setup::with(Backend::Remote, |builder| builder.on_store_failure(OnStoreFailure::Continue));
    let token = begin(layer, start).await;
    store.fault(Op::Load, Fault::Fail, 1);
    act(layer, Some(&token), |session| {
        assert_eq!(shop(session).get().unwrap(), Shop::default());
        assert!(shop(session).edit(|shop| shop.visits = 1).unwrap_err().is_unavailable());
        assert!(shop(session).update(|shop| shop.visits = 1).unwrap_err().is_unavailable());
    })
    .await;
    assert_eq!(values(layer, &token).await.unwrap()["country"], json!("US"));
}
