//! What is published can be run again, whatever else was built of the same files meanwhile, or at the same time.

use std::thread;

use crate::clone::Ran;
use crate::examples::{ci, commit};
use crate::tiny::Tiny;

/// One image whose every build without cache is another one, with these events.
fn random(events: &str) -> Tiny {
    let tiny = Tiny::of(1);
    let head = format!("schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"{}\"\nversion-file = \"VERSION\"\n", tiny.namespace);
    tiny.write("docker/images.toml", &format!("{head}[image.tiny-a]\n{events}"));
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nRUN cat /proc/sys/kernel/random/uuid > /n\n");
    tiny.version("v0.1.0");
    tiny
}

/// A run of Actions, or one more of the same where the number is the same.
fn actions(tiny: &mut Tiny, run: u32) {
    tiny.env = vec![("GITHUB_RUN_ID".into(), run.to_string())];
}

fn forget(tiny: &Tiny) {
    std::fs::remove_dir_all(tiny.path().join("target/slipway")).unwrap();
}

fn task(tiny: &Tiny, args: &[&str], event: &str) -> Ran {
    tiny.command(args).args(["--event", event]).output().unwrap().into()
}

/// Puts all marks of tests on another image, as if they had never been.
fn lose_marks(tiny: &Tiny) {
    let repository = format!("{}/{}/tiny-a", tiny.upstream, tiny.namespace);
    tiny.crane(&["copy", &format!("{}/library/debian:bookworm-slim", tiny.upstream), &format!("{repository}:other")]).unwrap();
    let tags = tiny.crane(&["ls", &repository]).unwrap();
    for tag in tags.lines().filter(|tag| tag.starts_with("tested-") || tag.starts_with("candidate-")) {
        tiny.crane(&["tag", &format!("{repository}:other"), tag]).unwrap();
    }
}

#[test]
fn six_variants_of_one_repository_are_released() {
    let tiny = Tiny::of(1);
    let head = format!("schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"{}\"\n", tiny.namespace);
    let image = "[axes]\nn = [\"1\", \"2\"]\nos = [\"x\", \"y\", \"z\"]\n[image.go]\nvariant = \"{n}-{os}\"\n\
                 repository = \"{namespace}/go\"\nargs = { N = \"{variant}\" }\n";
    let tags = "[on.tag]\ntags = [\"{version}-{variant}\", \"{major}-{variant}\", \"latest-{variant}\"]\n";
    tiny.write("docker/images.toml", &format!("{head}{image}{tags}"));
    tiny.write("Dockerfile", "FROM scratch\nARG N\nENV N=$N\nCOPY VERSION /\n");
    for version in ["v1.0.0", "v1.1.0"] {
        tiny.version(version);
        ci(&tiny, &format!("tag:{version}")).expect(0);
        assert!(ci(&tiny, &format!("tag:{version}")).expect(0).stderr.contains("nothing to do: everything"), "{version}");
    }
    let tags = tiny.crane(&["ls", &format!("{}/{}/go", tiny.upstream, tiny.namespace)]).unwrap();
    assert_eq!(tags.lines().filter(|tag| tag.starts_with("released-")).count(), 12, "{tags}");
    let mut seen = std::collections::BTreeSet::new();
    for variant in ["1-x", "1-y", "1-z", "2-x", "2-y", "2-z"] {
        let of = |tag: &str| tiny.digest("go", &format!("{tag}-{variant}")).unwrap();
        assert_eq!((of("latest"), of("1")), (of("v1.1.0"), of("v1.1.0")));
        assert!(seen.insert(of("v1.0.0")) && seen.insert(of("v1.1.0")));
    }
}

#[test]
fn a_release_stays_done_after_a_fresh_build_of_the_same_files() {
    let tiny = random(
        "[on.tag]\ntags = [\"{version}\", \"latest\"]\n[on.schedule]\ncron = \"0 3 * * 0\"\nfresh = true\ntags = [\"nightly\"]\n",
    );
    ci(&tiny, "tag:v0.1.0").expect(0);
    let released = tiny.digest("tiny-a", "v0.1.0").unwrap();
    ci(&tiny, "schedule").expect(0);
    assert_ne!(tiny.digest("tiny-a", "nightly").unwrap(), released);
    let before = tiny.state();
    let is_done = |what: &str| {
        forget(&tiny);
        assert!(ci(&tiny, "tag:v0.1.0").expect(0).stderr.contains("nothing to do"), "{what}");
        task(&tiny, &["ci-build", "--mode", "test"], "tag:v0.1.0").expect(0);
        task(&tiny, &["docker-test"], "tag:v0.1.0").expect(0);
        let push = task(&tiny, &["ci-build", "--mode", "push"], "tag:v0.1.0").expect(0);
        assert!(push.stderr.contains("nothing to do"), "{what}: {}", push.stderr);
        task(&tiny, &["release"], "tag:v0.1.0").expect(0);
        assert_eq!(tiny.state(), before, "{what}");
    };
    is_done("after the nightly");
    // The other way round: a second nightly takes its tag, and the release has its own.
    let nightly = tiny.digest("tiny-a", "nightly");
    ci(&tiny, "schedule").expect(0);
    assert_ne!(tiny.digest("tiny-a", "nightly"), nightly);
    assert_eq!(tiny.digest("tiny-a", "latest").unwrap(), released);
}

#[test]
fn older_commits_and_releases_run_again_with_nothing_but_what_is_published() {
    let mut tiny = random("[on.tag]\ntags = [\"{version}\", \"latest\"]\n[on.branch.main]\ntags = [\"{sha7}\", \"edge\"]\n");
    let sha = |tiny: &Tiny| tiny.engine("git rev-parse --short=7 HEAD").expect(0).stdout.trim().to_owned();
    actions(&mut tiny, 1);
    ci(&tiny, "branch:main").expect(0);
    tiny.write("README.md", "no image has this");
    commit(&tiny, "second");
    let second = sha(&tiny);
    actions(&mut tiny, 2);
    ci(&tiny, "branch:main").expect(0);
    ci(&tiny, "tag:v0.1.0").expect(0);
    let published = tiny.digest("tiny-a", &second).unwrap();
    assert_eq!(tiny.digest("tiny-a", "edge").unwrap(), published, "the second commit reuses what the first built");
    let state = |tiny: &Tiny| {
        let mut state = tiny.state();
        state.remove("tiny-a:other");
        state
    };
    let before = state(&tiny);
    for (run, marks) in [(3, true), (4, false)] {
        for event in ["branch:main", "tag:v0.1.0"] {
            // Neither candidate nor mark nor cache is left; another build has another digest.
            if !marks {
                lose_marks(&tiny);
                tiny.engine("docker buildx prune --force --filter type=regular >/dev/null").expect(0);
            }
            forget(&tiny);
            actions(&mut tiny, run);
            let again = ci(&tiny, event).expect(0);
            assert_eq!(again.stderr.contains("nothing to do: everything"), marks, "{event}: {}", again.stderr);
            assert_eq!(state(&tiny), before, "{event}, marks: {marks}\n{}", again.stderr);
        }
    }
    // What somebody made from our image inherits its labels.
    lose_marks(&tiny);
    let name = tiny.name("tiny-a", "v0.1.0");
    tiny.crane(&["mutate", "--entrypoint", "/bin/evil", "--tag", &name, &name]).unwrap();
    forget(&tiny);
    actions(&mut tiny, 5);
    let refused = ci(&tiny, "tag:v0.1.0").expect(4);
    assert!(refused.stderr.contains("and the version is released"), "{}", refused.stderr);
}

#[test]
fn the_runs_of_a_tag_and_of_a_branch_of_one_commit_overlap() {
    let tag = "[on.tag]\ntags = [\"{version}\", \"{sha7}\", \"latest\"]\n";
    let branch = "[on.branch.main]\nfresh = true\ntags = [\"{sha7}\", \"edge\", \"latest\"]\n";
    let mut one = random(&format!("{tag}{branch}"));
    let stages: [&[&str]; 4] = [&["ci-build", "--mode", "test"], &["docker-test"], &["ci-build", "--mode", "push"], &["release"]];
    const EVENTS: [&str; 2] = ["tag", "branch:main"];
    let event = |who: usize, version: &str| if who == 0 { format!("tag:{version}") } else { EVENTS[1].to_owned() };
    let check = |tiny: &Tiny, version: &str, how: &str| {
        let released = tiny.digest("tiny-a", version);
        let latest = tiny.digest("tiny-a", "latest");
        let edge = tiny.digest("tiny-a", "edge");
        assert!(released.is_some() && (latest == released || latest == edge), "{how}: {:?}", tiny.state());
    };
    // Whose stage is next: the tag's run is 0.
    let orders = [[0, 0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]];
    for (n, order) in orders.into_iter().enumerate() {
        let version = format!("v0.{}.0", n + 2);
        one.version(&version);
        let two = one.copy();
        let mut done = [0, 0];
        for who in order {
            task([&one, &two][who], stages[done[who]], &event(who, &version)).expect(0);
            done[who] += 1;
        }
        check(&one, &version, &format!("{order:?}"));
    }
    // Truly at once.
    for n in 0..2 {
        let version = format!("v1.{n}.0");
        actions(&mut one, 100 + n);
        one.version(&version);
        let mut two = one.copy();
        actions(&mut two, 200 + n);
        let checkouts = [&one, &two];
        let ran = thread::scope(|scope| {
            let run = |who: usize| {
                let event = event(who, &version);
                scope.spawn(move || ci(checkouts[who], &event))
            };
            [0, 1].map(run).map(|thread| thread.join().unwrap())
        });
        ran.into_iter().for_each(|ran| drop(ran.expect(0)));
        check(&one, &version, "at once");
    }
}

#[test]
fn receipts_of_other_runs_stop_nothing_unless_the_plan_was_handed_over() {
    let tiny = random("[on.tag]\ntags = [\"{version}\", \"latest\"]\n");
    let plan = tiny.run(&["plan", "--resolve", "--json"], "v0.1.0").expect(0).stdout;
    tiny.write("target/plan.json", &plan);
    tiny.run(&["ci-build", "--mode", "test"], "v0.1.0").expect(0);
    tiny.run(&["docker-test"], "v0.1.0").expect(0);
    let receipt = tiny.path().join("target/slipway/receipts/tiny-a.json");
    let good = std::fs::read_to_string(&receipt).unwrap();
    let digest = good.split("\"digest\": \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let failed = good.replace("\"tests\": []", "\"tests\": [{\"name\": \"t\", \"passed\": false, \"seconds\": 1.0}]");
    assert_ne!(failed, good);
    let planned =
        || -> Ran { tiny.command(&["ci-build", "--mode", "push", "--plan", "target/plan.json"]).output().unwrap().into() };
    let other = good.replace(&digest, &format!("sha256:{}", "0".repeat(64)));
    for (text, words) in [
        (&other[..], "in the receipt sha256:000"),
        (&failed, "in the receipt the test failed: t"),
        (&good[..40], "there is no receipt of its test"),
        ("", "there is no receipt of its test"),
    ] {
        std::fs::write(&receipt, text).unwrap();
        let refused = planned().expect(4);
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert_eq!(tiny.digest("tiny-a", "v0.1.0"), None);
    // The same machine, no plan handed over: the registry knows that the image passed.
    std::fs::write(&receipt, &other).unwrap();
    tiny.push("v0.1.0").expect(0);
    tiny.release("v0.1.0").expect(0);
    // What is published is done, and the receipt of what is taken over is renewed.
    tiny.run(&["ci-build", "--mode", "test"], "v0.1.0").expect(0);
    assert!(std::fs::read_to_string(&receipt).unwrap().contains(&digest));
    std::fs::write(&receipt, &good).unwrap();
    planned().expect(0);
}
