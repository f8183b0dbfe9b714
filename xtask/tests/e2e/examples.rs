//! The repositories under examples/, run for real with every event of theirs.

mod hierarchy;
mod release;
mod runtime_app;
mod services;

use crate::clone::Ran;
use crate::tiny::Tiny;

fn ci(tiny: &Tiny, event: &str) -> Ran {
    xtask(tiny, &["ci", "--event", event])
}

fn xtask(tiny: &Tiny, args: &[&str]) -> Ran {
    eprintln!("$ cargo xtask {}", args.join(" "));
    let started = std::time::Instant::now();
    let ran = tiny.command(args).output().unwrap().into();
    eprintln!("  {:.1} s", started.elapsed().as_secs_f64());
    ran
}

fn commit(tiny: &Tiny, message: &str) {
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
