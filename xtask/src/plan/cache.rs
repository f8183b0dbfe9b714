//! Cache entries of a build, as buildx takes them.

use super::planner::{Input, with_registry};
use crate::config::{Build, CacheMode, Policy, WriteWhen};
use crate::event::Event;

/// What decides about caches beside the policy.
pub struct Stage<'a> {
    pub publishes: bool,
    pub fresh: bool,
    /// With the reason.
    pub dependencies_changed: &'a (bool, String),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entries {
    pub from: Vec<String>,
    pub to: Vec<String>,
    /// What the push stage may read; it never writes.
    pub push_from: Vec<String>,
    /// Why the cache is written or not, where that is not plain.
    pub reason: Option<String>,
}

/// All caches are read unless fresh. Publishing events write all, pull requests GitHub's only, forks nothing.
pub fn entries(input: &Input<'_>, build: &Build, policy: &Policy, stage: &Stage<'_>) -> Entries {
    let Some(cache) = &input.config.cache else { return inline_only(build, policy, stage) };
    if policy.cache == CacheMode::Off {
        return Entries::default();
    }
    let reference = build.cache_ref.as_ref().map(|name| with_registry(input.config, name));
    let mut read: Vec<String> = reference.iter().map(|reference| format!("type=registry,ref={reference}")).collect();
    read.extend(policy.cache_from_tags.iter().map(|tag| from_tag(input, build, tag)));
    if cache.gha {
        read.push(format!("type=gha,scope={}", build.id));
    }
    // A fresh build always counts as changed.
    let is_plain = cache.write_when == WriteWhen::Always || stage.fresh;
    let (changed, why) = stage.dependencies_changed;
    let may_write = policy.cache == CacheMode::ReadWrite;
    let mut to = Vec::new();
    if may_write && stage.publishes {
        to.extend(reference.iter().map(|reference| format!("type=registry,ref={reference},mode=max,ignore-error=true")));
    }
    let pull_request = matches!(input.event, Event::PullRequest { fork: false, .. });
    if may_write && cache.gha && (stage.publishes || pull_request) {
        to.push(format!("type=gha,scope={},mode=max,ignore-error=true", build.id));
    }
    let is_told = !is_plain && !to.is_empty();
    let reason = is_told.then(|| format!("the cache is {}written: {why}", if *changed { "" } else { "not " }));
    if !is_plain && !changed {
        to.clear();
    }
    to.extend(inline_only(build, policy, stage).to);
    Entries {
        from: if stage.fresh { Vec::new() } else { read.clone() },
        to,
        push_from: if stage.publishes { read } else { Vec::new() },
        reason,
    }
}

fn from_tag(input: &Input<'_>, build: &Build, tag: &str) -> String {
    format!("type=registry,ref={}:{tag}", with_registry(input.config, &build.repository))
}

/// An image that some event reads as cache carries inline cache whenever it gets one of those tags.
fn inline_only(build: &Build, policy: &Policy, stage: &Stage<'_>) -> Entries {
    let read_somewhere = |tag: &String| build.on.iter().any(|other| other.cache_from_tags.contains(tag));
    let inline = stage.publishes && policy.tags.iter().any(read_somewhere);
    Entries { to: if inline { vec!["type=inline".into()] } else { Vec::new() }, ..Entries::default() }
}
