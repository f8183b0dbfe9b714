//! `--only` with a plan that was made before: a matrix leg takes its part.

use anyhow::Result;

use super::select::{NARROWED, shorten};
use super::{Check, Plan, Skipped, checks};
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
    let (checks, dropped): (Vec<Check>, Vec<Check>) =
        plan.checks.into_iter().partition(|check| checks::stays(check, &plan.builds, &repositories));
    plan.checks = checks;
    // One in an image is run with that image; what composes the images of several parts is run by none of them.
    let composed = dropped.iter().filter(|check| check.compose.is_some());
    plan.warnings.extend(composed.map(|check| format!("check {} is not run: --only leaves images of it out", check.name)));
    plan.skipped.extend(left.into_iter().map(|build| Skipped { id: build.id, reasons: vec![NARROWED.into()] }));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use crate::plan::golden::{facts, load};
    use crate::plan::plan;

    #[test]
    fn a_composed_check_that_no_part_can_run_is_said() {
        let (root, config) = load("examples/services");
        let event = crate::event::parse::event("branch:dev").unwrap();
        let whole = plan(&config, &event, &facts(&root, &config, None), &[]).unwrap();
        assert!(whole.checks.iter().any(|check| check.name == "stack"));
        let only = [config.condition("id=service-web").unwrap()];
        let part = super::narrow(whole.clone(), &only, &config).unwrap();
        assert_eq!((part.builds.len(), part.checks.len()), (1, 0));
        assert!(
            part.warnings.contains(&"check stack is not run: --only leaves images of it out".to_owned()),
            "{:?}",
            part.warnings
        );
        assert_eq!(super::narrow(whole.clone(), &[], &config).unwrap(), whole);
    }
}
