//! A check in an image: one container for all of its lines, with the working tree at /workspace.

use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8Path;

use super::check::{self, Ended, Outcome};
use super::log::Log;
use super::run::{Removed, attached, not_started};
use crate::build::health;
use crate::docker::{self, Container};
use crate::exec::Runner;
use crate::plan::Check;

/// Where the working tree is.
const WORKSPACE: &str = "/workspace";

/// Runs a check in `image`. What one line leaves in the container, the next one finds.
///
/// # Errors
/// The engine does not answer, the log cannot be written, or we were interrupted.
pub fn run(
    runner: &Runner,
    check: &Check,
    image: &str,
    root: &Utf8Path,
    checkout: &Utf8Path,
    log: &mut Log,
) -> Result<Vec<Outcome>> {
    let started = Instant::now();
    let container = container(check, image, root, checkout, std::process::id());
    let removed = Removed { runner, name: &container.name };
    let start = docker::start(&container, &format!("start the image of check {}", check.name));
    let exit = runner.output(&start)?;
    if !exit.ok() {
        health::engine(runner)?;
    }
    exit.stderr.lines().for_each(|line| log.line(line));
    let one = |words: &[String], left: Duration, outcome: &mut Outcome| -> Result<Ended> {
        if !exit.ok() {
            outcome.tail = log.tail();
            return Ok(Some(Err(format!("the image cannot be started with `sleep`: {}", exit.reason(&start)))));
        }
        log.forget();
        let cmd = docker::exec(&container.name, words, &format!("check {}", check.name));
        let exit = attached(runner, &cmd, &container.name, left, log)?;
        outcome.tail = log.tail();
        Ok(match not_started(&exit, &words[0], &outcome.tail) {
            Some(why) => Some(Err(why)),
            None => check::ended(check, &cmd, &exit),
        })
    };
    let outcomes = check::commands(check, started, one);
    drop(removed);
    outcomes
}

/// As its user, so that what a check sees is what the image is. `sleep` ends it also when we cannot any more.
fn container(check: &Check, image: &str, root: &Utf8Path, checkout: &Utf8Path, run: u32) -> Container {
    Container {
        name: format!("slipway-check-{}-{run}", super::compose::plain(&check.name)),
        image: image.to_owned(),
        checkout: checkout.to_string(),
        workspace: Some((root.to_string(), WORKSPACE.into())),
        workdir: Some(WORKSPACE.into()),
        argv: vec!["sleep".into(), check.timeout.saturating_add(60).to_string()],
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_end_is_no_overflow() {
        let check = Check {
            name: "Lint.x".into(),
            r#in: None,
            run: Vec::new(),
            compose: None,
            services: Vec::new(),
            may_fail: false,
            timeout: u64::MAX,
        };
        let container = container(&check, "r/ci", "/a".into(), "/b".into(), 7);
        assert_eq!((container.name.as_str(), container.argv[1].as_str()), ("slipway-check-lint-x-7", "18446744073709551615"));
    }
}
