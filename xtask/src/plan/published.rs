//! What a push that failed left undone: a published image that is of other files than those that are here, or on another
//! parent than the one that is published.
//!
//! Only this repository counts. A base that its publisher replaced, or another version, is no reason to build what a push
//! does not touch; a parent that was built on such a base is one for its children.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::labels::{MadeOf, UNKNOWN};
use super::planner::{self, Input};
use super::{fresh, parents, platforms, select, tags, versions};
use crate::config::{Build, Config, Parent, Policy};
use crate::event::Event;
use crate::facts::{Facts, hex};

/// The tags that have to be looked at before an event is planned. `skipped`: whether it leaves any build out.
pub fn looks(config: &Config, event: &Event, facts: &Facts, skipped: bool) -> BTreeSet<String> {
    let mut tags = each(
        config,
        event,
        facts,
        |input, build, policy| {
            if fresh::asks_bases(input, policy) { tag(input, build, policy) } else { None }
        },
    );
    tags.extend(commits(config, event, facts));
    if skipped {
        tags.extend(each(config, event, facts, |input, build, policy| {
            let Some(tag) = earlier(input, build, policy) else { return Vec::new() };
            config.parents(build).map(|(parent, of)| parents::reference(input, parent, of)).chain([tag]).collect()
        }));
    }
    tags
}

/// Those of them whose commit it is that dependencies are compared with.
pub fn commits(config: &Config, event: &Event, facts: &Facts) -> BTreeSet<String> {
    each(
        config,
        event,
        facts,
        |input, build, policy| {
            if fresh::asks_commit(input, policy) { tag(input, build, policy) } else { None }
        },
    )
}

fn each<T: IntoIterator<Item = String>>(
    config: &Config,
    event: &Event,
    facts: &Facts,
    tags: impl Fn(&Input<'_>, &Build, &Policy) -> T,
) -> BTreeSet<String> {
    let repositories = std::collections::HashMap::new();
    let version = versions::version(config, event).ok().flatten();
    let input = Input { config, event, facts, version: version.as_ref(), repositories: &repositories };
    let of = |build| Some(tags(&input, build, select::policy_of(event, build).ok()?));
    config.builds.iter().filter_map(of).flatten().collect()
}

/// The tag that says what is published of a build: the one that the event moves (`latest`, if that is among them), else
/// one that it writes once. `None`: it publishes nothing.
pub fn tag(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let mut tags = published(input, build, policy)?;
    tags.moving.pop().or_else(|| tags.once.into_iter().next())
}

/// The tag that says what the pushes before this one published: the one that moves, else, where all are written once,
/// that of the commit before this push. `None` where the files of a push alone decide.
fn earlier(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let is_asked = matches!(input.event, Event::Branch { .. }) && input.facts.dirty.is_none();
    let by_files = policy.paths.is_none() && policy.paths_ignore.is_none();
    if !is_asked || !by_files {
        return None;
    }
    let repository = input.config.with_registry(&build.repository);
    published(input, build, policy)?.moving.pop().or_else(|| tags::of_commit_before(input, build, policy, &repository))
}

/// The moving tag that this event moves for a build, `latest` before others. `None`: it moves none.
pub fn moved_tag(input: &Input<'_>, build: &Build) -> Option<String> {
    let policy = select::policy_of(input.event, build).ok()?;
    let is_for = planner::publishing_event(input) && select::is_for(input.config, policy, build);
    let reference = is_for.then(|| published(input, build, policy))??.moving.pop()?;
    Some(reference.rsplit_once(':')?.1.to_owned())
}

fn published(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<tags::Tags> {
    let is_local = matches!(input.event, Event::Local | Event::PullRequest { .. }) || input.config.registry.is_empty();
    if is_local || !build.publish || build.local_only {
        return None;
    }
    tags::tags(input, build, policy, &input.config.with_registry(&build.repository)).ok()
}

/// Why a build has to be made up for, if it has: nothing is published, or of other files, or on another parent than the
/// one that is published. What is not known is no reason.
pub fn behind(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let tag = earlier(input, build, policy)?;
    if input.facts.bases.get(&tag)?.is_none() {
        return Some(format!("{tag} was never published"));
    }
    let theirs = input.facts.made_of.get(&tag)?;
    let ours = files(input, build, &platforms::of_build(input, build, policy, None))?;
    if theirs.files != ours {
        return Some(format!("{tag} is of other files than these: an earlier run did not publish them"));
    }
    let replaced = |(parent, of): &(&Parent, &Build)| {
        let was = theirs.parents.split(' ').find_map(|entry| entry.strip_prefix(&of.id)?.strip_prefix('='));
        was.zip(now(input, parent, of)).is_some_and(|(was, now)| was != now)
    };
    let (_, parent) = input.config.parents(build).find(replaced)?;
    Some(format!("{tag} was built on another {} than is published now: an earlier run did not build it again", parent.id))
}

/// The hash of what is published of a parent. `None` also where this event publishes it under other tags: then a child
/// that is built in the same run is never on the one that another run takes.
fn now(input: &Input<'_>, parent: &Parent, of: &Build) -> Option<String> {
    let reference = parents::reference(input, parent, of);
    if let Ok(policy) = select::policy_of(input.event, of)
        && !published(input, of, policy)?.moving.contains(&reference)
    {
        return None;
    }
    input.facts.made_of.get(&reference)?.hash()
}

/// What the labels of an image will say. `parents`: the same of the builds before it, by id.
pub fn made_of(
    input: &Input<'_>,
    build: &Build,
    platforms: &[String],
    bases: &[&str],
    parents: &BTreeMap<String, MadeOf>,
) -> MadeOf {
    let bases: Vec<String> = bases.iter().map(|base| fresh::named(input, base)).collect();
    let hash = |(parent, of): (&Parent, &Build)| {
        let published = || input.facts.made_of.get(&parents::reference(input, parent, of));
        Some(format!("{}={}", of.id, parents.get(&of.id).or_else(published)?.hash()?))
    };
    let parents: Option<Vec<String>> = input.config.parents(build).map(hash).collect();
    MadeOf {
        files: files(input, build, platforms).unwrap_or_default(),
        bases: if bases.is_empty() && build.parents.is_empty() { "scratch".into() } else { bases.join(" ") },
        parents: parents.map_or_else(|| UNKNOWN.into(), |parents| parents.join(" ")),
        revision: input.facts.commit.clone().unwrap_or_default(),
    }
}

/// Hash of the files that a build is made of, and of what images.toml says of it: a change there is a change of a file.
/// `None` if they are not known.
fn files(input: &Input<'_>, build: &Build, platforms: &[String]) -> Option<String> {
    let (dockerfile, content) = (input.facts.dockerfile(build)?, input.facts.content(build)?);
    // As written: a version or a commit that is filled in is no change.
    let named = json!([dockerfile.sha256, build.target, platforms, content.sources, build.args, build.labels]);
    Some(hex(&Sha256::digest(named.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse;
    use crate::facts::content::Content;
    use crate::plan::golden::{facts, load};
    use crate::plan::plan;

    /// What the registry says of a build once it is published.
    fn published(build: &crate::plan::Build) -> MadeOf {
        MadeOf::read(|name| build.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str()))
    }

    #[test]
    fn a_failed_push_is_made_up_for_by_the_next() {
        let (root, config) = load("examples/hierarchy");
        let event = parse::event("branch:main").unwrap();
        let mut facts = facts(&root, &config, Some(&["README.md"]));
        for build in &config.builds {
            let content = Content { sources: vec![("requirements".into(), "1".into())], ..Content::default() };
            facts.contents.insert(build.id.clone(), content);
        }
        let tags = ["ghcr.io/slipway/bot-base:latest", "ghcr.io/slipway/bot-ci:latest"];
        assert_eq!(looks(&config, &event, &facts, true), tags.map(str::to_owned).into(), "prod has paths of its own");
        let taken = |facts: &Facts| -> Vec<String> {
            plan(&config, &event, facts, &[]).unwrap().builds.into_iter().map(|build| build.id).collect()
        };
        assert_eq!(taken(&facts), ["prod"], "nothing is known of the registry");

        let everything = Facts { changed: crate::facts::Changed::default(), ..facts.clone() };
        let all = plan(&config, &event, &everything, &[]).unwrap();
        for (tag, id) in tags.iter().zip(["base", "ci"]) {
            let build = all.builds.iter().find(|build| build.id == id).unwrap();
            facts.bases.insert((*tag).to_owned(), Some(format!("sha256:{}", "0".repeat(64))));
            facts.made_of.insert((*tag).to_owned(), published(build));
        }
        assert_eq!(taken(&facts), ["prod"], "what is published is of these files");
        facts.made_of.insert(tags[1].into(), MadeOf { files: "other".into(), ..MadeOf::default() });
        assert_eq!(taken(&facts), ["ci", "prod"]);
        facts.made_of.insert(tags[0].into(), MadeOf::default());
        assert_eq!(taken(&facts), ["base", "ci", "prod"], "children follow");
        facts.bases.insert(tags[0].into(), None);
        assert_eq!(taken(&facts), ["base", "ci", "prod"]);
    }

    #[test]
    fn a_failed_push_whose_tags_are_all_written_once_is_made_up_for() {
        let (root, mut config) = load("examples/hierarchy");
        config.builds.retain(|build| build.id == "base");
        config.checks.clear();
        let event = parse::event("branch:main").unwrap();
        let facts = |changed: &[&str]| {
            let mut facts = facts(&root, &config, Some(changed));
            facts.contents.insert("base".into(), Content::default());
            facts.before = Some("fedcba9876543210".into());
            facts
        };
        let with = |tags: &[&str]| {
            let mut config = config.clone();
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            config.builds[0].on.iter_mut().for_each(|policy| policy.tags.clone_from(&tags));
            config
        };
        let looked = |tags: &[&str]| looks(&with(tags), &event, &facts(&["README.md"]), true).into_iter().collect::<Vec<_>>();
        const BEFORE: &str = "ghcr.io/slipway/bot-base:main-fedcba9";
        assert_eq!(looked(&["main-{sha7}"]), [BEFORE]);
        assert_eq!(looked(&["{timestamp}", "{date}-{sha}", "{branch}-{sha7}"]), [BEFORE]);
        assert_eq!(looked(&["main-{sha7}", "dev"]), ["ghcr.io/slipway/bot-base:dev"], "it tells more");
        assert_eq!(looked(&["{timestamp}-{sha7}"]), [""; 0], "what that run called it is not known");

        let config = with(&["main-{sha7}"]);
        let reasons = |facts: &Facts| {
            let plan = plan(&config, &event, facts, &[]).unwrap();
            plan.builds.first().map(|build| (build.reasons[0].clone(), published(build)))
        };
        let mut docs = facts(&["README.md"]);
        assert_eq!(reasons(&docs), None, "nothing is known of the registry");
        docs.bases.insert(BEFORE.into(), None);
        let (why, of_these) = reasons(&docs).unwrap();
        assert_eq!(why, format!("{BEFORE} was never published"));
        docs.bases.insert(BEFORE.into(), Some(format!("sha256:{}", "0".repeat(64))));
        docs.made_of.insert(BEFORE.into(), of_these);
        assert_eq!(reasons(&docs), None, "the push before published it");
    }

    #[test]
    fn a_child_that_was_left_on_the_old_parent_is_made_up_for_once() {
        const TAGS: [&str; 2] = ["ghcr.io/slipway/bot-base:latest", "ghcr.io/slipway/bot-ci:latest"];
        let (root, mut config) = load("examples/hierarchy");
        config.builds.retain(|build| ["base", "ci"].contains(&build.id.as_str()));
        let event = parse::event("branch:main").unwrap();
        let facts = |base: &str, changed: Option<&[&str]>| {
            let mut facts = facts(&root, &config, changed);
            for (id, text) in [("base", base), ("ci", "1")] {
                let content = Content { sources: vec![("requirements".into(), text.into())], ..Content::default() };
                facts.contents.insert(id.into(), content);
            }
            facts
        };
        let plan = |facts: &Facts| plan(&config, &event, facts, &[]).unwrap();
        let publish = |facts: &mut Facts, at: usize, of: MadeOf| {
            facts.bases.insert(TAGS[at].into(), Some(format!("sha256:{}", "0".repeat(64))));
            facts.made_of.insert(TAGS[at].into(), of);
        };
        let [old, new] = ["1", "2"].map(|base| plan(&facts(base, None)).builds);
        let mut docs = facts("2", Some(&["README.md"]));
        assert_eq!(looks(&config, &event, &docs, true), TAGS.map(str::to_owned).into());
        publish(&mut docs, 0, published(&new[0]));
        publish(&mut docs, 1, published(&new[1]));
        assert!(plan(&docs).builds.is_empty(), "both are published");

        // The run ended between the two.
        publish(&mut docs, 1, published(&old[1]));
        let next = plan(&docs).builds;
        assert_eq!(next.iter().map(|build| build.id.as_str()).collect::<Vec<_>>(), ["ci"]);
        let why = "ghcr.io/slipway/bot-ci:latest was built on another base than is published now: \
            an earlier run did not build it again";
        assert_eq!(next[0].reasons[0], why);
        assert_eq!(published(&next[0]), published(&new[1]), "the same, built with its parent or on it");
        publish(&mut docs, 1, published(&next[0]));
        assert!(plan(&docs).builds.is_empty(), "once");

        // The same files on another image of a publisher.
        let mut other = facts("2", None);
        other.bases.insert("python:3.12-slim".into(), Some(format!("sha256:{}", "7".repeat(64))));
        let other = plan(&other).builds;
        publish(&mut docs, 0, published(&other[0]));
        assert_eq!(plan(&docs).builds[0].reasons[0], why);

        // Images of before these labels say nothing: not of themselves, not as a parent.
        let says_less = |of: &crate::plan::Build| MadeOf { files: published(of).files, ..MadeOf::default() };
        publish(&mut docs, 1, says_less(&old[1]));
        assert!(plan(&docs).builds.is_empty());
        publish(&mut docs, 0, says_less(&new[0]));
        publish(&mut docs, 1, published(&old[1]));
        assert!(plan(&docs).builds.is_empty());

        // A parent that this event publishes under another tag is not the one that its children are built with.
        publish(&mut docs, 0, published(&new[0]));
        let mut elsewhere = config.clone();
        elsewhere.builds[0].on.iter_mut().for_each(|policy| policy.tags = vec!["dev".into()]);
        let plan = crate::plan::plan(&elsewhere, &event, &docs, &[]).unwrap();
        assert!(plan.builds.is_empty(), "{:?}", plan.builds[0].reasons);
    }

    #[test]
    fn a_line_of_the_configuration_is_made_up_for_too() {
        let (root, mut config) = load("examples/hierarchy");
        let event = parse::event("branch:main").unwrap();
        let mut facts = facts(&root, &config, Some(&["README.md"]));
        facts.contents.insert("ci".into(), Content::default());
        let at = config.builds.iter().position(|build| build.id == "ci").unwrap();
        let hash = |config: &Config| {
            let build = &config.builds[at];
            let repositories = std::collections::HashMap::new();
            let input = Input { config, event: &event, facts: &facts, version: None, repositories: &repositories };
            files(&input, build, &build.platforms).unwrap()
        };
        let before = hash(&config);
        config.builds[at].args.insert("DEBUG".into(), "1".into());
        let with_argument = hash(&config);
        config.builds[at].labels.insert("org.example.team".into(), "web".into());
        assert!(before != with_argument && with_argument != hash(&config));
    }
}
