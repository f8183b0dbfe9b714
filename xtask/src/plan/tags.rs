//! Tags: placeholders filled from the event, written-once and moving ones kept apart.

use std::collections::BTreeMap;

use anyhow::Result;

use super::planner::Input;
use crate::config::placeholder::{self, Piece, pieces};
use crate::config::{Build, Policy};
use crate::error::Fault;
use crate::event::Event;
use crate::facts::Facts;
use crate::marks;
use crate::version::Version;

/// A tag whose text has one of these is written once.
const ONCE: [&str; 5] = ["{version}", "{semver}", "{sha}", "{sha7}", "{timestamp}"];

/// Whether a template's tags are written once; the others move.
pub fn is_written_once(template: &str) -> bool {
    ONCE.iter().any(|placeholder| template.contains(placeholder))
}

/// Full references, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Tags {
    pub once: Vec<String>,
    /// `latest` last.
    pub moving: Vec<String>,
    /// Those of `moving` that are made of the branch's name.
    pub follow: Vec<String>,
    /// Why a moving tag of the policy is not in `moving`.
    pub held_back: Vec<String>,
}

impl Tags {
    pub fn is_empty(&self) -> bool {
        self.once.is_empty() && self.moving.is_empty()
    }

    /// Local names of the loaded image; the event's kind where the policy has no tags, with the build's id where the
    /// repository is not its alone.
    pub fn load(&self, input: &Input<'_>, build: &Build, repository: &str) -> Vec<String> {
        if !self.is_empty() {
            return self.once.iter().chain(&self.moving).cloned().collect();
        }
        let number;
        let kind = match input.event {
            Event::PullRequest { number: Some(of), .. } => {
                number = format!("pr-{of}");
                &number
            }
            Event::PullRequest { number: None, .. } => "merge-queue",
            Event::Branch { .. } => "branch",
            Event::Tag { .. } => "tag",
            Event::Schedule { .. } => "schedule",
            Event::Manual { .. } => "manual",
            Event::Local => "local",
        };
        let shares = |other: &Build| other.repository == build.repository && other.id != build.id;
        let own = if input.config.builds.iter().any(shares) { format!("-{}", build.id) } else { String::new() };
        vec![format!("{repository}:{kind}{own}")]
    }
}

pub fn tags(input: &Input<'_>, build: &Build, policy: &Policy, repository: &str) -> Result<Tags> {
    let mut tags = Tags::default();
    let is_prerelease = input.version.is_some_and(|version| version.is_prerelease());
    let is_release = matches!(input.event, Event::Tag { .. })
        || policy.tags.iter().any(|tag| tag.contains("{version}") || tag.contains("{semver}"));
    let holds = is_prerelease && is_release && !input.config.release.prereleases_move_tags;
    for template in &policy.tags {
        if template.contains("{number}") && matches!(input.event, Event::PullRequest { number: None, .. }) {
            continue; // a merge queue has no number
        }
        let tag = fill(input, build, template)?;
        check(&tag, template, &build.id)?;
        let reference = format!("{repository}:{tag}");
        let follows = pieces(template).contains(&Piece::Name("branch"));
        if is_written_once(template) {
            tags.once.push(reference);
        } else if follows {
            tags.follow.push(reference.clone());
            tags.moving.push(reference);
        } else if holds {
            let version = input.version.map(|version| version.text.as_str()).unwrap_or_default();
            tags.held_back.push(format!("{tag} stays where it is: {version} is a pre-release"));
        } else {
            tags.moving.push(reference);
        }
    }
    let latest = format!("{repository}:latest");
    tags.moving.sort_by_key(|reference| *reference == latest);
    dedup(&mut tags.once);
    dedup(&mut tags.moving);
    tags.moving.retain(|reference| !tags.once.contains(reference));
    dedup(&mut tags.follow);
    tags.follow.retain(|reference| tags.moving.contains(reference));
    Ok(tags)
}

/// The first tag of the event that is made of the commit, as it is for the commit before this push. Not one of the time,
/// which that run had another of.
pub fn of_commit_before(input: &Input<'_>, build: &Build, policy: &Policy, repository: &str) -> Option<String> {
    let before = input.facts.before.as_deref()?;
    let has = |template: &String, names: [&str; 2]| names.iter().any(|name| template.contains(name));
    let mut templates = policy.tags.iter().filter(|template| has(template, ["{sha}", "{sha7}"]));
    let template = templates.find(|template| !has(template, ["{timestamp}", "{date}"]))?;
    let facts = Facts { commit: Some(before.to_owned()), ..Facts::default() };
    let input = Input { facts: &facts, ..*input };
    Some(format!("{repository}:{}", fill(&input, build, template).ok()?))
}

/// Fills the event's placeholders in every value.
pub fn fill_all(input: &Input<'_>, build: &Build, values: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    values.iter().map(|(name, value)| Ok((name.clone(), fill(input, build, value)?))).collect()
}

fn fill(input: &Input<'_>, build: &Build, template: &str) -> Result<String> {
    let filled = placeholder::fill(template, |name| value(input, name));
    filled.map_err(|error| Fault::usage(format!("cannot fill \"{template}\" of {}: {error}", build.id)).into())
}

/// What a placeholder of the event stands for; `None`: it has no value in this event.
pub fn value(input: &Input<'_>, name: &str) -> Option<String> {
    let Input { facts, version, event, .. } = input;
    match (name, event) {
        ("sha", _) => facts.commit.clone(),
        ("sha7", _) => facts.commit.as_ref().map(|sha| sha.chars().take(7).collect()),
        ("timestamp", _) => Some(timestamp(&facts.now)),
        ("date", _) => Some(timestamp(&facts.now).chars().take(8).collect()),
        ("branch", Event::Schedule { branch: None } | Event::Manual { branch: None, .. }) => Some(as_tag(&facts.default_branch)),
        ("branch", Event::Local | Event::PullRequest { .. }) => facts.branch.as_deref().map(as_tag),
        _ => told(event, *version, name),
    }
}

/// The same where the event and the version tell it, before anybody has asked git or the clock.
pub fn told(event: &Event, version: Option<&Version>, name: &str) -> Option<String> {
    let number = |at: usize| version.map(|version| [version.major(), version.minor(), version.patch()][at].to_string());
    match (name, event) {
        ("version", _) => version.map(|version| version.text.clone()),
        ("semver", _) => version.map(|version| version.semver_text().to_owned()),
        ("major", _) => number(0),
        ("minor", _) => number(1),
        ("patch", _) => number(2),
        ("number", Event::PullRequest { number, .. }) => number.map(|number| number.to_string()),
        ("branch", Event::Branch { name: branch, .. }) => Some(as_tag(branch)),
        ("branch", Event::Schedule { branch } | Event::Manual { branch, .. }) => branch.as_deref().map(as_tag),
        _ => None,
    }
}

/// A branch's name as a tag: what a tag may not contain becomes `-`.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
fn as_tag(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let text: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    text.trim_start_matches(['.', '-']).chars().take(100).collect()
}

/// `2026-11-21T09:22:00Z` → `20261121-092200`.
pub fn timestamp(now: &str) -> String {
    let digits: String = now.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = digits.split_at(digits.len().min(8));
    format!("{day}-{time}")
}

fn check(tag: &str, template: &str, id: &str) -> Result<()> {
    let first = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let rest = tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if marks::read(tag).is_some() {
        let fault = Fault::usage(format!("\"{template}\" of {id} gives \"{tag}\", and runs call their own tags so"));
        return Err(fault.hint("let the tag begin with something else, or rename the branch").into());
    }
    if first && rest && tag.len() <= 128 {
        return Ok(());
    }
    let hint = "a tag is 1 to 128 of a-z A-Z 0-9 _ . - and does not start with . or -";
    Err(Fault::usage(format!("\"{template}\" of {id} gives \"{tag}\", which is not a tag")).hint(hint).into())
}

fn dedup(references: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    references.retain(|reference| seen.insert(reference.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse;
    use crate::plan::testing::config;

    #[test]
    fn branches_become_tags() {
        for (branch, tag) in [("main", "main"), ("feature/x", "feature-x"), ("-a b", "a-b"), ("ünï", "n-")] {
            assert_eq!(as_tag(branch), tag);
        }
    }

    #[test]
    fn builds_that_share_a_repository_do_not_share_a_local_name() {
        let tags = "on.pull-request.tags = ['pr-{number}-{id}']\non.local.tags = ['{id}']\non.tag = false\n";
        let shared = format!("repository = 'acme/x'\n{tags}");
        let config =
            config(&format!("[axes]\na = ['1', '2']\n[image.i]\nvariant = '{{a}}'\n{shared}[image.j]\n{shared}[image.k]\n"));
        let plan = crate::plan::plan(&config, &parse::event("merge-queue").unwrap(), &Facts::default(), &[]).unwrap();
        let names: Vec<&str> = plan.builds.iter().flat_map(|build| &build.test.load).map(String::as_str).collect();
        let shared = ["i-1", "i-2", "j"].map(|id| format!("ghcr.io/acme/x:merge-queue-{id}"));
        assert_eq!(names[..3], shared);
        assert_eq!(names[3], "ghcr.io/acme/k:merge-queue");
    }

    #[test]
    fn a_branch_that_is_called_like_a_mark_is_refused() {
        let config = config("[image.i]\n[on.branch.'**']\ntags = ['{branch}', '{branch}-{sha7}']\n");
        let facts = Facts { commit: Some("0123456789abcdef".into()), ..Facts::default() };
        let of = |branch: &str| {
            let event = parse::event(&format!("branch:{branch}")).unwrap();
            crate::plan::plan(&config, &event, &facts, &[]).map(drop).map_err(|error| error.to_string())
        };
        for branch in ["tested", "released-v1.2.3", "candidate/x", "main"] {
            assert_eq!(of(branch), Ok(()), "{branch}");
        }
        let digits = "0123456789ab";
        for branch in [format!("candidate/{digits}/1"), format!("tested-{digits}/{digits}"), format!("released/{digits}-v1.0.0")]
        {
            assert!(of(&branch).unwrap_err().contains("runs call their own tags so"), "{branch}");
        }
    }

    #[test]
    fn tags_of_a_branch_follow_it() {
        let tags = "tags = ['edge-{branch}-{variant}', '{branch}', '{branch}-{sha7}', 'dev']\n";
        let axes = "[axes]\na = ['1']\n[image.i]\nvariant = '{a}'\n";
        let config = config(&format!("{axes}[on.branch.'feature/*']\n{tags}"));
        let facts = Facts { commit: Some("0123456789".into()), ..Facts::default() };
        let event = parse::event("branch:feature/x").unwrap();
        let push = crate::plan::plan(&config, &event, &facts, &[]).unwrap().builds.remove(0).push;
        let of = |names: &[&str]| names.iter().map(|name| format!("ghcr.io/acme/i-1:{name}")).collect::<Vec<_>>();
        assert_eq!(push.tags, of(&["feature-x-0123456"]));
        assert_eq!(push.moving, of(&["edge-feature-x-1", "feature-x", "dev"]));
        assert_eq!(push.follow, of(&["edge-feature-x-1", "feature-x"]));
    }

    #[test]
    fn timestamps_are_digits() {
        assert_eq!(timestamp("2026-11-21T09:22:00Z"), "20261121-092200");
    }
}
