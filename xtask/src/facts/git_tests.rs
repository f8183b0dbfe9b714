//! Git asked for real: what it knows of a commit, and every way in which it knows nothing.

use std::process::Command;

use super::*;
use crate::facts::lab::Lab;

fn dirty(lab: &Lab) -> Option<String> {
    lab.ask("work", |git| git.dirty())
}

#[test]
fn the_commit_its_branch_and_its_origin() {
    let lab = Lab::cloned();
    let (sha, time) = lab.ask("work", |git| git.head()).unwrap();
    assert_eq!((sha, time.as_str()), (lab.head("work"), "2026-01-02T03:04:05Z"));
    assert_eq!(lab.ask("work", |git| git.branch()).as_deref(), Some("main"));
    assert_eq!(lab.ask("work", |git| git.source()), None, "a path is no web address");
    lab.git("work", "remote set-url origin https://user:token@git.example.org/a/b.git");
    assert_eq!(lab.ask("work", |git| git.source()).as_deref(), Some("https://git.example.org/a/b"));
    lab.git("work", "checkout --quiet --detach");
    assert_eq!(lab.ask("work", |git| git.branch()), None);
}

#[test]
fn the_default_branch() {
    let lab = Lab::cloned();
    let default = || lab.ask("work", |git| git.default_branch());
    lab.git("origin", "branch trunk/next");
    lab.git("work", "fetch --quiet");
    assert_eq!(default().as_deref(), Some("main"));
    lab.git("work", "remote set-head origin trunk/next");
    assert_eq!(default().as_deref(), Some("trunk/next"), "as origin says");
    lab.git("work", "remote set-head origin --delete");
    assert_eq!(default().as_deref(), Some("main"), "as there is");
    lab.git("origin", "branch --move main master");
    lab.clone("other", "");
    lab.git("other", "remote set-head origin --delete");
    assert_eq!(lab.ask("other", |git| git.default_branch()).as_deref(), Some("master"));
    lab.git("other", "branch feature/main");
    assert_eq!(lab.ask("other", |git| git.default_branch()).as_deref(), Some("master"), "feature/main is another branch");
    lab.git(".", "init --quiet --initial-branch x none");
    assert_eq!(lab.ask("none", |git| git.default_branch()), None);
}

#[test]
fn what_is_dirty() {
    let lab = Lab::cloned();
    assert_eq!(dirty(&lab), None);
    lab.write("work", "README.md", "second");
    let changed = dirty(&lab);
    assert!(changed.is_some() && changed == dirty(&lab), "the same twice");
    lab.git("work", "add README.md");
    lab.write("work", "README.md", "third");
    assert_ne!(dirty(&lab), changed);
    lab.git("work", "reset --quiet --hard");

    lab.write("work", "new \u{fc}\nline.txt", "1");
    let new = dirty(&lab);
    lab.write("work", "new \u{fc}\nline.txt", "2");
    assert!(new.is_some() && dirty(&lab) != new, "the content of new files counts");
    lab.git("work", "clean --quiet --force");

    lab.commit("work", ".gitignore", "*.log");
    lab.write("work", "a.log", "ignored");
    assert_eq!(dirty(&lab), None);
    std::os::unix::fs::symlink("/nowhere", lab.root.join("work/link")).unwrap();
    assert!(dirty(&lab).is_some(), "a link to nothing");
    lab.write("work", "sub/.keep", "");
    assert_eq!(lab.ask("work/sub", |git| git.dirty()).map(|hash| hash.len()), Some(64));
}

#[test]
fn bytes_that_are_no_text_make_a_difference() {
    let lab = Lab::cloned();
    let write = |byte: u8| std::fs::write(lab.root.join("work/README.md"), [b'a', byte, b'\n']).unwrap();
    write(0xe9);
    let first = dirty(&lab);
    write(0xe8);
    assert_ne!(dirty(&lab), first);
}

#[test]
fn what_lies_outside_the_folder_is_not_dirty() {
    let lab = Lab::cloned();
    lab.commit("work", "example/docker/images.toml", "x");
    lab.write("work", "README.md", "changed");
    assert_eq!(lab.ask("work/example", |git| git.dirty()), None);
    lab.write("work", "example/new", "");
    assert!(lab.ask("work/example", |git| git.dirty()).is_some());
}

#[test]
fn without_git_without_a_repository_without_a_commit() {
    let mut lab = Lab::empty();
    let head = |lab: &Lab| lab.ask(".", |git| git.head()).unwrap_err();
    assert_eq!(head(&lab), format!("{}/. is not in a git repository", lab.root));
    lab.git(".", "init --quiet --initial-branch main");
    assert_eq!(head(&lab), "there is no commit yet");
    lab.runner.set_env("PATH", "/nonexistent");
    assert_eq!(head(&lab), "git cannot be started (is it installed?)");
}

#[test]
fn a_git_that_hangs_is_asked_once() {
    let mut lab = Lab::empty();
    lab.write(".", "bin/git", "#!/bin/sh\necho x >> \"$0.log\"\nexec sleep 600\n");
    std::fs::set_permissions(lab.root.join("bin/git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    lab.runner.set_env("PATH", &format!("{}/bin:/usr/bin:/bin", lab.root));
    lab.ask(".", |git| {
        let git = Git { limit: Duration::from_secs(5), ..Git::new(git.runner, git.repo) };
        let why = git.head().unwrap_err();
        assert_eq!(why, "git cannot read the commit: no answer within 5s");
        assert_eq!((git.branch(), git.dirty().as_deref()), (None, Some("unknown")), "what may be dirty is not clean");
    });
    assert_eq!(std::fs::read_to_string(lab.root.join("bin/git.log")).unwrap(), "x\n");
}

#[test]
fn a_repository_of_somebody_else() {
    let lab = Lab::cloned();
    if std::os::unix::fs::chown(lab.root.join("work"), Some(65534), Some(65534)).is_err() {
        return; // only root gives folders away
    }
    let why = lab.ask("work", |git| git.head()).unwrap_err();
    let folder = lab.root.join("work");
    assert_eq!(
        why,
        format!(
            "git does not trust {folder}, which belongs to another user (run `git config --global --add safe.directory {folder}`)"
        )
    );
}

#[test]
fn a_commit_of_any_time_is_read() {
    let lab = Lab::cloned();
    for (date, expected) in [("@-86400 +0000", "1970-01-01T00:00:00Z"), ("@300000000000 +0000", "9999-12-31T23:59:59Z")] {
        let commit = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "x"])
            .env("GIT_COMMITTER_DATE", date)
            .current_dir(lab.root.join("work"))
            .status()
            .unwrap();
        // Not every git writes a time before 1970.
        if commit.success() {
            let (_, time) = Git::new(&lab.runner, &lab.root.join("work")).head().unwrap();
            assert!(time == expected || date.starts_with("@-"), "{date}: {time}");
        }
    }
}
