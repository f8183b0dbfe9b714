//! Which events publish a tag of an image, and how to make one do it.

use std::collections::HashMap;

use super::planner::Input;
use super::select::{is_for, policy_of};
use super::tags::{is_written_once, tags};
use crate::config::placeholder::{Piece, pieces};
use crate::config::{Build, Config, EventKey, Policy};
use crate::event::Event;
use crate::facts::Facts;
use crate::glob;
use crate::version::Version;

/// Why no registry can ever have an image of this build; `None`: one can.
pub fn why_never(config: &Config, build: &Build) -> Option<&'static str> {
    if config.registry.is_empty() {
        return Some("there is no registry to take it from");
    }
    let is_published = build.publish && build.on.iter().any(publishes);
    (!is_published).then_some("it is never published")
}

fn publishes(policy: &Policy) -> bool {
    !matches!(policy.event, EventKey::Local | EventKey::PullRequest) && !policy.tags.is_empty()
}

/// What the events say that may write a tag.
pub fn of<'a>(build: &'a Build, tag: &str) -> impl Iterator<Item = &'a Policy> {
    let writes = |policy: &&Policy| publishes(policy) && policy.tags.iter().any(|template| may_be(template, tag));
    build.on.iter().filter(writes)
}

/// Whether some event may move a tag, which is not one that is written once.
pub fn may_move(build: &Build, fits: impl Fn(&str) -> bool) -> bool {
    let templates = build.on.iter().filter(|policy| publishes(policy)).flat_map(|policy| &policy.tags);
    templates.filter(|template| !is_written_once(template)).any(|template| fits(template))
}

/// Whether the release of a version moves a tag (full reference). Neither git nor a file is asked.
pub fn moves(config: &Config, version: &Version, tag: &str) -> bool {
    let event = Event::Tag { name: version.text.clone() };
    // Tags that are made of a commit or of the time do not move.
    let facts = Facts { commit: Some("0".repeat(40)), now: "2000-01-01T00:00:00Z".into(), ..Facts::default() };
    let input = Input { config, event: &event, facts: &facts, version: Some(version), repositories: &HashMap::new() };
    config.builds.iter().filter(|build| build.publish && !build.local_only).any(|build| {
        let repository = config.with_target(&build.repository);
        let policy = policy_of(&event, build).ok().filter(|policy| is_for(config, policy, build));
        let tags = policy.and_then(|policy| tags(&input, build, policy, &repository).ok());
        tags.is_some_and(|tags| tags.moving.iter().any(|moving| moving == tag))
    })
}

/// Whether a tag may come of a template, whatever its placeholders stand for.
fn may_be(template: &str, tag: &str) -> bool {
    let text = |piece: Piece<'_>| match piece {
        Piece::Text(text) | Piece::Escaped(text) => text.to_owned(),
        Piece::Name(_) | Piece::Variable(_) => "*".to_owned(),
    };
    glob::matches_any(&[pieces(template).into_iter().map(text).collect::<String>()], tag)
}

/// How to publish a tag that is missing: a command that does, whatever changed, or the line that such a command needs.
pub fn hint(input: &Input<'_>, build: &Build, tag: &str) -> String {
    let commands =
        of(build, tag).filter(|policy| is_for(input.config, policy, build)).filter_map(|policy| command(input, policy));
    match commands.min() {
        Some((_, command)) => format!("build it first: `{command}`"),
        None => {
            let command = on_branch(input, &input.facts.default_branch, "manual");
            format!("write `on.manual.tags = [\"{tag}\"]` into [image.{}], commit that, and run `{command}`", build.image)
        }
    }
}

/// The command that publishes by an event, with its place among others. `None`: it would depend on what changed, or on a
/// name that is not known.
fn command(input: &Input<'_>, policy: &Policy) -> Option<(usize, String)> {
    let default = &input.facts.default_branch;
    let takes_all = policy.paths.is_none() && policy.paths_ignore.is_none();
    match &policy.event {
        EventKey::Manual => Some((0, on_branch(input, default, "manual"))),
        EventKey::Schedule => Some((1, on_branch(input, default, "schedule"))),
        // What was never published is in, whatever was pushed.
        EventKey::Branch(_) if takes_all => {
            let name = [Some(default), input.facts.branch.as_ref()].into_iter().flatten();
            let mut names = name.chain(policy.matches.iter().filter(|name| !name.contains(['*', '?', '+', '[', '!'])));
            let name = names.find(|name| glob::matches_any(&policy.matches, name))?;
            Some((2, on_branch(input, name, &format!("branch:{name}"))))
        }
        EventKey::Tag => {
            let file = input.config.version_file.as_ref();
            let moves = input.config.release.prereleases_move_tags || file.is_none_or(|file| !file.version.is_prerelease());
            let version = file.map_or("v1.0.0", |file| &file.version.text);
            let is_taken = moves && glob::matches_any(&policy.matches, version);
            is_taken.then(|| (3, format!("cargo xtask ci --event tag:{version}")))
        }
        EventKey::Branch(_) | EventKey::PullRequest | EventKey::Local => None,
    }
}

/// The command for an event that publishes from a branch alone.
fn on_branch(input: &Input<'_>, branch: &str, event: &str) -> String {
    let is_there = input.facts.branch.as_deref() == Some(branch);
    let switch = if is_there { String::new() } else { format!("git switch {branch} && ") };
    format!("{switch}cargo xtask ci --event {event}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::config;

    #[test]
    fn a_release_moves_its_own_tags_and_no_others() {
        let config = config(
            "[axes]\na = ['slim', 'full']\n[image.i]\nrepository = 'acme/i'\nvariant = '{a}'\n\
             on.tag.tags = ['{version}-{a}', '{sha7}-{timestamp}-{a}', '{major}.{minor}-{a}', 'latest-{a}']\n\
             on.branch.main.tags = ['edge-{a}']\n",
        );
        for (version, tag, expected) in [
            ("v1.2.3", "i:latest-slim", true),
            ("v1.2.3", "i:1.2-full", true),
            ("v1.2.3", "i:1.3-full", false),
            ("v1.2.3-rc1", "i:latest-slim", false),
            ("v1.2.3", "i:edge-slim", false),
            ("v1.2.3", "i:v1.2.3-slim", false),
            ("v1.2.3", "other:latest-slim", false),
        ] {
            let version = Version::parse(version).unwrap();
            assert_eq!(moves(&config, &version, &format!("ghcr.io/acme/{tag}")), expected, "{version:?} {tag}");
        }
    }

    #[test]
    fn which_tags_come_of_a_template() {
        for (template, tag, expected) in [
            ("latest", "latest", true),
            ("latest", "late", false),
            ("{major}.{minor}", "1.2", true),
            ("{major}.{minor}", "latest", false),
            ("{branch}", "latest", true),
            ("v{version}-{sha7}", "v1-2", true),
        ] {
            assert_eq!(may_be(template, tag), expected, "{template} {tag}");
        }
    }

    #[test]
    fn the_command_publishes_wherever_it_is_run() {
        let hint = |on: &str, branch: Option<&str>| {
            let config = config(&format!("[image.base]\n{on}"));
            let facts = Facts { branch: branch.map(str::to_owned), default_branch: "main".into(), ..Facts::default() };
            let repositories = std::collections::HashMap::new();
            let input =
                Input { config: &config, event: &Event::Local, facts: &facts, version: None, repositories: &repositories };
            super::hint(&input, &config.builds[0], "latest")
        };
        let by_line = "write `on.manual.tags = [\"latest\"]` into [image.base], commit that, and run";
        let table = [
            ("[on.manual]\ntags = ['latest']", Some("main"), "build it first: `cargo xtask ci --event manual`"),
            ("[on.manual]\ntags = ['latest']", Some("x"), "build it first: `git switch main && cargo xtask ci --event manual`"),
            ("[on.manual]\ntags = ['latest']", None, "build it first: `git switch main && cargo xtask ci --event manual`"),
            (
                "[on.branch.main]\ntags = ['latest']\n[on.schedule]\ncron = '0 3 * * 0'\ntags = ['latest']",
                Some("main"),
                "build it first: `cargo xtask ci --event schedule`",
            ),
            (
                "[on.branch.dev]\ntags = ['latest']\n[on.manual]\ntags = ['edge']",
                Some("main"),
                "build it first: `git switch dev && cargo xtask ci --event branch:dev`",
            ),
            (
                "[on.branch.any]\nmatch = ['release/*', 'main']\ntags = ['latest']",
                Some("release/1"),
                "build it first: `git switch main && cargo xtask ci --event branch:main`",
            ),
            (
                "[on.branch.any]\nmatch = 'release/*'\ntags = ['latest']",
                Some("release/1"),
                "build it first: `cargo xtask ci --event branch:release/1`",
            ),
            ("", Some("main"), "build it first: `cargo xtask ci --event tag:v1.0.0`"),
        ];
        for (on, branch, expected) in table {
            assert_eq!(hint(on, branch), expected, "{on}");
        }
        for on in ["[on.branch.main]\ntags = ['latest']\npaths = ['a']", "[on.branch.'release/*']\ntags = ['latest']"] {
            assert_eq!(hint(on, Some("main")), format!("{by_line} `cargo xtask ci --event manual`"), "{on}");
            assert_eq!(hint(on, Some("x")), format!("{by_line} `git switch main && cargo xtask ci --event manual`"), "{on}");
        }
    }
}
