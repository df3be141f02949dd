//! The cookie store's keys in a file.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use tower_session_layer::CookieKey;

/// Reads the key ring, or makes a file with one new key. The first line seals; all lines open.
pub(crate) fn from_file(path: &Path) -> Result<Vec<CookieKey>, String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path).map_err(|error| format!("--key-file {}: cannot make it: {error}", path.display()))?
        }
        read => read.map_err(|error| format!("--key-file {}: cannot read it: {error}", path.display()))?,
    };
    warn_if_others_read(path);
    parse(&text).map_err(|error| format!("--key-file {}: {error}", path.display()))
}

/// Writes the key before the file gets its name, so that nobody reads half a key. If another process was faster, its key is
/// used.
fn create(path: &Path) -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let text = format!("{}\n", hex(&bytes));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The file has mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(text),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error.error),
    }
}

fn parse(text: &str) -> Result<Vec<CookieKey>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let keys: Vec<_> = lines
        .map(|(at, line)| {
            let bytes = unhex(line.trim()).filter(|bytes| (32..=64).contains(&bytes.len()));
            // The line itself is a secret, so the message does not quote it.
            let bytes = bytes.ok_or_else(|| format!("line {}: expected 64 to 128 hex digits", at + 1))?;
            CookieKey::new(&bytes).map_err(|error| format!("line {}: {error}", at + 1))
        })
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(keys) }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(unix)]
fn warn_if_others_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(path).is_ok_and(|file| Permissions::mode(&file.permissions()) & 0o077 != 0) {
        crate::warnings::add(format!("--key-file {}: others than its owner can read or write it", path.display()));
    }
}

#[cfg(not(unix))]
fn warn_if_others_read(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::{hex, parse, unhex};

    #[test]
    fn ring_has_one_key_a_line() {
        let (short, long) = ("0f".repeat(32), "A5".repeat(64));
        assert_eq!(parse(&format!("{short}\n\n  {long} \r\n")).unwrap().len(), 2);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
    }

    #[test]
    fn broken_keys_are_named_by_line_and_not_shown() {
        let good = "5a".repeat(32);
        for (name, text, said) in [
            ("empty", String::new(), "no key"),
            ("blank", "\n \n".to_owned(), "no key"),
            ("short", "5a".repeat(31), "line 1: expected 64 to 128 hex digits"),
            ("long", "5a".repeat(65), "line 1"),
            ("odd", format!("{good}5"), "line 1"),
            ("no hex", format!("{good}\n{}", "zz".repeat(32)), "line 2"),
            ("not ASCII", format!("{good}\n{}", "é".repeat(64)), "line 2"),
            ("zeros", "00".repeat(32), "line 1"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(said) && !error.contains("5a5a") && !error.contains('\n'), "{name}: {error}");
        }
    }
}
