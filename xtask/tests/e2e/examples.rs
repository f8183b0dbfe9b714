//! The repositories under examples/, run for real with every event of theirs.

mod hierarchy;
mod release;
mod runtime_app;
mod services;

use std::process::Command;

use crate::clone::Ran;
use crate::tiny::Tiny;

pub fn ci(tiny: &Tiny, event: &str) -> Ran {
    xtask(tiny, &["ci", "--event", event])
}

fn xtask(tiny: &Tiny, args: &[&str]) -> Ran {
    eprintln!("$ cargo xtask {}", args.join(" "));
    let started = std::time::Instant::now();
    let ran = tiny.command(args).output().unwrap().into();
    eprintln!("  {:.1} s", started.elapsed().as_secs_f64());
    ran
}

/// Commits everything, and gives it an origin: a push is compared with what the branch had there.
fn with_origin(tiny: Tiny) -> (Tiny, tempfile::TempDir) {
    commit(&tiny, "one");
    let origin = tempfile::tempdir().unwrap();
    let path = origin.path().to_str().unwrap();
    assert!(Command::new("git").args(["init", "--quiet", "--bare", path]).status().unwrap().success());
    tiny.git(&["remote", "add", "origin", path]);
    tiny.git(&["push", "--quiet", "origin", "main"]);
    (tiny, origin)
}

/// Commits everything and pushes it to main.
fn push(tiny: &Tiny, message: &str) -> Ran {
    commit(tiny, message);
    let ran = ci(tiny, "branch:main");
    tiny.git(&["push", "--quiet", "origin", "main"]);
    ran
}

pub fn commit(tiny: &Tiny, message: &str) {
    tiny.git(&["add", "--all"]);
    tiny.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
}

/// The full sha of what is checked out.
fn head(tiny: &Tiny) -> String {
    let ran = tiny.engine("git rev-parse HEAD").expect(0);
    ran.stdout.trim().to_owned()
}

/// The builds that were started, in their order, whether a cache had their steps or not.
fn built(ran: &Ran) -> Vec<&str> {
    let rows = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| matches!(row.get(1), Some(&("built" | "cached")))).map(|row| row[0]).collect()
}
