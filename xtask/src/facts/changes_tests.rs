//! Real histories, and which files changed in them.

use super::*;
use crate::facts::lab::Lab;

fn pull_request(base: Option<&str>, head: Option<&str>) -> Recorded {
    let event = Event::PullRequest { number: Some(1), fork: false, base: Some("main".into()) };
    let compare = Compare::Target { base: base.map(str::to_owned), head: head.map(str::to_owned) };
    Recorded { event, compare, default_branch: None }
}

fn push(branch: &str, before: Option<&str>) -> Recorded {
    let compare = Compare::Before(before.map(str::to_owned));
    Recorded { event: Event::Branch { name: branch.into(), forced: false }, compare, default_branch: None }
}

fn changed(lab: &Lab, folder: &str, recorded: &Recorded) -> Changed {
    lab.ask(folder, |git| git.changed(recorded, "main").0)
}

fn files(names: &[&str]) -> Changed {
    Changed::Files(names.iter().map(Utf8PathBuf::from).collect())
}

fn reason(changed: Changed) -> String {
    match changed {
        Changed::Unknown(reason) => reason,
        Changed::Files(files) => panic!("known: {files:?}"),
    }
}

/// main goes on after a branch left it; `merged` is what GitHub would check out. Returns (old base, base, head).
fn moved_main(lab: &Lab) -> (String, String, String) {
    let old = lab.head("origin");
    lab.git("origin", "checkout --quiet -b topic");
    lab.commit("origin", "a.txt", "1");
    let head = lab.commit("origin", "b/c.txt", "1");
    lab.git("origin", "checkout --quiet main");
    let base = lab.commit("origin", "main-only.txt", "1");
    lab.git("origin", "checkout --quiet -b merged");
    lab.git("origin", "merge --quiet --no-ff --no-edit topic");
    (old, base, head)
}

#[test]
fn a_pull_request_is_compared_with_where_it_left_main() {
    let lab = Lab::cloned();
    let (old, base, head) = moved_main(&lab);
    let expected = files(&["a.txt", "b/c.txt"]);
    lab.git("work", "fetch --quiet");
    lab.git("work", "checkout --quiet topic");
    for recorded in [pull_request(Some(&base), Some(&head)), pull_request(Some(&old), None), pull_request(None, None)] {
        assert_eq!(changed(&lab, "work", &recorded), expected, "{recorded:?}");
    }
    lab.git("work", "checkout --quiet merged");
    for base in [&base, &old] {
        assert_eq!(changed(&lab, "work", &pull_request(Some(base), Some(&head))), expected, "the merge, as GitHub checks it out");
    }
    lab.write("work", "new.txt", "");
    lab.git("work", "rm --quiet a.txt");
    assert_eq!(
        changed(&lab, "work", &pull_request(Some(&base), Some(&head))),
        files(&["b/c.txt", "new.txt"]),
        "the working tree is built"
    );
}

#[test]
fn a_shallow_clone_is_deepened() {
    let lab = Lab::cloned();
    let (_, base, head) = moved_main(&lab);
    for (name, flags, recorded) in [
        ("one", "--depth 1 --branch merged", pull_request(Some(&base), Some(&head))),
        ("two", "--depth 1 --branch merged", pull_request(None, Some(&head))),
        ("three", "--depth 1 --branch topic", pull_request(Some(&base), Some(&head))),
    ] {
        lab.clone(name, flags);
        assert_eq!(changed(&lab, name, &recorded), files(&["a.txt", "b/c.txt"]), "{name}");
    }
    lab.clone("four", "--depth 1 --branch topic");
    let before = lab.git("origin", "rev-parse topic~1");
    assert_eq!(changed(&lab, "four", &push("topic", Some(&before))), files(&["b/c.txt"]));
    assert_eq!(lab.git("four", "rev-parse --is-shallow-repository"), "false");
}

#[test]
fn a_shallow_clone_that_cannot_be_deepened() {
    let lab = Lab::cloned();
    let (_, base, head) = moved_main(&lab);
    lab.clone("shallow", "--depth 1 --branch merged");
    lab.git("shallow", "remote set-url origin file:///nonexistent/origin");
    let why = reason(changed(&lab, "shallow", &pull_request(Some(&base), Some(&head))));
    assert!(why.starts_with("the clone is shallow and cannot be deepened: git cannot fetch the history: fatal: "), "{why}");
    assert!(why.ends_with("(check it out with fetch-depth: 0)"), "{why}");
    lab.git("shallow", "remote remove origin");
    let why = reason(changed(&lab, "shallow", &push("merged", Some(&base))));
    assert_eq!(why, "the clone is shallow and cannot be deepened: it has no remote (check it out with fetch-depth: 0)");
}

#[test]
fn pushes() {
    let lab = Lab::cloned();
    let before = lab.head("work");
    lab.commit("work", "a.txt", "1");
    let last = lab.commit("work", "b.txt", "1");
    assert_eq!(changed(&lab, "work", &push("main", Some(&before))), files(&["a.txt", "b.txt"]), "all commits of the push");
    assert_eq!(changed(&lab, "work", &push("main", None)), files(&["a.txt", "b.txt"]), "against origin/main");
    for compared in [Some(before.as_str()), None] {
        assert_eq!(lab.ask("work", |git| git.changed(&push("main", compared), "main").1), Some(before.clone()));
    }
    assert_eq!(reason(changed(&lab, "work", &push("dev", None))), "origin has no branch dev that this clone knows");
    lab.git("work", "push --quiet origin main");
    assert_eq!(
        reason(changed(&lab, "work", &push("main", None))),
        "origin/main is this commit already, and what it was before is not known"
    );
    lab.git("work", "reset --quiet --hard HEAD~1");
    lab.commit("work", "c.txt", "1");
    let gone = format!("the commit before the push, {}, is not part of the branch", &last[..7]);
    assert_eq!(reason(changed(&lab, "work", &push("main", Some(&last)))), gone, "history was rewritten");
    let nowhere = "1234567".repeat(6);
    assert!(reason(changed(&lab, "work", &push("main", Some(&nowhere[..40])))).contains("1234567"), "not in this clone");
    for no_sha in ["--upload-pack=touch /tmp/x", "HEAD", "", "abc"] {
        assert!(reason(changed(&lab, "work", &push("main", Some(no_sha)))).ends_with("which is no commit"), "{no_sha}");
    }
}

#[test]
fn histories_without_anything_in_common() {
    let lab = Lab::cloned();
    lab.git("work", "checkout --quiet --orphan lonely");
    lab.commit("work", "x.txt", "1");
    assert_eq!(reason(changed(&lab, "work", &pull_request(None, None))), "this commit and origin/main have no history in common");
    let mut into_dev = pull_request(None, None);
    into_dev.event = Event::PullRequest { number: Some(1), fork: false, base: Some("dev".into()) };
    assert_eq!(
        reason(changed(&lab, "work", &into_dev)),
        "there is no branch dev here to compare with (run `git fetch origin dev`)"
    );
}

#[test]
fn names_of_every_kind() {
    let lab = Lab::cloned();
    let before = lab.commit("work", "old name.txt", "the same content");
    lab.git("work", "config diff.renames copies");
    lab.git("work", "config core.quotePath true");
    lab.git("work", "config diff.noprefix true");
    std::fs::rename(lab.root.join("work/old name.txt"), lab.root.join("work/new name.txt")).unwrap();
    for name in ["with \"quotes\"'", "line\nbreak", "ünï/çødé 日本", "-dash", "tab\t", ":(glob)*"] {
        lab.commit("work", name, "1");
    }
    let mut expected =
        ["new name.txt", "old name.txt", "with \"quotes\"'", "line\nbreak", "ünï/çødé 日本", "-dash", "tab\t", ":(glob)*"];
    expected.sort_unstable();
    assert_eq!(changed(&lab, "work", &push("main", Some(&before))), files(&expected));
    lab.write("work", "un\ntracked ü", "");
    assert!(
        matches!(changed(&lab, "work", &push("main", Some(&before))), Changed::Files(all) if all.contains(&"un\ntracked ü".into()))
    );
}

#[test]
fn a_folder_of_a_larger_repository() {
    let lab = Lab::cloned();
    let before = lab.head("work");
    lab.commit("work", "outside.txt", "1");
    lab.commit("work", "apps/shop/inside.txt", "1");
    assert_eq!(changed(&lab, "work/apps/shop", &push("main", Some(&before))), files(&["inside.txt"]));
}

#[test]
fn submodules() {
    let lab = Lab::cloned();
    lab.git(".", "init --quiet --initial-branch main part");
    lab.commit("part", "a.txt", "1");
    lab.git("work", &format!("-c protocol.file.allow=always submodule --quiet add {}/part vendor/part", lab.root));
    let added = lab.commit("work", "x.txt", "1");
    let first = lab.git("work", "rev-parse HEAD~1");
    let since = |before: &str| changed(&lab, "work", &push("main", Some(before)));
    assert_eq!(since(&first), files(&[".gitmodules", "vendor/part", "vendor/part/a.txt", "x.txt"]), "a new one is all new");

    lab.commit("work/vendor/part", "b.txt", "1");
    lab.commit("work", "x.txt", "2");
    assert_eq!(since(&added), files(&["vendor/part", "vendor/part/b.txt", "x.txt"]), "what changed in it");
    lab.write("work/vendor/part", "c.txt", "1");
    assert_eq!(
        since(&added),
        files(&["vendor/part", "vendor/part/b.txt", "vendor/part/c.txt", "x.txt"]),
        "also what is not committed"
    );

    lab.clone("plain", "");
    lab.git("work", "push --quiet origin main");
    lab.git("plain", "pull --quiet");
    assert_eq!(changed(&lab, "plain", &push("main", Some(&added))), files(&["vendor/part", "x.txt"]), "not checked out");

    lab.write("work/vendor/part", ".git", "gitdir: /nonexistent");
    let why = "git cannot list the changed files: fatal: not a git repository: /nonexistent";
    let expected = format!("the submodule vendor/part changed, and it is not known what in it: {why}");
    assert_eq!(reason(since(&added)), expected);
}

#[test]
fn what_dependencies_are_compared_with() {
    let lab = Lab::cloned();
    let since = |event: &Event, version: Option<&str>| {
        let version = version.map(|text| Version::parse(text).unwrap());
        lab.ask("work", |git| git.since_release(event, &Changed::default(), version.as_ref(), "main"))
    };
    let tag = |name: &str| Event::Tag { name: name.into() };
    let manual = Event::Manual { rebuild: false, branch: None };
    assert_eq!(reason(since(&tag("v1.0.0"), None)), "there is no older version tag");
    for name in ["v1.9.0", "v1.10.0rc9", "v1.10.0rc10", "other"] {
        lab.commit("work", &format!("{name}.txt"), "1");
        lab.git("work", &format!("tag {name}"));
    }
    lab.git("work", "checkout --quiet -b side HEAD~3");
    lab.commit("work", "side.txt", "1");
    lab.git("work", "tag v1.9.5");
    lab.git("work", "checkout --quiet main");
    lab.commit("work", "last.txt", "1");
    lab.git("work", "tag v1.10.0");
    assert_eq!(since(&tag("v1.10.0"), None), files(&["last.txt", "other.txt"]), "rc10 is nearer than rc9");
    assert_eq!(since(&tag("v1.10.0rc10"), None), files(&["last.txt", "other.txt", "v1.10.0rc10.txt"]));
    assert_eq!(
        since(&tag("v1.9.1"), None),
        files(&["last.txt", "other.txt", "v1.10.0rc10.txt", "v1.10.0rc9.txt"]),
        "v1.9.5 is elsewhere"
    );
    assert_eq!(since(&manual, None), files(&[]), "v1.10.0 is this commit");
    lab.commit("work", "later.txt", "1");
    assert_eq!(since(&manual, None), files(&["later.txt"]));
    assert_eq!(since(&manual, Some("v1.9.0")).clone(), since(&tag("v1.9.1"), None), "what is published counts");
    assert_eq!(since(&manual, Some("v2.0.0")), files(&["later.txt"]), "nothing of it is published yet");
    assert_eq!(since(&push("main", None).event, None), Changed::default(), "as in the event");
    lab.write("work", "new.txt", "");
    lab.git("work", "push --quiet origin main");
    assert_eq!(since(&Event::Local, None), files(&["new.txt"]));

    let published = lab.git("work", "rev-parse v1.9.0");
    assert_eq!(lab.ask("work", |git| git.since_commit(&published)), {
        files(&["last.txt", "later.txt", "new.txt", "other.txt", "v1.10.0rc10.txt", "v1.10.0rc9.txt"])
    });
    let gone = "0".repeat(40);
    assert_eq!(reason(lab.ask("work", |git| git.since_commit(&gone))), "commit 0000000 is not in this clone");
    assert_eq!(reason(lab.ask("work", |git| git.since_commit("--all"))), "`--all` is no commit");

    lab.git("work", "push --quiet origin --tags");
    lab.clone("flat", "--depth 1 --no-tags");
    let since = lab.ask("flat", |git| git.since_commit(&published));
    assert!(matches!(since, Changed::Files(files) if files.len() == 5), "a shallow clone is deepened");
    lab.clone("shallow", "--depth 1 --no-tags");
    let shallow = lab.ask("shallow", |git| git.since_release(&tag("v1.10.0"), &Changed::default(), None, "main"));
    assert_eq!(shallow, files(&["last.txt", "later.txt", "other.txt"]), "tags come with the history");
}
