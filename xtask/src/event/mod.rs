//! Why we run: the event, from `--event`, from GitHub's environment, or from a recorded file.

pub mod github;
pub mod parse;

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::config::Env;
use crate::error::Fault;

/// The event of a run. Serialised into the plan as `{"kind": "pull-request", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// On somebody's machine, for nobody else.
    Local,
    PullRequest {
        /// `None` in a merge queue.
        number: Option<u64>,
        /// From another repository: never writes anywhere.
        fork: bool,
        /// The branch it goes into, `None` when only a flag said so.
        base: Option<String>,
    },
    /// A push to a branch.
    Branch {
        name: String,
        /// The push replaced commits that the branch had.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
    },
    /// A pushed tag, its name as pushed (`v1.2.3`).
    Tag { name: String },
    /// `branch`: the one it runs on, `None` when only a flag said so (then the default branch).
    Schedule { branch: Option<String> },
    Manual {
        /// The rebuild checkbox: fresh.
        rebuild: bool,
        branch: Option<String>,
    },
}

impl Event {
    /// As `--event` takes it.
    pub fn flag(&self) -> String {
        match self {
            Event::Local => "local".into(),
            Event::PullRequest { number: Some(number), fork: false, .. } => format!("pr:{number}"),
            Event::PullRequest { number: Some(number), fork: true, .. } => format!("pr:{number}:fork"),
            Event::PullRequest { number: None, .. } => "merge-queue".into(),
            Event::Branch { name, forced: false } => format!("branch:{name}"),
            Event::Branch { name, forced: true } => format!("branch:{name}:forced"),
            Event::Tag { name } => format!("tag:{name}"),
            Event::Schedule { .. } => "schedule".into(),
            Event::Manual { rebuild: false, .. } => "manual".into(),
            Event::Manual { rebuild: true, .. } => "manual:rebuild".into(),
        }
    }
}

/// What the event says that changed files are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The event has no "before": a tag, a schedule, a manual or local run.
    Nothing,
    /// The branch that a pull request goes into: its tip and that of the pull request, `None` when only a flag said so.
    Target {
        base: Option<String>,
        head: Option<String>,
    },
    /// What the branch had before the push, `None` when only a flag said so.
    Before(Option<String>),
    Unknown(String),
}

/// An event with what its source said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub event: Event,
    pub compare: Compare,
    pub default_branch: Option<String>,
}

/// A recorded run of GitHub Actions, for `--event-file`: its `GITHUB_…` variables and the text of
/// `$GITHUB_EVENT_PATH`, `{"env": {"GITHUB_EVENT_NAME": "push", …}, "event": {…}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    env: Env,
    event: serde_json::Value,
}

/// The event: `--event`, else `--event-file`, else what GitHub Actions says, else a local run.
///
/// # Errors
/// Usage faults: a flag that is no event, a file that cannot be read or has not what it must have.
pub fn read(flag: Option<&str>, replay: Option<&Utf8Path>, env: &Env, rebuild_inputs: &[String]) -> Result<Recorded> {
    if let Some(text) = flag {
        let event = parse::event(text).map_err(|error| Fault::usage(format!("--event: {error}")))?;
        return Ok(Recorded { compare: flag_compares(&event), event, default_branch: None });
    }
    let replay = match (replay, env.get("GITHUB_EVENT_PATH")) {
        (Some(file), _) => load::<Replay>(file)?,
        (None, _) if env.get("GITHUB_ACTIONS").is_none_or(|value| value != "true") => {
            return Ok(Recorded { event: Event::Local, compare: Compare::Nothing, default_branch: None });
        }
        (None, Some(path)) => Replay { env: env.clone(), event: load(Utf8Path::new(path))? },
        (None, None) => Replay { env: env.clone(), event: serde_json::Value::Null },
    };
    github::read(&replay.env, &replay.event, rebuild_inputs).map_err(|error| {
        let fault = Fault::usage(format!("cannot tell the event: {error}"));
        fault.hint("say it with --event (pr:12, branch:main, tag:v1.2.3, schedule, manual, local)").into()
    })
}

fn flag_compares(event: &Event) -> Compare {
    match event {
        Event::PullRequest { .. } => Compare::Target { base: None, head: None },
        Event::Branch { .. } => Compare::Before(None),
        _ => Compare::Nothing,
    }
}

fn load<T: for<'de> Deserialize<'de>>(path: &Utf8Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| Fault::usage(format!("cannot read the event file {path}")))?;
    // Through a value: serde would take an array for a structure, field by field.
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).with_context(|| bad(path))?;
    serde_json::from_value(value.into()).with_context(|| bad(path))
}

fn bad(path: &Utf8Path) -> Fault {
    Fault::usage(format!("cannot understand the event file {path}"))
        .hint("--event-file takes `{\"env\": {\"GITHUB_EVENT_NAME\": \"push\", …}, \"event\": {…}}`")
}

#[cfg(test)]
mod tests;
