//! The checks of a plan: on this machine, in an image of this run or a published one, or composed.

use anyhow::Result;

use super::planner::Input;
use super::{Build, Check, parents, publishers};
use crate::error::Fault;

/// Checks in the order of their names. `left`: repositories of what `--only` leaves out; `None`: there is no `--only`.
pub fn checks(input: &Input<'_>, builds: &[Build], left: Option<&[&str]>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (name, check) in &input.config.checks {
        let is_here = |image: &String| builds.iter().any(|build| build.id == *image || build.image == *image);
        if left.is_some() && check.r#in.as_ref().is_some_and(|image| !is_here(image)) {
            continue;
        }
        let timeout = check.timeout.as_deref().unwrap_or("5m");
        let timeout =
            humantime::parse_duration(timeout).map_err(|error| Fault::usage(format!("check.{name}.timeout: {error}")))?;
        let check = Check {
            name: name.clone(),
            r#in: check.r#in.as_ref().map(|image| place(input, name, image, builds)).transpose()?,
            run: check.run.to_vec(),
            compose: check.compose.clone(),
            services: check.services.clone(),
            may_fail: check.may_fail,
            timeout: timeout.as_secs().max(1),
        };
        if left.is_none_or(|left| stays(&check, builds, left)) {
            checks.push(check);
        }
    }
    Ok(checks)
}

/// Whether a check has all that it needs in a part of a plan. `left`: repositories of the builds that are left out.
///
/// A composed system may need any of them: what a compose file says is not known here.
pub fn stays(check: &Check, builds: &[Build], left: &[&str]) -> bool {
    match (&check.r#in, &check.compose) {
        (Some(_), _) => check.build().is_some_and(|id| builds.iter().any(|build| build.id == id)),
        (None, Some(_)) => left.is_empty(),
        (None, None) => true,
    }
}

fn place(input: &Input<'_>, check: &str, image: &str, builds: &[Build]) -> Result<String> {
    if let Some(build) = builds.iter().find(|build| build.id == image || build.image == image) {
        return Ok(format!("build:{}", build.id));
    }
    let Some(build) = input.config.builds.iter().find(|build| build.id == image || build.image == image) else {
        return Err(Fault::usage(format!("check.{check}.in: there is no image {image}")).into());
    };
    let repository = input.config.with_registry(&build.repository);
    let tag = parents::published_tag(input, None, build);
    let published = format!("{repository}:{tag}");
    let fault = match input.facts.bases.get(&published) {
        None if input.config.registry.is_empty() => {
            format!("image {} of check {check} is not built in this run, and there is no registry to take it from", build.id)
        }
        None => return Ok(published),
        Some(Some(digest)) => return Ok(format!("{repository}@{digest}")),
        Some(None) => format!("image {published} of check {check} not found: it was never published"),
    };
    let hint = match publishers::why_never(input.config, build) {
        None => publishers::hint(input, build, &tag),
        Some(_) => format!("build it here: `cargo xtask ci-build --mode test --event local --only id={}`", build.id),
    };
    Err(Fault::usage(fault).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::build;

    #[test]
    fn what_a_part_of_a_plan_can_check() {
        let check = |place: Option<&str>, compose: Option<&str>, services: &[&str]| Check {
            name: "c".into(),
            r#in: place.map(str::to_owned),
            run: Vec::new(),
            compose: compose.map(str::to_owned),
            services: services.iter().map(|service| (*service).to_owned()).collect(),
            may_fail: false,
            timeout: 1,
        };
        let builds = [build("ci")];
        let table = [
            (check(None, None, &[]), true),
            (check(Some("build:ci"), None, &[]), true),
            (check(Some("build:other"), None, &[]), false),
            (check(Some("r/ci@sha256:1"), None, &[]), false),
            (check(None, Some("c.yml"), &[]), false),
            (check(None, Some("c.yml"), &["web"]), false),
            (check(None, Some("c.yml"), &["ci"]), false),
        ];
        for (check, expected) in table {
            assert_eq!(stays(&check, &builds, &["r.io/shop/web"]), expected, "{check:?}");
        }
        assert!(stays(&check(None, Some("c.yml"), &[]), &builds, &[]));
    }
}
