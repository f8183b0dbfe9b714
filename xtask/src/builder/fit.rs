//! What the engine's image store and the builder of a run are good for.

use anyhow::Result;

use super::{Choice, Place};
use crate::build::health;
use crate::docker;
use crate::plan::{Action, Build, Plan};

/// Whether the builder that buildx takes by itself will do: the engine's own with the containerd image store, or
/// another that somebody has chosen.
pub fn suits(place: &Place<'_>) -> Result<bool> {
    if place.private || health::keeps_platforms(&health::engine(place.runner)?) {
        return Ok(true);
    }
    let exit = place.runner.output(&docker::inspect_builder(None))?;
    Ok(exit.ok() && docker::found(&exit.stdout).driver != "docker")
}

/// Whether images that are not pushed can be loaded with one platform only, whoever made the builder: by an engine that
/// keeps one of each image, and from several nodes, each of which would load its own under the same name.
///
/// Nobody is asked for a plan without such images. Without an engine, which a plan that is printed does not need, the
/// best is expected.
pub fn loads_one(place: &Place<'_>, choice: &Choice, has_nodes: bool, plan: &Plan) -> bool {
    let is_loaded = |build: &Build| build.action == Action::Build && !build.pushes_candidate() && build.platforms.len() > 1;
    if !plan.builds.iter().any(is_loaded) {
        return false;
    }
    if has_nodes || !health::keeps_platforms(&health::engine(place.runner).unwrap_or_default()) {
        return true;
    }
    let names: Vec<Option<&str>> = match choice {
        Choice::Auto => vec![None],
        Choice::Container => Vec::new(),
        Choice::Named(name) => vec![Some(name)],
        Choice::Shared(names) => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let has_several = |name: Option<&str>| {
        let exit = place.runner.output(&docker::inspect_builder(name)).unwrap_or_default();
        docker::found(&exit.stdout).nodes.len() > 1
    };
    names.into_iter().any(has_several)
}
