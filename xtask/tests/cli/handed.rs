//! A plan that is handed over decides nothing of what is published: each of its fields is held against the checkout.

use serde_json::Value;

use crate::lab::{GOOD, Lab, Ran};

const IMAGES: &str = "schema = 1\nregistry = 'r.example'\nnamespace = 'acme'\n[image.base]\n[image.web]\n\
                      test.run = 'true'\n[check.c]\nin = 'web'\nrun = 'true'\n[scan]\n[cache]\nregistry = '{namespace}/cache:{id}'\n\
                      [retention]\n[on.tag]\ntags = ['{version}', 'latest']\n\
                      [on.branch.main]\ntags = ['edge']\n";

/// A commit that has the tag v1.0.0, and no docker that publishes.
fn lab() -> Lab {
    let lab = Lab::with_docker(&format!("case \"$*\" in *imagetools*) echo 'ERROR: not found' >&2; exit 1 ;; esac\n{GOOD}"));
    lab.write("docker/images.toml", IMAGES);
    lab.write(".gitignore", "/target\n");
    lab.git(&["init", "--quiet", "--initial-branch=main"]);
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "one"]);
    lab.git(&["tag", "v1.0.0"]);
    lab
}

fn plan(lab: &Lab, event: &str) -> String {
    lab.run(&["plan", "--json", "--event", event, "--engine", "host"]).expect(0, &[]).stdout
}

fn hand(lab: &Lab, plan: &str, args: &[&str]) -> Ran {
    lab.write("target/plan.json", plan);
    lab.run(&[args, &["--plan", "target/plan.json", "--engine", "host"]].concat())
}

const PUBLISH: [&[&str]; 3] = [&["ci-build", "--mode", "push"], &["release"], &["retention"]];

#[test]
fn each_field_that_has_an_effect() {
    let lab = lab();
    let whole = plan(&lab, "tag:v1.0.0");
    let other: Value = "ghcr.io/other/x:1".into();
    let key = serde_json::from_str::<Value>(&whole).unwrap()["builds"][1]["key"].as_str().unwrap()[..12].to_owned();
    let rows: [(&str, Value, &str); 31] = [
        ("/version", "v9.9.9".into(), "version"),
        ("/version", "v1.0.0\nmatrix=x".into(), r"version is v1.0.0\nmatrix=x"),
        ("/created", "2001-01-01T00:00:00Z".into(), "created"),
        ("/source", "https://example.org/x".into(), "source"),
        ("/timestamp", "../../x".into(), "timestamp"),
        ("/publishes", false.into(), "publishes"),
        ("/scan", Value::Null, "scan"),
        ("/scan/fail_on", "low".into(), "scan"),
        ("/checks", Value::Array(Vec::new()), "checks"),
        ("/checks/0/run/0", "true x".into(), "checks"),
        ("/checks/0/may_fail", true.into(), "checks"),
        ("/builds/1/image", "base".into(), "image of web"),
        ("/builds/1/repository", "r.example/acme/other".into(), "repository of web"),
        ("/builds/1/push/tags/0", "r.example/acme/web:v9.9.9".into(), "tags of web"),
        ("/builds/1/push/tags/0", other.clone(), "tags of web"),
        ("/builds/1/push/moving/0", "r.example/acme/web:stable".into(), "moving tags of web"),
        ("/builds/1/push/moving", Value::Array(Vec::new()), "moving tags of web"),
        ("/builds/1/push/replace", true.into(), "push of web"),
        ("/builds/1/push/how", "rebuild".into(), "push of web"),
        ("/builds/1/push/cache_from/0", "type=registry,ref=r.example/x".into(), "push of web"),
        ("/builds/1/test/candidate", format!("{other}-{key}-1").into(), "candidate of web"),
        ("/builds/1/test/candidate", format!("r.example/acme/web:candidate-{key}-../../x").into(), "candidate of web"),
        ("/builds/1/test/candidate", Value::Null, "candidate of web"),
        ("/builds/1/test/mark", "r.example/acme/web:tested-x".into(), "mark of web"),
        ("/builds/1/test/load/0", "debian:bookworm-slim".into(), "local names of web"),
        ("/builds/1/test/cache_to/0", "type=registry,ref=ghcr.io/other/cache".into(), "caches of web"),
        ("/builds/1/test/cache_from/0", "type=registry,ref=ghcr.io/other/cache".into(), "caches of web"),
        ("/builds/1/test/fresh", true.into(), "fresh of web"),
        ("/builds/1/timeout", 1.into(), "timeout of web"),
        ("/builds/1/platforms", serde_json::json!(["linux/s390x"]), "platforms of web"),
        ("/builds/1/parents", serde_json::json!([["debian", "ghcr.io/x@sha256:1"]]), "parent debian of web"),
    ];
    // All three tasks ask the same function, so each field is tried on one of them.
    for (at, (field, value, words)) in rows.into_iter().enumerate() {
        let mut edited: Value = serde_json::from_str(&whole).unwrap();
        *edited.pointer_mut(field).unwrap_or_else(|| panic!("no {field}")) = value;
        hand(&lab, &edited.to_string(), PUBLISH[at % 3]).expect(4, &[words, "hint: "]);
    }
    let mut edited: Value = serde_json::from_str(&whole).unwrap();
    edited["builds"][1]["action"] = "reuse".into();
    edited["builds"][1]["reused"] = format!("ghcr.io/other/x@sha256:{}", "0".repeat(64)).into();
    hand(&lab, &edited.to_string(), PUBLISH[0]).expect(4, &["reused of web"]);
    for label in ["dev.slipway.key", "org.opencontainers.image.revision", "org.opencontainers.image.version"] {
        let mut edited: Value = serde_json::from_str(&whole).unwrap();
        let labels = edited["builds"][1]["labels"].as_array_mut().unwrap();
        labels.iter_mut().find(|one| one[0] == label).unwrap()[1] = "x".into();
        hand(&lab, &edited.to_string(), PUBLISH[0]).expect(4, &["label", "of web"]);
    }
    let mut part: Value = serde_json::from_str(&whole).unwrap();
    part["builds"].as_array_mut().unwrap().remove(0);
    hand(&lab, &part.to_string(), PUBLISH[0]).expect(4, &["it leaves out base"]);
    let part = lab.run(&["plan", "--json", "--event", "tag:v1.0.0", "--engine", "host", "--only", "image=web"]).expect(0, &[]);
    hand(&lab, &part.stdout, PUBLISH[0]).expect(4, &["the plan is not what would be planned here"]);
    // What is not edited gets as far as the registry.
    hand(&lab, &whole, PUBLISH[0]).expect(4, &["candidate"]);
}

#[test]
fn the_event_is_that_of_the_run() {
    let lab = lab();
    let whole = plan(&lab, "tag:v1.0.0");
    // All of it, but for what the key is of.
    let mut of_v9: Value = serde_json::from_str(&whole.replace("v1.0.0", "v9.9.9")).unwrap();
    for (at, build) in serde_json::from_str::<Value>(&whole).unwrap()["builds"].as_array().unwrap().iter().enumerate() {
        of_v9["builds"][at]["inputs"] = build["inputs"].clone();
    }
    let of_v9 = of_v9.to_string();
    hand(&lab, &whole.replace("v1.0.0", "v9.9.9"), PUBLISH[0]).expect(4, &["the key, which is not that of the inputs"]);
    for task in PUBLISH {
        hand(&lab, &of_v9, task).expect(4, &["no tag v9.9.9 is on its commit"]);
    }
    lab.write("target/plan.json", &whole);
    for (name, reference, event) in [
        ("pull_request", "refs/pull/3/merge", "pr:3:fork"),
        ("push", "refs/heads/main", "branch:main"),
        ("push", "refs/tags/v1.0.1", "tag:v1.0.1"),
        ("schedule", "refs/heads/main", "schedule"),
    ] {
        let actions = [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", name), ("GITHUB_REF", reference)];
        for task in PUBLISH {
            let mut command = lab.command(&[task, &["--plan", "target/plan.json", "--engine", "host"]].concat());
            let words = format!("the plan is of the event tag:v1.0.0, and this run is of {event}");
            Ran::from(command.envs(actions).output().unwrap()).expect(4, &[&words]);
        }
    }
    // The plan of another commit, which also has a tag.
    lab.git(&["commit", "--quiet", "--allow-empty", "-m", "two"]);
    for task in PUBLISH {
        hand(&lab, &whole, task).expect(4, &["the plan is of ", "the checkout is at "]);
    }
    lab.write("VERSION", "v1.0.0\n");
    lab.write("docker/images.toml", format!("version-file = 'VERSION'\n{}", IMAGES));
    lab.git(&["add", "--all"]);
    lab.git(&["commit", "--quiet", "-m", "three"]);
    let whole = plan(&lab, "tag:v1.0.0");
    let of_v9 = whole.replace("\"name\": \"v1.0.0\"", "\"name\": \"v9.9.9\"");
    assert_ne!(of_v9, whole);
    hand(&lab, &of_v9, PUBLISH[0]).expect(4, &["v9.9.9"]);
    hand(&lab, &whole, PUBLISH[0]).expect(4, &["candidate"]);
}

#[test]
fn odd_files() {
    let lab = lab();
    let whole = plan(&lab, "tag:v1.0.0");
    let cut = &whole[..whole.len() / 2];
    let deep = format!("{{\"a\": {}", "[".repeat(100_000));
    for odd in ["", "\0", cut, "null", "[]", "{}", &deep, &whole.replace("\"schema\": 1", "\"schema\": 2")] {
        hand(&lab, odd, PUBLISH[0]).expect(2, &["the plan target/plan.json"]);
    }
    lab.run(&["release", "--plan", "/dev/zero", "--engine", "host"]).expect(2, &["the plan /dev/zero has more than "]);
}

#[test]
fn a_value_of_the_clock_is_that_of_the_plan() {
    let lab = lab();
    let timed = "args = { STAMP = '{date}' }\nlabels = { when = '{timestamp}' }\ntest.run = 'true'";
    lab.write("docker/images.toml", IMAGES.replace("test.run = 'true'", timed));
    lab.git(&["commit", "--quiet", "--all", "-m", "two"]);
    lab.git(&["tag", "--force", "v1.0.0"]);
    let whole = plan(&lab, "tag:v1.0.0");
    let same: Value = serde_json::from_str(&whole).unwrap();
    let web = same["builds"].as_array().unwrap().iter().position(|build| build["id"] == "web").unwrap();
    for list in ["args", "labels"] {
        let mut edited = same.clone();
        let values = edited["builds"][web][list].as_array_mut().unwrap();
        let value = values.iter_mut().find(|one| one[0] == "STAMP" || one[0] == "when").unwrap();
        value[1] = "x; wget evil".into();
        for task in PUBLISH {
            hand(&lab, &edited.to_string(), task).expect(4, &["the plan is of other settings", "of web"]);
        }
    }
    hand(&lab, &whole, PUBLISH[0]).expect(4, &["candidate"]);
}
