//! `ci`: the whole pipeline for an event in one go, with the steps and the order of the workflow.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{ci_build, docker_test, gen_dockerfiles, release, retention, scan, static_checks};
use crate::context::Context;
use crate::error::Fault;
use crate::event::Event;
use crate::generated::Mode;
use crate::plan::Plan;
use crate::publish::stage::is_due;
use crate::registry::crane;
use crate::report;

/// How long the throwaway registry may take to listen.
const START: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Publish into a registry that exists for this run only, and say what would have been published.
    #[arg(long)]
    rehearse: bool,
}

pub fn run(context: &mut Context, args: &Args) -> Result<()> {
    if args.rehearse && !only_says(context) { rehearse(context) } else { pipeline(context) }
}

/// Every step in order; the first that fails is the last.
fn pipeline(context: &Context) -> Result<()> {
    let plan = context.resolved()?;
    release::refuse_a_part(context, &plan)?;
    release::has_tools(context, &plan)?;
    retention::has_tools(context, &plan)?;
    if !plan.has_work && plan.publishes {
        report::note("nothing to do: everything is built, tested and published, and the tags are where they belong");
        // The clean-up of the run before may have failed.
        return clean_up(context, &plan);
    }
    let moves = matches!(plan.event, Event::Tag { .. }) || plan.builds.iter().any(|build| !build.push.moving.is_empty());
    step("static-checks", || static_checks::run(context, &static_checks::Args {}))?;
    step("gen-dockerfiles --check", || gen_dockerfiles::apply(context, context.root(&plan)?, true))?;
    step("ci-build --mode test", || ci_build::run(context, &ci_build::Args::test()))?;
    if only_says(context) {
        return foretell(&plan);
    }
    if plan.scan.is_some() {
        step("scan", || scan::step(context))?;
    }
    step("docker-test", || docker_test::run(context, &docker_test::Args::default()))?;
    if !is_due(&plan)? {
        return Ok(());
    }
    step("ci-build --mode push", || ci_build::run(context, &ci_build::Args::push()))?;
    if moves {
        step("release", || release::run(context, &release::Args::default()))?;
    }
    clean_up(context, &plan)
}

/// The last step, where `[retention]` asks for it and the run may delete.
fn clean_up(context: &Context, plan: &Plan) -> Result<()> {
    if context.config()?.retention.is_none() || only_says(context) {
        return Ok(());
    }
    if let Some(why) = retention::held_back(context, plan)? {
        report::note(&format!("nothing is cleaned up: {why}"));
        return Ok(());
    }
    step("retention --apply", || retention::run(context, &retention::Args { apply: true }))
}

/// Whether changes are printed, not made.
fn only_says(context: &Context) -> bool {
    Mode::of(false, &context.runner) == Mode::DryRun
}

/// What comes after builds that were only printed: it would find nothing to work with.
///
/// # Errors
/// Refused: the run itself would be.
fn foretell(plan: &Plan) -> Result<()> {
    let mut would: Vec<String> = plan.scan.iter().map(|_| "scan what was built".to_owned()).collect();
    let tested = plan.builds.iter().filter(|build| !build.tests.is_empty());
    would.extend(tested.map(|build| format!("test {}", build.id)));
    would.extend(plan.checks.iter().filter(|check| !check.is_static()).map(|check| format!("run check {}", check.name)));
    if is_due(plan)? {
        would.extend(plan.builds.iter().flat_map(|build| &build.push.tags).map(|tag| format!("publish {tag}")));
        would.extend(plan.builds.iter().flat_map(|build| &build.push.moving).map(|tag| format!("move {tag}")));
    }
    would.iter().for_each(|would| report::result(&format!("would {would}")));
    Ok(())
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    report::lines(&format!("\n▸ {name}"));
    let started = Instant::now();
    run()?;
    report::note(&format!("  {name}: {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The pipeline against a registry in the memory of a process that ends with it.
fn rehearse(context: &mut Context) -> Result<()> {
    if context.runner.which("crane").is_none() {
        return Err(Fault::not_ready("cannot rehearse without crane").hint("install crane, or run `cargo xtask doctor`").into());
    }
    let real = context.config()?.registry.clone();
    let (runner, stop, port) = (context.runner.clone(), AtomicBool::new(false), AtomicU16::new(0));
    thread::scope(|scope| {
        let stop = StopWhenDropped(&stop);
        scope.spawn(|| {
            let listen = |line: &str| {
                let found = line.rsplit(' ').next().and_then(|end| end.trim().parse().ok());
                port.fetch_max(found.unwrap_or(0), Ordering::SeqCst);
            };
            runner.stream_until(&crane::serve(), listen, || stop.0.load(Ordering::SeqCst))
        });
        let started = Instant::now();
        while port.load(Ordering::SeqCst) == 0 {
            if started.elapsed() > START {
                return Err(Fault::not_ready("the throwaway registry does not start").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let registry = format!("localhost:{}", port.load(Ordering::SeqCst));
        report::note(&format!("rehearsing against {registry}, which is empty and ends with this run"));
        context.rehearse_into(&registry);
        pipeline(context)?;
        let plan = context.plan()?;
        let tags = plan.builds.iter().flat_map(|build| build.push.tags.iter().chain(&build.push.moving));
        for tag in tags {
            report::result(&format!("would publish {}", tag.replacen(&registry, &real, 1)));
        }
        Ok(())
    })
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
