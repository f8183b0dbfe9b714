//! What the recorded lines of real bakes, and a few made up ones, are folded into.

use super::*;

fn vertex(digest: &str, name: &str, more: &str) -> String {
    format!(r#"{{"vertexes":[{{"digest":"{digest}","name":"{name}"{more}}}]}}"#)
}

const STARTED: &str = r#","started":"2025-01-01T00:00:00Z""#;
const DONE: &str = r#","started":"2025-01-01T00:00:00Z","completed":"2025-01-01T00:00:01Z""#;

#[test]
fn only_steps_of_the_dockerfile_count() {
    for (name, step) in [
        ("[stage-0 2/5] RUN pip install", true),
        ("[2/5] COPY . .", true),
        ("[linux/arm64 build 3/3] WORKDIR /app", true),
        ("[1/5] FROM docker.io/library/python:3.11-slim", false),
        ("[internal] load build context", false),
        ("[auth] library/python:pull", false),
        ("exporting to image", false),
        ("importing cache manifest from r/c:1/2", false),
    ] {
        assert_eq!(is_step(name), step, "{name}");
    }
}

#[test]
fn a_vertex_counts_once_however_often_it_comes() {
    let mut state = State::new(["a", "a-b"]);
    let name = "[a-b 1/2] RUN x";
    state.feed(&vertex("d", name, ""));
    assert_eq!(state.feed(&vertex("d", name, STARTED)), [1]);
    state.feed(&vertex("d", name, STARTED));
    assert_eq!(state.current(1, &[]), Some("[1/2] RUN x"));
    state.feed(&vertex("d", name, DONE));
    assert_eq!(state.steps(1, &[]), Steps { total: 1, done: 1, cached: 0 });
    assert_eq!((state.steps(0, &[]), state.current(1, &[])), (Steps::default(), None));
}

#[test]
fn a_step_under_two_digests_is_one_step() {
    let mut state = State::new(["a", "b"]);
    state.feed(&vertex("d", "[a 1/2] RUN x", ""));
    state.feed(&vertex("e", "[a 1/2] RUN x", DONE));
    assert_eq!(state.steps(0, &[]), Steps { total: 1, done: 1, cached: 0 });
}

#[test]
fn a_child_does_not_count_its_parents_steps() {
    let mut state = State::new(["base", "app"]);
    state.feed(&vertex("d", "[base 2/2] RUN x", DONE));
    state.feed(&vertex("d", "[app 2/2] RUN x", DONE));
    assert_eq!(state.current(1, &[0]), None);
    state.feed(&vertex("e", "[app 2/2] RUN y", r#","started":"t","completed":"t","cached":true"#));
    assert_eq!(state.steps(1, &[0]), Steps { total: 1, done: 1, cached: 1 });
    assert_eq!(state.steps(1, &[]).total, 2);
}

#[test]
fn a_cancelled_step_is_not_at_fault() {
    let mut state = State::new(["a", "b"]);
    state.feed(&vertex(
        "d",
        "[a 2/2] RUN x",
        r#","completed":"t","error":"process did not complete: exit code: 137: context canceled""#,
    ));
    state.feed(&vertex("c", "[a] importing cache manifest from r/c", r#","completed":"t","error":"not found""#));
    state.feed(&vertex("e", "[b 2/2] RUN y", r#","completed":"t","error":"exit code: 1""#));
    state.feed(r#"{"logs":[{"vertex":"e","data":"G1szMW1iYWQKcGFydA=="}]}"#);
    state.feed("ERROR: target b: failed to solve: exit code: 1");
    assert_eq!(state.failing_step(0), None);
    assert_eq!(state.failing_step(1), Some(("[2/2] RUN y".into(), vec!["bad".into(), "part".into()])));
    assert_eq!(state.verdict(), Some((1, "failed to solve: exit code: 1")));
}

#[test]
fn a_line_is_what_a_terminal_would_leave() {
    assert_eq!(clean("10%\r\u{1b}[32m100%\u{1b}[0m\r"), "100%");
    assert_eq!(clean("a\u{7}b\tc\u{1b}"), r"a\u{7}b	c\u{1b}");
}

#[test]
fn a_childs_fault_may_be_its_parents() {
    let mut state = State::new(["base", "app"]);
    let failed = r#","completed":"t","error":"exit code: 1""#;
    state.feed(&vertex("d", "[base 2/2] RUN x", failed));
    state.feed(&vertex("d", "[app 2/2] RUN x", failed));
    assert!(state.is_fault_of(1, 0));
    state.feed(&vertex("e", "[app 3/3] RUN y", failed));
    assert!(!state.is_fault_of(1, 0));
}

/// A recorded run of bake over these targets, complete.
fn recorded(name: &str, targets: &[&str]) -> State {
    let path = format!("{}/tests/fixtures/rawjson/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut state = State::new(targets.iter().copied());
    for line in std::fs::read_to_string(path).unwrap().lines() {
        state.feed(line);
    }
    state
}

fn steps(total: usize, done: usize, cached: usize) -> Steps {
    Steps { total, done, cached }
}

#[test]
fn recorded_a_cold_build_pulls_once_and_exports_both() {
    let state = recorded("cold", &["one", "two"]);
    assert_eq!((state.steps(0, &[]), state.steps(1, &[])), (steps(3, 3, 0), steps(3, 3, 0)));
    assert_eq!(state.pulled(0) + state.pulled(1), 1_383_550, "one layer, however many targets need it");
    assert_eq!(state.digest(0), Some("sha256:853a5afe084050ba4bad890203e91a8081687fb723a7d3b5fe9fcd5e29a2e6d0"));
    assert!(state.is_exported(0) && state.is_exported(1) && state.verdict().is_none());
    assert!(state.log(0).contains(&"hello from one".to_owned()), "{:?}", state.log(0));
}

#[test]
fn recorded_a_second_build_is_cached() {
    let state = recorded("cached", &["one", "two"]);
    assert_eq!((state.steps(0, &[]), state.steps(1, &[])), (steps(3, 3, 3), steps(3, 3, 3)));
    assert_eq!(state.pulled(0) + state.pulled(1), 0);
}

#[test]
fn recorded_a_failure_cancels_its_sibling_but_not_what_is_exported() {
    let state = recorded("fail", &["bad", "one", "slow"]);
    let (at, why) = state.verdict().unwrap();
    assert_eq!((at, why.ends_with("did not complete successfully: exit code: 7")), (0, true), "{why}");
    let (step, log) = state.failing_step(0).unwrap();
    assert!(step.starts_with("[2/2] RUN echo about to fail"), "{step}");
    assert_eq!(log, ["about to fail", "really"]);
    assert_eq!(state.failing_step(2), None, "cancelled");
    assert_eq!([0, 1, 2].map(|at| state.is_exported(at)), [false, true, false]);
}

#[test]
fn recorded_alone_a_target_has_no_name() {
    let state = recorded("fail-alone", &["bad"]);
    assert_eq!(state.verdict().map(|(at, _)| at), Some(0));
    assert!(state.failing_step(0).is_some());
}

#[test]
fn recorded_a_missing_base_is_named() {
    let state = recorded("missing-base", &["missing", "one", "slow"]);
    let (at, why) = state.verdict().unwrap();
    assert_eq!((at, why.contains("runtest/nope:1: not found")), (0, true), "{why}");
}

#[test]
fn recorded_a_missing_cache_fails_nothing() {
    let state = recorded("missing-cache", &["two", "one", "slow"]);
    assert_eq!([0, 1, 2].map(|at| (state.is_exported(at), state.failing_step(at))), [(true, None), (true, None), (true, None)]);
    assert_eq!(state.verdict(), None);
}

#[test]
fn recorded_a_family_shares_steps_and_blame() {
    let state = recorded("family", &["base", "child"]);
    assert_eq!((state.steps(0, &[]), state.steps(1, &[0])), (steps(3, 3, 0), steps(1, 1, 0)));
    let state = recorded("fail-family", &["bad", "kid"]);
    assert_eq!(state.verdict().map(|(at, _)| at), Some(1), "bake names the child");
    assert!(state.is_fault_of(1, 0));
}
