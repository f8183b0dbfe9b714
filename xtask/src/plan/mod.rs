//! The plan: every decision of a run, as data. Pure: no clock, environment, file, network or process.

mod cache;
mod checks;
mod fresh;
#[cfg(test)]
mod golden;
mod key;
pub mod labels;
mod narrow;
mod parents;
mod planner;
mod platforms;
#[cfg(test)]
mod properties;
mod published;
mod publishers;
pub mod render;
mod reuse;
mod select;
mod tags;
mod touched;
mod trust;
mod versions;

pub use fresh::compares_dependencies;
pub use key::{BY_NAME, mark_on_published};
pub use narrow::narrow;
pub use planner::plan;
pub use published::{commits, looks};
pub use publishers::{may_move, moves};
pub use reuse::reuse;
pub use select::{NARROWED, policy_of, shorten};
pub use tags::{is_written_once, told};
pub use touched::{Touch, touched};
pub use trust::check;
pub use versions::{check_version, version, why_left_out};

use serde::{Deserialize, Serialize};

use crate::config::{Secret, Severity, Test};
use crate::event::Event;

/// Printed by `plan --json`, the same bytes for the same facts; the only thing later stages read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format: 1.
    pub schema: u32,
    /// Full sha, null without git.
    pub commit: Option<String>,
    /// RFC 3339 in UTC, of the commit.
    pub created: Option<String>,
    /// Web address of the source.
    pub source: Option<String>,
    pub event: Event,
    /// As written in the version file or the tag.
    pub version: Option<String>,
    /// `{timestamp}`: YYYYMMDD-HHMMSS in UTC, fixed when planned; null where no tag has it.
    pub timestamp: Option<String>,
    /// Whether this run publishes.
    pub publishes: bool,
    /// Why an event that publishes does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// A build to start or a tag to write.
    pub has_work: bool,
    /// Parents before children, else by id in the order of the axes.
    pub builds: Vec<Build>,
    pub skipped: Vec<Skipped>,
    pub checks: Vec<Check>,
    /// Null: the pipeline has no scan step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<Scan>,
    pub warnings: Vec<String>,
}

impl Plan {
    /// Images that builds start from or checks run in, and whose digest the plan does not know.
    pub fn by_name(&self) -> std::collections::BTreeSet<String> {
        let bases = self.builds.iter().flat_map(|build| &build.inputs);
        let bases = bases.filter(|(_, value)| value == key::BY_NAME).filter_map(|(name, _)| name.strip_prefix("base:"));
        let parents = self.builds.iter().flat_map(|build| &build.parents).map(|(_, is)| is.as_str());
        let parents = parents.chain(self.checks.iter().filter_map(|check| check.r#in.as_deref()));
        bases.chain(parents.filter(|is| !is.starts_with("build:") && !is.contains('@'))).map(str::to_owned).collect()
    }

    /// The first thing that this run reads from a registry, or its cache there: a base, a parent, the image of a check.
    pub fn reads(&self, registry: &str) -> Option<&str> {
        let bases = self.builds.iter().flat_map(|build| &build.inputs).filter_map(|(name, _)| name.strip_prefix("base:"));
        let parents = self.builds.iter().flat_map(|build| &build.parents).map(|(_, is)| is.as_str());
        let checks = self.checks.iter().filter_map(|check| check.r#in.as_deref());
        let stages = self.builds.iter().map(|build| &build.test);
        let caches = stages.flat_map(|test| test.cache_from.iter().chain(&test.cache_to));
        let caches = caches.filter_map(|cache| cache.split(',').find_map(|part| part.strip_prefix("ref=")));
        let mut all = bases.chain(parents).chain(checks).chain(caches).filter(|is| !is.starts_with("build:"));
        all.find(|reference| is_in(reference, registry))
    }

    /// The ids of all builds.
    pub fn ids(&self) -> std::collections::BTreeSet<String> {
        self.builds.iter().map(|build| build.id.clone()).collect()
    }
}

/// Whether a reference is of a registry. What names none is of Docker Hub; what is official there, everybody may read.
fn is_in(reference: &str, registry: &str) -> bool {
    let host = |text: &str| text.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let is_hub = |host: &str| matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let (name, registry) = (host(reference), host(registry));
    if reference.contains('/') && (name.contains(['.', ':']) || name == "localhost") && !is_hub(&name) {
        return name == registry;
    }
    let short = reference.split_once('/').map_or(reference, |(first, rest)| if is_hub(first) { rest } else { reference });
    is_hub(&registry) && short.contains('/') && !short.starts_with("library/")
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub id: String,
    pub image: String,
    pub variant: String,
    pub axes: Vec<(String, String)>,
    /// With the registry in front, where there is one.
    pub repository: String,
    pub dockerfile: String,
    pub context: String,
    pub target: Option<String>,
    pub platforms: Vec<String>,
    pub args: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    /// Id → where it comes from; never the value.
    pub secrets: Vec<(String, Secret)>,
    /// Seconds.
    pub timeout: u64,
    pub action: Action,
    /// `REPOSITORY@DIGEST` of the image that is reused; null where one is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<String>,
    /// SHA-256 of `inputs` as JSON, in hex.
    pub key: String,
    /// Everything that decides the image, by name: `dockerfile`, `copy:src`, `arg:PYTHON`, `base:debian:12`, …
    #[serde(default)]
    pub inputs: Vec<(String, String)>,
    /// Name in FROM → `build:ID` or `REPO@sha256:…`, or `REPO:TAG` while its digest is not known.
    pub parents: Vec<(String, String)>,
    pub test: TestStage,
    pub push: PushStage,
    pub tests: Vec<Test>,
    pub reasons: Vec<String>,
}

impl Build {
    /// Whether the build itself pushes its image, as a candidate; else it is only loaded.
    pub fn pushes_candidate(&self) -> bool {
        self.test.candidate.is_some() && self.push.how == How::Promote
    }

    /// Whether equal keys mean equal images: nothing that it is made of is unknown.
    pub fn is_settled_by_its_key(&self) -> bool {
        !self.inputs.is_empty() && !self.inputs.iter().any(|(name, _)| name == "always")
    }

    /// The names that the image has in the engine, the one it is built under first.
    pub fn names(&self) -> Vec<String> {
        let candidate = self.test.candidate.iter().filter(|_| self.pushes_candidate());
        candidate.chain(&self.test.load).cloned().collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Build,
    Reuse,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestStage {
    /// `--pull --no-cache`
    pub fresh: bool,
    /// Local names the loaded image gets.
    pub load: Vec<String>,
    /// Where the image is pushed before it is tested; null where nothing may be published.
    pub candidate: Option<String>,
    /// Tag that is moved to the candidate's digest once its tests passed; beside the candidate.
    pub mark: Option<String>,
    /// As buildx takes them.
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushStage {
    pub how: How,
    pub cache_from: Vec<String>,
    /// Written-once tags, full references.
    pub tags: Vec<String>,
    /// Moving tags, full references, `latest` last.
    pub moving: Vec<String>,
    /// Those of them that are made of the branch's name: they follow the branch, also back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow: Vec<String>,
    pub replace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Promote,
    Rebuild,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub id: String,
    pub reasons: Vec<String>,
}

/// A check of `[check.*]` with what it needs of this plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// `build:ID`, `REPO@sha256:…`, or `REPO:TAG` while its digest is not known; null: not in an image.
    pub r#in: Option<String>,
    pub run: Vec<String>,
    pub compose: Option<String>,
    pub services: Vec<String>,
    pub may_fail: bool,
    /// Seconds.
    pub timeout: u64,
}

/// How images are scanned for vulnerabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// A finding of this severity or a higher one fails.
    pub fail_on: Severity,
    /// File with the findings that are left out, relative to the repository; null: `.trivyignore`, where there is one.
    pub ignore: Option<String>,
}

impl Check {
    /// Whether it runs on this machine, before anything is built.
    pub fn is_static(&self) -> bool {
        self.r#in.is_none() && self.compose.is_none()
    }

    /// Id of the build in whose image it runs.
    pub fn build(&self) -> Option<&str> {
        self.r#in.as_deref()?.strip_prefix("build:")
    }
}

/// Plans for the tests of other modules.
#[cfg(test)]
pub mod testing {
    use super::*;

    /// The configuration of this text, where no file is needed.
    pub fn config(text: &str) -> crate::config::Config {
        let text = format!("schema = 1\nregistry = 'ghcr.io'\nnamespace = 'acme'\n{text}");
        let (root, file, env) = (camino::Utf8Path::new("/"), camino::Utf8Path::new("f"), crate::config::Env::new());
        crate::config::load_text(root, file, &text, &env).unwrap()
    }

    pub fn build(id: &str) -> Build {
        Build {
            id: id.into(),
            image: id.into(),
            variant: String::new(),
            axes: Vec::new(),
            repository: format!("acme/{id}"),
            dockerfile: "Dockerfile".into(),
            context: ".".into(),
            target: None,
            platforms: vec!["linux/amd64".into()],
            args: Vec::new(),
            labels: Vec::new(),
            secrets: Vec::new(),
            timeout: 3600,
            action: Action::Build,
            reused: None,
            key: "0".repeat(64),
            inputs: Vec::new(),
            parents: Vec::new(),
            test: TestStage { load: vec![format!("acme/{id}:local")], ..TestStage::default() },
            push: PushStage {
                how: How::None,
                cache_from: Vec::new(),
                tags: Vec::new(),
                moving: Vec::new(),
                follow: Vec::new(),
                replace: false,
            },
            tests: Vec::new(),
            reasons: Vec::new(),
        }
    }

    pub fn test() -> Test {
        Test {
            kind: crate::config::TestKind::Healthy,
            mounts: Vec::new(),
            deps: std::collections::BTreeMap::new(),
            env: std::collections::BTreeMap::new(),
            workdir: None,
            log: "tests/logs/a.log".into(),
            timeout: std::time::Duration::from_secs(60),
        }
    }

    pub fn plan(builds: Vec<Build>) -> Plan {
        Plan {
            schema: 1,
            commit: None,
            created: None,
            source: None,
            event: Event::Local,
            version: None,
            timestamp: None,
            publishes: false,
            held_back: None,
            has_work: !builds.is_empty(),
            builds,
            skipped: Vec::new(),
            checks: Vec::new(),
            scan: None,
            warnings: Vec::new(),
        }
    }
}
