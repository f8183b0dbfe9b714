//! Scheduled runs: a released version is rebuilt from its own source, an unreleased one is taken over by its tag.

use crate::clone::Ran;
use crate::tiny::{IMAGES, Tiny};

const SCHEDULE: &str = "[on.schedule]\ncron = \"0 3 * * 0\"\ntags = [\"{version}\"]\nfresh = true\nreplace = true\n";

fn setting(tiny: &Tiny, tag: &str) -> String {
    let config = tiny.crane(&["config", &tiny.name("tiny-a", tag)]).unwrap();
    config.split("SETTING=").nth(1).unwrap()[..1].to_owned()
}

#[test]
fn a_released_version_is_rebuilt_from_its_tag_and_an_unreleased_one_is_taken_over() {
    let tiny = Tiny::new();
    let images = IMAGES.replace("NAMESPACE", &tiny.namespace).replace("[on.manual]", &format!("{SCHEDULE}[on.manual]"));
    tiny.write("docker/images.toml", &images);
    let dockerfile = |setting: u32| {
        tiny.write("Dockerfile", &format!("FROM debian:bookworm-slim\nARG N\nENV SETTING={setting}\nRUN echo $N > /n\n"));
    };
    let schedule = || -> Ran { tiny.command(&["ci", "--event", "schedule"]).output().unwrap().into() };
    tiny.version("v0.1.0");
    tiny.git(&["tag", "v0.1.0"]);
    tiny.run(&["ci"], "v0.1.0").expect(0);
    let released = tiny.digest("tiny-a", "latest");

    // Main moves on; the version is still the released one.
    dockerfile(2);
    tiny.version("v0.1.0");
    let ran = schedule().expect(0);
    assert!(ran.stderr.contains("its own source is built"), "{}", ran.stderr);
    assert_ne!(tiny.digest("tiny-a", "v0.1.0"), released, "it was rebuilt");
    assert_eq!(setting(&tiny, "v0.1.0"), "1", "from its own source");
    assert_eq!(tiny.digest("tiny-a", "latest"), released, "latest stays");
    assert!(!tiny.path().join(".git/worktrees").exists(), "the work tree is gone");

    // An unreleased version is published from main, until its tag's own run takes it over.
    dockerfile(3);
    tiny.version("v0.2.0");
    schedule().expect(0);
    assert_eq!(setting(&tiny, "v0.2.0"), "3");
    dockerfile(4);
    tiny.version("v0.2.0");
    tiny.git(&["tag", "v0.2.0"]);
    tiny.run(&["ci"], "v0.2.0").expect(0);
    assert_eq!((setting(&tiny, "v0.2.0"), setting(&tiny, "latest")), ("4".into(), "4".into()));

    // Now it is final: another commit under the same tag is refused.
    dockerfile(5);
    tiny.version("v0.2.0");
    let refused = tiny.run(&["ci"], "v0.2.0").expect(4);
    assert!(refused.stderr.contains("the version is released"), "{}", refused.stderr);
    assert_eq!(setting(&tiny, "latest"), "4");
}

#[test]
fn a_version_of_before_images_toml_is_rebuilt_from_its_tag() {
    let tiny = Tiny::of(1);
    let images = std::fs::read_to_string(tiny.path().join("docker/images.toml")).unwrap();
    std::fs::remove_file(tiny.path().join("docker/images.toml")).unwrap();
    tiny.git(&["add", "--all"]);
    tiny.git(&["commit", "--quiet", "-m", "before"]);
    tiny.git(&["tag", "v0.1.0"]);
    tiny.write("docker/images.toml", &images.replace("[on.manual]", &format!("{SCHEDULE}[on.manual]")));
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nARG N\nENV SETTING=2\nRUN echo $N > /n\n");
    tiny.version("v0.1.0");
    let ran: Ran = tiny.command(&["ci", "--event", "schedule"]).output().unwrap().into();
    let ran = ran.expect(0);
    assert!(ran.stderr.contains("with today's docker/images.toml"), "{}", ran.stderr);
    assert_eq!(setting(&tiny, "v0.1.0"), "1");
}
