//! `static-checks`: the checks of images.toml that run on this machine, before anything is built.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cmd::Cmd;
use crate::context::Context;
use crate::error::Fault;
use crate::plan::Check;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct Outcome {
    check: String,
    command: String,
    /// `None`: not run, because one before it failed or because of `--dry-run`.
    passed: Option<bool>,
    may_fail: bool,
    seconds: f64,
    /// Why it did not pass.
    reason: Option<String>,
}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let plan = context.draft()?;
    let checks: Vec<&Check> = plan.checks.iter().filter(|check| check.r#in.is_none() && check.compose.is_none()).collect();
    if checks.is_empty() {
        report::note("no checks for this machine in the plan");
    }
    let mut outcomes = Vec::new();
    for check in checks {
        outcomes.extend(commands(context, check)?);
    }
    print(context, &outcomes)?;
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| outcome.passed == Some(false) && !outcome.may_fail)
        .map(|outcome| outcome.check.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Fault::failed(format!("checks failed: {}", failed.join(", "))).into())
}

/// The commands of a check, one after another within its time; the first that fails ends it.
fn commands(context: &Context, check: &Check) -> Result<Vec<Outcome>> {
    let limit = Duration::from_secs(check.timeout);
    let started = Instant::now();
    let mut failed = false;
    let mut outcomes = Vec::new();
    for command in &check.run {
        let mut outcome = Outcome {
            check: check.name.clone(),
            command: command.clone(),
            passed: None,
            may_fail: check.may_fail,
            seconds: 0.0,
            reason: None,
        };
        if !failed {
            let (seconds, result) = one(context, check, command, limit.saturating_sub(started.elapsed()))?;
            outcome.seconds = seconds;
            outcome.passed = result.as_ref().map(Result::is_ok);
            outcome.reason = result.and_then(Result::err);
            failed = outcome.reason.is_some();
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Seconds, and what became of it; `None` when it was only printed.
fn one(context: &Context, check: &Check, command: &str, left: Duration) -> Result<(f64, Option<Result<(), String>>)> {
    let words = shell_words::split(command)
        .with_context(|| Fault::usage(format!("cannot split the command of check {}: {command}", check.name)))?;
    let Some((program, args)) = words.split_first() else { return Ok((0.0, Some(Err("the command is empty".into())))) };
    let cmd = Cmd::change(program, format!("check {}", check.name)).args(args.iter().cloned()).dir(&context.repo).timeout(left);
    report::note(&format!("== {}: {command}", check.name));
    if context.runner.which(program).is_none() {
        return Ok((0.0, Some(Err(format!("{program} is not installed")))));
    }
    let started = Instant::now();
    let exit = context.runner.stream(&cmd, report::note)?;
    let result = if exit.ok() {
        Ok(())
    } else if exit.timed_out {
        Err(format!("not done within {}", humantime::format_duration(Duration::from_secs(check.timeout))))
    } else {
        Err(exit.reason(&cmd))
    };
    Ok((started.elapsed().as_secs_f64(), (!exit.skipped).then_some(result)))
}

fn print(context: &Context, outcomes: &[Outcome]) -> Result<()> {
    if context.json {
        report::result(&serde_json::to_string_pretty(outcomes)?);
        return Ok(());
    }
    let head = ["check", "result", "seconds", "command", ""].map(str::to_owned).to_vec();
    let row = |outcome: &Outcome| {
        let result = match (outcome.passed, outcome.may_fail) {
            (Some(true), _) => "passed",
            (Some(false), true) => "failed (may)",
            (Some(false), false) => "FAILED",
            (None, _) => "-",
        };
        let reason = outcome.reason.clone().unwrap_or_default();
        vec![outcome.check.clone(), result.into(), format!("{:.1}", outcome.seconds), outcome.command.clone(), reason]
    };
    if outcomes.iter().any(|outcome| outcome.passed.is_some()) {
        report::result(&report::table(&std::iter::once(head).chain(outcomes.iter().map(row)).collect::<Vec<_>>()));
    }
    Ok(())
}
