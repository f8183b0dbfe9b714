//! `cache`: what an engine without builders, images or an answer makes of it, and what may be removed at all.

use crate::lab::{Lab, Ran};

/// An engine whose one builder is shared; `more` are the cases of its `docker` that matter.
fn engine(more: &str) -> Lab {
    Lab::with_docker(&format!(
        r#"case "$*" in
  version*) echo 28.0.0 ;;
  "buildx inspect") printf 'Name: default\nDriver: docker\n' ;;
{more}
  *) echo "ERROR: nothing of the kind: $*" >&2; exit 1 ;;
esac"#
    ))
}

const RECORD: &str = r#"  "buildx du"*) echo '{"Type": "regular", "Size": "1.5GB", "Reclaimable": true}' ;;"#;

/// Two builds of `web`; the older one also has a name that somebody gave it, and a container runs a third.
const IMAGES: &str = r#"
  "image ls"*) printf 'new\nold\nold\nran\n' ;;
  "image inspect"*) for at in 3:new 2:old 1:ran; do
    echo '{"RepoTags": ["web:'${at#*:}'", "mine:'${at#*:}'"], "Created": "2026-01-0'${at%:*}'T00:00:00Z", "Size": 1000000, "Config": {"Labels": {"dev.slipway.key": "k", "org.opencontainers.image.title": "web"}}}'
  done ;;
  "image rm web:ran") echo 'conflict: container 12 is using it' >&2; exit 1 ;;
  "image rm"*) echo "$*" >>../removed ;;"#;

fn removed(lab: &Lab) -> String {
    std::fs::read_to_string(lab.repo().join("../removed")).unwrap_or_default()
}

#[test]
fn what_this_machine_holds() {
    let lab = engine(&format!("{RECORD}{IMAGES}"));
    let ran = lab.run(&["cache", "du", "--engine", "host"]).expect(0, &["`cargo xtask cache prune`"]);
    for line in ["builder default, shared", "1.5 GB", "newest image of each build: 1", "images of earlier builds: 2"] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
    let json: serde_json::Value =
        serde_json::from_str(&lab.run(&["cache", "du", "--engine", "host", "--json"]).expect(0, &[]).stdout).unwrap();
    assert_eq!(json["builders"][0]["usage"]["reclaimable"], 1_500_000_000_u64);
    assert_eq!(json["images"]["older"], serde_json::json!({ "count": 2, "bytes": 2_000_000 }));
}

#[test]
fn only_names_of_this_project_are_removed_and_never_a_shared_cache() {
    let lab = engine(&format!("{RECORD}{IMAGES}"));
    let printed = lab.run(&["cache", "prune", "--engine", "host", "--dry-run"]).expect(0, &["docker image rm web:old"]);
    assert_eq!((printed.stdout.as_str(), removed(&lab).as_str()), ("would remove 2 images of earlier builds\n", ""));
    let kept = ["kept web:ran: conflict: container 12", "left alone: the cache of default", "`--builder container`"];
    let ran = lab.run(&["cache", "prune", "--engine", "host"]).expect(0, &kept);
    assert_eq!(ran.stdout, "removed 1 images of earlier builds\n");
    assert_eq!(removed(&lab), "image rm web:old\n", "the newest and the names of others stay, and no builder is pruned");
}

#[test]
fn a_builder_that_cannot_be_asked() {
    let said = ["cannot read the cache of the builder farm: no builder \"farm\" found", "`docker buildx ls`"];
    let unknown = "  \"buildx du\"*) echo 'ERROR: no builder \"farm\" found' >&2; exit 1 ;;";
    engine(unknown).run(&["cache", "du", "--engine", "host", "--builder", "farm"]).expect(3, &said);
    let old = engine("  \"buildx du\"*) echo 'unknown flag: --format' >&2; exit 125 ;;");
    old.run(&["cache", "du", "--engine", "host"]).expect(3, &["unknown flag: --format", "buildx 0.22"]);
    engine(RECORD)
        .run(&["cache", "du", "--engine", "host"])
        .expect(1, &["cannot find images of earlier runs", "nothing of the kind"]);
}

/// This checkout's container has stopped, as after a restart of the machine, and a daemon that is listed no more is off.
const OFF: &str = r#"
  "buildx inspect slipway-"*-kube) exit 1 ;;
  "buildx inspect slipway-"*-remote) printf 'Name: r\nDriver: remote\n\nNodes:\nName: r0\nError: no route to host\n' ;;
  "buildx inspect slipway-"*) printf 'Name: c\nDriver: docker-container\n\nNodes:\nName: c0\nStatus: stopped\n' ;;
  "buildx du --builder default"*) echo 'ERROR: it is tired' >&2; exit 1 ;;
  "buildx prune --builder slipway-"*) echo "$*" >>../pruned ;;"#;

#[test]
fn builders_that_are_off_hide_nothing() {
    let lab = engine(&format!("{OFF}{IMAGES}"));
    let du = lab.run(&["cache", "du", "--engine", "host"]).expect(0, &[]).stdout;
    for words in ["it is tired", "this checkout's own  not known", "not running", "no route to host", "earlier builds: 2"] {
        assert!(du.contains(words), "no {words:?} in\n{du}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&lab.run(&["cache", "du", "--engine", "host", "--json"]).expect(0, &[]).stdout).unwrap();
    let stopped = &json["builders"][1];
    assert_eq!((&stopped["usage"], &stopped["reason"]), (&serde_json::Value::Null, &"not running".into()), "{json:#}");

    // It can't be started: its cache stays, and the images go all the same.
    let kept = lab.run(&["cache", "prune", "--engine", "host"]).expect(0, &["kept the cache of the builder slipway-"]);
    assert!(kept.stderr.contains(": nothing of the kind: buildx inspect --bootstrap slipway-"), "{}", kept.stderr);
    assert_eq!((kept.stdout.as_str(), removed(&lab).as_str()), ("removed 1 images of earlier builds\n", "image rm web:old\n"));
    assert!(!lab.repo().join("../pruned").exists());

    let starts = engine(&format!("  \"buildx inspect --bootstrap\"*) ;;{OFF}{IMAGES}"));
    starts.run(&["cache", "prune", "--engine", "host"]).expect(0, &["emptied the cache of the builder slipway-"]);
    assert!(starts.repo().join("../pruned").exists());
}

#[test]
fn without_docker_or_with_another_run_or_wrong_words() {
    Lab::new().run(&["cache", "du", "--engine", "host"]).expect(3, &["docker"]);
    Lab::new().run(&["cache"]).expect(2, &["report", "du", "prune"]);
    let lab = engine(&format!("{RECORD}{IMAGES}"));
    lab.write("target/slipway/lock", "");
    let lock = std::fs::File::open(lab.repo().join("target/slipway/lock")).unwrap();
    lock.lock().unwrap();
    lab.run(&["cache", "prune", "--engine", "host"]).expect(3, &["another run", "is at work in this checkout"]);
    lab.run(&["cache", "du", "--engine", "host"]).expect(0, &[]);
}

#[test]
fn caches_of_the_registry_that_hold_something_nothing_or_no_answer() {
    let lab = engine(
        r#"  *--raw*web:buildcache) echo '{"layers": [{"size": 1000}, {"size": 2000000}]}' ;;
  *--raw*old:buildcache) echo '{"manifests": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 5000}]}' ;;
  *--raw*new:buildcache) echo 'ERROR: new:buildcache: not found' >&2; exit 1 ;;
  *--raw*denied:buildcache) echo 'ERROR: 403 Forbidden' >&2; exit 1 ;;"#,
    );
    let head = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n[cache]\n";
    lab.write("docker/images.toml", format!("{head}[image.web]\n[image.old]\n[image.new]\n"));
    let ran =
        lab.run(&["cache", "report", "--engine", "host"]).expect(0, &["what holds nothing yet is written by runs that publish"]);
    for words in ["acme/web:buildcache  2.0 MB", "acme/old:buildcache  5.0 kB", "acme/new:buildcache  nothing yet", "read by new"]
    {
        assert!(ran.stdout.contains(words), "no {words:?} in\n{}", ran.stdout);
    }
    lab.write("docker/images.toml", format!("{head}[image.denied]\n"));
    lab.run(&["cache", "report", "--engine", "host"])
        .expect(3, &["cannot read ghcr.io/acme/denied:buildcache: denied", "hint: "]);
    lab.write("docker/images.toml", "schema = 1\n[image.web]\n");
    let none: Ran = lab.run(&["cache", "report", "--engine", "host"]);
    none.expect(0, &["no build of this event reads or writes a cache of the registry"]);
}
