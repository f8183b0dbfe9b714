//! What a later run asks of what an earlier one published: which bases it was built from, of which commit it is.

use crate::clone::Ran;
use crate::tiny::{IMAGES, Tiny};

/// A run of one event.
fn run(tiny: &Tiny, args: &[&str], event: &str) -> Ran {
    tiny.command(args).args(["--event", event]).output().map(Ran::from).unwrap().expect(0)
}

/// What a run would do with a build and why, asked of the registry: `build` or `reuse`, then the reasons.
fn planned(tiny: &Tiny, event: &str, id: &str) -> (String, String) {
    let plan = run(tiny, &["plan", "--resolve", "--json"], event).json();
    let builds = plan["builds"].as_array().unwrap();
    let Some(build) = builds.iter().find(|build| build["id"] == id) else { return ("skip".into(), plan["skipped"].to_string()) };
    (build["action"].as_str().unwrap().to_owned(), build["reasons"].to_string())
}

/// Puts another image under the same tag.
fn replace(tiny: &Tiny, name: &str, mark: &str) {
    tiny.crane(&["mutate", "--label", &format!("test={mark}"), "--tag", name, name]).unwrap();
}

#[test]
fn a_build_is_fresh_once_its_base_is_another_image() {
    let tiny = Tiny::of(1);
    let images = std::fs::read_to_string(tiny.path().join("docker/images.toml")).unwrap();
    let nightly = "[on.manual]\nfresh = \"bases-changed\"\ntags = [\"nightly\"]";
    tiny.write("docker/images.toml", &images.replace("[on.manual]\ntags = [\"{version}\"]", nightly));
    assert!(IMAGES.contains("[on.manual]\ntags = [\"{version}\"]"));
    let base = tiny.name("elsewhere", "1");
    tiny.crane(&["copy", &format!("{}/library/debian:bookworm-slim", tiny.upstream), &base]).unwrap();
    tiny.write("Dockerfile", &format!("FROM {base}\nARG N\nRUN echo $N > /n\n"));
    tiny.version("v0.1.0");
    let of = || planned(&tiny, "manual", "tiny-a");

    let (action, why) = of();
    assert!(action == "build" && why.contains("tiny-a:nightly was never published"), "{action} {why}");
    run(&tiny, &["ci"], "manual");
    let published = tiny.digest("tiny-a", "nightly");
    assert!(published.is_some());
    let (action, why) = of();
    assert!(action == "reuse" && why.contains("not fresh: no base changed since "), "{action} {why}");

    replace(&tiny, &base, "1");
    let (action, why) = of();
    assert!(action == "build" && why.contains("fresh: ") && why.contains("elsewhere:1 changed from sha256:"), "{action} {why}");
    run(&tiny, &["ci"], "manual");
    assert_ne!(tiny.digest("tiny-a", "nightly"), published);
    let (action, why) = of();
    assert!(action == "reuse" && why.contains("not fresh: "), "{action} {why}");
}

#[test]
fn dependencies_are_compared_with_the_commit_that_is_published() {
    let tiny = Tiny::of(1);
    let images = std::fs::read_to_string(tiny.path().join("docker/images.toml")).unwrap();
    let nightly = "[on.manual]\nfresh = \"dependencies-changed\"\ntags = [\"nightly\"]";
    let images = images.replace("[on.manual]\ntags = [\"{version}\"]", nightly);
    tiny.write("docker/images.toml", &images.replace("[image.tiny]", "[image.tiny]\ndependencies = [\"requirements.txt\"]"));
    tiny.write("requirements.txt", "one\n");
    tiny.version("v0.1.0");
    let of = || planned(&tiny, "manual", "tiny-a").1;
    let why = of();
    assert!(why.contains("\"fresh: ") && why.contains("nightly was never published, and there is no older version tag"), "{why}");
    run(&tiny, &["ci"], "manual");
    tiny.write("README.md", "# Tiny\n");
    tiny.version("v0.1.0");
    let why = of();
    assert!(why.contains("not fresh: no dependency file changed since ") && why.contains("tiny-a:nightly, of commit "), "{why}");
    tiny.write("requirements.txt", "two\n");
    tiny.version("v0.1.0");
    let why = of();
    assert!(why.contains("\"fresh: the dependency file requirements.txt changed since "), "{why}");
    // A draft asks no registry, and says so.
    let draft = run(&tiny, &["plan"], "manual").stdout;
    assert!(draft.contains("(no registry was asked, and there is no older version tag)"), "{draft}");
}

#[test]
fn a_child_alone_is_built_on_what_the_push_before_published() {
    let tiny = Tiny::of(1);
    let config = format!(
        "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"{}\"\n[image.base]\ncontext = \"base\"\n[image.child]\n\
         context = \"child\"\nparent = \"base\"\n[on.tag]\ntags = [\"{{semver}}\", \"latest\"]\n[on.branch.main]\n\
         tags = [\"edge\"]\n",
        tiny.namespace
    );
    tiny.write("docker/images.toml", &config);
    tiny.write("base/Dockerfile", "FROM debian:bookworm-slim\nCOPY base.txt /\n");
    tiny.write("child/Dockerfile", "FROM base\nCOPY child.txt /\n");
    tiny.write("base/base.txt", "one");
    tiny.write("child/child.txt", "one");
    tiny.version("v1.0.0");
    run(&tiny, &["ci"], "tag:v1.0.0");
    tiny.write("base/base.txt", "two");
    // A push is compared with what the branch had at its origin.
    tiny.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    tiny.version("second");
    run(&tiny, &["ci"], "branch:main");
    let edge = tiny.digest("base", "edge");
    assert!(edge.is_some() && edge != tiny.digest("base", "latest"));

    tiny.write("child/child.txt", "two");
    tiny.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    tiny.version("third");
    let (action, why) = planned(&tiny, "branch:main", "child");
    assert!(action == "build" && why.contains("base is taken as edge: this event moves that tag of it"), "{action} {why}");
    assert_eq!(planned(&tiny, "branch:main", "base").0, "skip");
    run(&tiny, &["ci"], "branch:main");
    assert_eq!(tiny.digest("base", "edge"), edge, "it was not built again");
    let files = tiny.crane(&["export", &tiny.name("child", "edge"), "child.tar"]);
    assert!(files.is_some());
    let read = |path: &str| tiny.engine(&format!("tar -xOf child.tar {path}")).expect(0).stdout;
    assert_eq!((read("base.txt"), read("child.txt")), ("two".into(), "two".into()));
}
