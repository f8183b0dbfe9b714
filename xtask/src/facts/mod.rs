//! What a plan needs to know of the world, gathered by one door and handed to the pure planner as data.

pub mod dockerfile;
pub mod git;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// Everything outside `images.toml` that decides a plan. Recorded with golden plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Full sha, `None` without git.
    pub commit: Option<String>,
    /// RFC 3339 in UTC, of the commit.
    pub commit_time: Option<String>,
    /// SHA-256 over what differs from the commit, `None` when nothing does.
    pub dirty: Option<String>,
    /// `None`: detached or no git.
    pub branch: Option<String>,
    pub default_branch: String,
    /// Web address of the source, for the label.
    pub source: Option<String>,
    /// UTC, RFC 3339: fixed here, travels with the plan.
    pub now: String,
    /// Identifies the run; a re-run attempt has the same.
    pub run: String,
    /// `linux/amd64`
    pub host_platform: String,
    /// Files that changed in this event, from the merge base.
    pub changed: Changed,
    /// Files that changed since what `dependencies-changed` compares with.
    pub since_release: Changed,
    /// By path: what each Dockerfile (rendered, where it has a template) is made of.
    pub dockerfiles: BTreeMap<Utf8PathBuf, Dockerfile>,
}

/// Files that changed, or why that is not known (then everything is taken as changed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    Unknown(String),
    Files(Vec<Utf8PathBuf>),
}

impl Default for Changed {
    fn default() -> Self {
        Changed::Unknown("nothing was compared".into())
    }
}

/// What a Dockerfile takes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dockerfile {
    /// SHA-256 of its text.
    pub sha256: String,
    /// External images of FROM, COPY --from and RUN --mount=from=, arguments filled in, sorted; stages left out.
    pub images: Vec<String>,
    /// Sources of COPY, ADD and bind mounts, relative to the context, as patterns; `None`: the whole context.
    pub sources: Option<Vec<String>>,
}
