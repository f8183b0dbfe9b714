//! Checks with a real engine and a real compose: which images they run, and what those can't reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clone::Ran;
use crate::examples::{ci, commit};
use crate::tiny::Tiny;

const IMAGES: &str = "schema = 1\nregistry = 'ghcr.io'\nnamespace = 'NAMESPACE'\n[image.app]\n";

/// A repository with one image, which has `/worker.sh`, and these checks.
fn app(checks: &str, worker: &str) -> Tiny {
    let tiny = Tiny::new();
    tiny.write("docker/images.toml", &format!("{}{checks}", IMAGES.replace("NAMESPACE", &tiny.namespace)));
    tiny.write("Dockerfile", "FROM debian:bookworm-slim\nCOPY worker.sh /worker.sh\nCMD [\"sleep\", \"600\"]\n");
    tiny.write("worker.sh", worker);
    tiny.write(".dockerignore", "*\n!worker.sh\n");
    tiny
}

/// Every way in which compose lets people write the name of an image that is REGISTRY/NAMESPACE/app.
const SYSTEM: &str = r#"
include: [compose/included.yml]
x-worker: &worker
  image: ${REGISTRY:?}/NAMESPACE/app:${TAG:-latest}
  command: [sh, /worker.sh]
services:
  app: { image: "ghcr.io/NAMESPACE/app", init: true }
  anchor: *worker
  merged: { <<: *worker, image: "NAMESPACE/app:v9", depends_on: [app] }
  env-file: { image: "${IMAGE_FROM_FILE}", command: [sh, /worker.sh] }
  digest: { image: "${REGISTRY}/NAMESPACE/app@sha256:DIGEST", command: [sh, /worker.sh] }
  both: { image: "ghcr.io/NAMESPACE/app:x@sha256:DIGEST", command: [sh, /worker.sh] }
  built: { image: "ghcr.io/NAMESPACE/app:dev", build: { dockerfile: absent }, command: [sh, /worker.sh] }
  extended: { extends: { file: compose/base.yml, service: worker } }
  optional: { <<: *worker, profiles: [more] }
  files:
    image: debian:bookworm-slim
    command: [sh, /app/worker.sh]
    volumes: [{ type: image, source: "ghcr.io/NAMESPACE/app:latest", target: /app }]
"#;

#[test]
fn every_service_with_an_image_of_the_run_runs_that_of_the_run() {
    let mut tiny = app("[check.stack]\ncompose = 'system.yml'\n[on.tag]\ntags = ['{version}', 'latest']\n", "echo good\n");
    tiny.env.push(("REGISTRY".into(), tiny.proxy.registry()));
    let fill = |text: &str| text.replace("NAMESPACE", &tiny.namespace).replace("DIGEST", &"a".repeat(64));
    tiny.write("system.yml", &fill(SYSTEM));
    tiny.write("compose/included.yml", &fill("services: { included: { image: 'docker.io/NAMESPACE/app:x', profiles: [no] } }"));
    tiny.write(
        "compose/base.yml",
        &fill("services: { worker: { image: 'ghcr.io/NAMESPACE/app:old', command: [sh, /worker.sh] } }"),
    );
    tiny.write(".env", &fill("IMAGE_FROM_FILE=ghcr.io/NAMESPACE/app:latest\n"));
    commit(&tiny, "one");
    ci(&tiny, "tag:v1.0.0").expect(0);
    assert!(tiny.digest("app", "latest").is_some(), "it is published");

    tiny.git(&["checkout", "--quiet", "-b", "feature"]);
    tiny.write("worker.sh", "echo better\n");
    commit(&tiny, "better");
    let ran = ci(&tiny, "pr:12").expect(0);
    assert!(ran.stdout.contains("system.yml is up"), "{}", ran.stdout);
    let overlay = std::fs::read_to_string(tiny.path().join("target/slipway/compose-stack.yml")).unwrap();
    let ours = format!("    image: \"{}\"\n", tiny.local("app", "pr-12"));
    assert_eq!(overlay.matches(&ours).count(), 9, "{overlay}");
    let included = overlay.split("  \"included\":").nth(1).unwrap().split("\n  \"").next().unwrap();
    assert!(!included.contains("image:"), "Docker's own registry is written there: {overlay}");
    assert!(overlay.contains("\"type\":\"image\""), "{overlay}");

    // What is published is good all the time: a pull request that breaks the worker fails all the same.
    tiny.write("worker.sh", "echo worse\nexit 3\n");
    commit(&tiny, "two");
    let ran = ci(&tiny, "pr:12").expect(1);
    let services = ["anchor", "merged", "env-file", "digest", "both", "built", "extended", "files"];
    let ended = services.map(|service| ran.stderr.contains(&format!("{service} ended with exit code 3")));
    assert!(ended.contains(&true) && ran.stderr.contains(": worse"), "{}", ran.stderr);
}

#[test]
fn a_service_runs_the_variant_that_its_tag_is_of() {
    let tiny = Tiny::new();
    let images = "schema = 1\nregistry = 'ghcr.io'\nnamespace = 'NAMESPACE'\n[axes]\nn = ['a', 'b']\n[image.py]\nvariant = '{n}'\n\
        repository = '{namespace}/py'\nargs = { N = '{n}' }\n[check.stack]\ncompose = 'c.yml'\n[on.tag]\n\
        tags = ['{version}-{variant}', 'latest-{variant}']\n";
    tiny.write("docker/images.toml", &images.replace("NAMESPACE", &tiny.namespace));
    let service = |name: &str, tag: &str, n: &str| {
        format!("  {name}: {{ image: 'ghcr.io/{}/py{tag}', command: [grep, -q, {n}, /n] }}\n", tiny.namespace)
    };
    let services = service("one", ":v1.0.0-a", "a") + &service("two", ":latest-b", "b");
    tiny.write("c.yml", &format!("services:\n{services}"));
    commit(&tiny, "one");
    ci(&tiny, "local").expect(0);
    tiny.write("c.yml", &format!("services:\n{services}{}", service("three", "", "a")));
    commit(&tiny, "two");
    let ran = tiny.command(&["docker-test", "--event", "local"]).output().unwrap();
    let ran = Ran::from(ran).expect(2);
    let said = "py, which could be of py-a, py-b: write a tag that one of them alone has";
    assert!(ran.stderr.contains("the service three runs ghcr.io/") && ran.stderr.contains(said), "{}", ran.stderr);
}

/// Name → what is there, with the links as links and `.git` but not `target`.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            // Git itself renews its index.
            if path == root.join("target") || path.ends_with(".git/index") {
                continue;
            }
            let is = if metadata.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else if metadata.is_symlink() {
                format!("link {}", path.read_link().unwrap().display())
            } else {
                format!("{:?} {:?}", metadata.permissions(), std::fs::read(&path).unwrap())
            };
            found.insert(path, is);
        }
    }
    found
}

/// What a hostile image does to the tree that it gets: everything that this machine might read, run or follow afterwards.
const HOSTILE: &str = r#"
cd "$1" || exit 8
victim=$2
[ "$3" = copy ] && { [ -e .git ] || [ -L .git ] || [ -e target ] || [ -e ignored ] || [ -e sub/.git ]; } && exit 9
evil='touch '$victim.ran
for git in .git sub/.git new/.git; do
  rm -f $git
  mkdir -p $git/hooks $git/info $git/objects $git/refs && {
    printf '[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "%s"\n\thooksPath = hooks\n\tpager = "%s"\n' "$evil" "$evil" > $git/config
    printf '[filter "x"]\n\tclean = "%s"\n\tsmudge = "%s"\n\tprocess = "%s"\n' "$evil" "$evil" "$evil" >> $git/config
    printf '[diff]\n\texternal = "%s"\n[alias]\n\tstatus = "!%s"\n' "$evil" "$evil" >> $git/config
    echo 'ref: refs/heads/main' > $git/HEAD
    printf '#!/bin/sh\n%s\n' "$evil" > $git/hooks/post-index-change
    chmod 755 $git/hooks/post-index-change
    echo '* filter=x' > $git/info/attributes
  }
done
mkdir -p bare/objects bare/refs && cp .git/config .git/HEAD bare/
mkdir -p target/slipway/logs target/debug
for file in target/slipway/logs/check-evil.log target/slipway/logs/check-evil.xml target/slipway/tests.json \
  target/slipway/receipt.json target/slipway/plan.json target/slipway/lock target/slipway/.gitignore; do
  ln -sfn $victim $file
done
printf '#!/bin/sh\n%s\n' "$evil" > target/debug/xtask; chmod 755 target/debug/xtask
if [ "$3" = copy ]; then
  mkdir -p .cargo xtask
  echo '* filter=x' > .gitattributes
  printf '[build]\nrustc-wrapper = "/evil"\n' > .cargo/config.toml
  for file in rust-toolchain build.rs xtask/build.rs docker-compose.override.yml .env conftest.py sitecustomize.py; do
    echo evil > $file
  done
  ln -s $victim link; ln -s / root; mkfifo pipe; mknod disk b 8 0; cp /bin/sh suid; chmod 4755 suid
fi
exit 0
"#;

/// A repository whose image is hostile, with a repository in it; and a file elsewhere.
fn hostile(checks: &str) -> (Tiny, tempfile::TempDir, String) {
    let tiny = app(checks, HOSTILE);
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim").to_str().unwrap().to_owned();
    std::fs::write(&victim, "mine\n").unwrap();
    tiny.edit("docker/images.toml", "VICTIM", &victim);
    tiny.write("text", "one\n");
    tiny.write("sub/a", "1\n");
    tiny.write(".gitignore", "/target\n/ignored\n");
    tiny.write("ignored", "secret\n");
    tiny.git(&["-C", "sub", "init", "--quiet"]);
    tiny.git(&["-C", "sub", "add", "a"]);
    tiny.git(&["-C", "sub", "commit", "--quiet", "-m", "a"]);
    commit(&tiny, "one");
    (tiny, elsewhere, victim)
}

fn is_untouched(tiny: &Tiny, victim: &str, before: &BTreeMap<PathBuf, String>) {
    let after = tree(&tiny.path());
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let all: Vec<&PathBuf> = before.keys().chain(after.keys()).filter(differs).collect();
    assert!(all.is_empty(), "{all:?}");
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "mine\n");
    let status = tiny.engine("git status --porcelain && git -C sub status --porcelain").expect(0);
    assert_eq!(status.stdout, "");
    assert!(!Path::new(&format!("{victim}.ran")).exists(), "something of the image ran here");
    for path in ["logs/check-evil.log", "logs/check-evil.xml", "tests.json", "lock", ".gitignore"] {
        let path = tiny.path().join("target/slipway").join(path);
        assert!(!path.is_symlink(), "{} is a link", path.display());
    }
}

const EVIL: &str = "[check.evil]\nin = 'app'\nrun = 'sh /worker.sh /workspace VICTIM copy'\ntimeout = '5m'\n";

#[test]
fn an_image_does_not_reach_the_host() {
    let (tiny, _elsewhere, victim) = hostile(EVIL);
    let before = tree(&tiny.path());
    let ran = ci(&tiny, "local").expect(0);
    assert!(ran.stdout.contains("sh /worker.sh"), "{}", ran.stdout);
    is_untouched(&tiny, &victim, &before);
    let left = tiny.engine(&format!("docker ps -aq --filter label=dev.slipway.checkout={}", tiny.path().display())).expect(0);
    assert_eq!(left.stdout, "");

    // In a work tree whose `.git` is a file, too; its repository is another folder.
    let other = tiny.folder.path().with_extension("worktree");
    tiny.git(&["worktree", "add", "--quiet", "-b", "other", other.to_str().unwrap()]);
    let (before, inside) = (tree(&tiny.path()), tree(&other));
    let mut command = tiny.command(&["ci", "--event", "local"]);
    let ran = Ran::from(command.current_dir(&other).output().unwrap()).expect(0);
    assert!(ran.stdout.contains("sh /worker.sh"), "{}", ran.stdout);
    assert_eq!(tree(&other), inside);
    is_untouched(&tiny, &victim, &before);
    std::fs::remove_dir_all(&other).unwrap();
}

#[test]
fn a_check_that_changes_a_file_of_the_commit_fails_in_its_copy() {
    // With the size and the times that it had, a line that may fail, and one that fails: git's index would see the last.
    let checks = "[check.one]\nin = 'app'\nrun = [\"sh -c 'printf two > t; printf x >> t; touch -r text t; cat t > text; rm t'\"]\n\
        [check.two]\nin = 'app'\nrun = 'rm sub/a'\nmay-fail = true\n\
        [check.three]\nin = 'app'\nrun = \"sh -c 'mkdir .cache; echo 1 > .cache/x; test ! -e t; grep -q one text'\"\n# VICTIM\n";
    let (tiny, _elsewhere, victim) = hostile(checks);
    let before = tree(&tiny.path());
    let ran = ci(&tiny, "local").expect(1);
    for said in ["it changed text: what was built", "it changed sub/a: what was built", "checks failed: one, two"] {
        assert!(ran.stderr.contains(said), "no {said} in {}", ran.stderr);
    }
    is_untouched(&tiny, &victim, &before);
}

const STACK: &str = "[check.evil]\ncompose = 'c.yml'\ntimeout = '5m'\n[check.later]\nin = 'app'\nrun = 'true'\n# VICTIM\n";

/// A system that mounts the tree in three ways, and runs a line in it.
fn mounted(line: &str) -> (Tiny, tempfile::TempDir, String, BTreeMap<PathBuf, String>) {
    let (tiny, elsewhere, victim) = hostile(STACK);
    let mount = |name: &str, target: &str, volume: &str| {
        format!(
            "  {name}:\n    image: ghcr.io/{}/app\n    command: [sh, -c, '{line}', sh, {target}]\n    volumes: [{volume}]\n",
            tiny.namespace
        )
    };
    let system = format!(
        "services:\n{}{}{}volumes: {{ tree: {{ driver_opts: {{ type: none, o: bind, device: '{}' }} }} }}\n",
        mount("short", "/app", "'.:/app'"),
        mount("volume", "/tree", "'tree:/tree'"),
        mount("outer", &format!("/up/{}", tiny.path().file_name().unwrap().to_str().unwrap()), "'..:/up'"),
        tiny.path().display()
    );
    tiny.write("c.yml", &system);
    commit(&tiny, "system");
    let before = tree(&tiny.path());
    (tiny, elsewhere, victim, before)
}

#[test]
fn a_composed_system_does_not_reach_what_git_and_cargo_run() {
    let line = format!("sh /worker.sh $$1 {} mount; mkdir -p $$1/ignored.d; rm -rf $$1/new $$1/bare $$1/ignored.d", "/nowhere");
    let (tiny, _elsewhere, victim, before) = mounted(&line);
    let ran = ci(&tiny, "local").expect(0);
    assert!(ran.stdout.contains("c.yml is up"), "{}", ran.stdout);
    is_untouched(&tiny, &victim, &before);

    // What it may write to and must not.
    let overlay = std::fs::read_to_string(tiny.path().join("target/slipway/compose-evil.yml")).unwrap();
    assert!(overlay.contains("\"read_only\":true"), "{overlay}");
    tiny.edit("c.yml", "mount; mkdir -p $$1/ignored.d;", "mount; mkdir -p $$1/.cargo; echo > $$1/.cargo/config.toml;");
    commit(&tiny, "config");
    let ran = ci(&tiny, "local").expect(1);
    assert!(ran.stderr.contains("it changed .cargo/config.toml: what was built"), "{}", ran.stderr);
    assert!(ran.stderr.contains("checks failed: evil"), "{}", ran.stderr);
    let log = tiny.path().join("target/slipway/logs/check-later.log");
    let later = std::fs::metadata(&log).unwrap().modified().unwrap();
    let evil = std::fs::metadata(log.with_file_name("check-evil.log")).unwrap().modified().unwrap();
    assert!(later < evil, "nothing runs after it");
}

#[test]
fn what_a_composed_system_changes_is_seen_whatever_git_says() {
    let (tiny, ..) = mounted("echo two > $$1/text");
    tiny.git(&["update-index", "--assume-unchanged", "text"]);
    let ran = ci(&tiny, "local").expect(1);
    assert!(ran.stderr.contains("it changed text: what was built"), "{}", ran.stderr);
}
