//! `logout`: remove the private Docker configuration of `login`, and with it the password; keys of builders too.

use anyhow::Result;

use crate::cmd::Cmd;
use crate::context::Context;
use crate::{builder, credentials, report};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let folders = [credentials::folder(&context.repo), builder::keys(&context.repo)];
    let there: Vec<&str> = folders.iter().filter(|folder| folder.exists()).map(|folder| folder.as_str()).collect();
    if there.is_empty() {
        report::note("nobody is logged in here");
        return Ok(());
    }
    // The links in them are not followed.
    context.runner.read(&Cmd::cleanup("rm", "log out").args(["-r", "-f"]).args(there))?;
    report::note("logged out");
    Ok(())
}
