//! The event as GitHub Actions tells it: environment variables and the event file.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>,
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads>

use serde_json::Value;

use super::{Compare, Event, Recorded};
use crate::config::Env;

/// # Errors
/// An event that has no meaning here, or one without what it must have.
pub fn read(env: &Env, file: &Value, rebuild_inputs: &[String]) -> Result<Recorded, String> {
    let told = Told { env, file };
    let (event, compare) = match told.var("GITHUB_EVENT_NAME").ok_or("GITHUB_EVENT_NAME is not set")? {
        "pull_request" => told.pull_request()?,
        "merge_group" => told.merge_group(),
        "push" => told.push()?,
        "release" => told.release()?,
        "schedule" => (Event::Schedule { branch: told.branch() }, Compare::Nothing),
        "workflow_dispatch" => (told.manual(rebuild_inputs), Compare::Nothing),
        "pull_request_target" => {
            return Err("pull_request_target runs foreign code with this repository's secrets (use pull_request)".into());
        }
        other => {
            let known = "push, release, pull_request, merge_group, schedule or workflow_dispatch";
            return Err(format!("the event {other} has no meaning here (use {known})"));
        }
    };
    Ok(Recorded { event, compare, default_branch: told.text("/repository/default_branch") })
}

/// Where an answer may stand: a minimal event file, such as act's, leaves most of it to the environment.
struct Told<'a> {
    env: &'a Env,
    file: &'a Value,
}

impl<'a> Told<'a> {
    fn var(&self, name: &str) -> Option<&'a str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, pointer: &str) -> Option<String> {
        self.file.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    }

    fn flag(&self, name: &str) -> bool {
        self.file.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// `refs/heads/main` → ("heads", "main"); of a pull request ("pull", "12/merge").
    fn git_ref(&self) -> (&'a str, &'a str) {
        let full = self.var("GITHUB_REF").and_then(|full| full.strip_prefix("refs/")?.split_once('/'));
        let kind = if self.var("GITHUB_REF_TYPE") == Some("tag") { "tags" } else { "heads" };
        full.unwrap_or((kind, self.var("GITHUB_REF_NAME").unwrap_or_default()))
    }

    /// The branch of a scheduled or manual run. A tag keeps its `refs/tags/`, so that it is never taken for a branch.
    fn branch(&self) -> Option<String> {
        match self.git_ref() {
            (_, "") => None,
            ("heads", name) => Some(name.to_owned()),
            (kind, name) => Some(format!("refs/{kind}/{name}")),
        }
    }

    fn pull_request(&self) -> Result<(Event, Compare), String> {
        let from_ref = || match self.git_ref() {
            ("pull", name) => name.split('/').next()?.parse().ok(),
            _ => None,
        };
        let number = self.file.pointer("/pull_request/number").and_then(Value::as_u64).or_else(from_ref);
        let number = Some(number.ok_or("neither the event file nor GITHUB_REF has the pull request's number")?);
        // By repository, not by absent secrets. One that was deleted is null, and like one that is not named: foreign.
        let head = self.text("/pull_request/head/repo/full_name");
        let own = self.text("/pull_request/base/repo/full_name");
        let own = own.or_else(|| self.var("GITHUB_REPOSITORY").map(str::to_owned));
        let fork = !head.zip(own).is_some_and(|(head, own)| head.eq_ignore_ascii_case(&own));
        let base = self.text("/pull_request/base/ref").or_else(|| self.var("GITHUB_BASE_REF").map(str::to_owned));
        let compare = Compare::Target { base: self.text("/pull_request/base/sha"), head: self.text("/pull_request/head/sha") };
        Ok((Event::PullRequest { number, fork, base }, compare))
    }

    fn merge_group(&self) -> (Event, Compare) {
        let base = self.text("/merge_group/base_ref");
        let base = base.map(|name| name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned());
        let compare = Compare::Target { base: self.text("/merge_group/base_sha"), head: self.text("/merge_group/head_sha") };
        (Event::PullRequest { number: None, fork: false, base }, compare)
    }

    fn push(&self) -> Result<(Event, Compare), String> {
        let name = match self.git_ref() {
            (_, "") => return Err("neither GITHUB_REF nor GITHUB_REF_NAME says what was pushed".into()),
            (_, name) if self.flag("deleted") => return Err(format!("{name} was deleted, so there is nothing to build")),
            ("tags", name) => return Ok((Event::Tag { name: name.to_owned() }, Compare::Nothing)),
            (_, name) => name.to_owned(),
        };
        let compare = match self.text("/before") {
            None => Compare::Unknown("the event does not say what was there before the push".into()),
            Some(before) if self.flag("created") || before.bytes().all(|b| b == b'0') => {
                Compare::Unknown("the branch is new".into())
            }
            Some(_) if self.flag("forced") => Compare::Unknown("the push was forced".into()),
            before => Compare::Before(before),
        };
        Ok((Event::Branch { name, forced: self.flag("forced") }, compare))
    }

    /// A release is the event of its tag. A draft has no tag yet, and no other change of a release changes the source.
    fn release(&self) -> Result<(Event, Compare), String> {
        let from_ref = Some(self.git_ref()).filter(|(kind, name)| *kind == "tags" && !name.is_empty());
        let named = self.text("/release/tag_name").filter(|name| !name.is_empty());
        let name = match (named, from_ref) {
            (Some(name), Some((_, other))) if name != other => {
                return Err(format!("the release is of the tag {name}, and GITHUB_REF is of the tag {other}"));
            }
            (Some(name), _) => name,
            (None, Some((_, name))) => name.to_owned(),
            (None, None) => return Err("neither the event file nor GITHUB_REF has the tag of the release".into()),
        };
        let is_draft = self.file.pointer("/release/draft").and_then(Value::as_bool).unwrap_or(false);
        match self.text("/action").as_deref() {
            None | Some("published" | "released" | "prereleased" | "created") if !is_draft => {
                Ok((Event::Tag { name }, Compare::Nothing))
            }
            action => {
                let what = if is_draft { "is a draft" } else { action.unwrap_or_default() };
                let start = "start the workflow with `on: release: types: [published]`";
                Err(format!(
                    "the release of {name} {}{what}, so there is nothing to build ({start})",
                    if is_draft { "" } else { "was " }
                ))
            }
        }
    }

    fn manual(&self, rebuild_inputs: &[String]) -> Event {
        // A checkbox arrives as text in the event file, as a boolean where a workflow calls another.
        let ticked = |input: &String| match self.file.get("inputs").and_then(|inputs| inputs.get(input)) {
            Some(Value::Bool(ticked)) => *ticked,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        Event::Manual { rebuild: rebuild_inputs.iter().any(ticked), branch: self.branch() }
    }
}
