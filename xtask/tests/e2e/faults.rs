//! Publishing while the network dies, the registry hangs, somebody presses Ctrl-C, the disk is full or the clock jumps.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clone::Ran;
use crate::proxy::Action;
use crate::tiny::Tiny;

const PUSH: &[&str] = &["ci-build", "--mode", "push"];
const RELEASE: &[&str] = &["release"];

/// v0.1.0 is released, v0.2.0 is tested, no journal is left.
fn between_two_releases() -> Tiny {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    std::fs::remove_dir_all(tiny.path().join("target/slipway")).unwrap();
    tiny.tested("v0.2.0");
    tiny
}

/// Starts a run that the proxy may interrupt.
fn interruptible(tiny: &Tiny, args: &[&str], version: &str) -> Ran {
    let mut command = tiny.command(args);
    command.args(["--event", &format!("tag:{version}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    tiny.proxy.victim(child.id());
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_registry_that_stops_answering_is_given_up_and_nothing_is_left() {
    let tiny = between_two_releases();
    let before = tiny.state();
    // tiny-b is written, but three times nobody says what it holds; meanwhile a write of tiny-a is lost, and made again.
    let (written, reads, writes) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    tiny.proxy.rule(move |request| {
        let is = |id: &str| request.path.contains(&format!("/{id}/manifests/v0.2.0"));
        if is("tiny-a") && request.is_put() && writes.fetch_add(1, Ordering::SeqCst) == 0 {
            return Action::Hang;
        }
        let hangs = is("tiny-b") && !request.is_put() && written.load(Ordering::SeqCst);
        written.fetch_or(is("tiny-b") && request.is_put(), Ordering::SeqCst);
        if hangs && reads.fetch_add(1, Ordering::SeqCst) < 3 { Action::Hang } else { Action::Pass }
    });
    let started = Instant::now();
    let failed = tiny.push("v0.2.0").expect(1);
    assert!(started.elapsed() < Duration::from_secs(150), "{:?}", started.elapsed());
    let said = "the registry did not answer, 3 times: no answer within 20s";
    assert!(failed.stderr.contains("tiny-b:v0.2.0") && failed.stderr.contains(said), "{}", failed.stderr);
    assert_eq!(tiny.state(), before, "{}", failed.stderr);
    tiny.proxy.pass();
    tiny.push("v0.2.0").expect(0);
}

#[test]
fn a_network_that_dies_for_good_leaves_a_way_on_and_a_way_back() {
    let tiny = between_two_releases();
    let unreleased = tiny.state();
    // It has moved one tag, two, or all three and left a mark.
    for (writes, goes_on) in [(1, true), (2, false), (4, true)] {
        tiny.proxy.pass();
        tiny.push("v0.2.0").expect(0);
        let before = tiny.state();
        tiny.proxy.rule(move |request| if request.is_put() && request.puts >= writes { Action::Dead } else { Action::Pass });
        let failed = tiny.release("v0.2.0").expect(1);
        let now = tiny.state();
        let moved = now.iter().filter(|(tag, digest)| before.get(*tag) != Some(digest)).map(|(tag, _)| tag);
        let moved: Vec<&String> = moved.collect();
        assert_eq!(moved.len(), writes, "{moved:?}");
        for tag in moved {
            assert!(failed.stderr.contains(&format!("{tag}: cannot be undone: ")), "{tag}: {}", failed.stderr);
        }
        assert!(failed.stderr.contains("`cargo xtask release --undo "), "{}", failed.stderr);
        // The network is back.
        tiny.proxy.pass();
        if goes_on {
            tiny.release("v0.2.0").expect(0);
            assert_eq!(tiny.digest("tiny-b", "latest"), tiny.digest("tiny-b", "v0.2.0"));
        }
        tiny.undo().expect(0);
        assert_eq!(tiny.state(), unreleased, "after {writes} writes, went on: {goes_on}");
    }
}

#[test]
fn ctrl_c_between_two_writes_takes_back_what_was_written() {
    let tiny = between_two_releases();
    for (stage, writes) in [(PUSH, [0, 2]), (RELEASE, [1, 4])] {
        if stage == RELEASE {
            tiny.proxy.pass();
            tiny.push("v0.2.0").expect(0);
        }
        let before = tiny.state();
        for (at, during) in writes.into_iter().flat_map(|at| [(at, false), (at, true)]) {
            tiny.proxy.rule(move |request| match (request.is_put() && request.puts == at, during) {
                (false, _) => Action::Pass,
                (true, true) => Action::InterruptDuring,
                (true, false) => Action::InterruptAfter,
            });
            let interrupted = interruptible(&tiny, stage, "v0.2.0").expect(130);
            if during {
                // Whatever the registry was given has arrived by then.
                std::thread::sleep(Duration::from_millis(1200));
            }
            assert_eq!(tiny.state(), before, "{stage:?} write {at}, during: {during}: {}", interrupted.stderr);
        }
    }
    tiny.proxy.pass();
    tiny.release("v0.2.0").expect(0);
}

/// The same command on a disk with room for `left` more bytes of its journal, and for the lock. The disk is seen by
/// this process alone, and ends with it.
#[cfg(target_os = "linux")]
fn on_a_full_disk(tiny: &Tiny, args: &[&str], version: &str, left: usize) -> Ran {
    const SCRIPT: &str = r#"
        left=$1 journal=target/slipway/journal-$2.jsonl
        shift 2
        mount -t tmpfs -o size=64k none target/slipway || exit 99
        echo 0000000 >target/slipway/lock
        echo '*' >target/slipway/.gitignore
        # Remains of an earlier run, up to the end of a page.
        head -c $((4096 - left)) /dev/zero | tr '\0' x >$journal
        cat /dev/zero >target/slipway/full 2>/dev/null
        "$@"
    "#;
    let event = format!("tag:{version}");
    let plan = Ran::from(tiny.command(&["plan", "--event", &event, "--json"]).output().unwrap()).expect(0).json();
    let run = plan["builds"][0]["test"]["candidate"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let inside = tiny.command(args);
    let mut command = Command::new("unshare");
    command.args(["--mount", if is_root { "--propagation=private" } else { "--map-root-user" }, "sh", "-c", SCRIPT, "sh"]);
    command.args([&left.to_string(), &run]).arg(inside.get_program()).args(inside.get_args()).args(["--event", &event]);
    for (name, value) in inside.get_envs() {
        assert!(value.is_none());
        command.env_remove(name);
    }
    command.current_dir(tiny.path()).stdin(Stdio::null()).output().unwrap().into()
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_full_disk_nothing_is_written_that_no_journal_knows() {
    let tiny = between_two_releases();
    // No line of the journal fits, or one does and half of the next.
    for (stage, one_line) in [(PUSH, 200), (RELEASE, 290)] {
        if stage == RELEASE {
            tiny.proxy.pass();
            tiny.push("v0.2.0").expect(0);
        }
        let before = tiny.state();
        for (left, at_most) in [(0, 0), (one_line, 1)] {
            tiny.proxy.pass();
            let failed = on_a_full_disk(&tiny, stage, "v0.2.0", left).expect(1);
            let said = ["error: ", "target/slipway/journal-", "No space left on device"];
            assert!(said.iter().all(|word| failed.stderr.contains(word)), "{stage:?} {left}: {}", failed.stderr);
            // In a push the one that was written is taken away again by a write and a removal.
            let names = |id: &str| tiny.proxy.log().iter().any(|request| request.changes() && request.path.contains(id));
            let written = crate::tiny::IDS.into_iter().filter(|id| names(&format!("/{id}/"))).count();
            assert_eq!(written, at_most, "{stage:?} {left}: {}\n{:?}", failed.stderr, tiny.proxy.log());
            assert_eq!(tiny.state(), before, "{stage:?} {left}: {}", failed.stderr);
        }
    }
    tiny.release("v0.2.0").expect(0);
    assert_eq!(tiny.digest("tiny-a", "latest"), tiny.digest("tiny-a", "v0.2.0"));
}

/// A library that moves the clock of the programs it is loaded into by `SHIFT` seconds.
#[cfg(target_os = "linux")]
fn clock(tiny: &Tiny) -> std::path::PathBuf {
    const SOURCE: &str = r#"
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t id, struct timespec *at) {
            int result = syscall(SYS_clock_gettime, id, at);
            const char *shift = getenv("SHIFT");
            if (id == CLOCK_REALTIME && shift) at->tv_sec += atol(shift);
            return result;
        }
    "#;
    tiny.write("target/clock.c", SOURCE);
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "target/clock.so", "target/clock.c"])
        .current_dir(tiny.path())
        .status();
    assert!(compiled.unwrap().success());
    tiny.path().join("target/clock.so")
}

#[test]
#[cfg(target_os = "linux")]
fn whatever_the_clock_says_latest_is_the_higher_version() {
    const YEARS: i64 = 365 * 24 * 60 * 60;
    let tiny = Tiny::new();
    let clock = clock(&tiny);
    let at = |years: i64, args: &[&str], event: &str| -> Ran {
        let mut command = tiny.command(args);
        command.args(["--event", event]).env("LD_PRELOAD", &clock).env("SHIFT", (years * YEARS).to_string());
        command.output().unwrap().into()
    };
    // The library works: a manual run is named after the time.
    let now = |years: i64| {
        let plan = at(years, &["plan", "--json"], "manual").expect(0).json();
        plan["builds"][0]["test"]["candidate"].as_str().unwrap().rsplit('-').next().unwrap().to_owned()
    };
    tiny.version("v0.0.1");
    assert!(now(-20) < now(0) && now(0) < now(20), "{} {} {}", now(-20), now(0), now(20));

    // The higher version was committed 30 years before the lower one; both are pushed and released decades apart.
    for (version, committed, pushed, released) in
        [("v0.2.0", "2005-01-01T00:00:00Z", 20, -20), ("v0.1.0", "2035-01-01T00:00:00Z", -20, 20)]
    {
        let event = format!("tag:{version}");
        tiny.version(version);
        let amend = ["-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--amend", "--no-edit", "--quiet"];
        let amended = Command::new("git").args(amend).env("GIT_COMMITTER_DATE", committed).current_dir(tiny.path()).status();
        assert!(amended.unwrap().success());
        at(0, &["ci-build", "--mode", "test"], &event).expect(0);
        at(0, &["docker-test"], &event).expect(0);
        at(pushed, PUSH, &event).expect(0);
        let ran = at(released, RELEASE, &event).expect(0);
        assert!(tiny.digest("tiny-a", version).is_some());
        assert_eq!(tiny.digest("tiny-a", "latest"), tiny.digest("tiny-a", "v0.2.0"), "{version}: {}", ran.stdout);
    }
}
