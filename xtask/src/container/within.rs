//! A check in an image: one container for all of its lines, with a copy of the working tree at /workspace.

use std::time::{Duration, Instant};

use anyhow::Result;
use camino::Utf8Path;

use super::check::{self, Ended, Outcome};
use super::checks::{self, Place};
use super::log::Log;
use super::run::{Removed, attached, not_started};
use super::tree::Packed;
use crate::build::{FOLDER, health};
use crate::docker::{self, Container};
use crate::exec::Runner;
use crate::plan::Check;

/// Where the copy is.
const WORKSPACE: &str = "/workspace";

/// Runs a check in `image`. What one line leaves in the container, the next one finds.
///
/// # Errors
/// The engine does not answer, the tree cannot be read, the log cannot be written, or we were interrupted.
pub fn run(runner: &Runner, check: &Check, image: &str, place: &Place<'_>, log: &mut Log) -> Result<Vec<Outcome>> {
    let container = container(check, image, place.checkout, std::process::id());
    let folder = place.checkout.join(FOLDER);
    let packed = Packed::new(runner, place.root, WORKSPACE.trim_start_matches('/'), &folder)?;
    let _removed = Removed { runner, name: &container.name };
    let fault = up(runner, check, &container, &packed, log)?;
    let one = |words: &[String], left: Duration, outcome: &mut Outcome| -> Result<Ended> {
        if let Some(fault) = &fault {
            outcome.tail = log.tail();
            return Ok(Some(Err(fault.clone())));
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
    let mut outcomes = check::commands(check, Instant::now(), one)?;
    // A container whose time was up is gone, and its copy with it.
    let is_gone = outcomes.iter().any(|outcome| outcome.reason.as_ref() == Some(&check::late(check)));
    if fault.is_none() && !is_gone {
        let started = Instant::now();
        let ended = packed.changed(runner, &container.name, WORKSPACE, &folder);
        if runner.is_interrupted() {
            ended?;
        } else {
            let ended = ended.map_err(|error| format!("it cannot be told what it changed: {error:#}"));
            outcomes.extend(checks::changed(check, started, ended.map(Option::unwrap_or_default)));
        }
    }
    Ok(outcomes)
}

/// Makes a container, copies the tree into it and starts it; or says why that failed.
fn up(runner: &Runner, check: &Check, container: &Container, packed: &Packed, log: &mut Log) -> Result<Option<String>> {
    let steps = [
        ("the container cannot be made", docker::create(container, &format!("make the container of check {}", check.name))),
        ("the working tree cannot be copied into it", docker::copy_in(&container.name, &packed.path())),
        ("the image cannot be started with `sleep`", docker::begin(&container.name, &format!("start check {}", check.name))),
    ];
    for (fault, cmd) in steps {
        let exit = runner.output(&cmd)?;
        exit.stderr.lines().for_each(|line| log.line(line));
        if !exit.ok() {
            health::engine(runner)?;
            return Ok(Some(format!("{fault}: {}", exit.reason(&cmd))));
        }
    }
    Ok(None)
}

/// As its user, so that what a check sees is what the image is. `sleep` ends it also when we cannot any more.
fn container(check: &Check, image: &str, checkout: &Utf8Path, run: u32) -> Container {
    Container {
        name: format!("slipway-check-{}-{run}", super::compose::plain(&check.name)),
        image: image.to_owned(),
        checkout: checkout.to_string(),
        workspace: Some(WORKSPACE.into()),
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
        let container = container(&check, "r/ci", "/b".into(), 7);
        assert_eq!((container.name.as_str(), container.argv[1].as_str()), ("slipway-check-lint-x-7", "18446744073709551615"));
    }
}
