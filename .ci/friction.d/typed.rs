// A struct without serde's derives as the session.
//~ for local types consider adding `#[derive(serde::Deserialize)]` to your `Shop` type
//~ for local types consider adding `#[derive(serde::Serialize)]` to your `Shop` type
use tower_session_layer::{Error, TypedSession};

struct Shop {
    visits: u64,
}

async fn visit(session: TypedSession<Shop>) -> Result<String, Error> {
    Ok(session.update(|shop| shop.visits += 1)?.visits.to_string())
}

fn main() {
    let _ = visit;
}
