//! examples/release: one image, published by version tags alone.

use super::{ci, commit};
use crate::clone::Ran;
use crate::tiny::Tiny;

#[test]
fn release_publishes_by_version_tags_alone() {
    let tiny = Tiny::example("release");
    // The stand-in bases are of this machine's platform alone.
    tiny.edit("docker/images.toml", r#"platforms = ["linux/amd64", "linux/arm64"]"#, "");
    commit(&tiny, "one");
    let digest = |tag: &str| tiny.digest("tap", tag);

    tiny.git(&["checkout", "--quiet", "-b", "feature"]);
    tiny.edit("tap.py", "import ", "import  ");
    commit(&tiny, "feature");
    tiny.proxy.pass();
    ci(&tiny, "pr:12").expect(0);
    tiny.git(&["checkout", "--quiet", "main"]);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());
    let local = tiny.engine(&format!("docker image inspect --format '{{{{.Id}}}}' {}", tiny.local("tap", "pr-12")));
    assert!(local.expect(0).stdout.starts_with("sha256:"));

    ci(&tiny, "tag:v0.1.1").expect(0);
    let first = digest("0.1.1");
    assert!(first.is_some());
    assert_eq!((digest("0.1"), digest("latest"), digest("v0.1.1")), (first.clone(), first.clone(), None));
    // A later backport moves nothing, a pre-release has its own tag only.
    commit(&tiny, "two");
    ci(&tiny, "tag:v0.1.0").expect(0);
    assert!(digest("0.1.0").is_some() && digest("0.1.0") != first);
    ci(&tiny, "tag:v0.2.0-rc.1").expect(0);
    assert!(digest("0.2.0-rc.1").is_some() && digest("0.2").is_none());
    assert_eq!((digest("0.1"), digest("latest")), (first.clone(), first));
    ci(&tiny, "tag:v0.2.0").expect(0);
    assert_eq!((digest("0.2"), digest("latest")), (digest("0.2.0"), digest("0.2.0")));
    let released = digest("latest");

    // A push to main publishes once the two lines are taken in, and never latest.
    assert!(ci(&tiny, "branch:main").expect(0).stderr.contains("publishes nothing"));
    tiny.edit("docker/images.toml", "# [on.branch.main] ", "[on.branch.main] ");
    tiny.edit("docker/images.toml", "# tags = [\"latest-dev\"]", "tags = [\"latest-dev\"]");
    commit(&tiny, "hybrid");
    ci(&tiny, "branch:main").expect(0);
    assert!(digest("latest-dev").is_some() && digest("latest-dev") != released);
    assert_eq!(digest("latest"), released);

    tiny.edit("docker/images.toml", "tags = [\"{branch}-{sha7}\"]", "");
    let ran: Ran = tiny.command(&["plan", "--event", "manual"]).output().unwrap().into();
    assert!(ran.expect(2).stderr.contains("tags"), "a run with nothing to publish under");
}

#[test]
fn what_was_published_is_not_planned_again() {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    let plan = |format: &str| -> String {
        let args = ["plan", "--resolve", "--event", "tag:v0.1.0", "--format", format];
        Ran::from(tiny.command(&args).output().unwrap()).expect(0).stdout
    };
    // Built and tested, not published: no leg, but tags to write.
    assert!(plan("github").contains("matrix={\"include\":[]}\nhas_work=true\n"), "{}", plan("github"));
    tiny.write("target/plan.json", &plan("json"));
    for task in [&["ci-build", "--mode", "push"][..], &["release"]] {
        tiny.command(&[task, &["--plan", "target/plan.json"]].concat()).output().map(Ran::from).unwrap().expect(0);
    }
    assert_eq!(tiny.digest("tiny-a", "latest"), tiny.digest("tiny-a", "v0.1.0"));
    assert!(tiny.digest("tiny-a", "latest").is_some());
    assert!(plan("github").contains("has_work=false\n"), "{}", plan("github"));

    // The same source as another commit and version is other images; nothing of it is taken for tested.
    tiny.version("v0.2.0");
    let args = ["plan", "--resolve", "--event", "tag:v0.2.0", "--json"];
    let plan = Ran::from(tiny.command(&args).output().unwrap()).expect(0).json();
    assert!(plan["builds"].as_array().unwrap().iter().all(|build| build["action"] == "build"), "{plan:#}");
}
