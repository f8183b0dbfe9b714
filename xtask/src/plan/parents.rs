//! Parents: which build or published image a FROM stands for, and the order that follows.

use std::collections::BTreeSet;

use anyhow::Result;

use super::planner::Input;
use super::platforms::{self, Platforms};
use super::select::Taken;
use super::{published, publishers};
use crate::config::{Build, Config, Parent};
use crate::error::Fault;

/// A FROM that is an image of this repository.
pub struct Resolved {
    /// As written in FROM.
    pub name: String,
    /// `build:ID` or `REPO:TAG`.
    pub is: String,
}

/// Parents before children; else as they come.
pub fn order<'t, 'a>(input: &Input<'a>, taken: &'t [Taken<'a>]) -> Result<Vec<&'t Taken<'a>>> {
    let mut waiting: Vec<&Taken<'a>> = taken.iter().collect();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let ids: BTreeSet<&str> = taken.iter().map(|one| one.build.id.as_str()).collect();
    let mut ordered = Vec::with_capacity(taken.len());
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|one| {
            let ready =
                input.config.parents(one.build).all(|(_, p)| !ids.contains(p.id.as_str()) || placed.contains(p.id.as_str()));
            if ready {
                placed.insert(&one.build.id);
                ordered.push(*one);
            }
            !ready
        });
        if waiting.len() == before {
            let names: Vec<&str> = waiting.iter().map(|one| one.build.id.as_str()).collect();
            return Err(Fault::usage(format!("parents form a cycle: {}", names.join(", "))).into());
        }
    }
    Ok(ordered)
}

/// Each declared parent with what its FROM gets; checks that declarations and FROM lines agree.
pub fn resolve(input: &Input<'_>, child: &Build, run: &Platforms<'_>) -> Result<Vec<Resolved>> {
    let Some(dockerfile) = input.facts.dockerfile(child) else { return Ok(Vec::new()) };
    let mut resolved = Vec::new();
    for (parent, build) in input.config.parents(child) {
        let names: Vec<&String> = dockerfile.images.iter().filter(|image| means(input.config, image, parent, build)).collect();
        if names.is_empty() {
            let repository = input.config.with_registry(&build.repository);
            let message = format!("{}: parent = \"{}\", but {} has no FROM of it", child.id, parent.image, child.dockerfile);
            return Err(Fault::usage(message).hint(format!("write `FROM {}` or `FROM {repository}`", build.image)).into());
        }
        told_apart(child, build, &names, &dockerfile.images)?;
        platforms::lacks_none(input, child, run, parent, build)?;
        let is = if run.contains_key(build.id.as_str()) {
            format!("build:{}", build.id)
        } else {
            published(input, child, parent, build)?
        };
        resolved.extend(names.into_iter().map(|name| Resolved { name: name.clone(), is: is.clone() }));
    }
    undeclared(input, child, &dockerfile.images)?;
    Ok(resolved)
}

/// The tag of the published image of `build`: `written` if there is one, else the moving tag that this event moves for it,
/// else `latest`. `latest` wins where the event moves several.
pub fn published_tag(input: &Input<'_>, written: Option<&String>, build: &Build) -> String {
    written.cloned().or_else(|| published::moved_tag(input, build)).unwrap_or_else(|| "latest".to_owned())
}

/// The published image of a parent, by its tag.
pub fn reference(input: &Input<'_>, parent: &Parent, build: &Build) -> String {
    let tag = published_tag(input, parent.tag.as_ref(), build);
    format!("{}:{tag}", input.config.with_registry(&build.repository))
}

/// Why the published parents of a child have the tags that they have, where it is the event that says so.
pub fn tag_reasons(input: &Input<'_>, child: &Build, run: &Platforms<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    for (parent, build) in input.config.parents(child) {
        let is_open = parent.tag.is_none() && !run.contains_key(build.id.as_str());
        if let Some(tag) = published::moved_tag(input, build).filter(|tag| is_open && tag != "latest") {
            reasons.push(format!("{} is taken as {tag}: this event moves that tag of it", build.id));
        }
    }
    reasons
}

/// What is published of a parent that this run does not build: by its digest, where that is known.
fn published(input: &Input<'_>, child: &Build, parent: &Parent, build: &Build) -> Result<String> {
    let repository = input.config.with_registry(&build.repository);
    let reference = reference(input, parent, build);
    match input.facts.bases.get(&reference) {
        None => Ok(reference),
        Some(Some(digest)) => Ok(format!("{repository}@{digest}")),
        Some(None) => {
            let message = format!("base image {reference} of {} not found: it was never published", child.id);
            Err(Fault::usage(message)
                .hint(publishers::hint(input, build, &published_tag(input, parent.tag.as_ref(), build)))
                .into())
        }
    }
}

/// The other images that a build starts from; the frontend of `# syntax=` is none of them.
pub fn bases<'a>(input: &Input<'a>, child: &Build, parents: &[Resolved]) -> Vec<&'a str> {
    let Some(dockerfile) = input.facts.dockerfile(child) else { return Vec::new() };
    let is_base =
        |base: &&String| dockerfile.syntax.as_ref() != Some(base) && !parents.iter().any(|parent| parent.name == **base);
    dockerfile.images.iter().filter(is_base).map(String::as_str).collect()
}

/// Those of `bases` whose digest is known, each with the one that it is pinned to.
pub fn pins(input: &Input<'_>, bases: &[&str]) -> Vec<(String, String)> {
    let pin = |base: &&str| {
        let digest = input.facts.bases.get(*base)?.as_ref()?;
        Some(((*base).to_owned(), format!("{}@{digest}", name_and_tag(base).0)))
    };
    bases.iter().filter_map(pin).collect()
}

/// Whether the text of a FROM is this parent: `base`, or `slipway/base` or `ghcr.io/slipway/base` with the parent's tag or
/// none. With another tag, or with a digest, it is that very image: `python:3.12-slim` is nobody's image `python`.
pub fn means(config: &Config, image: &str, parent: &Parent, build: &Build) -> bool {
    let (name, tag) = name_and_tag(image);
    let is_repository = || repositories(config, build).iter().any(|own| own == name);
    image == build.image
        || (!image.contains('@') && tag.is_none_or(|tag| tag == parent.tag.as_deref().unwrap_or("latest")) && is_repository())
}

/// A reference without tag and digest, and its tag.
fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    let name = image.split('@').next().unwrap_or(image);
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or((name, None), |(name, tag)| (name, Some(tag)))
}

/// `names` are those of a parent. BuildKit takes `python`, `python:latest` and `docker.io/library/python` for one name, and
/// would put the parent in the place of all of them.
fn told_apart(child: &Build, parent: &Build, names: &[&String], images: &[String]) -> Result<()> {
    let hubs = ["docker.io/library/", "docker.io/"];
    let normal = |image: &str| {
        let image = hubs.iter().find_map(|hub| image.strip_prefix(hub)).unwrap_or(image);
        image.strip_suffix(":latest").unwrap_or(image).to_owned()
    };
    let is_taken_for_it = |image: &&String| !names.contains(image) && names.iter().any(|name| normal(name) == normal(image));
    let Some(other) = images.iter().find(is_taken_for_it) else { return Ok(()) };
    let message = format!(
        "{}: {} is made FROM {}, which is the image {} of this repository, and BuildKit takes {other} for the same",
        child.id, child.dockerfile, names[0], parent.image
    );
    Err(Fault::usage(message).hint(format!("write the digest of the other one: `FROM {other}@sha256:…`")).into())
}

/// What a FROM may call an image: its repository, with the registry of this run or the one that the file names.
pub fn repositories(config: &Config, build: &Build) -> Vec<String> {
    let bare = build.repository.contains('/').then(|| build.repository.clone());
    let registries = [&config.registry, &config.written_registry].into_iter().filter(|registry| !registry.is_empty());
    bare.into_iter().chain(registries.map(|registry| format!("{registry}/{}", build.repository))).collect()
}

/// A FROM of one of our own repositories must be declared, or it would silently be a stale one; one with a digest is not
/// silent.
fn undeclared(input: &Input<'_>, child: &Build, images: &[String]) -> Result<()> {
    let declared: Vec<&Build> = input.config.parents(child).map(|(_, parent)| parent).collect();
    for image in images.iter().filter(|image| !image.contains('@')) {
        let (name, tag) = name_and_tag(image);
        let own = input.repositories.get(name).filter(|build| build.image != child.image);
        if let Some(own) = own.filter(|own| !declared.iter().any(|parent| parent.id == own.id)) {
            let message = format!(
                "{}: {} is made FROM {image}, which is the image {} of this repository",
                child.id, child.dockerfile, own.image
            );
            let tag = tag.filter(|tag| *tag != "latest").map(|tag| format!(":{tag}")).unwrap_or_default();
            let hint = format!("add `parent = \"{}{tag}\"` to [image.{}]", own.image, child.image);
            return Err(Fault::usage(message).hint(hint).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, parse};
    use crate::facts::{Dockerfile, Facts};
    use crate::plan::plan;
    use crate::plan::testing::config;

    /// Name in FROM → what it gets, of a child of `parent` that is made from `images`.
    fn got(parent: &str, images: &[&str]) -> Result<Vec<String>> {
        let config = config(&format!("[image.python]\n[image.child]\nparent = '{parent}'\n"));
        let images = images.iter().map(|&image| image.to_owned()).collect();
        let variants = [("child".to_owned(), Dockerfile { images, ..Dockerfile::default() })].into();
        let plan = plan(&config, &Event::Local, &Facts { variants, ..Facts::default() }, &[])?;
        Ok(plan.builds[1].parents.iter().map(|(name, _)| name.clone()).collect())
    }

    #[test]
    fn a_from_of_another_tag_or_a_digest_is_another_image() {
        let digest = format!("ghcr.io/acme/python@sha256:{}", "1".repeat(64));
        let tagged = format!("ghcr.io/acme/python:latest@sha256:{}", "1".repeat(64));
        let images = ["python", "python:3.9-slim", "python@sha256:1", "ghcr.io/acme/python:v1", &digest, &tagged];
        assert_eq!(got("python", &images).unwrap(), ["python"]);
        assert_eq!(got("python", &["ghcr.io/acme/python"]).unwrap(), ["ghcr.io/acme/python"]);
        assert_eq!(got("python", &["acme/python:latest"]).unwrap(), ["acme/python:latest"]);
        assert_eq!(got("python:dev", &["python", "acme/python:dev", "acme/python:v1"]).unwrap(), ["python", "acme/python:dev"]);
        for image in ["python:latest", "python:3.9-slim", "acme/python:v1", &digest] {
            assert!(got("python", &[image]).unwrap_err().to_string().contains("has no FROM of it"), "{image}");
        }
    }

    #[test]
    fn what_buildkit_cannot_tell_apart_is_refused() {
        for other in ["python:latest", "docker.io/library/python", "docker.io/library/python:latest"] {
            let error = got("python", &["python", other]).unwrap_err().to_string();
            assert!(error.contains(&format!("BuildKit takes {other} for the same")), "{error}");
        }
        assert!(got("python:dev", &["acme/python:dev", "acme/python:latest"]).is_ok());
        assert!(got("python:dev", &["acme/python", "acme/python:latest"]).is_err());
    }

    #[test]
    fn an_own_image_by_its_digest_is_nobodys_parent() {
        let config = config("[image.base]\n[image.child]\n");
        let planned = |image: &str| {
            let images = vec![image.to_owned()];
            let variants = [("child".to_owned(), Dockerfile { images, ..Dockerfile::default() })].into();
            plan(&config, &Event::Local, &Facts { variants, ..Facts::default() }, &[])
        };
        assert!(planned("ghcr.io/acme/base:v1@sha256:1").is_ok());
        for (image, parent) in [("ghcr.io/acme/base", "base"), ("acme/base:latest", "base"), ("acme/base:v1", "base:v1")] {
            let error = crate::error::render(&planned(image).unwrap_err());
            assert!(error.contains(&format!("hint: add `parent = \"{parent}\"` to [image.child]")), "{error}");
        }
    }

    /// The tag that the published image of `base` has in an event, and the parent of a child that is built without it
    /// with what the plan says of that. `parent`: what the child names it.
    fn taken(parent: &str, on: &str, event: &str) -> (String, Vec<(String, String)>, Vec<String>) {
        let config = config(&format!("[image.base]\n[image.child]\nparent = '{parent}'\n{on}"));
        let made = |id: &str, image: &str| {
            let images = vec![image.to_owned()];
            (id.to_owned(), Dockerfile { images, sources: Some(vec![format!("{id}.txt")]), ..Dockerfile::default() })
        };
        let facts = Facts {
            commit: Some("0123456789".into()),
            default_branch: "main".into(),
            changed: crate::facts::Changed::Files(vec!["child.txt".into()]),
            variants: [made("base", "debian"), made("child", "base")].into(),
            ..Facts::default()
        };
        let event = parse::event(event).unwrap();
        let version = crate::plan::version(&config, &event).unwrap();
        let repositories = std::collections::HashMap::new();
        let input =
            Input { config: &config, event: &event, facts: &facts, version: version.as_ref(), repositories: &repositories };
        let child = config.builds.iter().find(|build| build.id == "child").unwrap();
        let (written, base) = config.parents(child).next().unwrap();
        let tag = published_tag(&input, written.tag.as_ref(), base);
        let child = plan(&config, &event, &facts, &[]).unwrap().builds.into_iter().find(|build| build.id == "child");
        child.map_or_else(Default::default, |child| (tag, child.parents, child.reasons))
    }

    #[test]
    fn a_published_parent_has_the_tag_that_its_own_event_moves() {
        let edge = "[on.branch.main]\ntags = ['edge', '{sha7}']\n";
        let both = "[on.branch.main]\ntags = ['latest', 'edge']\n";
        let named = "[on.branch.'release/*']\ntags = ['{branch}']\n";
        let cron = "[on.schedule]\ncron = '0 3 * * 0'\ntags = ['nightly']\n";
        let by_hand = "[on.manual]\ntags = ['by-hand']\n";
        let all_once = "[on.branch.main]\ntags = ['{sha7}']\n";
        let but_base = "[image.base.on]\nmanual = false\n[on.manual]\ntags = ['by-hand']\n";
        for (parent, on, event, tag) in [
            ("base", edge, "branch:main", "edge"),
            ("base", both, "branch:main", "latest"),
            ("base", named, "branch:release/1", "release-1"),
            ("base", cron, "schedule", "nightly"),
            ("base", by_hand, "manual", "by-hand"),
            ("base", but_base, "manual", "latest"),
            ("base", all_once, "branch:main", "latest"),
            ("base", "", "tag:v1.2.3", "latest"),
            // A pre-release moves nothing, and a pull request never does.
            ("base", "", "tag:v1.2.3-rc1", "latest"),
            ("base", edge, "pr:1", "latest"),
            ("base:dev", edge, "branch:main", "dev"),
            ("base:latest", edge, "branch:main", "latest"),
        ] {
            assert_eq!(taken(parent, on, event).0, tag, "{parent} {event} {on}");
        }
    }

    #[test]
    fn the_plan_says_why_a_parent_is_not_latest() {
        let branch = |tags: &str| format!("[on.branch.main]\ntags = {tags}\n");
        let why = "base is taken as edge: this event moves that tag of it".to_owned();
        for (parent, tags, tag) in
            [("base", "['edge']", "edge"), ("base", "['edge', 'latest']", "latest"), ("base:dev", "['edge']", "dev")]
        {
            let (_, parents, reasons) = taken(parent, &branch(tags), "branch:main");
            assert_eq!(parents, [("base".to_owned(), format!("ghcr.io/acme/base:{tag}"))], "{parent} {tags}");
            assert_eq!(reasons.contains(&why), tag == "edge", "{reasons:?}");
        }
    }
}
