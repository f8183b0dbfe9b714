//! How two commits stand to each other, asked of git.

use std::time::Duration;

use anyhow::Result;
use camino::Utf8Path;

use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::{Exit, Runner};
use crate::facts::git::Git;
use crate::forward::Ancestry;

fn git(runner: &Runner, repo: &Utf8Path, args: &[&str]) -> Result<Exit> {
    let cmd = Cmd::probe("git", "ask git").args(["-C", repo.as_str()]).args(args.iter().copied());
    runner.output(&cmd.env("GIT_TERMINAL_PROMPT", "0").timeout(Duration::from_secs(60)))
}

/// How `theirs` stands to `ours`; both full shas.
///
/// # Errors
/// Not ready: the clone is shallow and cannot be deepened, so that the answer is not known.
pub fn ancestry(runner: &Runner, repo: &Utf8Path, ours: &str, theirs: &str) -> Result<Ancestry> {
    if ours == theirs {
        return Ok(Ancestry::Same);
    }
    if let Err(why) = Git::new(runner, repo).deepen(&[]) {
        if runner.is_interrupted() {
            return Err(Fault::interrupted().into());
        }
        let fault = Fault::not_ready(format!("cannot tell whether commit {theirs} came before {ours}: {why}"));
        return Err(fault.hint("run `git fetch --unshallow`; in GitHub Actions check out with `fetch-depth: 0`").into());
    }
    // `^{commit}` makes sure that it is one; a revision label may hold any text.
    if !git(runner, repo, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{theirs}^{{commit}}")])?.ok() {
        return Ok(Ancestry::Unknown);
    }
    let is_before =
        |old: &str, new: &str| Ok::<_, anyhow::Error>(git(runner, repo, &["merge-base", "--is-ancestor", old, new])?.ok());
    Ok(match () {
        () if is_before(theirs, ours)? => Ancestry::Before,
        () if is_before(ours, theirs)? => Ancestry::After,
        () => Ancestry::Diverged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_as_git_knows_them() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Utf8Path::from_path(folder.path()).unwrap();
        let runner = Runner::default();
        let run = |args: &[&str]| {
            let name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
            let exit = git(&runner, repo, &[&name[..], args].concat()).unwrap();
            assert!(exit.ok(), "{args:?}: {}", exit.stderr);
            exit.stdout.trim().to_owned()
        };
        let commit = |name: &str| {
            run(&["commit", "--quiet", "--allow-empty", "-m", name]);
            run(&["rev-parse", "HEAD"])
        };
        run(&["init", "--quiet"]);
        let (first, second) = (commit("1"), commit("2"));
        run(&["checkout", "--quiet", "-b", "other", &first]);
        let other = commit("3");
        for (theirs, expected) in [
            (&first, Ancestry::Before),
            (&second, Ancestry::Same),
            (&other, Ancestry::Diverged),
            (&"0".repeat(40), Ancestry::Unknown),
            (&"--all".to_owned(), Ancestry::Unknown),
        ] {
            assert_eq!(ancestry(&runner, repo, &second, theirs).unwrap(), expected, "{theirs}");
        }
        assert_eq!(ancestry(&runner, repo, &first, &second).unwrap(), Ancestry::After);
    }

    #[test]
    fn several_at_once_in_a_shallow_clone() {
        let lab = crate::facts::lab::Lab::cloned();
        let first = lab.head("work");
        let second = lab.commit("origin", "a", "second");
        lab.clone("shallow", "--depth 1 --origin upstream");
        let (runner, repo) = (&lab.runner, lab.root.join("shallow"));
        let ask = |theirs: &String| ancestry(runner, &repo, &second, theirs).map_err(|error| format!("{error:#}"));
        let answers = crate::parallel::map(4, vec![&first; 8], ask);
        assert!(answers.iter().all(|answer| *answer == Ok(Ancestry::Before)), "{answers:?}");
        lab.clone("lost", "--depth 1");
        lab.git("lost", "remote set-url origin file:///nonexistent/origin");
        let error = ancestry(runner, &lab.root.join("lost"), &second, &first).unwrap_err();
        assert!(format!("{error:#}").contains("the clone is shallow and cannot be deepened"), "{error:#}");
    }
}
