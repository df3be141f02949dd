//! What somebody meant who wrote something else.

/// The name that takes the fewest letters changed, left out, added or exchanged with the next, of several the first. A name
/// that holds all of what was written is nearer than any that takes two.
pub(super) fn nearest<'a>(written: &str, names: &[&'a str]) -> &'a str {
    let bytes = &written.as_bytes()[..written.len().min(MAX_LEN)];
    let far = |name: &&str| match distance(bytes, name.as_bytes()) {
        far @ 2.. if written.len() > 2 && name.contains(written) => (1, far),
        far => (far, far),
    };
    names.iter().copied().min_by_key(far).unwrap_or_default()
}

/// No name is nearly as long.
const MAX_LEN: usize = 64;

/// Optimal string alignment, a row at a time. What is written may be long, names are short.
fn distance(written: &[u8], name: &[u8]) -> usize {
    let (mut before, mut above): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=name.len()).collect());
    for (at, byte) in written.iter().enumerate() {
        let mut row = vec![at + 1];
        for (other, of_name) in name.iter().enumerate() {
            let change = above[other] + usize::from(byte != of_name);
            let mut least = change.min(above[other + 1] + 1).min(row[other] + 1);
            if at > 0 && other > 0 && (byte, &written[at - 1]) == (&name[other - 1], of_name) {
                least = least.min(before[other - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (written, name, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("idel", "idle", 1),
            ("idletimeout", "idle_timeout", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(written.as_bytes(), name.as_bytes()), letters, "{written} {name}");
        }
    }

    #[test]
    fn the_nearest_is_what_was_meant() {
        let names = ["store", "idle_timeout", "absolute_timeout"];
        assert_eq!(nearest("idle", &names), "idle_timeout");
        assert_eq!(nearest("timeout", &names), "idle_timeout", "the first");
        assert_eq!(nearest(&"é".repeat(1 << 20), &names), "store", "soon, whatever it is");
        assert_eq!(nearest("idle_timout", &names), "idle_timeout");
        assert_eq!(nearest("absoluteTimeout", &names), "absolute_timeout");
    }
}
