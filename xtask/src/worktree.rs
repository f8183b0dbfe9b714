//! The source of a released version: a work tree of its commit, below target/ and gone with the process.

use std::fs::File;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;
use crate::facts::lfs;
use crate::files;
use crate::git::{self, Named};

const PREFIX: &str = "source-";

/// Removed when dropped.
#[derive(Debug)]
pub struct WorkTree {
    runner: Runner,
    repo: Utf8PathBuf,
    path: Utf8PathBuf,
    /// Locked as long as it is used, however the process ends: so the next run knows what is left behind.
    folder: Option<File>,
}

/// The commit of HEAD, or of a tag; `None`: there is no such tag, or no git.
pub fn commit(runner: &Runner, repo: &Utf8Path, name: &str) -> Result<Option<String>> {
    let cmd = git::ask(repo, format!("find {name}"), &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]);
    let exit = runner.output(&cmd)?;
    Ok(exit.ok().then(|| exit.stdout.trim().to_owned()))
}

impl WorkTree {
    /// Checks a commit out beside the checkout. It changes nothing that anybody works on, so it runs under `--dry-run` too.
    ///
    /// # Errors
    /// Not ready: git does not have the commit.
    pub fn new(runner: &Runner, repo: &Utf8Path, commit: &str) -> Result<WorkTree> {
        let place = files::prepare(runner, repo)?;
        let mut tree = WorkTree { runner: runner.clone(), repo: repo.to_owned(), path: place.clone(), folder: None };
        tree.sweep(&place);
        // One that sweeps at the same time may take it away before it is locked: then another.
        while tree.folder.is_none() {
            let new = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&place);
            let new = new.with_context(|| format!("cannot create a folder in {place}"))?.keep();
            tree.path = Utf8PathBuf::from_path_buf(new).map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
            let folder = File::open(&tree.path).ok().filter(|folder| folder.lock().is_ok());
            tree.folder = folder.filter(|_| tree.path.exists());
        }
        let why = format!("check out the source of {commit}");
        let add = ["worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", tree.path.as_str(), commit];
        tree.run(&git::reach(&Named::of(runner, repo)?, repo, why.clone(), &add))?;
        // Which settings there are may depend on where they are read.
        let named = Named::of(runner, &tree.path)?;
        let reset = ["reset", "--quiet", "--hard", "--no-recurse-submodules"];
        tree.run(&git::reach(&named, &tree.path, why, &reset))?;
        tree.smudge(&named, commit)?;
        Ok(tree)
    }

    fn run(&self, cmd: &Cmd) -> Result<()> {
        let exit = self.runner.output(cmd)?;
        self.runner.check(cmd, &exit).map_err(|error| {
            let hint = "run `git fetch --tags --unshallow`; in GitHub Actions check out with `fetch-depth: 0`";
            Fault::not_ready(format!("{error:#}")).hint(hint).into()
        })
    }

    /// No filter ran: files of Git LFS are put in the place of their pointers; what another filter makes is not known.
    ///
    /// # Errors
    /// Not ready: a file is not in this clone, or needs another filter.
    fn smudge(&self, named: &Named, commit: &str) -> Result<()> {
        let ask = |args: &[&str]| git::ask(&self.path, "list the files that need a filter", args);
        let names = self.runner.read(&ask(&["ls-files", "-z"]))?;
        let filtered = self.runner.read(&ask(&["check-attr", "-z", "--stdin", "filter"]).stdin(names))?;
        let common = self.runner.read(&ask(&["rev-parse", "--path-format=absolute", "--git-common-dir"]))?;
        // PATH, `filter`, VALUE
        for fields in filtered.split('\0').collect::<Vec<_>>().chunks_exact(3) {
            let (name, filter) = (fields[0], fields[2]);
            let path = self.path.join(name);
            let is_short = path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= lfs::LONGEST);
            let text = if is_short { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
            if let Some(hash) = lfs::pointer(&text) {
                let from = lfs::place(Utf8Path::new(&common), hash);
                if lfs::sha256(&from).as_deref() != Some(hash) {
                    let fault = Fault::not_ready(format!("{name} of {commit} is kept by Git LFS and is not in this clone"));
                    return Err(fault.hint(format!("run `git lfs fetch origin {commit}`")).into());
                }
                std::fs::copy(&from, &path).with_context(|| format!("cannot write {path}"))?;
            } else if filter != "lfs" && named.smudges.iter().any(|smudge| smudge == filter) {
                let fault = Fault::not_ready(format!("{name} of {commit} needs the filter {filter} of git, which is not run"));
                return Err(fault.hint("build this version from a checkout of its own").into());
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Removes what killed runs have left.
    fn sweep(&self, folder: &Utf8Path) {
        let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
        let trees = entries.filter(|entry| entry.file_name().starts_with(PREFIX)).map(|entry| entry.path().to_owned());
        let is_unused = |path: &Utf8PathBuf| File::open(path).is_ok_and(|folder| folder.try_lock().is_ok());
        let stale: Vec<Utf8PathBuf> = trees.filter(is_unused).collect();
        self.remove(&stale);
    }

    fn remove(&self, trees: &[Utf8PathBuf]) {
        let removed = trees.iter().filter(|path| std::fs::remove_dir_all(path).is_ok()).count();
        if removed > 0 {
            let prune = git::tidy_up(&self.repo, "forget a work tree", &["worktree", "prune"]);
            // Git forgets it by itself in time.
            let _forgotten = self.runner.output(&prune);
        }
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        if self.folder.is_some() {
            self.remove(std::slice::from_ref(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_left_is_removed_and_what_is_used_stays() {
        let temp = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(temp.path()).unwrap();
        let runner = Runner::default();
        let run = |args: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
            runner.read(&git::ask(repo, "prepare a test", &[&who[..], args].concat())).unwrap()
        };
        run(&["init", "--quiet"]);
        run(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let folder = repo.join("target/slipway");
        let (stale, used) = (folder.join("source-1"), folder.join("source-2"));
        for path in [&stale, &used] {
            run(&["worktree", "add", "--quiet", "--detach", path.as_str(), "HEAD"]);
        }
        let lock = File::open(&used).unwrap();
        lock.try_lock().unwrap();
        let tree = WorkTree::new(&runner, repo, &run(&["rev-parse", "HEAD"])).unwrap();
        assert!(tree.path().join(".git").exists() && used.join(".git").exists() && !stale.exists());
        let listed = run(&["worktree", "list"]);
        assert!(listed.contains("source-2") && !listed.contains("source-1 "), "{listed}");
        let own = tree.path().to_owned();
        tree.sweep(&folder);
        assert!(own.exists(), "it is used");
        drop(tree);
        assert!(!own.exists());
    }
}
