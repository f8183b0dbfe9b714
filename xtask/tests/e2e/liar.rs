//! A registry that says one thing and hands out another: what is published is looked at itself.

use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use crate::clone::Ran;
use crate::proxy::Action;
use crate::tiny::Tiny;

fn tiny() -> Tiny {
    let tiny = Tiny::of(1);
    tiny.write("Dockerfile", "FROM scratch\nARG N\nENV N=$N\nCOPY VERSION /\n");
    tiny.tested("v0.1.0");
    tiny
}

/// How a manifest is asked for that was just written under a tag.
fn is_of(path: &str, tag: &str) -> bool {
    path.ends_with(&format!("/manifests/{tag}"))
}

#[test]
fn other_bytes_under_the_right_digest_are_never_published() {
    let tiny = tiny();
    for (stage, tag) in [(&["ci-build", "--mode", "push"][..], "v0.1.0"), (&["release"], "latest")] {
        let good = tiny.digest("tiny-a", &candidate(&tiny)).unwrap();
        let written = Mutex::new(false);
        tiny.proxy.rule(move |request| {
            let mut written = written.lock().unwrap();
            *written |= request.is_put() && is_of(&request.path, tag);
            // HEAD says what was written.
            match *written && request.method == "GET" && is_of(&request.path, tag) {
                true => Action::Instead(b"{\"schemaVersion\":2}".to_vec(), good.clone()),
                false => Action::Pass,
            }
        });
        let refused = tiny.run(stage, "v0.1.0").expect(4);
        let said = refused.stderr.contains("changed by somebody else") || refused.stderr.contains("hands out");
        assert!(said, "{stage:?}: {}", refused.stderr);
        assert_eq!(tiny.digest("tiny-a", tag), None, "{stage:?}: it is taken back");
        tiny.proxy.pass();
        tiny.run(stage, "v0.1.0").expect(0);
    }
}

/// The tag of this run's candidate.
fn candidate(tiny: &Tiny) -> String {
    let tags = tiny.crane(&["ls", &format!("{}/{}/tiny-a", tiny.upstream, tiny.namespace)]).unwrap();
    tags.lines().find(|tag| tag.starts_with("candidate-")).unwrap().to_owned()
}

#[test]
fn an_image_of_other_labels_is_refused_whatever_marks_it_has() {
    let tiny = tiny();
    let candidate = candidate(&tiny);
    let (name, good) = (tiny.name("tiny-a", &candidate), tiny.digest("tiny-a", &candidate).unwrap());
    let tags = tiny.crane(&["ls", &format!("{}/{}/tiny-a", tiny.upstream, tiny.namespace)]).unwrap();
    let mark = tags.lines().find(|tag| tag.starts_with("tested-") && tag.ends_with(&good[7..19])).unwrap();
    let prefix = mark.rsplit_once('-').unwrap().0;
    let plan = tiny.run(&["plan", "--json"], "v0.1.0").expect(0).stdout;
    tiny.write("target/plan.json", &plan);
    let receipt = tiny.path().join("target/slipway/receipts/tiny-a.json");
    let text = std::fs::read_to_string(&receipt).unwrap();
    for (label, words) in [
        ("dev.slipway.key=0000", "the key of the image is \"0000\", of the plan "),
        ("org.opencontainers.image.revision=0000", "the image is of commit \"0000\", the plan of "),
    ] {
        tiny.crane(&["mutate", "--label", label, "--tag", &name, &format!("{}@{good}", name.rsplit_once(':').unwrap().0)])
            .unwrap();
        let evil = tiny.digest("tiny-a", &candidate).unwrap();
        for mark in [prefix.to_owned(), format!("{prefix}-{}", &evil[7..19])] {
            tiny.crane(&["tag", &name, &mark]).unwrap();
        }
        std::fs::write(&receipt, text.replace(&good, &evil)).unwrap();
        let refused: Ran = tiny.command(&["ci-build", "--mode", "push", "--plan", "target/plan.json"]).output().unwrap().into();
        assert!(refused.expect(4).stderr.contains(words), "{label}");
    }
    assert_eq!(tiny.digest("tiny-a", "v0.1.0"), None);
}

#[test]
fn what_is_too_long_to_be_an_answer_is_said() {
    let tiny = tiny();
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    let huge = |text: &str, times: usize| text.repeat(times).into_bytes();
    let manifest = [b"{\"x\":\"".to_vec(), huge("0123456789abcdef", 6 << 16), b"\"}".to_vec()].concat();
    let digest = format!("sha256:{}", Sha256::digest(&manifest).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let tags =
        format!("{{\"name\":\"x\",\"tags\":[{}\"v\"]}}", "\"0123456789abcdef0123456789abcdef\",".repeat(500_000)).into_bytes();
    for (part, body, words) in [("/manifests/latest", manifest, "more than 4"), ("/tags/list", tags, "more than 1")] {
        let digest = digest.clone();
        tiny.proxy.rule(move |request| match request.path.contains(part) && request.method == "GET" {
            true => Action::Instead(body.clone(), digest.clone()),
            false => Action::Pass,
        });
        let failed = tiny.release("v0.1.0").expect(1);
        assert!(failed.stderr.contains("an answer of ") && failed.stderr.contains(words), "{part}: {}", failed.stderr);
    }
    tiny.proxy.pass();
    tiny.release("v0.1.0").expect(0);
}
