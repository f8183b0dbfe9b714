//! `docker-test`: run each image's tests inside that image.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::build::{self, health, lock, store};
use crate::candidate::Digests;
use crate::container::case::{self, Case};
use crate::container::junit;
use crate::container::run::{self, Outcome};
use crate::context::Context;
use crate::error::Fault;
use crate::exec::Runner;
use crate::parallel;
use crate::plan::{Build, Plan};
use crate::progress::display::Display;
use crate::progress::state::Steps;
use crate::registry::Live;
use crate::{candidate, docker, report};

/// What a test is reckoned to need; as many run at once as the engine's memory allows.
const MEMORY: u64 = 1 << 30;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The set of dependencies to install first, where a test has it; default: ci.
    #[arg(long, value_name = "NAME")]
    pub deps: Option<String>,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let plan = context.plan()?;
    let folder = context.repo.join(build::FOLDER);
    let _lock = lock::take(&folder)?;
    let engine = health::engine(&context.runner)?;
    let gpus = engine["Runtimes"].get("nvidia").is_some() && std::path::Path::new("/dev/nvidia0").exists();
    let mut cases = case::cases(&plan, &context.repo, args.deps.as_deref(), std::process::id(), gpus)?;
    let registry = Live::new(&context.runner);
    let candidates = candidate::candidates(&plan, &registry)?;
    let before = candidate::marked(&plan, &registry, &candidates)?;
    if !before.is_empty() {
        report::note(&format!("{} of {} builds passed the same tests before", before.len(), plan.builds.len()));
    }
    cases.retain(|cases| cases.first().is_some_and(|case| !before.contains_key(&case.build.id)));
    by_digest(context, &plan, &mut cases, &candidates)?;
    mount_from(context.root(&plan)?, &context.repo, &mut cases);
    for build in plan.builds.iter().filter(|build| build.tests.is_empty()) {
        report::note(&format!("{}: no tests", build.id));
    }
    images_are_here(context, &cases)?;
    sweep(context)?;

    let github = context.env.get("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let display = Display::new(cases.iter().flatten().map(|case| case.build.id.as_str()), github, context.runner.is_verbose());
    let jobs = jobs(context.jobs, &engine);
    // The tests of one image run one after another: they may share a log.
    let runner = &context.runner;
    let outcomes =
        parallel::map(jobs, cases.iter().collect(), |cases| cases.iter().map(|case| test(runner, case, &display)).collect());
    display.clear();
    let outcomes: Vec<Vec<Outcome>> = outcomes.into_iter().collect::<Result<_>>()?;
    write_junit(&cases, &outcomes)?;
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    let json = serde_json::to_string_pretty(&serde_json::json!({ "schema": 1, "tests": outcomes }))?;
    if outcomes.iter().any(|outcome| outcome.passed.is_some()) {
        store::write(&folder, "tests.json", &json)?;
        let passed = passed(&plan, &outcomes, &candidates, &before);
        candidate::add_tests(&context.repo, &plan, &outcomes, &passed)?;
    }
    candidate::mark(&plan, &registry, &passed(&plan, &outcomes, &candidates, &before))?;
    print(context, &outcomes, &json);
    verdict(&plan, &outcomes)
}

/// Candidates are tested by the digest that will be published; one that was built elsewhere is fetched.
fn by_digest(context: &Context, plan: &Plan, cases: &mut [Vec<Case<'_>>], candidates: &Digests) -> Result<()> {
    let runner = &context.runner;
    let mut images = Vec::new();
    for cases in cases.iter_mut() {
        let Some(build) = cases.first().map(|case| case.build).filter(|build| build.pushes_candidate()) else { continue };
        let Some(digest) = candidates.get(&build.id) else {
            let candidate = build.test.candidate.as_deref().unwrap_or_default();
            let fault = Fault::not_ready(format!("cannot test what is not built: {candidate} is not in the registry"));
            return Err(fault.hint(format!("run `cargo xtask ci-build --mode test --event {}`", plan.event.flag())).into());
        };
        let image = candidate::by_digest(build, digest);
        cases.iter_mut().for_each(|case| case.container.image.clone_from(&image));
        images.push((image, crate::build::images::foreign(build).map(str::to_owned)));
    }
    // One question for all; which ones are missing matters only when some are.
    let all: Vec<String> = images.iter().map(|(image, _)| image.clone()).collect();
    if images.is_empty() || runner.output(&docker::inspect_images(&all))?.ok() {
        return Ok(());
    }
    let here = |image: &String| runner.output(&docker::inspect_images(std::slice::from_ref(image))).is_ok_and(|exit| exit.ok());
    let missing = images.iter().filter(|(image, _)| !here(image));
    let pulls = missing.map(|(image, platform)| docker::pull(image, platform.as_deref())).collect();
    parallel::map(context.jobs, pulls, |cmd| runner.read(&cmd)).into_iter().try_for_each(|done| done.map(drop))
}

/// The tests of a released version are those of its own source.
fn mount_from(root: &Utf8Path, repo: &Utf8Path, cases: &mut [Vec<Case<'_>>]) {
    for (source, _) in cases.iter_mut().flatten().flat_map(|case| &mut case.container.mounts) {
        if let Ok(path) = Utf8Path::new(source).strip_prefix(repo) {
            *source = root.join(path).into_string();
        }
    }
}

/// The candidates whose tests all passed now, and those that have none.
fn passed(plan: &Plan, outcomes: &[Outcome], candidates: &Digests, before: &Digests) -> Digests {
    let passed = |build: &&Build| {
        let mine: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.id == build.id).collect();
        let all = mine.len() == build.tests.len() && mine.iter().all(|outcome| outcome.passed == Some(true));
        all && !before.contains_key(&build.id)
    };
    let builds = plan.builds.iter().filter(passed);
    builds.filter_map(|build| Some((build.id.clone(), candidates.get(&build.id)?.clone()))).collect()
}

fn test(runner: &Runner, case: &Case<'_>, display: &Display) -> Result<Outcome> {
    display.running(&case.build.id, &case.what, Steps::default(), 0);
    let outcome = run::run(runner, case)?;
    if outcome.passed.is_some() {
        let log = if display.folds_logs() { std::fs::read_to_string(&case.log).unwrap_or_default() } else { String::new() };
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        display.finished(&case.build.id, &format!("{} in {:.1} s: {}", word(&outcome), outcome.seconds, outcome.test), &log);
    }
    Ok(outcome)
}

/// All images that are missing, at once, with the command that builds them.
fn images_are_here(context: &Context, cases: &[Vec<Case<'_>>]) -> Result<()> {
    let first = cases.iter().filter_map(|cases| cases.first());
    let first = first.filter(|case| !case.build.pushes_candidate());
    let wanted: Vec<(&str, String)> = first.map(|case| (case.build.id.as_str(), case.container.image.clone())).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    let here = docker::images(&context.runner.output(&docker::inspect_images(&names))?.stdout);
    let missing = |(_, name): &&(&str, String)| !here.iter().any(|image| image.is_called(name));
    let missing: Vec<&(&str, String)> = wanted.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = missing.iter().map(|(_, name)| name.as_str()).collect();
    // A few are named; for many the whole is as quick, because the others come from cache.
    let only = |(id, _): &&(&str, String)| format!(" --only id={id}");
    let only: String = if missing.len() > 3 { String::new() } else { missing.iter().map(only).collect() };
    let fault = Fault::not_ready(format!("cannot test what is not built: no image {}", list.join(", ")));
    Err(fault.hint(format!("run `cargo xtask ci-build --mode test{only}`")).into())
}

/// Removes the containers of earlier runs of this checkout that were killed. Our lock says that none of them runs.
fn sweep(context: &Context) -> Result<()> {
    let left = context.runner.read(&docker::containers_of(context.repo.as_str()))?;
    let left: Vec<String> = left.split_whitespace().map(str::to_owned).collect();
    if left.is_empty() {
        return Ok(());
    }
    context.runner.read(&docker::remove_containers(&left)).map(drop)
}

fn jobs(wanted: usize, engine: &Value) -> usize {
    let memory = engine["MemTotal"].as_u64().unwrap_or(u64::MAX);
    wanted.min(usize::try_from(memory / MEMORY).unwrap_or(usize::MAX)).max(1)
}

/// One file for each log, with the cases that went into it.
fn write_junit(cases: &[Vec<Case<'_>>], outcomes: &[Vec<Outcome>]) -> Result<()> {
    let mut files: BTreeMap<Utf8PathBuf, (String, Vec<junit::Case>)> = BTreeMap::new();
    for (case, outcome) in cases.iter().flatten().zip(outcomes.iter().flatten()).filter(|(_, outcome)| outcome.passed.is_some()) {
        let (_, list) = files.entry(case.junit()).or_insert_with(|| (case.build.id.clone(), Vec::new()));
        list.extend(outcome.junit());
    }
    for (path, (suite, list)) in files {
        std::fs::write(&path, junit::xml(&suite, &list)).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome.passed {
        Some(true) => "passed",
        Some(false) => "FAILED",
        None => "-",
    }
}

fn print(context: &Context, outcomes: &[Outcome], json: &str) {
    let head = ["build", "result", "seconds", "test", "log"].map(str::to_owned).to_vec();
    let row = |outcome: &Outcome| {
        let test: String = if outcome.test.chars().count() > 48 {
            outcome.test.chars().take(47).chain(['…']).collect()
        } else {
            outcome.test.clone()
        };
        vec![outcome.id.clone(), word(outcome).into(), format!("{:.1}", outcome.seconds), test, outcome.log.clone()]
    };
    if context.json {
        report::result(json);
    } else if outcomes.iter().any(|outcome| outcome.passed.is_some()) {
        report::result(&report::table(&std::iter::once(head).chain(outcomes.iter().map(row)).collect::<Vec<_>>()));
    }
    for outcome in outcomes {
        if let Some(reason) = &outcome.reason {
            let tail: String = outcome.tail.iter().map(|line| format!("\n  | {line}")).collect();
            report::error(&format!("\n{}: {}: {reason}{tail}", outcome.id, outcome.test));
        }
    }
}

fn verdict(plan: &Plan, outcomes: &[Outcome]) -> Result<()> {
    let mut failed: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.passed == Some(false)).map(|outcome| outcome.id.as_str()).collect();
    let count = failed.len();
    failed.dedup();
    let Some(first) = failed.first() else { return Ok(()) };
    let fault = Fault::failed(format!("{count} of {} tests failed: {}", outcomes.len(), failed.join(", ")));
    Err(fault
        .hint(format!("run `cargo xtask docker-test --only id={first} --event {}` for that one alone", plan.event.flag()))
        .into())
}
