//! `docker/images.toml` and the files it names, loaded: every build with its keys laid and its placeholders filled.
//!
//! `load` reads files, and the environment through [`Env`]; nothing else. Everything that could be known
//! to be wrong is reported here, all at once, each with file and line.

mod axes;
mod build;
mod builders;
mod check;
mod checks;
pub mod condition;
mod disk;
mod expand;
mod faults;
mod fill;
mod graph;
mod hosts;
mod image_test;
mod keys;
mod layer;
mod load;
mod logs;
mod matrix;
pub mod names;
pub mod paths;
pub mod placeholder;
mod places;
mod policy;
mod quoting;
pub mod schema;
mod shared;
mod tree;
pub mod types;
mod unique;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::version::Version;
use condition::Condition;
pub use faults::suggest;
#[cfg(test)]
pub use load::load_text;
pub use load::{load, load_for};
pub use types::{Cache, CacheMode, Check, FreshWhen, Gate, Retention, Scan, Secret, Severity, WriteWhen};

/// The process environment, handed in: tests and golden plans bring their own.
pub type Env = BTreeMap<String, String>;

/// Everything `docker/images.toml` says, resolved. Order of `builds`: by image name, then by axis values as written.
#[derive(Clone, Debug)]
pub struct Config {
    /// Relative to the repository.
    pub file: Utf8PathBuf,
    /// Host of the registry, "" when images stay local (also when its `${NAME}` is not set).
    pub registry: String,
    /// The same as the file has it, also where another one takes its place: what FROM lines are written with.
    pub written_registry: String,
    /// Where a rehearsal writes to; what was published before is read from `registry` then too.
    pub rehearsal: Option<String>,
    /// The variable that `registry` names, when it is not set: publishing then needs it.
    pub registry_unset: Option<String>,
    pub namespace: String,
    pub version_file: Option<VersionFile>,
    /// Names of the variables that hold user and password.
    pub login: (String, String),
    /// Axis name → values in their order.
    pub axes: BTreeMap<String, Vec<String>>,
    /// Axis → the file that its values stand in, where they do.
    pub axis_files: BTreeMap<String, Utf8PathBuf>,
    pub builds: Vec<Build>,
    pub checks: BTreeMap<String, Check>,
    pub scan: Option<Scan>,
    pub cache: Option<Cache>,
    pub release: types::Release,
    pub retention: Option<Retention>,
    pub builders: BTreeMap<String, types::Builder>,
    /// What `[on]` says for all images, for triggers and workflows; per build see [`Build::on`].
    pub on: Vec<Policy>,
}

impl Config {
    /// The parents of a build, each with the build that it is: of that image, with the same values on the axes they share.
    pub fn parents<'a>(&'a self, child: &'a Build) -> impl Iterator<Item = (&'a Parent, &'a Build)> + use<'a> {
        let agrees = |parent: &Build| {
            parent.axes.iter().all(|(axis, value)| child.axes.iter().all(|(other, theirs)| axis != other || value == theirs))
        };
        let build = move |parent: &Parent| self.builds.iter().find(|build| build.image == parent.image && agrees(build));
        child.parents.iter().filter_map(move |parent| Some((parent, build(parent)?)))
    }

    /// The full name of a published repository: the registry is put in front, where there is one.
    pub fn with_registry(&self, name: &str) -> String {
        in_registry(&self.registry, name)
    }

    /// The full name of a repository or cache reference that this run writes.
    pub fn with_target(&self, name: &str) -> String {
        in_registry(self.target(), name)
    }

    /// The registry that is written to, "" where there is none.
    pub fn target(&self) -> &str {
        self.rehearsal.as_deref().unwrap_or(&self.registry)
    }

    /// Parses a condition of the command line (`--only`) against what this file holds.
    ///
    /// Errors: as [`Condition::parse`], and images and ids that do not exist, with the nearest names.
    pub fn condition(&self, text: &str) -> Result<Condition, String> {
        let mut axes = self.axes.clone();
        for (axis, value) in self.builds.iter().flat_map(|build| &build.axes) {
            let values = axes.entry(axis.clone()).or_default();
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        let names =
            |name: fn(&Build) -> &String| self.builds.iter().map(name).cloned().collect::<BTreeSet<_>>().into_iter().collect();
        axes.insert("image".into(), names(|build| &build.image));
        axes.insert("id".into(), names(|build| &build.id));
        Condition::parse(text, &axes)
    }
}

fn in_registry(registry: &str, name: &str) -> String {
    if registry.is_empty() { name.to_owned() } else { format!("{registry}/{name}") }
}

/// `version-file`: its path and its checked text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionFile {
    pub path: Utf8PathBuf,
    pub version: Version,
}

/// One image at one point of its axes. All text is final but for event placeholders (`{version}`, `{sha7}` …) in
/// `Policy::tags`, `args` and `labels`.
#[derive(Clone, Debug)]
pub struct Build {
    /// `IMAGE` or `IMAGE-VARIANT`.
    pub id: String,
    pub image: String,
    /// "" for an image without axes.
    pub variant: String,
    /// Axis → value, in the order in which the axes stand in `variant`.
    pub axes: Vec<(String, String)>,
    /// Without the registry: `slipway/python-cpu-py3.11`.
    pub repository: String,
    /// Paths relative to the repository.
    pub context: Utf8PathBuf,
    pub dockerfile: Utf8PathBuf,
    pub template: Option<Utf8PathBuf>,
    pub target: Option<String>,
    pub parents: Vec<Parent>,
    pub platforms: Vec<String>,
    pub args: BTreeMap<String, String>,
    pub vars: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, Secret>,
    /// `None`: the default set of lock, requirements and project files.
    pub dependencies: Option<Vec<String>>,
    pub publish: bool,
    pub local_only: bool,
    pub timeout: Duration,
    pub tests: Vec<Test>,
    /// Registry cache ref without the registry, `None` without `[cache]`.
    pub cache_ref: Option<String>,
    /// Where candidates live, without the registry.
    pub candidates: String,
    pub on: Vec<Policy>,
}

/// `parent = "base:dev"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub image: String,
    /// `None`: the moving tag that the event moves for the parent, else `latest`.
    pub tag: Option<String>,
}

/// What runs inside an image, with its placeholders filled. Serialised into the test key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    pub kind: TestKind,
    /// (path in the repository, path in the container), read-only.
    pub mounts: Vec<(Utf8PathBuf, String)>,
    /// Name of the set → command, split.
    pub deps: BTreeMap<String, Vec<String>>,
    pub env: BTreeMap<String, String>,
    pub workdir: Option<String>,
    pub log: Utf8PathBuf,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestKind {
    /// Replaces ENTRYPOINT and CMD.
    Run(Vec<String>),
    /// Start the image, wait for 2xx on this port and path.
    Http { port: u16, path: String },
    /// Start the image, wait for its HEALTHCHECK.
    Healthy,
}

/// Which table of `[on]` a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKey {
    PullRequest,
    /// The key written after `on.branch.`
    Branch(String),
    Tag,
    Schedule,
    Manual,
    Local,
}

/// What one event does for one build: the image's own keys laid over the table, defaults filled in.
#[derive(Clone, Debug)]
pub struct Policy {
    pub event: EventKey,
    /// Branch or tag patterns; empty for other events.
    pub matches: Vec<String>,
    /// Pull requests into these branches; empty: any.
    pub branches: Vec<String>,
    pub paths: Option<Vec<String>>,
    pub paths_ignore: Option<Vec<String>>,
    pub only: Vec<Condition>,
    pub platforms: Option<Vec<String>>,
    pub fresh: FreshWhen,
    pub cache: CacheMode,
    /// As written, event placeholders still in.
    pub tags: Vec<String>,
    /// Nobody wrote `tags`: they are the event's default.
    pub has_default_tags: bool,
    pub cache_from_tags: Vec<String>,
    pub replace: bool,
    pub rebuild_input: String,
}

impl Policy {
    /// All platforms that the event may build an image for.
    pub fn platforms<'a>(&'a self, build: &'a Build) -> &'a [String] {
        self.platforms.as_deref().unwrap_or(&build.platforms)
    }
}

#[cfg(test)]
mod tests;
