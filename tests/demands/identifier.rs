//! The identifier.

use crate::support::scope;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_session_layer::store::TombstoneKind;
use tower_session_layer::{MemoryStore, Refusal, SessionEvent, SessionLayer, SessionToken, TokenShape};

use crate::support::direct::{act, begin, values};
use crate::support::{Backend, HOUR, MINUTE, Setup, renewal_keys};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The tokens of so many sessions of one person, all begun in the same microsecond.
async fn tokens(count: u32) -> Vec<String> {
    let clock = tower_session_layer::ManualClock::default();
    let layer = SessionLayer::builder(MemoryStore::new()).clock(clock).cookie_name("sid").build().unwrap();
    let mut tokens = Vec::new();
    for _ in 0..count {
        tokens.push(begin(&layer, |session| session.sign_in("ada")).await);
    }
    tokens
}

#[tokio::test]
async fn sid_1_tokens_are_192_even_bits_in_an_even_alphabet() {
    const COUNT: u32 = 20_000;
    let tokens = tokens(COUNT).await;
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
    let mut digits = [[0_u32; 64]; 32];
    for token in &tokens {
        assert_eq!(token.len(), 32, "192 bits, 6 a digit");
        for (place, digit) in token.bytes().enumerate() {
            digits[place][ALPHABET.iter().position(|known| *known == digit).unwrap()] += 1;
        }
    }
    let expected = f64::from(COUNT) / 64.0;
    for (place, counts) in digits.iter().enumerate() {
        // Chi-square with 63 degrees of freedom: over 150 by chance in one of a hundred million. A fixed digit, as in a
        // UUID, has a million.
        let chi = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum::<f64>();
        assert!(chi < 150.0, "digit {place}: {chi}");
        for bit in 0..6 {
            let ones = counts.iter().enumerate().filter(|(digit, _)| digit >> bit & 1 == 1).map(|(_, count)| count);
            let mean = f64::from(ones.sum::<u32>()) / f64::from(COUNT);
            assert!((mean - 0.5).abs() < 0.025, "digit {place} bit {bit}: {mean}");
        }
    }
}

#[tokio::test]
async fn sid_3_tokens_of_one_person_in_one_moment_have_nothing_in_common() {
    let tokens = tokens(100).await;
    let common = |one: &str, other: &str| one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let same = |one: &str, other: &str| one.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
    let pairs =
        || tokens.iter().enumerate().flat_map(|(at, one)| tokens[at + 1..].iter().map(move |other| (one, other)));
    // Of 4,950 pairs, by chance one in a million has a common start of 6 digits or 10 digits in common.
    assert!(pairs().all(|(one, other)| common(one, other) < 6 && same(one, other) < 10));
    // They are no more sorted than a shuffled pack: half of the neighbours, give or take eight standard deviations.
    let rising = tokens.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((26..=74).contains(&rising), "{rising} of 99 rise");
}

#[tokio::test]
async fn sid_10_a_token_replaced_by_age_leads_on_for_its_grace_and_is_an_event_after_it() {
    for backend in Backend::SERVER {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let hook = move |event: &SessionEvent<'_>| {
            if let SessionEvent::Refused { why, .. } = event {
                heard.lock().unwrap().push(*why);
            }
        };
        let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()).on_event(hook));
        let old = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(HOUR);
        let new = act(&setup.layer, Some(&old), |session| assert_eq!(session.len(), 1)).await.token().unwrap();
        setup.clock.advance(MINUTE.checked_sub(Duration::from_micros(1)).unwrap());
        let late = act(&setup.layer, Some(&old), |session| session.insert("b", 1)).await;
        assert_eq!(late.token().as_deref(), Some(&*new), "{backend:?}: read and write, and told the new token");
        assert_eq!(values(&setup.layer, &new).await, Some(serde_json::json!({ "a": 1, "b": 1 })), "{backend:?}");
        assert_eq!(*told.lock().unwrap(), [], "{backend:?}");
        setup.clock.advance(Duration::from_micros(1));
        let answer = act(&setup.layer, Some(&old), |session| session.insert("c", 1)).await;
        assert!(answer.leaves_cookie(), "{backend:?}");
        assert_eq!(*told.lock().unwrap(), [Refusal::Dead(TombstoneKind::Forwarded)], "{backend:?}");
        assert_eq!(values(&setup.layer, &new).await, Some(serde_json::json!({ "a": 1, "b": 1 })), "{backend:?}");
    }
}

#[tokio::test]
async fn sid_15_every_guess_is_an_event_with_a_part_of_its_digest() {
    for backend in Backend::ALL {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let hook = move |event: &SessionEvent<'_>| {
            if let SessionEvent::Refused { key, .. } = event {
                heard.lock().unwrap().push(key.map(|key| key.to_string()));
            }
        };
        let setup = Setup::with(backend, |builder| builder.on_event(hook));
        let shape = if backend == Backend::Cookie { TokenShape::sealed(4_096, 1) } else { TokenShape::Random };
        let guesses: Vec<_> = (0..10).map(|n| format!("{n:032}")).collect();
        for guess in &guesses {
            act(&setup.layer, Some(guess), |_| ()).await;
            act(&setup.layer, Some(&format!("{guess}!")), |_| ()).await;
        }
        let key = |guess: &String| SessionToken::parse(guess.as_bytes(), shape, scope()).unwrap().key().hex();
        let expected: Vec<_> = guesses.iter().flat_map(|guess| [Some(key(guess)[..8].to_owned()), None]).collect();
        assert_eq!(*told.lock().unwrap(), expected, "{backend:?}");
    }
}
