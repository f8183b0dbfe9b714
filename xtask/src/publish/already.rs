//! What is published already. A tag that has an image of the plan's key is done, whoever built that image and when.

use anyhow::Result;

use super::is_of_the_commit;
use crate::candidate::{self, Digests};
use crate::event::Event;
use crate::gate::{Verified, published};
use crate::marks;
use crate::plan::{Build, Plan, labels};
use crate::registry::{Digest, Registry, digests, each};

/// The written-once tags that say what is published of a build: those of its version. Where it has none, those of its
/// commit, unless each run of that commit builds another image on purpose.
pub fn naming(plan: &Plan, build: &Build) -> Vec<String> {
    let (of_the_commit, versions): (Vec<&String>, Vec<&String>) =
        build.push.tags.iter().partition(|tag| is_of_the_commit(plan, tag));
    let tags = if versions.is_empty() && !build.test.fresh { of_the_commit } else { versions };
    tags.into_iter().cloned().collect()
}

/// The image that all tags which name a build have, if that passed the tests of the plan: then nothing is built for
/// them, fresh or not. `None`: something is to be done.
///
/// # Errors
/// The registry's.
pub fn image(plan: &Plan, registry: &dyn Registry, build: &Build) -> Result<Option<Digest>> {
    if takes_over(plan, registry, build)? {
        return Ok(None);
    }
    let mut found = digests(registry, &naming(plan, build))?;
    found.dedup();
    let [Some(image)] = &found[..] else { return Ok(None) };
    Ok(candidate::is_tested(registry, build, image)?.then(|| image.clone()))
}

/// The same for all builds that are published.
///
/// # Errors
/// The registry's.
pub fn images(plan: &Plan, registry: &dyn Registry) -> Result<Digests> {
    let builds = published(plan);
    let found = each(&builds, |build| image(plan, registry, build))?;
    Ok(builds.iter().zip(found).filter_map(|(build, image)| Some((build.id.clone(), image?))).collect())
}

/// Whether a run puts its own image in the place of what was published of the same version: because its event says so, or
/// because a fresh build of the version's own run comes before the version is released.
fn takes_over(plan: &Plan, registry: &dyn Registry, build: &Build) -> Result<bool> {
    let (Event::Tag { .. }, Some(version), true) = (&plan.event, &plan.version, build.test.fresh) else {
        return Ok(build.push.replace);
    };
    Ok(build.push.replace || registry.digest(&marks::released(&candidate::repository(build), &build.id, version))?.is_none())
}

/// Whether what is published of a build is an image of the plan's key: its own labels say so, and it passed the same
/// tests or is like an image that did. Labels alone are inherited by whatever is made from an image.
///
/// # Errors
/// The registry's.
pub fn is_of(registry: &dyn Registry, build: &Build, published: &Digest, tested: &Digest) -> Result<bool> {
    let images = |repository: &str, digest| registry.images(&format!("{repository}@{digest}"));
    let theirs = images(&build.repository, published)?.unwrap_or_default();
    if theirs.is_empty() || !theirs.iter().all(|image| labels::fits(build, &image.labels)) {
        return Ok(false);
    }
    if candidate::is_tested(registry, build, published)? {
        return Ok(true);
    }
    let ours = images(&candidate::repository(build), tested)?.unwrap_or_default();
    Ok(ours.len() == theirs.len() && ours.iter().all(|image| theirs.iter().any(|other| other.is_like(image))))
}

/// Takes what is published in the place of what was built for the same tags: all tags that name a build get one image.
///
/// # Errors
/// The registry's.
pub fn adopt(plan: &Plan, registry: &dyn Registry, verified: &mut [Verified<'_>]) -> Result<()> {
    let found = each(verified, |one| {
        if takes_over(plan, registry, one.build)? {
            return Ok(None);
        }
        for now in digests(registry, &naming(plan, one.build))?.into_iter().flatten() {
            if now == one.digest || is_of(registry, one.build, &now, &one.digest)? {
                return Ok(Some(now));
            }
        }
        Ok(None)
    })?;
    for (one, now) in verified.iter_mut().zip(found) {
        if let Some(now) = now.filter(|now| *now != one.digest) {
            (one.digest, one.source) = (now, one.build.repository.clone());
        }
    }
    Ok(())
}
