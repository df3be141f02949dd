//! Sessions that the client holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tower_session_layer::{CookieKey, CookieStore, ManualClock, SessionLayer};

use crate::support::DAY;
use crate::support::direct::{begin, send};

fn layer(secrets: &[u8], clock: &ManualClock) -> SessionLayer {
    let keys = secrets.iter().map(|secret| CookieKey::new(&[*secret; 32]).unwrap());
    let store = CookieStore::builder(keys).build().unwrap();
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap()
}

#[tokio::test]
async fn sl_5_whatever_does_not_open_is_answered_alike() {
    let clock = ManualClock::default();
    let layer_of = |secrets: &[u8]| layer(secrets, &clock);
    let ours = layer_of(&[1]);
    let expired = begin(&ours, |session| session.insert("a", 1)).await;
    clock.advance(8 * DAY);
    let good = begin(&ours, |session| session.insert("a", 1)).await;
    let bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let mut answers = Vec::new();
    for (what, token) in [
        ("tag", flipped(bytes.len() - 1)),
        ("contents", flipped(bytes.len() / 2)),
        ("version", flipped(0)),
        ("key id", flipped(1)),
        ("truncated", good[..good.len() / 2].to_owned()),
        ("unknown key", begin(&layer_of(&[2]), |session| session.insert("a", 1)).await),
        ("expired", expired),
        ("foreign", "A".repeat(good.len())),
    ] {
        let read = |session: tower_session_layer::Session| async move {
            format!("{:?} {} {}", session.get::<u8>("a"), session.is_new(), session.len())
        };
        let answer = send(&ours, Some(&token), read).await;
        answers.push((what, (answer.status, format!("{:?}", answer.headers), answer.body)));
    }
    for (what, answer) in &answers {
        assert_eq!(answer, &answers[0].1, "{what}");
    }
    assert!(answers[0].1.2.contains("None"), "{answers:?}");
}

#[tokio::test]
async fn sl_10_a_value_that_repeats_a_secret_takes_as_much_room_as_any_other() {
    let layer = layer(&[1], &ManualClock::default());
    let len_of = async |guess: String| {
        let begun = begin(&layer, move |session| {
            session.insert("secret", "correct horse battery staple")?;
            session.insert("guess", guess)
        });
        begun.await.len()
    };
    for times in 1..40 {
        let (repeated, other) = ("correct horse battery staple".repeat(times), "x7Qp".repeat(7 * times));
        assert_eq!(len_of(repeated).await, len_of(other).await, "{times}");
    }
}
