//! Runs one test in its container, which is gone afterwards however the test ended.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::log::Log;
use super::{junit, probe};
use crate::build::health;
use crate::cmd::Cmd;
use crate::config::TestKind;
use crate::docker;
use crate::exec::{Exit, Runner};

/// What became of a test; written to target/slipway/tests.json and printed by `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub id: String,
    /// What ran.
    pub test: String,
    /// `None`: only printed.
    pub passed: Option<bool>,
    pub seconds: f64,
    /// The set of dependencies that is installed first.
    pub deps: Option<String>,
    /// Of `seconds`, installing them; `None` when that was not achieved.
    pub deps_seconds: Option<f64>,
    /// Relative to the repository.
    pub log: String,
    /// Why it did not pass.
    pub reason: Option<String>,
    /// The end of the log of a test that did not pass.
    pub tail: Vec<String>,
}

impl Outcome {
    /// What JUnit calls cases: the dependencies, then the test itself unless they failed.
    pub fn junit(&self) -> Vec<junit::Case> {
        let failure = self.reason.clone().map(|reason| (reason, self.tail.join("\n")));
        let test = |seconds, failure| junit::Case { name: self.test.clone(), seconds, failure };
        let Some(name) = self.deps.as_ref().map(|deps| format!("dependencies: {deps}")) else {
            return vec![test(self.seconds, failure)];
        };
        match self.deps_seconds {
            Some(seconds) => vec![junit::Case { name, seconds, failure: None }, test(self.seconds - seconds, failure)],
            None => vec![junit::Case { name, seconds: self.seconds, failure }],
        }
    }
}

/// Runs a test to its end.
///
/// # Errors
/// The engine does not answer, the log cannot be written, or we were interrupted. A failing test is an outcome.
pub fn run(runner: &Runner, case: &Case<'_>) -> Result<Outcome> {
    let started = Instant::now();
    let log = &mut Log::create(runner, camino::Utf8Path::new(&case.container.checkout), &case.log)?;
    log.mark = case.mark();
    let container = Removed { runner, name: &case.container.name };
    let result = match &case.test.kind {
        TestKind::Run(_) => command(runner, case, log),
        TestKind::Http { .. } | TestKind::Healthy => service(runner, case, log),
    };
    drop(container);
    let reason = result?;
    let seconds = started.elapsed().as_secs_f64();
    let failed = matches!(reason, Verdict::Failed(_));
    Ok(Outcome {
        id: case.build.id.clone(),
        test: case.what.clone(),
        passed: (reason != Verdict::Skipped).then_some(!failed),
        seconds: round(seconds),
        deps: case.deps.map(|(name, _)| name.to_owned()),
        deps_seconds: log.marked.map(|at| round(at.as_secs_f64())),
        log: case.log.strip_prefix(&case.container.checkout).unwrap_or(&case.log).to_string(),
        reason: if let Verdict::Failed(reason) = reason { Some(reason) } else { None },
        tail: if failed { log.tail() } else { Vec::new() },
    })
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped,
}

/// A test that is a command: its exit code decides.
fn command(runner: &Runner, case: &Case<'_>, log: &mut Log) -> Result<Verdict> {
    let cmd = docker::run(&case.container, &format!("test {}", case.build.id));
    let exit = attached(runner, &cmd, &case.container.name, case.test.timeout, log)?;
    if exit.code == Some(DOCKERS_OWN) {
        // An engine that went away is no failed test.
        health::engine(runner)?;
    }
    Ok(if exit.skipped {
        Verdict::Skipped
    } else if exit.ok() {
        Verdict::Passed
    } else {
        Verdict::Failed(reason(case, &cmd, &exit, &log.tail(), log.marked.is_some()))
    })
}

/// Runs a command that is attached to a container, which is removed when the time is up or we are interrupted.
pub fn attached(runner: &Runner, cmd: &Cmd, name: &str, limit: Duration, log: &mut Log) -> Result<Exit> {
    let started = Instant::now();
    // `docker run` passes signals on, and what is process 1 in a container ignores them unless it says otherwise.
    // So the container is ended, and with it `docker run`.
    let ended = || {
        let late = started.elapsed() > limit;
        if late || runner.is_interrupted() {
            remove(runner, name);
        }
        late
    };
    let exit = runner.stream_until(cmd, |line| log.line(line), ended)?;
    log.done()?;
    Ok(exit)
}

/// The exit code of `docker run` when docker itself failed.
const DOCKERS_OWN: i32 = 125;

/// Why a program was not started in its container. A program that ran may end with the same exit codes, as a shell
/// does that misses another one, so that the runtime must have said something.
///
/// <https://docs.docker.com/reference/cli/docker/container/run/#exit-status>
pub fn not_started(exit: &Exit, program: &str, tail: &[String]) -> Option<String> {
    if !matches!(exit.code, Some(126 | 127)) {
        return None;
    }
    let runtime = ["OCI runtime", "unable to start container process"];
    let said = tail.iter().rev().find(|line| runtime.iter().any(|words| line.contains(words)))?.to_lowercase();
    let absent = ["not found", "no such file or directory"].iter().any(|words| said.contains(words));
    Some(if absent { format!("the image has no program {program}") } else { format!("{program} in the image cannot be run") })
}

fn reason(case: &Case<'_>, cmd: &Cmd, exit: &Exit, tail: &[String], deps_done: bool) -> String {
    if exit.timed_out {
        return format!("not done within {}", humantime::format_duration(case.test.timeout));
    }
    let program = case.container.argv.first().map_or("", String::as_str);
    let why = match exit.code {
        Some(DOCKERS_OWN) => "docker could not run the container".into(),
        _ => not_started(exit, program, tail).unwrap_or_else(|| exit.reason(cmd)),
    };
    match case.deps {
        Some((name, _)) if !deps_done => format!("the dependencies ({name}) could not be installed: {why}"),
        _ => why,
    }
}

/// A test of the image as it starts: it has to answer, or to be healthy.
fn service(runner: &Runner, case: &Case<'_>, log: &mut Log) -> Result<Verdict> {
    let name = &case.container.name;
    let cmd = docker::start(&case.container, &format!("start {} for its test", case.build.id));
    let exit = runner.output(&cmd)?;
    if exit.skipped {
        return Ok(Verdict::Skipped);
    }
    if !exit.ok() {
        health::engine(runner)?;
        exit.stderr.lines().for_each(|line| log.line(line));
        log.done()?;
        return Ok(Verdict::Failed(format!("the container could not be started: {}", exit.reason(&cmd))));
    }
    let verdict = probe::wait(runner, name, &case.test.kind, case.test.timeout);
    // The log is wanted most when something went wrong.
    let read = runner.stream(&docker::logs(name), |line| log.line(line));
    let verdict = verdict?;
    read?;
    log.done()?;
    Ok(verdict.map_or_else(Verdict::Failed, |()| Verdict::Passed))
}

/// Removes the container when it goes out of scope: after success, failure, time-out and Ctrl-C alike.
pub struct Removed<'a> {
    pub runner: &'a Runner,
    pub name: &'a str,
}

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        remove(self.runner, self.name);
    }
}

fn remove(runner: &Runner, name: &str) {
    // Nothing to be done when it fails: the next run of this checkout looks for what is left.
    let _left = runner.output(&docker::remove_containers(&[name.to_owned()]));
}

/// Removes the containers that killed runs of this checkout, or of any, left behind.
///
/// # Errors
/// The engine does not answer, or keeps them.
pub fn sweep(runner: &Runner, checkout: Option<&str>) -> Result<()> {
    let left = runner.read(&docker::containers_of(checkout))?;
    let left: Vec<String> = left.split_whitespace().map(str::to_owned).collect();
    if left.is_empty() {
        return Ok(());
    }
    runner.read(&docker::remove_containers(&left)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_runtime_tells_that_a_program_is_absent() {
        let absent = r#"docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "pytest": executable file not found in $PATH: unknown"#;
        let denied =
            r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "./a": permission denied: unknown"#;
        for (code, line, expected) in [
            (127, absent, Some("the image has no program a")),
            (126, denied, Some("a in the image cannot be run")),
            (127, "sh: 1: pytest: not found", None),
            (1, absent, None),
        ] {
            let tail = [line.to_owned(), String::new(), "Run 'docker run --help' for more information".into()];
            let exit = Exit { code: Some(code), ..Exit::default() };
            assert_eq!(not_started(&exit, "a", &tail).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn junit_tells_failed_dependencies_from_a_failed_test() {
        let failed = |deps_seconds| Outcome {
            test: "pytest".into(),
            seconds: 3.0,
            deps: Some("ci".into()),
            deps_seconds,
            reason: Some("exit code 1".into()),
            ..Outcome::default()
        };
        let names = |outcome: Outcome| -> Vec<(String, f64, bool)> {
            outcome.junit().into_iter().map(|case| (case.name, case.seconds, case.failure.is_some())).collect()
        };
        assert_eq!(names(failed(None)), [("dependencies: ci".to_owned(), 3.0, true)]);
        assert_eq!(names(failed(Some(1.0))), [("dependencies: ci".to_owned(), 1.0, false), ("pytest".into(), 2.0, true)]);
        assert_eq!(names(Outcome { deps: None, ..failed(None) }), [("pytest".to_owned(), 3.0, true)]);
    }
}
