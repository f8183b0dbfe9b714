//! `docker-test`: run each image's tests inside that image, then the checks that need images.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::Utf8Path;
use serde_json::Value;

use crate::build::images::Part;
use crate::build::{self, health, lock};
use crate::candidate::Digests;
use crate::container::case::{self, Case, Machine};
use crate::container::images::Parts;
use crate::container::run::{self, Outcome};
use crate::container::{check, checks, images, junit};
use crate::context::Context;
use crate::error::Fault;
use crate::exec::Runner;
use crate::parallel;
use crate::plan::{Build, Plan};
use crate::progress::display::Display;
use crate::progress::state::Steps;
use crate::receipt::{Tested, record};
use crate::registry::Live;
use crate::{candidate, facts, files, report};

/// What a test is reckoned to need; as many run at once as the engine's memory allows.
const MEMORY: u64 = 1 << 30;

#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// The set of dependencies to install first, where a test has it; default: ci.
    #[arg(long, value_name = "NAME")]
    pub deps: Option<String>,
    /// Only this check of images.toml, and no tests; repeatable.
    #[arg(long, value_name = "NAME")]
    pub check: Vec<String>,
}

/// # Errors
/// Usage: names that nothing in images.toml has.
pub fn check(context: &Context, args: &Args) -> Result<()> {
    let config = context.config()?;
    checks::known(config, &args.check)?;
    args.deps.as_deref().map_or(Ok(()), |name| case::known_deps(config, name))
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let plan = context.plan()?;
    let chosen = checks::chosen(&plan, &args.check)?;
    let folder = context.repo.join(build::FOLDER);
    let _lock = lock::take(&context.runner, &context.repo)?;
    let engine = health::engine(&context.runner)?;
    let gpus = engine["Runtimes"].get("nvidia").is_some() && std::path::Path::new("/dev/nvidia0").exists();
    let tested: Vec<&Build> = plan.builds.iter().filter(|build| !build.tests.is_empty() && args.check.is_empty()).collect();
    let loaded = build::images::loaded_in_part(&context.runner, context.jobs, tested.iter().copied())?;
    let machine = Machine { runs: &facts::runs, loaded: &loaded, gpus };
    let registry = Live::new(&context.runner);
    let candidates = candidate::candidates(&plan, &registry)?;
    let before = candidate::marked(&plan, &registry, &candidates)?;
    if !before.is_empty() && args.check.is_empty() {
        report::note(&format!("{} of {} builds passed the same tests before", before.len(), plan.builds.len()));
    }
    let untested = candidate::untested(&plan, &registry, &before)?;
    let passed_before = |build: &Build, platform: &str| {
        let is_untested = || untested.get(&build.id).is_some_and(|platforms| platforms.iter().any(|other| other == platform));
        before.contains_key(&build.id) && !is_untested()
    };
    // Where none of its platforms runs here, a mark is all that can be had.
    let is_foreign = |build: &Build| !build.platforms.iter().any(|platform| facts::runs(platform));
    let is_out_of_reach = |build: &Build| before.contains_key(&build.id) && is_foreign(build);
    let skips =
        |build: &Build, platform: &str| !args.check.is_empty() || passed_before(build, platform) || is_out_of_reach(build);
    let mut cases = case::cases(&plan, &context.repo, args.deps.as_deref(), std::process::id(), &machine, &skips)?;
    let place = checks::Place { root: context.root(&plan)?, checkout: &context.repo };
    let checks = checks::prepare(&context.runner, context.config()?, &plan, &chosen, &place)?;
    let mut wanted: BTreeSet<&str> = cases.iter().flatten().map(|case| case.build.id.as_str()).collect();
    wanted.extend(checks::builds(&checks));
    let keeps_platforms = health::keeps_platforms(&engine);
    let images = images::find(&context.runner, context.jobs, &plan, &wanted, &candidates, keeps_platforms)?;
    for case in cases.iter_mut().flatten() {
        let platform = case.container.platform.as_deref();
        if let Some(part) = images.get(&case.build.id).and_then(|parts| build::images::part(parts, platform)) {
            case.container.image.clone_from(&part.reference);
        }
    }
    mount_from(place.root, &context.repo, &mut cases);
    for build in plan.builds.iter().filter(|build| build.tests.is_empty() && args.check.is_empty()) {
        report::note(&format!("{}: no tests", build.id));
    }
    build::images::say_what_is_not_loaded(&tested, &loaded, "tested");
    say_what_is_untested(&plan, &machine, &passed_before);
    // Our lock says that none of them runs.
    run::sweep(&context.runner, Some(context.repo.as_str()))?;

    let outcomes = tests(context, &cases, &engine)?;
    let checked = checks::run(&context.runner, &checks, &place, &own(&images))?;
    let json = report::json(&serde_json::json!({ "schema": 1, "tests": outcomes, "checks": checked }))?;
    if args.check.is_empty() {
        // A check is of the working tree, which all builds are made of: where one fails, none is good to be published.
        let passed =
            if check::failed(&checked).is_empty() { passed(&plan, &outcomes, &candidates, &before) } else { Digests::new() };
        let tested_checks: Vec<Tested> = checked.iter().filter_map(check::Outcome::tested).collect();
        let ran = outcomes.iter().map(|outcome| outcome.passed).chain(checked.iter().map(|outcome| outcome.passed));
        if ran.flatten().next().is_some() {
            files::write(&folder.join("tests.json"), &json)?;
        }
        record::tested(&context.repo, &plan, &outcomes, &tested_checks, &passed, &before)?;
        candidate::mark(&plan, &registry, &passed, &candidates, &platforms(&cases))?;
    }
    print(context, &outcomes, &json);
    check::print(&checked, context.json);
    verdict(&plan, &outcomes, &checked)
}

/// Build id → what the engine knows the image by that this machine runs.
fn own(images: &Parts) -> BTreeMap<String, String> {
    let own = |(id, parts): (&String, &Vec<Part>)| Some((id.clone(), build::images::part(parts, None)?.reference.clone()));
    images.iter().filter_map(own).collect()
}

/// Runs the tests, those of several images at once.
fn tests(context: &Context, cases: &[Vec<Case<'_>>], engine: &Value) -> Result<Vec<Outcome>> {
    let github = context.env.get("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let display = Display::new(cases.iter().flatten().map(|case| case.build.id.as_str()), github, context.runner.is_verbose());
    let jobs = jobs(context.jobs, engine);
    // The tests of one image run one after another.
    let runner = &context.runner;
    let outcomes =
        parallel::map(jobs, cases.iter().collect(), |cases| cases.iter().map(|case| test(runner, case, &display)).collect());
    display.clear();
    let outcomes: Vec<Vec<Outcome>> = outcomes.into_iter().collect::<Result<_>>()?;
    write_junit(cases, &outcomes)?;
    Ok(outcomes.into_iter().flatten().collect())
}

/// What is published untested is at least said.
fn say_what_is_untested(plan: &Plan, machine: &Machine<'_>, passed_before: &dyn Fn(&Build, &str) -> bool) {
    for build in plan.builds.iter().filter(|build| !build.tests.is_empty()) {
        let (_, mut other) = case::platforms(build, machine);
        other.retain(|platform| !passed_before(build, platform));
        if !other.is_empty() {
            report::note(&format!("warning: {}: {} is not tested: it does not run on this machine", build.id, other.join(", ")));
        }
    }
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
        let mut mine = outcomes.iter().filter(|outcome| outcome.id == build.id).peekable();
        let due = if build.tests.is_empty() { !before.contains_key(&build.id) } else { mine.peek().is_some() };
        due && mine.all(|outcome| outcome.passed == Some(true))
    };
    let builds = plan.builds.iter().filter(passed);
    builds.filter_map(|build| Some((build.id.clone(), candidates.get(&build.id)?.clone()))).collect()
}

/// The platforms on which tests ran, where there are several.
fn platforms(cases: &[Vec<Case<'_>>]) -> candidate::Platforms {
    let mut platforms = candidate::Platforms::new();
    for case in cases.iter().flatten() {
        let known = platforms.entry(case.build.id.clone()).or_default();
        known.extend(case.container.platform.clone().filter(|platform| !known.contains(platform)));
    }
    platforms
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

fn jobs(wanted: usize, engine: &Value) -> usize {
    let memory = engine["MemTotal"].as_u64().unwrap_or(u64::MAX);
    wanted.min(usize::try_from(memory / MEMORY).unwrap_or(usize::MAX)).max(1)
}

/// One file beside each log.
fn write_junit(cases: &[Vec<Case<'_>>], outcomes: &[Vec<Outcome>]) -> Result<()> {
    let pairs = cases.iter().flatten().zip(outcomes.iter().flatten());
    for (case, outcome) in pairs.filter(|(_, outcome)| outcome.passed.is_some()) {
        let path = case.junit();
        files::write_in(Utf8Path::new(&case.container.checkout), &path, &junit::xml(&case.build.id, &outcome.junit()))?;
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
            report::failure(&format!("{}: {}: {reason}", outcome.id, outcome.test), &outcome.tail);
        }
    }
}

fn verdict(plan: &Plan, outcomes: &[Outcome], checked: &[check::Outcome]) -> Result<()> {
    let mut failed: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.passed == Some(false)).map(|outcome| outcome.id.as_str()).collect();
    let count = failed.len();
    failed.dedup();
    let (tests, checks) = (failed.join(", "), check::failed(checked));
    let what = match (failed.first(), checks.first()) {
        (None, None) => return Ok(()),
        (Some(_), None) => format!("{count} of {} tests failed: {tests}", outcomes.len()),
        (None, Some(_)) => format!("checks failed: {}", checks.join(", ")),
        (Some(_), Some(_)) => {
            format!("{count} of {} tests failed: {tests}; checks failed: {}", outcomes.len(), checks.join(", "))
        }
    };
    let which = failed.first().map_or_else(|| format!("--check {}", checks.join(" --check ")), |id| format!("--only id={id}"));
    let hint = format!("run `cargo xtask docker-test {which} --event {}` for that alone", plan.event.flag());
    Err(Fault::failed(what).hint(hint).into())
}
