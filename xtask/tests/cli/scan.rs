//! A `trivy` that is absent, hangs, lies, dies, or has no database; nothing of it passes for a clean image.

use std::time::{Duration, Instant};

use crate::lab::{GOOD, IMAGES, Lab};

const SCAN: [&str; 3] = ["scan", "--engine", "host"];

/// An engine that has every image it is asked for.
const ENGINE: &str = r#"
case "$*" in "image inspect"*) for last; do :; done; echo "{\"RepoTags\": [\"$last\"]}"; exit ;; esac
"#;

/// A trivy whose `download` and `scan` a test makes up; `$report` is the file to write.
const TRIVY: &str = r#"
report= ; all="$*"
while [ $# -gt 0 ]; do [ "$1" = --output ] && report="$2"; shift; done
case "$all" in
  version*) version ;;
  *--download-db-only*) download ;;
  *) scan ;;
esac
"#;

const VERSION: &str = r#"echo '{"Version": "0.67.2", "VulnerabilityDB": {"Version": 2, "UpdatedAt": "2026-01-01T00:00:00.5Z", "NextUpdate": "2026-01-02T00:00:00Z", "DownloadedAt": "2026-01-01T00:00:00Z"}}'"#;
const NO_DATABASE: &str = r#"echo '{"Version": "0.67.2"}'"#;
const UNREACHABLE: &str =
    r#"printf '2026-01-01T00:00:00Z\tFATAL\tFatal error\trun error: OCI artifact error:\n\t* connection refused\n' >&2; exit 1"#;
const CLEAN: &str = r#"echo '{"SchemaVersion": 2, "Results": []}' > "$report""#;

/// A report with these severities.
fn report(severities: &[&str]) -> String {
    let finding = |severity: &&str| {
        format!(
            r#"{{"VulnerabilityID": "CVE-2026-1", "PkgName": "openssl", "InstalledVersion": "1.0", "FixedVersion": "1.1", "Severity": "{severity}"}}"#
        )
    };
    let findings: Vec<String> = severities.iter().map(finding).collect();
    format!(r#"echo '{{"SchemaVersion": 2, "Results": [{{"Vulnerabilities": [{}]}}]}}' > "$report""#, findings.join(","))
}

fn lab(version: &str, download: &str, scan: &str) -> Lab {
    let lab = Lab::with_docker(&format!("{ENGINE}{GOOD}"));
    lab.write("docker/images.toml", IMAGES);
    lab.program("trivy", &format!("version() {{ {version}; }}\ndownload() {{ {download}; }}\nscan() {{ {scan}; }}\n{TRIVY}"));
    lab
}

fn reports(lab: &Lab) -> Vec<String> {
    let folder = lab.repo().join("target/slipway/scan").read_dir();
    folder.into_iter().flatten().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn absent() {
    let lab = Lab::with_docker(&format!("{ENGINE}{GOOD}"));
    lab.run(&SCAN).expect(3, &["cannot scan: there is no trivy", "hint: install Trivy"]);
}

#[test]
fn a_clean_image_passes_and_leaves_its_report() {
    let lab = lab(VERSION, "true", CLEAN);
    let ran = lab.run(&SCAN).expect(0, &["vulnerability database made"]);
    assert!(ran.stdout.contains("web") && ran.stdout.contains("passed"), "{}", ran.stdout);
    assert_eq!(reports(&lab), ["web.linux-amd64.json"]);
    let ran = lab.run(&[&SCAN[..], &["--json"]].concat()).expect(0, &[]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["scans"][0]["passed"], &json["fail_on"]), (&true.into(), &"critical".into()), "{json:#}");
    lab.run(&[&SCAN[..], &["--reused"]].concat()).expect(0, &["nothing to scan"]);
}

#[test]
fn what_is_reused_is_scanned_without_a_plan_of_before() {
    // Candidate and mark are the same image: it was tested, and is not built again.
    let digest = format!("sha256:{}", "1".repeat(64));
    let lab = lab(VERSION, "true", &report(&["CRITICAL"]));
    lab.program("docker", &format!("case \"$*\" in *Manifest.Digest*) echo {digest}; exit ;; esac\n{ENGINE}{GOOD}"));
    lab.write(
        "docker/images.toml",
        format!("registry = \"localhost:1\"\nnamespace = \"acme\"\n{IMAGES}[on.branch.main]\ntags = [\"{{sha}}\"]\n"),
    );
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.run(&[&SCAN[..], &["--reused", "--event", "branch:main"]].concat()).expect(10, &["cannot publish web"]);
}

#[test]
fn findings_fail_from_their_severity_on() {
    let mixed = report(&["HIGH", "CRITICAL"]);
    for (fail_on, scan, code) in [
        ("critical", mixed.as_str(), 10),
        ("critical", &report(&["HIGH"]), 0),
        ("high", &report(&["HIGH"]), 10),
        ("never", &mixed, 0),
    ] {
        let lab = lab(VERSION, "true", scan);
        lab.write("docker/images.toml", format!("{IMAGES}[scan]\nfail-on = \"{fail_on}\"\n"));
        let ran = lab.run(&SCAN).expect(code, if code == 0 { &[] } else { &["cannot publish web", "hint: "] });
        let listed = ["CVE-2026-1", "openssl", "1.0", "fixed in 1.1"].iter().all(|word| ran.stdout.contains(word));
        assert!(listed || code == 0, "{}", ran.stdout);
    }
}

#[test]
fn without_a_database_that_can_be_had() {
    lab(NO_DATABASE, UNREACHABLE, CLEAN)
        .run(&SCAN)
        .expect(3, &["cannot scan without the vulnerability database", "connection refused", "hint: ", "TRIVY_DB_REPOSITORY"]);
    lab(NO_DATABASE, "true", CLEAN).run(&SCAN).expect(3, &["there is none"]);
    lab(NO_DATABASE, "kill -9 $$", CLEAN).run(&SCAN).expect(3, &["ended by a signal"]);
    let old = lab(VERSION, UNREACHABLE, CLEAN).run(&SCAN);
    old.expect(0, &["warning: the vulnerability database cannot be brought up to date", "days ago"]);
    let kept = lab(VERSION, UNREACHABLE, CLEAN);
    let ran = kept.command(&SCAN).env("TRIVY_SKIP_DB_UPDATE", "true").output().unwrap();
    let ran = crate::lab::Ran::from(ran).expect(0, &[]);
    assert!(!ran.stderr.contains("warning"), "what was asked for is no surprise: {}", ran.stderr);
}

#[test]
fn one_that_lies_or_dies_is_no_pass() {
    let full = r#"echo 'FATAL write /tmp/x: no space left on device' >&2; exit 1"#;
    for (scan, words) in [
        ("true", &["cannot scan web for linux/amd64: trivy wrote no report"][..]),
        (r#"echo hello > "$report""#, &["cannot understand the report"]),
        (r#"echo '{}' > "$report""#, &["cannot understand the report"]),
        (r#"echo '{"SchemaVersion": 2, "Results": [' > "$report""#, &["cannot understand the report"]),
        (&format!(r#"{CLEAN}; kill -9 $$"#), &["ended by a signal"]),
        (&format!("{CLEAN}; {full}"), &["exit code 1", "no space left on device", "hint: see `"]),
    ] {
        let lab = lab(VERSION, "true", CLEAN);
        lab.run(&SCAN).expect(0, &[]);
        lab.program("trivy", &format!("version() {{ {VERSION}; }}\ndownload() {{ true; }}\nscan() {{ {scan}; }}\n{TRIVY}"));
        let ran = lab.run(&SCAN).expect(1, words);
        assert!(!ran.stdout.contains("passed"), "{}", ran.stdout);
        assert_eq!(reports(&lab), [""; 0], "the report of an earlier scan is left: {scan}");
    }
    lab("echo hello", "true", CLEAN).run(&SCAN).expect(3, &["cannot understand what `trivy version` says", "hint: "]);
    lab("exit 1", "true", CLEAN).run(&SCAN).expect(3, &["trivy does not answer", "hint: "]);
}

#[test]
fn one_that_somebody_else_locked_out_is_asked_again() {
    let locked = "run error: init error: DB error: vulnerability database may be in use by another process: timeout";
    let scan = format!("[ -e again ] || {{ touch again; echo '{locked}' >&2; exit 1; }}; {CLEAN}");
    let lab = lab(VERSION, "true", &scan);
    lab.program("touch", ": > \"$1\"");
    lab.run(&SCAN).expect(0, &[]);
    assert!(lab.repo().join("again").exists());
}

#[test]
fn one_that_hangs_is_ended() {
    let lab = lab(VERSION, "true", "sleep 600");
    lab.write("docker/images.toml", IMAGES.replace("[image.web]\n", "[image.web]\ntimeout = \"1s\"\n"));
    let started = Instant::now();
    lab.run(&SCAN).expect(1, &["cannot scan web", "no answer within 1s"]);
    assert!(started.elapsed() < Duration::from_secs(300), "{:?}", started.elapsed());
}

#[test]
fn a_huge_report_is_read_and_cut_short_for_people() {
    let many = format!(
        r#"{{ echo '{{"SchemaVersion": 2, "Results": [{{"Vulnerabilities": ['
i=0; while [ $i -lt 20000 ]; do echo '{{"VulnerabilityID": "CVE-2026-1", "PkgName": "p", "Severity": "CRITICAL", "Description": "{}"}},'; i=$((i+1)); done
echo '{{"VulnerabilityID": "CVE-2026-2", "PkgName": "p", "Severity": "LOW"}}]}}]}}'; }} > "$report""#,
        "x".repeat(500)
    );
    let ran = lab(VERSION, "true", &many).run(&SCAN).expect(10, &[]);
    assert!(ran.stdout.contains("20000") && ran.stdout.contains("19980 more, see "), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() < 40, "{}", ran.stdout);
}

#[test]
fn a_dry_run_prints_what_it_would_run() {
    let lab = lab(NO_DATABASE, "echo x > ../ran", "echo x > ../ran");
    let ran = lab.run(&[&SCAN[..], &["--dry-run"]].concat());
    ran.expect(0, &["trivy image --download-db-only", "--image-src docker", "--skip-db-update"]);
    assert!(!lab.repo().join("../ran").exists());
}

#[test]
fn an_ignore_file_that_is_named_must_be_there() {
    let lab = lab(VERSION, "true", CLEAN);
    lab.write("docker/images.toml", format!("{IMAGES}[scan]\nignore = \"none\"\n"));
    lab.run(&SCAN).expect(2, &["none"]);
    lab.write("docker/images.toml", IMAGES);
    lab.write(".trivyignore", "CVE-2026-1\n");
    lab.run(&SCAN).expect(0, &[".trivyignore are left out"]);
}

#[test]
fn what_is_not_built_cannot_be_scanned() {
    let lab = lab(VERSION, "true", CLEAN);
    lab.program("docker", GOOD);
    lab.run(&SCAN).expect(3, &["cannot scan what is not built: web", "hint: run `cargo xtask ci-build --mode test"]);
}

#[test]
fn the_pipeline_stops_where_there_is_no_scanner() {
    let bake = r#"while [ "$1" != --metadata-file ]; do shift; done; printf '{"web": {"containerimage.digest": "sha256:%064d"}}' 0 > "$2""#;
    let lab = Lab::with_docker(&format!("bake() {{ {bake}; }}\n{ENGINE}{GOOD}").replace("bake ;;", "bake \"$@\" ;;"));
    lab.write("docker/images.toml", format!("{IMAGES}[scan]\n"));
    let ran =
        lab.run(&["ci", "--engine", "host"]).expect(3, &["▸ scan", "cannot scan: there is no trivy", "hint: install Trivy"]);
    assert!(!ran.stderr.contains("docker-test"), "{}", ran.stderr);
    let doctor = lab.run(&["doctor", "--engine", "host"]);
    assert!(doctor.stdout.contains("there is no trivy, and `ci` stops there"), "{}", doctor.stdout);
    let plan = lab.run(&["plan", "--json"]).expect(0, &[]);
    assert!(plan.stdout.contains("\"fail_on\": \"critical\"") && !plan.stderr.contains("not supported"), "{}", plan.stdout);
}

#[test]
fn what_was_not_loaded_is_not_scanned() {
    let lab = lab(VERSION, "true", CLEAN);
    lab.write("docker/images.toml", "schema = 1\n[image.web]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
    let one = "case \"$*\" in *linux/arm64*) echo \"does not provide it\" >&2; exit 1 ;; save*) exit 1 ;; esac";
    lab.program("docker", &format!("{one}\n{ENGINE}{GOOD}"));
    let said = ["warning: web: linux/arm64 is not scanned: only linux/amd64 was loaded"];
    lab.run(&[&SCAN[..], &["--event", "pr:1"]].concat()).expect(0, &said);
    assert_eq!(reports(&lab), ["web.linux-amd64.json"]);
}

#[test]
fn an_image_that_the_engine_does_not_hand_over_leaves_no_earlier_report() {
    let lab = lab(VERSION, ":", CLEAN);
    lab.write("docker/images.toml", "schema = 1\n[image.web]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
    lab.program("docker", &format!("case \"$*\" in save*) echo 'no such platform' >&2; exit 1 ;; esac\n{ENGINE}{GOOD}"));
    lab.write("target/slipway/scan/web.linux-amd64.json", "{}");
    lab.run(&[&SCAN[..], &["--event", "pr:1"]].concat()).expect(1, &["no such platform"]);
    assert_eq!(reports(&lab), [""; 0]);
}
