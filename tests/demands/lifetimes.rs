//! Lifetimes.

use tower_session_layer::SessionLayerBuilder;

use crate::support::direct::{act, begin};
use crate::support::{Backend, DAY, HOUR, MINUTE, Setup, TestStore};

#[tokio::test]
async fn lt_5_the_presets_are_the_numbers_of_nist() {
    type Preset = fn(SessionLayerBuilder<TestStore>) -> SessionLayerBuilder<TestStore>;
    let presets: [(Preset, _, _); 3] = [
        (SessionLayerBuilder::nist_aal1, 30 * DAY, 30 * DAY),
        (SessionLayerBuilder::nist_aal2, HOUR, DAY),
        (SessionLayerBuilder::nist_aal3, 15 * MINUTE, 12 * HOUR),
    ];
    for backend in Backend::ALL {
        for (preset, idle, absolute) in presets {
            let is_live =
                async |layer, token: &str| act(layer, Some(token), |session| session.is_new().to_string()).await;
            // Unused, it ends with the idle timeout.
            let setup = Setup::with(backend, preset);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            setup.clock.advance(idle.checked_sub(MINUTE).unwrap());
            assert_eq!(is_live(&setup.layer, &token).await.body, "false", "{backend:?} {idle:?}");
            let setup = Setup::with(backend, preset);
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            setup.clock.advance(idle);
            assert_eq!(is_live(&setup.layer, &token).await.body, "true", "{backend:?} {idle:?}");
            // However much it is used, with the absolute one.
            let setup = Setup::with(backend, preset);
            let mut token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            let steps = u32::try_from(absolute.as_secs() / (10 * 60)).unwrap();
            for step in 1..=steps {
                setup.clock.advance(10 * MINUTE);
                let answer = is_live(&setup.layer, &token).await;
                assert_eq!(answer.body, (step == steps).to_string(), "{backend:?} {absolute:?}");
                token = answer.token().unwrap_or(token);
            }
        }
    }
}

/// Clearing it is decided against: a slow request with an old cookie must not clobber that of a login.
#[tokio::test]
async fn lt_8_the_cookie_of_an_expired_session_is_left_to_its_max_age() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(8 * DAY);
        let answer = act(&setup.layer, Some(&token), |session| assert!(session.is_new())).await;
        assert!(answer.leaves_cookie(), "{backend:?}");
    }
}
