//! What git knows: the commit, what differs from it, and which files changed since another.

use std::io::Read as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use super::Changed;
use crate::cmd::Cmd;
use crate::exec::Runner;
use crate::version::Version;

/// A git that takes longer hangs: on credentials, a network file system, a lock.
const LIMIT: Duration = Duration::from_secs(60);

/// Git in one repository. Every method gives `None` or a reason where git cannot answer; nothing is an error.
pub struct Git<'a> {
    pub runner: &'a Runner,
    pub repo: &'a Utf8Path,
    pub limit: Duration,
}

impl<'a> Git<'a> {
    pub fn new(runner: &'a Runner, repo: &'a Utf8Path) -> Git<'a> {
        Git { runner, repo, limit: LIMIT }
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let cmd = Cmd::probe("git", "ask git").args(["-C", self.repo.as_str()]).args(args.iter().copied());
        cmd.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").env("TZ", "UTC").timeout(self.limit)
    }

    /// Stdout as it is, or why there is none.
    fn raw(&self, args: &[&str]) -> Result<String, String> {
        let cmd = self.cmd(args);
        let exit = self.runner.output(&cmd).map_err(|error| format!("{error:#}"))?;
        if exit.ok() {
            return Ok(exit.stdout);
        }
        let said = exit.stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(format!("git {}: {}: {said}", args.first().unwrap_or(&""), exit.reason(&cmd)))
    }

    fn line(&self, args: &[&str]) -> Option<String> {
        self.raw(args).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Full sha of HEAD.
    pub fn commit(&self) -> Option<String> {
        self.line(&["rev-parse", "--verify", "--quiet", "HEAD"])
    }

    /// RFC 3339 in UTC.
    pub fn commit_time(&self) -> Option<String> {
        self.line(&["show", "--no-patch", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "HEAD"])
    }

    pub fn branch(&self) -> Option<String> {
        self.line(&["symbolic-ref", "--short", "--quiet", "HEAD"])
    }

    /// What `origin` calls its default branch, else main or master, whichever there is.
    pub fn default_branch(&self) -> Option<String> {
        let origin = self.line(&["symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD"]);
        origin.map(|name| name.trim_start_matches("origin/").to_owned()).or_else(|| {
            let exists = |name: &&str| self.line(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{name}")]).is_some();
            ["main", "master"].into_iter().find(exists).map(str::to_owned)
        })
    }

    /// SHA-256 over what differs from HEAD and over new files; `None` when nothing does, or without git.
    pub fn dirty(&self) -> Option<String> {
        let status =
            self.raw(&["status", "--porcelain", "-z", "--untracked-files=all"]).ok().filter(|status| !status.is_empty())?;
        let mut hash = Sha256::new();
        hash.update(&status);
        hash.update(self.raw(&["diff", "HEAD", "--binary", "--no-ext-diff"]).unwrap_or_default());
        for path in status.split('\0').filter_map(|entry| entry.strip_prefix("?? ")) {
            hash_file(&self.repo.join(path), &mut hash);
        }
        Some(super::hex(&hash.finalize()))
    }

    /// Web address of `origin`, without credentials.
    pub fn source(&self) -> Option<String> {
        self.line(&["remote", "get-url", "origin"]).and_then(|url| web_address(&url))
    }

    /// Files that differ between HEAD and its merge base with `base` ("" stands for the default branch).
    pub fn changed_since(&self, base: &str, default_branch: &str) -> Changed {
        let candidates = if base.is_empty() {
            vec![format!("origin/{default_branch}"), default_branch.to_owned()]
        } else {
            vec![base.to_owned()]
        };
        let known = candidates
            .iter()
            .find(|name| self.line(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).is_some());
        let base = known.or(candidates.first()).cloned().unwrap_or_default();
        match self.merge_base(&base) {
            Ok(sha) => self.diff(&sha),
            Err(why) => Changed::Unknown(why),
        }
    }

    /// Files that differ between a revision and HEAD.
    pub fn diff(&self, from: &str) -> Changed {
        match self.raw(&["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", from, "HEAD"]) {
            Ok(list) => Changed::Files(list.split('\0').filter(|path| !path.is_empty()).map(Utf8PathBuf::from).collect()),
            Err(why) => Changed::Unknown(why),
        }
    }

    fn merge_base(&self, base: &str) -> Result<String, String> {
        let ask = || self.raw(&["merge-base", base, "HEAD"]).map(|sha| sha.trim().to_owned());
        let first = ask();
        if first.is_ok() || self.line(&["rev-parse", "--is-shallow-repository"]).as_deref() != Some("true") {
            return first;
        }
        // The default checkout of GitHub has a depth of 1; once all history is there the answer is right.
        let fetch = self.raw(&["fetch", "--quiet", "--no-tags", "--unshallow", "origin"]);
        fetch.map_err(|why| format!("the clone is shallow and cannot be deepened: {why}"))?;
        ask()
    }

    /// The name itself, if there is a tag of that name.
    pub fn tag(&self, name: &str) -> Option<String> {
        self.line(&["rev-parse", "--verify", "--quiet", &format!("refs/tags/{name}")]).map(|_| name.to_owned())
    }

    /// The nearest older version tag that HEAD contains: the highest below `version`, or the highest of all.
    pub fn last_version_tag(&self, below: Option<&Version>) -> Option<String> {
        let tags = self.raw(&["tag", "--merged", "HEAD"]).ok()?;
        let versions = tags.lines().filter_map(|tag| Version::parse(tag).ok());
        let older = versions.filter(|version| below.is_none_or(|below| version.precedence(below).is_lt()));
        older.max().map(|version| version.text)
    }
}

fn hash_file(path: &Utf8Path, hash: &mut Sha256) {
    hash.update(path.as_str());
    let Ok(mut file) = std::fs::File::open(path) else { return };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = file.read(&mut buffer) {
        hash.update(&buffer[..read]);
    }
}

/// `git@github.com:a/b.git`, `https://token@github.com/a/b` → `https://github.com/a/b`; `None` for a local path.
fn web_address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).or_else(|| url.strip_prefix("ssh://"));
    let (authority, path) = match rest {
        Some(rest) => rest.split_once('/')?,
        None => url.split_once(':').filter(|(host, path)| host.contains('@') && !path.starts_with('/'))?,
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = if url.starts_with("ssh://") { host.split(':').next().unwrap_or(host) } else { host };
    Some(format!("https://{host}/{}", path.trim_end_matches('/').trim_end_matches(".git")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_credentials() {
        for (url, web) in [
            ("git@github.com:a/b.git", Some("https://github.com/a/b")),
            ("https://user:token@github.com/a/b.git", Some("https://github.com/a/b")),
            ("ssh://git@host.example:2222/a/b", Some("https://host.example/a/b")),
            ("/srv/git/a", None),
            ("../a", None),
        ] {
            assert_eq!(web_address(url).as_deref(), web, "{url}");
        }
    }
}
