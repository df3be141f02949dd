//! What the rows held, and whose a token is (promises 6 and 10).

/// Makes a test of each rule; `sql_rules!` has its arguments.
macro_rules! token_rules {
    ($store:ident, $pool:expr) => {
        mod tokens {
            use tower_session_layer::{ManualClock, Sealed, SessionLayer, SessionStore};

            use super::*;
            use crate::support::dump::{nothing_leads_on, tokens};
            use crate::support::two_cookies::tokens_stay_with_their_cookie;
            use crate::support::{HOUR, renewal_keys};

            async fn store<K>((pool, kept): (Pool, K)) -> ($store, String, K) {
                let table = unique("tokens");
                let store = $store::builder(pool).table(&table).build().unwrap();
                store.migrate().await.unwrap();
                (store, table, kept)
            }

            /// A layer that replaces tokens because of their age.
            pub(super) fn renewing(store: impl SessionStore, clock: &ManualClock) -> SessionLayer {
                let builder = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR);
                builder.renew_after(HOUR, renewal_keys()).build().unwrap()
            }

            #[tokio::test]
            async fn no_old_token_opens_a_newer_one_in_any_row() {
                for is_sealed in [false, true] {
                    let ((store, table, _kept), clock) = (store($pool).await, ManualClock::default());
                    let layer = if is_sealed {
                        renewing(Sealed::new(store.clone()).unwrap(), &clock)
                    } else {
                        renewing(store.clone(), &clock)
                    };
                    let mut written = Vec::new();
                    let note = async || {
                        for column in ["id", "owner", "handle", "body"] {
                            let select = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
                            let select = sqlx::query_scalar(sqlx::AssertSqlSafe(select));
                            let rows: Vec<Vec<u8>> = select.fetch_all(store.pool()).await.unwrap();
                            written.extend(rows);
                        }
                    };
                    let tokens = tokens(&layer, &clock, note).await;
                    assert!(written.len() > 4 * tokens.len());
                    nothing_leads_on(&written, &tokens, "rows");
                }
            }

            #[tokio::test]
            async fn the_token_of_one_cookie_is_absence_in_another() {
                let (store, _, _kept) = store($pool).await;
                tokens_stay_with_their_cookie(store, "a table").await;
            }
        }
    };
}
