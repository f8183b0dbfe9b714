//! `static-checks`: the checks of images.toml that run on this machine, before anything is built.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cmd::Cmd;
use crate::container::check::{self, Outcome};
use crate::context::Context;
use crate::error::Fault;
use crate::plan::Check;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let plan = context.draft()?;
    let root = context.root(&plan)?;
    let checks: Vec<&Check> = plan.checks.iter().filter(|check| check.is_static()).collect();
    if checks.is_empty() {
        report::note("no checks for this machine in the plan");
    }
    let mut outcomes = Vec::new();
    for check in checks {
        let one = |words: &[String], left: Duration, _: &mut Outcome| {
            let cmd = Cmd::change(&words[0], format!("check {}", check.name)).args(words[1..].to_vec());
            check::here(&context.runner, check, &cmd.dir(root).timeout(left), report::note)
        };
        outcomes.extend(check::commands(check, Instant::now(), one)?);
    }
    if context.json {
        report::data(&outcomes)?;
    }
    check::print(&outcomes, context.json);
    let failed = check::failed(&outcomes);
    if failed.is_empty() {
        return Ok(());
    }
    Err(Fault::failed(format!("checks failed: {}", failed.join(", "))).into())
}
