//! `schema`: print the JSON Schema of `docker/images.toml`, for editors.

use anyhow::Result;

use crate::config::schema;
use crate::report;

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<()> {
    report::result(&serde_json::to_string_pretty(&schema::schema())?);
    Ok(())
}
