//! What somebody meant who wrote something else.

use super::vars::names;

/// What other programs call what has another name here.
const ELSEWHERE: [(&str, &str); 12] = [
    ("url", "store"),
    ("name", "cookie_name"),
    ("secret", "cookie.keys"),
    ("secret_key", "cookie.keys"),
    ("max_age", "idle_timeout"),
    ("ttl", "idle_timeout"),
    ("secure", "insecure_http"),
    ("http_only", "insecure_script_access"),
    ("httponly", "insecure_script_access"),
    ("postgres", "sql"),
    ("mysql", "sql"),
    ("sqlite", "sql"),
];

/// The key that somebody may have meant, with its table: one that is called so elsewhere or stands in another table, otherwise
/// the one that takes the fewest letters changed, left out, added or exchanged with the next, of several the first.
///
/// `written` has a dot or underscore behind its table, if any.
pub(super) fn nearest(written: &str) -> String {
    let written = &written.to_ascii_lowercase()[..];
    let flat = written.replace('.', "_");
    let is_called =
        |elsewhere| flat.strip_suffix(elsewhere).is_some_and(|table| table.is_empty() || table.ends_with('_'));
    if let Some((_, here)) = ELSEWHERE.iter().find(|(elsewhere, _)| is_called(elsewhere)) {
        return (*here).to_owned();
    }
    let bytes = &flat.as_bytes()[..flat.len().min(MAX_LEN)];
    let far = |(variable, _): &(String, String)| {
        let name = variable.to_ascii_lowercase();
        let is_part = (flat.len() > 2 && name.contains(&flat)) || flat.ends_with(&format!("_{name}"));
        match distance(bytes, name.as_bytes()) {
            far @ 2.. if is_part => (1, far),
            far => (far, far),
        }
    };
    names().into_iter().min_by_key(far).map(|(_, path)| path).unwrap_or_default()
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
        for (written, meant) in [
            ("idle", "idle_timeout"),
            ("idle_timout", "idle_timeout"),
            ("absoluteTimeout", "absolute_timeout"),
            ("redis.pefix", "redis.prefix"),
            ("redis_pefix", "redis.prefix"),
            ("redis.idle_timeout", "idle_timeout"),
            ("redis.url", "store"),
            ("redis_url", "store"),
            ("cookie.name", "cookie_name"),
            ("cookie.same_site", "same_site"),
            ("key_file", "cookie.key_file"),
            ("prefix", "redis.prefix"),
            ("sql.tabel", "sql.table"),
            ("mysql", "sql"),
            ("Secure", "insecure_http"),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
        assert!(!nearest("").is_empty());
        assert!(!nearest(&"é".repeat(1 << 20)).is_empty(), "and soon");
    }

    #[test]
    fn what_is_called_otherwise_elsewhere_is_a_key_here() {
        let keys = names();
        for (elsewhere, here) in ELSEWHERE {
            let is_table = keys.iter().any(|(_, path)| path.split_once('.').is_some_and(|(table, _)| table == here));
            assert!(is_table || keys.iter().any(|(_, path)| path == here), "{here}");
            assert!(!keys.iter().any(|(_, path)| path == elsewhere), "{elsewhere}");
        }
    }
}
