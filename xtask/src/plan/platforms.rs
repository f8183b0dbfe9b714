//! Which platforms each build of a run is for; a child has none that its parent has not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::planner::Input;
use super::select::{Taken, policy_of};
use super::{parents, publishers};
use crate::config::{Build, Parent, Policy};
use crate::error::Fault;
use crate::event::Event;
use crate::registry::normal;

/// Id → platforms, of each build of a run.
pub type Platforms<'a> = BTreeMap<&'a str, Vec<String>>;

/// `ordered`: parents before children.
pub fn of_run<'a>(input: &Input<'a>, ordered: &[&Taken<'a>]) -> Platforms<'a> {
    let mut needed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut found = Platforms::new();
    for Taken { build, policy, .. } in ordered.iter().rev() {
        let platforms = of_build(input, build, policy, needed.get(build.id.as_str()));
        for (_, parent) in input.config.parents(build) {
            needed.entry(&parent.id).or_default().extend(platforms.iter().cloned());
        }
        found.insert(&build.id, platforms);
    }
    found
}

/// The platforms that an event builds for. Where nobody says which, a local run builds for this machine, and what its
/// children need: `needed`.
pub fn of_build(input: &Input<'_>, build: &Build, policy: &Policy, needed: Option<&BTreeSet<String>>) -> Vec<String> {
    let all = policy.platforms(build);
    let own = &input.facts.host_platform;
    if *input.event != Event::Local || policy.platforms.is_some() || !all.contains(own) {
        return all.to_vec();
    }
    let is_needed = |platform: &&String| *platform == own || needed.is_some_and(|needed| needed.contains(*platform));
    all.iter().filter(is_needed).cloned().collect()
}

/// The platforms of a child, where its parent has them all: in this run, else where it is published, by its registry or,
/// where that was not asked, by what is configured.
///
/// # Errors
/// Usage: what the parent lacks. BuildKit would take the parent of another platform without a word.
pub fn lacks_none(input: &Input<'_>, child: &Build, run: &Platforms<'_>, parent: &Parent, of: &Build) -> Result<()> {
    let here = run.get(of.id.as_str());
    let tag = parents::published_tag(input, parent.tag.as_ref(), of);
    let found = || input.facts.platforms.get(&parents::reference(input, parent, of)).filter(|found| !found.is_empty());
    let theirs = here.or_else(found).cloned().unwrap_or_else(|| published(of, &tag));
    let mine = run.get(child.id.as_str()).map(Vec::as_slice).unwrap_or_default();
    let lacking: Vec<&str> = mine.iter().filter(|platform| !has(&theirs, platform)).map(String::as_str).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let said = if here.is_some() { "" } else { " published for it" };
    let message = format!("{} is for {}, but its parent {} is not{said}", child.id, lacking.join(", "), of.id);
    let configured = published(of, &tag);
    if here.is_none() && lacking.iter().all(|platform| has(&configured, platform)) {
        // It was not when the parent was published.
        return Err(Fault::usage(message).hint(publishers::hint(input, of, &tag)).into());
    }
    let is_narrowed = lacking.iter().all(|platform| has(&of.platforms, platform));
    let policy = if here.is_some() { policy_of(input.event, of).ok() } else { publishers::of(of, &tag).next() };
    let key = match policy.filter(|_| is_narrowed) {
        Some(policy) => format!("{}.platforms", policy.event),
        None => "the platforms".to_owned(),
    };
    let hint = format!("add it to {key} of image.{}, or take it out of those of image.{}", of.image, child.image);
    Err(Fault::usage(message).hint(hint).into())
}

fn has(platforms: &[String], platform: &str) -> bool {
    platforms.iter().any(|other| normal(other) == normal(platform))
}

/// What the events that publish a tag build it for; where none does, what the image is for.
fn published(of: &Build, tag: &str) -> Vec<String> {
    let platforms = |policy: &Policy| policy.platforms(of).to_vec();
    let mut policies = publishers::of(of, tag).map(platforms).peekable();
    if policies.peek().is_none() { of.platforms.clone() } else { policies.flatten().collect() }
}

#[cfg(test)]
mod tests {
    use crate::event::parse;
    use crate::facts::{Changed, Dockerfile, Facts};
    use crate::plan::plan;
    use crate::plan::testing::config;

    /// The platforms of base, app and leaf, each on the one before it, on a machine of linux/amd64.
    fn planned(text: &str, event: &str, changed: Option<&str>) -> Result<Vec<(String, String)>, String> {
        let config = config(text);
        let made = |(id, from): (&str, &str)| {
            let dockerfile = Dockerfile { images: vec![from.into()], sources: Some(vec![id.into()]), ..Dockerfile::default() };
            (id.to_owned(), dockerfile)
        };
        let facts = Facts {
            commit: Some("0123456789".into()),
            host_platform: "linux/amd64".into(),
            changed: changed.map_or(Changed::default(), |file| Changed::Files(vec![file.into()])),
            variants: [("base", "debian"), ("app", "base"), ("leaf", "app")].map(made).into(),
            ..Facts::default()
        };
        let plan = plan(&config, &parse::event(event).unwrap(), &facts, &[]).map_err(|error| crate::error::render(&error))?;
        Ok(plan.builds.into_iter().map(|build| (build.id, build.platforms.join(" "))).collect())
    }

    fn rows(rows: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(rows.iter().map(|&(id, platforms)| (id.to_owned(), platforms.to_owned())).collect())
    }

    const BOTH: &str = "platforms = ['linux/amd64', 'linux/arm64']\n";
    const ARM: &str = "platforms = ['linux/arm64']\n";

    #[test]
    fn on_this_machine_a_parent_has_what_its_children_need() {
        let base = format!("[image.base]\n{BOTH}");
        let app = format!("[image.app]\nparent = 'base'\n{BOTH}");
        assert_eq!(planned(&format!("{base}{app}"), "local", None), rows(&[("base", "linux/amd64"), ("app", "linux/amd64")]));
        let both = "linux/amd64 linux/arm64";
        let leaf = format!("{base}{app}[image.leaf]\nparent = 'app'\n{ARM}");
        assert_eq!(planned(&leaf, "local", None), rows(&[("base", both), ("app", both), ("leaf", "linux/arm64")]));
        let said = format!("{base}on.local.platforms = ['linux/amd64']\n[image.app]\nparent = 'base'\n{ARM}");
        let error = planned(&said, "local", None).unwrap_err();
        assert!(error.contains("app is for linux/arm64, but its parent base is not"), "{error}");
        assert!(error.contains("hint: add it to on.local.platforms of image.base"), "{error}");
    }

    #[test]
    fn a_parent_is_for_what_its_event_builds() {
        let app = format!("[image.app]\nparent = 'base'\n{BOTH}on.branch.main.{BOTH}");
        let text = format!("[image.base]\n{BOTH}{app}[on.branch.main]\ntags = ['latest']\nplatforms = ['linux/amd64']\n");
        let error = planned(&text, "branch:main", None).unwrap_err();
        assert!(error.contains("app is for linux/arm64, but its parent base is not\n"), "{error}");
        assert!(error.contains("hint: add it to on.branch.main.platforms of image.base, or"), "{error}");
        let error = planned(&text, "branch:main", Some("app")).unwrap_err();
        assert!(error.contains("but its parent base is not published for it"), "{error}");
        let both = "linux/amd64 linux/arm64";
        let published = format!("{text}[on.schedule]\ncron = '0 3 * * 0'\ntags = ['latest']\n");
        assert_eq!(planned(&published, "branch:main", Some("app")), rows(&[("app", both)]));
    }

    #[test]
    fn a_published_parent_is_for_what_its_registry_says() {
        let config = config(&format!(
            "[image.base]\n{BOTH}on.schedule = {{ cron = '0 3 * * 0', tags = ['latest'] }}\n[image.app]\nparent = 'base'\n{BOTH}\
             on.branch.main.tags = ['latest']\n"
        ));
        let dockerfile = Dockerfile { images: vec!["base".into()], sources: Some(vec!["app".into()]), ..Dockerfile::default() };
        let published = |platforms: &[&str]| {
            let facts = Facts {
                commit: Some("0123456789".into()),
                branch: Some("main".into()),
                default_branch: "main".into(),
                changed: Changed::Files(vec!["app".into()]),
                variants: [("app".to_owned(), dockerfile.clone())].into(),
                platforms: [("ghcr.io/acme/base:latest".to_owned(), platforms.iter().map(|name| (*name).to_owned()).collect())]
                    .into(),
                ..Facts::default()
            };
            plan(&config, &parse::event("branch:main").unwrap(), &facts, &[]).map_err(|error| crate::error::render(&error))
        };
        assert!(published(&["linux/amd64", "linux/arm64/v8"]).is_ok());
        let error = published(&["linux/amd64"]).unwrap_err();
        assert!(error.contains("app is for linux/arm64, but its parent base is not published for it"), "{error}");
        assert!(error.contains("hint: build it first: `cargo xtask ci --event schedule`"), "{error}");
    }
}
