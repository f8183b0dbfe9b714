//! The rounds of a run, with a `docker` that fails on command. What a real one does is proved by recorded runs and end to end.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::error::{Code, exit_code};
use crate::plan::testing::{build, plan};

/// Answers the n-th bake with the script `bake.N`, where `$last` is the metadata file, and keeps what it was given.
const DOCKER: &str = r#"#!/bin/sh
cd "$FOLDER" || exit 9
for last; do :; done
case "$1 $2" in
"info --format") cat info ;;
"buildx bake") n=$(ls | grep -c stdin); cat >"stdin.$n"; . "./bake.$n" ;;
esac
"#;
const DONE: &str = r#"echo '{"a":{"containerimage.digest":"sha256:a"},"b":{},"c":{}}' >"$last""#;
const TRANSIENT: &str =
    "echo 'ERROR: target a: failed to solve: failed to prepare extraction snapshot \"x\": parent gone'; exit 1";

struct Fake {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl Fake {
    fn new(plan: Plan, bakes: &[String]) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("docker", DOCKER);
        std::fs::set_permissions(folder.path().join("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
        write("info", r#"{"ServerVersion":"28"}"#);
        bakes.iter().enumerate().for_each(|(n, script)| write(&format!("bake.{n}"), script));
        Fake { folder, plan }
    }

    fn run(&self, fail_fast: bool) -> Result<Vec<Outcome>> {
        let folder = Utf8Path::from_path(self.folder.path()).unwrap();
        let mut runner = Runner::default();
        runner.set_env("PATH", &format!("{folder}:/usr/bin:/bin"));
        runner.set_env("FOLDER", folder.as_str());
        let display = Display::new([], false, true);
        let (runner, plan, display) = (&runner, &self.plan, &display);
        run(&Job {
            runner,
            repo: folder,
            builder: &Builder::default(),
            plan,
            display,
            jobs: 1,
            seconds: BTreeMap::new(),
            fail_fast,
        })
    }

    /// The targets that each bake was asked for.
    fn asked(&self) -> Vec<String> {
        let read = |n: usize| std::fs::read_to_string(self.folder.path().join(format!("stdin.{n}"))).ok();
        let targets = |text: String| {
            let file: serde_json::Value = serde_json::from_str(&text).unwrap();
            file["group"]["default"]["targets"].to_string()
        };
        (0..).map_while(read).map(targets).collect()
    }
}

fn endings(outcomes: &[Outcome]) -> Vec<(&str, Ending)> {
    outcomes.iter().map(|outcome| (outcome.id.as_str(), outcome.result)).collect()
}

/// A bake in which `failed` fails and `exported` are done by then; vertex names as with several targets.
fn failing(failed: &str, exported: &[&str]) -> String {
    let vertex = |name: &str, more: &str| {
        format!(r#"echo '{{"vertexes":[{{"digest":"{name}","name":"[{name}","started":"t","completed":"t"{more}}}]}}'"#) + "\n"
    };
    let done: String = exported.iter().map(|name| vertex(&format!("{name}] exporting to image"), "")).collect();
    let fault = vertex(&format!("{failed} 2/2] RUN x"), r#","error":"exit code: 1""#);
    format!("{done}{fault}echo 'ERROR: target {failed}: failed to solve: exit code: 1'; exit 1")
}

fn three() -> Plan {
    plan(vec![build("a"), build("b"), build("c")])
}

#[test]
fn one_bake_when_all_is_well() {
    let fake = Fake::new(three(), &[DONE.into()]);
    let outcomes = fake.run(false).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.result == Ending::Cached));
    assert_eq!(outcomes[0].digest.as_deref(), Some("sha256:a"));
    assert_eq!(fake.asked(), [r#"["a","b","c"]"#]);
}

#[test]
fn what_completed_is_kept_and_the_rest_goes_on_by_itself() {
    let fake = Fake::new(three(), &[failing("b", &["a"]), DONE.into()]);
    let outcomes = fake.run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Cached), ("b", Ending::Failed), ("c", Ending::Cached)]);
    assert_eq!(fake.asked(), [r#"["a","b","c"]"#, r#"["c"]"#]);
    assert_eq!(outcomes[1].failure.as_ref().and_then(|failure| failure.step.as_deref()), Some("[2/2] RUN x"));
}

#[test]
fn fail_fast_starts_nothing_more() {
    let fake = Fake::new(three(), &[failing("b", &["a"])]);
    assert_eq!(endings(&fake.run(true).unwrap()), [("a", Ending::Cached), ("b", Ending::Failed), ("c", Ending::Stopped)]);
}

#[test]
fn children_of_a_failed_parent_are_not_built() {
    let mut plan = three();
    plan.builds[2].parents = vec![("b".into(), "build:b".into())];
    let fake = Fake::new(plan, &[failing("b", &["a"])]);
    let outcomes = fake.run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Cached), ("b", Ending::Failed), ("c", Ending::Blocked)]);
    assert_eq!(outcomes[2].failure.as_ref().map(|failure| failure.error.as_str()), Some("b failed"));
}

#[test]
fn a_known_error_of_the_engine_is_tried_once_more_and_shown() {
    let fake = Fake::new(plan(vec![build("a")]), &[TRANSIENT.into(), DONE.into()]);
    let outcomes = fake.run(true).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Cached)]);
    assert_eq!(outcomes[0].retried.as_deref(), Some("failed to prepare extraction snapshot"));

    let fake = Fake::new(plan(vec![build("a")]), &[TRANSIENT.into(), TRANSIENT.into()]);
    assert_eq!(endings(&fake.run(false).unwrap()), [("a", Ending::Failed)]);
    assert_eq!(fake.asked().len(), 2, "once, not for ever");
}

#[test]
fn a_second_attempt_that_ends_without_a_word_is_the_last() {
    let fake = Fake::new(plan(vec![build("a")]), &[TRANSIENT.into(), "exit 137".into(), DONE.into()]);
    let outcomes = fake.run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Failed)]);
    assert_eq!(outcomes[0].failure.as_ref().map(|failure| failure.error.as_str()), Some("bake ended without a word"));
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn without_a_reason_each_unit_is_asked_alone_and_then_fails() {
    let mystery = "echo 'something odd'; exit 1";
    let fake = Fake::new(plan(vec![build("a"), build("b")]), &[mystery.into(), mystery.into(), DONE.into()]);
    let outcomes = fake.run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Failed), ("b", Ending::Cached)]);
    assert_eq!(outcomes[0].failure.as_ref().map(|failure| failure.error.as_str()), Some("something odd"));
}

#[test]
fn an_engine_that_is_gone_is_not_a_failed_build() {
    let gone = r#"echo '{"ServerErrors":["Cannot connect"]}' >info; echo 'ERROR: failed to receive status: EOF'; exit 1"#;
    let error = Fake::new(three(), &[gone.into()]).run(false).unwrap_err();
    assert_eq!(exit_code(&error), Code::NotReady);
    assert!(error.to_string().contains("Cannot connect"), "{error}");
}

#[test]
fn what_takes_too_long_is_ended_and_the_rest_goes_on() {
    let mut plan = plan(vec![build("a"), build("b")]);
    plan.builds[0].timeout = 0;
    // By the build that is asked for, because the first bake may be ended before it has begun.
    let bake = format!("grep -q 'acme/a:' \"stdin.$n\" && exec sleep 600; {DONE}");
    let fake = Fake::new(plan, &[bake.clone(), bake]);
    let outcomes = fake.run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Failed), ("b", Ending::Cached)]);
    assert_eq!(outcomes[0].failure.as_ref().map(|failure| failure.error.as_str()), Some("not done within 0s"));
}

#[test]
fn what_an_earlier_bake_of_the_run_did_counts() {
    let step = |name: &str, cached: bool| {
        format!(
            "echo '{{\"vertexes\":[{{\"digest\":\"{name}\",\"name\":\"[{name}\",\"started\":\"t\",\"completed\":\"t\",\"cached\":{cached}}}]}}'\n"
        )
    };
    // The steps of c ran, then b failed before its image was there.
    let first = format!("{}{}sleep 0.3\n{}", step("c 1/2] RUN x", false), step("c 2/2] RUN y", true), failing("b", &["a"]));
    let alone = |name: &str| step(name, true).replace("[c ", "[");
    let second = format!("{}{}{DONE}", alone("c 1/2] RUN x"), alone("c 2/2] RUN y"));
    let outcomes = Fake::new(three(), &[first, second]).run(false).unwrap();
    assert_eq!(endings(&outcomes), [("a", Ending::Cached), ("b", Ending::Failed), ("c", Ending::Built)]);
    assert_eq!((outcomes[2].steps.total, outcomes[2].steps.cached), (2, 1));
    assert!(outcomes[2].seconds >= 0.3, "both bakes: {}", outcomes[2].seconds);
}

#[test]
fn a_second_attempt_after_a_known_error_is_not_from_cache() {
    let step = r#"echo '{"vertexes":[{"digest":"d","name":"[1/1] RUN x","started":"t","completed":"t","cached":CACHED}]}'"#;
    let first = format!("{}\n{TRANSIENT}", step.replace("CACHED", "false"));
    let outcomes = Fake::new(plan(vec![build("a")]), &[first, format!("{}\n{DONE}", step.replace("CACHED", "true"))]).run(false);
    let outcomes = outcomes.unwrap();
    assert_eq!((outcomes[0].result, outcomes[0].steps.cached), (Ending::Built, 0));
}
