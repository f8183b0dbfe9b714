//! `completions`: print completions of `xtask` for a shell.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::context::Context;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(_context: &Context, args: &Args) -> Result<()> {
    let mut script = Vec::new();
    // Completion works on a program's name, so this is for the binary: `alias xtask='cargo xtask'`.
    clap_complete::generate(args.shell, &mut Cli::command().bin_name("xtask"), "xtask", &mut script);
    report::result(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
