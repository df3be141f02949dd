//! The page of the guide on events, held against the source: every event has a name, and the page has exactly those.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Level and fields.
pub(crate) type Shape = (String, Vec<String>);

const PAGE: &str = include_str!("../../src/guide/events.md");

/// Every source file with its text, without what is said in comments.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((path.display().to_string(), code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50, "the whole crate is read");
    found
}

/// The arguments of a macro call, after its opening parenthesis.
fn arguments(rest: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut is_text, mut is_escaped) = (Vec::new(), 0, 0, false, false);
    for (at, char) in rest.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                found.push(rest[start..at].trim());
                return found.into_iter().filter(|argument| !argument.is_empty()).collect();
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(rest[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    panic!("a call without an end: {rest}");
}

/// The events of a text by name, and the calls that have none.
fn events(file: &str, text: &str) -> Vec<(String, Shape)> {
    let mut found = Vec::new();
    for level in ["error", "warn", "info", "debug", "trace", "event"] {
        for (at, call) in text.match_indices(&format!("{level}!(")) {
            if text[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_') {
                continue;
            }
            assert!(text[..at].ends_with("tracing::"), "{file}: write `tracing::{level}!`, so that it is found here");
            let arguments = arguments(&text[at + call.len()..]);
            let name = arguments[0].strip_prefix("name: \"").and_then(|name| name.strip_suffix('"'));
            let name = name.unwrap_or_else(|| panic!("{file}: an event without a name: {arguments:?}"));
            let fields = arguments[1..].iter().take_while(|argument| !argument.starts_with('"'));
            let fields =
                fields.map(|field| field.split('=').next().unwrap().trim().trim_start_matches(['?', '%']).into());
            found.push((name.to_owned(), (level.to_uppercase(), fields.collect())));
        }
    }
    found
}

/// The table's rows by name.
fn rows(page: &str) -> BTreeMap<String, Shape> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `session.")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, level, fields, when, advice] = cells[..] else { panic!("five cells: {line}") };
        assert!(!when.is_empty() && !advice.is_empty(), "{line}");
        let fields = fields.split(", ").map(|field| field.trim_matches('`').to_owned());
        let shape = (level.to_owned(), fields.filter(|field| !field.is_empty()).collect());
        assert!(found.insert(name.trim_matches('`').to_owned(), shape).is_none(), "twice: {line}");
    }
    found
}

/// The events of the source by name.
pub(crate) fn logged() -> BTreeMap<String, Shape> {
    let mut logged = BTreeMap::new();
    for (file, text) in sources() {
        for (name, shape) in events(&file, &text) {
            // Stores may say the same thing, and then in the same way.
            if let Some(before) = logged.insert(name.clone(), shape.clone()) {
                assert_eq!(before, shape, "{file}: {name}");
            }
        }
    }
    logged
}

#[test]
fn every_event_has_a_name_and_is_on_the_page_with_its_level_and_fields() {
    let logged = logged();
    let told = rows(PAGE);
    for (name, shape) in &logged {
        assert_eq!(told.get(name), Some(shape), "{name}, as the page has it and as it is");
    }
    for name in told.keys() {
        assert!(logged.contains_key(name), "{name} is on the page and nowhere else");
    }
    for name in logged.keys() {
        let is_plain = |char: char| char.is_ascii_lowercase() || char == '_';
        assert!(name.split('.').all(|part| !part.is_empty() && part.chars().all(is_plain)), "{name}");
    }
}

#[test]
fn the_span_has_the_fields_that_the_page_names() {
    let spans: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains("span!(")).collect();
    let [(_, text)] = spans.as_slice() else { panic!("one span, in one place") };
    let at = text.find("tracing::debug_span!(").unwrap() + "tracing::debug_span!(".len();
    let arguments = arguments(&text[at..]);
    assert_eq!(arguments[0], "\"session.commit\"");
    let (_, section) = PAGE.split_once("# The span of a commit").unwrap();
    let told = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name);
    let fields = arguments[1..].iter().map(|field| field.split('=').next().unwrap().trim());
    assert_eq!(told.collect::<Vec<_>>(), fields.collect::<Vec<_>>());
}

/// What the reader above would not let pass.
#[test]
#[should_panic(expected = "an event without a name")]
fn an_event_without_a_name_is_found() {
    events("here", "fn f() { tracing::warn!(key = ?(1, \"a)\"), \"text\"); }");
}

#[test]
fn fields_are_read_as_the_macros_read_them() {
    let text =
        "tracing::warn!(\n    name: \"a.b\",\n    key = ?token.key(1, 2), %error, ?kind, most, \"text, with (\"\n);";
    let fields = ["key", "error", "kind", "most"].map(str::to_owned).to_vec();
    assert_eq!(events("here", text), [("a.b".to_owned(), ("WARN".to_owned(), fields))]);
}
