//! What every task works with: the repository, its configuration, the plan, the engine, the runner.

use std::cell::OnceCell;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::Global;
use crate::config::condition::Condition;
use crate::config::{self, Config, Env};
use crate::engine::{self, Engine};
use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::{self, Plan};
use crate::{event, facts, template};

/// Made once by `main`; configuration and engine are looked up when a task first asks.
pub struct Context {
    pub repo: Utf8PathBuf,
    pub runner: Runner,
    pub env: Env,
    pub json: bool,
    pub jobs: usize,
    global: Global,
    config: OnceCell<Config>,
}

impl Context {
    pub fn new(global: Global) -> Result<Context> {
        let runner = Runner::new(global.dry_run, global.verbose > 0);
        runner.catch_signals()?;
        let repo = match &global.repo {
            Some(repo) => repo.canonicalize_utf8().with_context(|| Fault::usage(format!("cannot find the repository {repo}")))?,
            None => find_repo()?,
        };
        let jobs = global.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ok(Context { repo, runner, env: facts::env(), json: global.json, jobs, global, config: OnceCell::new() })
    }

    /// `docker/images.toml`, or what `--config` names.
    pub fn config(&self) -> Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let mut config = config::load(&self.repo, &self.global.config, &self.env)?;
        if let Some(registry) = &self.global.registry {
            config.registry.clone_from(registry);
        }
        Ok(self.config.get_or_init(|| config))
    }
}
