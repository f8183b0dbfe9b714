//! Parents: which build or published image a FROM stands for, and the order that follows.

use std::collections::BTreeSet;

use anyhow::Result;

use super::planner::Input;
use super::select::Taken;
use crate::config::{Build, Config, EventKey, Parent};
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
pub fn resolve(input: &Input<'_>, child: &Build, platforms: &[String], in_plan: &BTreeSet<&str>) -> Result<Vec<Resolved>> {
    let Some(dockerfile) = input.facts.dockerfile(child) else { return Ok(Vec::new()) };
    let mut resolved = Vec::new();
    for (parent, build) in input.config.parents(child) {
        let names: Vec<&String> = dockerfile.images.iter().filter(|image| means(input, image, build)).collect();
        if names.is_empty() {
            let repository = input.config.with_registry(&build.repository);
            let message = format!("{}: parent = \"{}\", but {} has no FROM of it", child.id, parent.image, child.dockerfile);
            return Err(Fault::usage(message).hint(format!("write `FROM {}` or `FROM {repository}`", build.image)).into());
        }
        lacks_none(child, platforms, build)?;
        let is = if in_plan.contains(build.id.as_str()) {
            format!("build:{}", build.id)
        } else {
            published(input, child, parent, build)?
        };
        resolved.extend(names.into_iter().map(|name| Resolved { name: name.clone(), is: is.clone() }));
    }
    undeclared(input, child, &dockerfile.images)?;
    Ok(resolved)
}

/// A child is built for the platforms that its parent has.
fn lacks_none(child: &Build, platforms: &[String], parent: &Build) -> Result<()> {
    let lacking: Vec<&str> =
        platforms.iter().filter(|platform| !parent.platforms.contains(platform)).map(String::as_str).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking = lacking.join(", ");
    let message = format!("{} is for {lacking}, but its parent {} is not", child.id, parent.id);
    let hint = format!("add it to the platforms of image.{}, or take it out of those of image.{}", parent.image, child.image);
    Err(Fault::usage(message).hint(hint).into())
}

fn published(input: &Input<'_>, child: &Build, parent: &Parent, build: &Build) -> Result<String> {
    if input.config.registry.is_empty() {
        let message =
            format!("base image {} of {} is not built in this run, and there is no registry to take it from", build.id, child.id);
        return Err(Fault::usage(message)
            .hint(format!("run `cargo xtask ci-build --mode test --only image={}`", build.image))
            .into());
    }
    let repository = input.config.with_registry(&build.repository);
    let reference = input.config.reference(parent, build);
    match input.facts.bases.get(&reference) {
        None => Ok(reference),
        Some(Some(digest)) => Ok(format!("{repository}@{digest}")),
        Some(None) => {
            let message = format!("base image {reference} of {} not found: it was never published", child.id);
            let by_hand = build.on.iter().any(|policy| policy.event == EventKey::Manual && !policy.tags.is_empty());
            let hint = match by_hand {
                true => "build it first: `cargo xtask ci --event manual`".to_owned(),
                false => format!("publish {} first; `cargo xtask plan --event …` shows which event does", build.id),
            };
            Err(Fault::usage(message).hint(hint).into())
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
        Some(((*base).to_owned(), format!("{}@{digest}", repository_of(base))))
    };
    bases.iter().filter_map(pin).collect()
}

/// Whether the text of a FROM is this image: `base`, `slipway/base[:tag]` or `ghcr.io/slipway/base[:tag]`.
pub fn means(input: &Input<'_>, image: &str, build: &Build) -> bool {
    let name = repository_of(image);
    name == build.image || is_repository(input, name, build)
}

/// A reference without tag and digest.
fn repository_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name)
}

/// What a FROM may call an image: its repository, with the registry of this run or the one that the file names.
pub fn repositories(config: &Config, build: &Build) -> Vec<String> {
    let bare = build.repository.contains('/').then(|| build.repository.clone());
    let registries = [&config.registry, &config.written_registry].into_iter().filter(|registry| !registry.is_empty());
    bare.into_iter().chain(registries.map(|registry| format!("{registry}/{}", build.repository))).collect()
}

fn is_repository(input: &Input<'_>, name: &str, build: &Build) -> bool {
    repositories(input.config, build).iter().any(|own| own == name)
}

/// A FROM of one of our own repositories must be declared, or it would silently be a stale one.
fn undeclared(input: &Input<'_>, child: &Build, images: &[String]) -> Result<()> {
    let declared: Vec<&Build> = input.config.parents(child).map(|(_, parent)| parent).collect();
    for image in images {
        let own = input.repositories.get(repository_of(image)).filter(|build| build.image != child.image);
        if let Some(own) = own.filter(|own| !declared.iter().any(|parent| parent.id == own.id)) {
            let message = format!(
                "{}: {} is made FROM {image}, which is the image {} of this repository",
                child.id, child.dockerfile, own.image
            );
            return Err(Fault::usage(message)
                .hint(format!("add `parent = \"{}\"` to [image.{}]", own.image, child.image))
                .into());
        }
    }
    Ok(())
}
