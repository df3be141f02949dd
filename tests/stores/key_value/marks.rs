//! The marks of revocations in a map without a clock (promise 27): each process knows those that it has seen.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use tower_session_layer::store::{Created, Record, Revocation, RevocationMark, Revoke};
use tower_session_layer::{SessionLayer, SessionStore as _, SessionToken};

use super::{ada, begun, is_in, start, token};
use crate::support::key_value::Map;
use crate::support::record::record;
use crate::support::{HOUR, MINUTE, is_alone, scope};

#[tokio::test]
async fn a_mark_of_another_process_refuses_once() {
    let (map, now) = (begun().await, start() + MINUTE);
    let store = map.store();
    assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap(), 1);
    rename_marks(&map);
    let signs_in = async |record: Arc<Record>| store.create(&token(2), &record, now).await.unwrap();
    let early = ada(2, start() + HOUR);
    assert_eq!(signs_in(early.clone()).await, Created::Revoked);
    assert_eq!(signs_in(early).await, Created::Revoked, "it began before the mark was seen");
    is_in(&signs_in(ada(2, start() + HOUR)).await);
}

/// The marks stand for as long as the owners sign in.
#[tokio::test]
async fn many_revoked_owners_do_not_keep_each_other_from_signing_in() {
    const OWNERS: u64 = 1_500;
    let (map, now) = (Map::default(), SystemTime::now());
    let (store, owners) = (map.store(), SessionLayer::new(map.store()).owners());
    // How many are refused if each owner signs in once.
    let refused = async |round: u8| {
        let mut refused = 0;
        for owner in 0..OWNERS {
            let mut token = [round; 24];
            token[..8].copy_from_slice(&owner.to_be_bytes());
            let record = record(1, Some(&owner.to_string()), "1", (now, now + HOUR)).signing_in().into();
            let created = store.create(&SessionToken::from_random(token, scope()), &record, now).await.unwrap();
            refused += u64::from(created == Created::Revoked);
        }
        refused
    };
    for owner in 0..OWNERS {
        owners.revoke_all(&owner.to_string()).await.unwrap();
    }
    assert_eq!([refused(1).await, refused(2).await], [0, 0], "this process has revoked them itself");
    rename_marks(&map);
    assert_eq!([refused(3).await, refused(4).await, refused(5).await], [OWNERS, 0, 0], "another process has");
}

/// In a process of its own, which forgets marks that other tests rely on.
#[tokio::test]
async fn no_number_of_refusals_makes_a_process_forget_its_own_revocations() {
    if !is_alone("key_value::marks::no_number_of_refusals_makes_a_process_forget_its_own_revocations") {
        return;
    }
    let (map, now) = (begun().await, start() + MINUTE);
    assert_eq!(SessionLayer::new(map.store()).owners().revoke_all("ada").await.unwrap(), 0, "they have expired");
    let early = ada(2, start() + HOUR);
    for name in 1..=150_000_u64 {
        let mut mark = RevocationMark::default().encode();
        mark[..8].copy_from_slice(&1_u64.to_be_bytes());
        mark[16..24].copy_from_slice(&name.to_be_bytes());
        let mark = RevocationMark::decode(&mark).unwrap();
        assert!(mark.refuses(&early, SystemTime::UNIX_EPOCH), "another process has revoked");
    }
    is_in(&map.store().create(&token(2), &ada(2, start() + HOUR), now).await.unwrap());
}

/// Gives each mark the name that it would have from a layer of another process.
fn rename_marks(map: &Map) {
    for (key, (_, entry)) in &mut map.state().entries {
        let Some(owner) = key.strip_prefix("owner.") else { continue };
        entry.bytes[32..40].iter_mut().for_each(|byte| *byte ^= 0x5a);
        let owner = BASE64_URL_SAFE_NO_PAD.decode(owner).unwrap();
        let digest = Sha256::new().chain_update(owner).chain_update(&entry.bytes[16..]).finalize();
        entry.bytes[8..16].copy_from_slice(&digest[..8]);
    }
}
