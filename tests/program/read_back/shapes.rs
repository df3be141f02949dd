//! Values of every shape that serde has: they are refused exactly if they cannot be read back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Flag(bool),
    Float(f64),
    Single(f32),
    Wide(u128, i128),
    Narrow(u8, i64, u64),
    Text(String),
    Letter(char),
    Bytes(Bytes),
    Unit((), Unit),
    Maybe { text: Option<String>, wide: Option<u128> },
    Names(BTreeMap<String, Shape>),
    Numbers(BTreeMap<i32, Option<char>>),
    Huge(BTreeMap<u128, bool>),
    Flags(BTreeMap<bool, Name>),
    Letters(BTreeMap<char, Name>),
    ByName(BTreeMap<Name, u8>),
    List(Vec<Shape>),
    Inner(Box<Shape>),
    Internal(Internal),
    Adjacent(Adjacent),
    Untagged(Untagged),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Name {
    Ada,
    Ben,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is")]
enum Internal {
    Nothing,
    Holder(Holder),
    Fields { inner: Box<Shape>, float: f64 },
    Names(BTreeMap<String, Shape>),
    Numbers(BTreeMap<u8, Name>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    held: Box<Shape>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", content = "of")]
enum Adjacent {
    Nothing,
    Inner(Box<Shape>),
    Pair(u128, f32),
    Fields { numbers: BTreeMap<i64, Shape> },
}

/// Holds nothing that serde's buffer lacks, since only the ways that know the type would refuse it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Flag(bool),
    Number(i64),
    Float(f64),
    Text(String),
    List(Vec<Option<f32>>),
    Fields { letters: BTreeMap<char, Name> },
}

/// What only the ways that know the type can judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Buffered {
    Untagged(Any),
    Flat(Flat),
    Tagged(TaggedStruct),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Wide(u128),
    Numbers(BTreeMap<u16, u8>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    own: u128,
    #[serde(flatten)]
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "version")]
struct TaggedStruct {
    wide: u128,
    numbers: BTreeMap<u16, u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        from.deserialize_byte_buf(Read)
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"\\\\/\u{0}-\u{1f}\u{7f}\u{2028}a😀]{0,8}"]
}

/// One in eight is not finite.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![7 => any::<f64>(), 1 => prop::num::f64::ANY]
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![Just(Name::Ada), Just(Name::Ben)]
}

fn map<K: Ord + Debug, V: Debug>(
    key: impl Strategy<Value = K>,
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = BTreeMap<K, V>> {
    prop::collection::btree_map(key, value, 0..3)
}

fn leaf() -> impl Strategy<Value = Shape> {
    let scalars = prop_oneof![
        Just(Shape::Nothing),
        any::<bool>().prop_map(Shape::Flag),
        float().prop_map(Shape::Float),
        any::<f32>().prop_map(Shape::Single),
        any::<(u128, i128)>().prop_map(|(one, other)| Shape::Wide(one, other)),
        any::<(u8, i64, u64)>().prop_map(|(one, two, three)| Shape::Narrow(one, two, three)),
        text().prop_map(Shape::Text),
        any::<char>().prop_map(Shape::Letter),
        any::<Vec<u8>>().prop_map(|bytes| Shape::Bytes(Bytes(bytes))),
        Just(Shape::Unit((), Unit)),
    ];
    let maps = prop_oneof![
        (prop::option::of(text()), any::<Option<u128>>()).prop_map(|(text, wide)| Shape::Maybe { text, wide }),
        map(any::<i32>(), any::<Option<char>>()).prop_map(Shape::Numbers),
        map(any::<u128>(), any::<bool>()).prop_map(Shape::Huge),
        map(any::<bool>(), name()).prop_map(Shape::Flags),
        map(any::<char>(), name()).prop_map(Shape::Letters),
        map(name(), any::<u8>()).prop_map(Shape::ByName),
    ];
    let untagged = prop_oneof![
        any::<bool>().prop_map(Untagged::Flag),
        any::<i64>().prop_map(Untagged::Number),
        float().prop_map(Untagged::Float),
        text().prop_map(Untagged::Text),
        prop::collection::vec(any::<Option<f32>>(), 0..3).prop_map(Untagged::List),
        map(any::<char>(), name()).prop_map(|letters| Untagged::Fields { letters }),
    ];
    prop_oneof![3 => scalars, 2 => maps, 1 => untagged.prop_map(Shape::Untagged)]
}

fn shape() -> impl Strategy<Value = Shape> {
    // The tag of an internally tagged map is not among the keys.
    let key = || "[a-h]{0,3}";
    let grown = leaf().prop_recursive(4, 12, 3, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let internal = prop_oneof![
            Just(Internal::Nothing),
            boxed().prop_map(|held| Internal::Holder(Holder { held })),
            (boxed(), float()).prop_map(|(inner, float)| Internal::Fields { inner, float }),
            map(key(), inner.clone()).prop_map(Internal::Names),
            map(any::<u8>(), name()).prop_map(Internal::Numbers),
        ];
        let adjacent = prop_oneof![
            Just(Adjacent::Nothing),
            boxed().prop_map(Adjacent::Inner),
            any::<(u128, f32)>().prop_map(|(one, other)| Adjacent::Pair(one, other)),
            map(any::<i64>(), inner.clone()).prop_map(|numbers| Adjacent::Fields { numbers }),
        ];
        prop_oneof![
            1 => map(text(), inner.clone()).prop_map(Shape::Names),
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Shape::List),
            2 => internal.prop_map(Shape::Internal),
            1 => adjacent.prop_map(Shape::Adjacent),
        ]
    });
    // A few are about as deep as they may be.
    let deep = (leaf(), 124..129_usize).prop_map(|(leaf, levels)| nested(leaf, levels));
    prop_oneof![9 => grown, 1 => deep]
}

/// Puts a value so many levels down.
fn nested(leaf: Shape, levels: usize) -> Shape {
    (0..levels).fold(leaf, |inner, _| Shape::Inner(inner.into()))
}

fn buffered() -> impl Strategy<Value = Buffered> {
    let numbers = || map(any::<u16>(), any::<u8>());
    prop_oneof![
        any::<u128>().prop_map(|wide| Buffered::Untagged(Any::Wide(wide))),
        numbers().prop_map(|numbers| Buffered::Untagged(Any::Numbers(numbers))),
        (any::<u128>(), shape()).prop_map(|(own, shape)| Buffered::Flat(Flat { own, shape })),
        (any::<u128>(), numbers()).prop_map(|(wide, numbers)| Buffered::Tagged(TaggedStruct { wide, numbers })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_is_refused_exactly_if_it_cannot_be_read_back(shape in shape()) {
        judge(&shape, ways())?;
    }

    #[test]
    fn whoever_knows_the_type_refuses_what_no_other_can_judge(buffered in buffered()) {
        judge(&buffered, knowing_ways())?;
    }
}

#[test]
fn the_last_levels_count_whatever_they_are() {
    for leaf in [
        Shape::Nothing,
        Shape::Bytes(Bytes(vec![1])),
        Shape::Unit((), Unit),
        Shape::Maybe { text: None, wide: None },
        Shape::List(Vec::new()),
        Shape::Numbers(BTreeMap::from([(1, None)])),
        Shape::Internal(Internal::Nothing),
        Shape::Internal(Internal::Names(BTreeMap::new())),
        Shape::Adjacent(Adjacent::Pair(1, 1.0)),
        Shape::Untagged(Untagged::List(vec![None])),
    ] {
        for levels in 124..129 {
            judge(&nested(leaf.clone(), levels), ways()).unwrap();
        }
    }
}

fn judge<T>(value: &T, ways: impl IntoIterator<Item = Way<T>>) -> Result<(), TestCaseError>
where
    T: Clone + PartialEq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let text = serde_json::to_string(value);
    let is_readable = text.is_ok_and(|text| serde_json::from_str::<T>(&text).is_ok_and(|read| read == *value));
    for (key, write, read) in ways {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (accepted, found) = runtime.block_on(async {
            // A store that keeps bytes.
            let setup = Setup::new(Backend::KeyValue);
            let (heard, written) = (Arc::new(Mutex::new(None)), value.clone());
            let say = Arc::clone(&heard);
            let answer = act(&setup.layer, None, move |session| *say.lock().unwrap() = Some(write(session, written)));
            let token = answer.await.token();
            let (accepted, say) = (heard.lock().unwrap().take().unwrap(), Arc::default());
            let found: Arc<Mutex<Option<T>>> = Arc::clone(&say);
            act(&setup.layer, token.as_deref(), move |session| *say.lock().unwrap() = read(session).unwrap()).await;
            let found = found.lock().unwrap().take();
            (accepted, found)
        });
        prop_assert_eq!(accepted.is_ok(), is_readable, "{}: {:?}", key, accepted);
        match accepted {
            Ok(()) => prop_assert_eq!(format!("{found:?}"), format!("{:?}", Some(value)), "{}", key),
            Err(error) => prop_assert!(error.is_encode() && found.is_none(), "{}: {}", key, error),
        }
    }
    Ok(())
}
