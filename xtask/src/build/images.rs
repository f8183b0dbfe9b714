//! What the images of a run are: size and configuration, asked of the engine with one question for all that is not known.

use std::collections::BTreeMap;

use anyhow::Result;

use super::outcome::Outcome;
use super::store::{Image, Store};
use crate::docker;
use crate::exec::Runner;
use crate::facts;
use crate::plan::{Build, Plan};
use crate::receipt::Receipt;
use crate::registry;

/// Build id → configuration of the image that was loaded, one a platform.
pub type Configs = BTreeMap<String, Vec<registry::Image>>;

/// The platforms under which the engine fetches an image; `None`: as it would by itself.
///
/// Those that run here, to be tested; the first of an image of which none does.
pub fn to_fetch(build: &Build) -> Vec<Option<&str>> {
    let own = facts::host_platform();
    if build.platforms == [own.as_str()] {
        return vec![None];
    }
    let runs = |platform: &&String| facts::runs(platform);
    let found: Vec<Option<&str>> = build.platforms.iter().filter(runs).map(|platform| Some(platform.as_str())).collect();
    if found.is_empty() { vec![build.platforms.first().map(String::as_str)] } else { found }
}

/// What the engine has of an image for several platforms, where it can tell them apart.
fn each_platform(runner: &Runner, name: &str, platforms: &[String]) -> Result<Vec<registry::Image>> {
    let mut images = Vec::new();
    for platform in platforms {
        let found = runner.output(&docker::inspect_platform(name, platform))?.stdout;
        images.extend(docker::images(&found).iter().map(|image| registry::Image::from_config(&image.facts)));
    }
    Ok(images)
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
            let images = if each.is_empty() { vec![registry::Image::from_config(&image.facts)] } else { each };
            configs.insert(outcome.id.clone(), images);
        }
        if let Some(size) = outcome.size {
            store.images.insert(outcome.id.clone(), Image { key: outcome.key.clone(), digest, size });
        }
    }
    Ok(configs)
}
