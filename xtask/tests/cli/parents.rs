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

/// Ids of the builds, and what each of them is built on.
fn builds(plan: &Value) -> Vec<(String, String)> {
    let on = |build: &Value| build["parents"][0][1].as_str().unwrap_or_default().to_owned();
    let builds = plan["builds"].as_array().unwrap().iter();
    builds.map(|build| (build["id"].as_str().unwrap().to_owned(), on(build))).collect()
}

/// A history in which the last commit changes `file` alone.
fn change(lab: &Lab, file: &str) {
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    lab.write(file, "2");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "two"]);
}

const FILES: [(&str, &str); 4] =
    [("R", "FROM scratch\n"), ("A", "FROM runtime\nCOPY app /\n"), (".dockerignore", "target\n"), ("app", "1")];

#[test]
fn a_parent_that_no_registry_has_is_built_with_its_child() {
    let both = [("runtime", ""), ("app", "build:runtime")].map(|(id, on)| (id.to_owned(), on.to_owned()));
    let hidden = RUNTIME_APP.replace("on.manual.tags = [\"latest\"]", "publish = false");
    let nobodys = RUNTIME_APP.replace("on.manual.tags = [\"latest\"]\n", "");
    let unset = format!("schema = 1\nregistry = \"${{DOCKER_REGISTRY_URL}}\"\nnamespace = \"acme\"\n{RUNTIME_APP}");
    for (config, event, why) in [
        (format!("{HEAD}{hidden}"), "pr:1", "app is built on it, and it is never published"),
        (format!("{HEAD}{hidden}"), "branch:main", "app is built on it, and it is never published"),
        (format!("{HEAD}{nobodys}"), "branch:main", "app is built on it, and it is never published"),
        (format!("schema = 1\n{RUNTIME_APP}"), "pr:1", "app is built on it, and there is no registry to take it from"),
        (unset, "pr:1:fork", "app is built on it, and there is no registry to take it from"),
    ] {
        let lab = lab(GOOD, &config, &FILES);
        change(&lab, "app");
        for only in [&[][..], &["--only", "image=app"]] {
            let plan = plan(&lab, &[&["--event", event], only].concat());
            assert_eq!(builds(&plan), both, "{event}: {plan:#}");
            assert_eq!(plan["builds"][0]["reasons"][0], why);
            assert_eq!(plan["builds"][0]["push"]["how"], "none");
            assert_eq!(plan["skipped"], serde_json::json!([]));
        }
    }
    let lab = lab(GOOD, &format!("{HEAD}{hidden}"), &FILES);
    change(&lab, "README.md");
    assert!(builds(&plan(&lab, &["--event", "pr:1"])).is_empty(), "nobody needs it");
}

#[test]
fn a_parent_that_was_never_published_is_said_with_what_publishes_it() {
    let absent = format!("case \"$*\" in *imagetools*) echo 'ERROR: not found' >&2; exit 1 ;; esac\n{GOOD}");
    let said = |config: &str, branch: &str, hint: &str| {
        let lab = lab(&absent, &format!("{HEAD}{config}"), &FILES);
        change(&lab, "app");
        lab.git(&["checkout", "--quiet", "-B", branch]);
        let ran = lab.run(&["plan", "--event", "pr:1", "--resolve", "--engine", "host"]);
        ran.expect(2, &["base image ghcr.io/acme/runtime:latest of app not found: it was never published", hint]);
    };
    said(RUNTIME_APP, "main", "hint: build it first: `cargo xtask ci --event manual`");
    said(RUNTIME_APP, "feature", "hint: build it first: `git switch main && cargo xtask ci --event manual`");
    let edge = RUNTIME_APP.replace("on.manual.tags = [\"latest\"]", "on.branch.dev.tags = [\"edge\"]");
    said(&edge, "main", "hint: write `on.manual.tags = [\"latest\"]` into [image.runtime], commit that, and run");
}

#[test]
fn a_child_of_another_platform_has_its_parent_for_it() {
    let base = "[image.runtime]\ndockerfile = \"R\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n";
    let app = |platform: &str| format!("[image.app]\ndockerfile = \"A\"\nparent = \"runtime\"\nplatforms = [\"{platform}\"]\n");
    for platform in ["linux/amd64", "linux/arm64"] {
        let lab = lab(GOOD, &format!("{HEAD}{base}{}", app(platform)), &FILES);
        let plan = plan(&lab, &["--event", "local"]);
        let platforms = plan["builds"][0]["platforms"].as_array().unwrap();
        assert!(platforms.contains(&platform.into()) && plan["builds"][1]["platforms"][0] == platform, "{plan:#}");
    }
}
