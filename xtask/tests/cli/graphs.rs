//! Images on top of images, folders of services, odd contexts: what is wrong is said before anything is built.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use crate::lab::{GOOD, Lab};

const HEAD: &str = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n";

/// (configuration after its head, (file, text) …, words of the error)
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn wrong_graphs() {
    let rows: [Row; 10] = [
        (
            "[image.a]\ndockerfile = \"A\"\nparent = \"b\"\n[image.b]\ndockerfile = \"B\"\nparent = \"a\"\n",
            &[("A", "FROM b\n"), ("B", "FROM a\n")],
            &["docker/images.toml:", "parents of each other: a -> b -> a"],
        ),
        ("[image.a]\nparent = \"bass\"\n[image.base]\n", &[], &["docker/images.toml:5:", "bass", "base"]),
        (
            "[axes]\nn = [\"1\", \"2\"]\n[image.base]\nvariant = \"{n}\"\nexclude = [\"n=2\"]\ndockerfile = \"B\"\n\
             [image.a]\nvariant = \"{n}\"\nparent = \"base\"\ndockerfile = \"A\"\n",
            &[("A", "FROM base\n"), ("B", "FROM scratch\n")],
            &["base", "n=2"],
        ),
        ("[image.base]\n[image.a]\nparent = \"base\"\n", &[], &["parent = \"base\"", "no FROM of it", "FROM base"]),
        ("[image.base]\n[image.a]\ndockerfile = \"A\"\n", &[("A", "FROM ghcr.io/acme/base:latest\n")], &["a", "base", "parent"]),
        (
            "[image.base]\nplatforms = [\"linux/amd64\"]\n\
             [image.a]\ndockerfile = \"A\"\nparent = \"base\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n",
            &[("A", "FROM base\n")],
            &["a is for linux/arm64, but its parent base is not", "hint: add it to the platforms of image.base"],
        ),
        ("[image.a]\nplatforms = [\"linux/arm46\"]\n", &[], &["docker/images.toml:5:", "linux/arm46", "linux/arm64"]),
        (
            "[image.a]\nrepository = \"acme/x\"\n[image.b]\nrepository = \"acme/x\"\n[on.tag]\ntags = [\"latest\"]\n",
            &[],
            &["acme/x", "a", "b"],
        ),
        (
            "[axes]\nservice = { dirs = \"services/*\" }\n[image.service]\nvariant = \"{service}\"\ncontext = \"services/{service}\"\n",
            &[("services/README.md", "nothing\n")],
            &["services/*"],
        ),
        (
            "[axes]\nservice = { dirs = \"services/*\" }\n[image.service]\nvariant = \"{service}\"\ncontext = \"services/{service}\"\n\
             repository = \"{namespace}/{service}\"\n",
            &[("services/Web Shop/Dockerfile", "FROM scratch\n")],
            &["Web Shop"],
        ),
    ];
    for (config, files, words) in rows {
        let lab = Lab::new();
        lab.write("docker/images.toml", format!("{HEAD}{config}"));
        files.iter().for_each(|(path, text)| lab.write(path, text));
        let event = if config.contains("[on.tag]") { "tag:v1.0.0" } else { "pr:1" };
        lab.run(&["plan", "--event", event]).expect(2, words);
    }
}

#[test]
fn a_source_that_is_not_there_is_said_before_the_build() {
    let lab = Lab::new();
    lab.write("Dockerfile", "FROM scratch\nCOPY absent.txt /\n");
    lab.run(&["plan"]).expect(0, &["web: Dockerfile takes absent.txt, which is not in the context"]);
    // There, but .dockerignore leaves it out: for BuildKit that is the same.
    lab.write("absent.txt", "x");
    lab.run(&["plan"]).expect(0, &[]);
    lab.write(".dockerignore", "*\n");
    lab.run(&["plan"]).expect(0, &["absent.txt"]);
}

#[test]
fn links_in_circles_and_sockets_in_the_context_end_no_plan() {
    let lab = Lab::new();
    lab.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    symlink("loop-b", lab.repo().join("loop-a")).unwrap();
    symlink("loop-a", lab.repo().join("loop-b")).unwrap();
    symlink("..", lab.repo().join("up")).unwrap();
    let _socket = UnixListener::bind(lab.repo().join("socket")).unwrap();
    let first = lab.run(&["plan", "--json"]).expect(0, &[]).stdout;
    assert_eq!(first, lab.run(&["plan", "--json"]).expect(0, &[]).stdout, "the same bytes");
}

#[test]
fn names_that_differ_in_case_alone_are_two_files() {
    let key = |lab: &Lab| {
        let plan: serde_json::Value = serde_json::from_str(&lab.run(&["plan", "--json"]).expect(0, &[]).stdout).unwrap();
        plan["builds"][0]["key"].clone()
    };
    let lab = Lab::new();
    lab.write("Dockerfile", "FROM scratch\nCOPY App.txt app.txt /\n");
    lab.write("app.txt", "1");
    lab.write("App.txt", "1");
    let before = key(&lab);
    lab.write("App.txt", "2");
    assert_ne!(before, key(&lab));
}

#[test]
fn a_folder_without_a_dockerfile_is_no_service_and_a_new_one_needs_no_line() {
    let lab = Lab::new();
    let config = "[axes]\nservice = { dirs = \"services/*\" }\n[image.service]\nvariant = \"{service}\"\ncontext = \"services/{service}\"\n";
    lab.write("docker/images.toml", format!("{HEAD}{config}"));
    lab.write("services/api/Dockerfile", "FROM scratch\n");
    lab.write("services/notes/README.md", "no service\n");
    let plan = lab.run(&["plan"]).expect(0, &[]).stdout;
    assert!(plan.contains("service-api") && !plan.contains("notes"), "{plan}");
    lab.write("services/notes/Dockerfile", "FROM scratch\n");
    assert!(lab.run(&["plan"]).expect(0, &[]).stdout.contains("service-notes"));
}

#[test]
fn a_base_that_vanished_between_plan_and_build_is_named() {
    let says = "bake() { echo 'ERROR: failed to solve: python:3.11-slim: failed to resolve source metadata for \
                docker.io/library/python:3.11-slim@sha256:0: not found' >&2; exit 1; }\n";
    let lab = Lab::with_docker(&format!("{says}{GOOD}"));
    lab.write("Dockerfile", "FROM python:3.11-slim\n");
    lab.run(&["ci-build", "--mode", "test", "--engine", "host"]).expect(1, &["web: ", "python:3.11-slim", "not found"]);
}

#[test]
fn a_leg_of_several_builds_is_named_by_all_of_them() {
    let lab = Lab::new();
    let child = "[image.a]\ndockerfile = \"A\"\nparent = \"base\"\n[image.other]\ndockerfile = \"A\"\nparent = \"base\"\n";
    lab.write("docker/images.toml", format!("{HEAD}[image.base]\n{child}[image.web]\n"));
    lab.write("A", "FROM base\n");
    let github = lab.run(&["plan", "--event", "pr:1", "--format", "github"]).expect(0, &[]).stdout;
    assert!(github.contains(r#""id":"base+other+a""#), "{github}");
    let leg = lab.run(&["plan", "--event", "pr:1", "--only", "id=base+other+a"]).expect(0, &[]).stdout;
    assert!(leg.contains("3 builds"), "{leg}");
    lab.run(&["plan", "--only", "id=base+nope"]).expect(2, &["no id `nope`"]);
}

#[test]
fn a_password_never_lies_in_the_checkout() {
    let keeps = "case \"$1\" in login) read -r word; echo \"$word\" > \"$DOCKER_CONFIG/config.json\"; exit ;; esac\n";
    let lab = Lab::with_docker(&format!("{keeps}{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    let mut login = lab.command(&["login", "--engine", "host"]);
    let ran = login.env("DOCKER_USERNAME", "me").env("DOCKER_PASSWORD", "tea-for-two").output().unwrap();
    crate::lab::Ran::from(ran).expect(0, &["logged in"]);
    let holds = |folder: &std::path::Path| {
        let found = std::process::Command::new("grep").args(["-r", "-l", "tea-for-two"]).arg(folder).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    assert_eq!(holds(&lab.repo()), "", "builds, checks and uploads take files of it");
    assert!(holds(&lab.secrets()).ends_with("/docker/config.json\n"));
}

#[test]
fn who_only_looks_is_logged_in_as_well() {
    let keeps = "case \"$1\" in login) read -r word; exit 0 ;; esac\n";
    let answers =
        "case \"$*\" in *imagetools*) echo \"$DOCKER_CONFIG\" >> ../configs; echo 'ERROR: not found' >&2; exit 1 ;; esac\n";
    let lab = Lab::with_docker(&format!("{keeps}{answers}{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}[cache]\n[image.web]\n"));
    lab.write("Dockerfile", "FROM python:3.11-slim\n");
    let mut login = lab.command(&["login", "--engine", "host"]);
    let ran = login.env("DOCKER_USERNAME", "me").env("DOCKER_PASSWORD", "tea-for-two").output().unwrap();
    crate::lab::Ran::from(ran).expect(0, &["logged in"]);
    lab.run(&["plan", "--resolve", "--engine", "host"]).expect(0, &[]);
    lab.run(&["cache", "report", "--engine", "host"]).expect(0, &[]);
    let configs = std::fs::read_to_string(lab.repo().join("../configs")).unwrap();
    let own = lab.secrets().display().to_string();
    assert!(configs.lines().count() >= 2 && configs.lines().all(|config| config.starts_with(&own)), "{configs}");
}

#[test]
fn a_dry_run_of_the_whole_pipeline_goes_to_its_end() {
    let absent = "case \"$*\" in *imagetools*) echo 'ERROR: not found' >&2; exit 1 ;; esac\n";
    let lab = Lab::with_docker(&format!("{absent}{GOOD}"));
    let check = "[check.own]\nin = \"web\"\nrun = \"true\"\n";
    lab.write(
        "docker/images.toml",
        format!("{HEAD}[image.web]\ntest.run = \"true\"\n{check}[on.branch.main]\ntags = [\"{{sha7}}\", \"latest\"]\n"),
    );
    lab.write(".gitignore", "/target\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    for event in ["branch:main", "local"] {
        for rehearse in [&[][..], &["--rehearse"]] {
            lab.program("crane", "echo 'Error: MANIFEST_UNKNOWN: no' >&2; exit 1");
            if rehearse.is_empty() {
                std::fs::remove_file(lab.repo().join("../bin/crane")).unwrap();
            }
            let ran = lab.run(&[&["ci", "--dry-run", "--engine", "host", "--event", event], rehearse].concat());
            let ran = ran.expect(0, &["$ ", " buildx bake "]);
            assert!(ran.stdout.contains("would test web\nwould run check own\n"), "{}", ran.stdout);
            assert_eq!(ran.stdout.contains("/web:latest"), event == "branch:main", "{}", ran.stdout);
        }
    }
}

#[test]
fn logout_leaves_nothing_of_a_login_that_was_killed() {
    // Killed as soon as docker has the password; `$PPID` is the program that called it.
    let lab = Lab::with_docker(&format!("case \"$1\" in login) kill -9 $PPID ;; esac\n{GOOD}"));
    lab.program("rm", "exec /bin/rm \"$@\"");
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    let mut login = lab.command(&["login", "--engine", "host"]);
    let killed = login.env("DOCKER_USERNAME", "me").env("DOCKER_PASSWORD", "secret").output().unwrap();
    assert!(!killed.status.success());
    let left = || lab.secrets().read_dir().map_or(0, Iterator::count);
    assert_eq!(left(), 1, "what a login has begun");
    lab.run(&["logout"]).expect(0, &["logged out"]);
    assert_eq!(left(), 0);
    lab.run(&["logout"]).expect(0, &["nobody is logged in here"]);
}

#[test]
fn a_dry_run_logs_nobody_in_or_out() {
    let lab = Lab::with_docker(GOOD);
    lab.program("rm", "exec /bin/rm \"$@\"");
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    let login = |flags: &[&str]| {
        let mut login = lab.command(&[&["login", "--engine", "host"], flags].concat());
        crate::lab::Ran::from(login.env("DOCKER_USERNAME", "me").env("DOCKER_PASSWORD", "secret").output().unwrap())
    };
    login(&["--dry-run"]).expect(0, &["docker login --username me"]);
    assert!(!lab.secrets().exists());
    login(&[]).expect(0, &["logged in"]);
    let ran = lab.run(&["logout", "--dry-run"]).expect(0, &["rm -r -f"]);
    assert!(!ran.stderr.contains("logged out"), "{}", ran.stderr);
    assert!(lab.secrets().exists());
}

#[test]
fn the_login_is_there_for_doctor_as_it_is_for_login() {
    let lab = Lab::with_docker(GOOD);
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    let said = |env: &[(&str, &str)]| {
        let ran = lab.command(&["doctor", "--engine", "host", "--json"]).envs(env.iter().copied()).output().unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        let row = rows.as_array().unwrap().iter().find(|row| row["what"] == "login").unwrap();
        row["found"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(&[("DOCKER_USERNAME", "me"), ("DOCKER_PASSWORD", "")]), "DOCKER_PASSWORD not set");
    assert_eq!(said(&[("GITHUB_ACTOR", "me"), ("GITHUB_TOKEN", "x")]), "GITHUB_ACTOR and GITHUB_TOKEN are set");
}

#[test]
fn what_was_undone_and_left_out_as_json() {
    let (one, two) = (format!("sha256:{}", "1".repeat(64)), format!("sha256:{}", "2".repeat(64)));
    let lab = Lab::with_docker(&format!("case \"$*\" in *Manifest.Digest*) echo {one}; exit ;; esac\n{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    lab.write("j.jsonl", format!("{{\"tag\": \"ghcr.io/acme/web:latest\", \"old\": \"{one}\", \"new\": \"{two}\"}}\n"));
    let json = |args: &[&str]| -> serde_json::Value {
        let ran = lab.run(&[args, &["--engine", "host", "--json"]].concat()).expect(0, &[]);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let undone = json(&["release", "--undo", "j.jsonl"]);
    assert_eq!((&undone[0]["tag"], &undone[0]["back"]), (&"ghcr.io/acme/web:latest".into(), &true.into()), "{undone:#}");

    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    lab.write("README.md", "no image takes it\n");
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "two"]);
    let skipped = json(&["explain", "web", "--event", "pr:1"]);
    assert!(skipped[0]["id"] == "web" && skipped[0]["skipped"].is_array(), "{skipped:#}");
}

#[test]
fn a_base_that_is_denied_takes_none_of_its_neighbours_along() {
    let digest = format!("sha256:{}", "1".repeat(64));
    // The denied one is asked first and answers first.
    let lab = Lab::with_docker(&format!(
        r#"case "$*" in
  *Manifest.Digest*" r.example/a-secret:1") echo "ERROR: r.example/a-secret:1: 403 Forbidden" >&2; exit 1 ;;
  *Manifest.Digest*" r.example/"*) sleep 0.5; echo {digest} ;;
  *imagetools*) echo '{{"rootfs": {{}}, "config": {{}}}}' ;;
esac"#
    ));
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n");
    let others: String = (1..=6).map(|at| format!("COPY --from=r.example/b:{at} /a /{at}\n")).collect();
    lab.write("Dockerfile", format!("FROM r.example/a-secret:1\n{others}"));
    let plan = lab.run(&["plan", "--resolve", "--json", "--engine", "host"]).expect(0, &[]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let pinned: Vec<_> =
        (1..=6).map(|at| serde_json::json!([format!("r.example/b:{at}"), format!("r.example/b@{digest}")])).collect();
    assert_eq!(plan["builds"][0]["parents"], serde_json::Value::from(pinned));
}

#[test]
fn a_plan_with_what_only_a_registry_knew_of_a_base_is_taken() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let lab = Lab::with_docker(&format!(
        r#"case "$*" in
  *Manifest.Digest*) echo {digest} ;;
  *imagetools*) echo '{{"rootfs": {{}}, "config": {{"OnBuild": ["COPY . /app"]}}}}' ;;
esac
{GOOD}"#
    ));
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n[image.other]\n");
    lab.write("Dockerfile", "FROM r.example/base:1\nCOPY a /\n");
    lab.write(".dockerignore", "plan.json\ntarget\n");
    lab.write("a", "1");
    let plan = lab.run(&["plan", "--resolve", "--json", "--engine", "host"]).expect(0, &[]).stdout;
    assert!(plan.contains("has ONBUILD steps"), "{plan}");
    lab.write("plan.json", plan);
    let handed = ["ci-build", "--mode", "test", "--plan", "plan.json", "--dry-run", "--engine", "host"];
    lab.run(&handed).expect(0, &["buildx bake"]);
    lab.write("b", "2");
    lab.run(&handed).expect(4, &["the plan is of other files: copy:."]);
}

#[test]
fn a_plan_of_images_that_hold_dot_git_is_taken_in_another_clone_and_nothing_of_it_is_reused() {
    let lab = Lab::with_docker(&format!("case \"$*\" in *imagetools*) echo 'ERROR: not found' >&2; exit 1 ;; esac\n{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n[image.other]\n[on.branch.main]\ntags = [\"latest\"]\n"));
    lab.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    lab.write(".dockerignore", "target\n");
    lab.write(".git/info/exclude", "target\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    let plan = lab.run(&["plan", "--json", "--event", "branch:main"]);
    let plan = plan.expect(0, &["warning: never reused: .git is taken, which is another one in each clone"]).stdout;
    let of: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(of["warnings"].to_string().matches(".git is taken").count(), 1, "once: {}", of["warnings"]);
    assert!(of["builds"][0]["reasons"].to_string().contains("nothing built before is sure to be the same: .git is taken"));
    assert!(of["builds"][0]["inputs"].to_string().contains("always"), "{of:#}");
    lab.write("target/plan.json", &plan);
    lab.write(".git/FETCH_HEAD", "what another clone has\n");
    let ran = lab.run(&["ci-build", "--mode", "test", "--plan", "target/plan.json", "--dry-run", "--engine", "host"]);
    ran.expect(0, &["buildx bake"]);
    assert_eq!(plan, lab.run(&["plan", "--json", "--event", "branch:main"]).expect(0, &[]).stdout);
}

#[test]
fn a_version_is_not_begun_that_could_not_be_released() {
    let lab = Lab::with_docker(&format!("case \"$*\" in *imagetools*) echo 'ERROR: not found' >&2; exit 1 ;; esac\n{GOOD}"));
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n"));
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    let ran = lab.run(&["ci", "--event", "tag:v1.0.0", "--engine", "host"]);
    let ran = ran.expect(3, &["cannot release a version without crane", "hint: install crane"]);
    assert!(!ran.stderr.contains("▸"), "nothing was begun: {}", ran.stderr);
}

#[test]
fn what_is_made_up_for_is_pinned_as_well() {
    let digest = format!("sha256:{}", "1".repeat(64));
    let lab = Lab::with_docker(&format!(
        r#"case "$*" in
  *Manifest.Digest*" python:3.11-slim") echo {digest} ;;
  *Manifest.Digest*) echo "ERROR: ghcr.io/acme/web:latest: not found" >&2; exit 1 ;;
  *imagetools*) echo '{{"rootfs": {{}}, "config": {{}}}}' ;;
esac"#
    ));
    lab.write("docker/images.toml", format!("{HEAD}[image.web]\n[on.branch.main]\ntags = [\"latest\"]\n"));
    lab.write("Dockerfile", "FROM python:3.11-slim\n");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(lab.repo()).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(args);
        assert!(git.output().unwrap().status.success(), "{args:?}");
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "its run failed"]);
    git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    lab.write("README.md", "no image takes it\n");
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "read me"]);
    let plan = lab.run(&["plan", "--resolve", "--json", "--engine", "host", "--event", "branch:main"]).expect(0, &[]).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let build = &plan["builds"][0];
    assert!(build["reasons"].to_string().contains("was never published"), "{plan:#}");
    assert_eq!(build["parents"], serde_json::json!([["python:3.11-slim", format!("python@{digest}")]]));
    assert!(!build["inputs"].to_string().contains("always"), "{plan:#}");
}
