//! What a plan needs to know of the world, gathered by one door and handed to the pure planner as data.

pub mod dockerfile;
pub mod git;
pub mod mounted;

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Env};
use crate::error::Fault;
use crate::event::{Compare, Event, Recorded};
use crate::exec::Runner;
use crate::version::Version;
use git::Git;

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
    /// By path: hash of what tests mount.
    pub mounted: BTreeMap<Utf8PathBuf, String>,
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

/// The environment; what is not UTF-8 is left out.
pub fn env() -> Env {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// `linux/amd64`: containers run on Linux, whatever this machine runs.
pub fn host_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{arch}")
}

/// Everything that a plan needs to know, in one go.
///
/// `rendered` holds the text of the Dockerfiles that have a template; the others are read here.
///
/// # Errors
/// Usage faults: a Dockerfile that is missing or cannot be understood. Git never fails: it is unknown then.
pub fn gather(
    runner: &Runner,
    repo: &Utf8Path,
    config: &Config,
    recorded: &Recorded,
    env: &Env,
    rendered: &BTreeMap<Utf8PathBuf, String>,
) -> Result<Facts> {
    let git = Git::new(runner, repo);
    let commit = git.commit();
    let default_branch = recorded.default_branch.clone().or_else(|| git.default_branch()).unwrap_or_else(|| "main".into());
    let changed = match (&recorded.compare, &commit) {
        (_, None) => Changed::Unknown("there is no git commit".into()),
        (Compare::Nothing, _) => Changed::Unknown("the event has no before".into()),
        (Compare::Unknown(why), _) => Changed::Unknown(why.clone()),
        (Compare::Base(base), _) => git.changed_since(base, &default_branch),
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Ok(Facts {
        commit_time: git.commit_time(),
        dirty: git.dirty(),
        branch: git.branch(),
        source: source(env, &git),
        run: env.get("GITHUB_RUN_ID").cloned().unwrap_or_else(|| local_run(&recorded.event, commit.as_deref(), &now)),
        host_platform: host_platform(),
        since_release: since_release(&git, config, recorded, &changed),
        dockerfiles: dockerfiles(repo, config, rendered)?,
        mounted: mounted(repo, config),
        commit,
        default_branch,
        now,
        changed,
    })
}

/// Names a run outside of Actions; letters and digits only, because it becomes part of a tag.
///
/// The same commit is the same run, so that a second attempt goes on where the first ended; scheduled and manual
/// runs rebuild on purpose and are told apart by the time.
fn local_run(event: &Event, commit: Option<&str>, now: &str) -> String {
    match (event, commit) {
        (Event::Schedule { .. } | Event::Manual { .. }, _) | (_, None) => now.chars().filter(char::is_ascii_digit).collect(),
        (_, Some(commit)) => commit.chars().take(12).collect(),
    }
}

fn source(env: &Env, git: &Git<'_>) -> Option<String> {
    match (env.get("GITHUB_SERVER_URL"), env.get("GITHUB_REPOSITORY")) {
        (Some(server), Some(repository)) => Some(format!("{server}/{repository}")),
        _ => git.source(),
    }
}

/// What `dependencies-changed` looks at: pull request and branch, the merge base; tag, the nearest older version
/// tag; manual and schedule, the last version tag.
fn since_release(git: &Git<'_>, config: &Config, recorded: &Recorded, changed: &Changed) -> Changed {
    let tag = match &recorded.event {
        Event::PullRequest { .. } | Event::Branch { .. } | Event::Local => return changed.clone(),
        Event::Tag { name } => git.last_version_tag(Version::parse(name).ok().as_ref()),
        Event::Schedule { .. } | Event::Manual { .. } => {
            // The revision of the published version is that of its tag.
            let published = config.version_file.as_ref().and_then(|file| git.tag(&file.version.text));
            published.or_else(|| git.last_version_tag(None))
        }
    };
    match tag {
        Some(tag) => git.diff(&format!("refs/tags/{tag}")),
        None => Changed::Unknown("there is no older version tag".into()),
    }
}

fn mounted(repo: &Utf8Path, config: &Config) -> BTreeMap<Utf8PathBuf, String> {
    let mounts = config.builds.iter().flat_map(|build| &build.tests).flat_map(|test| &test.mounts);
    let paths: std::collections::BTreeSet<&Utf8PathBuf> = mounts.map(|(path, _)| path).collect();
    paths.into_iter().map(|path| (path.clone(), mounted::hash(&repo.join(path)))).collect()
}

fn dockerfiles(
    repo: &Utf8Path,
    config: &Config,
    rendered: &BTreeMap<Utf8PathBuf, String>,
) -> Result<BTreeMap<Utf8PathBuf, Dockerfile>> {
    let mut dockerfiles = BTreeMap::new();
    for build in &config.builds {
        if dockerfiles.contains_key(&build.dockerfile) {
            continue;
        }
        let path = &build.dockerfile;
        let text = match rendered.get(path) {
            Some(text) => text.clone(),
            None => std::fs::read_to_string(repo.join(path)).map_err(|error| {
                let fault = Fault::usage(format!("cannot read {path} of {}: {error}", build.id));
                fault.hint(format!("write it, or name another under [image.{}] dockerfile", build.image))
            })?,
        };
        let read = dockerfile::read(&text, &build.args).map_err(|error| Fault::usage(format!("{path}: {error}")))?;
        dockerfiles.insert(path.clone(), read);
    }
    Ok(dockerfiles)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the kernel runs programs of a foreign platform (binfmt_misc); false where that cannot be told.
pub fn emulates(platform: &str) -> bool {
    let arch = match platform.split('/').nth(1).unwrap_or_default() {
        "arm64" => "aarch64",
        "amd64" => "x86_64",
        "386" => "i386",
        other => other,
    };
    // Docker Desktop and OrbStack emulate without a word; elsewhere the kernel lists its interpreters.
    cfg!(target_os = "macos") || Utf8Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{arch}")).exists()
}
