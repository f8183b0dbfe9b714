//! Publishing against a real registry: promotion, release, undo, and what happens when anything fails on the way.

use std::collections::BTreeMap;
use std::process::Command;

use crate::clone::Ran;
use crate::proxy::{Action, Request};
use crate::tiny::{IDS, IMAGES, Tiny};

fn uploads(log: &[Request]) -> usize {
    log.iter().filter(|request| request.changes() && request.path.contains("/blobs/")).map(|request| request.bytes).sum()
}

#[test]
fn what_was_tested_is_published_without_a_layer_and_a_second_run_writes_nothing() {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    tiny.proxy.pass();
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    assert_eq!(uploads(&tiny.proxy.log()), 0);
    for id in IDS {
        let receipt =
            std::fs::read_to_string(tiny.path().join(format!("target/slipway/receipts/digest-{}.txt", &id[5..]))).unwrap();
        let tested = Some(receipt.trim().to_owned());
        assert_eq!((tiny.digest(id, "v0.1.0"), tiny.digest(id, "latest")), (tested.clone(), tested), "{id}");
    }
    tiny.proxy.pass();
    let again = tiny.run(&["ci"], "v0.1.0").expect(0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());

    // Another machine, whose engine has none of the images and whose checkout has no receipts: nothing is built.
    let other = tiny.copy();
    std::fs::remove_dir_all(other.path().join("target")).unwrap();
    let images = format!("docker image ls --quiet '{}/{}/*' | sort -u", tiny.proxy.registry(), tiny.namespace);
    tiny.engine(&format!("docker image rm --force $({images})")).expect(0);
    let built = other.run(&["ci-build", "--mode", "test"], "v0.1.0").expect(0);
    assert!(built.stderr.contains("3 of 3 builds were built and tested before"), "{}", built.stderr);
    assert!(!built.stdout.contains("tiny-"), "{}", built.stdout);
    tiny.engine(&format!("test -z \"$({images})\"")).expect(0);
}

#[test]
fn versions_move_forward_only_and_back_on_purpose() {
    let tiny = Tiny::new();
    for version in ["v0.2.0", "v0.1.0", "v0.3.0-rc.1"] {
        tiny.tested(version);
        tiny.push(version).expect(0);
        tiny.release(version).expect(0);
        assert!(tiny.digest("tiny-a", version).is_some());
        assert_eq!(tiny.digest("tiny-a", "latest"), tiny.digest("tiny-a", "v0.2.0"), "after {version}");
    }
    tiny.command(&["release", "--to", "v0.1.0"]).output().map(Ran::from).unwrap().expect(0);
    assert_eq!(tiny.digest("tiny-c", "latest"), tiny.digest("tiny-c", "v0.1.0"));
    let missing: Ran = tiny.command(&["release", "--to", "v9.0.0"]).output().unwrap().into();
    assert!(missing.expect(4).stderr.contains("is not published"));
}

#[test]
fn one_failing_test_publishes_nothing() {
    let tiny = Tiny::new();
    let tests = "[image.tiny.test]\nrun = \"grep -q {n} /n\"\n[image.tiny.when.\"n=b\".test]\nrun = \"grep -q nothing /n\"\n";
    tiny.write("docker/images.toml", &format!("{}{tests}", IMAGES.replace("NAMESPACE", &tiny.namespace)));
    tiny.version("v0.1.0");
    tiny.run(&["ci"], "v0.1.0").expect(1);
    assert_eq!(tiny.state(), BTreeMap::new());
    let refused = tiny.push("v0.1.0").expect(4);
    assert!(refused.stderr.contains("tiny-b: its candidate") && !refused.stderr.contains("tiny-a"), "{}", refused.stderr);
    tiny.release("v0.1.0").expect(4);
    assert_eq!(tiny.state(), BTreeMap::new());
}

#[test]
fn pull_requests_write_nothing_and_a_part_is_never_published() {
    let tiny = Tiny::new();
    tiny.version("v0.1.0");
    tiny.proxy.pass();
    for event in ["pr:12", "pr:12:fork"] {
        tiny.command(&["ci", "--event", event]).output().map(Ran::from).unwrap().expect(0);
    }
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());
    tiny.tested("v0.1.0");
    tiny.run(&["ci-build", "--mode", "push", "--only", "n=a"], "v0.1.0").expect(4);
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nRUN echo dirty > /n\n");
    let dirty = tiny.push("v0.1.0").expect(4);
    assert!(dirty.stderr.contains("cannot publish: the working tree has changes"), "{}", dirty.stderr);
    assert_eq!(tiny.state(), BTreeMap::new());
}

#[test]
fn an_overwritten_candidate_and_a_foreign_version_tag_are_refused() {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    let tags = tiny.crane(&["ls", &format!("{}/{}/tiny-b", tiny.upstream, tiny.namespace)]).unwrap();
    let candidate = tags.lines().find(|tag| tag.starts_with("candidate-")).unwrap();
    let (good, name) = (tiny.digest("tiny-b", candidate).unwrap(), tiny.name("tiny-b", candidate));
    tiny.crane(&["mutate", "--label", "evil=1", "--tag", &name, &name]).unwrap();
    let refused = tiny.push("v0.1.0").expect(4);
    assert!(refused.stderr.contains(&format!("tiny-b: digest: tested {good}, now ")), "{}", refused.stderr);
    tiny.crane(&["tag", &format!("{}@{good}", name.rsplit_once(':').unwrap().0), candidate]).unwrap();
    let foreign = tiny.name("tiny-c", "v0.1.0");
    tiny.crane(&["copy", &format!("{}/library/debian:bookworm-slim", tiny.upstream), &foreign]).unwrap();
    let refused = tiny.push("v0.1.0").expect(4);
    assert!(refused.stderr.contains("was not made by this pipeline"), "{}", refused.stderr);
    assert_eq!(tiny.state().len(), 1, "nothing was published");
}

/// (what the proxy does to every write of tiny-b, exit code, words of the error)
type Fault = (&'static str, fn(&Request) -> Action, i32, &'static str);

const FAULTS: [Fault; 6] = [
    ("500", |_| Action::Status(500), 1, "did not answer"),
    ("429", |_| Action::Status(429), 1, "did not answer"),
    ("reset", |_| Action::Reset, 1, "did not answer"),
    ("read-only", |_| Action::Status(405), 1, "does not support"),
    ("denied", |_| Action::Status(403), 3, "denied"),
    ("full", |_| Action::Status(507), 1, "did not answer"),
];

#[test]
fn a_registry_that_fails_leaves_everything_as_it_was() {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    tiny.tested("v0.2.0");
    let before = tiny.state();
    for stage in [&["ci-build", "--mode", "push"][..], &["release"]] {
        let before = if stage == ["release"] {
            tiny.push("v0.2.0").expect(0);
            tiny.state()
        } else {
            before.clone()
        };
        // Half of them for each stage: the tool's own patience makes each take its time.
        for (name, fault, code, words) in FAULTS.into_iter().skip(stage.len() % 3).step_by(2) {
            tiny.proxy.rule(move |request| match request.is_put() && request.path.contains("tiny-b") {
                true => fault(request),
                false => Action::Pass,
            });
            let failed = tiny.run(stage, "v0.2.0").expect(code);
            assert!(failed.stderr.contains(words), "{stage:?} {name}: {}", failed.stderr);
            assert_eq!(tiny.state(), before, "{stage:?} {name}: {}", failed.stderr);
        }
        // What goes wrong once, or arrives although nobody said so, is no failure at all.
        tiny.proxy.rule(|request| match request.puts {
            0 if request.is_put() => Action::PassThenReset,
            2 if request.is_put() => Action::Status(429),
            _ => Action::Pass,
        });
        tiny.run(stage, "v0.2.0").expect(0);
    }
    assert_eq!(tiny.digest("tiny-b", "latest"), tiny.digest("tiny-b", "v0.2.0"));
}

#[test]
fn killed_before_and_after_every_write_the_next_run_completes_and_undo_goes_back() {
    // Each image more takes a quarter of a minute: `SLIPWAY_E2E_IMAGES=14` is the whole matrix.
    let images: u8 = std::env::var("SLIPWAY_E2E_IMAGES").map_or(3, |images| images.parse().unwrap());
    let tiny = Tiny::of(images);
    tiny.tested("v0.1.0");
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    std::fs::remove_dir_all(tiny.path().join("target/slipway")).unwrap();
    let before = tiny.state();
    tiny.tested("v0.2.0");
    tiny.push("v0.2.0").expect(0);
    tiny.release("v0.2.0").expect(0);
    let complete = tiny.state();
    let images = usize::from(images);
    assert_eq!(complete.len(), before.len() + 2 * images, "a version tag and a mark each");
    tiny.undo().expect(0);
    assert_eq!(tiny.state(), before);
    // The version tags; the moving tags and the marks.
    for (stage, writes) in [(&["ci-build", "--mode", "push"][..], images), (&["release"], 2 * images)] {
        for (at, after) in (0..writes).flat_map(|at| [(at, false), (at, true)]) {
            tiny.proxy.pass();
            if stage == ["release"] {
                tiny.push("v0.2.0").expect(0);
            }
            tiny.proxy.rule(move |request| match (request.is_put() && request.puts == at, after) {
                (false, _) => Action::Pass,
                (true, false) => Action::KillBefore,
                (true, true) => Action::KillAfter,
            });
            tiny.killed(stage, "v0.2.0");
            tiny.proxy.pass();
            if (at + usize::from(after)) % 2 == 0 {
                tiny.push("v0.2.0").expect(0);
                tiny.release("v0.2.0").expect(0);
                assert_eq!(tiny.state(), complete, "{stage:?} write {at}, after: {after}");
            }
            tiny.undo().expect(0);
            assert_eq!(tiny.state(), before, "{stage:?} write {at}, after: {after}, undone");
            eprintln!("killed {stage:?} {} write {at}: completed and undone", if after { "after" } else { "before" });
        }
    }
}

#[test]
fn somebody_else_who_moves_a_tag_is_not_overwritten() {
    let tiny = Tiny::new();
    tiny.tested("v0.1.0");
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    tiny.tested("v0.2.0");
    tiny.push("v0.2.0").expect(0);
    let before = tiny.state();
    // As soon as the first tag is written, somebody moves the last one.
    let (source, target) = (format!("{}/library/debian:bookworm-slim", tiny.upstream), tiny.name("tiny-c", "latest"));
    let program = env!("CARGO_BIN_EXE_xtask");
    tiny.proxy.rule(move |request| {
        if request.is_put() && request.puts == 0 {
            let script = format!("eval \"$({program} sandbox env 2>/dev/null)\"; crane copy {source} {target}");
            Command::new("sh").args(["-c", &script]).output().unwrap();
        }
        Action::Pass
    });
    let refused = tiny.release("v0.2.0");
    let after = tiny.state();
    // There is no compare-and-swap: if its last read came before, ours is on top; else it stops and goes back.
    if refused.code == Some(4) {
        assert_ne!(after["tiny-c:latest"], before["tiny-c:latest"], "theirs stays");
        assert_eq!(after["tiny-a:latest"], before["tiny-a:latest"], "ours went back");
    } else {
        assert_eq!(refused.expect(0).code, Some(0));
    }
}

#[test]
fn the_password_is_nowhere() {
    const PASSWORD: &str = "correct-horse-battery-staple";
    let tiny = Tiny::new();
    tiny.version("v0.1.0");
    tiny.proxy.rule(|request| {
        // base64 of user:correct-horse-battery-staple
        let good = request.authorization.as_deref() == Some("Basic dXNlcjpjb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxl");
        if good { Action::Pass } else { Action::Status(401) }
    });
    let login = |password: &str, args: &[&str]| -> Ran {
        let mut command = tiny.command(&["login", "--verbose"]);
        command.args(args).env("DOCKER_USERNAME", "user").env("DOCKER_PASSWORD", password).output().unwrap().into()
    };
    let docker = tiny.secrets().join("docker");
    let mut said = Vec::new();
    said.push(login("wrong-password", &[]).expect(3));
    assert!(!docker.exists(), "nothing is left of a login that failed");
    said.push(login(PASSWORD, &["--dry-run"]).expect(0));
    said.push(tiny.command(&["login"]).env_remove("DOCKER_USERNAME").output().map(Ran::from).unwrap().expect(3));
    said.push(login(PASSWORD, &[]).expect(0));
    said.push(tiny.run(&["plan", "--json", "--verbose"], "v0.1.0").expect(0));
    said.push(tiny.run(&["ci-build", "--mode", "test", "--verbose"], "v0.1.0").expect(0));
    said.push(tiny.run(&["docker-test", "--verbose"], "v0.1.0").expect(0));
    said.push(tiny.run(&["ci", "--verbose"], "v0.1.0").expect(0));
    said.push(tiny.command(&["logout"]).output().map(Ran::from).unwrap().expect(0));
    assert!(!docker.exists());
    for ran in &said {
        for secret in [PASSWORD, "wrong-password", "dXNlcjpjb3JyZWN0"] {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{}{}", ran.stdout, ran.stderr);
        }
    }
    let found =
        Command::new("grep").args(["-r", "-l", "-e", PASSWORD, "-e", "dXNlcjpjb3JyZWN0", "."]).current_dir(tiny.path()).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
    let after = tiny.release("v0.1.0").expect(3);
    assert!(after.stderr.contains("run `cargo xtask login`"), "{}", after.stderr);
}
