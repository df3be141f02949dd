//! Processes that are killed in mid-write, and two at once on one directory (promises 9 and 15).

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::support::MINUTE;
use crate::support::direct::{act, begin, respond, send, values};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tower_session_layer::{FileStore, Session, SessionLayer};

const DIRECTORY: &str = "SESSION_TEST_DIRECTORY";
const TOKEN: &str = "SESSION_TEST_TOKEN";
const NAME: &str = "SESSION_TEST_NAME";
const SLOTS: u64 = 8;

fn layer(directory: &Path) -> SessionLayer {
    let store = FileStore::new(directory).unwrap();
    SessionLayer::builder(store).cookie_name("sid").store_timeout(10 * MINUTE).build().unwrap()
}

/// Runs one of the tests below in a process of its own, where it finds these variables.
fn child(test: &str, directory: &Path, token: &str, name: &str) -> (Child, ChildStdin, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("kill::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(TOKEN, token)
        .env(NAME, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, input, BufReader::new(output).lines().map_while(Result::ok))
}

/// What the parent gave, in a child; `None` where the test harness runs this as any other test.
fn given() -> Option<(SessionLayer, String, String)> {
    let directory = std::env::var_os(DIRECTORY)?;
    Some((layer(directory.as_ref()), std::env::var(TOKEN).unwrap(), std::env::var(NAME).unwrap()))
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The harness has begun a line of its own.
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

/// A value that shows whether it is whole, large enough for its writing to take a while.
fn value_of(number: u64) -> Value {
    json!({ "number": number, "text": format!("{number:05}").repeat(2_000) })
}

#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some((layer, token, _)) = given() else { return };
    let latest = values(&layer, &token).await.unwrap()["latest"].as_u64().unwrap();
    for number in latest + 1.. {
        // Odd ones are acknowledged by the response, even ones by `commit()`.
        let commits = number % 2 == 0;
        let answer = send(&layer, Some(&token), move |session| async move {
            session.insert(&format!("slot{}", number % SLOTS), value_of(number))?;
            session.insert("latest", number)?;
            say("about to write");
            if commits {
                session.commit().await?;
                say(&format!("ack {number}"));
            }
            Ok::<_, tower_session_layer::Error>(())
        });
        assert!(answer.await.leaves_cookie());
        if !commits {
            say(&format!("ack {number}"));
        }
        // Creations and renewals are cut off too.
        let begun = begin(&layer, move |session| {
            session.insert("whole", value_of(number))?;
            session.sign_in("ada")
        });
        let begun = begun.await;
        say(&format!("begun {number} {begun}"));
        let renewed = act(&layer, Some(&begun), Session::renew).await.token().unwrap();
        say(&format!("renewed {number} {renewed}"));
    }
}

#[tokio::test]
async fn process_killed_a_hundred_times_in_mid_write_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let layer = layer(directory.path());
    let token = begin(&layer, |session| session.insert("latest", 0)).await;
    let shard = crate::support::store::files(directory.path())[0].parent().unwrap().to_owned();
    let (mut acknowledged, mut people) = (0, 0);
    for round in 0..100 {
        let (mut child, _input, mut lines) =
            child("child_that_writes_until_it_is_killed", directory.path(), &token, "");
        let mut said = Vec::new();
        if round % 2 == 0 {
            // As soon as anything moves beside the session's file, the child is writing it.
            said.extend(lines.by_ref().take_while(|line| line != "about to write"));
            let before = entries(&shard);
            while entries(&shard) == before {
                assert!(child.try_wait().unwrap().is_none(), "round {round}: the child ended by itself");
            }
        } else {
            let enough = 1 + round % 7;
            said.extend(lines.by_ref().filter(|line| is_news(line)).take(enough));
            assert_eq!(said.len(), enough, "round {round}: the child ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said between the last line read and its end counts as well.
        said.extend(lines);

        let mut begun = Vec::new();
        for line in said.iter().filter(|line| is_news(line)) {
            let words: Vec<&str> = line.split(' ').collect();
            let number: u64 = words[1].parse().unwrap();
            match words[0] {
                "ack" => acknowledged = number,
                "begun" => {
                    people += 1;
                    begun.push((number, words[2]));
                }
                _ => {
                    let (_, old) = begun.pop().unwrap();
                    assert_eq!(values(&layer, old).await, None, "round {round}: a renewed token is dead");
                    let found = values(&layer, words[2]).await;
                    assert_eq!(found, Some(json!({ "whole": value_of(number) })), "round {round}");
                }
            }
        }
        for (number, token) in begun {
            // The renewal was cut off, before or after the old token died.
            if let Some(found) = values(&layer, token).await {
                assert_eq!(found, json!({ "whole": value_of(number) }), "round {round}");
            }
        }
        let found = values(&layer, &token).await.expect("the session is whole");
        let latest = found["latest"].as_u64().unwrap();
        assert!(latest == acknowledged || latest == acknowledged + 1, "round {round}: {latest} of {acknowledged}");
        for number in latest.saturating_sub(SLOTS - 1).max(1)..=latest {
            assert_eq!(found[format!("slot{}", number % SLOTS)], value_of(number), "round {round}");
        }
    }
    // A record that could not be read, or was not listed, would be missing.
    assert!(layer.owners().list("ada").await.unwrap().len() >= people);
    // Files that nobody was told of are whole too.
    let files = crate::support::store::files(directory.path());
    assert!(files.len() >= people);
    for file in files {
        assert!(is_whole(&file), "{}", file.display());
    }
}

/// Whether both digests of a session's file are right: the seal of its times, and that of its name, version, owner and body.
fn is_whole(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let name: String =
        path.iter().rev().take(2).collect::<Vec<_>>().iter().rev().map(|part| part.to_str().unwrap()).collect();
    let key: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&name[2 * i..2 * i + 2], 16).unwrap()).collect();
    let of_header = Sha256::new().chain_update(&bytes[..26]).chain_update(&bytes[34..43]).finalize();
    let of_rest = Sha256::new().chain_update(key).chain_update(&bytes[2..10]).chain_update(&bytes[42..]).finalize();
    bytes.starts_with(b"s\x02") && bytes[26..34] == of_header[..8] && bytes[34..42] == of_rest[..8]
}

/// Name, inode and length of whatever is in a directory.
fn entries(directory: &Path) -> Vec<(OsString, u64, u64)> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut entries: Vec<_> = entries
        .filter_map(|entry| entry.metadata().ok().map(|metadata| (entry.file_name(), metadata.ino(), metadata.len())))
        .collect();
    entries.sort();
    entries
}

fn is_news(line: &str) -> bool {
    ["ack ", "begun ", "renewed "].iter().any(|start| line.starts_with(start))
}

#[tokio::test]
async fn child_that_shares_a_session() {
    let Some((layer, token, name)) = given() else { return };
    say("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut requests = JoinSet::new();
    for number in 0..200 {
        let key = format!("{name}{number}");
        requests.spawn(respond(&layer, Some(&token), move |session| async move { session.insert(&key, number) }));
        requests.spawn(respond(&layer, Some(&token), |session| async move {
            session.update("count", |count: Option<u64>| Some(count.unwrap_or(0) + 1))
        }));
    }
    while let Some(answer) = requests.join_next().await {
        assert!(answer.unwrap().status().is_success());
    }
}

#[tokio::test]
async fn two_processes_at_once_on_one_directory_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let layer = layer(directory.path());
    let token = begin(&layer, |session| session.insert("count", 0)).await;
    let mut children =
        ["left", "right"].map(|name| child("child_that_shares_a_session", directory.path(), &token, name));
    for (_, _, lines) in &mut children {
        assert!(lines.any(|line| line == "ready"));
    }
    for (_, input, _) in &mut children {
        input.write_all(b"go\n").unwrap();
    }
    for (mut child, _, lines) in children {
        lines.for_each(drop);
        assert!(child.wait().unwrap().success());
    }
    let mut expected = json!({ "count": 400 });
    for number in 0..200 {
        expected[format!("left{number}")] = json!(number);
        expected[format!("right{number}")] = json!(number);
    }
    assert_eq!(values(&layer, &token).await, Some(expected));
}
