//! Which Docker is used: the one that answers, or the sandbox.

use anyhow::Result;

use crate::exec::Runner;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    #[default]
    Auto,
    Host,
    Sandbox,
}

pub struct Engine {
    pub sandbox: bool,
    pub registry: Option<String>,
    pub env: Vec<(String, String)>,
}

pub fn resolve(_choice: Choice, _runner: &Runner) -> Result<Engine> {
    Ok(Engine { sandbox: false, registry: None, env: Vec::new() })
}
