//! A clone whose git would execute something: planning and explaining it does not.

use crate::lab::{GOOD, Lab};

/// Commands that look at the tree; a dry run of those that do more.
const LOOKS: [&[&str]; 9] = [
    &["plan"],
    &["plan", "--event", "branch:main"],
    &["plan", "--event", "tag:v1.0.0", "--json"],
    &["plan", "--event", "manual"],
    &["explain", "web"],
    &["check-deps"],
    &["ci-build", "--mode", "test", "--engine", "host", "--dry-run"],
    &["static-checks", "--engine", "host", "--dry-run"],
    &["doctor", "--engine", "host"],
];

fn cloned() -> (Lab, std::path::PathBuf) {
    let lab = Lab::with_docker(&format!("bake() {{ exit 1; }}\n{GOOD}"));
    let sprung = lab.repo().join("../sprung");
    lab.program("trap", &format!("echo \"$0 $*\" >> {}", sprung.display()));
    lab.git(&["init", "--quiet", "--initial-branch", "main"]);
    lab.write(".gitattributes", "* filter=trap diff=trap\n");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["tag", "v1.0.0"]);
    lab.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    (lab, sprung)
}

#[test]
fn settings_of_a_clone_are_not_executed() {
    let (lab, sprung) = cloned();
    let trap = lab.repo().join("../bin/trap").canonicalize().unwrap();
    let trap = trap.to_str().unwrap();
    for key in [
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "filter.trap.clean",
        "filter.trap.process",
        "gpg.program",
    ] {
        lab.git(&["config", key, trap]);
    }
    lab.git(&["config", "log.showSignature", "true"]);
    lab.git(&["config", "alias.diff", &format!("!{trap}")]);
    // The file has to be read to be known to be the same.
    lab.write("Dockerfile", "FROM scratch\n# edited\n");
    for args in LOOKS {
        lab.run(args);
        assert!(!sprung.exists(), "{args:?} ran {}", std::fs::read_to_string(&sprung).unwrap());
    }
    let mut real = std::process::Command::new("git");
    real.current_dir(lab.repo()).arg("status").output().unwrap();
    assert!(sprung.exists(), "git by itself runs them");
}

#[test]
fn a_bare_repository_in_a_folder_is_not_executed() {
    let (lab, sprung) = cloned();
    let trap = lab.repo().join("../bin/trap").canonicalize().unwrap();
    lab.write("docs/HEAD", "ref: refs/heads/main\n");
    lab.write("docs/objects/x", "");
    lab.write("docs/refs/x", "");
    lab.write("docs/config", format!("[core]\nworktree = .\nfsmonitor = {}\n", trap.display()));
    lab.write("docs/docker/images.toml", crate::lab::IMAGES);
    lab.write("docs/Dockerfile", "FROM scratch\n");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "two"]);
    for folder in ["docs", "docs/docker", "docs/refs"] {
        for args in LOOKS {
            lab.command(args).current_dir(lab.repo().join(folder)).output().unwrap();
            assert!(!sprung.exists(), "{args:?} in {folder} ran {}", std::fs::read_to_string(&sprung).unwrap());
        }
    }
}
