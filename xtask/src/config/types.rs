//! The language of `docker/images.toml` as types: what may be written, and every default.
//!
//! The JSON Schema is derived from these types and the file is checked against it before anything is
//! interpreted (see `check`), so the printed schema, the loader and this page cannot drift apart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One value or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            OneOrMany::One(value) => vec![value.clone()],
            OneOrMany::Many(values) => values.clone(),
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

/// docker/images.toml
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct File {
    /// Version of this language: 1, also when it is not written.
    #[schemars(range(min = 1, max = 1), extend("default" = 1))]
    pub schema: u32,
    /// Host of the registry; empty: images stay local. `${NAME}` is an environment variable.
    pub registry: String,
    /// What stands between the registry and the image's name.
    pub namespace: String,
    /// File whose text is the version; without it the git tag is.
    pub version_file: Option<String>,
    pub login: Login,
    /// Named lists of values.
    pub axes: BTreeMap<String, Axis>,
    /// Any key of an image, for all images.
    pub defaults: Image,
    pub image: BTreeMap<String, Image>,
    pub check: BTreeMap<String, Check>,
    pub scan: Option<Scan>,
    pub cache: Option<Cache>,
    pub on: Events,
    pub release: Release,
    pub retention: Option<Retention>,
    /// Remote BuildKit nodes by platform.
    pub builders: BTreeMap<String, Builder>,
    pub github: Github,
}

/// Names of the environment variables that hold the credentials, as `${NAME}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// "${NAME}", an environment variable
    #[schemars(regex(pattern = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"))]
    pub username: String,
    /// "${NAME}", an environment variable
    #[schemars(regex(pattern = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"))]
    pub password: String,
}

impl Default for Login {
    fn default() -> Self {
        Login { username: "${DOCKER_USERNAME}".into(), password: "${DOCKER_PASSWORD}".into() }
    }
}

/// The values of an axis: written here, the lines of a file, or folders that hold a Dockerfile.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Axis {
    List(Vec<String>),
    File(AxisFile),
    Dirs(AxisDirs),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisFile {
    pub file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisDirs {
    pub dirs: String,
}

/// One image, or the keys of `[defaults]` and of `when`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Image {
    /// `"{runtime}-py{python}"`; the axes in it make the matrix. Default: one build.
    pub variant: Option<String>,
    /// Default `{namespace}/{id}`.
    pub repository: Option<String>,
    /// Default ".".
    pub context: Option<String>,
    /// Default `{context}/Dockerfile`; with a template `docker/dockerfiles/Dockerfile.{variant}`.
    pub dockerfile: Option<String>,
    pub template: Option<String>,
    /// Default: the last stage.
    pub target: Option<String>,
    pub parent: Option<OneOrMany<String>>,
    pub platforms: Option<Vec<String>>,
    pub args: BTreeMap<String, String>,
    /// For the template only.
    pub vars: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, Secret>,
    /// Conditions under which a point of the matrix is not built.
    pub exclude: Vec<String>,
    /// Further builds, every axis named.
    pub include: Vec<String>,
    /// Keys laid over the image where the condition holds.
    pub when: BTreeMap<String, Image>,
    /// Default: the lock, requirements and project files among what the image is made of.
    pub dependencies: Option<Vec<String>>,
    /// Default true; false: built and tested, never pushed.
    pub publish: Option<bool>,
    /// Default false; true: only on the local event, never pushed.
    pub local_only: Option<bool>,
    /// Default "60m".
    pub timeout: Option<Duration>,
    pub on: Events,
    pub test: OneOrMany<Test>,
}

/// A span of time such as "90s", "10m", "1h 30m".
pub type Duration = String;

/// A build secret: an environment variable as `${NAME}`, or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Secret {
    /// "${NAME}", an environment variable
    Env(#[schemars(regex(pattern = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"))] String),
    File(AxisFile),
}

/// What runs inside an image to test it: one of `run`, `http`, `healthy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Test {
    /// Replaces ENTRYPOINT and CMD; split like a shell would, no shell runs; or a list.
    pub run: Option<OneOrMany<String>>,
    /// ":8000/health": start the image as it is, wait for 2xx.
    pub http: Option<String>,
    /// Start the image as it is, wait for its HEALTHCHECK.
    pub healthy: Option<bool>,
    /// "host:container", always read-only.
    pub mounts: Vec<String>,
    /// Sets of test dependencies, `--deps NAME`: a command that installs them.
    pub deps: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    /// Default: the image's.
    pub workdir: Option<String>,
    /// Default target/slipway/logs/test-{id}.log
    pub log: Option<String>,
    /// Default "10m".
    pub timeout: Option<Duration>,
}

/// A check: on this machine, inside an image (`in`), or with a composed system (`compose`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Check {
    pub run: OneOrMany<String>,
    /// The image in which it runs, with the working tree at /workspace.
    pub r#in: Option<String>,
    pub compose: Option<String>,
    pub services: Vec<String>,
    pub may_fail: bool,
    /// Default "5m".
    pub timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Never,
    Low,
    Medium,
    High,
    #[default]
    Critical,
}

impl Severity {
    /// As it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Never => "never",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Scan {
    pub fail_on: Severity,
    pub ignore: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WriteWhen {
    #[default]
    Always,
    DependenciesChanged,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Cache {
    /// Default `{repository}:buildcache`.
    pub registry: String,
    /// Also GitHub's cache.
    pub gha: bool,
    pub write_when: WriteWhen,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { registry: "{repository}:buildcache".into(), gha: false, write_when: WriteWhen::Always }
    }
}

/// What each event does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Events {
    pub pull_request: Option<Switch>,
    /// By pattern of the branch's name, or by any name with `match`.
    pub branch: BTreeMap<String, Switch>,
    pub tag: Option<Switch>,
    pub schedule: Option<Switch>,
    pub manual: Option<Switch>,
    pub local: Option<Switch>,
}

/// `false` switches the event off (for an image), a table says what it does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Switch {
    Off(bool),
    On(Box<Policy>),
}

/// When a build starts from nothing: `--pull --no-cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FreshWhen {
    #[default]
    Never,
    Always,
    DependenciesChanged,
    BasesChanged,
}

/// `true`, `false`, or the name of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Fresh {
    Flag(bool),
    When(FreshIf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FreshIf {
    DependenciesChanged,
    BasesChanged,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    #[default]
    ReadWrite,
    Read,
    Off,
}

/// The keys of `[on.EVENT]`; which of them an event takes is checked when the file is loaded.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Policy {
    /// Patterns of the branch or tag (GitHub's globs).
    pub r#match: Option<OneOrMany<String>>,
    /// Of a pull request: into which branches. Default: any.
    pub branches: Option<Vec<String>>,
    pub paths: Option<Vec<String>>,
    pub paths_ignore: Option<Vec<String>>,
    /// Conditions: only these builds.
    pub only: Option<Vec<String>>,
    pub platforms: Option<Vec<String>>,
    pub fresh: Option<Fresh>,
    pub cache: Option<CacheMode>,
    pub tags: Option<Vec<String>>,
    pub cache_from_tags: Option<Vec<String>>,
    pub cron: Option<OneOrMany<String>>,
    pub replace: Option<bool>,
    pub rebuild_input: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    #[default]
    Promote,
    Rebuild,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Release {
    pub gate: Gate,
    /// Where candidates and test marks live. Default `{repository}`.
    pub candidates: String,
    pub prereleases_move_tags: bool,
    pub sign: bool,
    pub sbom: bool,
}

impl Default for Release {
    fn default() -> Self {
        Release { gate: Gate::Promote, candidates: "{repository}".into(), prereleases_move_tags: false, sign: false, sbom: false }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    #[schemars(range(min = 1))]
    pub keep: u32,
    pub grace: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { keep: 5, grace: "24h".into() }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// Of the BuildKit that builds this platform: "tcp://host:1234".
    pub address: String,
    /// Who signed its certificate: a file, or "${NAME}", an environment variable with its path or its text.
    pub ca: Option<String>,
    /// Our certificate, likewise.
    pub cert: Option<String>,
    /// Our key, likewise.
    pub key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Github {
    pub runs_on: String,
}

impl Default for Github {
    fn default() -> Self {
        Github { runs_on: "ubuntu-24.04".into() }
    }
}
