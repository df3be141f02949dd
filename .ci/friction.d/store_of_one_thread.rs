// A store that stays on one thread: here the compiler's own words are the best, since they name the field.
//~ `Rc<u32>` cannot be shared between threads safely
//~ required because it appears within the type `Mine`
//~ required by a bound in `SessionStore`
//~ implement the missing item: `fn load(
use std::rc::Rc;
use tower_session_layer::SessionStore;

#[derive(Debug)]
struct Mine(Rc<u32>);

impl SessionStore for Mine {}

fn main() {}
