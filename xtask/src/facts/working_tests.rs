//! Tests of the files of a working tree: what git names, and what changed.

use super::*;
use crate::facts::lab::Lab;

fn names(files: &BTreeSet<String>) -> Vec<&str> {
    files.iter().map(String::as_str).collect()
}

#[test]
fn files_of_submodules_and_of_repositories_in_the_repository() {
    let lab = Lab::cloned();
    lab.git("work", &format!("-c protocol.file.allow=always submodule --quiet add file://{}/origin sub", lab.root));
    lab.write("work", "sub/new", "1");
    lab.git("work", "init --quiet nested");
    lab.write("work", "nested/a", "1");
    lab.git("work", "-C nested add a");
    lab.write("work", "target/a", "1");
    lab.write("work", "other/target/a", "1");
    let files = files(&lab.runner, &lab.root.join("work")).unwrap();
    assert_eq!(names(&files.known), [".gitmodules", "README.md", "sub/README.md"]);
    assert_eq!(names(&files.new), ["nested/a", "other/target/a", "sub/new"]);
}

#[test]
fn a_folder_without_git_and_one_whose_git_is_broken() {
    let lab = Lab::cloned();
    lab.write("plain", "a/b", "1");
    lab.write("plain", "target/a", "1");
    let plain = files(&lab.runner, &lab.root.join("plain")).unwrap();
    assert_eq!((names(&plain.known).len(), names(&plain.new)), (0, vec!["a/b"]));
    lab.write("work", ".git/HEAD", "nonsense");
    let error = files(&lab.runner, &lab.root.join("work")).unwrap_err();
    assert!(error.to_string().starts_with("cannot list the files of "), "{error:#}");
    // A part of a repository.
    lab.write("origin", "part/a", "1");
    lab.git("origin", "add part");
    let part = files(&lab.runner, &lab.root.join("origin/part")).unwrap();
    assert_eq!(names(&part.known), ["a"]);
}

/// What is found after `edit` in a work tree with a submodule.
fn differing(edit: &str) -> Vec<String> {
    let lab = Lab::cloned();
    lab.git("work", &format!("-c protocol.file.allow=always submodule --quiet add file://{}/origin sub", lab.root));
    lab.write("work", "xtask/src/main.rs", "fn main() {}\n");
    lab.write("work", ".gitignore", "/data\n.env\n");
    lab.write("work", ".env", "A=1\n");
    lab.git("work", "add .");
    lab.git("work", "commit --quiet -m two");
    let root = lab.root.join("work");
    let seen = Seen::new(&lab.runner, &root).unwrap();
    assert_eq!(seen.repositories.len(), 2, "{:?}", seen.repositories);
    let script = format!("cd {root} && {edit}");
    lab.runner.read(&crate::cmd::Cmd::change("sh", "prepare a test").args(["-c", &script])).unwrap();
    seen.differing()
}

#[test]
fn what_changed_is_seen_whatever_git_would_say() {
    let table: [(&str, &[&str]); 18] = [
        ("mkdir data .pytest_cache && echo 1 > data/x && echo 2 > .pytest_cache/x && echo 3 > untracked", &[]),
        ("echo 2 > README.md", &["README.md"]),
        ("git update-index --assume-unchanged README.md && echo 2 > README.md", &["README.md"]),
        ("git update-index --skip-worktree README.md && rm README.md", &["README.md"]),
        ("echo 2 > sub/README.md", &["sub/README.md"]),
        ("rm -rf .git && rm README.md", &[".git", ".git/config", "README.md"]),
        ("echo '*.md filter=x' > .gitattributes", &[".gitattributes"]),
        ("git config core.fsmonitor ./x", &[".git/config"]),
        ("echo > .git/hooks/pre-commit", &[".git/hooks/pre-commit"]),
        ("echo '* text' > .git/info/attributes", &[".git/info/attributes"]),
        ("echo 'gitdir: /x' > sub/.git", &["sub/.git"]),
        ("mkdir -p a/.git", &["a/.git"]),
        ("mkdir -p a/.cargo && echo > a/.cargo/config.toml", &["a/.cargo/config.toml"]),
        ("echo nightly > rust-toolchain", &["rust-toolchain"]),
        ("echo 'fn main() {}' > xtask/build.rs", &["xtask/build.rs"]),
        ("mkdir xtask/src/bin && echo > xtask/src/bin/x.rs", &["xtask/src/bin/x.rs"]),
        ("echo B=2 >> .env", &[".env"]),
        ("rm README.md && ln -s /etc/passwd README.md", &["README.md"]),
    ];
    for (edit, expected) in table {
        let found = differing(edit);
        let hooks = |name: &&String| {
            !name.ends_with(".sample") && name.as_str() != ".git/info/attributes" || expected.contains(&name.as_str())
        };
        assert_eq!(found.iter().filter(hooks).collect::<Vec<_>>(), expected, "{edit}");
    }
}
