//! A real Trivy with a database of one advisory: what it finds is not published, and what it may not find is.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::clone::Ran;
use crate::tiny::{IDS, Tiny};

const ID: &str = "CVE-2026-0001";
const EVENT: [&str; 2] = ["--event", "tag:v0.1.0"];

/// What `cargo xtask test` builds before it runs these tests.
fn tool(name: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/slipway/tools/bin").join(name);
    assert!(tool.exists(), "there is no {}: run `cargo xtask test`, which builds it", tool.display());
    tool
}

/// Three images, of which `tiny-b` alone has the package of the advisory.
struct Scanned {
    tiny: Tiny,
    path: String,
}

impl Scanned {
    fn new(scan: &str) -> Scanned {
        let tiny = Tiny::new();
        // The rootfs of an image that was never Debian, but for the files that say so: no base image plays a part.
        tiny.write("Dockerfile", "FROM scratch\nARG N\nCOPY rootfs /\nCOPY status.$N /var/lib/dpkg/status\n");
        tiny.write("rootfs/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        tiny.write("rootfs/etc/debian_version", "12.0\n");
        for (n, version) in [("a", "2.0-1"), ("b", "1.0-1"), ("c", "2.1-1")] {
            let package = format!(
                "Package: tinyssl\nStatus: install ok installed\nMaintainer: a <a@b>\nArchitecture: all\nVersion: {version}\nDescription: x\n"
            );
            tiny.write(&format!("status.{n}"), &package);
        }
        let images = std::fs::read_to_string(tiny.path().join("docker/images.toml")).unwrap();
        tiny.write("docker/images.toml", &format!("{images}{scan}"));
        tiny.write(".gitignore", "/target\n/cache\n");
        tiny.version("v0.1.0");
        let folder = tool("trivy").parent().unwrap().display().to_string();
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
        let scanned = Scanned { tiny, path };
        scanned.database("HIGH");
        scanned
    }

    /// The database says so of everything before 2.0-1.
    fn database(&self, severity: &str) {
        let mut writer = Command::new(tool("trivy-db"));
        writer.arg(self.tiny.path().join("cache")).args([ID, severity, "tinyssl", "2.0-1"]);
        assert!(writer.status().unwrap().success());
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.tiny.command(args);
        let event: &[&str] = if args.contains(&"--plan") { &[] } else { &EVENT };
        command.args(event).env("PATH", &self.path).env("TRIVY_CACHE_DIR", self.tiny.path().join("cache"));
        // Where there would be a newer database; nobody listens.
        command.env("TRIVY_DB_REPOSITORY", "localhost:1/trivy-db").output().unwrap().into()
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.tiny.path().join(file)).unwrap()).unwrap()
    }

    fn receipt(&self, id: &str) -> Value {
        self.json(&format!("target/slipway/receipts/{id}.json"))
    }

    /// The database was to be replaced yesterday.
    fn outdate(&self) {
        let path = "cache/db/metadata.json";
        let mut metadata = self.json(path);
        metadata["UpdatedAt"] = "2026-01-01T00:00:00Z".into();
        metadata["NextUpdate"] = "2026-01-02T00:00:00Z".into();
        metadata["DownloadedAt"] = "2026-01-01T00:00:00Z".into();
        self.tiny.write(path, &metadata.to_string());
    }
}

#[test]
fn what_has_a_known_vulnerability_is_not_published() {
    let scanned = Scanned::new("[scan]\nfail-on = \"high\"\n");
    let ran = scanned.run(&["ci"]).expect(10);
    assert!(ran.stderr.contains("cannot publish tiny-b: findings that are high or higher"), "{}", ran.stderr);
    let line = ran.stdout.lines().find(|line| line.contains(ID) && line.contains("fixed in")).unwrap_or_default();
    assert!(["high", "tinyssl", "1.0-1", "fixed in 2.0-1"].iter().all(|word| line.contains(word)), "{}", ran.stdout);
    assert!(scanned.tiny.state().is_empty(), "{:?}", scanned.tiny.state());
    for id in IDS {
        let scan = &scanned.receipt(id)["scans"][0];
        let found = usize::from(id == "tiny-b");
        assert_eq!(
            (scan["passed"].as_bool(), scan["counts"]["high"].as_u64().unwrap_or(0)),
            (Some(found == 0), found as u64),
            "{scan:#}"
        );
        assert_eq!((scan["fail_on"].as_str(), scan["database"]["version"].as_u64()), (Some("high"), Some(2)), "{scan:#}");
        let report = scanned.json(&format!("target/slipway/scan/{id}.linux-amd64.json"));
        assert!(report["ArtifactName"].as_str().unwrap().contains("@sha256:"), "it is the candidate that is scanned");
    }
    // The push stage alone finds no test that passed.
    scanned.run(&["ci-build", "--mode", "push"]).expect(4);

    // What is known and does no harm is written down, and the same run goes on to its end.
    scanned.tiny.write(".trivyignore", &format!("{ID}\n"));
    scanned.tiny.version("v0.1.0");
    let ran = scanned.run(&["ci"]).expect(0);
    assert!(ran.stderr.contains(".trivyignore are left out"), "{}", ran.stderr);
    assert_eq!(scanned.tiny.digest("tiny-b", "v0.1.0"), scanned.tiny.digest("tiny-b", "latest"));
    assert!(scanned.receipt("tiny-b")["tests"].is_array() && scanned.receipt("tiny-b")["scans"][0]["passed"] == true);
}

#[test]
fn what_was_tested_before_is_scanned_again_before_it_is_published() {
    let scanned = Scanned::new("[scan]\nfail-on = \"high\"\n");
    scanned.database("LOW");
    for step in [&["ci-build", "--mode", "test"][..], &["scan"], &["docker-test"]] {
        scanned.run(step).expect(0);
    }
    // As the jobs of a workflow have it: no leg is started, one job publishes.
    let plan = scanned.run(&["plan", "--resolve", "--json"]).expect(0);
    assert!(plan.json()["builds"].as_array().unwrap().iter().all(|build| build["action"] == "reuse"), "{}", plan.stdout);
    scanned.tiny.write("target/plan.json", &plan.stdout);
    let planned = |args: &[&str]| scanned.run(&[args, &["--plan", "target/plan.json"]].concat());
    // Meanwhile somebody found out how bad it is.
    scanned.database("HIGH");
    let ran = planned(&["scan", "--reused"]).expect(10);
    assert!(ran.stdout.contains(ID) && ran.stderr.contains("cannot publish tiny-b"), "{}", ran.stdout);
    scanned.database("LOW");
    planned(&["scan", "--reused"]).expect(0);
    assert_eq!(scanned.receipt("tiny-b")["scans"][0]["passed"], true);
    planned(&["ci-build", "--mode", "push"]).expect(0);
    assert!(scanned.tiny.digest("tiny-b", "v0.1.0").is_some());
}

#[test]
fn below_the_severity_that_fails_and_with_a_database_of_last_time() {
    let scanned = Scanned::new("[scan]\n");
    scanned.run(&["ci-build", "--mode", "test"]).expect(0);
    let ran = scanned.run(&["scan", "--json", "--jobs", "3"]).expect(0);
    let scans = ran.json()["scans"].as_array().unwrap().clone();
    assert_eq!(scans.len(), 3);
    assert_eq!((&scans[1]["worst"]["id"], &scans[1]["passed"]), (&ID.into(), &true.into()), "{:#}", scans[1]);

    scanned.outdate();
    let ran = scanned.run(&["scan", "--only", "id=tiny-b"]).expect(0);
    assert!(ran.stderr.contains("cannot be brought up to date") && ran.stderr.contains("days ago"), "{}", ran.stderr);
    assert!(ran.stdout.contains(ID) && !ran.stdout.contains("tiny-a"), "{}", ran.stdout);

    // Without any, `scan` stops; on the sandbox `ci` says loudly that it did not look, and goes on.
    std::fs::remove_dir_all(scanned.tiny.path().join("cache")).unwrap();
    let ran = scanned.run(&["scan"]).expect(3);
    assert!(ran.stderr.contains("cannot scan without the vulnerability database"), "{}", ran.stderr);
    let ran = scanned.run(&["ci"]).expect(0);
    assert!(ran.stderr.contains("NOTHING IS SCANNED") && ran.stderr.contains("exit code 3"), "{}", ran.stderr);
}

#[test]
fn the_engines_own_images_are_scanned_one_by_one_for_each_platform() {
    let scanned = Scanned::new("[scan]\nfail-on = \"low\"\n");
    scanned.tiny.edit(
        "docker/images.toml",
        "variant = \"{n}\"",
        "variant = \"{n}\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]",
    );
    scanned.tiny.version("v0.1.0");
    scanned.tiny.git(&["checkout", "--quiet", "-b", "feature"]);
    scanned.tiny.edit("Dockerfile", "FROM scratch\n", "FROM scratch\nLABEL a=1\n");
    scanned.tiny.version("v0.1.0");
    let run = |args: &[&str]| -> Ran {
        let mut command = scanned.tiny.command(args);
        command.args(["--event", "pr:12", "--only", "n=b"]).env("PATH", &scanned.path);
        command.env("TRIVY_CACHE_DIR", scanned.tiny.path().join("cache")).output().unwrap().into()
    };
    run(&["ci-build", "--mode", "test"]).expect(0);
    let ran = run(&["scan", "--json"]).expect(10);
    let json = ran.json();
    let platforms: Vec<&str> = json["scans"].as_array().unwrap().iter().filter_map(|scan| scan["platform"].as_str()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"], "{json:#}");
    assert!(json["scans"].as_array().unwrap().iter().all(|scan| scan["failing"][0]["id"] == ID), "{json:#}");
    let arm = scanned.json("target/slipway/scan/tiny-b.linux-arm64.json");
    assert_eq!(arm["Metadata"]["ImageConfig"]["architecture"], "arm64");
}
