//! Files in the directory that the store did not make, and the damage they must not do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use tower_session_layer::store::{Created, Deleted, Loaded, Updated};
use tower_session_layer::{ConfigError, FileStore, SessionStore};

use super::support::*;
use crate::support::is_alone;

#[tokio::test]
async fn modes_are_narrow_under_an_open_umask() {
    if !is_alone("file::hostile::modes_are_narrow_under_an_open_umask") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("sessions");
    rustix::process::umask(rustix::fs::Mode::empty());
    let store = FileStore::new(&base).unwrap();
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    let names = tree(dir.path());
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let mode = fs::symlink_metadata(dir.path().join(&name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, if name.ends_with('/') { 0o700 } else { 0o600 }, "{name}");
    }
}

#[tokio::test]
async fn a_symbolic_link_is_neither_followed_nor_written_through() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let path = path_of(&dir, &token(1));
    let target = dir.path().join("target");
    fs::rename(&path, &target).unwrap();
    symlink(&target, &path).unwrap();
    let bytes = fs::read(&target).unwrap();
    left_alone(&store, "symbolic link").await;
    assert_eq!(fs::read_link(&path).unwrap(), target);
    assert_eq!(fs::read(&target).unwrap(), bytes);

    let shard = path.parent().unwrap();
    fs::rename(shard, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), shard).unwrap();
    assert!(store.load(&token(1), at(0)).await.is_err(), "a linked shard cannot be asked");
    assert!(store.create(&token(1), &record(1, "1"), at(0)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_read_is_absent_and_stays_as_it_is() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    put(&store, &token(2), &record(1, "1")).await;
    let path = path_of(&dir, &token(1));
    let whole = fs::read(&path).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("cut in the header", whole[..40].to_vec()),
        ("cut in the body", whole[..whole.len() - 1].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("newer file", changed(1, 3)),
        ("damaged times", changed(15, whole[15] ^ 1)),
        ("damaged body", changed(whole.len() - 1, b'2')),
        ("foreign", b"hello, this is a long text that has nothing at all to do with sessions".to_vec()),
        ("another session's", fs::read(path_of(&dir, &token(2))).unwrap()),
    ] {
        fs::write(&path, &bytes).unwrap();
        left_alone(&store, name).await;
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    left_alone(&store, "directory").await;
    fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    left_alone(&store, "pipe").await;
}

async fn left_alone(store: &FileStore, name: &str) {
    assert_eq!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Absent, "{name}");
    assert_eq!(store.create(&token(1), &record(1, "1"), at(0)).await.unwrap(), Created::Taken, "{name}");
    assert_eq!(replace(store, &token(1), 1, 2, "2").await, Updated::Gone, "{name}");
    assert_eq!(store.touch(&token(1), version(1), at(9000), at(0)).await.unwrap(), Updated::Gone, "{name}");
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap(), Deleted::Absent, "{name}");
    assert_eq!(store.sweep(100, at(0)).await.unwrap(), 0, "{name}");
}

#[tokio::test]
async fn a_damaged_body_goes_at_its_deadline_and_a_damaged_header_stays() {
    let (dir, store) = store();
    for n in [1, 2] {
        put(&store, &token(n), &record(1, "1")).await;
        let mut bytes = fs::read(path_of(&dir, &token(n))).unwrap();
        let at = if n == 1 { bytes.len() - 1 } else { 9 };
        bytes[at] ^= 1;
        fs::write(path_of(&dir, &token(n)), &bytes).unwrap();
    }
    assert_eq!(store.sweep(100, at(3599)).await.unwrap(), 0);
    assert_eq!(store.sweep(100, at(3600)).await.unwrap(), 1);
    assert!(!path_of(&dir, &token(1)).exists() && path_of(&dir, &token(2)).exists());
    assert_eq!(store.create(&token(1), &record(2, "2"), at(3600)).await.unwrap(), Created::Stored);
}

#[tokio::test]
async fn other_names_are_left_alone() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let shard = path_of(&dir, &token(1)).parent().unwrap().to_owned();
    let upper = path_of(&dir, &token(1)).file_name().unwrap().to_str().unwrap().to_uppercase();
    fs::create_dir_all(dir.path().join("owners/00")).unwrap();
    let expired = fs::read(path_of(&dir, &token(1))).unwrap();
    let strange = [
        dir.path().join("README"),
        dir.path().join("new"),
        dir.path().join("owners/note"),
        dir.path().join("owners/00").join("0".repeat(62)),
        shard.join(upper),
        shard.join("x"),
        shard.join("0".repeat(61)),
        shard.join("0".repeat(63)),
    ];
    for path in &strange {
        fs::write(path, &expired).unwrap();
    }
    assert_eq!(store.sweep(100, at(9000)).await.unwrap(), 1);
    assert!(strange.iter().all(|path| path.exists()));
}

#[test]
fn a_directory_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/sessions".into()] {
        let refused = FileStore::new(&path).unwrap_err();
        assert!(matches!(&refused, ConfigError::Directory { path: named, .. } if *named == path), "{refused}");
    }
    let store = FileStore::new(dir.path().join("new/deeper")).unwrap();
    assert_eq!(files(dir.path()), ["file"], "the probe is gone");
    assert!(format!("{store:?}").contains("deeper"));
    symlink(dir.path().join("new"), dir.path().join("link")).unwrap();
    FileStore::new(dir.path().join("link")).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("above/sessions");
    let store = open(&base);
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    let shard = path_of_below(&base, &token(1)).parent().unwrap().to_owned();
    let owner = fs::read_dir(base.join("owners")).unwrap().next().unwrap().unwrap().path();
    for path in [&base, &base.join("owners"), &owner, &shard, &dir.path().join("above")] {
        for mode in [0o777, 0o770, 0o722, 0o720, 0o702] {
            set_mode(path, mode);
            let refused = FileStore::new(&base).unwrap_err();
            let text = refused.to_string();
            assert!(matches!(&refused, ConfigError::Directory { path: named, .. } if *named == base), "{text}");
            assert!(text.contains(&*path.to_string_lossy()), "{path:?}: {text}");
            assert!(text.contains(&format!("mode {mode:04o}")) && text.contains("chmod go-w"), "{path:?}: {text}");
        }
        set_mode(path, 0o755);
        FileStore::new(&base).unwrap();
        // Only root can give a directory away.
        if rustix::process::geteuid().is_root() {
            chown(path, Some(12_345), None).unwrap();
            let text = FileStore::new(&base).unwrap_err().to_string();
            assert!(text.contains("the user 12345") && text.contains("chown"), "{path:?}: {text}");
            chown(path, Some(0), None).unwrap();
        }
    }
    set_mode(&dir.path().join("above"), 0o1777);
    FileStore::new(&base).unwrap();
    set_mode(&base, 0o1777);
    assert!(FileStore::new(&base).is_err(), "others can still add files to a sticky directory");
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_later_is_an_error() {
    let (dir, store) = store();
    let ada = put(&store, &token(1), &owned(1, "ada", 0)).await;
    let shard = path_of(&dir, &token(1)).parent().unwrap().to_owned();
    for path in [&shard, dir.path()] {
        set_mode(path, 0o777);
        assert!(store.load(&token(1), at(0)).await.is_err(), "{path:?}");
        assert!(store.delete(&token(1).key(), MINUTE, at(0)).await.is_err(), "{path:?}");
        set_mode(path, 0o700);
    }
    set_mode(&dir.path().join("owners"), 0o770);
    assert!(store.owned("ada", at(0)).await.is_err());
    assert!(store.create(&token(2), &owned(2, "ada", 0), at(0)).await.is_err());
    set_mode(&dir.path().join("owners"), 0o700);
    assert_eq!(live(&store, &token(1), at(0)).await, ada);
}

#[tokio::test]
async fn a_record_that_others_may_have_written_is_no_session() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let path = path_of(&dir, &token(1));
    for mode in [0o620, 0o602, 0o666] {
        set_mode(&path, mode);
        left_alone(&store, &format!("{mode:o}")).await;
    }
    set_mode(&path, 0o644);
    assert_eq!(live(&store, &token(1), at(0)).await, record(1, "1"));
    if rustix::process::geteuid().is_root() {
        chown(&path, Some(12_345), None).unwrap();
        left_alone(&store, "another user's").await;
    }
}
