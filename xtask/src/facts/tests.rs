//! The one door, with real repositories.

use super::lab::Lab;
use super::machine::is_native_on;
use super::*;
use crate::config;
use crate::event;

const IMAGES: &str = r#"
schema = 1
namespace = "acme"
[axes]
python = ["3.11", "3.12"]
[image.app]
variant = "py{python}"
args    = { PYTHON = "{python}" }
[image.tool]
target  = "tool"
"#;
const DOCKERFILE: &str = "ARG PYTHON\nFROM go AS tool\nCOPY tool /\nFROM python:${PYTHON:-3.13}\nCOPY src /\n";

/// A clone with two images that share a Dockerfile.
fn lab() -> Lab {
    let lab = Lab::cloned();
    lab.write("work", "docker/images.toml", IMAGES);
    lab.commit("work", "Dockerfile", DOCKERFILE);
    lab
}

fn gather_in(lab: &Lab, flag: Option<&str>, env: &Env) -> Result<(Config, Facts)> {
    let repo = lab.root.join("work");
    let config = config::load(&repo, Utf8Path::new("docker/images.toml"), env)?;
    let recorded = event::read(flag, None, &Env::new(), &[])?;
    let facts = gather(&lab.runner, &repo, &config, &recorded, env, &BTreeMap::new())?;
    Ok((config, facts))
}

#[test]
fn everything_at_once() {
    let lab = lab();
    let (config, facts) = gather_in(&lab, Some("branch:main"), &Env::new()).unwrap();
    assert_eq!(facts.commit, Some(lab.head("work")));
    assert_eq!(facts.commit_time.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!((facts.dirty, facts.branch.as_deref(), facts.default_branch.as_str()), (None, Some("main"), "main"));
    let files = Changed::Files(vec!["Dockerfile".into(), "docker/images.toml".into()]);
    assert_eq!((&facts.changed, &facts.since_release), (&files, &files));
    assert!(facts.now.ends_with('Z') && facts.host_platform.starts_with("linux/"));

    let made_of = |facts: &Facts, id: &str| {
        let build = config.builds.iter().find(|build| build.id == id).unwrap();
        let dockerfile = facts.dockerfile(build).unwrap().clone();
        (dockerfile.images, dockerfile.sources.unwrap())
    };
    let text = |text: &str| vec![text.to_owned()];
    let (_, facts) = gather_in(&lab, None, &Env::new()).unwrap();
    assert_eq!(made_of(&facts, "app-py3.11"), (text("python:3.11"), text("src")));
    assert_eq!(made_of(&facts, "app-py3.12"), (text("python:3.12"), text("src")));
    assert_eq!(made_of(&facts, "tool"), (text("go"), text("tool")));
    assert_eq!((facts.dockerfiles.len(), facts.variants.len()), (1, 2), "one reading is the Dockerfile's own");
    assert_eq!(facts.changed, Changed::Unknown("a local run takes everything".into()));
}

#[test]
fn dockerfiles_are_read_as_the_event_builds_them() {
    let lab = Lab::cloned();
    let images = r#"
schema = 1
namespace = "acme"
version-file = "VERSION"
[image.app]
args = { V = "{version}", B = "{branch}", S = "{sha}" }
on.tag = false
on.branch.main = { platforms = ["linux/amd64", "linux/arm64"], tags = [] }
"#;
    lab.write("work", "docker/images.toml", images);
    lab.write("work", "VERSION", "v1.2.3");
    let read = |event: &str, text: &str| {
        lab.write("work", "Dockerfile", text);
        let (config, facts) = gather_in(&lab, Some(event), &Env::new()).unwrap();
        facts.dockerfile(&config.builds[0]).unwrap().clone()
    };
    let copy = "FROM scratch\nARG TARGETARCH\nARG V B S\nCOPY $TARGETARCH/a$V$B /\n";
    assert_eq!(read("branch:main", copy).sources.unwrap(), ["amd64/av1.2.3main", "arm64/av1.2.3main"]);
    assert_eq!(read("schedule", "ARG V\nFROM debian:$V\n").images, ["debian:v1.2.3"]);
    // What git knows is not asked for yet.
    assert_eq!(read("pr:1", copy).whole.as_deref(), Some("`B` is not known before the build"));
    let base = read("branch:main", "ARG S\nFROM debian:$S\n");
    assert_eq!(base.always.as_deref(), Some("FROM debian:$S: `S` is not known before the build"));
}

#[test]
fn builds_that_take_the_same_share_it() {
    let lab = lab();
    lab.write("work", "src/a", "1");
    let (config, facts) = gather_in(&lab, None, &Env::new()).unwrap();
    let content = |facts: &Facts, at: usize| facts.content(&config.builds[at]).unwrap().clone();
    assert_eq!((facts.contents.len(), facts.same_content.len()), (2, 1));
    assert_eq!(content(&facts, 0), content(&facts, 1));
    assert_eq!(content(&facts, 2).missing, ["tool"]);
    lab.write("work", "src/a", "2");
    let (_, changed) = gather_in(&lab, None, &Env::new()).unwrap();
    assert_ne!(content(&facts, 0), content(&changed, 0));
    assert_eq!(content(&facts, 2), content(&changed, 2));
    let again: Facts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
    assert_eq!(again, facts);
}

#[test]
fn the_run() {
    let lab = lab();
    let run = |flag, env: &Env| gather_in(&lab, Some(flag), env).unwrap().1.run;
    let main = run("branch:main", &Env::new());
    assert_eq!(run("branch:main", &Env::new()), main, "a second attempt is the same run");
    assert_eq!(main.split_once('_').unwrap().0, &lab.head("work")[..12]);
    assert!(main.len() == 19 && !main.contains('-'), "the last part of a tag: {main}");
    let others = ["branch:dev", "tag:v1.0.0", "tag:v1.0.1", "pr:1", "local"].map(|event| run(event, &Env::new()));
    let all: std::collections::BTreeSet<&String> = others.iter().chain([&main]).collect();
    assert_eq!(all.len(), 6, "what another event built may not be fresh: {all:?}");
    assert_eq!(run("branch:main", &Env::from([("GITHUB_RUN_ID".into(), "77".into())])), "77");
    assert!(run("manual", &Env::new()).bytes().all(|b| b.is_ascii_digit()));
}

#[test]
fn the_source_in_actions() {
    let lab = lab();
    let env = Env::from([("GITHUB_SERVER_URL".into(), "https://github.com".into()), ("GITHUB_REPOSITORY".into(), "a/b".into())]);
    assert_eq!(gather_in(&lab, None, &env).unwrap().1.source.as_deref(), Some("https://github.com/a/b"));
}

#[test]
fn without_git_the_rest_is_known() {
    let mut lab = lab();
    lab.runner.set_env("PATH", "/nonexistent");
    let (_, facts) = gather_in(&lab, Some("pr:1"), &Env::new()).unwrap();
    let why = Changed::Unknown("git cannot be started (is it installed?)".into());
    assert_eq!((facts.commit, facts.dirty, &facts.changed, &facts.since_release), (None, None, &why, &why));
    assert_eq!((facts.default_branch.as_str(), facts.dockerfiles.len()), ("main", 1));
}

#[test]
fn what_runs_without_an_emulator() {
    for (host, platform, native) in [
        ("linux/amd64", "linux/amd64", true),
        ("linux/amd64", "linux/386", true),
        ("linux/amd64", "linux/arm64", false),
        ("linux/arm64", "linux/386", false),
        ("linux/arm64", "linux/arm/v7", false),
    ] {
        assert_eq!(is_native_on(host, platform), native, "{platform} on {host}");
    }
}

#[test]
fn a_dockerfile_that_is_none() {
    let lab = lab();
    lab.write("work", "Dockerfile", "FRUM x\n");
    let error = gather_in(&lab, None, &Env::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Dockerfile of app-py3.11: expected at least one FROM instruction (line 1: unknown instruction `FRUM`)"
    );
    assert_eq!(crate::error::exit_code(&error), crate::error::Code::Usage);
}

#[test]
fn a_clock_or_a_commit_that_is_wrong_by_any_amount_is_no_panic() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (1_767_225_600, "2026-01-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "9999-12-31T23:59:59Z"),
        (u64::MAX, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(rfc3339(seconds), expected);
    }
    let before = UNIX_EPOCH - Duration::from_secs(86_400);
    assert_eq!(since_1970(before), "1970-01-01T00:00:00Z");
}
