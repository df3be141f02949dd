//! Sample struct before, any struct after, any two requests at once: what is stored is what a merge by hand gives.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tower_session_layer::{Error, Session, TypedSession};

use crate::support::direct::{begin, hold, values};
use crate::support::{Backend, Setup};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sample {
    flag: bool,
    #[serde(rename = "text", alias = "txt", skip_serializing_if = "String::is_empty")]
    body: String,
    number: Option<i64>,
    list: Vec<u8>,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Inner {
    map: BTreeMap<String, u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maybe: Option<bool>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let inner = (prop::collection::btree_map("[ab]", 0..2_u8, 0..3), any::<Option<bool>>());
    let inner = inner.prop_map(|(map, maybe)| Inner { map, maybe });
    let number = prop::option::of(0..2_i64);
    (any::<bool>(), "[xy]?", number, prop::collection::vec(0..2_u8, 0..2), inner)
        .prop_map(|(flag, body, number, list, inner)| Sample { flag, body, number, list, inner })
}

/// The keys of a struct, and others; an older name in place of the newer one, if wished.
fn stored(sample: &Sample, with_older_name: bool) -> Map<String, Value> {
    let Value::Object(mut keys) = json!(sample) else { unreachable!() };
    if let Some(text) = keys.remove("text") {
        keys.insert(if with_older_name { "txt" } else { "text" }.into(), text);
    }
    keys.insert("beside".into(), json!([1, { "two": 3 }]));
    keys
}

/// The struct of these keys, of which only the text may be stored under an older name.
fn read(keys: &Map<String, Value>, like: &Sample) -> Sample {
    let body = keys.get("text").or_else(|| keys.get("txt")).and_then(Value::as_str);
    Sample { body: body.unwrap_or_default().into(), ..like.clone() }
}

/// What a change from one struct to the other makes of stored keys.
fn merge(into: &mut Map<String, Value>, before: &Sample, after: &Sample) {
    let (Value::Object(before), Value::Object(after)) = (json!(before), json!(after)) else { unreachable!() };
    for key in before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)) {
        match after.get(key) {
            Some(value) => into.insert(key.clone(), value.clone()),
            None => into.remove(key),
        };
    }
}

/// Whether a change from one struct to the other is any to the stored keys: an older name is not removed.
fn changes(keys: &Map<String, Value>, before: &Sample, after: &Sample) -> bool {
    let mut changed = keys.clone();
    merge(&mut changed, before, after);
    changed != *keys
}

fn set(session: &Session, to: Sample, updates: bool) -> Result<(), Error> {
    let typed = TypedSession::<Sample>::from(session);
    if updates { typed.update(move |sample| *sample = to.clone()).map(drop) } else { typed.edit(|sample| *sample = to) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_edits_at_once_merge_field_by_field(before in sample(), first in sample(), second in sample(), older in any::<bool>()) {
        let mut expected = stored(&before, older);
        let start = expected.clone();
        merge(&mut expected, &before, &first);
        if changes(&start, &before, &second) {
            merge(&mut expected, &before, &second);
        }
        let found = race(start, [(first, false), (second, false)]);
        prop_assert_eq!(found, Some(Value::Object(expected)));
    }

    #[test]
    fn an_update_that_comes_second_is_made_of_what_the_first_left(
        before in sample(), first in sample(), second in sample(), older in any::<bool>(), updates in any::<bool>(),
    ) {
        let mut expected = stored(&before, older);
        let start = expected.clone();
        merge(&mut expected, &before, &first);
        if changes(&start, &before, &second) {
            // It runs again on the newer struct.
            let newer = read(&expected, &first);
            merge(&mut expected, &newer, &second);
        }
        let found = race(start, [(first, updates), (second, true)]);
        prop_assert_eq!(found, Some(Value::Object(expected)));
    }
}

/// Two requests that have both loaded the session, and are answered one after the other.
fn race(start: Map<String, Value>, changes: [(Sample, bool); 2]) -> Option<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let Setup { layer, .. } = &Setup::new(Backend::Memory);
        let token = begin(layer, move |session| start.iter().try_for_each(|(key, value)| session.insert(key, value)));
        let token = token.await;
        let [(one, updates), (other, also)] = changes;
        let one = hold(layer, &token, move |session| set(session, one, updates)).await;
        let other = hold(layer, &token, move |session| set(session, other, also)).await;
        assert!(one.release().await.leaves_cookie() && other.release().await.leaves_cookie());
        values(layer, &token).await
    })
}
