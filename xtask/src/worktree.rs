//! The source of a released version: a work tree of its commit, below target/ and gone with the process.

use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;

/// Removed when dropped.
#[derive(Debug)]
pub struct WorkTree {
    runner: Runner,
    repo: Utf8PathBuf,
    path: Utf8PathBuf,
}

fn git(repo: &Utf8Path, why: String, args: &[&str]) -> Cmd {
    Cmd::probe("git", why).args(["-C", repo.as_str()]).args(args.iter().copied()).timeout(Duration::from_secs(300))
}

/// The commit of HEAD, or of a tag; `None`: there is no such tag, or no git.
pub fn commit(runner: &Runner, repo: &Utf8Path, name: &str) -> Result<Option<String>> {
    let cmd = git(repo, format!("find {name}"), &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]);
    let exit = runner.output(&cmd)?;
    Ok(exit.ok().then(|| exit.stdout.trim().to_owned()))
}

impl WorkTree {
    /// Checks a commit out beside the checkout. It changes nothing that anybody works on, so it runs under `--dry-run` too.
    ///
    /// # Errors
    /// Not ready: git does not have the commit.
    pub fn new(runner: &Runner, repo: &Utf8Path, commit: &str) -> Result<WorkTree> {
        let path = repo.join(format!("target/slipway/source-{}", std::process::id()));
        let tree = WorkTree { runner: runner.clone(), repo: repo.to_owned(), path };
        tree.remove();
        let args = ["worktree", "add", "--quiet", "--force", "--detach", tree.path.as_str(), commit];
        let cmd = git(repo, format!("check out the source of {commit}"), &args);
        let exit = runner.output(&cmd)?;
        runner.check(&cmd, &exit).map_err(|error| {
            let hint = "run `git fetch --tags --unshallow`; in GitHub Actions check out with `fetch-depth: 0`";
            Fault::not_ready(format!("{error:#}")).hint(hint)
        })?;
        Ok(tree)
    }

    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What a killed process left of the same name goes too.
    fn remove(&self) {
        if std::fs::remove_dir_all(&self.path).is_ok() {
            let prune = Cmd {
                effect: crate::cmd::Effect::Cleanup,
                ..git(&self.repo, "forget a work tree".into(), &["worktree", "prune"])
            };
            // Git forgets it by itself in time.
            let _forgotten = self.runner.output(&prune);
        }
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        self.remove();
    }
}
