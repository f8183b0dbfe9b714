//! The private engine: up at once when it is up, back after a kill, gone without a trace.

use std::time::{Duration, Instant};

use crate::clone::Clone;

#[test]
fn b1_up_is_quick_when_it_is_up() {
    let clone = Clone::new();
    clone.xtask(&["sandbox", "up"]).expect(0);
    let started = Instant::now();
    clone.xtask(&["sandbox", "up"]).expect(0);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let env = clone.xtask(&["sandbox", "env"]).expect(0);
    assert!(env.stdout.contains("export DOCKER_HOST=") && env.stdout.contains("SLIPWAY_REGISTRY"), "{}", env.stdout);
    clone.engine("docker info >/dev/null && docker buildx version && docker compose version && crane version").expect(0);
}

#[test]
fn b2_two_checkouts_use_one_engine() {
    let (a, b) = (Clone::new(), Clone::new());
    let children = [&a, &b].map(|clone| clone.command(&["sandbox", "up"]).spawn().unwrap());
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let id = |clone: &Clone| clone.engine("docker info --format '{{.ID}}'").stdout;
    assert_eq!(id(&a), id(&b));
}

#[test]
fn b3_a_killed_engine_comes_back() {
    let clone = Clone::new();
    clone.xtask(&["sandbox", "up"]).expect(0);
    // What a run had started goes with it; what a person did stays.
    let run = |options: &str| clone.engine(&format!("docker run --detach {options} python:3.12-slim sleep 600")).expect(0).stdout;
    let (ours, theirs) = (run("--label dev.slipway.checkout=/nobody"), run(""));
    clone.engine("kill -9 $(cat $(dirname ${DOCKER_HOST#unix://})/docker.pid)").expect(0);
    clone.xtask(&["sandbox", "up"]).expect(0);
    clone.engine("docker run --rm debian:bookworm-slim true || docker run --rm python:3.12-slim true").expect(0);
    let left = clone.engine("docker ps --all --quiet --no-trunc").expect(0).stdout;
    assert!(!left.contains(ours.trim()) && left.contains(theirs.trim()), "{left}");
    clone.engine(&format!("docker rm --force {theirs}")).expect(0);
}

#[test]
fn b4_down_leaves_nothing_and_up_is_quick_with_warm_downloads() {
    let clone = Clone::new();
    clone.xtask(&["sandbox", "down"]).expect(0);
    clone.engine("pgrep -f '[s]lipway/tools/'").expect(1);
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains("slipway"), "{mounts}");
    assert!(!std::path::Path::new("/sys/class/net/docker0").exists(), "the bridge is left");
    clone.xtask(&["sandbox", "down"]).expect(0);
    clone.xtask(&["sandbox", "up"]).expect(0);
}
