//! examples/services: one image a service, three kinds of build, and all of them composed.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::{ci, commit, head, xtask};
use crate::farm::Made;
use crate::tiny::Tiny;

const SERVICES: [&str; 3] = ["api", "web", "worker"];

fn services() -> Tiny {
    let mut tiny = Tiny::example("services");
    // A free port, so that nobody else's stack is in the way.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    tiny.env.push(("WEB_PORT".into(), port.to_string()));
    commit(&tiny, "one");
    tiny.git(&["checkout", "--quiet", "-b", "dev"]);
    tiny
}

fn digest(tiny: &Tiny, service: &str, tag: &str) -> Option<String> {
    tiny.digest(&format!("shop/{service}"), tag)
}

/// Everything of the composed system is gone.
fn nothing_is_left(tiny: &Tiny) {
    let log = std::fs::read_to_string(tiny.path().join("target/slipway/logs/check-stack.log")).unwrap();
    let network = log.lines().find_map(|line| line.trim().strip_prefix("Network ")?.split_whitespace().next());
    let project = network.unwrap().strip_suffix("_default").unwrap();
    for kind in ["ps --all", "network ls", "volume ls", "image ls"] {
        let left = tiny.engine(&format!("docker {kind} --quiet --filter label=com.docker.compose.project={project}"));
        assert_eq!(left.expect(0).stdout, "", "{kind}");
    }
}

/// What `web` ran in the composed system.
fn overlay(tiny: &Tiny) -> String {
    std::fs::read_to_string(tiny.path().join("target/slipway/compose-stack.yml")).unwrap()
}

/// What a plan reads, writes, publishes of `web`: without the repository and the registry.
fn plan(tiny: &Tiny, event: &str) -> [Vec<String>; 3] {
    let plan = xtask(tiny, &["plan", "--event", event, "--json"]).expect(0).json();
    let web = plan["builds"].as_array().unwrap().iter().find(|build| build["id"] == "service-web").unwrap().clone();
    let repository = web["repository"].as_str().unwrap().to_owned();
    let list = |value: &Value| -> Vec<String> {
        let entries = value.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().replace(&repository, ""));
        entries.map(|entry| entry.replace(",ignore-error=true", "")).collect()
    };
    let tags = [list(&web["push"]["tags"]), list(&web["push"]["moving"])].concat();
    [list(&web["test"]["cache_from"]), list(&web["test"]["cache_to"]), tags]
}

#[test]
fn services_are_published_by_kind_of_build() {
    let tiny = services();
    let sha = head(&tiny);
    let (cache, gha) = ("type=registry,ref=:cache", "type=gha,scope=service-web");
    let owned = |list: &[&str]| -> Vec<String> { list.iter().map(|entry| (*entry).to_owned()).collect() };
    // `dev` and `latest` are read as caches, which is of use only with inline cache in them.
    let written = [format!("{cache},mode=max"), format!("{gha},mode=max"), "type=inline".into()].to_vec();
    assert_eq!(plan(&tiny, "branch:dev"), [owned(&[cache, gha]), written.clone(), vec![format!(":dev-{sha}"), ":dev".into()]]);
    let all = [cache, "type=registry,ref=:dev", "type=registry,ref=:latest", gha];
    let tags = [":v0.1.0", &format!(":{sha}"), ":0.1", ":0", ":latest"];
    assert_eq!(plan(&tiny, "tag:v0.1.0"), [owned(&all), written.clone(), owned(&tags)]);

    ci(&tiny, "branch:dev").expect(0);
    nothing_is_left(&tiny);
    let images = overlay(&tiny);
    for service in SERVICES {
        assert!(images.contains(&format!("shop/{service}@sha256:")), "the candidate by its digest: {images}");
        let dev = digest(&tiny, service, "dev");
        assert!(dev.is_some() && dev == digest(&tiny, service, &format!("dev-{sha}")), "{service}");
        let cache = tiny.crane(&["manifest", &tiny.name(&format!("shop/{service}"), "cache")]).expect("a cache");
        assert!(cache.contains("application/vnd.buildkit.cacheconfig"), "{service}:cache is no image: {cache}");
    }

    // A pull request that changes one service builds that one alone and writes nothing; the stack has all three.
    tiny.git(&["checkout", "--quiet", "-b", "feature"]);
    tiny.edit("services/web/web.py", "<title>Shop</title>", "<title>The shop</title>");
    commit(&tiny, "feature");
    assert_eq!(plan(&tiny, "pr:12"), [owned(&[cache, gha]), written[1..2].to_vec(), vec![]]);
    tiny.proxy.pass();
    let ran = ci(&tiny, "pr:12").expect(0);
    assert!(ran.stdout.contains("docker-compose.yml is up") && ran.stdout.contains("test_stack.py"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("service-api"), "{}", ran.stdout);
    assert!(tiny.proxy.log().iter().all(|request| !request.changes()), "{:?}", tiny.proxy.log());
    assert!(overlay(&tiny).contains("shop/web:pr-12") && !overlay(&tiny).contains("shop/api"), "{}", overlay(&tiny));
    nothing_is_left(&tiny);
    tiny.git(&["checkout", "--quiet", "dev"]);

    ci(&tiny, "tag:v0.1.0").expect(0);
    for service in SERVICES {
        let version = digest(&tiny, service, "v0.1.0");
        assert!(version.is_some(), "{service}");
        for tag in [&sha, "0.1", "0", "latest"] {
            assert_eq!(digest(&tiny, service, tag), version, "{service}:{tag}");
        }
    }

    // A folder is an image.
    tiny.engine("cp -r services/api services/mail").expect(0);
    commit(&tiny, "mail");
    let ran = ci(&tiny, "branch:dev").expect(0);
    assert!(ran.stdout.contains("service-mail"), "{}", ran.stdout);
    assert!(digest(&tiny, "mail", "dev").is_some() && digest(&tiny, "mail", "latest").is_none());
}

/// What a run of the test stage took: seconds, bytes from registries and package indexes, steps.
struct Spent {
    seconds: f64,
    bytes: u64,
    steps: u64,
    cached: u64,
}

/// Builds on a builder that has nothing yet, as a new machine of a CI.
fn on_a_new_machine(tiny: &Tiny, builder: &Made<'_>, event: &str) -> Spent {
    if !builder.container().is_empty() {
        builder.remove();
    }
    let before = from_outside();
    xtask(tiny, &["ci-build", "--mode", "test", "--builder", "container", "--event", event]).expect(0);
    let outside = from_outside() - before;
    let results = std::fs::read_to_string(tiny.path().join("target/slipway/builds.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let sum = |pointer: &str| -> u64 {
        results["builds"].as_array().unwrap().iter().map(|build| build.pointer(pointer).unwrap().as_u64().unwrap()).sum()
    };
    Spent {
        seconds: results["seconds"].as_f64().unwrap(),
        bytes: sum("/pulled_bytes") + outside,
        steps: sum("/steps/total"),
        cached: sum("/steps/cached"),
    }
}

/// Bytes that came to this machine from others; the registry of the tests is not one of them.
fn from_outside() -> u64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let counts = devices.lines().filter_map(|line| line.trim().split_once(':'));
    let real = counts.filter(|(name, _)| Path::new(&format!("/sys/class/net/{name}/device")).exists());
    real.map(|(_, counts)| counts.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn a_new_machine_builds_a_changed_file_in_a_fraction_of_a_cold_build() {
    let tiny = services();
    let builder = Made::by(&tiny);
    let cold = on_a_new_machine(&tiny, &builder, "branch:dev");
    // All three are built again, as if none had been tested: their caches are all there is.
    let mut warm = Vec::new();
    for n in 0..3 {
        let (service, file) = [("web", "web.py"), ("worker", "worker.py"), ("api", "api.py")][n];
        let path = format!("services/{service}/{file}");
        let text = std::fs::read_to_string(tiny.path().join(&path)).unwrap();
        tiny.write(&path, &format!("{text}# {n}\n"));
        commit(&tiny, "a line");
        warm.push(on_a_new_machine(&tiny, &builder, "branch:dev"));
    }
    let less = |warm: f64, cold: f64| 100.0 * (1.0 - warm / cold);
    for spent in &warm {
        #[allow(clippy::cast_precision_loss)]
        let bytes = less(spent.bytes as f64, cold.bytes as f64);
        eprintln!(
            "services: cold {:.1} s and {} bytes; one changed file {:.1} s ({:.0} % less) and {} bytes ({bytes:.0} % less); {} of {} steps from cache, {} %",
            cold.seconds,
            cold.bytes,
            spent.seconds,
            less(spent.seconds, cold.seconds),
            spent.bytes,
            spent.cached,
            spent.steps,
            100 * spent.cached / spent.steps,
        );
        // Figures are printed, and depend on the machine; what never may be is that the caches are of no use.
        assert!(spent.cached > 0 && spent.bytes < cold.bytes / 2, "{} of {} bytes", spent.bytes, cold.bytes);
    }
}

#[test]
fn an_unhealthy_service_stops_everything() {
    let tiny = services();
    tiny.edit("services/web/web.py", "return self.answer(200, \"ok\\n\")", "return self.answer(500, \"no more tea\\n\")");
    commit(&tiny, "two");
    let ran = ci(&tiny, "branch:dev").expect(1);
    let words = ["web is unhealthy", "web's HEALTHCHECK: urllib.error.HTTPError: HTTP Error 500", "checks failed: stack"];
    words.iter().for_each(|word| assert!(ran.stderr.contains(word), "no {word:?} in {}", ran.stderr));
    nothing_is_left(&tiny);
    let tags = tiny.crane(&["ls", &format!("{}/{}/shop/web", tiny.upstream, tiny.namespace)]).unwrap();
    let is_there = |part: &str| tags.lines().any(|tag| tag.starts_with(part));
    assert!(is_there("candidate-") && !is_there("tested-") && !is_there("dev"), "{tags}");
    // Not by the next step either.
    xtask(&tiny, &["ci-build", "--mode", "push", "--event", "branch:dev"]).expect(4);
}

#[test]
fn services_of_a_killed_run_are_swept_by_the_next() {
    let tiny = services();
    tiny.edit("docker/images.toml", "python3 tests/test_stack.py", "sleep 60");
    xtask(&tiny, &["ci-build", "--mode", "test"]).expect(0);
    let mut child = tiny.command(&["docker-test"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // The line that says that the last command runs.
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "== stack: sleep 60"));
    child.kill().unwrap();
    child.wait().unwrap();
    let here = format!("docker ps --quiet --filter label=dev.slipway.checkout={}", tiny.path().display());
    assert_eq!(tiny.engine(&here).expect(0).stdout.lines().count(), 3);
    tiny.edit("docker/images.toml", "sleep 60", "python3 tests/test_stack.py");
    let ran = xtask(&tiny, &["docker-test", "--check", "stack"]).expect(0);
    assert!(!ran.stdout.contains("service-"), "checks alone: {}", ran.stdout);
    nothing_is_left(&tiny);
}
