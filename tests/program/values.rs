//! What a session holds and how a handler gets at it; damaged records (promise 16 and the session's own methods).

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::direct::{act, begin, send};
use crate::support::store::files;
use crate::support::{Backend, HOUR, Log, Setup};
use http::StatusCode;
use tower_session_layer::{Error, Session, SessionKey};

/// Runs something on the session of a token and returns the token that the client has then.
async fn with(setup: &Setup, token: Option<&str>, look: impl FnOnce(&Session) + Send + 'static) -> Option<String> {
    let answer = act(&setup.layer, token, look).await;
    assert_eq!(answer.status, StatusCode::OK);
    if answer.removes_cookie() { None } else { answer.token().or_else(|| token.map(str::to_owned)) }
}

#[tokio::test]
async fn reading_a_value_as_another_type_is_an_error_and_the_value_stays() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| {
            session.insert("name", "ada")?;
            session.flash("notice", "hi")
        });
        let token = token.await;
        setup.store.forget();
        with(&setup, Some(&token), |session| {
            const NAME: SessionKey<u32> = SessionKey::new("name");
            for (how, result) in [
                ("get", session.get::<u32>("name").map(drop)),
                ("view", session.view().get::<u32>("name").map(drop)),
                ("key", NAME.get(session).map(drop)),
                ("take", session.take::<u32>("name").map(drop)),
                ("take_flash", session.take_flash::<u32>("notice").map(drop)),
                ("update", session.update("name", |_: Option<u32>| Some(1))),
            ] {
                let error = result.unwrap_err();
                assert!(error.is_decode(), "{how}: {error}");
                assert!(!error.to_string().contains("ada"), "{how}: an error shows no value: {error}");
            }
            assert!(!session.is_changed());
            assert_eq!(session.get::<String>("name").unwrap().as_deref(), Some("ada"));
        })
        .await;
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_written_is_an_error_and_changes_nothing() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("map", 1)).await;
        with(&setup, Some(&token), |session| {
            let bad = || BTreeMap::from([((1, 2), 3)]);
            assert!(session.insert("map", bad()).is_err_and(|error| error.is_encode()));
            assert!(session.flash("map", bad()).is_err_and(|error| error.is_encode()));
            assert!(!session.is_changed());
            assert_eq!(session.get::<u8>("map").unwrap(), Some(1));
        })
        .await;
    }
}

#[tokio::test]
async fn a_value_may_write_to_the_session_while_it_is_written() {
    struct Nosy(Session);
    impl serde::Serialize for Nosy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.insert("inner", "of its own").map_err(serde::ser::Error::custom)?;
            serializer.serialize_str("as it should be")
        }
    }
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("outer", Nosy(session.clone()))).await;
        with(&setup, Some(&token), |session| {
            assert_eq!(session.get::<String>("outer").unwrap().as_deref(), Some("as it should be"));
            assert_eq!(session.get::<String>("inner").unwrap().as_deref(), Some("of its own"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_flash_value_is_found_once_by_a_later_request() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.flash("notice", "saved")).await;
        let token = with(&setup, Some(&token), |session| {
            assert!(session.is_empty() && !session.contains("notice") && !session.is_new(), "it is no value");
            session.insert("cart", 1).unwrap();
        });
        let token = token.await.unwrap();
        let token = with(&setup, Some(&token), |session| {
            assert_eq!(session.take_flash::<String>("notice").unwrap().as_deref(), Some("saved"));
            assert_eq!(session.take_flash::<String>("notice").unwrap(), None);
        });
        let token = token.await.unwrap();
        with(&setup, Some(&token), |session| {
            assert_eq!(session.take_flash::<String>("notice").unwrap(), None);
            assert_eq!(session.keys(), ["cart"]);
        })
        .await;
    }
}

#[tokio::test]
async fn values_are_taken_updated_counted_and_cleared() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = with(&setup, None, |session| {
            assert!(session.is_new() && session.is_empty() && !session.is_changed());
            session.sign_in("ada").unwrap();
            ["b", "a", "c"].into_iter().for_each(|key| session.insert(key, key).unwrap());
            assert_eq!((session.keys(), session.len()), (vec!["a".into(), "b".into(), "c".into()], 3));
            assert!(session.is_changed() && session.is_new());
        });
        let token = token.await.unwrap();
        let token = with(&setup, Some(&token), |session| {
            let view = session.view();
            assert_eq!(session.take::<String>("a").unwrap().as_deref(), Some("a"));
            assert_eq!(session.take::<String>("a").unwrap(), None);
            assert_eq!((session.remove("b").unwrap(), session.remove("b").unwrap()), (true, false));
            session.update("c", |value: Option<String>| value.map(|value| value + "!")).unwrap();
            session.update("d", |value: Option<u8>| Some(value.map_or(1, |value| value + 1))).unwrap();
            session.update("d", |value: Option<u8>| Some(value.map_or(1, |value| value + 1))).unwrap();
            session.update("e", |_: Option<u8>| None).unwrap();
            assert_eq!((view.len(), view.get::<String>("c").unwrap().as_deref()), (3, Some("c")), "a snapshot");
        });
        let token = token.await.unwrap();
        let token = with(&setup, Some(&token), |session| {
            assert_eq!(session.keys(), ["c", "d"]);
            assert_eq!(session.get::<String>("c").unwrap().as_deref(), Some("c!"));
            assert_eq!(session.get::<u8>("d").unwrap(), Some(2));
            session.flash("notice", 1).unwrap();
            session.clear().unwrap();
            assert_eq!((session.len(), session.take_flash::<u8>("notice").unwrap()), (0, None));
        });
        let token = token.await.expect("the owner stays");
        with(&setup, Some(&token), |session| {
            assert_eq!((session.len(), session.owner().as_deref()), (0, Some("ada")));
        })
        .await;
    }
}

#[tokio::test]
async fn a_typed_key_does_what_the_session_does() {
    const VISITS: SessionKey<u32> = SessionKey::new("visits");
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| {
            assert_eq!((VISITS.name(), VISITS.get(session)?), ("visits", None));
            VISITS.insert(session, 1)?;
            VISITS.update(session, |visits| visits.map(|visits| visits + 1))
        });
        let token = token.await;
        let left = with(&setup, Some(&token), |session| {
            assert_eq!(session.get::<u32>("visits").unwrap(), Some(2));
            assert_eq!((VISITS.get(session).unwrap(), VISITS.get(&session.view()).unwrap()), (Some(2), Some(2)));
            assert_eq!((VISITS.take(session).unwrap(), VISITS.remove(session).unwrap()), (Some(2), false));
        });
        assert_eq!(left.await, None, "{backend:?}: nothing is left");
    }
}

#[tokio::test]
async fn the_csrf_token_stays_until_the_session_token_is_replaced() {
    fn issue(
        setup: &Setup,
        token: Option<&str>,
        change: fn(&Session) -> Result<(), Error>,
    ) -> impl Future<Output = (String, String)> {
        let (layer, token) = (setup.layer.clone(), token.map(str::to_owned));
        async move {
            let answer = send(&layer, token.as_deref(), move |session| async move {
                change(&session)?;
                session.csrf_token()
            });
            let answer = answer.await;
            (answer.token().or(token).unwrap(), answer.body)
        }
    }
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (token, first) = issue(&setup, None, |_| Ok(())).await;
        assert_eq!(first.len(), 32, "{backend:?}");
        setup.store.forget();
        let (token, again) = issue(&setup, Some(&token), |_| Ok(())).await;
        assert_eq!((&again, setup.store.writes()), (&first, 0), "{backend:?}: an empty session is kept for it");
        let (token, again) = issue(&setup, Some(&token), |session| session.insert("cart", 1)).await;
        let (token, emptied) = issue(&setup, Some(&token), Session::clear).await;
        assert_eq!([&again, &emptied], [&first, &first], "{backend:?}");
        let (token, renewed) = issue(&setup, Some(&token), Session::renew).await;
        let (token, signed_in) = issue(&setup, Some(&token), |session| session.sign_in("ada")).await;
        assert!(first != renewed && renewed != signed_in && first != signed_in, "{backend:?}");
        with(&setup, Some(&token), move |session| {
            assert!(session.verify_csrf(&signed_in));
            let padded = format!("{signed_in}=");
            for wrong in [first.as_str(), &renewed, "", &signed_in[..31], &padded, &signed_in.to_lowercase()] {
                assert!(!session.verify_csrf(wrong), "{wrong}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn verifying_a_csrf_token_stores_nothing_and_fails_where_none_was_handed_out() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let zeros = "A".repeat(32);
        let token = begin(&setup.layer, |session| session.insert("cart", 1)).await;
        setup.store.forget();
        for token in [None, Some(token.as_str())] {
            let zeros = zeros.clone();
            with(&setup, token, move |session| assert!(!session.verify_csrf(&zeros))).await;
        }
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
    }
}

#[tokio::test]
async fn a_damaged_or_newer_record_is_absent_with_one_warning_and_is_never_written_over() {
    let damage: [(&str, fn(&mut Vec<u8>)); 5] = [
        ("newer format", |bytes| bytes[7] += 1),
        ("damaged header", |bytes| bytes[35] ^= 1),
        ("damaged values", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("cut off", |bytes| bytes.truncate(30)),
        ("empty", Vec::clear),
    ];
    for (what, change) in damage {
        let setup = Setup::with(Backend::File, |builder| builder.idle_timeout(HOUR));
        let token = begin(&setup.layer, |session| session.insert("cart", "of ada")).await;
        let file = files(setup.store.directory()).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        change(&mut bytes);
        std::fs::write(&file, &bytes).unwrap();

        let log = Log::capture();
        with(&setup, Some(&token), |session| assert!(session.is_new() && session.is_empty())).await;
        let text = log.text();
        drop(log);
        let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warnings.len(), 1, "{what}: {text}");
        let digest = digest(&file);
        assert!(warnings[0].contains(&digest[..8]) && !warnings[0].contains(&digest[..9]), "{what}: {text}");
        assert!(!text.contains(&token) && !text.contains("ada"), "{what}: {text}");

        let fresh = with(&setup, Some(&token), |session| session.insert("cart", 1).unwrap()).await.unwrap();
        assert_ne!(fresh, token, "{what}");
        with(&setup, Some(&token), |session| session.destroy().unwrap()).await;
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{what}: byte for byte");
    }
}

/// The digest that a file is named by, its first two digits being its directory's name.
fn digest(file: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    name(file.parent().unwrap()) + &name(file)
}

#[tokio::test]
async fn snapshot_shows_what_the_session_shows() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let shows = |session: &Session| {
            let view = session.view();
            assert_eq!(view.keys(), session.keys());
            assert_eq!((view.len(), view.is_empty()), (session.len(), session.is_empty()));
            assert_eq!((view.contains("a"), view.contains("b")), (session.contains("a"), session.contains("b")));
            assert_eq!((view.owner(), view.handle()), (session.owner(), session.handle()));
            assert_eq!(view.created_at(), session.created_at());
            assert_eq!(view.expires_at(), session.expires_at());
            assert_eq!(view.signed_in_at(), session.signed_in_at());
            assert_eq!((view.is_new(), view.is_unavailable()), (session.is_new(), session.is_unavailable()));
            view
        };
        let token = with(&setup, None, move |session| {
            let view = shows(session);
            assert!(view.is_new() && view.is_empty() && view.handle().is_none() && !view.is_unavailable());
            session.insert("a", 1).unwrap();
            session.sign_in("ada").unwrap();
            let view = shows(session);
            assert!(view.is_new() && view.contains("a") && !view.contains("b") && view.handle().is_some());
        });
        let token = token.await;
        with(&setup, token.as_deref(), move |session| {
            let view = shows(session);
            assert!(!view.is_new() && view.contains("a") && !view.is_empty() && view.handle().is_some());
        })
        .await;
    }
}

#[tokio::test]
async fn large_numbers_that_round_to_one_are_two() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("id", 1_u128 << 100)).await;
        let answer = act(&setup.layer, Some(&token), |session| session.insert("id", (1_u128 << 100) + 1)).await;
        let token = answer.token().unwrap_or(token);
        let read = send(&setup.layer, Some(&token), |session| async move {
            session.get::<u128>("id").unwrap().unwrap().to_string()
        });
        assert_eq!(read.await.body, ((1_u128 << 100) + 1).to_string(), "{backend:?}");
    }
}
