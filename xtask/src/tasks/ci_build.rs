//! `ci-build`: build what the plan says, and load it for the tests.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::build::outcome::{Ending, Results};
use crate::build::store::{self, Image, Store};
use crate::build::{self, health, lock};
use crate::context::Context;
use crate::error::Fault;
use crate::parallel;
use crate::plan::Plan;
use crate::progress::display::Display;
use crate::{docker, report, template};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// test: build and load for testing; push: publish what was tested.
    #[arg(long, value_enum)]
    mode: Mode,
    /// End everything at the first failure instead of building the rest.
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Test,
    Push,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    if args.mode == Mode::Push {
        return Err(Fault::usage("cannot publish: this version builds and tests only").hint("use `--mode test`").into());
    }
    let plan = context.plan()?;
    dockerfiles_are_current(context, &plan)?;
    let folder = context.repo.join(build::FOLDER);
    let _lock = lock::take(&folder)?;
    let mut store = Store::read(&folder);
    if store.engine_root.as_str().is_empty() {
        store.engine_root = health::engine(&context.runner)?["DockerRootDir"].as_str().unwrap_or("/").into();
    }
    store.check_disk(&plan)?;

    let started = Instant::now();
    let github = context.env.get("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let display = Display::new(plan.builds.iter().map(|build| build.id.as_str()), github, context.runner.is_verbose());
    let job = build::Job {
        runner: &context.runner,
        repo: &context.repo,
        builder: context.builder(),
        plan: &plan,
        display: &display,
        jobs: context.jobs,
        fail_fast: args.fail_fast,
    };
    let outcomes = build::run(&job);
    display.clear();
    let mut results = Results { schema: 1, seconds: 0.0, builds: outcomes? };
    name(context, &results)?;
    measure(context, &mut results, &mut store)?;
    results.seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    if results.builds.iter().any(|build| build.result != Ending::Skipped) {
        store.write(&folder)?;
        store::write(&folder, "builds.json", &serde_json::to_string_pretty(&results)?)?;
        summary(context, &results)?;
    }
    print(context, &results)?;
    verdict(&plan, &results)
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

/// Further local names; bake has given the first.
fn name(context: &Context, results: &Results) -> Result<()> {
    let good = results.builds.iter().filter(|build| build.result.is_good());
    let tags = good
        .filter_map(|build| build.names.split_first())
        .flat_map(|(first, more)| more.iter().map(move |name| docker::tag(first, name)));
    let runner = &context.runner;
    parallel::map(context.jobs, tags.collect(), |cmd| runner.read(&cmd)).into_iter().collect::<Result<Vec<_>>>()?;
    Ok(())
}

/// Fills in the sizes: from the store where the digest is known, else one question to the engine for all.
fn measure(context: &Context, results: &mut Results, store: &mut Store) -> Result<()> {
    let mut unknown = Vec::new();
    for build in &mut results.builds {
        if let Some(digest) = &build.digest {
            build.size = store.size(&build.id, digest);
            unknown.extend(build.names.first().filter(|_| build.size.is_none()).cloned());
        }
    }
    let sizes = if unknown.is_empty() { String::new() } else { context.runner.output(&docker::inspect_images(&unknown))?.stdout };
    let sizes = docker::images(&sizes);
    for build in &mut results.builds {
        let Some((digest, name)) = build.digest.clone().zip(build.names.first()) else { continue };
        build.size = build.size.or_else(|| sizes.iter().find(|image| image.is_called(name)).map(|image| image.size));
        if let Some(size) = build.size {
            store.images.insert(build.id.clone(), Image { key: build.key.clone(), digest, size });
        }
    }
    Ok(())
}

fn summary(context: &Context, results: &Results) -> Result<()> {
    let Some(path) = context.env.get("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(results.markdown().as_bytes()))
        .with_context(|| format!("cannot write the summary {path}"))
}

fn print(context: &Context, results: &Results) -> Result<()> {
    if context.json {
        report::result(&serde_json::to_string_pretty(results)?);
    } else if results.builds.iter().any(|build| build.result != Ending::Skipped) {
        report::result(&results.table());
    }
    for build in results.builds.iter().filter(|build| build.result == Ending::Failed) {
        report::error(&format!("\n{}", build.explain()));
    }
    Ok(())
}

fn verdict(plan: &Plan, results: &Results) -> Result<()> {
    let failed: Vec<&str> =
        results.builds.iter().filter(|build| build.result == Ending::Failed).map(|build| build.id.as_str()).collect();
    let Some(first) = failed.first() else { return Ok(()) };
    let message = format!("{} of {} builds failed: {}", failed.len(), results.builds.len(), failed.join(", "));
    let again =
        format!("run `cargo xtask ci-build --mode test --only id={first} --event {}` for that one alone", plan.event.flag());
    Err(Fault::failed(message).hint(again).into())
}
