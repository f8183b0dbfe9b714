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
