// A write through what can only be read.
//~ no method named `insert` found for reference `&SessionView`
use tower_session_layer::SessionView;

fn show(view: &SessionView) {
    view.insert("country", "US");
}

fn main() {
    let _ = show;
}
