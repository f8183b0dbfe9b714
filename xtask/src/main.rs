//! `cargo xtask`: the table of contents.

mod bake;
mod bases;
mod build;
mod builder;
mod cache;
mod candidate;
mod cli;
mod cmd;
mod config;
mod container;
mod context;
mod credentials;
mod deps;
mod docker;
mod engine;
mod error;
mod event;
mod exec;
mod facts;
mod files;
mod forward;
mod gate;
mod generated;
mod git;
mod glob;
mod history;
mod journal;
mod marks;
mod parallel;
mod plan;
mod progress;
mod publish;
mod receipt;
mod registry;
mod release;
mod report;
mod resolve;
mod retention;
mod sandbox;
mod scan;
mod tasks;
mod template;
mod version;
mod visible;
mod worktree;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Task};
use context::Context;

fn main() -> ExitCode {
    report::set_actions(facts::env().get("GITHUB_ACTIONS").is_some_and(|value| value == "true"));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version are asked for, and are ours.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            report::error(error.render().to_string().trim_end());
            return ExitCode::from(error::Code::Usage as u8);
        }
    };
    report::set_quiet(cli.global.quiet);
    match run(cli).and_then(report::written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error::render(&error));
            ExitCode::from(error::exit_code(&error) as u8)
        }
    }
}

/// What is wrong with the arguments of a task is said before an engine is started for it.
fn check(context: &Context, task: &Task) -> anyhow::Result<()> {
    match task {
        Task::DockerTest(args) => tasks::docker_test::check(context, args),
        Task::Release(args) => tasks::release::check(context, args),
        Task::Explain(args) => tasks::explain::check(context, args),
        Task::Retention(_) => tasks::retention::check(context),
        _ => Ok(()),
    }
}

/// Whether a task does what the event asks for. A pushed tag that no image takes asks for nothing.
fn is_of_an_event(task: &Task) -> bool {
    match task {
        Task::CiBuild(_) | Task::DockerTest(_) | Task::Scan(_) | Task::Ci(_) => true,
        Task::Release(args) => args.is_of_an_event(),
        _ => false,
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let anywhere = matches!(cli.task, Task::Sandbox(_) | Task::Schema(_) | Task::Completions(_) | Task::Doctor(_));
    let context = &mut Context::new(cli.global, anywhere)?;
    check(context, &cli.task)?;
    if is_of_an_event(&cli.task) && context.skips_tag()? {
        return Ok(());
    }
    match &cli.task {
        Task::GenDockerfiles(args) => tasks::gen_dockerfiles::run(context, args),
        Task::StaticChecks(args) => tasks::static_checks::run(context, args),
        Task::Plan(args) => tasks::plan::run(context.with_engine_if_sandboxed()?, args),
        Task::CiBuild(args) => tasks::ci_build::run(context.with_engine()?, args),
        Task::DockerTest(args) => tasks::docker_test::run(context.with_engine()?, args),
        Task::Scan(args) => tasks::scan::run(context.with_engine()?, args),
        Task::Ci(args) => tasks::ci::run(context.with_engine()?, args),
        Task::Release(args) => tasks::release::run(context.with_engine()?, args),
        Task::Retention(args) => tasks::retention::run(context.with_engine()?, args),
        Task::Login(args) => tasks::login::run(context.with_engine()?, args),
        Task::Logout(args) => tasks::logout::run(context, args),
        Task::CheckDeps(args) => tasks::check_deps::run(context, args),
        Task::Explain(args) => tasks::explain::run(context.with_engine_if_sandboxed()?, args),
        Task::Cache(args) => tasks::cache::run(context.with_running_sandbox()?, args),
        Task::Doctor(args) => tasks::doctor::run(context.with_running_sandbox()?, args),
        Task::Sandbox(args) => tasks::sandbox::run(context, args),
        Task::Schema(args) => tasks::schema::run(context, args),
        Task::Completions(args) => tasks::completions::run(context, args),
        Task::Test(args) => tasks::test::run(context, args),
    }
}
