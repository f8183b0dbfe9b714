//! What a release moves: found from the plan, never from a listing, and only if all of it is there and tested.

use anyhow::Result;

use super::{Mark, Move};
use crate::error::Fault;
use crate::event::Event;
use crate::gate::published;
use crate::plan::{Build, Plan};
use crate::publish::{already, is_of_the_commit};
use crate::registry::{Digest, Registry, digests, each, split};
use crate::{candidate, marks};

/// Tags to move, and marks to leave, for every build of the plan.
///
/// # Errors
/// Refused, with everything that is missing, untested or another image: there is no partial release.
pub fn targets(plan: &Plan, registry: &dyn Registry) -> Result<(Vec<Move>, Vec<Mark>)> {
    let builds = published(plan);
    let images = each(&builds, |build| image(plan, registry, build))?;
    let (mut moves, mut left, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (build, found) in builds.iter().zip(images) {
        let digest = match found {
            Ok(digest) => digest,
            Err(lines) => {
                faults.extend(lines);
                continue;
            }
        };
        if let (Event::Tag { .. }, Some(version)) = (&plan.event, &plan.version) {
            let tag = marks::released(&candidate::repository(build), &build.id, version);
            left.push(Mark { tag, repository: build.repository.clone(), digest: digest.clone() });
        }
        moves.extend(of(build, &digest));
    }
    all_or_nothing(faults)?;
    Ok((moves, left))
}

/// The image of a build: what the tags that name it have, else what its run built or took over. `Err` inside: what is
/// wrong with it.
fn image(plan: &Plan, registry: &dyn Registry, build: &Build) -> Result<Result<Digest, Vec<String>>> {
    let mut named = already::naming(plan, build);
    let candidate = build.test.candidate.clone().unwrap_or_default();
    let own = registry.digest(&candidate)?.or_else(|| candidate::reused(build));
    let mut found = named.first().map_or_else(|| Ok(own.clone()), |first| registry.digest(first))?;
    // An earlier build of the same commit stays under its tags, whatever it was made of; it is no image of this plan.
    if let (Some(theirs), Some(own)) = (&found, own.clone())
        && *theirs != own
        && named.iter().all(|tag| is_of_the_commit(plan, tag))
        && !already::is_of(registry, build, theirs, &own)?
    {
        (found, named) = (Some(own), Vec::new());
    }
    let Some(digest) = found else {
        let missing = named
            .first()
            .map_or(format!("{}: its candidate {candidate} is missing", build.id), |tag| format!("{tag} is not published"));
        return Ok(Err(vec![missing]));
    };
    let mut faults = differing(registry, named.iter().skip(1), &digest, "the first of its tags")?;
    if !candidate::is_tested(registry, build, &digest)? {
        let mark = build.test.mark.clone().unwrap_or_default();
        match registry.digest(&mark)? {
            None => faults.push(format!("{}: untested, there is no {mark}", build.id)),
            Some(tested) if already::is_of(registry, build, &digest, &tested)? => {}
            Some(tested) => {
                let name = named.first().unwrap_or(&candidate);
                faults.push(format!("{name} is {}, tested is {}", digest.short(), tested.short()));
            }
        }
    }
    Ok(if faults.is_empty() { Ok(digest) } else { Err(faults) })
}

/// The same for a version that was released before: what its own tags point at.
pub fn version_targets(plan: &Plan, registry: &dyn Registry) -> Result<Vec<Move>> {
    let (mut moves, mut faults) = (Vec::new(), Vec::new());
    for build in plan.builds.iter().filter(|build| !build.push.moving.is_empty()) {
        let versions: Vec<&String> = build.push.tags.iter().filter(|tag| !is_of_this_run(plan, tag)).collect();
        let Some((first, others)) = versions.split_first() else {
            faults.push(format!("{}: no tag names its version", build.id));
            continue;
        };
        let Some(digest) = registry.digest(first)? else {
            faults.push(format!("{first} is not published"));
            continue;
        };
        faults.extend(differing(registry, others.iter().copied(), &digest, "the version")?);
        moves.extend(of(build, &digest));
    }
    all_or_nothing(faults)?;
    Ok(moves)
}

/// Whether a tag is made of the commit or the time of this run, which are not those of a version released before.
fn is_of_this_run(plan: &Plan, tag: &str) -> bool {
    let name = split(tag).1;
    let has = |text: Option<&str>| text.is_some_and(|text| name.contains(text));
    has(plan.commit.as_deref().and_then(|sha| sha.get(..7))) || has(plan.timestamp.as_deref())
}

fn of(build: &Build, digest: &Digest) -> impl Iterator<Item = Move> {
    build.push.moving.iter().map(|tag| Move { tag: tag.clone(), digest: digest.clone() })
}

fn differing<'a>(
    registry: &dyn Registry,
    tags: impl Iterator<Item = &'a String>,
    digest: &Digest,
    what: &str,
) -> Result<Vec<String>> {
    let tags: Vec<String> = tags.cloned().collect();
    let now = digests(registry, &tags)?;
    let line = |(tag, now): (&String, Option<Digest>)| match now {
        None => Some(format!("{tag} is not published")),
        Some(now) if now != *digest => Some(format!("{tag} is {}, {what} is {}", now.short(), digest.short())),
        Some(_) => None,
    };
    Ok(tags.iter().zip(now).filter_map(line).collect())
}

fn all_or_nothing(faults: Vec<String>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let fault = Fault::refused(format!("no tag is moved, these are not ready:\n  {}", faults.join("\n  ")));
    Err(fault.hint("run `cargo xtask ci-build --mode push` for the same event or plan first").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::How;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::{Memory, d};

    fn release_plan() -> Plan {
        let one = |id: &str| {
            let mut build = build(id);
            build.repository = format!("r/{id}");
            build.push.how = How::Promote;
            build.test.candidate = Some(format!("r/{id}:candidate"));
            build.test.mark = Some(format!("r/{id}:tested"));
            build.push.tags = vec![format!("r/{id}:1.0.0")];
            build.push.moving = vec![format!("r/{id}:latest")];
            build
        };
        let mut plan = plan(vec![one("a"), one("b")]);
        plan.event = Event::Tag { name: "v1.0.0".into() };
        plan.version = Some("v1.0.0".into());
        plan
    }

    #[test]
    fn one_missing_image_releases_nothing() {
        let (plan, memory) = (release_plan(), Memory::default());
        for tag in ["a:tested", "a:1.0.0", "b:tested"] {
            memory.set(&format!("r/{tag}"), &d(1));
        }
        for id in ["a", "b"] {
            memory.set(&marks::of_image(&format!("r/{id}:tested"), &d(1)), &d(1));
        }
        let error = targets(&plan, &memory.view()).unwrap_err();
        assert_eq!(error.to_string().lines().nth(1), Some("  r/b:1.0.0 is not published"));
        memory.set("r/b:1.0.0", &d(2));
        let error = targets(&plan, &memory.view()).unwrap_err().to_string();
        assert!(error.contains("r/b:1.0.0 is sha256:000000000002, tested is sha256:000000000001"), "{error}");
        memory.set("r/b:1.0.0", &d(1));
        let (moves, marks) = targets(&plan, &memory.view()).unwrap();
        assert_eq!(moves.iter().map(|one| one.tag.as_str()).collect::<Vec<_>>(), ["r/a:latest", "r/b:latest"]);
        assert_eq!(marks[1].tag, crate::marks::released("r/b", "b", "v1.0.0"));
        assert_eq!(version_targets(&plan, &memory.view()).unwrap(), moves);
    }

    #[test]
    fn a_version_is_found_by_the_tags_that_name_it_and_no_other() {
        let (mut plan, memory) = (release_plan(), Memory::default());
        plan.builds.truncate(1);
        plan.commit = Some("0123456789abcdef".into());
        plan.timestamp = Some("20260102-030405".into());
        memory.set("r/a:0123456", &d(2));
        memory.set("r/a:1.0.0", &d(1));
        let mut targets = |tags: &[&str]| {
            plan.builds[0].push.tags = tags.iter().map(|tag| format!("r/a:{tag}")).collect();
            version_targets(&plan, &memory.view()).map_err(|error| error.to_string())
        };
        let moves = vec![Move { tag: "r/a:latest".into(), digest: d(1) }];
        assert_eq!(targets(&["0123456", "1.0.0"]).unwrap(), moves);
        assert_eq!(targets(&["1.0.0", "20260102-030405", "1.0.0-0123456"]).unwrap(), moves);
        for tags in [&["0123456", "20260102-030405"][..], &[]] {
            let error = targets(tags).unwrap_err();
            assert_eq!(error.lines().nth(1), Some("  a: no tag names its version"), "{tags:?}");
        }
    }
}
