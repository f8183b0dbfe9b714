//! Events from flags, from recorded runs of GitHub Actions, and from nothing.

use super::*;
use crate::error::{Code, exit_code};

/// Reads `tests/fixtures/events/NAME.json`.
fn replay(name: &str) -> Result<Recorded> {
    let file = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/events/{name}.json"));
    read(None, Some(&file), &Env::new(), &["rebuild".into(), "REBUILD_BASE".into()])
}

fn pull_request(number: Option<u64>, fork: bool, base: &str) -> Event {
    Event::PullRequest { number, fork, base: Some(base.into()) }
}

fn target(base: &str, head: &str) -> Compare {
    Compare::Target { base: Some(base.repeat(40)), head: Some(head.repeat(40)) }
}

fn unknown(why: &str) -> Compare {
    Compare::Unknown(why.into())
}

#[test]
fn recorded_runs() {
    let branch = |name: &str, forced: bool| Event::Branch { name: name.into(), forced };
    let tag = |name: &str| Event::Tag { name: name.into() };
    let manual = |rebuild: bool, branch: &str| Event::Manual { rebuild, branch: Some(branch.into()) };
    let table = [
        ("pull-request", pull_request(Some(12), false, "main"), target("a", "b")),
        ("pull-request-fork", pull_request(Some(13), true, "main"), target("a", "c")),
        ("pull-request-deleted-fork", pull_request(Some(14), true, "main"), target("a", "d")),
        ("merge-group", pull_request(None, false, "main"), target("a", "e")),
        ("push", branch("feature/x", false), Compare::Before(Some("a".repeat(40)))),
        ("push-new-branch", branch("dev", false), unknown("the branch is new")),
        ("push-forced", branch("dev", true), unknown("the push was forced")),
        ("push-tag", tag("v1.2.3"), Compare::Nothing),
        ("release", tag("v1.2.3"), Compare::Nothing),
        ("release-prerelease", tag("chart/1.3.0-rc.1"), Compare::Nothing),
        ("schedule", Event::Schedule { branch: Some("main".into()) }, Compare::Nothing),
        ("manual", manual(false, "main"), Compare::Nothing),
        ("manual-rebuild", manual(true, "feature/x"), Compare::Nothing),
        ("manual-on-tag", manual(false, "refs/tags/main"), Compare::Nothing),
    ];
    for (name, event, compare) in &table {
        let recorded = replay(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!((&recorded.event, &recorded.compare), (event, compare), "{name}");
        assert_eq!(recorded.default_branch.as_deref(), Some("main"), "{name}");
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events")).unwrap();
    assert_eq!(files.count(), table.len(), "every fixture is in the table");
}

#[test]
fn what_a_minimal_event_file_leaves_to_the_environment() {
    let read = |name: &str, git_ref: &str, file: serde_json::Value| {
        let pairs =
            [("GITHUB_EVENT_NAME", name), ("GITHUB_REF", git_ref), ("GITHUB_BASE_REF", "main"), ("GITHUB_REPOSITORY", "O/r")];
        github::read(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), &file, &["rebuild".into()])
    };
    let event = |name: &str, git_ref: &str, file| read(name, git_ref, file).map(|recorded| recorded.event);
    let json = serde_json::json!({"pull_request": {"head": {"repo": {"full_name": "o/R"}}}});
    assert_eq!(event("pull_request", "refs/pull/7/merge", json), Ok(pull_request(Some(7), false, "main")));
    assert_eq!(
        event("pull_request", "refs/pull/7/merge", serde_json::Value::Null),
        Ok(pull_request(Some(7), true, "main")),
        "not named: foreign"
    );
    assert_eq!(event("push", "refs/tags/v1.0.0", serde_json::Value::Null), Ok(Event::Tag { name: "v1.0.0".into() }));
    let pushed = read("push", "refs/heads/a/b", serde_json::json!({})).unwrap();
    assert_eq!(pushed.event, Event::Branch { name: "a/b".into(), forced: false });
    assert_eq!(pushed.compare, unknown("the event does not say what was there before the push"));
    for (inputs, rebuild) in [
        (serde_json::json!({"rebuild": "true"}), true),
        (serde_json::json!({"rebuild": true}), true),
        (serde_json::json!({"rebuild": "false"}), false),
        (serde_json::json!({"other": "true"}), false),
        (serde_json::Value::Null, false),
    ] {
        let expected = Event::Manual { rebuild, branch: Some("main".into()) };
        assert_eq!(event("workflow_dispatch", "refs/heads/main", serde_json::json!({"inputs": inputs})), Ok(expected));
    }
}

#[test]
fn events_without_a_meaning() {
    let table = [
        ("pull_request_target", "refs/heads/main", "pull_request_target runs foreign code"),
        ("issues", "refs/heads/main", "the event issues has no meaning here (use push, "),
        ("push", "", "neither GITHUB_REF nor GITHUB_REF_NAME"),
        ("pull_request", "refs/heads/x", "neither the event file nor GITHUB_REF has"),
        ("", "", "GITHUB_EVENT_NAME is not set"),
    ];
    for (name, git_ref, expected) in table {
        let env = Env::from([("GITHUB_EVENT_NAME".into(), name.into()), ("GITHUB_REF".into(), git_ref.into())]);
        let error = github::read(&env, &serde_json::Value::Null, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
    let env = Env::from([("GITHUB_EVENT_NAME".into(), "push".into()), ("GITHUB_REF".into(), "refs/heads/x".into())]);
    let error = github::read(&env, &serde_json::json!({"deleted": true}), &[]).unwrap_err();
    assert_eq!(error, "x was deleted, so there is nothing to build");
}

#[test]
fn what_happens_to_a_release() {
    let read = |git_ref: &str, file: serde_json::Value| {
        let env = [("GITHUB_EVENT_NAME", "release"), ("GITHUB_REF", git_ref)];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        github::read(&env, &file, &[]).map(|recorded| recorded.event)
    };
    let release = |action: &str, draft: bool| serde_json::json!({ "action": action, "release": { "tag_name": "v1.0.0", "draft": draft, "prerelease": false } });
    let tag = || Ok(Event::Tag { name: "v1.0.0".into() });
    for action in ["published", "released", "prereleased", "created"] {
        assert_eq!(read("refs/tags/v1.0.0", release(action, false)), tag(), "{action}");
    }
    assert_eq!(read("refs/tags/v1.0.0", serde_json::Value::Null), tag(), "the event file of a local runner says nothing");
    assert_eq!(read("refs/heads/main", release("published", false)), tag(), "the payload names the tag");
    let hint = "so there is nothing to build (start the workflow with `on: release: types: [published]`)";
    for action in ["edited", "unpublished", "deleted"] {
        let error = read("refs/tags/v1.0.0", release(action, false)).unwrap_err();
        assert_eq!(error, format!("the release of v1.0.0 was {action}, {hint}"));
    }
    for action in ["created", "unpublished", "published"] {
        let error = read("refs/tags/v1.0.0", release(action, true)).unwrap_err();
        assert_eq!(error, format!("the release of v1.0.0 is a draft, {hint}"), "{action}");
    }
    let error = read("refs/tags/v2.0.0", release("published", false)).unwrap_err();
    assert_eq!(error, "the release is of the tag v1.0.0, and GITHUB_REF is of the tag v2.0.0");
    let error = read("refs/heads/main", serde_json::Value::Null).unwrap_err();
    assert_eq!(error, "neither the event file nor GITHUB_REF has the tag of the release");
}

#[test]
fn flags_files_and_neither() {
    let flag = |text| read(Some(text), None, &Env::new(), &[]).unwrap();
    assert_eq!(flag("pr:12").compare, Compare::Target { base: None, head: None });
    assert_eq!(flag("branch:dev").compare, Compare::Before(None));
    assert_eq!(flag("tag:v1.0.0").compare, Compare::Nothing);
    assert_eq!(read(None, None, &Env::new(), &[]).unwrap().event, Event::Local);

    let actions = |name: &str, path: &str| {
        let pairs = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", name),
            ("GITHUB_EVENT_PATH", path),
            ("GITHUB_REF", "refs/heads/x"),
        ];
        read(None, None, &pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), &[])
    };
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(folder.path()).unwrap().join("event.json");
    std::fs::write(&path, r#"{"before": "0000000"}"#).unwrap();
    assert_eq!(actions("push", path.as_str()).unwrap().event, Event::Branch { name: "x".into(), forced: false });
    assert_eq!(exit_code(&actions("", path.as_str()).unwrap_err()), Code::Usage, "in Actions nothing is guessed");
    std::fs::write(&path, "{").unwrap();
    assert_eq!(exit_code(&actions("push", path.as_str()).unwrap_err()), Code::Usage);
    let error = read(None, Some(&path), &Env::new(), &[]).unwrap_err();
    assert_eq!(exit_code(&error), Code::Usage);
    assert!(error.to_string().contains("event.json"), "{error}");
}
