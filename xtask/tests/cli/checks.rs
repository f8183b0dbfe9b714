//! Checks that need images, with a `docker` whose compose is absent, hangs, fails or lies.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lab::{GOOD, Lab, Ran};

const CHECK: [&str; 3] = ["docker-test", "--engine", "host"];

const IMAGES: &str = "schema = 1\n[image.web]\n[check.stack]\ncompose = 'c.yml'\ntimeout = '5m'\nrun = 'git --version'\n\
    [check.unit]\nin = 'web'\nrun = ['first line', 'second']\ntimeout = '5m'\n[check.static]\nrun = 'true'\n";

/// `cases` come first; every call is written down.
fn lab(cases: &str) -> Lab {
    let rest = r#"
  image*) echo '{"RepoTags": ["web:local"]}' ;;
  "compose version"*) echo 2.40.3 ;;
  *config*) echo '{"services": {"web": {"build": {"context": "."}}}}' ;;
  *" ps "*) echo '{"Service": "web", "Name": "p-web-1", "State": "running", "Health": "healthy", "ExitCode": 0}' ;;
"#;
    let good = GOOD.trim_start().replacen("case \"$*\" in", &format!("case \"$*\" in\n{cases}{rest}"), 1);
    let lab = Lab::with_docker(&format!("echo \"$*\" >> ../calls\n{good}"));
    lab.write("docker/images.toml", IMAGES);
    lab.write("c.yml", "services: {web: {build: .}}\n");
    lab
}

fn calls(lab: &Lab) -> String {
    std::fs::read_to_string(lab.repo().join("../calls")).unwrap()
}

fn run(lab: &Lab, check: &str) -> Ran {
    lab.run(&[&CHECK[..], &["--check", check]].concat())
}

#[test]
fn a_name_that_is_none_says_which_there_are() {
    run(&lab(""), "stuck").expect(2, &["no check is called stuck (did you mean `stack`?)"]);
    run(&lab(""), "static").expect(2, &["runs on this machine", "cargo xtask static-checks"]);
    let narrowed = [&CHECK[..], &["--check", "unit", "--only", "image=web"]].concat();
    lab("").run(&narrowed).expect(0, &[]);
}

#[test]
fn compose_is_absent() {
    let absent = r#"  compose*) echo "docker: 'compose' is not a docker command." >&2; exit 1 ;;"#;
    run(&lab(absent), "stack").expect(3, &["docker has no compose", "hint: install docker-compose-plugin"]);
    run(&lab(absent), "unit").expect(0, &[]);
}

#[test]
fn a_file_that_compose_does_not_understand_or_that_composes_other_things() {
    let bad = "  *config*) echo 'services.web additional property buidl is not allowed' >&2; exit 15 ;;";
    run(&lab(bad), "stack").expect(2, &["check stack: compose does not understand c.yml", "buidl"]);
    let other = r#"  *config*) echo '{"services": {"front": {}}}' ;;"#;
    run(&lab(other), "stack").expect(2, &["no service of c.yml is called like", "the services are front", "end in web"]);
    let silent = "  *config*) ;;";
    run(&lab(silent), "stack").expect(2, &["c.yml composes nothing"]);
}

#[test]
fn one_that_works() {
    let lab = lab("");
    let ran = run(&lab, "stack").expect(0, &[]);
    assert!(ran.stdout.contains("c.yml is up") && !ran.stdout.contains("unit"), "{}", ran.stdout);
    let calls = calls(&lab);
    let verbs: Vec<&str> = calls
        .lines()
        .filter_map(|call| ["up", "ps", "logs", "down"].into_iter().find(|verb| call.contains(&format!(" {verb}"))))
        .collect();
    assert_eq!(verbs, ["down", "up", "ps", "ps", "ps", "logs", "down"], "{calls}");
}

#[test]
fn what_compose_builds_itself_is_built_anew_and_taken_away_before_and_after() {
    let lab =
        lab(r#"  *config*) echo '{"services": {"web": {}, "helper": {"image": "helper:dev", "build": {"context": "."}}}}' ;;"#);
    run(&lab, "stack").expect(0, &[]);
    let overlay = std::fs::read_to_string(lab.repo().join("target/slipway/compose-stack.yml")).unwrap();
    let (helper, web) = overlay.split_once("  \"web\":").unwrap();
    assert!(helper.contains("pull_policy: build") && web.contains("pull_policy: never"), "{overlay}");
    let calls = calls(&lab);
    let downs: Vec<&str> = calls.lines().filter(|call| call.contains(" down ")).collect();
    assert!(downs.len() == 2 && downs.iter().all(|down| down.ends_with(" --rmi local")), "{calls}");
}

#[test]
fn a_service_that_ends_meanwhile_fails_it() {
    let exited = r#"echo '{"Service": "web", "Name": "p", "State": "exited", "Health": "", "ExitCode": 3}'"#;
    let running = r#"echo '{"Service": "web", "Name": "p", "State": "running", "Health": "", "ExitCode": 0}'"#;
    let said = ["web ended with exit code 3", "web: boom", "checks failed: stack"];
    let used = lab(&format!("  *\" ps \"*) if [ -e ../used ]; then {exited}; else {running}; fi ;;\n  *--tail*) echo boom ;;"));
    used.write("docker/images.toml", IMAGES.replace("'git --version'", "'git init --quiet ../used'"));
    let ran = run(&used, "stack").expect(1, &said);
    assert!(ran.stdout.lines().any(|line| line.contains("git init") && line.contains("FAILED")), "{}", ran.stdout);
    // Up, its ports, and once more before the moment that it is given.
    let looks = "echo >> ../looks; n=0; while read -r _; do n=$((n + 1)); done < ../looks";
    let idle =
        lab(&format!("  *\" ps \"*) {looks}; if [ $n -gt 3 ]; then {exited}; else {running}; fi ;;\n  *--tail*) echo boom ;;"));
    idle.write("docker/images.toml", IMAGES.replace("run = 'git --version'\n", ""));
    let ran = run(&idle, "stack").expect(1, &said);
    assert!(ran.stdout.lines().any(|line| line.contains("c.yml is up") && line.contains("FAILED")), "{}", ran.stdout);
}

#[test]
fn a_check_leaves_a_daemon_behind() {
    let lab = Lab::new();
    let check =
        |time: &str, run: &str| format!("schema = 1\n[image.web]\n[check.d]\ntimeout = '{time}'\nrun = \"sh -c '{run}'\"\n");
    let started = Instant::now();
    lab.write("docker/images.toml", check("5m", "setsid sleep 120 & echo started"));
    lab.run(&["static-checks"]).expect(0, &["started"]);
    lab.write("docker/images.toml", check("2s", "setsid sleep 120 & wait"));
    lab.run(&["static-checks"]).expect(1, &["checks failed: d"]);
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
}

#[test]
fn one_that_hangs_is_ended_and_taken_down() {
    let lab = lab(r#"  *" up "*) sleep 600 ;;
  *" ps "*) echo '{"Service": "web", "Name": "p", "State": "running", "Health": "starting"}' ;;
  *--tail*) echo 'waiting for the moon' ;;"#);
    lab.write("docker/images.toml", IMAGES.replace("'5m'", "'10s'"));
    let started = Instant::now();
    run(&lab, "stack")
        .expect(1, &["not done within 10s: the health of web is starting", "web: waiting for the moon", "checks failed: stack"]);
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
    assert!(calls(&lab).lines().last().unwrap().contains(" down "), "{}", calls(&lab));
}

#[test]
fn one_that_fails_says_which_service_and_its_last_words() {
    let port = r#"  *" up "*) echo 'Bind for 127.0.0.1:8080 failed: port is already allocated'; exit 1 ;;"#;
    run(&lab(port), "stack").expect(1, &["compose failed: exit code 1", "port is already allocated"]);
    let sick = lab(r#"  *" up "*) exit 1 ;;
  *" ps "*) echo '{"Service": "web", "Name": "p", "State": "exited", "Health": "", "ExitCode": 3}' ;;
  *--tail*) echo 'no database' ;;"#);
    let ran = run(&sick, "stack");
    let ran = ran.expect(1, &["web ended with exit code 3", "web: no database", "docker-test --check stack --event local"]);
    assert!(ran.stdout.lines().any(|line| line.contains("git --version") && line.contains('-')), "{}", ran.stdout);
    assert!(calls(&sick).lines().last().unwrap().contains(" down "), "{}", calls(&sick));
}

#[test]
fn in_an_image() {
    let lab = lab("  \"exec\"*second) exit 5 ;;");
    run(&lab, "unit").expect(1, &["unit: second: exit code 5", "checks failed: unit"]);
    let calls = calls(&lab);
    let lines: Vec<&str> = calls.lines().filter(|call| call.contains("slipway-check-unit-")).collect();
    let verbs: Vec<&str> = lines.iter().map(|call| call.split(' ').next().unwrap()).collect();
    assert_eq!(verbs, ["create", "cp", "start", "exec", "exec", "stop", "cp", "rm"], "{calls}");
    assert!(lines[0].contains(" --mount type=volume,target=/workspace,volume-nocopy --workdir /workspace "), "{calls}");
    assert!(!lines[0].contains("type=bind") && lines[0].contains(" --entrypoint sleep web:local "), "{calls}");
    assert!(lines[3].ends_with(" first line") && lines[7].starts_with("rm --force --volumes "), "{calls}");
    lab.write("docker/images.toml", IMAGES.replace("in = 'web'", "in = 'web'\nmay-fail = true"));
    let ran = run(&lab, "unit").expect(0, &[]);
    assert!(ran.stdout.contains("failed (may)"), "{}", ran.stdout);
}

/// A lab with a commit, in which two files were edited since.
fn committed(cases: &str) -> Lab {
    let lab = lab(cases);
    lab.write("docker/images.toml", format!("{IMAGES}[check.z]\nin = 'web'\nrun = 'late'\n").replace("'2s'", "'1m'"));
    lab.git(&["init", "--quiet"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.write("c.yml", "services: {web: {build: .}} # edited before\n");
    lab.write("untracked", "1\n");
    lab.program("rm", "exec /bin/rm \"$@\"");
    lab.program("mkdir", "exec /bin/mkdir \"$@\"");
    lab
}

#[test]
fn a_system_that_changes_what_was_built_fails_and_nothing_runs_after_it() {
    // (what happens while it is up, the files that it is blamed for)
    let table: [(&str, &[&str]); 6] = [
        ("echo LABEL a=1 >> Dockerfile", &["it changed Dockerfile: what was built and tested is not what is there now"]),
        ("echo LABEL b=1 >> c.yml; rm Dockerfile", &["it changed Dockerfile, c.yml: what"]),
        ("git checkout --quiet c.yml", &["it changed c.yml: what"]),
        ("git update-index --assume-unchanged Dockerfile; echo LABEL c=1 >> Dockerfile", &["it changed Dockerfile: what"]),
        (
            "git config core.fsmonitor ./x; mkdir .cargo; echo > .cargo/config.toml",
            &["it changed .cargo/config.toml, .git/config"],
        ),
        ("mkdir .pytest_cache; echo 1 > .pytest_cache/x; echo 2 > untracked", &[]),
    ];
    for (line, blamed) in table {
        let lab = committed(&format!("  *\" up \"*) {line} ;;"));
        let ran = lab.run(&[&CHECK[..], &["--check", "stack", "--check", "z"]].concat());
        // This docker hands no copy back, so that the check after it fails where it runs.
        let ran = ran.expect(1, blamed);
        assert_eq!(ran.stderr.contains("checks failed: stack"), !blamed.is_empty(), "{}", ran.stderr);
        assert_eq!(calls(&lab).contains(" late\n"), blamed.is_empty(), "{}", calls(&lab));
        let line = ran.stdout.lines().find(|line| line.contains("git --version")).unwrap();
        assert_eq!(line.contains("passed"), blamed.is_empty(), "a line ran on this machine: {}", ran.stdout);
    }
}

#[test]
fn a_copy_that_cannot_be_compared_is_not_unchanged() {
    let may = |lab: &Lab| {
        let images = format!("{IMAGES}[check.z]\nin = 'web'\nrun = 'late'\n");
        lab.write("docker/images.toml", images.replace("in = 'web'", "in = 'web'\nmay-fail = true"));
    };
    let table = [
        ("  cp*\" -\") echo 'the daemon is tired' >&2; exit 1 ;;", "it cannot be told what it changed: "),
        ("  cp*\" -\") echo no archive ;;", "it cannot be told what it changed: "),
        ("  cp*\" -\") ;;", "it changed "),
        ("  stop*) exit 1 ;;", "it cannot be told what it changed: "),
    ];
    for (case, said) in table {
        let lab = committed(case);
        may(&lab);
        run(&lab, "unit").expect(1, &[said, "checks failed: unit"]);
    }
    let broken = committed("");
    broken.write(".git/HEAD", "nonsense\n");
    run(&broken, "unit").expect(3, &["cannot list the files of "]);
    let full = committed("  cp*\" - \"*) echo 'no space left on device' >&2; exit 1 ;;");
    let ran =
        run(&full, "unit").expect(1, &["unit: first line: the working tree cannot be copied into it: exit code 1", "no space"]);
    assert!(calls(&full).lines().last().unwrap().starts_with("rm --force --volumes "), "{}", ran.stderr);
}

#[test]
fn a_released_version_is_checked_in_its_own_source() {
    let lab = Lab::new();
    lab.write(
        "docker/images.toml",
        "schema = 1\nregistry = 'localhost:1'\nversion-file = 'VERSION'\n[image.web]\n[check.own]\nrun = './own'\n\
         [on.schedule]\ncron = '0 3 * * 0'\ntags = ['{version}']\nreplace = true\n",
    );
    lab.write("VERSION", "v1.0.0\n");
    lab.write("own", "#!/bin/sh\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["update-index", "--chmod=+x", "own"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["tag", "v1.0.0"]);
    lab.write("own", "#!/bin/sh\nexit 1\n");
    lab.git(&["commit", "--quiet", "--all", "-m", "two"]);
    lab.run(&["static-checks", "--event", "schedule"]).expect(0, &["v1.0.0 is released: its own source is built"]);
}

#[test]
fn a_leg_of_a_released_version_may_be_of_a_build_that_is_no_more() {
    let lab = Lab::with_docker(&crate::lab::GOOD.replace("bake ;;", "exit 0 ;;"));
    let images = |values: &str| {
        format!(
            "schema = 1\nregistry = 'localhost:1'\nversion-file = 'VERSION'\n[axes]\np = [{values}]\n[image.web]\nvariant = '{{p}}'\n\
             [on.schedule]\ncron = '0 3 * * 0'\ntags = ['{{version}}']\nreplace = true\n"
        )
    };
    lab.write("docker/images.toml", images("'1', '2'"));
    lab.write("VERSION", "v1.0.0\n");
    lab.write(".gitignore", "/target\n/plan.json\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["tag", "v1.0.0"]);
    lab.write("docker/images.toml", images("'2'"));
    lab.git(&["commit", "--quiet", "--all", "-m", "two"]);
    let plan = lab.run(&["plan", "--event", "schedule", "--json", "--engine", "host"]).expect(0, &[]).stdout;
    lab.write("plan.json", plan);
    let part = |id: &str| lab.run(&["plan", "--plan", "plan.json", "--only", &format!("id={id}"), "--engine", "host"]);
    assert!(part("web-1").expect(0, &[]).stdout.contains("\n1 build, "));
    part("web-3").expect(2, &["no id `web-3`"]);
}

#[test]
fn ctrl_c_takes_it_down_too() {
    let lab = lab("  *\" up \"*) echo $$ > ../pid; sleep 600 ;;");
    let mut command = lab.command(&[&CHECK[..], &["--check", "stack"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !std::fs::read_to_string(lab.repo().join("../pid")).is_ok_and(|pid| pid.ends_with('\n')) {
        assert!(started.elapsed() < Duration::from_secs(300), "compose did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Ran::from(child.wait_with_output().unwrap()).expect(130, &["interrupted"]);
    assert!(calls(&lab).lines().last().unwrap().contains(" down "), "{}", calls(&lab));
}

#[test]
fn a_dry_run_leaves_the_logs_of_the_last_run() {
    let lab = lab("");
    let log = "target/slipway/logs/check-unit.log";
    lab.write(log, "what the last run said\n");
    let ran = lab.run(&[&CHECK[..], &["--check", "unit", "--dry-run"]].concat());
    ran.expect(0, &["docker exec slipway-check-unit-"]);
    assert_eq!(std::fs::read_to_string(lab.repo().join(log)).unwrap(), "what the last run said\n");
    let ran = lab.run(&[&CHECK[..], &["--check", "stack", "--dry-run"]].concat());
    ran.expect(0, &[" up --detach ", " down "]);
    assert!(!lab.repo().join("target/slipway/compose-stack.yml").exists());
}
