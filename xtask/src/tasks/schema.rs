//! `schema`: print the JSON Schema of `docker/images.toml`.

use anyhow::Result;

use crate::config::schema;
use crate::context::Context;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(_context: &Context, _args: &Args) -> Result<()> {
    report::data(&schema::schema())?;
    Ok(())
}
