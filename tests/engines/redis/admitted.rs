//! A sign-in whose answer was lost after its record was written, and before its owner's list was (promise 27).

use std::sync::Arc;

use tower_session_layer::Error;

use super::faults::{layer, store};
use super::server::Server;
use crate::support::HOUR;
use crate::support::direct::{begin, send, values};

#[tokio::test]
async fn sign_in_that_was_cut_off_and_is_committed_again_is_reached_by_a_revocation() {
    for is_revoked_before in [false, true] {
        let server = Arc::new(Server::start());
        let layer = layer(&store(&server.url()).await, HOUR);
        begin(&layer, |session| session.sign_in("ada")).await;
        let list = server.list(&["KEYS", "session:owner:*"]).await.remove(0);
        assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1);
        let (redis, owners) = (Arc::clone(&server), layer.clone());
        let answer = send(&layer, None, move |session| async move {
            session.sign_in("ada")?;
            // The list cannot be written.
            redis.command(&["SET", &list, "somebody else's"]).await;
            session.commit().await.unwrap_err();
            redis.command(&["DEL", &list]).await;
            if is_revoked_before {
                assert_eq!(owners.owners().revoke_all("ada").await.unwrap(), 0);
                assert!(session.commit().await.unwrap_err().is_gone());
                return Ok("");
            }
            session.commit().await?;
            Ok::<_, Error>("welcome")
        })
        .await;
        assert_eq!(answer.token().is_some(), !is_revoked_before, "{answer:?}");
        let Some(token) = answer.token() else { continue };
        assert_eq!(answer.body, "welcome");
        assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1);
        assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1);
        assert_eq!(values(&layer, &token).await, None);
    }
}
