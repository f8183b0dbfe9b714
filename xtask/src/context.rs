//! What every task works with: the repository, the plan, the runner.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::Utf8PathBuf;

use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::Plan;

pub struct Context {
    pub repo: Utf8PathBuf,
    pub runner: Runner,
    pub env: BTreeMap<String, String>,
    pub json: bool,
    pub jobs: usize,
    pub builder: Option<String>,
    pub plan: Option<Utf8PathBuf>,
}

impl Context {
    pub fn plan(&self) -> Result<Plan> {
        let path = self.plan.as_ref().ok_or_else(|| Fault::usage("no plan: give --plan FILE"))?;
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the plan {path}"))?;
        serde_json::from_str(&text).with_context(|| Fault::usage(format!("cannot understand the plan {path}")))
    }

    pub fn builder(&self) -> Option<&str> {
        self.builder.as_deref()
    }
}
