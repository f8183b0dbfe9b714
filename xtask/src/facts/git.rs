//! What git says of the repository: the commit, the branch, where it comes from, what differs from the commit.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use super::source;
use crate::cmd::Cmd;
use crate::exec::Runner;
use crate::git::{self, Named};

/// Git in one folder. Every method gives `None` or a reason where git cannot answer; nothing is an error.
pub struct Git<'a> {
    pub(super) runner: &'a Runner,
    pub(super) repo: &'a Utf8Path,
    pub(super) limit: Duration,
    /// Why git is not asked again: one that hangs once would hang each time.
    gave_up: RefCell<Option<String>>,
    named: OnceCell<Result<Named, String>>,
}

impl<'a> Git<'a> {
    pub fn new(runner: &'a Runner, repo: &'a Utf8Path) -> Git<'a> {
        Git { runner, repo, limit: git::LIMIT, gave_up: RefCell::new(None), named: OnceCell::new() }
    }

    /// Stdout as it is, or why there is none.
    pub(super) fn raw(&self, why: &str, args: &[&str]) -> Result<String, String> {
        self.run(&git::ask(self.repo, why, args).timeout(self.limit))
    }

    /// The same of a command that reads files, or gets objects from where the clone comes from.
    pub(super) fn reach(&self, limit: Duration, why: &str, args: &[&str]) -> Result<String, String> {
        let list = || {
            let listed = self.run(&Named::list(self.repo).timeout(self.limit))?;
            Named::read(&listed).map_err(|error| format!("{error:#}"))
        };
        let named = self.named.get_or_init(list).as_ref().map_err(String::clone)?;
        self.run(&git::reach(named, self.repo, why, args).timeout(limit))
    }

    pub(super) fn run(&self, cmd: &Cmd) -> Result<String, String> {
        if let Some(reason) = self.gave_up.borrow().as_ref() {
            return Err(reason.clone());
        }
        let why = &cmd.why;
        let exit = match self.runner.output(cmd) {
            Ok(exit) if exit.ok() => return Ok(exit.stdout),
            Ok(exit) => exit,
            Err(_) if self.runner.is_interrupted() => return Err("interrupted".into()),
            Err(_) => return Err(self.give_up("git cannot be started (is it installed?)".into())),
        };
        if exit.timed_out {
            return Err(self.give_up(format!("git cannot {why}: {}", exit.reason(cmd))));
        }
        Err(self.explain(&exit.stderr).unwrap_or_else(|said| match said {
            "" => format!("git cannot {why}: {}", exit.reason(cmd)),
            said => format!("git cannot {why}: {said}"),
        }))
    }

    fn give_up(&self, reason: String) -> String {
        self.gave_up.replace(Some(reason.clone()));
        reason
    }

    /// What a message of git means, for those that have a remedy; else its most telling line.
    fn explain<'s>(&self, stderr: &'s str) -> Result<String, &'s str> {
        let said = |text: &str| stderr.contains(text);
        if said("dubious ownership") {
            let fix = format!("git config --global --add safe.directory {}", self.repo);
            return Ok(format!("git does not trust {}, which belongs to another user (run `{fix}`)", self.repo));
        }
        if said("cannot use bare repository") || said("not a git repository: '/dev/null'") {
            return Ok(format!("{} is in a bare repository of git, which is part of the files here and is not read", self.repo));
        }
        if said("not a git repository (or any") {
            return Ok(format!("{} is not in a git repository", self.repo));
        }
        if said("does not have any commits yet") {
            return Ok("there is no commit yet".into());
        }
        let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        let telling = lines().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
        Err(telling.or(lines().next()).unwrap_or_default())
    }

    pub(super) fn line(&self, why: &str, args: &[&str]) -> Option<String> {
        self.raw(why, args).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Full sha of HEAD, and its time as RFC 3339 in UTC.
    pub fn head(&self) -> Result<(String, String), String> {
        let text = self.raw("read the commit", &["log", "-1", "--format=%H %ct"])?;
        let (sha, seconds) = text.trim().split_once(' ').unwrap_or_default();
        let seconds: i64 = seconds.parse().map_err(|_| format!("git cannot read the commit: it says `{}`", text.trim()))?;
        Ok((sha.to_owned(), super::rfc3339(seconds.try_into().unwrap_or(0))))
    }

    /// Every commit that a branch, a tag or the work tree leads to, with its time in seconds since 1970.
    pub fn times(&self) -> Result<BTreeMap<String, u64>, String> {
        self.deepen(&[])?;
        let log = self.raw("list the commits", &["log", "--all", "HEAD", "--format=%H %ct"])?;
        Ok(log
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(sha, time)| Some((sha.to_owned(), time.parse().ok()?)))
            .collect())
    }

    /// `None`: a commit is checked out, not a branch.
    pub fn branch(&self) -> Option<String> {
        self.line("read the branch", &["symbolic-ref", "--short", "--quiet", "HEAD"])
    }

    /// Those of these paths that are in the index; none where git cannot say.
    pub fn in_index(&self, paths: &BTreeSet<Utf8PathBuf>) -> Vec<String> {
        if paths.is_empty() {
            return Vec::new();
        }
        let all = self.line("list the files", &["ls-files", "-z"]).unwrap_or_default();
        all.split('\0').filter(|path| paths.contains(Utf8Path::new(path))).map(str::to_owned).collect()
    }

    /// What `origin` calls its default branch, else main or master, whichever there is.
    pub fn default_branch(&self) -> Option<String> {
        let all = ["for-each-ref", "--format=%(refname) %(symref)", "refs/heads", "refs/remotes/origin"];
        let refs = self.line("find the default branch", &all)?;
        let named = |line| str::split_once(line, ' ').unwrap_or((line, ""));
        let refs: Vec<(&str, &str)> = refs.lines().map(named).collect();
        let origin = refs.iter().find(|(name, _)| *name == "refs/remotes/origin/HEAD");
        if let Some(name) = origin.and_then(|(_, is)| is.strip_prefix("refs/remotes/origin/")) {
            return Some(name.to_owned());
        }
        let has = |full: &str| refs.iter().any(|(name, _)| *name == full);
        let exists = |branch: &&str| has(&format!("refs/heads/{branch}")) || has(&format!("refs/remotes/origin/{branch}"));
        ["main", "master"].into_iter().find(exists).map(str::to_owned)
    }

    /// Web address of `origin`, without credentials.
    pub fn source(&self) -> Option<String> {
        self.line("read the address of origin", &["config", "--get", "remote.origin.url"])
            .and_then(|url| source::web_address(&url))
    }

    /// Where the work tree's own files are, and those that it shares with others.
    pub fn folders(&self) -> Vec<Utf8PathBuf> {
        let text = self.line("find its folder", &["rev-parse", "--absolute-git-dir", "--git-common-dir"]).unwrap_or_default();
        text.lines().map(|line| self.repo.join(line)).collect()
    }

    /// SHA-256 over what differs from HEAD and over new files; `None` when nothing does.
    ///
    /// A git that cannot say makes it "unknown", because what may be dirty must not be published.
    pub fn dirty(&self) -> Option<String> {
        let Ok(files) = self.differs("HEAD") else { return Some("unknown".into()) };
        let mut hash = Sha256::new();
        for file in &files {
            hash.update(file.as_str());
            hash_file(&self.repo.join(file), &mut hash);
        }
        (!files.is_empty()).then(|| super::hex(&hash.finalize()))
    }
}

/// Name, mode and content, the target of a link, or the name alone of anything that cannot be read without waiting.
fn hash_file(path: &Utf8Path, hash: &mut Sha256) {
    hash.update(path.file_name().unwrap_or_default());
    let mode = path.symlink_metadata().map_or(0, |meta| meta.permissions().mode());
    hash.update(mode.to_le_bytes());
    if let Ok(target) = path.read_link_utf8() {
        return hash.update(target.as_str());
    }
    if !path.is_file() {
        return;
    }
    // What cannot be read is as if it were empty.
    let _unreadable = hash_content(path, hash);
}

pub(super) fn hash_content(path: &Utf8Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
#[path = "git_tests.rs"]
mod tests;
