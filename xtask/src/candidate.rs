//! The test stage's part of publishing: candidates that need not be built again, receipts, and the mark of a passed test.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::Utf8Path;

use crate::build::outcome::Outcome;
use crate::container::check::IN_RECEIPTS;
use crate::container::run::Outcome as TestOutcome;
use crate::error::Fault;
use crate::plan::{Action, Build, Plan, mark_on_published};
use crate::receipt::{self, Receipt, Tested};
use crate::registry::{Digest, Image, Registry, digests, each, put, split};

/// Build id → digest.
pub type Digests = BTreeMap<String, Digest>;

/// Build id → some of its platforms.
pub type Platforms = BTreeMap<String, Vec<String>>;

fn pushed(plan: &Plan) -> impl Iterator<Item = &Build> {
    plan.builds.iter().filter(|build| build.pushes_candidate())
}

/// `REPOSITORY@DIGEST` of a candidate.
pub fn by_digest(build: &Build, digest: &Digest) -> String {
    let candidate = build.test.candidate.as_deref().unwrap_or(&build.repository);
    format!("{}@{digest}", split(candidate).0)
}

/// The builds whose key and tests are those of an image that passed before → its digest. Only reads.
///
/// Fresh builds, and those whose key promises nothing, count only if it was this very run that built them; `is_outdated`
/// tells of images that are right by their key and would still take a moving tag back.
///
/// # Errors
/// The registry's, and those of `is_outdated`.
pub fn tested_before(
    plan: &Plan,
    registry: &dyn Registry,
    is_outdated: &(dyn Fn(&Build, &Digest) -> Result<bool> + Sync),
) -> Result<Digests> {
    let builds: Vec<&Build> = pushed(plan).filter(|build| build.action == Action::Build).collect();
    let found = each(&builds, |build| {
        let (candidate, mark) =
            (build.test.candidate.as_deref().unwrap_or_default(), build.test.mark.as_deref().unwrap_or_default());
        let Some(tested) = registry.digest(mark)? else { return Ok(None) };
        if registry.digest(candidate)?.as_ref() == Some(&tested) {
            return Ok(Some(tested));
        }
        let reusable = !build.test.fresh && build.is_settled_by_its_key() && !is_outdated(build, &tested)?;
        Ok(reusable.then_some(tested))
    })?;
    let ids = builds.iter().map(|build| build.id.clone());
    Ok(ids.zip(found).filter_map(|(id, digest)| Some((id, digest?))).collect())
}

/// Gives the names of this run's candidates to the images that it reuses.
///
/// # Errors
/// The registry's.
pub fn adopt(plan: &Plan, registry: &dyn Registry) -> Result<()> {
    let reused = pushed(plan).filter_map(|build| Some((build, build.reused.as_deref()?.split_once('@')?)));
    let reused: Vec<(&Build, (&str, &str))> = reused.collect();
    each(&reused, |(build, (repository, digest))| {
        let (candidate, digest) = (build.test.candidate.as_deref().unwrap_or_default(), Digest::parse(digest)?);
        if registry.digest(candidate)?.as_ref() == Some(&digest) {
            return Ok(());
        }
        put(registry, repository, &digest, candidate).map(drop)
    })?;
    Ok(())
}

/// What this run's candidates are, those that are there.
///
/// # Errors
/// The registry's.
pub fn candidates(plan: &Plan, registry: &dyn Registry) -> Result<Digests> {
    let builds: Vec<&Build> = pushed(plan).collect();
    let names: Vec<String> = builds.iter().filter_map(|build| build.test.candidate.clone()).collect();
    let found = digests(registry, &names)?;
    let found = builds.iter().zip(found).map(|(build, digest)| (build, digest.or_else(|| reused(build))));
    Ok(found.filter_map(|(build, digest)| Some((build.id.clone(), digest?))).collect())
}

/// The digest that the plan says is reused.
pub fn reused(build: &Build) -> Option<Digest> {
    Digest::parse(build.reused.as_deref()?.split_once('@')?.1).ok()
}

/// Those of `candidates` that carry the mark of their tests.
///
/// # Errors
/// The registry's.
pub fn marked(plan: &Plan, registry: &dyn Registry, candidates: &Digests) -> Result<Digests> {
    let builds: Vec<&Build> = pushed(plan).filter(|build| candidates.contains_key(&build.id)).collect();
    let names: Vec<String> = builds.iter().filter_map(|build| build.test.mark.clone()).collect();
    let found = digests(registry, &names)?;
    let both = builds.iter().zip(found).filter_map(|(build, digest)| Some((build.id.clone(), digest?)));
    Ok(both.filter(|(id, digest)| candidates.get(id) == Some(digest)).collect())
}

/// Beside the mark of a build for several platforms, that of one on which its tests passed.
fn mark_on(mark: &str, platform: &str) -> String {
    format!("{mark}-{}", platform.replace('/', "-"))
}

/// The platforms on which nobody has tested these images, marked as they are: the mark alone says that there was one.
///
/// # Errors
/// The registry's.
pub fn untested(plan: &Plan, registry: &dyn Registry, images: &Digests) -> Result<Platforms> {
    let several = plan.builds.iter().filter(|build| build.platforms.len() > 1 && !build.tests.is_empty());
    let asked = several.filter_map(|build| Some((build, images.get(&build.id)?, build.test.mark.as_deref()?)));
    let asked: Vec<_> =
        asked.flat_map(|(build, digest, mark)| build.platforms.iter().map(move |on| (build, digest, mark, on))).collect();
    let found = each(&asked, |(_, _, mark, on)| registry.digest(&mark_on(mark, on)))?;
    let mut untested = Platforms::new();
    for ((build, digest, _, on), found) in asked.into_iter().zip(found) {
        if found.as_ref() != Some(digest) {
            untested.entry(build.id.clone()).or_default().push(on.clone());
        }
    }
    Ok(untested)
}

/// Moves the marks of everything that passed, and of what has no tests. `candidates`: all of this run; `on`: on which of
/// its platforms a build passed.
///
/// # Errors
/// The registry's; refused when a candidate is not any more what was tested.
pub fn mark(plan: &Plan, registry: &dyn Registry, passed: &Digests, candidates: &Digests, on: &Platforms) -> Result<()> {
    let builds: Vec<(&Build, &Digest)> = pushed(plan).filter_map(|build| Some((build, passed.get(&build.id)?))).collect();
    each(&builds, |(build, digest)| {
        let (candidate, mark) =
            (build.test.candidate.as_deref().unwrap_or_default(), build.test.mark.as_deref().unwrap_or_default());
        // One that is reused is no candidate of this run until a build stage makes it one, and perhaps none has run.
        let now = registry.digest(candidate)?.or_else(|| reused(build));
        if now.as_ref() != Some(digest) {
            let now = now.map_or("gone".to_owned(), |now| now.to_string());
            let message = format!("{}: the candidate changed while it was tested: tested {digest}, now {now}", build.id);
            return Err(Fault::refused(message).hint("build and test it again").into());
        }
        let parent = |id: &str| candidates.get(id).map(ToString::to_string);
        for mark in [Some(mark.to_owned()), mark_on_published(plan, build, parent)].into_iter().flatten() {
            // First those of platforms: without the mark itself they say nothing.
            for on in on.get(&build.id).into_iter().flatten().filter(|_| build.platforms.len() > 1) {
                put(registry, split(candidate).0, digest, &mark_on(&mark, on))?;
            }
            put(registry, split(candidate).0, digest, &mark)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Writes the receipts of what was built; `image` says what an image consists of.
///
/// # Errors
/// Refused when the registry does not have what was pushed; the registry's or engine's.
pub fn receipts(
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
            let name = by_digest(build, digest);
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

/// Adds to the receipts which tests ran, and which `checks`: those are of every build.
///
/// # Errors
/// A receipt that cannot be read or written.
pub fn add_tests(repo: &Utf8Path, plan: &Plan, outcomes: &[TestOutcome], checks: &[Tested], passed: &Digests) -> Result<()> {
    let mut receipts = receipt::read(repo, plan)?;
    for build in &plan.builds {
        let mine = outcomes.iter().filter(|outcome| outcome.id == build.id);
        let tested = |outcome: &TestOutcome| {
            Some(Tested { name: outcome.test.clone(), passed: outcome.passed?, seconds: outcome.seconds })
        };
        let tests: Vec<Tested> = mine.filter_map(tested).collect();
        let mut receipt = receipts.remove(&build.id).unwrap_or_else(|| Receipt::new(plan, build));
        receipt.digest = passed.get(&build.id).cloned().or(receipt.digest);
        if receipt.digest.is_some() {
            receipt.tests.retain(|test| tests.is_empty() && !test.name.starts_with(IN_RECEIPTS));
            receipt.tests.extend(tests.into_iter().chain(checks.iter().cloned()));
            receipt.write(repo, plan, build)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::{Memory, d};

    fn one(fresh: bool) -> Plan {
        let mut build = build("a");
        build.push.how = How::Promote;
        build.test.candidate = Some("r/a:candidate-k-1".into());
        build.test.mark = Some("r/a:tested-k-t".into());
        build.test.fresh = fresh;
        build.inputs = vec![("target".into(), "final".into())];
        plan(vec![build])
    }

    #[test]
    fn what_was_tested_before_is_this_runs_candidate() {
        // (candidate now, mark, fresh, is it reused)
        let table = [
            (None, None, false, false),
            (None, Some(1), false, true),
            (Some(2), Some(1), false, true),
            (Some(1), Some(1), false, true),
            (None, Some(1), true, false),
            (Some(2), Some(1), true, false),
            (Some(1), Some(1), true, true),
        ];
        for (candidate, mark, fresh, reused) in table {
            let memory = Memory::default();
            candidate.iter().for_each(|n| memory.set("r/a:candidate-k-1", &d(*n)));
            mark.iter().for_each(|n| memory.set("r/a:tested-k-t", &d(*n)));
            let mut plan = one(fresh);
            let found = tested_before(&plan, &memory.view(), &|_, _| Ok(false)).unwrap();
            assert_eq!(found.get("a"), reused.then(|| d(1)).as_ref(), "{candidate:?} {mark:?} {fresh}");
            if reused {
                crate::plan::reuse(&mut plan, &BTreeMap::from([("a".into(), format!("r/a@{}", d(1)))]));
                adopt(&plan, &memory.view()).unwrap();
                assert_eq!(memory.get("r/a:candidate-k-1"), Some(d(1)));
                assert_eq!(tested_before(&plan, &memory.view(), &|_, _| Ok(false)).unwrap(), Digests::new(), "asked once");
            }
        }
        let memory = Memory::default();
        memory.set("r/a:tested-k-t", &d(1));
        assert_eq!(tested_before(&one(false), &memory.view(), &|_, _| Ok(true)).unwrap(), Digests::new(), "it is outdated");
        let mut unknown = one(false);
        unknown.builds[0].inputs.push(("always".into(), "ADD of a URL".into()));
        assert_eq!(
            tested_before(&unknown, &memory.view(), &|_, _| Ok(false)).unwrap(),
            Digests::new(),
            "its key promises nothing"
        );
    }

    #[test]
    fn a_candidate_that_was_overwritten_while_it_was_tested_gets_no_mark() {
        let memory = Memory::default();
        memory.set("r/a:candidate-k-1", &d(2));
        let mark = |n| mark(&one(false), &memory.view(), &[("a".into(), d(n))].into(), &Digests::new(), &Platforms::new());
        let error = mark(1).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
        assert_eq!(memory.get("r/a:tested-k-t"), None);
        mark(2).unwrap();
        assert_eq!(memory.get("r/a:tested-k-t"), Some(d(2)));
        assert_eq!(memory.tags.lock().unwrap().len(), 2, "one platform needs no mark of its own");
    }

    #[test]
    fn what_a_plan_reuses_is_marked_though_no_build_stage_has_run() {
        let memory = Memory::default();
        let mut plan = one(false);
        plan.builds[0].reused = Some(format!("r/a@{}", d(1)));
        let mark = |n| mark(&plan, &memory.view(), &[("a".into(), d(n))].into(), &Digests::new(), &Platforms::new());
        mark(2).unwrap_err();
        mark(1).unwrap();
        assert_eq!(memory.get("r/a:tested-k-t"), Some(d(1)));
    }

    #[test]
    fn a_platform_on_which_nobody_tested_is_known_as_long_as_the_image_is_the_same() {
        let mut plan = one(false);
        plan.builds[0].platforms = ["linux/amd64", "linux/arm/v7"].map(str::to_owned).to_vec();
        let memory = Memory::default();
        let pass = |n: u32, on: &str| {
            memory.set("r/a:candidate-k-1", &d(n));
            let (passed, on) = ([("a".into(), d(n))].into(), [("a".into(), vec![on.into()])].into());
            mark(&plan, &memory.view(), &passed, &Digests::new(), &on).unwrap();
            assert_eq!(memory.get("r/a:tested-k-t"), Some(d(n)));
            let mut with_tests = plan.clone();
            with_tests.builds[0].tests.push(crate::plan::testing::test());
            assert!(untested(&plan, &memory.view(), &passed).unwrap().is_empty(), "it has no tests");
            untested(&with_tests, &memory.view(), &passed).unwrap().remove("a").unwrap_or_default()
        };
        assert_eq!(pass(1, "linux/amd64"), ["linux/arm/v7"]);
        assert_eq!(memory.get("r/a:tested-k-t-linux-amd64"), Some(d(1)));
        assert!(pass(1, "linux/arm/v7").is_empty());
        assert_eq!(pass(2, "linux/amd64"), ["linux/arm/v7"], "another image of the same key");
    }
}
