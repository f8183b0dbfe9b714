//! `--only` with a plan that was made before: a matrix leg takes its part.

use anyhow::Result;

use super::select::{NARROWED, shorten};
use super::{Plan, Skipped, checks};
use crate::config::Config;
use crate::config::condition::{Condition, Subject, selects};
use crate::error::Fault;

/// What `only` selects of a plan, and the parents of that.
///
/// # Errors
/// A usage fault that lists what there is, if that is nothing.
pub fn narrow(mut plan: Plan, only: &[Condition], config: &Config) -> Result<Plan> {
    if only.is_empty() {
        return Ok(plan);
    }
    let mut keep: Vec<String> = Vec::new();
    // Children stand after their parents, so one walk from the end sees every child first.
    for build in plan.builds.iter().rev() {
        let subject = Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes };
        if selects(only, &subject) || keep.contains(&build.id) {
            keep.push(build.id.clone());
            keep.extend(build.parents.iter().filter_map(|(_, is)| is.strip_prefix("build:")).map(str::to_owned));
        }
    }
    if keep.is_empty() {
        let ids: Vec<&str> = plan.builds.iter().map(|build| build.id.as_str()).collect();
        return Err(Fault::usage("--only selects nothing of this plan").hint(format!("there are {}", shorten(&ids))).into());
    }
    let (kept, left) = plan.builds.into_iter().partition(|build| keep.contains(&build.id));
    plan.builds = kept;
    let left: Vec<super::Build> = left;
    let repositories: Vec<&str> = left.iter().map(|build| build.repository.as_str()).collect();
    plan.checks.retain(|check| checks::stays(check, &plan.builds, &repositories));
    plan.skipped.extend(left.into_iter().map(|build| Skipped { id: build.id, reasons: vec![NARROWED.into()] }));
    Ok(plan)
}
