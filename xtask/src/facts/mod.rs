//! What a plan needs to know of the world, gathered by one door and handed to the pure planner as data.

mod changes;
pub mod content;
pub mod directives;
pub mod dockerfile;
mod entry;
mod flags;
pub mod git;
mod heredoc;
pub mod ignore;
pub mod installs;
#[cfg(test)]
pub mod lab;
pub mod lfs;
mod machine;
pub mod mounted;
mod parser;
mod predefined;
pub mod reading;
mod shell;
mod source;
mod sources;
mod stages;
mod taken;
mod tree;
mod volatile;
mod words;
pub mod working;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bases::Bases;
use crate::config::{Build, Config, Env};
use crate::error::Fault;
use crate::event::{Event, Recorded};
use crate::exec::Runner;
use crate::files;
use crate::plan::labels::MadeOf;
pub use changes::add_since_release;
use changes::compared;
use content::Content;
pub use dockerfile::Dockerfile;
use git::Git;
pub use machine::{emulates, host_platform, is_native, runs};

/// Everything outside `images.toml` that decides a plan. Data, so that golden plans can be made of made-up facts.
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
    /// The commit that those are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Files that changed since what `dependencies-changed` compares with; of manual and scheduled runs where nothing is
    /// published. Known only where a build of the event compares dependencies, see [`add_since_release`].
    pub since_release: Changed,
    /// By commit of a published image: the files that changed since.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub since: BTreeMap<String, Changed>,
    /// By path: what each Dockerfile (rendered, where it has a template) is made of.
    pub dockerfiles: BTreeMap<Utf8PathBuf, Dockerfile>,
    /// By build: what its Dockerfile is made of where its arguments, target or platforms make a difference.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, Dockerfile>,
    /// By build: the files it takes from its context.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Content>,
    /// Build → the one in `contents` that takes the same.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub same_content: BTreeMap<String, String>,
    /// Reference as in FROM, or `REPO:TAG` of a published parent → digest; `None`: its registry has no such image.
    /// What is not known, or was not asked for, is not in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<String, Option<String>>,
    /// Whether registries were asked.
    pub is_asked: bool,
    /// Those of them whose ONBUILD steps may take anything.
    #[serde(skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub triggers: std::collections::BTreeSet<String>,
    /// Reference → what it was made of, by its labels; of images that can be read alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub made_of: BTreeMap<String, MadeOf>,
    /// Reference → the platforms that it is published for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<String, Vec<String>>,
    /// By path: hash of what tests mount.
    pub mounted: BTreeMap<Utf8PathBuf, String>,
}

impl Facts {
    /// What the Dockerfile of a build takes from outside.
    pub fn dockerfile(&self, build: &Build) -> Option<&Dockerfile> {
        self.variants.get(&build.id).or_else(|| self.dockerfiles.get(&build.dockerfile))
    }

    /// The files that a build takes from its context, where they are known.
    pub fn content(&self, build: &Build) -> Option<&Content> {
        self.contents.get(self.same_content.get(&build.id).unwrap_or(&build.id))
    }
}

/// The default branch where nobody says another.
pub const MAIN: &str = "main";

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

/// The environment; what is not UTF-8 is left out.
pub fn env() -> Env {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A variable that is set and not empty.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Bytes of memory that this process holds; 0 where nothing tells.
pub fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|pages| pages.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The time, RFC 3339 in UTC.
pub fn now() -> String {
    since_1970(SystemTime::now())
}

fn since_1970(time: SystemTime) -> String {
    rfc3339(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// RFC 3339 in UTC, of seconds since 1970. A clock or a commit may be wrong by any amount: what has no such text is the
/// nearest that has one.
pub fn rfc3339(seconds: u64) -> String {
    /// 9999-12-31T23:59:59Z
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))).to_string()
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
    refuse_logs_of_git(runner, repo, config)?;
    let now = now();
    let mut facts = Facts { source: in_actions(env), host_platform: host_platform(), ..Facts::default() };
    // Git is a dozen processes: meanwhile we read what does not need it.
    let git = || Git::new(runner, repo);
    let (past, present) = std::thread::scope(|scope| {
        let past = scope.spawn(|| past(&git(), config, recorded));
        let present = scope.spawn(|| (git().dirty(), git().branch(), git().source()));
        (facts.dockerfiles, facts.variants) = reading::read_all(repo, config, &recorded.event, rendered)?;
        facts.mounted = mounted::all(repo, config);
        content::add(repo, config, &mut facts, &|| runner.is_interrupted())?;
        let ended = |_| Fault::failed("cannot ask git: the thread that did has ended");
        anyhow::Ok((past.join().map_err(ended)?, present.join().map_err(ended)?))
    })?;
    let (dirty, branch, source) = if past.commit.is_some() { present } else { (None, None, None) };
    facts = Facts {
        commit: past.commit,
        commit_time: past.commit_time,
        default_branch: past.default_branch,
        changed: past.changed,
        before: past.before,
        since_release: past.since_release,
        source: facts.source.or(source),
        dirty,
        branch,
        ..facts
    };
    if runner.is_interrupted() {
        return Err(Fault::interrupted().into());
    }
    let run = env.get("GITHUB_RUN_ID").filter(|id| !id.is_empty());
    facts.run = run.map(|id| as_run(id)).unwrap_or_else(|| local_run(&recorded.event, facts.commit.as_deref(), &now));
    facts.now = now;
    Ok(facts)
}

/// Where a log is configured, a file of the commit may be: it would be replaced.
fn refuse_logs_of_git(runner: &Runner, repo: &Utf8Path, config: &Config) -> Result<()> {
    let logs = config.builds.iter().flat_map(|build| &build.tests).map(|test| &test.log);
    let logs = logs.filter(|log| !log.starts_with(files::FOLDER)).flat_map(|log| [log.clone(), log.with_extension("xml")]);
    let tracked = Git::new(runner, repo).in_index(&logs.collect());
    let Some(path) = tracked.first() else { return Ok(()) };
    let fault = Fault::usage(format!("the log of a test would replace {path}, which is a file of the commit"));
    Err(fault.hint("let `log` name a file that git ignores").into())
}

/// What git knows of commits and what changed since them; where it knows nothing, why.
fn past(git: &Git<'_>, config: &Config, recorded: &Recorded) -> Facts {
    let named = recorded.default_branch.clone();
    let (commit, time) = match git.head() {
        Ok(head) => head,
        Err(why) => {
            let default_branch = named.unwrap_or_else(|| MAIN.into());
            let unknown = Changed::Unknown(why);
            return Facts { changed: unknown.clone(), since_release: unknown, default_branch, ..Facts::default() };
        }
    };
    let default_branch = named.or_else(|| git.default_branch()).unwrap_or_else(|| MAIN.into());
    let (changed, before) = git.changed(recorded, &default_branch);
    let compares = |build: &Build| {
        crate::plan::policy_of(&recorded.event, build).is_ok_and(|policy| crate::plan::compares_dependencies(config, policy))
    };
    // Of a push and a pull request it is known by now.
    let is_known = matches!(recorded.event, Event::PullRequest { .. } | Event::Branch { .. });
    let since_release = if is_known || config.builds.iter().any(compares) {
        compared(git, config, recorded, &changed, &default_branch)
    } else {
        Changed::default()
    };
    Facts { commit: Some(commit), commit_time: Some(time), default_branch, changed, before, since_release, ..Facts::default() }
}

/// The branch that is checked out, and the default branch; `None` where git does not know.
pub fn branches(runner: &Runner, repo: &Utf8Path) -> (Option<String>, Option<String>) {
    let git = Git::new(runner, repo);
    (git.branch(), git.default_branch())
}

/// Web address of the source, as labels of images have it.
pub fn source(runner: &Runner, repo: &Utf8Path, env: &Env) -> Option<String> {
    in_actions(env).or_else(|| Git::new(runner, repo).source())
}

/// The commit that is checked out, and whether anything differs from it.
pub fn checkout(runner: &Runner, repo: &Utf8Path) -> (Option<String>, bool) {
    let git = Git::new(runner, repo);
    (git.head().ok().map(|(commit, _)| commit), git.dirty().is_some())
}

/// The folders that git keeps a repository in, wherever they are.
pub fn git_folders(runner: &Runner, repo: &Utf8Path) -> Vec<Utf8PathBuf> {
    Git::new(runner, repo).folders()
}

/// Adds what registries say of the bases. A base with ONBUILD steps makes the whole context count.
///
/// # Errors
/// Usage: a `.dockerignore` that is too long.
pub fn add_bases(runner: &Runner, repo: &Utf8Path, config: &Config, facts: &mut Facts, bases: Bases) -> Result<()> {
    (facts.bases, facts.triggers, facts.made_of) = (bases.digests, bases.triggers, bases.made_of);
    facts.platforms = bases.platforms;
    facts.is_asked = true;
    if !facts.triggers.is_empty() {
        content::add(repo, config, facts, &|| runner.is_interrupted())?;
    }
    Ok(())
}

/// Adds which files changed since the commits of what these tags hold.
pub fn add_since(runner: &Runner, repo: &Utf8Path, facts: &mut Facts, tags: &std::collections::BTreeSet<String>) {
    let git = Git::new(runner, repo);
    for revision in tags.iter().filter_map(|tag| Some(&facts.made_of.get(tag)?.revision)).filter(|text| !text.is_empty()) {
        facts.since.entry(revision.clone()).or_insert_with(|| git.since_commit(revision));
    }
}

/// The number that Actions gives a run; elsewhere the variable may hold any text.
fn as_run(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect()
}

/// Names a run outside of Actions; letters, digits and `_` only, because it becomes the last part of a tag.
///
/// The same event of the same commit is the same run, so that a second attempt goes on where the first ended. What was
/// built for another event is not its own: it may be fresh where that was not. Scheduled and manual runs rebuild on
/// purpose and are told apart by the time.
fn local_run(event: &Event, commit: Option<&str>, now: &str) -> String {
    match (event, commit) {
        (Event::Schedule { .. } | Event::Manual { .. }, _) | (_, None) => now.chars().filter(char::is_ascii_digit).collect(),
        (_, Some(commit)) => format!("{}_{}", short(commit, 12), short(&digest(&[&event.flag()]), 6)),
    }
}

/// Every commit that is known here, with its time in seconds since 1970; or why they are not all known.
pub fn commit_times(runner: &Runner, repo: &Utf8Path) -> Result<BTreeMap<String, u64>, String> {
    Git::new(runner, repo).times()
}

/// The web address of the repository in Actions, where `origin` may be a mirror.
fn in_actions(env: &Env) -> Option<String> {
    Some(format!("{}/{}", env.get("GITHUB_SERVER_URL")?, env.get("GITHUB_REPOSITORY")?))
}

/// Lower-case hex. Sixteen bytes at once: formatting each was an eighth of planning 1,024 builds.
pub fn hex(bytes: &[u8]) -> String {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    bytes.chunks(16).map(|bytes| format!("{:01$x}", number(bytes), 2 * bytes.len())).collect()
}

/// The beginning of a commit. The text may be anybody's, of a label or a file: one that is shorter or no hash stays whole.
pub fn short(commit: &str, length: usize) -> &str {
    commit.get(..length).unwrap_or(commit)
}

/// Hash of texts of which none can pass for part of another, in lower-case hex.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests;
