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
    assert_eq!(strip_ansi("a\u{7}b\tc\u{1b}"), "ab\tc");
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
