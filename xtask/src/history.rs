//! How two commits stand to each other, and what a branch has now, asked of git.

use std::sync::OnceLock;

use anyhow::Result;
use camino::Utf8Path;

use crate::error::Fault;
use crate::event::Event;
use crate::exec::{Exit, Runner};
use crate::facts::git::Git;
use crate::forward::Ancestry;
use crate::plan::Plan;

fn git(runner: &Runner, repo: &Utf8Path, args: &[&str]) -> Result<Exit> {
    runner.output(&crate::git::ask(repo, "ask git", args))
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

/// The tip that the branch of a run has now. Origin is asked once, when the answer counts.
pub struct Tip<'a> {
    runner: &'a Runner,
    repo: &'a Utf8Path,
    /// `None`: the event is of no branch.
    name: Option<String>,
    ours: String,
    pub forced: bool,
    now: OnceLock<Option<String>>,
}

impl<'a> Tip<'a> {
    pub fn of(runner: &'a Runner, repo: &'a Utf8Path, plan: &Plan) -> Tip<'a> {
        let (name, forced) = match &plan.event {
            Event::Branch { name, forced } => (Some(name.clone()), *forced),
            Event::Schedule { branch } | Event::Manual { branch, .. } => (branch.clone(), false),
            Event::Local | Event::PullRequest { .. } | Event::Tag { .. } => (None, false),
        };
        Tip { runner, repo, name, ours: plan.commit.clone().unwrap_or_default(), forced, now: OnceLock::new() }
    }

    /// Whether the branch has a commit now; `None`: not known.
    ///
    /// # Errors
    /// Those of [`ancestry`].
    pub fn has(&self, commit: &str) -> Result<Option<bool>> {
        let Some(tip) = self.now.get_or_init(|| self.find()) else { return Ok(None) };
        let ancestry = ancestry(self.runner, self.repo, tip, commit)?;
        Ok(Some(matches!(ancestry, Ancestry::Before | Ancestry::Same)))
    }

    /// What origin's branch has, else what this clone knows of it. A commit that goes on from there counts as the tip, for
    /// it is about to be pushed; unless the clone saw it on the branch: then it has been taken off.
    fn find(&self) -> Option<String> {
        let git = Git::new(self.runner, self.repo);
        let name = self.name.as_deref()?;
        let known = git.revision(&format!("refs/remotes/origin/{name}"));
        let (tip, is_now) = match git.at_origin(name) {
            Ok(Some(tip)) => (tip, true),
            // Nothing that is newer was pushed.
            Ok(None) => return Some(self.ours.clone()),
            Err(_) => (known.clone()?, false),
        };
        let was_there = || {
            let ancestry = known.as_ref().map(|known| ancestry(self.runner, self.repo, known, &self.ours));
            matches!(ancestry, Some(Ok(Ancestry::Before | Ancestry::Same)))
        };
        match ancestry(self.runner, self.repo, &self.ours, &tip) {
            Ok(Ancestry::Before) if is_now && was_there() => Some(tip),
            Ok(Ancestry::Before | Ancestry::Same) => Some(self.ours.clone()),
            // What the clone knew of the branch may be of before the push.
            Ok(_) if !is_now && self.forced => None,
            Ok(Ancestry::Unknown) | Err(_) => None,
            Ok(Ancestry::After | Ancestry::Diverged) => Some(tip),
        }
    }
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

    /// A run of `branch:NAME` in a folder whose HEAD is its commit.
    fn tip<'a>(lab: &'a crate::facts::lab::Lab, repo: &'a Utf8Path, branch: &str, forced: bool, ours: &str) -> Tip<'a> {
        let mut plan = crate::plan::testing::plan(Vec::new());
        plan.event = Event::Branch { name: branch.into(), forced };
        plan.commit = Some(ours.into());
        Tip::of(&lab.runner, repo, &plan)
    }

    #[test]
    fn what_a_branch_has_after_pushes_of_every_kind() {
        for branch in ["dev", "feature/x"] {
            let lab = crate::facts::lab::Lab::cloned();
            let repo = lab.root.join("work");
            let push = |flags: &str| lab.git("work", &format!("push --quiet {flags} origin HEAD:refs/heads/{branch}"));
            let has = |ours: &str, commits: [&str; 3]| {
                let tip = tip(&lab, &repo, branch, false, ours);
                commits.map(|commit| tip.has(commit).unwrap().unwrap())
            };
            let first = lab.commit("work", "a", "1");
            assert_eq!(has(&first, [&first; 3]), [true; 3], "not pushed yet: it will be");
            push("");
            let second = lab.commit("work", "a", "2");
            push("");
            assert_eq!(has(&first, [&first, &second, &second]), [true; 3], "a queued run of an older commit");
            // The clone of the run of the second commit, which ends late.
            lab.clone("late", &format!("--branch {branch}"));
            lab.git("work", &format!("reset --quiet --hard {first}"));
            push("--force");
            assert_eq!(has(&first, [&first, &second, &second]), [true, false, false], "git reset");
            let late = lab.root.join("late");
            assert_eq!(tip(&lab, &late, branch, false, &second).has(&second).unwrap(), Some(false));
            let third = lab.commit("work", "a", "3");
            assert_eq!(has(&third, [&first, &second, &third]), [true, false, true], "not pushed yet");
            lab.git("work", "commit --quiet --amend --message other");
            let fourth = lab.head("work");
            push("--force");
            assert_eq!(has(&third, [&first, &third, &fourth]), [true, false, true], "it was replaced before its run ended");

            // Somebody else pushes after this clone was made; then the branch goes, and comes again from elsewhere.
            lab.clone("other", "");
            lab.git("other", &format!("checkout --quiet {branch}"));
            let fifth = lab.commit("other", "b", "1");
            lab.git("other", "push --quiet");
            assert_eq!(has(&fourth, [&third, &fourth, &fifth]), [false, true, true]);
            lab.git("work", &format!("push --quiet origin :refs/heads/{branch}"));
            assert_eq!(has(&fourth, [&third, &fourth, &fifth]), [false, true, false], "deleted");
            lab.git("work", "checkout --quiet -b again origin/main");
            let sixth = lab.commit("work", "c", "1");
            push("");
            assert_eq!(has(&sixth, [&fifth, &fourth, &sixth]), [false, false, true], "recreated");
            assert_eq!(has(&fifth, [&fifth, &fourth, &sixth]), [false, false, true]);
        }
    }

    #[test]
    fn what_a_branch_has_where_origin_does_not_answer() {
        let lab = crate::facts::lab::Lab::cloned();
        let repo = lab.root.join("work");
        let first = lab.commit("work", "a", "1");
        let second = lab.commit("work", "a", "2");
        lab.git("work", "push --quiet origin HEAD:refs/heads/dev");
        lab.git("work", "fetch --quiet");
        lab.git("work", &format!("checkout --quiet {first}"));
        lab.git("work", "remote set-url origin file:///nonexistent/origin");
        let has = |forced: bool, ours: &str, commit: &str| tip(&lab, &repo, "dev", forced, ours).has(commit).unwrap();
        assert_eq!(has(false, &first, &second), Some(true), "as this clone knows it");
        assert_eq!(has(true, &first, &second), None, "it is of before the push");
        let third = lab.commit("work", "a", "3");
        assert_eq!(has(false, &third, &third), Some(false));
        lab.git("work", "remote remove origin");
        assert_eq!(has(false, &third, &third), None);
        let mut plan = crate::plan::testing::plan(Vec::new());
        plan.event = Event::Schedule { branch: Some("dev".into()) };
        assert_eq!(Tip::of(&lab.runner, &repo, &plan).has(&third).unwrap(), None);
    }

    #[test]
    fn what_a_branch_has_in_a_shallow_clone() {
        let lab = crate::facts::lab::Lab::cloned();
        let first = lab.head("origin");
        let second = lab.commit("origin", "a", "2");
        lab.clone("shallow", "--depth 1");
        lab.git("origin", &format!("reset --quiet --hard {first}"));
        let third = lab.commit("origin", "a", "3");
        let repo = lab.root.join("shallow");
        let has = |ours: &str| tip(&lab, &repo, "main", false, ours).has(&second).unwrap();
        assert_eq!((has(&second), has(&third)), (Some(false), Some(false)));
    }
}
