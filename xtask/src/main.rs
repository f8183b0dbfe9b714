//! `cargo xtask`: the table of contents.
#![allow(dead_code, unused_imports)]
mod bake;
mod build;
mod cmd;
mod config;
mod container;
mod context;
mod docker;
mod error;
mod event;
mod exec;
mod facts;
mod parallel;
mod plan;
mod progress;
mod report;
mod tasks;
mod version;

use std::process::ExitCode;

use clap::Parser as _;
use context::Context;

#[derive(clap::Parser)]
struct Cli {
    #[arg(long, global = true)]
    plan: Option<camino::Utf8PathBuf>,
    #[arg(long, global = true)]
    builder: Option<String>,
    #[arg(long, global = true)]
    jobs: Option<usize>,
    #[arg(long, global = true)]
    dry_run: bool,
    #[arg(long, global = true)]
    json: bool,
    #[arg(short, long, global = true)]
    quiet: bool,
    #[arg(short, long, global = true)]
    verbose: bool,
    #[arg(long, global = true, default_value = ".")]
    repo: camino::Utf8PathBuf,
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    CiBuild(tasks::ci_build::Args),
    DockerTest(tasks::docker_test::Args),
    StaticChecks(tasks::static_checks::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::set_quiet(cli.quiet);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error::render(&error));
            ExitCode::from(error::exit_code(&error) as u8)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runner = exec::Runner::new(cli.dry_run, cli.verbose);
    runner.catch_signals()?;
    let jobs = cli.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let env = std::env::vars().collect();
    let context =
        Context { repo: cli.repo.canonicalize_utf8()?, runner, env, json: cli.json, jobs, builder: cli.builder, plan: cli.plan };
    match &cli.task {
        Task::CiBuild(args) => tasks::ci_build::run(&context, args),
        Task::DockerTest(args) => tasks::docker_test::run(&context, args),
        Task::StaticChecks(args) => tasks::static_checks::run(&context, args),
    }
}
