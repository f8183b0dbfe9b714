//! A `docker` that is absent, hangs, lies, lacks buildx, or is killed half-way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::{GOOD, Lab, Ran};

const TEST: [&str; 5] = ["ci-build", "--mode", "test", "--engine", "host"];

fn with_bake(bake: &str) -> Lab {
    Lab::with_docker(&format!("bake() {{ {bake}; }}\n{GOOD}"))
}

#[test]
fn absent() {
    for task in [&TEST[..], &["docker-test", "--engine", "host"]] {
        Lab::new().run(task).expect(3, &["no Docker answers", "hint: "]);
    }
    let doctor = Lab::new().run(&["doctor", "--engine", "host"]).expect(3, &["cannot run on this machine"]);
    assert!(doctor.stdout.contains("MISSING"), "{}", doctor.stdout);
}

#[test]
fn one_that_hangs_is_given_up() {
    let lab = Lab::with_docker("sleep 600");
    let started = Instant::now();
    lab.run(&TEST).expect(3, &["no Docker answers"]);
    assert!(started.elapsed() < Duration::from_secs(300), "{:?}", started.elapsed());
}

#[test]
fn one_that_says_nonsense_is_none() {
    Lab::with_docker("echo hello").run(&TEST).expect(3, &["no Docker answers"]);
    let silent = with_bake("cat >/dev/null 2>&1; exit 0");
    silent.run(&TEST).expect(3, &["did not say what it built", "doctor"]);
}

#[test]
fn without_buildx() {
    let lab = Lab::with_docker(
        r#"case "$*" in
  version*) echo 28.0.0 ;;
  info*) echo '{"ServerVersion": "28.0.0", "DockerRootDir": "/"}' ;;
  *) echo "docker: 'buildx' is not a docker command." >&2; exit 1 ;;
esac"#,
    );
    lab.run(&TEST).expect(3, &["no buildx", "hint: install docker-buildx"]);
}

#[test]
fn killed_half_way() {
    let killed = with_bake("kill -9 $$").run(&TEST).expect(1, &["web"]);
    assert!(killed.stderr.contains("ended by a signal") || killed.stderr.contains("failed"), "{}", killed.stderr);
}

#[test]
fn a_failed_bake_without_a_word_still_names_what_to_run() {
    with_bake("exit 1").run(&TEST).expect(1, &["web", "cargo xtask ci-build --mode test --only id=web"]);
}

#[test]
fn ctrl_c_ends_it_with_130_and_leaves_no_child() {
    let lab = with_bake("echo $$ > ../pid; sleep 600");
    let child = lab.command(&TEST).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let file = lab.repo().join("../pid");
    let started = Instant::now();
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => assert!(started.elapsed() < Duration::from_secs(300), "bake did not start"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let kill = |args: &[&str]| std::process::Command::new("kill").args(args).stderr(Stdio::null()).status().unwrap().success();
    assert!(kill(&["-INT", &child.id().to_string()]));
    Ran::from(child.wait_with_output().unwrap()).expect(130, &["interrupted"]);
    assert!(!kill(&["-0", &pid]), "bake still runs");
}

#[test]
fn what_a_dry_run_prints_can_be_pasted() {
    let lab = with_bake("echo started > ../started");
    let ran = lab.run(&[&TEST[..], &["--dry-run"]].concat()).expect(0, &["docker buildx bake --file -"]);
    assert!(!lab.repo().join("../started").exists(), "{}", ran.stderr);
    assert!(ran.stderr.contains("cargo xtask plan --resolve --event local --format bake | "), "{}", ran.stderr);
    // Nothing that makes another plan or takes another builder is left out.
    std::fs::rename(lab.repo().join("docker/images.toml"), lab.repo().join("my images.toml")).unwrap();
    for builder in [["--builder", "farm"], ["--builders", "farm,barn"]] {
        let other = ["--dry-run", "--registry", "localhost:1", "--config", "my images.toml", builder[0], builder[1]];
        let said = format!("--event local {} --registry localhost:1 --config 'my images.toml' --format bake", builder.join(" "));
        lab.run(&[&TEST[..], &other].concat()).expect(0, &[&said]);
    }
}
