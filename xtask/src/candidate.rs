//! The test stage's part of publishing: candidates that need not be built again, and the marks of passed tests.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::error::Fault;
use crate::marks;
use crate::plan::{Action, Build, Plan, mark_on_published};
use crate::publish::already;
use crate::registry::{Digest, Registry, digests, each, put, split};

/// Build id → digest.
pub type Digests = BTreeMap<String, Digest>;

/// Build id → some of its platforms.
pub type Platforms = BTreeMap<String, Vec<String>>;

/// Where the candidates of a build lie.
pub fn repository(build: &Build) -> String {
    build.test.candidate.as_deref().map_or(build.repository.as_str(), |candidate| split(candidate).0).to_owned()
}

/// Whether this very image of a build has the mark of its tests.
///
/// # Errors
/// The registry's.
pub fn is_tested(registry: &dyn Registry, build: &Build, image: &Digest) -> Result<bool> {
    let Some(mark) = &build.test.mark else { return Ok(false) };
    Ok(registry.digest(&marks::of_image(mark, image))?.as_ref() == Some(image))
}

/// The builds whose candidates the test stage pushes.
pub fn pushed(plan: &Plan) -> impl Iterator<Item = &Build> {
    plan.builds.iter().filter(|build| build.pushes_candidate())
}

/// `REPOSITORY@DIGEST` of a candidate.
pub fn by_digest(build: &Build, digest: &Digest) -> String {
    format!("{}@{digest}", repository(build))
}

/// The builds whose key and tests are those of an image that passed before → its digest. Only reads.
///
/// Several images may have passed. First comes the one that is published already under the tags of the plan, then what
/// this very run built, then the one that passed last. Fresh builds, and those whose key promises nothing, have no use for
/// the last; `is_outdated` tells of images that are right by their key and would still take a moving tag back.
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
        if let Some(published) = already::image(plan, registry, build)?
            && !is_outdated(build, &published)?
        {
            return Ok(Some(published));
        }
        if let Some(own) = registry.digest(candidate)?
            && is_tested(registry, build, &own)?
        {
            return Ok(Some(own));
        }
        if build.test.fresh || !build.is_settled_by_its_key() {
            return Ok(None);
        }
        let Some(last) = registry.digest(mark)? else { return Ok(None) };
        Ok((is_tested(registry, build, &last)? && !is_outdated(build, &last)?).then_some(last))
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
    let builds: Vec<(&Build, &Digest)> = pushed(plan).filter_map(|build| Some((build, candidates.get(&build.id)?))).collect();
    let found = each(&builds, |(build, image)| is_tested(registry, build, image))?;
    let marked = builds.into_iter().zip(found).filter(|(_, tested)| *tested);
    Ok(marked.map(|((build, image), _)| (build.id.clone(), image.clone())).collect())
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
    let found = each(&asked, |(_, digest, mark, on)| registry.digest(&marks::on_platform(mark, digest, on)))?;
    let mut untested = Platforms::new();
    for ((build, digest, _, on), found) in asked.into_iter().zip(found) {
        if found.as_ref() != Some(digest) {
            untested.entry(build.id.clone()).or_default().push(on.clone());
        }
    }
    Ok(untested)
}

/// Leaves the marks of everything that passed, and of what has no tests. `candidates`: all of this run; `on`: on which of
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
            let platforms = on.get(&build.id).into_iter().flatten().filter(|_| build.platforms.len() > 1);
            let mut own: Vec<String> = platforms.map(|on| marks::on_platform(&mark, digest, on)).collect();
            own.push(marks::of_image(&mark, digest));
            own.iter().try_for_each(|own| put(registry, split(candidate).0, digest, own).map(drop))?;
            // Where reuse looks. Another run of the same key may write it too: whoever is last.
            registry.tag(split(candidate).0, digest, &mark)?;
        }
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::{Memory, d};

    /// The mark of one image.
    fn of(mark: &str, n: u32) -> String {
        marks::of_image(mark, &d(n))
    }

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
        let tested = |memory: &Memory, n: u32| {
            memory.set("r/a:tested-k-t", &d(n));
            memory.set(&of("r/a:tested-k-t", n), &d(n));
        };
        for (candidate, mark, fresh, reused) in table {
            let memory = Memory::default();
            candidate.iter().for_each(|n| memory.set("r/a:candidate-k-1", &d(*n)));
            mark.iter().for_each(|n| tested(&memory, *n));
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
        tested(&memory, 1);
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
    fn of_several_images_that_passed_the_published_one_comes_first() {
        // (fresh, replace, what of candidate, tag and the last mark is there, what is reused)
        type Row = (bool, bool, Option<u32>, Option<u32>, Option<u32>, Option<u32>);
        let table: [Row; 9] = [
            (false, false, Some(2), Some(1), Some(3), Some(1)),
            (true, false, None, Some(1), Some(3), Some(1)),
            (true, false, Some(2), None, Some(3), Some(2)),
            (false, false, Some(2), None, Some(3), Some(2)),
            (false, false, None, None, Some(3), Some(3)),
            (true, false, None, None, Some(3), None),
            // What replaces a tag, or has another image under it that passed nothing, is built.
            (true, true, None, Some(1), Some(3), None),
            (false, true, None, Some(1), Some(3), Some(3)),
            (false, false, Some(2), Some(9), Some(3), Some(2)),
        ];
        for (at, (fresh, replace, candidate, tag, last, expected)) in table.into_iter().enumerate() {
            let memory = Memory::default();
            let mut plan = one(fresh);
            (plan.builds[0].push.tags, plan.builds[0].push.replace) = (vec!["r/a:v1".into()], replace);
            for (name, n) in [("r/a:candidate-k-1", candidate), ("r/a:v1", tag), ("r/a:tested-k-t", last)] {
                n.iter().for_each(|n| memory.set(name, &d(*n)));
            }
            (1..=3).for_each(|n| memory.set(&of("r/a:tested-k-t", n), &d(n)));
            let found = tested_before(&plan, &memory.view(), &|_, _| Ok(false)).unwrap();
            assert_eq!(found.get("a"), expected.map(d).as_ref(), "row {at}");
        }
    }

    #[test]
    fn two_runs_that_mark_one_key_at_once_both_have_their_mark() {
        let memory = std::sync::Arc::new(Memory::default());
        memory.set("r/a:candidate-k-1", &d(1));
        let other = std::sync::Arc::clone(&memory);
        let hook = move |op: &crate::registry::memory::Op| {
            // Right after each of our writes another run writes its own marks.
            other.set(&of("r/a:tested-k-t", 2), &d(2));
            if matches!(op, crate::registry::memory::Op::Read(_)) {
                other.set("r/a:tested-k-t", &d(2));
            }
            Ok(())
        };
        let passed = [("a".into(), d(1))].into();
        mark(&one(false), &memory.hooked(hook), &passed, &Digests::new(), &Platforms::new()).unwrap();
        for n in [1, 2] {
            assert!(is_tested(&memory.view(), &one(false).builds[0], &d(n)).unwrap(), "{n}");
        }
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
        assert_eq!((memory.get("r/a:tested-k-t"), memory.get(&of("r/a:tested-k-t", 2))), (Some(d(2)), Some(d(2))));
        assert_eq!(memory.tags.lock().unwrap().len(), 3, "one platform needs no mark of its own");
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
        assert_eq!(memory.get(&marks::on_platform("r/a:tested-k-t", &d(1), "linux/amd64")), Some(d(1)));
        assert!(pass(1, "linux/arm/v7").is_empty());
        assert_eq!(pass(2, "linux/amd64"), ["linux/arm/v7"], "another image of the same key");
    }
}
