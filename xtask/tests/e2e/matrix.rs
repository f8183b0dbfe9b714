//! The main job: fourteen images build, are tested inside, fail one by one, and cost nothing the second time.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clone::{Clone, Ran};

fn builds(ran: &Ran) -> Vec<Value> {
    ran.json()["builds"].as_array().expect("no builds").clone()
}

fn with_result(builds: &[Value], result: &str) -> Vec<String> {
    builds.iter().filter(|build| build["result"] == result).map(|build| build["id"].as_str().unwrap().to_owned()).collect()
}

fn images(clone: &Clone) -> Vec<String> {
    let list =
        clone.engine("docker image ls --format '{{.Repository}}:{{.Tag}}' | grep /slipway/python- | grep ':local$' | sort");
    list.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a1_fourteen_images_build_and_then_every_step_is_cached() {
    let clone = Clone::new();
    // An engine that other clones have used has every image of an unchanged source.
    clone.write("src/slipway_runtime/unique.py", &format!("PATH = {:?}\n", clone.path()));
    let first = clone.xtask(&["ci-build", "--mode", "test", "--json"]).expect(0);
    assert_eq!(with_result(&builds(&first), "built").len(), 14);
    assert_eq!(images(&clone).len(), 14, "{:?}", images(&clone));
    let all_cached = |ran: &Ran| {
        for build in builds(ran) {
            assert_eq!(build["steps"]["cached"], build["steps"]["total"], "{build:#}");
            assert!(build["steps"]["total"].as_u64().unwrap() > 0, "{build:#}");
            assert!(build["digest"].as_str().unwrap().starts_with("sha256:"), "{build:#}");
        }
    };
    let second = clone.xtask(&["ci-build", "--mode", "test", "--json", "--verbose"]).expect(0);
    all_cached(&second);
    assert!(!second.stderr.contains("docker buildx bake"), "what is there is not built: {}", second.stderr);
    // One that is gone comes back from the builder's cache.
    clone.engine(&format!("docker image rm --force {}", images(&clone)[0]));
    let third = clone.xtask(&["ci-build", "--mode", "test", "--json", "--verbose"]).expect(0);
    all_cached(&third);
    assert!(third.stderr.contains("docker buildx bake"), "{}", third.stderr);
    assert_eq!(images(&clone).len(), 14, "{:?}", images(&clone));
}

#[test]
fn a2_dry_run_starts_no_build_and_changes_nothing() {
    let clone = Clone::new();
    clone.write("src/slipway_runtime/new.py", "x = 1\n");
    let before = clone.engine("docker image ls --all --quiet --no-trunc | sort").stdout;
    let ran = clone.xtask(&["ci-build", "--mode", "test", "--dry-run"]).expect(0);
    assert!(ran.stderr.contains("docker buildx bake"), "{}", ran.stderr);
    assert_eq!(clone.engine("docker image ls --all --quiet --no-trunc | sort").stdout, before);
    let status = Command::new("git").args(["status", "--porcelain"]).current_dir(clone.path()).output().unwrap();
    assert_eq!(String::from_utf8(status.stdout).unwrap(), "?? src/slipway_runtime/new.py\n");
}

#[test]
fn a3_every_image_is_tested_inside_and_a_broken_test_fails_exactly_its_builds() {
    let clone = Clone::new();
    clone.xtask(&["ci-build", "--mode", "test"]).expect(0);
    clone.xtask(&["docker-test", "--deps", "ci"]).expect(0);
    let logs = || {
        std::fs::read_dir(clone.path().join("tests/logs"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "log"))
            .count()
    };
    assert_eq!(logs(), 14);
    assert!(clone.read("tests/logs/test-py3.10-cpu.log").contains("passed"));

    clone.write("docker/tests/test_broken.py", "import os\n\ndef test_it():\n    assert os.environ['EXPECT_PYTHON'] != '3.10'\n");
    let ran = clone.xtask(&["docker-test", "--deps", "ci"]).expect(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let lines = said.lines().filter(|line| line.starts_with("python-") && line.contains("FAILED"));
    let failed: BTreeSet<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(failed, BTreeSet::from(["python-cpu-py3.10", "python-cuda-py3.10"]), "{said}");
    assert_eq!(clone.containers(), "", "containers are left");
}

#[test]
fn a4_one_variant_is_reproduced_with_one_command() {
    let clone = Clone::new();
    let one = ["--only", "python=3.10", "--only", "runtime=cpu"];
    let build = clone.xtask(&[&["ci-build", "--mode", "test", "--json"], &one[..]].concat()).expect(0);
    assert_eq!(builds(&build).len(), 1);
    clone.xtask(&[&["docker-test"], &one[..]].concat()).expect(0);
    let unchanged = clone.xtask(&["explain", "python-cpu-py3.10"]).expect(0);
    assert!(unchanged.stdout.contains("changed  nothing since it was built here"), "{}", unchanged.stdout);
    clone.write("requirements/base.txt", &format!("{}# more\n", clone.read("requirements/base.txt")));
    let changed = clone.xtask(&["explain", "python-cpu-py3.10"]).expect(0);
    assert!(changed.stdout.contains("copy:requirements/base.txt: "), "{}", changed.stdout);
    assert_eq!(
        std::fs::read_dir(clone.path().join("tests/logs"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "log"))
            .count(),
        1
    );
}

#[test]
fn a5_a_failed_build_is_explained_and_the_others_finish() {
    let clone = Clone::new();
    let template = clone.read("docker/Dockerfile.j2");
    clone.write(
        "docker/Dockerfile.j2",
        &format!("{template}{{% if id == \"python-cuda-py3.8\" %}}\nRUN echo about to fail && exit 7\n{{% endif %}}\n"),
    );
    let drift = clone.xtask(&["ci-build", "--mode", "test"]).expect(2);
    assert!(drift.stderr.contains("gen-dockerfiles"), "{}", drift.stderr);
    clone.xtask(&["gen-dockerfiles", "--check"]).expect(1);
    clone.xtask(&["gen-dockerfiles"]).expect(0);
    clone.xtask(&["gen-dockerfiles", "--check"]).expect(0);

    let ran = clone.xtask(&["ci-build", "--mode", "test", "--json"]).expect(1);
    let builds = builds(&ran);
    assert_eq!(with_result(&builds, "failed"), ["python-cuda-py3.8"]);
    assert_eq!(with_result(&builds, "built").len() + with_result(&builds, "cached").len(), 13);
    for part in ["exit 7", "about to fail", "cargo xtask ci-build --mode test --only id=python-cuda-py3.8"] {
        assert!(ran.stderr.contains(part), "no {part:?} in\n{}", ran.stderr);
    }
}

#[test]
fn a6_ctrl_c_ends_the_build_and_a_second_run_is_kept_apart() {
    let clone = Clone::new();
    let template = clone.read("docker/Dockerfile.j2");
    clone.write("docker/Dockerfile.j2", &format!("{template}RUN sleep 321\n"));
    clone.xtask(&["gen-dockerfiles"]).expect(0);
    let mut command = clone.command(&["ci-build", "--mode", "test", "--only", "id=python-cpu-py3.12"]);
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running = || clone.engine("pgrep -f 'sleep 32[1]'").code == Some(0);
    let started = Instant::now();
    while !running() {
        assert!(started.elapsed() < Duration::from_secs(120), "the build did not start");
        std::thread::sleep(Duration::from_millis(200));
    }
    let second = clone.xtask(&["ci-build", "--mode", "test"]).expect(3);
    assert!(second.stderr.contains(&child.id().to_string()), "does not name the other process:\n{}", second.stderr);

    let asked = Instant::now();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    ran.expect(130);
    assert!(asked.elapsed() < Duration::from_secs(20));
    while running() {
        assert!(asked.elapsed() < Duration::from_secs(30), "the step still runs");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a7_a_missing_image_and_a_test_that_hangs() {
    let clone = Clone::new();
    let one = ["--only", "id=python-cpu-py3.11"];
    clone.xtask(&["sandbox", "up"]).expect(0);
    let registry = clone.engine("echo $SLIPWAY_REGISTRY").stdout.trim().to_owned();
    clone.engine(&format!("docker image rm --force {registry}/slipway/python-cpu-py3.11:local"));
    let ran = clone.xtask(&[&["docker-test"], &one[..]].concat());
    assert!(matches!(ran.code, Some(1 | 3)), "{:?} {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("cargo xtask ci-build --mode test --only id=python-cpu-py3.11"), "{}", ran.stderr);

    clone.xtask(&[&["ci-build", "--mode", "test"], &one[..]].concat()).expect(0);
    let images = clone.read("docker/images.toml");
    clone.write("docker/images.toml", &images.replace("[image.python.test] ", "[image.python.test]\ntimeout = \"3s\"\n#"));
    clone.write("docker/tests/test_hang.py", "import time\n\ndef test_it():\n    time.sleep(600)\n");
    let started = Instant::now();
    clone.xtask(&[&["docker-test", "--deps", "ci"], &one[..]].concat()).expect(1);
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(clone.containers(), "", "containers are left");
}
