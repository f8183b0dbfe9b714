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
