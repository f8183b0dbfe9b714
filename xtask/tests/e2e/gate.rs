//! `gate = "rebuild"`: the push stage builds again from what it finds, and publishes only what was tested.

use std::collections::BTreeMap;

use crate::clone::Ran;
use crate::tiny::{IDS, IMAGES, Tiny};

/// A tiny repository whose test stage pushes no candidates; each image has a Dockerfile of its own.
fn rebuilding() -> Tiny {
    let tiny = Tiny::new();
    let images = IMAGES.replace("NAMESPACE", &tiny.namespace).replace("variant =", "dockerfile = \"Dockerfile.{n}\"\nvariant =");
    let test = "[image.tiny.test]\nrun = \"grep -q {n} /n\"\n[release]\ngate = \"rebuild\"\n";
    tiny.write("docker/images.toml", &format!("{images}{test}"));
    IDS.iter().for_each(|id| dockerfile(&tiny, &id[5..], "1", "echo $N > /n"));
    tiny
}

fn dockerfile(tiny: &Tiny, n: &str, setting: &str, run: &str) {
    let text = format!("FROM debian:bookworm-slim\nARG N\nENV SETTING={setting}\nRUN {run}\n");
    tiny.write(&format!("Dockerfile.{n}"), &text);
}

#[test]
fn with_its_cache_a_rebuild_is_what_was_tested_and_is_published_once() {
    let tiny = rebuilding();
    tiny.version("v0.1.0");
    tiny.run(&["ci"], "v0.1.0").expect(0);
    for id in IDS {
        let published = tiny.digest(id, "v0.1.0");
        assert!(published.is_some() && published == tiny.digest(id, "latest"), "{id}");
    }
    let before = tiny.state();
    tiny.run(&["ci"], "v0.1.0").expect(0);
    assert_eq!(tiny.state(), before, "a second run publishes nothing else");
}

#[test]
fn what_differs_from_what_was_tested_is_named_and_nothing_is_published() {
    let tiny = rebuilding();
    tiny.version("v0.1.0");
    let plan = tiny.run(&["plan", "--json"], "v0.1.0").expect(0).stdout;
    tiny.write("target/plan.json", &plan);
    let planned = |args: &[&str]| -> Ran { tiny.command(args).args(["--plan", "target/plan.json"]).output().unwrap().into() };
    let push = || planned(&["ci-build", "--mode", "push"]);

    let untested = push().expect(4);
    assert!(untested.stderr.contains("tiny-a: there is no receipt of its test"), "{}", untested.stderr);
    planned(&["ci-build", "--mode", "test"]).expect(0);
    planned(&["docker-test"]).expect(0);

    // Between the two stages somebody changes a file; the plan is the same. Git would notice: it is told to look away.
    dockerfile(&tiny, "b", "2", "echo $N > /n");
    assert!(push().expect(4).stderr.contains("the working tree has changes"));
    tiny.git(&["update-index", "--assume-unchanged", "Dockerfile.b"]);
    for (setting, run, difference) in [
        ("2", "echo $N > /n", "tiny-b: Env: tested \"SETTING=1\", now \"SETTING=2\""),
        ("1", "echo $N $N > /n", "tiny-b: layers: tested \"sha256:"),
    ] {
        dockerfile(&tiny, "b", setting, run);
        let refused = push().expect(4);
        assert!(refused.stderr.contains(difference), "{}", refused.stderr);
        assert!(!refused.stderr.contains("tiny-a: ") && !refused.stderr.contains("tiny-c: "), "{}", refused.stderr);
        assert_eq!(tiny.state(), BTreeMap::new());
        planned(&["release"]).expect(4);
        assert_eq!(tiny.state(), BTreeMap::new());
    }
    dockerfile(&tiny, "b", "1", "echo $N > /n");
    push().expect(0);
    planned(&["release"]).expect(0);
    assert_eq!(tiny.digest("tiny-b", "latest"), tiny.digest("tiny-b", "v0.1.0"));
}
