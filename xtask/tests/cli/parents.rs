//! Images on images of the same repository: which image a FROM gets, and what is said where there is none.

use serde_json::Value;

use crate::lab::{GOOD, Lab};

const HEAD: &str = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n";

/// An application on a runtime that is published by hand alone.
const RUNTIME_APP: &str = "[image.runtime]\ndockerfile = \"R\"\non.manual.tags = [\"latest\"]\non.pull-request = false\n\
    [image.app]\ndockerfile = \"A\"\nparent = \"runtime\"\non.branch.main.tags = [\"latest\"]\n";

fn lab(docker: &str, config: &str, files: &[(&str, &str)]) -> Lab {
    let lab = Lab::with_docker(docker);
    lab.write("docker/images.toml", config);
    files.iter().for_each(|(path, text)| lab.write(path, text));
    lab
}

fn plan(lab: &Lab, args: &[&str]) -> Value {
    let ran = lab.run(&[&["plan", "--json", "--engine", "host"], args].concat()).expect(0, &[]);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn what_is_published_of_a_parent_may_have_onbuild_steps_that_its_dockerfile_has_not() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let docker = format!(
        r#"case "$*" in
  *Manifest.Digest*" ghcr.io/acme/runtime:latest") echo {digest} ;;
  *Manifest.Digest*) echo "ERROR: not found" >&2; exit 1 ;;
  *imagetools*" ghcr.io/acme/runtime@{digest}") echo '{{"rootfs": {{}}, "config": {{"OnBuild": ["COPY conf /conf"]}}}}' ;;
esac
{GOOD}"#
    );
    let files = [("R", "FROM scratch\n"), ("A", "FROM runtime\nCOPY app /\n"), ("app", "1"), ("conf", "1")];
    let lab = lab(&docker, &format!("{HEAD}{RUNTIME_APP}"), &files);
    lab.write(".dockerignore", "plan.json\ntarget\n");
    let app = || plan(&lab, &["--event", "pr:1", "--resolve"]);
    let before = app();
    let why = "the whole context counts: ghcr.io/acme/runtime:latest has ONBUILD steps";
    assert!(before["builds"][0]["reasons"].to_string().contains(why), "{before:#}");
    lab.write("plan.json", before.to_string());
    let handed = ["ci-build", "--mode", "test", "--plan", "plan.json", "--dry-run", "--engine", "host"];
    lab.run(&handed).expect(0, &["buildx bake"]);
    lab.write("conf", "2");
    assert_ne!(app()["builds"][0]["key"], before["builds"][0]["key"], "never a stale reuse");
    lab.run(&handed).expect(4, &["the plan is of other files: copy:."]);
}
