//! Which files changed: against the branch a pull request goes into, what a branch had before, or an older version.
//!
//! What is built is the working tree, so each comparison ends there, not at the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use super::git::Git;
use super::{Changed, Facts, short};
use crate::config::Config;
use crate::event::{Compare, Event, Recorded};
use crate::exec::Runner;
use crate::version::Version;

const WHY: &str = "list the changed files";

/// A whole history may take so many times longer than any other answer.
const HISTORY: u32 = 10;

/// Clones whose history could not be fetched in this run, and why.
static FAILED: Mutex<BTreeMap<Utf8PathBuf, String>> = Mutex::new(BTreeMap::new());

type Paths = BTreeSet<Utf8PathBuf>;

impl Git<'_> {
    /// Files that changed in this event, and the commit that it is compared with.
    pub fn changed(&self, recorded: &Recorded, default_branch: &str) -> (Changed, Option<String>) {
        let before = match (&recorded.compare, &recorded.event) {
            (Compare::Unknown(why), _) => Err(why.clone()),
            (Compare::Target { base, head }, Event::PullRequest { base: branch, .. }) => {
                let branch = branch.as_deref().unwrap_or(default_branch);
                self.target(base.as_deref(), head.as_deref(), branch)
            }
            (Compare::Before(Some(before)), _) => self.before_push(before),
            (Compare::Before(None), Event::Branch { name, .. }) => self.tracked(name),
            (_, event) => Err(takes_everything(event).into()),
        };
        match before {
            Ok(before) => (known(self.differs(&before)), Some(before)),
            Err(why) => (Changed::Unknown(why), None),
        }
    }

    /// Files that changed since what `dependencies-changed` compares with: a pull request and a branch, what they
    /// changed; a tag, the nearest older version tag; a schedule and a manual run of which nothing is published, the tag
    /// of the version file's version, else the last version tag; a local run, the default branch.
    pub fn since_release(&self, event: &Event, changed: &Changed, version: Option<&Version>, default_branch: &str) -> Changed {
        known(match event {
            Event::PullRequest { .. } | Event::Branch { .. } => return changed.clone(),
            Event::Local => self.left(default_branch, false).and_then(|commit| self.differs(&commit)),
            Event::Tag { name } => self.since_version(Version::parse(name).ok().as_ref(), None),
            Event::Schedule { .. } | Event::Manual { .. } => self.since_version(None, version),
        })
    }

    /// Files that changed since the commit that a published image says it is of.
    pub fn since_commit(&self, commit: &str) -> Changed {
        if !is_sha(commit) {
            return Changed::Unknown(format!("`{}` is no commit", commit.escape_debug()));
        }
        let whole = if self.has(commit) { Ok(()) } else { self.deepen(&["HEAD"]) };
        let missing = || format!("commit {} is not in this clone", short(commit, 7));
        known(whole.and_then(|()| if self.has(commit) { self.differs(commit) } else { Err(missing()) }))
    }

    /// A pull request: what it is merged into.
    fn target(&self, base: Option<&str>, head: Option<&str>, branch: &str) -> Result<String, String> {
        // GitHub checks out the merge of the pull request: its first parent is the exact tip of the target.
        let merged_into = || {
            let parents = self.line("read the parents", &["rev-list", "--parents", "-n", "1", "HEAD", "--"])?;
            let parents = parents.split(' ').map(str::to_owned).collect::<Vec<_>>();
            (parents.len() == 3 && head == parents.get(2).map(String::as_str)).then(|| parents[1].clone())
        };
        if let Some(first) = merged_into().filter(|first| self.has(first)) {
            return Ok(first);
        }
        self.deepen(&[&format!("+refs/heads/{branch}:refs/remotes/origin/{branch}")])?;
        match (merged_into(), base) {
            (Some(first), _) => Ok(first),
            (None, Some(base)) => self.merge_base(sha(base)?),
            (None, None) => self.left(branch, true),
        }
    }

    /// Where HEAD left a branch.
    fn left(&self, branch: &str, is_required: bool) -> Result<String, String> {
        let names = [format!("refs/remotes/origin/{branch}"), format!("refs/heads/{branch}")];
        match names.iter().find(|name| self.has(name)) {
            Some(name) => self.merge_base(name),
            None if is_required => {
                Err(format!("there is no branch {branch} here to compare with (run `git fetch origin {branch}`)"))
            }
            None => Err(format!("there is no branch {branch} here to compare with")),
        }
    }

    fn before_push(&self, before: &str) -> Result<String, String> {
        let before = sha(before)?;
        if self.merge_base(before).is_err() {
            self.deepen(&["HEAD"])?;
        }
        match self.merge_base(before) {
            Ok(base) if base == before => Ok(base),
            _ => Err(format!("the commit before the push, {}, is not part of the branch", short(before, 7))),
        }
    }

    /// `--event branch:NAME`: as if HEAD were pushed now.
    fn tracked(&self, name: &str) -> Result<String, String> {
        let tracking = format!("refs/remotes/origin/{name}");
        let (before, head) = (self.revision(&tracking), self.revision("HEAD"));
        match before {
            None => Err(format!("origin has no branch {name} that this clone knows")),
            before if before == head => Err(format!("origin/{name} is this commit already, and what it was before is not known")),
            Some(_) => self.merge_base(&tracking),
        }
    }

    fn since_version(&self, below: Option<&Version>, current: Option<&Version>) -> Result<Paths, String> {
        // Only a whole history tells which tags are part of it.
        self.deepen(&["--tags", "HEAD"])?;
        let tag = |version: &Version| format!("refs/tags/{}", version.text);
        if let Some(published) = current.map(tag).filter(|published| self.has(published)) {
            return self.differs(&published);
        }
        let tags = self.raw("list the tags", &["tag", "--merged", "HEAD"])?;
        let versions = tags.lines().filter_map(|tag| Version::parse(tag).ok());
        let older = versions.filter(|version| below.is_none_or(|below| version.precedence(below).is_lt()));
        self.differs(&older.max().as_ref().map(tag).ok_or("there is no older version tag")?)
    }

    /// Files that differ between a revision and the working tree, new ones that are not ignored among them;
    /// relative to the folder, those of submodules too.
    pub(super) fn differs(&self, from: &str) -> Result<Paths, String> {
        let new = self.raw(WHY, &["ls-files", "--others", "--exclude-standard", "-z"])?;
        let mut files = self.compare(from)?;
        files.extend(new.split('\0').filter(|path| !path.is_empty()).map(Utf8PathBuf::from));
        Ok(files)
    }

    /// The same without new files of this repository itself.
    ///
    /// Git would ask itself about submodules with the settings that are theirs, so we ask.
    pub(super) fn compare(&self, from: &str) -> Result<Paths, String> {
        let raw = ["--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", "--relative"];
        let words = [&["diff", "--ignore-submodules=dirty"], &raw[..], &[from, "--", "."]].concat();
        let listed = self.reach(self.limit, WHY, &words)?;
        let (mut files, mut edited) = (Paths::new(), Vec::new());
        let mut fields = listed.split('\0');
        // `:100644 160000 OLD NEW M`, then the path
        while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
            let entry = entry.trim_start_matches(':').split(' ').collect::<Vec<_>>();
            if let [old_mode, new_mode, old, new, _] = entry[..] {
                if [old_mode, new_mode].contains(&"160000") {
                    let within = self.submodule(Utf8Path::new(path), (old_mode == "160000").then_some(old))?;
                    files.extend(within);
                }
                if old_mode == new_mode && new.bytes().all(|digit| digit == b'0') {
                    edited.push((old, path));
                }
            }
            files.insert(path.into());
        }
        for path in self.same_in_lfs(&edited)? {
            files.remove(Utf8Path::new(path));
        }
        for (path, commit) in self.submodules()? {
            if files.contains(&path) {
                continue;
            }
            let within = self.submodule(&path, Some(&commit))?;
            if !within.is_empty() {
                files.extend(within);
                files.insert(path);
            }
        }
        Ok(files)
    }

    /// Submodules that are checked out, with the commit that this repository has of each.
    fn submodules(&self) -> Result<Vec<(Utf8PathBuf, String)>, String> {
        let listed = self.raw("list the submodules", &["ls-files", "--stage", "-z", "--", "."])?;
        let mut found = Vec::new();
        for entry in listed.split('\0').filter_map(|entry| entry.strip_prefix("160000 ")) {
            if let Some((commit, path)) = entry.split_once('\t')
                && let Some((commit, _stage)) = commit.split_once(' ')
                && self.repo.join(path).join(".git").exists()
            {
                found.push((Utf8PathBuf::from(path), commit.to_owned()));
            }
        }
        Ok(found)
    }

    /// What changed within a submodule. One that is not checked out has no files that a build could take.
    fn submodule(&self, path: &Utf8Path, old: Option<&str>) -> Result<Paths, String> {
        let folder = self.repo.join(path);
        if !folder.join(".git").exists() {
            return Ok(Paths::new());
        }
        let mut inside = Git::new(self.runner, &folder);
        inside.limit = self.limit;
        let within = match old {
            Some(old) => inside.differs(old),
            None => {
                inside.raw("list the files", &["ls-files", "-z"]).map(|list| list.split('\0').map(Utf8PathBuf::from).collect())
            }
        };
        let within = within.map_err(|why| format!("the submodule {path} changed, and it is not known what in it: {why}"))?;
        Ok(within.into_iter().filter(|file| file != "").map(|file| path.join(file)).collect())
    }

    fn merge_base(&self, with: &str) -> Result<String, String> {
        let name = if sha(with).is_ok() {
            short(with, 7)
        } else {
            with.trim_start_matches("refs/heads/").trim_start_matches("refs/remotes/")
        };
        let base = self.line("find the merge base", &["merge-base", with, "HEAD"]);
        base.ok_or_else(|| match self.has(with) {
            true => format!("this commit and {name} have no history in common"),
            false => format!("{name} is not in this clone"),
        })
    }

    /// The tip that a branch has at origin now, fetched; `None`: origin has no such branch.
    ///
    /// Fetching adds to what git knows, as in [`Git::deepen`].
    pub fn at_origin(&self, branch: &str) -> Result<Option<String>, String> {
        let (remote, full) = (self.remote()?, format!("refs/heads/{branch}"));
        let listed = self.reach(self.limit, "ask origin for the branch", &["ls-remote", "--quiet", &remote, &full])?;
        let tip = listed.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == full);
        let Some((tip, _)) = tip else { return Ok(None) };
        if !self.has(tip) {
            let into = format!("+{full}:refs/remotes/{remote}/{branch}");
            let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", &remote, &into];
            self.reach(self.limit, "fetch the branch", &fetch)?;
        }
        Ok(Some(tip.to_owned()))
    }

    /// `origin`, else the first remote.
    fn remote(&self) -> Result<String, String> {
        let remotes = self.line("list the remotes", &["remote"]).unwrap_or_default();
        let remote = remotes.lines().find(|name| *name == "origin").or(remotes.lines().next());
        remote.map(str::to_owned).ok_or_else(|| "it has no remote".into())
    }

    pub fn revision(&self, name: &str) -> Option<String> {
        self.line("look a revision up", &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
    }

    fn has(&self, name: &str) -> bool {
        self.revision(name).is_some()
    }

    /// Fetches the whole history of a shallow clone, such as GitHub's default checkout. It is a probe: it adds to
    /// what git knows and changes nothing that anybody made, and a dry run has to come to the same plan.
    pub fn deepen(&self, what: &[&str]) -> Result<(), String> {
        if !self.is_shallow() {
            return Ok(());
        }
        let failed = |why: &str| format!("the clone is shallow and cannot be deepened: {why} (check it out with fetch-depth: 0)");
        let remote = self.remote().map_err(|why| failed(&why))?;
        // One at a time, because git locks what it fetches, and what has failed once is not tried for each who asks.
        let mut failures = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = failures.get(self.repo) {
            return Err(failed(why));
        }
        if !self.is_shallow() {
            return Ok(());
        }
        let tags: &[&str] = if what.contains(&"--tags") { &[] } else { &["--no-tags"] };
        let fetch = ["fetch", "--quiet", "--unshallow", "--no-write-fetch-head", "--no-recurse-submodules"];
        let (flags, refs): (Vec<&str>, Vec<&str>) = what.iter().copied().partition(|word| word.starts_with("--"));
        let words = [&fetch[..], tags, &flags, &[&remote], &refs].concat();
        let fetched = self.reach(self.limit * HISTORY, "fetch the history", &words);
        fetched.map(drop).map_err(|why| {
            failures.insert(self.repo.to_owned(), why.clone());
            failed(&why)
        })
    }

    fn is_shallow(&self) -> bool {
        self.line("see whether the clone is shallow", &["rev-parse", "--is-shallow-repository"]).as_deref() == Some("true")
    }
}

/// Files that changed since the version that dependencies are compared with, see [`Git::since_release`].
pub(super) fn compared(git: &Git<'_>, config: &Config, recorded: &Recorded, changed: &Changed, default_branch: &str) -> Changed {
    let version = config.version_file.as_ref().map(|file| &file.version);
    git.since_release(&recorded.event, changed, version, default_branch)
}

/// Adds which files changed since the last version, also where no build of the event compares dependencies.
pub fn add_since_release(runner: &Runner, repo: &Utf8Path, config: &Config, recorded: &Recorded, facts: &mut Facts) {
    // Without a commit the reason is there already.
    if facts.commit.is_some() && facts.since_release == Changed::default() {
        facts.since_release = compared(&Git::new(runner, repo), config, recorded, &facts.changed, &facts.default_branch);
    }
}

fn known(files: Result<Paths, String>) -> Changed {
    files.map_or_else(Changed::Unknown, |files| Changed::Files(files.into_iter().collect()))
}

fn takes_everything(event: &Event) -> &'static str {
    match event {
        Event::Local => "a local run takes everything",
        Event::Tag { .. } => "a tag takes everything",
        Event::Schedule { .. } => "a scheduled run takes everything",
        Event::Manual { .. } => "a manual run takes everything",
        Event::PullRequest { .. } | Event::Branch { .. } => "the event names nothing to compare with",
    }
}

/// An id from an event file, never an option of git.
fn sha(text: &str) -> Result<&str, String> {
    if is_sha(text) { Ok(text) } else { Err(format!("the event names `{text}`, which is no commit")) }
}

fn is_sha(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
