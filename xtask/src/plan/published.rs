//! What a push that failed left undone: a published image that is of other files than those that are here.
//!
//! Only files of this repository count. A base that its publisher replaced, or another version, is no reason to build
//! what a push does not touch.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::labels::MadeOf;
use super::planner::{self, Input, with_registry};
use super::{fresh, select, tags};
use crate::config::{Build, Config, Policy};
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
        tags.extend(each(config, event, facts, moving));
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

fn each(
    config: &Config,
    event: &Event,
    facts: &Facts,
    tag: impl Fn(&Input<'_>, &Build, &Policy) -> Option<String>,
) -> BTreeSet<String> {
    let repositories = std::collections::HashMap::new();
    let version = planner::version(config, event).ok().flatten();
    let input = Input { config, event, facts, version: version.as_ref(), repositories: &repositories };
    config.builds.iter().filter_map(|build| tag(&input, build, select::policy_of(event, build).ok()?)).collect()
}

/// The tag that says what is published of a build: the one that the event moves (`latest`, if that is among them), else
/// one that it writes once. `None`: it publishes nothing.
pub fn tag(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let mut tags = published(input, build, policy)?;
    tags.moving.pop().or_else(|| tags.once.into_iter().next())
}

/// The moving tag that a push may have left behind; `None` where the files of a push alone decide.
fn moving(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let is_asked = matches!(input.event, Event::Branch { .. }) && input.facts.dirty.is_none();
    let by_files = policy.paths.is_none() && policy.paths_ignore.is_none();
    if is_asked && by_files { published(input, build, policy)?.moving.pop() } else { None }
}

fn published(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<tags::Tags> {
    let is_local = matches!(input.event, Event::Local | Event::PullRequest { .. }) || input.config.registry.is_empty();
    if is_local || !build.publish || build.local_only {
        return None;
    }
    tags::tags(input, build, policy, &with_registry(input.config, &build.repository)).ok()
}

/// Why a build has to be made up for, if it has: nothing is published, or of other files. What is not known is no reason.
pub fn behind(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let tag = moving(input, build, policy)?;
    if input.facts.bases.get(&tag)?.is_none() {
        return Some(format!("{tag} was never published"));
    }
    let theirs = input.facts.made_of.get(&tag)?;
    let ours = files(input, build, policy)?;
    (theirs.files != ours).then(|| format!("{tag} is of other files than these: an earlier run did not publish them"))
}

/// What the labels of an image will say.
pub fn made_of(input: &Input<'_>, build: &Build, policy: &Policy, bases: &[&str]) -> MadeOf {
    let bases: Vec<String> = bases.iter().map(|base| fresh::named(input, base)).collect();
    MadeOf {
        files: files(input, build, policy).unwrap_or_default(),
        bases: bases.join(" "),
        revision: input.facts.commit.clone().unwrap_or_default(),
    }
}

/// Hash of the files that a build is made of, and of what images.toml says of it: a change there is a change of a file.
/// `None` if they are not known.
fn files(input: &Input<'_>, build: &Build, policy: &Policy) -> Option<String> {
    let (dockerfile, content) = (input.facts.dockerfile(build)?, input.facts.content(build)?);
    let platforms = planner::platforms(input, build, policy);
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
            files(&input, build, select::policy_of(&event, build).unwrap()).unwrap()
        };
        let before = hash(&config);
        config.builds[at].args.insert("DEBUG".into(), "1".into());
        let with_argument = hash(&config);
        config.builds[at].labels.insert("org.example.team".into(), "web".into());
        assert!(before != with_argument && with_argument != hash(&config));
    }
}
