//! Wrong flags, files and places: one clear error with a way out, and nothing lost.

use std::fmt::Write as _;
use std::path::Path;

use crate::lab::{GOOD, IMAGES, Lab};

/// (arguments, words of the error)
type Row = (&'static [&'static str], &'static [&'static str]);

#[test]
fn wrong_flags() {
    let rows: [Row; 15] = [
        (&["plan", "--only", "image=nope"], &["no image `nope`", "known: web"]),
        (&["plan", "--only", "id=web-nope"], &["web"]),
        (&["plan", "--only", "colour=red"], &["colour", "--only"]),
        (&["plan", "--event", "pr"], &["needs to say which one", "pr:12"]),
        (&["plan", "--event", "branch:feature/x y"], &["git allows no space"]),
        (&["plan", "--event", "brunch:main"], &["did you mean branch:dev"]),
        (&["plan", "--event", "xyz"], &["unknown event `xyz` (known: "]),
        (&["plan", "--event-file", "none.json"], &["cannot read the event file none.json"]),
        (&["plan", "--event-file", "list.json"], &["cannot understand the event file list.json", "hint: "]),
        (&["plan", "--plan", "none.json"], &["cannot read the plan none.json"]),
        (&["plan", "--plan", "list.json"], &["cannot understand the plan list.json", "plan --json"]),
        (&["plan", "--registry", "https://ghcr.io"], &["is no host", "hint: "]),
        (&["plan", "--config", "none.toml"], &["there is no none.toml in", "hint: "]),
        (&["plan", "--repo", "none"], &["cannot find the repository none"]),
        (&["plan", "--jobs", "0"], &["--jobs"]),
    ];
    let lab = Lab::new();
    lab.write("list.json", "[]");
    for (args, words) in rows {
        lab.run(args).expect(2, words);
    }
}

/// There is no docker: what gets as far as looking for one ends with exit code 3.
#[test]
fn wrong_arguments_before_an_engine_is_looked_for() {
    let lab = Lab::new();
    let images = "schema = 1\nversion-file = 'VERSION'\n[axes]\na = ['1', '2']\n[image.web]\nvariant = '{a}'\n\
                  test = { run = 'true', deps.gpu = 'true' }\n[check.unit]\nin = 'web-1'\nrun = 'true'\n\
                  [check.static]\nrun = 'true'\n";
    lab.write("docker/images.toml", images);
    lab.write("VERSION", "v1.0.0");
    lab.write("list.json", "[]");
    lab.write("target/slipway/journal-7.jsonl", "{}\n");
    let plan = lab.run(&["plan", "--json", "--only", "a=1"]).expect(0, &[]).stdout;
    lab.write("plan.json", plan);
    let rows: [Row; 13] = [
        (&["--only", "image=nope"], &["no image `nope` (known: web)"]),
        (&["--only", "a=1,a=2"], &["--only selects nothing", "hint: there are web-1, web-2"]),
        (&["--event", "pr"], &["pr:12"]),
        (&["--event", "brunch:main"], &["did you mean branch:dev"]),
        (&["--event", "tag:v2.0.0"], &["the tag is v2.0.0, but VERSION says v1.0.0"]),
        (&["--event-file", "none.json"], &["cannot read the event file none.json"]),
        (&["--event-file", "list.json"], &["cannot understand the event file list.json"]),
        (&["--plan", "none.json"], &["cannot read the plan none.json"]),
        (&["--plan", "list.json"], &["cannot understand the plan list.json"]),
        (&["--plan", "plan.json", "--only", "a=2"], &["--only selects nothing of this plan", "there are web-1"]),
        (&["--builders", "a,,b"], &["--builders"]),
        (&["--builders", "a,b,a"], &["--builders names a twice"]),
        (&["--registry", "https://ghcr.io"], &["is no host"]),
    ];
    let tasks: [&[&str]; 8] = [
        &["ci-build", "--mode", "test"],
        &["ci-build", "--mode", "push"],
        &["docker-test"],
        &["scan"],
        &["ci"],
        &["ci", "--rehearse"],
        &["release"],
        &["login"],
    ];
    for (args, words) in rows {
        for task in tasks {
            lab.run(&[task, args, &["--engine", "host"]].concat()).expect(2, words);
        }
    }
    let own: [Row; 9] = [
        (&["docker-test", "--check", "nit"], &["no check is called nit (did you mean `unit`?)"]),
        (&["docker-test", "--check", "static"], &["runs on this machine", "cargo xtask static-checks"]),
        (&["docker-test", "--deps", "gpus"], &["no test has a set of dependencies called gpus (did you mean `gpu`?)"]),
        (&["release", "--undo", "nope"], &["there is no journal nope (known: ", "target/slipway/journal-7.jsonl)"]),
        (&["release", "--undo", "target/slipway/journal-7.jsonl"], &["journal-7.jsonl:1: not a line of a journal"]),
        (&["release", "--undo", "docker"], &["cannot read the journal docker"]),
        (&["release", "--to", "latest"], &["cannot release latest: "]),
        (&["explain", "wbe"], &["no build or image is called wbe (did you mean `web`?)"]),
        (&["explain", "web-3", "--if", "Dockerfile"], &["no build or image is called web-3 (did you mean `web-"]),
    ];
    for (args, words) in own {
        lab.run(&[args, &["--engine", "host"]].concat()).expect(2, words);
    }
    for args in [&["docker-test", "--check", "unit"][..], &["docker-test", "--deps", "gpu"], &["release", "--to", "v0.9.0"]] {
        lab.run(&[args, &["--engine", "host"]].concat()).expect(3, &["no Docker answers"]);
    }
}

#[test]
fn actions_without_an_event_says_how_to_name_it() {
    let lab = Lab::new();
    let ran = lab.command(&["plan"]).env("GITHUB_ACTIONS", "true").output().unwrap();
    crate::lab::Ran::from(ran).expect(2, &["GITHUB_EVENT_NAME is not set", "hint: say it with --event"]);
}

#[test]
fn wrong_files() {
    let rows: [(&str, &[u8], &[&str]); 8] = [
        ("docker/images.toml", b"schema = 1\n[image.web]\nparrent = 'x'\n", &["docker/images.toml:3:", "parrent", "parent"]),
        ("docker/images.toml", b"schema = 1\n[image.web]\npublish = 'yes'\n", &["docker/images.toml:3:"]),
        ("docker/images.toml", b"schema = 1\n[image.w\xff]\n", &["docker/images.toml:2: not UTF-8"]),
        ("docker/images.toml", b"schema = 1\n\0[image.web]\n", &["docker/images.toml:2:"]),
        ("docker/images.toml", b"schema = 1\n[image.web]\ndockerfile = '../D'\n", &["docker/images.toml:3:"]),
        ("docker/images.toml", b"schema = 1\n[image.web]\ndockerfile = 'docker'\n", &["is a folder"]),
        ("docker/images.toml", b"", &["docker/images.toml"]),
        ("Dockerfile", b"FRM scratch\n", &["Dockerfile"]),
    ];
    for (path, bytes, words) in rows {
        let lab = Lab::new();
        lab.write(path, bytes);
        lab.run(&["plan"]).expect(2, words);
    }
    let lab = Lab::new();
    std::fs::remove_file(lab.repo().join("Dockerfile")).unwrap();
    lab.run(&["plan"]).expect(2, &["`Dockerfile` of `web` does not exist"]);
    std::fs::remove_dir_all(lab.repo().join("docker")).unwrap();
    lab.run(&["plan"]).expect(2, &["there is no docker/images.toml in", "--repo"]);
}

#[test]
fn a_version_file_that_holds_no_version() {
    for (text, words) in [("", "VERSION"), ("v1.0.0\nv1.0.1\n", "VERSION"), ("latest\n", "latest")] {
        let lab = Lab::new();
        lab.write("docker/images.toml", format!("schema = 1\nversion-file = 'VERSION'\n{}", &IMAGES[11..]));
        lab.write("VERSION", text);
        lab.run(&["plan"]).expect(2, &[words]);
    }
}

#[test]
fn a_folder_that_is_gone() {
    let lab = Lab::new();
    let gone = lab.repo().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let ran = lab.limited(&format!("cd {0} && rmdir {0}", gone.display()), &["plan"]);
    ran.expect(2, &["cannot tell the current folder", "hint: "]);
}

#[test]
fn without_git_everything_is_planned() {
    let ran = Lab::new().run(&["plan", "--event", "pr:12", "--json"]).expect(0, &[]);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&plan["commit"], plan["builds"].as_array().unwrap().len()), (&serde_json::Value::Null, 1));
    assert!(plan["builds"][0]["reasons"][0].as_str().unwrap().contains("is not in a git repository"), "{plan:#}");
    assert_eq!(Lab::new().run(&["check-deps", "--event", "pr:12"]).expect(0, &["not in a git repository"]).stdout, "true\n");
}

#[test]
fn ten_thousand_builds() {
    let lab = Lab::new();
    let values = |n: usize| (0..n).fold(String::new(), |mut list, i| write!(list, "\"v{i}\",").map(|()| list).unwrap());
    lab.write(
        "docker/images.toml",
        format!("schema = 1\n[axes]\na = [{}]\nb = [{}]\n[image.web]\nvariant = \"{{a}}-{{b}}\"\n", values(100), values(100)),
    );
    let ran = lab.run(&["plan", "--json"]).expect(0, &[]);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plan["builds"].as_array().unwrap().len(), 10_000);
}

/// Whatever is at `path` and below, by name.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        path.read_dir().unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let lab = Lab::new();
    lab.write(
        "docker/images.toml",
        "schema = 1\n[image.web]\ntemplate = \"docker/D.j2\"\ndockerfile = \"docker/out/Dockerfile\"\n",
    );
    lab.write("docker/D.j2", "FROM scratch\nLABEL a=1\n");
    lab.run(&["gen-dockerfiles"]).expect(0, &[]);
    let old = std::fs::read_to_string(lab.repo().join("docker/out/Dockerfile")).unwrap();
    lab.write("docker/D.j2", "FROM scratch\nLABEL a=2\n");
    // No byte may be written to any file, as on a full disk.
    let ran = lab.limited("ulimit -f 0; trap '' XFSZ", &["gen-dockerfiles"]);
    ran.expect(1, &["cannot write ", "docker/out/Dockerfile"]);
    assert_eq!(std::fs::read_to_string(lab.repo().join("docker/out/Dockerfile")).unwrap(), old);
    assert_eq!(names(&lab.repo().join("docker/out")), ["Dockerfile"], "something is left");
    lab.run(&["gen-dockerfiles", "--check"]).expect(1, &["-LABEL a=1", "+LABEL a=2", "gen-dockerfiles"]);
}

#[test]
fn hostile_templates_end() {
    for (template, words) in [
        ("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", "fuel"),
        ("FROM {{ nope }}", "undefined"),
        ("{% if %}", "docker/D.j2:1"),
    ] {
        let lab = Lab::new();
        lab.write("docker/images.toml", "schema = 1\n[image.web]\ntemplate = \"docker/D.j2\"\ndockerfile = \"docker/D\"\n");
        lab.write("docker/D.j2", template);
        lab.run(&["plan"]).expect(2, &[words]);
    }
    let lab = Lab::new();
    lab.write("docker/images.toml", "schema = 1\n[image.web]\ntemplate = \"docker\"\ndockerfile = \"docker/D\"\n");
    lab.run(&["plan"]).expect(2, &["template `docker` of `web` is a folder"]);
}

#[test]
fn a_plan_of_another_commit_is_refused() {
    let lab = Lab::with_docker(&format!("bake() {{ exit 1; }}\n{GOOD}"));
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let done =
            command.current_dir(lab.repo()).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(args).output();
        assert!(done.unwrap().status.success(), "{args:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "one"]);
    let plan = lab.run(&["plan", "--json"]).expect(0, &[]).stdout;
    std::fs::write(lab.repo().join("../plan.json"), plan).unwrap();
    lab.write("Dockerfile", "FROM scratch\nLABEL changed=1\n");
    let args = ["ci-build", "--mode", "test", "--engine", "host", "--plan", "../plan.json"];
    lab.run(&args).expect(4, &["the plan is of other files: dockerfile of web", "hint: plan again"]);
    git(&["checkout", "--quiet", "Dockerfile"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let build = lab.run(&["ci-build", "--mode", "test", "--engine", "host", "--plan", "../plan.json"]);
    build.expect(4, &["the plan is of ", "the checkout is at ", "hint: check that commit out, or plan again"]);
}

#[test]
fn a_plan_of_other_settings_is_refused() {
    let images = "schema = 1\n[image.web]\nplatforms = ['linux/amd64']\nargs = { A = '1', T = '{timestamp}' }\nlabels.l = 'x'\n\
                  target = 'one'\ntest = { run = 'true' }\n";
    let lab = Lab::with_docker(&format!("bake() {{ exit 1; }}\n{GOOD}"));
    lab.write("docker/images.toml", images);
    lab.write("Dockerfile", "FROM scratch AS one\nLABEL a=1\nFROM scratch AS two\nLABEL a=2\n");
    let plan = lab.run(&["plan", "--json", "--event", "pr:1"]).expect(0, &[]).stdout;
    let build = |plan: &str| {
        std::fs::write(lab.repo().join("../plan.json"), plan).unwrap();
        lab.run(&["ci-build", "--mode", "test", "--engine", "host", "--plan", "../plan.json"])
    };
    for (old, new, name) in [
        ("A = '1'", "A = '2'", "arg:A"),
        ("A = '1'", "A = '1', B = '1'", "arg:B"),
        ("labels.l = 'x'", "labels.l = 'y'", "label:l"),
        ("labels.l = 'x'", "", "label:l"),
        ("'one'", "'two'", "target"),
        ("linux/amd64", "linux/arm64", "platforms"),
        ("run = 'true'", "run = 'false'", "tests"),
    ] {
        lab.write("docker/images.toml", images.replace(old, new));
        build(&plan)
            .expect(4, &[&format!("the plan is of other settings: {name} of web is not what it was then"), "hint: plan again"]);
    }
    lab.write("docker/images.toml", format!("{images}# the same\n"));
    build(&plan).expect(1, &["1 of 1 builds failed"]);
    // What the key does not say is not what is built.
    let mut other: serde_json::Value = serde_json::from_str(&plan).unwrap();
    other["builds"][0]["args"][0][1] = "2".into();
    build(&other.to_string()).expect(4, &["the plan is of other settings: args A of web"]);
}

#[test]
fn what_it_writes_makes_no_working_tree_dirty() {
    let lab = Lab::with_docker(&format!("bake() {{ exit 1; }}\n{GOOD}"));
    let git = |args: &[&str]| std::process::Command::new("git").current_dir(lab.repo()).args(args).output().unwrap().stdout;
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    lab.run(&["ci-build", "--mode", "test", "--engine", "host"]).expect(1, &[]);
    assert!(lab.repo().join("target/slipway").exists());
    let status = String::from_utf8(git(&["status", "--porcelain", "--untracked-files=all"])).unwrap();
    assert!(!status.contains("target"), "{status}");
}
