// A list of revocations that is no store.
//~ `Vec<String>` is no session store
use tower_session_layer::{CookieKey, CookieStore};

fn revoking(key: CookieKey) {
    let _ = CookieStore::builder(key).revocations(Vec::<String>::new());
}

fn main() {
    let _ = revoking;
}
