//! Cache entries of a build, as buildx takes them.

use super::planner::Input;
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
    if policy.cache == CacheMode::Off {
        return Entries::default();
    }
    // Without [cache] there are the images themselves.
    let cache = input.config.cache.as_ref();
    let gha = cache.is_some_and(|cache| cache.gha);
    let reference = build.cache_ref.as_ref().map(|name| input.config.with_target(name));
    let mut read: Vec<String> = reference.iter().map(|reference| format!("type=registry,ref={reference}")).collect();
    read.extend(policy.cache_from_tags.iter().map(|tag| from_tag(input, build, tag)));
    if gha {
        read.push(format!("type=gha,scope={}", build.id));
    }
    // A fresh build always counts as changed.
    let is_plain = stage.fresh || cache.is_some_and(|cache| cache.write_when == WriteWhen::Always);
    let (changed, why) = stage.dependencies_changed;
    let may_write = policy.cache == CacheMode::ReadWrite;
    let mut to = Vec::new();
    if may_write && stage.publishes {
        to.extend(reference.iter().map(|reference| format!("type=registry,ref={reference},mode=max,ignore-error=true")));
    }
    let pull_request = matches!(input.event, Event::PullRequest { fork: false, .. });
    if may_write && gha && (stage.publishes || pull_request) {
        to.push(format!("type=gha,scope={},mode=max,ignore-error=true", build.id));
    }
    let is_told = !is_plain && !to.is_empty();
    let reason = is_told.then(|| format!("the cache is {}written: {why}", if *changed { "" } else { "not " }));
    if !is_plain && !changed {
        to.clear();
    }
    if carries_inline(build, policy, stage) {
        to.push("type=inline".into());
    }
    Entries {
        from: if stage.fresh { Vec::new() } else { read.clone() },
        to,
        push_from: if stage.publishes { read } else { Vec::new() },
        reason,
    }
}

fn from_tag(input: &Input<'_>, build: &Build, tag: &str) -> String {
    format!("type=registry,ref={}:{tag}", input.config.with_target(&build.repository))
}

/// An image that some event reads as cache carries inline cache whenever it gets one of those tags.
fn carries_inline(build: &Build, policy: &Policy, stage: &Stage<'_>) -> bool {
    let read_somewhere = |tag: &String| build.on.iter().any(|other| other.cache_from_tags.contains(tag));
    stage.publishes && policy.tags.iter().any(read_somewhere)
}

#[cfg(test)]
mod tests {
    use crate::event::parse;
    use crate::facts::Facts;
    use crate::plan::plan;
    use crate::plan::testing::config;

    #[test]
    fn images_are_caches_without_any_other() {
        let planned = |more: &str| {
            let config = config(&format!("[image.a]\n[on.branch.main]\ntags = ['latest']\ncache-from-tags = ['latest']\n{more}"));
            let facts = Facts { commit: Some("0123456789".into()), ..Facts::default() };
            let build = plan(&config, &parse::event("branch:main").unwrap(), &facts, &[]).unwrap().builds.remove(0);
            (build.test.cache_from, build.test.cache_to)
        };
        let latest = "type=registry,ref=ghcr.io/acme/a:latest".to_owned();
        assert_eq!(planned(""), (vec![latest], vec!["type=inline".to_owned()]));
        assert_eq!(planned("cache = 'off'"), (vec![], vec![]));
    }
}
