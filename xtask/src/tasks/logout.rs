//! `logout`: remove the private Docker configuration of `login`, and with it the password; keys of builders too.
//!
//! And what a `login` left that was killed: all that lies where secrets do.

use anyhow::Result;

use crate::cmd::Cmd;
use crate::context::Context;
use crate::{credentials, report};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let folder = credentials::secrets(&context.env, &context.repo)?;
    if !folder.exists() {
        report::note("nobody is logged in here");
        return Ok(());
    }
    // The links in it are not followed.
    let cmd = Cmd::cleanup("rm", "log out").args(["-r", "-f", folder.as_str()]);
    let exit = context.runner.output(&cmd)?;
    context.runner.check(&cmd, &exit)?;
    if !exit.skipped {
        report::note("logged out");
    }
    Ok(())
}
