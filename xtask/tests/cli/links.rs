//! What a clone can have in the places that a run writes to: links out of it, files of the commit, git's own folder.

use std::os::unix::fs::symlink;

use crate::lab::{GOOD, Lab};

const BUILD: [&str; 5] = ["ci-build", "--mode", "test", "--engine", "host"];

/// A build that succeeds; its image is loaded under `id`.
fn lab() -> Lab {
    let answers = r#"
case "$*" in
  *"image inspect"*) echo '[{"Id": "sha256:aaaa", "Size": 1, "RepoDigests": []}]' ;;
esac
bake() { exit 1; }
"#;
    let lab = Lab::with_docker(&format!("{answers}{GOOD}"));
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n");
    std::fs::write(lab.repo().join("../precious"), "precious").unwrap();
    lab
}

fn is_untouched(lab: &Lab) -> bool {
    std::fs::read_to_string(lab.repo().join("../precious")).unwrap() == "precious"
}

#[test]
fn the_state_is_never_written_through_a_link() {
    for at in ["target", "target/slipway", "target/slipway/lock"] {
        let lab = lab();
        let link = lab.repo().join(at);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        let outside = lab.repo().join("../outside");
        std::fs::create_dir(&outside).unwrap();
        let to = if at.ends_with("lock") { lab.repo().join("../precious") } else { outside.clone() };
        symlink(to, &link).unwrap();
        lab.run(&BUILD).expect(4, &[&format!("/{at}: is "), "hint: "]);
        assert!(is_untouched(&lab) && outside.read_dir().unwrap().next().is_none(), "{at}");
    }
    // A result is replaced, wherever it led.
    let lab = lab();
    std::fs::create_dir_all(lab.repo().join("target/slipway")).unwrap();
    for name in ["builds.json", "sizes.json", "bases.json", ".gitignore"] {
        symlink(lab.repo().join("../precious"), lab.repo().join("target/slipway").join(name)).unwrap();
    }
    lab.run(&BUILD).expect(1, &["1 of 1 builds failed"]);
    assert!(is_untouched(&lab));
}

#[test]
fn a_state_that_was_cloned_is_refused() {
    let lab = lab();
    lab.git(&["init", "--quiet"]);
    lab.write("target/slipway/receipts/web.json", "{}");
    lab.git(&["add", "--force", "--all"]);
    lab.run(&BUILD).expect(4, &["git tracks target/slipway/receipts/web.json", "hint: run `git rm -r --cached"]);
    lab.git(&["rm", "-r", "--quiet", "--cached", "target"]);
    std::fs::remove_dir_all(lab.repo().join("target/slipway/receipts")).unwrap();
    lab.run(&BUILD).expect(1, &["1 of 1 builds failed"]);
}

#[test]
fn no_path_leads_into_git() {
    let image = |line: &str| format!("schema = 1\n[image.web]\n{line}\n");
    for line in [
        "dockerfile = \".git/config\"",
        "context = \".git\"",
        "template = \"docker/D.j2\"\ndockerfile = \".git/config\"",
        "template = \"docker/D.j2\"\ndockerfile = \"sub/.GIT/hooks/post-checkout\"",
        "test = { run = \"true\", log = \".git/config\" }",
        "test = { run = \"true\", log = \"docker/../.git/hooks/x.log\" }",
        "test = { run = \"true\", log = \"GIT~1/x.log\" }",
        "test = { run = \"true\", log = \"link/x.log\" }",
        "test = { run = \"true\", mounts = [\".git:/git\"] }",
    ] {
        let lab = lab();
        lab.git(&["init", "--quiet"]);
        lab.write("docker/D.j2", "FROM scratch\n");
        symlink(".git", lab.repo().join("link")).unwrap();
        lab.write("docker/images.toml", image(line));
        let before = std::fs::read_to_string(lab.repo().join(".git/config")).unwrap();
        for args in [&["plan"][..], &["gen-dockerfiles"], &BUILD] {
            lab.run(args).expect(2, &["docker/images.toml:", "git"]);
        }
        assert_eq!(std::fs::read_to_string(lab.repo().join(".git/config")).unwrap(), before, "{line}");
    }
}

#[test]
fn a_log_replaces_no_file_that_somebody_made() {
    let image = |log: &str| format!("schema = 1\n[image.web]\ntest = {{ run = \"true\", log = \"{log}\" }}\n");
    for (log, why) in [
        ("docker/images.toml", "which is this configuration"),
        ("Dockerfile", "which is a Dockerfile"),
        (".dockerignore", "which is an ignore file"),
        ("docker", "which is a folder"),
        ("README.md", ""),
    ] {
        let lab = lab();
        lab.write("README.md", "read me");
        lab.git(&["init", "--quiet"]);
        lab.git(&["add", "--all"]);
        lab.write("docker/images.toml", image(log));
        if log == "README.md" {
            lab.run(&["plan"]).expect(2, &["the log of a test would replace README.md, which is a file of the commit"]);
        } else {
            lab.run(&["plan"]).expect(2, &["docker/images.toml:3: the log of a test of `web` would replace", why]);
        }
    }
    // The JUnit file counts, too; a log of the last run does not.
    let lab = lab();
    lab.write("tests/all.xml", "<x/>");
    lab.git(&["init", "--quiet"]);
    lab.git(&["add", "--all"]);
    lab.write("docker/images.toml", image("tests/all.log"));
    lab.run(&["plan"]).expect(2, &["replace tests/all.xml"]);
    lab.git(&["rm", "--quiet", "--cached", "tests/all.xml"]);
    lab.run(&["plan"]).expect(0, &[]);
}
