//! A check's command lines, one after another within its time, wherever they run; and what became of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::{Exit, Runner};
use crate::plan::Check;
use crate::receipt::Tested;
use crate::report;

/// What names of checks begin with in receipts, where tests stand beside them.
pub const IN_RECEIPTS: &str = "check ";

/// What became of a command line of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub check: String,
    pub command: String,
    /// `None`: not run, because one before it failed or because of `--dry-run`.
    pub passed: Option<bool>,
    pub may_fail: bool,
    pub seconds: f64,
    /// Why it did not pass.
    pub reason: Option<String>,
    /// Relative to the repository; null where the output went to the terminal.
    pub log: Option<String>,
    /// The end of the log of what did not pass.
    pub tail: Vec<String>,
}

impl Outcome {
    /// Not run yet.
    pub fn new(check: &Check, command: &str) -> Outcome {
        Outcome {
            check: check.name.clone(),
            command: command.to_owned(),
            passed: None,
            may_fail: check.may_fail,
            seconds: 0.0,
            reason: None,
            log: None,
            tail: Vec::new(),
        }
    }

    pub fn end(&mut self, started: Instant, ended: Ended) {
        self.seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        self.passed = ended.as_ref().map(Result::is_ok);
        self.reason = ended.and_then(Result::err);
    }

    pub fn failed(&self) -> bool {
        self.passed == Some(false)
    }

    /// For receipts; what may fail is no part of them.
    pub fn tested(&self) -> Option<Tested> {
        let name = format!("{IN_RECEIPTS}{}: {}", self.check, self.command);
        Some(Tested { name, passed: self.passed.filter(|_| !self.may_fail)?, seconds: self.seconds })
    }
}

/// `None`: only printed. `Err`: why it did not pass.
pub type Ended = Option<Result<(), String>>;

/// Runs the lines; the first that fails is the last. What was used of the check's time since `started` is gone.
///
/// # Errors
/// Those of `one`; a line that cannot be split is a usage fault.
pub fn commands(
    check: &Check,
    started: Instant,
    mut one: impl FnMut(&[String], Duration, &mut Outcome) -> Result<Ended>,
) -> Result<Vec<Outcome>> {
    let limit = Duration::from_secs(check.timeout);
    let mut outcomes = Vec::new();
    for command in &check.run {
        let mut outcome = Outcome::new(check, command);
        if !outcomes.iter().any(Outcome::failed) {
            let words = shell_words::split(command)
                .with_context(|| Fault::usage(format!("cannot split the command of check {}: {command}", check.name)))?;
            report::note(&format!("== {}: {command}", check.name));
            let begun = Instant::now();
            let ended = match words.is_empty() {
                true => Some(Err("the command is empty".into())),
                false => one(&words, limit.saturating_sub(started.elapsed()), &mut outcome)?,
            };
            outcome.end(begun, ended);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Runs one line on this machine.
///
/// # Errors
/// We were interrupted.
pub fn here(runner: &Runner, check: &Check, cmd: &Cmd, on_line: impl FnMut(&str)) -> Result<Ended> {
    if runner.which(&cmd.file()).is_none() {
        return Ok(Some(Err(format!("{} is not installed", cmd.program))));
    }
    let exit = runner.stream(cmd, on_line)?;
    Ok(ended(check, cmd, &exit))
}

pub fn ended(check: &Check, cmd: &Cmd, exit: &Exit) -> Ended {
    if exit.skipped {
        None
    } else if exit.ok() {
        Some(Ok(()))
    } else if exit.timed_out {
        Some(Err(late(check)))
    } else {
        Some(Err(exit.reason(cmd)))
    }
}

/// "not done within 5m"
pub fn late(check: &Check) -> String {
    format!("not done within {}", humantime::format_duration(Duration::from_secs(check.timeout)))
}

/// A table of everything that ran, then the end of the log of what failed.
pub fn print(outcomes: &[Outcome], json: bool) {
    let head = ["check", "result", "seconds", "command", ""].map(str::to_owned).to_vec();
    let row = |outcome: &Outcome| {
        let result = match (outcome.passed, outcome.may_fail) {
            (Some(true), _) => "passed",
            (Some(false), true) => "failed (may)",
            (Some(false), false) => "FAILED",
            (None, _) => "-",
        };
        let last = outcome.reason.clone().or_else(|| outcome.log.clone()).unwrap_or_default();
        vec![outcome.check.clone(), result.into(), format!("{:.1}", outcome.seconds), outcome.command.clone(), last]
    };
    if !json && outcomes.iter().any(|outcome| outcome.passed.is_some()) {
        report::result(&report::table(&std::iter::once(head).chain(outcomes.iter().map(row)).collect::<Vec<_>>()));
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.failed() && outcome.log.is_some()) {
        let reason = outcome.reason.as_deref().unwrap_or_default();
        report::failure(&format!("{}: {}: {reason}", outcome.check, outcome.command), &outcome.tail);
    }
}

/// The names of the checks that failed and may not.
pub fn failed(outcomes: &[Outcome]) -> Vec<&str> {
    let failed = outcomes.iter().filter(|outcome| outcome.failed() && !outcome.may_fail);
    failed.map(|outcome| outcome.check.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: &[&str], timeout: u64) -> Check {
        let run = run.iter().map(|line| (*line).to_owned()).collect();
        Check { name: "c".into(), r#in: None, run, compose: None, services: Vec::new(), may_fail: false, timeout }
    }

    fn run(check: &Check) -> Vec<Outcome> {
        let one = |words: &[String], left: Duration, _: &mut Outcome| {
            let cmd = Cmd::probe(&words[0], "test").args(words[1..].to_vec()).timeout(left);
            here(&Runner::default(), check, &cmd, |_| {})
        };
        commands(check, Instant::now(), one).unwrap()
    }

    #[test]
    fn the_first_that_fails_is_the_last() {
        let check = check(&["true", "sh -c 'exit 3'", "true"], 60);
        let outcomes = run(&check);
        let passed: Vec<Option<bool>> = outcomes.iter().map(|outcome| outcome.passed).collect();
        assert_eq!(passed, [Some(true), Some(false), None]);
        assert_eq!(outcomes[1].reason.as_deref(), Some("exit code 3"));
        assert_eq!(failed(&outcomes), ["c"]);
        let may = Outcome { may_fail: true, ..outcomes[1].clone() };
        assert!(failed(&[may]).is_empty());
    }

    #[test]
    fn the_lines_share_the_time() {
        let mut left = Vec::new();
        let begun = Instant::now();
        let one = |_: &[String], time: Duration, _: &mut Outcome| {
            left.push(time);
            Ok(Some(Ok(())))
        };
        commands(&check(&["a", "b"], 3600), begun, one).unwrap();
        let total = Duration::from_secs(3600);
        assert!(left[1] < left[0] && left[0] < total && left[1] >= total.saturating_sub(begun.elapsed()), "{left:?}");
        // What is late has no time at all.
        let over = run(&check(&["sleep 600"], 0));
        assert_eq!(over[0].reason.as_deref(), Some("not done within 0s"));
        assert_eq!(run(&check(&["no-such-program"], 1))[0].reason.as_deref(), Some("no-such-program is not installed"));
    }
}
