//! `cargo xtask`: the table of contents.
#![allow(dead_code)]
mod cmd;
mod engine;
mod error;
mod exec;
mod report;
mod sandbox;
mod tasks;

use clap::Parser as _;

#[derive(clap::Parser)]
struct Cli {
    #[arg(long, global = true)]
    dry_run: bool,
    #[arg(long, global = true)]
    json: bool,
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    Sandbox(tasks::sandbox::Args),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let runner = exec::Runner::new(cli.dry_run, cli.verbose);
    let Task::Sandbox(args) = cli.task;
    match runner.catch_signals().and_then(|()| tasks::sandbox::run(&args, &runner, cli.json)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            report::note(&error::render(&error));
            std::process::ExitCode::from(error::exit_code(&error) as u8)
        }
    }
}
