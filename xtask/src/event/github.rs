//! The event as GitHub Actions tells it: environment variables and the event file.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>

use serde_json::Value;

use super::{Compare, Event, Recorded};
use crate::config::Env;

/// # Errors
/// An event that has no meaning here, or a file without what it must have.
pub fn read(env: &Env, file: &Value, rebuild_inputs: &[String]) -> Result<Recorded, String> {
    let name = env.get("GITHUB_EVENT_NAME").map(String::as_str).unwrap_or_default();
    let text = |pointer: &str| file.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let ref_name = env.get("GITHUB_REF_NAME").cloned().unwrap_or_default();
    let default_branch = text("/repository/default_branch");
    let recorded = |event, compare| Ok(Recorded { event, compare, default_branch: default_branch.clone() });
    match name {
        "pull_request" => {
            let number = file
                .pointer("/pull_request/number")
                .and_then(Value::as_u64)
                .ok_or("the event file has no pull_request.number")?;
            // By repository, not by absent secrets; a head repository that was deleted is null, and foreign.
            let fork = text("/pull_request/head/repo/full_name") != text("/pull_request/base/repo/full_name")
                || text("/pull_request/head/repo/full_name").is_none();
            let event = Event::PullRequest { number: Some(number), fork, base: text("/pull_request/base/ref") };
            recorded(event, base(text("/pull_request/base/sha")))
        }
        "merge_group" => {
            let base_ref = text("/merge_group/base_ref").map(|name| name.trim_start_matches("refs/heads/").to_owned());
            recorded(Event::PullRequest { number: None, fork: false, base: base_ref }, base(text("/merge_group/base_sha")))
        }
        "push" if env.get("GITHUB_REF_TYPE").is_some_and(|kind| kind == "tag") => {
            recorded(Event::Tag { name: ref_name }, Compare::Nothing)
        }
        "push" => {
            let before = text("/before").unwrap_or_default();
            let forced = file.pointer("/forced").and_then(Value::as_bool).unwrap_or(false);
            let compare = match before.trim_matches('0') {
                "" => Compare::Unknown("the branch is new".into()),
                _ if forced => Compare::Unknown("the push was forced".into()),
                _ => Compare::Base(before),
            };
            recorded(Event::Branch { name: ref_name }, compare)
        }
        "schedule" => recorded(Event::Schedule { branch: Some(ref_name) }, Compare::Nothing),
        "workflow_dispatch" => {
            // Booleans arrive as text here, as booleans in `inputs` of workflow_call.
            let is_true = |input: &String| {
                matches!(file.pointer("/inputs").and_then(|inputs| inputs.get(input)), Some(Value::Bool(true)))
                    || file.pointer("/inputs").and_then(|inputs| inputs.get(input)).is_some_and(|value| value == "true")
            };
            recorded(Event::Manual { rebuild: rebuild_inputs.iter().any(is_true), branch: Some(ref_name) }, Compare::Nothing)
        }
        "pull_request_target" => {
            Err("pull_request_target runs foreign code with this repository's secrets; use pull_request".into())
        }
        other => Err(format!(
            "the event {other} has no meaning here; use push, pull_request, merge_group, schedule or workflow_dispatch"
        )),
    }
}

fn base(sha: Option<String>) -> Compare {
    sha.map_or_else(|| Compare::Unknown("the event names no base".into()), Compare::Base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(name: &str, ref_type: &str, ref_name: &str, file: &Value) -> Result<Recorded, String> {
        let pairs = [("GITHUB_EVENT_NAME", name), ("GITHUB_REF_TYPE", ref_type), ("GITHUB_REF_NAME", ref_name)];
        let env = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        read(&env, file, &["REBUILD_BASE".into()])
    }

    #[test]
    fn pull_requests_and_forks() {
        let file = |head: Value| json!({"pull_request": {"number": 7, "head": {"repo": head}, "base": {"ref": "main", "sha": "abc", "repo": {"full_name": "a/b"}}}});
        for (head, fork) in [(json!({"full_name": "a/b"}), false), (json!({"full_name": "c/b"}), true), (Value::Null, true)] {
            let got = run("pull_request", "branch", "7/merge", &file(head)).unwrap();
            assert_eq!(got.event, Event::PullRequest { number: Some(7), fork, base: Some("main".into()) });
            assert_eq!(got.compare, Compare::Base("abc".into()));
        }
    }

    #[test]
    fn pushes() {
        let zero = "0".repeat(40);
        for (before, forced, known) in [("abc", false, true), ("abc", true, false), (zero.as_str(), false, false)] {
            let got = run("push", "branch", "feature/x", &json!({"before": before, "forced": forced})).unwrap();
            assert_eq!(got.event, Event::Branch { name: "feature/x".into() });
            assert_eq!(matches!(got.compare, Compare::Base(_)), known, "{before} {forced}");
        }
        assert_eq!(run("push", "tag", "v1.2.3", &json!({})).unwrap().event, Event::Tag { name: "v1.2.3".into() });
    }

    #[test]
    fn manual_runs() {
        for (value, rebuild) in [(json!("true"), true), (json!("false"), false), (json!(true), true), (Value::Null, false)] {
            let got = run("workflow_dispatch", "branch", "main", &json!({"inputs": {"REBUILD_BASE": value}})).unwrap();
            assert_eq!(got.event, Event::Manual { rebuild, branch: Some("main".into()) });
        }
        assert!(matches!(
            run("workflow_dispatch", "branch", "main", &json!({"inputs": null})).unwrap().event,
            Event::Manual { rebuild: false, .. }
        ));
    }

    #[test]
    fn others() {
        let got = run(
            "merge_group",
            "branch",
            "gh-readonly-queue/x",
            &json!({"merge_group": {"base_ref": "refs/heads/main", "base_sha": "abc"}}),
        )
        .unwrap();
        assert_eq!(got.event, Event::PullRequest { number: None, fork: false, base: Some("main".into()) });
        assert!(run("pull_request_target", "branch", "x", &json!({})).unwrap_err().contains("use pull_request"));
        assert!(run("issues", "branch", "x", &json!({})).unwrap_err().contains("no meaning"));
    }
}
