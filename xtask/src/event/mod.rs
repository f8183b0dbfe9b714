//! Why we run: the event, from `--event`, from GitHub's environment, or from a recorded file.

pub mod github;
pub mod parse;

use serde::{Deserialize, Serialize};

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
