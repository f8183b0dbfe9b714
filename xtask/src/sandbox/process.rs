//! Which processes are ours: by a mark in their environment or by their cgroup, never by a name or a remembered number.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};

/// Set for the daemons; their children inherit it. Its value is the run folder.
pub const MARK: &str = "SLIPWAY_SANDBOX";
/// The same for commands that an `up` waits for: one that outlived its `up` is in the way of the next.
pub const STEP: &str = "SLIPWAY_SANDBOX_STEP";
/// The cgroup below which the engine puts containers, also those of build steps.
pub const CGROUP: &str = "/slipway";

/// A process of ours. A zombie is none: it has no environment left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The last part of its program's path.
    pub name: String,
    pub container: bool,
}

/// Every process of ours; empty where there is no /proc.
pub fn ours(run: &Utf8Path) -> Vec<Process> {
    pids().filter(|&pid| pid != std::process::id()).filter_map(|pid| look(run, pid)).collect()
}

/// Ends commands of an `up` that was killed; to be called under the lock, when no other `up` can be running.
pub fn end_strays(run: &Utf8Path) {
    let marked = |pid: &u32| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| is_marked(&environ, STEP, run));
    for pid in pids().filter(|&pid| pid != std::process::id()).filter(marked).filter(|&pid| is_here(pid)) {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            // Gone in between is what we want.
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

/// The engine's or the registry's process, by the name of its program.
pub fn named(run: &Utf8Path, name: &str) -> Option<Process> {
    ours(run).into_iter().find(|process| !process.container && process.name == name)
}

/// A `dockerd` in our network that is not ours: a second one beside it would break both networks.
pub fn foreign_engine(run: &Utf8Path) -> Option<u32> {
    pids()
        .filter(|&pid| program(pid).as_deref() == Some("dockerd"))
        .filter(|&pid| is_in_our(pid, "net"))
        .find(|&pid| look(run, pid).is_none())
}

/// Sends `signal` to those that still are what they were.
pub fn signal(run: &Utf8Path, processes: &[Process], signal: Signal) {
    for process in processes {
        // Looked at again just before: the number may be another program's by now.
        let same = look(run, process.pid).is_some_and(|now| now.container == process.container);
        if let (true, Some(pid)) = (same, Pid::from_raw(process.pid.cast_signed())) {
            // Gone in between is what we want.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// Waits until `select` finds none of ours any more; false if some are left after `limit`.
pub fn wait_gone(run: &Utf8Path, limit: Duration, select: impl Fn(&Process) -> bool) -> bool {
    let started = Instant::now();
    while ours(run).iter().any(&select) {
        if started.elapsed() > limit {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
    true
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn look(run: &Utf8Path, pid: u32) -> Option<Process> {
    let dir = Utf8PathBuf::from(format!("/proc/{pid}"));
    let container = fs::read_to_string(dir.join("cgroup")).is_ok_and(|text| in_our_cgroup(&text));
    let marked = fs::read(dir.join("environ")).is_ok_and(|environ| is_marked(&environ, MARK, run)) && is_here(pid);
    (container || marked).then(|| Process { pid, name: program(pid).unwrap_or_default(), container })
}

/// In our network and process namespaces: a container may have a sandbox of its own, with the same mark.
fn is_here(pid: u32) -> bool {
    is_in_our(pid, "net") && is_in_our(pid, "pid")
}

fn is_in_our(pid: u32, kind: &str) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    namespace(&pid.to_string()) == namespace("self")
}

fn program(pid: u32) -> Option<String> {
    let exe = fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).ok()?;
    // The kernel appends " (deleted)" when the file was replaced.
    Some(exe.file_name()?.to_str()?.trim_end_matches(" (deleted)").to_owned())
}

fn is_marked(environ: &[u8], name: &str, run: &Utf8Path) -> bool {
    let mark = format!("{name}={run}");
    environ.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
}

/// Lines are `id:controllers:path`.
fn in_our_cgroup(text: &str) -> bool {
    let below = format!("{CGROUP}/");
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| path.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_must_match_to_the_end() {
        let run = Utf8Path::new("/run/slipway-0");
        for (environ, want) in [
            ("A=b\0SLIPWAY_SANDBOX=/run/slipway-0\0", true),
            ("SLIPWAY_SANDBOX=/run/slipway-01\0", false),
            ("X=SLIPWAY_SANDBOX=/run/slipway-0\0", false),
            ("", false),
        ] {
            assert_eq!(is_marked(environ.as_bytes(), MARK, run), want, "{environ:?}");
        }
    }

    #[test]
    fn only_cgroups_below_ours_count() {
        for (text, want) in [
            ("5:devices:/slipway/0a1b\n0::/", true),
            ("0::/slipway/buildkit/xyz\n", true),
            ("0::/docker/slipway/x", false),
            ("0::/slipway-other/x", false),
        ] {
            assert_eq!(in_our_cgroup(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_number_that_is_another_program_by_now_is_left_alone() {
        let run = Utf8Path::new("/run/slipway-test");
        let me = Process { pid: std::process::id(), name: "dockerd".into(), container: false };
        signal(run, &[me], Signal::KILL);
    }
}
