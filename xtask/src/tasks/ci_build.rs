//! `ci-build`: build what the plan says and load it for the tests, or publish what was tested.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::build::images::Part;
use crate::build::outcome::{Ending, Outcome, Results};
use crate::build::store::Store;
use crate::build::{self, caches, health, images, kept, lock};
use crate::builder::{self, join};
use crate::context::Context;
use crate::error::Fault;
use crate::parallel;
use crate::plan::{Action, Build, Plan};
use crate::progress::display::Display;
use crate::publish::{already, rebuild, stage};
use crate::receipt::{self, record};
use crate::registry::{Digest, Live};
use crate::{candidate, docker, files, report, template};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// test: build and load for testing; push: publish what was tested.
    #[arg(long, value_enum)]
    mode: Mode,
    /// End everything at the first failure instead of building the rest.
    #[arg(long)]
    fail_fast: bool,
}

impl Args {
    pub fn test() -> Args {
        Args { mode: Mode::Test, fail_fast: false }
    }

    pub fn push() -> Args {
        Args { mode: Mode::Push, fail_fast: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Test,
    Push,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let _lock = lock::take(&context.runner, &context.repo)?;
    match args.mode {
        Mode::Test => test(context, args, &context.resolved()?),
        Mode::Push => push(context, &context.plan()?),
    }
}

/// The push stage: the gate, then the written-once tags of all builds, or of none.
fn push(context: &Context, plan: &Plan) -> Result<()> {
    super::release::refuse_a_part(context, plan)?;
    if !stage::is_due(plan)? {
        return Ok(());
    }
    if let Some(mut again) = rebuild::plan(plan) {
        // What is published is not built once more, to be left out.
        let done = already::images(plan, &Live::new(&context.runner))?;
        again.builds.retain(|build| !done.contains_key(&build.id));
        let results = build_all(context, &again, true)?;
        print(context, &again, &results)?;
        verdict(&results)?;
        let receipts = receipt::read(&context.repo, plan);
        let notes = rebuild::compare(&again, &results.builds, &receipts, &Live::new(&context.runner))?;
        notes.iter().for_each(|note| report::note(&format!("warning: {note}")));
    }
    let lines = stage::push(&context.runner, &context.repo, plan, context.is_handed_a_plan())?;
    if context.json {
        report::data(&lines)?;
    } else if !lines.is_empty() {
        report::result(&stage::table(&lines));
    }
    if lines.iter().all(|line| line.outcome == "unchanged") {
        report::note(&match lines.len() {
            0 => "nothing to do: this event writes no tag once".to_owned(),
            1 => "nothing to do: the tag is published".to_owned(),
            tags => format!("nothing to do: {tags} tags are published"),
        });
    }
    Ok(())
}

fn test(context: &Context, args: &Args, plan: &Plan) -> Result<()> {
    if plan.builds.is_empty() {
        let why = plan.skipped.first().and_then(|skipped| skipped.reasons.first()).map_or("", String::as_str);
        report::note(&format!("nothing to build: {} left out by the event ({why})", plan.skipped.len()));
    }
    if context.root(plan)? == context.repo {
        dockerfiles_are_current(context, plan)?;
    }
    let folder = context.repo.join(build::FOLDER);
    let registry = Live::new(&context.runner);
    let reused = plan.builds.iter().filter(|build| build.action == Action::Reuse).count();
    if reused > 0 {
        report::note(&format!("{reused} of {} builds were built and tested before", plan.builds.len()));
        candidate::adopt(plan, &registry)?;
        record::reused(&context.repo, plan, &registry)?;
    }
    let mut store = Store::read(&folder);
    if store.engine_root.as_str().is_empty() {
        store.engine_root = health::engine(&context.runner)?["DockerRootDir"].as_str().unwrap_or("/").into();
    }
    let before = receipt::read(&context.repo, plan);
    let kept = kept::find(&context.runner, plan, &before)?;
    let rest = without(plan, &kept);
    store.check_disk(&rest)?;

    let mut results = build_all(context, &rest, args.fail_fast)?;
    store.remember(&results.builds);
    results.builds.extend(kept);
    results.builds.sort_by_key(|outcome| plan.builds.iter().position(|build| build.id == outcome.id));
    name(context, plan, &results)?;
    let configs = images::look(&context.runner, plan, &mut results.builds, &mut store, &before)?;
    let local = |build: &Build| Ok(configs.get(&build.id).cloned().unwrap_or_default());
    record::built(&context.repo, plan, &results.builds, &registry, local)?;
    if results.builds.iter().any(|build| build.result != Ending::Skipped) {
        store.write(&folder)?;
        files::write(&folder.join("builds.json"), &serde_json::to_string_pretty(&results)?)?;
        summary(context, &results)?;
    }
    print(context, plan, &results)?;
    verdict(&results)
}

/// The plan without the builds whose image is there.
fn without(plan: &Plan, kept: &[Outcome]) -> Plan {
    let mut rest = plan.clone();
    if !kept.is_empty() {
        report::note(&format!("{} of {} images are in the engine already, with the same key", kept.len(), plan.builds.len()));
    }
    for build in rest.builds.iter_mut().filter(|build| kept.iter().any(|kept| kept.id == build.id)) {
        build.action = Action::Reuse;
    }
    rest
}

/// What is built is what the template renders, not what somebody forgot to render again.
fn dockerfiles_are_current(context: &Context, plan: &Plan) -> Result<()> {
    let rendered = template::render_all(&context.repo, context.config()?)?;
    let built = |path: &Utf8Path| plan.builds.iter().any(|build| build.dockerfile == path);
    let differs = |path: &Utf8Path, text: &str| std::fs::read_to_string(context.repo.join(path)).ok().as_deref() != Some(text);
    let stale = rendered.iter().filter(|(path, text)| built(path) && differs(path, text)).map(|(path, _)| path.as_str());
    let stale: Vec<&str> = stale.collect();
    if stale.is_empty() {
        return Ok(());
    }
    let fault = Fault::usage(format!("not what the template renders: {}", stale.join(", ")));
    Err(fault.hint("run `cargo xtask gen-dockerfiles` and commit the result").into())
}

/// Runs the builds of a plan.
fn build_all(context: &Context, plan: &Plan, fail_fast: bool) -> Result<Results> {
    let builder = context.builder(plan)?;
    let started = Instant::now();
    let spread = builder::spread::expand(plan, &builder.spread);
    let display =
        Display::new(spread.builds.iter().map(|build| build.id.as_str()), report::is_actions(), context.runner.is_verbose());
    let job = build::Job {
        runner: &context.runner,
        repo: context.root(plan)?,
        builder: &builder,
        plan: &spread,
        display: &display,
        jobs: context.jobs,
        seconds: Store::read(&context.repo.join(build::FOLDER)).seconds,
        fail_fast,
    };
    let outcomes = build::run(&job);
    display.clear();
    let outcomes = join::join(&context.runner, plan, outcomes?)?;
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Ok(Results { schema: 1, seconds, builds: outcomes })
}

/// Further local names; bake has given the first. An engine that did not keep what was pushed fetches it.
fn name(context: &Context, plan: &Plan, results: &Results) -> Result<()> {
    let runner = &context.runner;
    let good = || results.builds.iter().filter(|build| build.result.is_good());
    let pushed = |id: &str| plan.builds.iter().find(|build| build.id == id && build.pushes_candidate());
    let candidate = |outcome: &'_ Outcome| {
        let build = pushed(&outcome.id)?;
        let digest = Digest::parse(outcome.digest.as_deref()?).ok()?;
        Some(((build, candidate::by_digest(build, &digest)), outcome.names.first()?.clone()))
    };
    let (candidates, names): (Vec<_>, Vec<String>) = good().filter_map(candidate).unzip();
    if !candidates.is_empty() {
        fetch(context, &candidates, &names)?;
    }
    let tags = good()
        .filter_map(|build| build.names.split_first())
        .flat_map(|(first, more)| more.iter().map(move |name| docker::tag(first, name)));
    parallel::map(context.jobs, tags.collect(), |cmd| runner.read(&cmd)).into_iter().collect::<Result<Vec<_>>>()?;
    Ok(())
}

/// Fetches the candidates that the engine does not know by their names.
fn fetch(context: &Context, candidates: &[(&Build, String)], names: &[String]) -> Result<()> {
    let runner = &context.runner;
    let has_several = candidates.iter().any(|(build, _)| build.platforms.len() > 1);
    let keeps_platforms = !has_several || health::keeps_platforms(&health::engine(runner)?);
    let parts = images::to_fetch(&Live::new(runner), candidates, keeps_platforms)?;
    // By digest: what a name says here may be of an earlier run.
    let mut wanted: Vec<String> = parts.iter().flatten().map(|part| part.reference.clone()).collect();
    wanted.dedup();
    let here = docker::images(&runner.output(&docker::inspect_images(&wanted))?.stdout);
    let missing = parts.iter().zip(names).filter(|(_, name)| !here.iter().any(|image| image.is_called(name))).collect();
    let fetch = |(parts, name): (&Vec<Part>, &String)| -> Result<()> {
        parts.iter().try_for_each(|part| part.pull(runner))?;
        images::part(parts, None).map_or(Ok(()), |own| runner.read(&docker::tag(&own.reference, name)).map(drop))
    };
    parallel::map(context.jobs, missing, fetch).into_iter().collect()
}

fn summary(context: &Context, results: &Results) -> Result<()> {
    let Some(path) = context.env.get("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(results.markdown().as_bytes()))
        .with_context(|| format!("cannot write the summary {path}"))
}

fn print(context: &Context, plan: &Plan, results: &Results) -> Result<()> {
    if context.json {
        report::data(results)?;
    } else if results.builds.iter().any(|build| build.result != Ending::Skipped) {
        report::result(&results.table());
    }
    caches::notes(plan, &results.builds).iter().for_each(|note| report::note(note));
    for build in results.failed() {
        report::error(&format!("\n{}", build.explain(&plan.event.flag())));
    }
    Ok(())
}

fn verdict(results: &Results) -> Result<()> {
    let failed: Vec<&str> = results.failed().iter().map(|build| build.id.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Fault::failed(format!("{} of {} builds failed: {}", failed.len(), results.builds.len(), failed.join(", "))).into())
}
