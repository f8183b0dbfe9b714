//! The checks of a plan: on this machine, in an image of this run or a published one, or composed.

use anyhow::Result;

use super::planner::{Input, with_registry};
use super::{Build, Check};
use crate::error::Fault;

/// Checks in the order of their names.
pub fn checks(input: &Input<'_>, builds: &[Build]) -> Result<Vec<Check>> {
    input
        .config
        .checks
        .iter()
        .map(|(name, check)| {
            let r#in = check.r#in.as_ref().map(|image| place(input, name, image, builds)).transpose()?;
            let timeout = check.timeout.as_deref().unwrap_or("5m");
            let timeout =
                humantime::parse_duration(timeout).map_err(|error| Fault::usage(format!("check.{name}.timeout: {error}")))?;
            Ok(Check {
                name: name.clone(),
                r#in,
                run: check.run.to_vec(),
                compose: check.compose.clone(),
                services: check.services.clone(),
                may_fail: check.may_fail,
                timeout: timeout.as_secs(),
            })
        })
        .collect()
}

fn place(input: &Input<'_>, check: &str, image: &str, builds: &[Build]) -> Result<String> {
    if let Some(build) = builds.iter().find(|build| build.id == image || build.image == image) {
        return Ok(format!("build:{}", build.id));
    }
    match input.config.builds.iter().find(|build| build.id == image || build.image == image) {
        Some(build) => Ok(format!("{}:latest", with_registry(input.config, &build.repository))),
        None => Err(Fault::usage(format!("check.{check}.in: there is no image {image}")).into()),
    }
}
