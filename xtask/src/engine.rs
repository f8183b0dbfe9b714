//! Which Docker this run uses: the host's, or the sandbox.

use std::time::Duration;

use anyhow::Result;

use crate::error::Fault;
use crate::exec::Runner;
use crate::{docker, facts, report, sandbox};

/// A Docker that takes longer to say its version is not ready.
const LIMIT: Duration = Duration::from_secs(10);

/// `--engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The Docker that answers, else the sandbox
    #[default]
    Auto,
    /// The Docker that answers
    Host,
    /// The sandbox's registry, and its engine where no Docker answers
    Sandbox,
}

/// The engine of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// Every repository and cache must then be one of `registry`.
    pub sandbox: bool,
    /// It is the sandbox's own, not the host's.
    pub private: bool,
    /// `localhost:5000`.
    pub registry: Option<String>,
    /// For every command: `DOCKER_HOST`, `DOCKER_CONFIG`, `PATH`.
    pub env: Vec<(String, String)>,
}

/// Finds the engine, and starts the sandbox where that is the one.
///
/// # Errors
/// Exit code 3: nothing answers and nothing can be started.
pub fn resolve(choice: Choice, runner: &Runner) -> Result<Engine> {
    match choice {
        Choice::Sandbox => sandboxed(runner),
        Choice::Host => match host(runner) {
            Some(_) => Ok(Engine::default()),
            None => Err(Fault::not_ready("no Docker answers").hint("start Docker, or use `--engine sandbox`").into()),
        },
        Choice::Auto => {
            // One that runs was started because no Docker answered.
            if let Some(state) = sandbox::running()?.filter(|state| state.engine) {
                report::note(&format!("using the sandbox, registry {}", state.registry()));
                return of(&state);
            }
            if host(runner).is_some() {
                return Ok(Engine::default());
            }
            sandbox::suitable(runner).map_err(|reason| sandbox::no_engine(&reason))?;
            report::note("no Docker answers: using the sandbox (`cargo xtask sandbox down` ends it)");
            sandboxed(runner)
        }
    }
}

/// The version of the host's Docker, if one answers that is not the sandbox.
pub fn host(runner: &Runner) -> Option<String> {
    runner.which("docker")?;
    let mut version = docker::server_version().timeout(LIMIT);
    if facts::var("DOCKER_HOST").is_some_and(|address| sandbox::is_own_address(&address)) {
        // In a shell after `sandbox env`: empty is unset, for docker.
        version = version.env("DOCKER_HOST", "").env("DOCKER_CONFIG", "");
    }
    let exit = runner.output(&version).ok()?;
    let said = exit.stdout.trim();
    (exit.ok() && said.starts_with(|c: char| c.is_ascii_digit())).then(|| said.to_owned())
}

fn sandboxed(runner: &Runner) -> Result<Engine> {
    of(&sandbox::up(runner)?)
}

fn of(state: &sandbox::State) -> Result<Engine> {
    Ok(Engine { sandbox: true, private: state.engine, registry: Some(state.registry()), env: sandbox::env(state)? })
}
