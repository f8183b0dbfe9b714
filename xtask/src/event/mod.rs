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
    Branch { name: String },
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
            Event::Branch { name } => format!("branch:{name}"),
            Event::Tag { name } => format!("tag:{name}"),
            Event::Schedule { .. } => "schedule".into(),
            Event::Manual { rebuild: false, .. } => "manual".into(),
            Event::Manual { rebuild: true, .. } => "manual:rebuild".into(),
        }
    }
}

/// What changed files are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The event has no "before": a tag, a schedule, a manual or local run.
    Nothing,
    /// The merge base with this revision.
    Base(String),
    Unknown(String),
}

/// An event with what its source said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub event: Event,
    pub compare: Compare,
    pub default_branch: Option<String>,
}

/// A recorded run of GitHub Actions, for `--event-file`: `{"env": {"GITHUB_EVENT_NAME": "push", …}, "event": {…}}`.
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
        (None, Some(path)) if env.contains_key("GITHUB_ACTIONS") => {
            Replay { env: env.clone(), event: load(Utf8Path::new(path))? }
        }
        _ => return Ok(Recorded { event: Event::Local, compare: Compare::Nothing, default_branch: None }),
    };
    github::read(&replay.env, &replay.event, rebuild_inputs)
        .map_err(|error| Fault::usage(format!("cannot tell the event: {error}")).into())
}

/// With a flag only, pull requests and pushes are compared with the default branch.
fn flag_compares(event: &Event) -> Compare {
    match event {
        Event::PullRequest { .. } => Compare::Base(String::new()),
        Event::Branch { .. } => Compare::Unknown("the event was given by a flag".into()),
        _ => Compare::Nothing,
    }
}

fn load<T: for<'de> Deserialize<'de>>(path: &Utf8Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| Fault::usage(format!("cannot read the event file {path}")))?;
    serde_json::from_str(&text).with_context(|| Fault::usage(format!("cannot understand the event file {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_run_is_replayed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = Utf8Path::from_path(file.path()).unwrap();
        let env = r#"{"GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.0.0"}"#;
        std::fs::write(path, format!(r#"{{"env": {env}, "event": {{}}}}"#)).unwrap();
        assert_eq!(read(None, Some(path), &Env::new(), &[]).unwrap().event, Event::Tag { name: "v1.0.0".into() });
        std::fs::write(path, "{").unwrap();
        let error = read(None, Some(path), &Env::new(), &[]).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Usage);
    }

    #[test]
    fn without_anything_it_is_a_local_run() {
        assert_eq!(read(None, None, &Env::new(), &[]).unwrap().event, Event::Local);
    }
}
