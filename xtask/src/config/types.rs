//! The language of `docker/images.toml` as types: what may be written, and every default.
//!
//! The JSON Schema is derived from these types and the file is checked against it before anything is
//! interpreted (see `check`), so the printed schema, the loader and this page cannot drift apart. The comments of fields are
//! what an editor shows.

mod events;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use events::*;

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
    /// Who `login` logs in as.
    pub login: Login,
    /// Named lists of values.
    pub axes: BTreeMap<String, Axis>,
    /// Any key of an image, for all images.
    pub defaults: Image,
    /// The images, by name. An empty table is one: `./Dockerfile`.
    pub image: BTreeMap<String, Image>,
    /// Checks of more than one image's own test, by name.
    pub check: BTreeMap<String, Check>,
    /// Makes the search for known vulnerabilities a step of the pipeline.
    pub scan: Option<Scan>,
    /// Without it only the builder's own cache is used, and CI starts cold.
    pub cache: Option<Cache>,
    /// What each event does. pull-request and local are always there; with none written, tag too.
    pub on: Events,
    /// How what was tested is published.
    pub release: Release,
    /// Which versions are kept. Not supported yet: a plan that would need it warns.
    pub retention: Option<Retention>,
    /// BuildKit elsewhere, by platform.
    pub builders: BTreeMap<String, Builder>,
    /// Not used yet.
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
    /// Of an axis: a line is a value, `#` begins a comment. Of a secret: the file that is mounted.
    pub file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisDirs {
    /// "services/*": each folder that holds a Dockerfile is a value.
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
    /// What `gen-dockerfiles` renders the Dockerfile from; sees the axes, `vars` and `version(…)`.
    pub template: Option<String>,
    /// Default: the last stage.
    pub target: Option<String>,
    /// The images that its FROM lines name: of this run where they are built, else the published ones ("base:dev": by that
    /// tag), pinned by digest.
    pub parent: Option<OneOrMany<String>>,
    /// Default ["linux/amd64"]; a local run builds for this machine only.
    pub platforms: Option<Vec<String>>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// For the template only.
    pub vars: BTreeMap<String, String>,
    /// Besides title, version, revision, source and created.
    pub labels: BTreeMap<String, String>,
    /// By id, for `RUN --mount=type=secret,id=…`.
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
    /// Laid key by key over `[on]`; an event that is named only here is only for this image.
    pub on: Events,
    /// What runs inside the image before it is published.
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
    /// Environment variables of the container.
    pub env: BTreeMap<String, String>,
    /// Default: the image's.
    pub workdir: Option<String>,
    /// Default target/slipway/logs/test-{id}.log, test2-{id}.log for the second test of an image, and so on.
    pub log: Option<String>,
    /// Default "10m".
    pub timeout: Option<Duration>,
}

/// A check: on this machine, inside an image (`in`), or with a composed system (`compose`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Check {
    /// Command lines, split like a shell would; the first that fails is the last.
    pub run: OneOrMany<String>,
    /// The image in which it runs, with a copy of the working tree at /workspace.
    pub r#in: Option<String>,
    /// A compose file: up and healthy with the images of this run, then `run` on this machine, then down.
    pub compose: Option<String>,
    /// Of the compose file. Default: all.
    pub services: Vec<String>,
    /// Default false; true: only reported.
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
    /// Findings from this severity upwards fail the run, with exit code 10.
    pub fail_on: Severity,
    /// A list of findings to leave out. Default `.trivyignore`, where there is one.
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
    /// Also GitHub's cache, the only one that pull requests write.
    pub gha: bool,
    /// Fresh builds always write.
    pub write_when: WriteWhen,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { registry: "{repository}:buildcache".into(), gha: false, write_when: WriteWhen::Always }
    }
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
    /// "promote": what was tested is tagged; "rebuild": it is built again from cache, compared, and tagged.
    pub gate: Gate,
    /// Where candidates and test marks live. Default `{repository}`.
    pub candidates: String,
    /// Default false; true: v1.1.0-rc1 takes latest too.
    pub prereleases_move_tags: bool,
    /// Not supported yet: a plan that would need it warns.
    pub sign: bool,
    /// Not supported yet: a plan that would need it warns.
    pub sbom: bool,
}

impl Default for Release {
    fn default() -> Self {
        Release { gate: Gate::Promote, candidates: "{repository}".into(), prereleases_move_tags: false, sign: false, sbom: false }
    }
}

/// `retention` removes superseded candidates and untagged leftovers from the registry. `ci` ends with it where the run
/// publishes from the default branch or from a git tag.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Written-once tags that stay: "all", or the number of the newest of each template. Pre-releases are counted apart.
    pub keep: Keep,
    /// Everything younger than this stays.
    pub grace: Duration,
}

/// How many written-once tags of each template stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Keep {
    Newest(#[schemars(range(min = 1))] u32),
    Every(All),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum All {
    All,
}

impl Keep {
    /// `None`: every tag stays.
    pub fn newest(self) -> Option<usize> {
        match self {
            Keep::Newest(number) => Some(number as usize),
            Keep::Every(All::All) => None,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention { keep: Keep::Every(All::All), grace: "24h".into() }
    }
}

/// Who builds a platform: a BuildKit daemon with an `address`, or one that is started in the cluster of `kubernetes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Builder {
    /// Of a BuildKit daemon: "tcp://host:1234".
    pub address: Option<String>,
    /// Who signed its certificate: a file, or "${NAME}", an environment variable with its path or its text.
    pub ca: Option<String>,
    /// Our certificate, likewise.
    pub cert: Option<String>,
    /// Our key, likewise.
    pub key: Option<String>,
    /// A context of the kubeconfig; "": its current one.
    pub kubernetes: Option<String>,
    /// A file, or "${NAME}", an environment variable with its path or its text. Default: as for kubectl, $KUBECONFIG, else
    /// ~/.kube/config.
    pub kubeconfig: Option<String>,
    /// Of buildx's driver `kubernetes`, such as namespace, replicas, nodeselector, "requests.cpu".
    pub options: BTreeMap<String, String>,
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
