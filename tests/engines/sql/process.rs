//! Programs that a test starts: a directory, and a guard that ends the program however the test ends.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A directory for a server, which is ended when this is dropped or the test's process is gone, even killed.
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    guard: Child,
}

impl Place {
    /// Makes a directory for a user, if this one is root; the server writes its process id to `pid_file` in it.
    pub(crate) fn new(user: &str, pid_file: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("sql").tempdir().unwrap().keep();
        if is_root() {
            run(Command::new("chown").arg(user).arg(&directory));
        }
        // Its input ends with this process. A server that was stopped must go on to be ended, and has a second to do it
        // in good order.
        let script = "read -r _; pid=$(head -n 1 \"$1/$2\"); kill -CONT $(ps -o pid= --ppid \"$pid\") \"$pid\"; \
             kill -QUIT \"$pid\"; sleep 1; kill -KILL \"$pid\"; rm -rf \"$1\"";
        let mut guard = Command::new("sh");
        guard.args(["-c", script, "sh"]).arg(&directory).arg(pid_file);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self { guard: guard.spawn().unwrap(), directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Sends a signal to the server and its children, and waits until all have stopped, for `STOP`, or ended.
    pub(crate) fn signal(&self, pid_file: &str, signal: Signal) {
        let text = std::fs::read_to_string(self.path(pid_file)).unwrap();
        let pid: i32 = text.lines().next().unwrap().trim().parse().unwrap();
        // So that it starts no child meanwhile, and leaves none behind.
        send(pid, Signal::STOP);
        for pid in children(pid).into_iter().chain([pid]) {
            send(pid, signal);
            if signal != Signal::STOP {
                send(pid, Signal::CONT);
            }
            while signal != Signal::CONT && is_running(pid) {
                std::thread::yield_now();
            }
        }
    }
}

/// A child may have ended.
fn send(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Whether a thread of a process is neither stopped nor gone.
fn is_running(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('T') && !line.contains('Z'))
    })
}

fn children(parent: i32) -> Vec<i32> {
    let parent = format!("PPid:\t{parent}");
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        status.lines().any(|line| line == parent).then(|| entry.file_name().to_str()?.parse().ok())?
    });
    pids.collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program, run by a user of the system: some refuse to run as root.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}")]).args(["--init-groups", "--"]).arg(program);
    command
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) {
    // No pipe: a server that it starts would hold it open.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// Finds a program where this package puts it, in the last of several directories, or where the shell does.
pub(crate) fn find(package: &str, directories: Vec<PathBuf>, name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = directories.into_iter().rev().chain(std::env::split_paths(&path));
    let found = all.map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this test starts `{name}`, which is not there: install the package {package}"))
}

#[test]
#[should_panic(expected = "`no-such-program`, which is not there: install the package postgresql")]
fn program_that_is_missing_fails_the_test_and_says_what_to_install() {
    find("postgresql", Vec::new(), "no-such-program");
}
