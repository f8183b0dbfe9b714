//! The cache rules of a matrix, event by event, as the registry sees them; and caches that cannot be written.

use std::collections::BTreeSet;

use crate::clone::Ran;
use crate::proxy::{Action, Request};
use crate::tiny::Tiny;

const IMAGES: &str = r#"
schema = 1
registry = "ghcr.io"
namespace = "NAMESPACE"
version-file = "VERSION"
[axes]
n = ["a"]
[image.tiny]
variant = "{n}"
dependencies = ["requirements.txt"]
[image.tiny.test]
run = "test -s /source"
[cache]
registry = "{namespace}/{image}-build-cache:{variant}"
write-when = "dependencies-changed"
[on.pull-request]
fresh = true
[on.tag]
tags = ["{version}", "latest"]
[on.schedule]
cron = "0 3 * * 0"
fresh = true
tags = ["{version}"]
replace = true
[on.manual]
tags = ["{version}"]
replace = true
rebuild-input = "REBUILD_BASE"
[release]
gate = "rebuild"
"#;

const DOCKERFILE: &str = "FROM debian:bookworm-slim\nCOPY requirements.txt /\nRUN cp /requirements.txt /made\nCOPY source /\n";

/// What a stage did to a cache ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Did {
    Read,
    Wrote,
}
use Did::{Read, Wrote};

fn is_of_the_cache(request: &Request) -> bool {
    request.path.contains("/tiny-build-cache/")
}

fn done(tiny: &Tiny) -> BTreeSet<Did> {
    let log = tiny.proxy.log();
    tiny.proxy.pass();
    log.iter().filter(|request| is_of_the_cache(request)).map(|request| if request.changes() { Wrote } else { Read }).collect()
}

fn cached() -> Tiny {
    let tiny = Tiny::new();
    tiny.write("docker/images.toml", &IMAGES.replace("NAMESPACE", &tiny.namespace));
    tiny.write("Dockerfile", DOCKERFILE);
    tiny.write("requirements.txt", "1\n");
    tiny.write("source", "0\n");
    tiny.write(".gitignore", "/target\n/plan.json\n");
    tiny
}

/// (event, its version, what is new since the last one, what the test stage does, what the push stage does)
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [Did], &'a [Did]);

#[test]
fn each_event_reads_and_writes_the_caches_of_its_row_and_the_push_stage_writes_none() {
    let table: [Row<'_>; 10] = [
        // The first version: with nothing to compare with, the dependencies count as changed.
        ("tag:v0.1.0", "v0.1.0", &["requirements.txt", "source"], &[Read, Wrote], &[Read]),
        ("tag:v0.2.0", "v0.2.0", &["source"], &[Read], &[Read]),
        ("tag:v0.3.0", "v0.3.0", &["requirements.txt"], &[Read, Wrote], &[Read]),
        ("pr:12", "v0.3.0", &["requirements.txt", "source"], &[], &[]),
        ("pr:12:fork", "v0.3.0", &["requirements.txt", "source"], &[], &[]),
        ("schedule", "v0.4.0", &["source"], &[Wrote], &[Read]),
        // Compared with the last version tag, since when the pull requests changed them.
        ("manual", "v0.5.0", &["source"], &[Read, Wrote], &[Read]),
        ("tag:v0.5.0", "v0.5.0", &["source"], &[Read, Wrote], &[Read]),
        ("manual", "v0.6.0", &["source"], &[Read], &[Read]),
        ("manual:rebuild", "v0.6.0", &["source"], &[Wrote], &[Read]),
    ];
    let tiny = cached();
    for (at, (event, version, new, test, push)) in table.iter().enumerate() {
        new.iter().for_each(|file| tiny.write(file, &format!("{at}\n")));
        tiny.version(version);
        if event.starts_with("tag:") {
            tiny.git(&["tag", version]);
        }
        // As in a workflow: planned once, and handed to every stage.
        let planned: Ran = tiny.command(&["plan", "--resolve", "--json", "--event", event]).output().unwrap().into();
        tiny.write("plan.json", &planned.expect(0).stdout);
        let run = |args: &[&str]| -> Ran { tiny.command(args).args(["--plan", "plan.json"]).output().unwrap().into() };
        tiny.proxy.pass();
        run(&["ci-build", "--mode", "test"]).expect(0);
        // A fresh build reads nothing; an export looks first what is there already.
        let fresh = !test.contains(&Read);
        let seen: BTreeSet<Did> =
            done(&tiny).into_iter().filter(|did| !(fresh && test.contains(&Wrote) && *did == Read)).collect();
        assert_eq!(seen, test.iter().copied().collect(), "{event} of {version}, test stage");
        run(&["docker-test"]).expect(0);
        assert_eq!(done(&tiny), BTreeSet::new(), "{event} of {version}, tests");
        if event.starts_with("pr:") {
            continue;
        }
        run(&["ci-build", "--mode", "push"]).expect(0);
        assert_eq!(done(&tiny), push.iter().copied().collect(), "{event} of {version}, push stage");
        assert!(tiny.digest("tiny-a", version).is_some());
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning_and_everything_is_published() {
    for status in [403, 500, 507] {
        let tiny = cached();
        tiny.version("v0.1.0");
        tiny.proxy.rule(
            move |request| {
                if request.changes() && is_of_the_cache(request) { Action::Status(status) } else { Action::Pass }
            },
        );
        let ran = tiny.run(&["ci"], "v0.1.0").expect(0);
        assert!(ran.stderr.contains("warning: tiny-a: cannot write its cache"), "{status}: {}", ran.stderr);
        assert!(tiny.digest("tiny-a", "latest").is_some(), "{status}");
        assert_eq!(tiny.digest("tiny-a", "latest"), tiny.digest("tiny-a", "v0.1.0"), "{status}");
    }
}
