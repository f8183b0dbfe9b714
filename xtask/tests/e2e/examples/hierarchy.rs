//! examples/hierarchy: a heavy base and its children, on real git histories.

use super::{built, ci, commit, head, push, with_origin, xtask};
use crate::proxy::Action;
use crate::tiny::Tiny;

fn hierarchy() -> (Tiny, tempfile::TempDir) {
    let tiny = Tiny::example("hierarchy");
    // What is emulated is slow, and has a test of its own.
    tiny.edit("docker/images.toml", r#"["linux/amd64", "linux/arm64"]"#, r#"["linux/amd64"]"#);
    with_origin(tiny)
}

fn layers(tiny: &Tiny, id: &str) -> Vec<String> {
    let config = tiny.crane(&["config", &tiny.name(id, "latest")]).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(ToString::to_string).collect()
}

fn stands_on_base(tiny: &Tiny, id: &str) {
    let base = layers(tiny, "bot-base");
    assert_eq!(layers(tiny, id)[..base.len()], base, "{id} does not stand on the published base");
}

#[test]
fn hierarchy_builds_what_a_push_touches_on_the_right_base() {
    let (tiny, _origin) = hierarchy();
    let latest = |id: &str| tiny.digest(id, "latest").expect(id);

    // Nothing is published: what needs the ci image says what builds it, before anything is built.
    tiny.git(&["checkout", "--quiet", "-b", "docs"]);
    tiny.write("README.md", "# Bot\n");
    commit(&tiny, "docs");
    let ran = xtask(&tiny, &["ci-build", "--mode", "test", "--event", "pr:3"]).expect(2);
    let words =
        ["bot-ci:latest of check lint not found", "hint: build it first: `git switch main && cargo xtask ci --event manual`"];
    words.iter().for_each(|word| assert!(ran.stderr.contains(word), "no {word:?} in {}", ran.stderr));
    tiny.git(&["checkout", "--quiet", "main"]);

    let first = ci(&tiny, "manual").expect(0);
    assert_eq!(built(&first), ["base", "ci", "prod"]);
    ["bot", "bot-ci"].iter().for_each(|id| stands_on_base(&tiny, id));
    assert_eq!(tiny.digest("bot-devcontainer", "latest"), None);
    let (base, tests) = (latest("bot-base"), latest("bot-ci"));

    // No build: the published image gets the tag of the commit, the code is tested in the published ci image.
    tiny.write("README.md", "# The bot\n");
    let ran = push(&tiny, "docs").expect(0);
    assert_eq!(built(&ran), [""; 0], "{}", ran.stdout);
    let tag = format!("main-{}", &head(&tiny)[..7]);
    assert_eq!(tiny.digest("bot", &tag), Some(latest("bot")));
    assert!(ran.stdout.contains("ruff check ."), "{}", ran.stdout);

    // A line of the code: prod alone, on the published base.
    tiny.edit("src/bot/__init__.py", "I pass you on to a person.", "I pass you on to somebody.");
    let before = latest("bot");
    assert_eq!(built(&push(&tiny, "code").expect(0)), ["prod"]);
    assert_eq!((latest("bot-base"), latest("bot-ci")), (base.clone(), tests.clone()));
    assert_ne!(latest("bot"), before);
    stands_on_base(&tiny, "bot");

    // The base and the code: the base once, then its children once, on the new one.
    tiny.edit("requirements/requirements-torch.txt", "stands in\n# for it", "is here\n# in its place");
    tiny.edit("src/bot/__init__.py", "I pass you on to somebody.", "I ask somebody.");
    commit(&tiny, "base and code");
    tiny.proxy.pass();
    // From a fork: the same, and nothing is written anywhere.
    assert_eq!(built(&ci(&tiny, "pr:13:fork").expect(0)), ["base", "ci", "prod"]);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());
    assert_eq!(built(&push(&tiny, "base and code").expect(0)), ["base", "ci", "prod"]);
    assert_ne!((latest("bot-base"), latest("bot-ci")), (base, tests));
    ["bot", "bot-ci"].iter().for_each(|id| stands_on_base(&tiny, id));

    // A pull request that changes requirements is tested in the ci image of that pull request.
    tiny.git(&["checkout", "--quiet", "-b", "colours"]);
    tiny.edit("requirements/requirements.txt", "snowballstemmer", "colorama==0.4.6\nsnowballstemmer");
    tiny.write(
        "tests/test_colours.py",
        "import colorama\n\n\ndef test_version() -> None:\n    assert colorama.__version__ == \"0.4.6\"\n",
    );
    commit(&tiny, "colours");
    tiny.proxy.pass();
    let ran = ci(&tiny, "pr:12").expect(0);
    assert_eq!(built(&ran), ["ci", "prod"]);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());
    let tests = std::fs::read_to_string(tiny.path().join("target/slipway/logs/check-test.xml")).unwrap();
    assert!(tests.contains("failures=\"0\""), "{tests}");
    tiny.git(&["checkout", "--quiet", "main"]);

    // A base that could not be published is made up for by the next push, whatever that touches.
    tiny.edit("requirements/requirements-torch.txt", "is here\n# in its place", "is\n# here in its place");
    let denied = |request: &crate::proxy::Request| request.changes() && request.path.contains("/bot-base/");
    tiny.proxy.rule(move |request| if denied(request) { Action::Status(403) } else { Action::Pass });
    let (base, tests, prod) = (latest("bot-base"), latest("bot-ci"), latest("bot"));
    push(&tiny, "a base that fails").expect(1);
    assert_eq!((latest("bot-base"), latest("bot")), (base.clone(), prod));
    tiny.proxy.pass();
    tiny.write("README.md", "# Our bot\n");
    let ran = push(&tiny, "docs again").expect(0);
    assert_eq!(built(&ran), ["base", "ci", "prod"]);
    assert_ne!(latest("bot-base"), base);
    ["bot", "bot-ci"].iter().for_each(|id| stands_on_base(&tiny, id));

    // As if that run had ended after the base: its child is on the old one, and the next push publishes it, once.
    let rebuilt = latest("bot-ci");
    assert_ne!(rebuilt, tests);
    let repository = tiny.name("bot-ci", "latest").rsplit_once(':').unwrap().0.to_owned();
    tiny.crane(&["tag", &format!("{repository}@{tests}"), "latest"]).unwrap();
    tiny.write("README.md", "# A bot\n");
    let ran = push(&tiny, "docs after a run that ended").expect(0);
    assert_eq!((built(&ran), latest("bot-ci")), (vec![], rebuilt), "{}", ran.stdout);
    stands_on_base(&tiny, "bot-ci");
    tiny.write("README.md", "# Bots\n");
    commit(&tiny, "docs at last");
    let plan = xtask(&tiny, &["plan", "--event", "branch:main", "--resolve", "--json"]).expect(0).json();
    let skipped = plan["skipped"].as_array().unwrap().iter().map(|build| build["id"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(skipped, ["base", "ci", "devcontainer"], "{plan}");

    // A check that fails publishes nothing.
    tiny.write("tests/test_colours.py", "def test_colours() -> None:\n    raise AssertionError(\"grey\")\n");
    let prod = latest("bot");
    let ran = push(&tiny, "a test that fails").expect(1);
    assert!(ran.stderr.contains("checks failed: test") && ran.stderr.contains("AssertionError: grey"), "{}", ran.stderr);
    assert_eq!((latest("bot"), tiny.digest("bot", &format!("main-{}", &head(&tiny)[..7]))), (prod, None));
}

#[test]
fn hierarchy_builds_the_devcontainer_on_the_developers_base() {
    let (tiny, _origin) = hierarchy();
    tiny.edit("docker/Dockerfile.base", "ENV TZ=Europe/Stockholm", "ENV TZ=Europe/Oslo");
    let ran = xtask(&tiny, &["ci-build", "--mode", "test", "--only", "image=base", "--only", "image=devcontainer"]).expect(0);
    assert_eq!(built(&ran), ["base", "devcontainer"]);
    let zone = tiny.engine(&format!("docker run --rm {} printenv TZ", tiny.local("bot-devcontainer", "local")));
    assert_eq!(zone.expect(0).stdout, "Europe/Oslo\n");
    let plan = xtask(&tiny, &["plan", "--event", "manual", "--json"]).expect(0).json();
    assert!(plan["builds"].as_array().unwrap().iter().all(|build| build["id"] != "devcontainer"));
}

#[test]
fn hierarchy_is_published_and_tested_for_both_platforms() {
    let tiny = Tiny::example("hierarchy");
    commit(&tiny, "one");
    ci(&tiny, "manual").expect(0);
    let both = ["linux/amd64", "linux/arm64"].as_slice();
    for (id, platforms) in [("bot-base", both), ("bot", both), ("bot-ci", &both[..1])] {
        assert_eq!(crate::tiny::platforms(&tiny, &tiny.name(id, "latest")), platforms, "{id}");
    }
    let machine = format!("docker run --rm --platform linux/arm64 {} uname -m", tiny.local("bot-base", "latest"));
    assert_eq!(tiny.engine(&machine).expect(0).stdout, "aarch64\n");

    // As if it had been tested where nothing else than linux/amd64 runs: the image stays, what is missing is tested.
    let latest = tiny.name("bot", "latest");
    let (repository, _) = latest.rsplit_once(':').unwrap();
    let tags = tiny.crane(&["ls", repository]).unwrap();
    let marks: Vec<&str> = tags.lines().filter(|tag| tag.starts_with("tested-") && tag.ends_with("-linux-arm64")).collect();
    assert!(!marks.is_empty(), "{tags}");
    let other = tiny.crane(&["digest", "--platform", "linux/amd64", &latest]).unwrap();
    marks.iter().for_each(|mark| drop(tiny.crane(&["tag", &format!("{repository}@{other}"), mark]).unwrap()));
    let before = tiny.crane(&["digest", &latest]);
    let again = ci(&tiny, "manual").expect(0);
    assert!(again.stdout.contains("/test-prod.linux-arm64.log") && !again.stdout.contains("/test-prod.log"), "{}", again.stdout);
    assert_eq!(tiny.crane(&["digest", &latest]), before, "nothing was built");
    assert!(marks.iter().any(|mark| tiny.crane(&["digest", &format!("{repository}:{mark}")]) == before));
}
