//! What the stages of a run write into receipts.

use anyhow::Result;
use camino::Utf8Path;

use super::{Receipt, Tested};
use crate::build::outcome::Outcome;
use crate::candidate::{self, Digests};
use crate::container::check::IN_RECEIPTS;
use crate::container::run::Outcome as TestOutcome;
use crate::error::Fault;
use crate::plan::{Build, Plan};
use crate::registry::{Digest, Image, Registry, each};

/// Writes the receipts of what was built; `image` says what an image consists of.
///
/// # Errors
/// Refused when the registry does not have what was pushed; the registry's or engine's.
pub fn built(
    repo: &Utf8Path,
    plan: &Plan,
    outcomes: &[Outcome],
    registry: &dyn Registry,
    local: impl Fn(&Build) -> Result<Vec<Image>> + Sync,
) -> Result<()> {
    let built: Vec<(&Build, &Outcome, Digest)> = outcomes
        .iter()
        .filter_map(|outcome| {
            let build = plan.builds.iter().find(|build| build.id == outcome.id)?;
            Some((build, outcome, Digest::parse(outcome.digest.as_deref()?).ok()?))
        })
        .collect();
    each(&built, |(build, outcome, digest)| {
        let images = if build.pushes_candidate() {
            let name = candidate::by_digest(build, digest);
            let missing = || Fault::refused(format!("{}: {name} was pushed and is not in the registry", build.id));
            registry.images(&name)?.ok_or_else(missing)?
        } else {
            local(build)?
        };
        let steps = &outcome.steps;
        let receipt = Receipt {
            digest: Some(digest.clone()),
            config_digest: outcome.config_digest.as_deref().and_then(|digest| Digest::parse(digest).ok()),
            images,
            steps: steps.total,
            cached: steps.cached,
            ..Receipt::new(plan, build)
        };
        receipt.write(repo, plan, build)
    })?;
    Ok(())
}

/// Renews the receipts of what is reused: an older one may be of another image.
///
/// # Errors
/// The registry's; a receipt that cannot be written.
pub fn reused(repo: &Utf8Path, plan: &Plan, registry: &dyn Registry) -> Result<()> {
    let before = super::read(repo, plan);
    let builds: Vec<(&Build, Digest)> =
        candidate::pushed(plan).filter_map(|build| Some((build, candidate::reused(build)?))).collect();
    let is_renewed = |(build, image): &&(&Build, Digest)| {
        let is_of = |receipt: &Receipt| receipt.digest.as_ref() == Some(image) && receipt.tests.iter().all(|test| test.passed);
        !before.get(&build.id).is_some_and(is_of)
    };
    let builds: Vec<&(&Build, Digest)> = builds.iter().filter(is_renewed).collect();
    each(&builds, |(build, image)| {
        let images = registry.images(&candidate::by_digest(build, image))?.unwrap_or_default();
        let receipt = Receipt { digest: Some(image.clone()), images, reused: true, ..Receipt::new(plan, build) };
        receipt.write(repo, plan, build)
    })?;
    Ok(())
}

/// Adds to the receipts which tests ran, and which `checks`: those are of every build. `before`: what had passed already.
///
/// # Errors
/// A receipt that cannot be read or written.
pub fn tested(
    repo: &Utf8Path,
    plan: &Plan,
    outcomes: &[TestOutcome],
    checks: &[Tested],
    passed: &Digests,
    before: &Digests,
) -> Result<()> {
    let mut receipts = super::read(repo, plan);
    for build in &plan.builds {
        let mine = outcomes.iter().filter(|outcome| outcome.id == build.id);
        let tested = |outcome: &TestOutcome| {
            Some(Tested { name: outcome.test.clone(), passed: outcome.passed?, seconds: outcome.seconds })
        };
        let tests: Vec<Tested> = mine.filter_map(tested).collect();
        let mut receipt = receipts.remove(&build.id).unwrap_or_else(|| Receipt::new(plan, build));
        receipt.digest = passed.get(&build.id).cloned().or(receipt.digest);
        if receipt.digest.is_some() {
            // What failed here and passed elsewhere has passed.
            let is_marked = before.get(&build.id).is_some_and(|image| receipt.digest.as_ref() == Some(image));
            let stays = |test: &Tested| !test.name.starts_with(IN_RECEIPTS) && (test.passed || !is_marked);
            receipt.tests.retain(|test| tests.is_empty() && stays(test));
            receipt.tests.extend(tests.into_iter().chain(checks.iter().cloned()));
            receipt.write(repo, plan, build)?;
        }
    }
    Ok(())
}
