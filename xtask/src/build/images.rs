//! What the images of a run are: size and configuration, asked of the engine with one question for all that is not known.

use std::collections::BTreeMap;

use anyhow::Result;

use super::outcome::Outcome;
use super::store::{Image, Store};
use crate::candidate::Platforms;
use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::{Build, Plan};
use crate::receipt::Receipt;
use crate::registry::{self, Live};
use crate::{docker, facts, parallel, report};

/// Build id → configuration of the image that was loaded, one a platform.
pub type Configs = BTreeMap<String, Vec<registry::Image>>;

/// An image in the engine, for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `None`: the one that the engine takes by itself.
    pub platform: Option<String>,
    /// What the engine knows it by.
    pub reference: String,
}

impl Part {
    fn is_for(&self, platform: &str) -> bool {
        self.platform.as_deref().is_none_or(|own| own == platform)
    }

    pub fn pull(&self, runner: &Runner) -> Result<()> {
        runner.read(&docker::pull(&self.reference, self.platform.as_deref())).map(drop)
    }
}

/// The part for a platform; for none that is named, the one of this machine, else the first.
pub fn part<'a>(parts: &'a [Part], platform: Option<&str>) -> Option<&'a Part> {
    match platform {
        Some(platform) => parts.iter().find(|part| part.is_for(platform)),
        None => part(parts, Some(&facts::host_platform())).or(parts.first()),
    }
}

/// What the engine fetches of images that were pushed (`REPOSITORY@DIGEST`): the platforms that run here, to be tested; the
/// first of an image of which none does.
///
/// # Errors
/// The registry's; failed where an index lacks a platform.
pub fn to_fetch(registry: &Live, images: &[(&Build, String)], keeps_platforms: bool) -> Result<Vec<Vec<Part>>> {
    registry::each(images, |(build, image)| {
        let platforms = platforms_to_fetch(build);
        if keeps_platforms || build.platforms.len() < 2 {
            return Ok(platforms.into_iter().map(|platform| Part { platform, reference: image.clone() }).collect());
        }
        apart(platforms, image, &registry.by_platform(image)?)
    })
}

fn platforms_to_fetch(build: &Build) -> Vec<Option<String>> {
    let own = facts::host_platform();
    if build.platforms == [own.as_str()] {
        return vec![None];
    }
    let runs = |platform: &&String| facts::runs(platform);
    let found: Vec<Option<String>> = build.platforms.iter().filter(runs).cloned().map(Some).collect();
    if found.is_empty() { vec![build.platforms.first().cloned()] } else { found }
}

/// The parts of an index by digests of their own: an engine that keeps one platform of an image refuses to give the digest
/// of the index to a second one.
fn apart(platforms: Vec<Option<String>>, image: &str, index: &[(String, String)]) -> Result<Vec<Part>> {
    let part = |platform: Option<String>| {
        let name = platform.as_deref().unwrap_or_default();
        let found = index.iter().find(|(other, _)| registry::normal(other) == registry::normal(name));
        let (_, reference) = found.ok_or_else(|| Fault::failed(format!("{image} has no image for {name}")))?;
        Ok(Part { platform, reference: reference.clone() })
    };
    platforms.into_iter().map(part).collect()
}

/// (platform, what the engine has of it) of an image for several; that which it names itself where it can't tell them apart.
fn each_platform(runner: &Runner, name: &str, platforms: &[String]) -> Result<Vec<(String, registry::Image)>> {
    let ask = |cmd| -> Result<Option<registry::Image>> {
        let found = docker::images(&runner.output(&cmd)?.stdout);
        Ok(found.first().map(|image| registry::Image::from_config(&image.facts)))
    };
    let mut images = Vec::new();
    for platform in platforms {
        images.extend(ask(docker::inspect_platform(name, platform))?.map(|image| (platform.clone(), image)));
    }
    if images.is_empty() {
        let is = |platform: &&String, image: &registry::Image| registry::normal(platform) == registry::normal(&image.platform);
        let only = ask(docker::inspect_images(&[name.to_owned()]))?;
        images.extend(only.and_then(|image| Some((platforms.iter().find(|platform| is(platform, &image))?.clone(), image))));
    }
    Ok(images)
}

/// Of the images that were not pushed, those which the engine has for some of their platforms only.
///
/// # Errors
/// docker can't be started.
pub fn loaded_in_part<'a>(runner: &Runner, jobs: usize, builds: impl Iterator<Item = &'a Build>) -> Result<Platforms> {
    let several = builds.filter(|build| build.platforms.len() > 1 && !build.pushes_candidate());
    let named: Vec<(&Build, String)> = several.filter_map(|build| Some((build, build.names().into_iter().next()?))).collect();
    let loaded = |(build, name): (&Build, String)| -> Result<(String, Vec<String>)> {
        let has = each_platform(runner, &name, &build.platforms)?.into_iter().map(|(platform, _)| platform).collect();
        Ok((build.id.clone(), if has == build.platforms { Vec::new() } else { has }))
    };
    let loaded: Vec<_> = parallel::map(jobs, named, loaded).into_iter().collect::<Result<_>>()?;
    // One that is not there at all is somebody else's fault.
    Ok(loaded.into_iter().filter(|(_, has)| !has.is_empty()).collect())
}

/// Says of which platforms nothing is done ("tested") because they are not here.
pub fn say_what_is_not_loaded(builds: &[&Build], loaded: &Platforms, done: &str) {
    for (build, loaded) in builds.iter().filter_map(|build| Some((build, loaded.get(&build.id)?))) {
        let other = build.platforms.iter().filter(|platform| !loaded.contains(platform));
        let other = other.map(String::as_str).collect::<Vec<_>>().join(", ");
        report::note(&format!("warning: {}: {other} is not {done}: only {} was loaded", build.id, loaded.join(", ")));
    }
}

/// Fills in the sizes, and says what the images consist of that were not pushed.
///
/// The store knows sizes by digest and the receipts of the last run know configurations: after a run that
/// changed nothing, the engine is not asked at all.
pub fn look(
    runner: &Runner,
    plan: &Plan,
    outcomes: &mut [Outcome],
    store: &mut Store,
    receipts: &BTreeMap<String, Receipt>,
) -> Result<Configs> {
    let built = |id: &str| plan.builds.iter().find(|build| build.id == id);
    let mut configs = Configs::new();
    let mut unknown = Vec::new();
    for outcome in outcomes.iter_mut() {
        let (Some(digest), Some(name)) = (&outcome.digest, outcome.names.first()) else { continue };
        outcome.size = store.size(&outcome.id, digest);
        let known =
            receipts.get(&outcome.id).filter(|receipt| receipt.digest.as_ref().is_some_and(|known| known.to_string() == *digest));
        let known = known.map(|receipt| receipt.images.clone()).filter(|images| !images.is_empty());
        let needs_config = built(&outcome.id).is_some_and(|build: &Build| !build.pushes_candidate());
        if outcome.size.is_none() || (needs_config && known.is_none()) {
            unknown.push(name.clone());
        }
        configs.extend(known.map(|images| (outcome.id.clone(), images)));
    }
    let found = if unknown.is_empty() { String::new() } else { runner.output(&docker::inspect_images(&unknown))?.stdout };
    let found = docker::images(&found);
    for outcome in outcomes.iter_mut() {
        let (Some(digest), Some(name)) = (outcome.digest.clone(), outcome.names.first()) else { continue };
        if let Some(image) = found.iter().find(|image| image.is_called(name)) {
            outcome.size = Some(image.size());
            let several = built(&outcome.id).filter(|build| build.platforms.len() > 1 && !build.pushes_candidate());
            let each = several.map(|build| each_platform(runner, name, &build.platforms)).transpose()?.unwrap_or_default();
            let each: Vec<_> = each.into_iter().map(|(_, image)| image).collect();
            let images = if each.is_empty() { vec![registry::Image::from_config(&image.facts)] } else { each };
            configs.insert(outcome.id.clone(), images);
        }
        if let Some(size) = outcome.size {
            store.images.insert(outcome.id.clone(), Image { key: outcome.key.clone(), digest, size });
        }
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_keeps_one_platform_gets_each_by_its_own_digest() {
        let index = [("linux/amd64", "r/a@sha256:1"), ("linux/arm64/v8", "r/a@sha256:2"), ("linux/s390x", "r/a@sha256:3")];
        let index = index.map(|(platform, image)| (platform.to_owned(), image.to_owned()));
        let wanted = |platforms: &[&str]| platforms.iter().map(|platform| Some((*platform).to_owned())).collect();
        let parts = apart(wanted(&["linux/arm64", "linux/amd64"]), "r/a@sha256:0", &index).unwrap();
        let part = |platform: &str, image: &str| Part { platform: Some(platform.into()), reference: image.into() };
        assert_eq!(parts, [part("linux/arm64", "r/a@sha256:2"), part("linux/amd64", "r/a@sha256:1")]);
        let error = apart(wanted(&["linux/386"]), "r/a@sha256:0", &index).unwrap_err();
        assert_eq!(error.to_string(), "r/a@sha256:0 has no image for linux/386");
        assert_eq!(super::part(&[part("linux/x", "x"), part(&facts::host_platform(), "own")], None).unwrap().reference, "own");
        assert_eq!(super::part(&[part("linux/x", "x")], None).unwrap().reference, "x");
        assert_eq!(super::part(&[part("linux/x", "x")], Some("linux/y")), None);
    }
}
