//! What a Dockerfile takes in the event that builds it: platforms, arguments, words, flags.

use crate::lab::Lab;

/// A repository with one image, in an event that builds it for another platform than others do.
fn lab(more: &str, dockerfile: &str) -> Lab {
    let lab = Lab::new();
    let platforms = "on.branch.main = { platforms = [\"linux/amd64\", \"linux/arm64\"], tags = [] }\n";
    let head = "schema = 1\nversion-file = \"VERSION\"\n[image.web]\non.tag = false\n";
    lab.write("docker/images.toml", format!("{head}{platforms}{more}"));
    lab.write("VERSION", "v1.2.3");
    lab.write("Dockerfile", dockerfile);
    lab
}

#[test]
fn the_platforms_of_the_event_are_read() {
    let lab = lab("", "FROM scratch\nARG TARGETARCH\nCOPY bin/$TARGETARCH/app /app\n");
    lab.write("bin/amd64/app", "1");
    lab.write("bin/arm64/app", "1");
    let plan = |event: &str| lab.run(&["plan", "--json", "--event", event]).expect(0, &[]).stdout;
    let before = plan("branch:main");
    assert!(before.contains("copy:bin/amd64/app") && before.contains("copy:bin/arm64/app"), "{before}");
    assert!(!plan("pr:1").contains("copy:bin/arm64/app"));
    let explained = lab.run(&["explain", "--if", "bin/arm64/app", "--event", "branch:main"]).expect(0, &[]);
    assert!(explained.stdout.contains("built and tested again"), "{}", explained.stdout);
}

#[test]
fn arguments_that_the_event_fills_in_are_read_filled_in() {
    let dockerfile = "ARG VERSION\nFROM debian:${VERSION#v}\nARG VERSION\nARG COMMIT\nCOPY dist/app-${VERSION}.whl /w/\n";
    let lab = lab("args = { VERSION = \"{version}\", COMMIT = \"{sha}\" }\n", dockerfile);
    lab.write("dist/app-v1.2.3.whl", "1");
    lab.git(&["init", "-q"]);
    lab.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let ran = lab.run(&["plan", "--json", "--event", "pr:1"]).expect(0, &[]);
    assert!(!ran.stderr.contains("not in the context"), "{}", ran.stderr);
    assert!(ran.stdout.contains("copy:dist/app-v1.2.3.whl") && ran.stdout.contains("base:debian:1.2.3"), "{}", ran.stdout);
    // What git says comes later: then everything counts, and the plan says so.
    lab.write("Dockerfile", "FROM scratch\nARG COMMIT\nCOPY dist/$COMMIT* /w/\n");
    let ran = lab.run(&["plan", "--event", "pr:1"]).expect(0, &[]);
    assert!(ran.stdout.contains("the whole context counts: `COMMIT` is not known before the build"), "{}", ran.stdout);
}
