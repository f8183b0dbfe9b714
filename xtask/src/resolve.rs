//! What the registry says of a plan: which builds need not be built again, and whether anything is left to do.

use anyhow::Result;
use camino::Utf8Path;

use crate::exec::Runner;
use crate::forward::{Ancestry, look};
use crate::plan::{self, Action, Build, Plan};
use crate::registry::{Digest, Live, Registry};
use crate::release::stage;
use crate::{candidate, facts, history};

/// Turns builds whose tested image is in the registry into reuses, and says whether there is work.
///
/// # Errors
/// The registry's, git's.
pub fn resolve(runner: &Runner, repo: &Utf8Path, plan: &mut Plan) -> Result<()> {
    let registry = Live::new(runner);
    let commit = plan.commit.clone().unwrap_or_default();
    let ancestry = |ours: &str, theirs: &str| history::ancestry(runner, repo, ours, theirs);
    let is_outdated = |build: &Build, digest: &Digest| is_outdated(&registry, build, digest, &commit, &ancestry);
    let before = candidate::tested_before(plan, &registry, &is_outdated)?;
    let image = |build: &Build| Some((build.id.clone(), candidate::by_digest(build, before.get(&build.id)?)));
    let untested = candidate::untested(plan, &registry, &before)?;
    let images = plan.builds.iter().filter_map(image).collect();
    plan::reuse(plan, &images);
    for build in &mut plan.builds {
        build.reasons.extend(untested.get(&build.id).map(|platforms| format!("not tested on {}", platforms.join(", "))));
    }
    if plan.publishes && plan.builds.iter().all(|build| build.action == Action::Reuse) {
        let runs_here = |platform: &String| facts::runs(platform);
        // What cannot be told is not done.
        plan.has_work = untested.values().flatten().any(runs_here)
            || !stage::is_released(runner, repo, plan)
                .or_else(|error| if runner.is_interrupted() { Err(error) } else { Ok(false) })?;
    }
    Ok(())
}

/// Whether a moving tag points at the same version from a later commit: reused, the older image would stay behind it
/// for ever, built again (from cache) it carries the new revision.
fn is_outdated(
    registry: &dyn Registry,
    build: &Build,
    digest: &Digest,
    commit: &str,
    ancestry: &(dyn Fn(&str, &str) -> Result<Ancestry> + Sync),
) -> Result<bool> {
    if build.push.moving.is_empty() {
        return Ok(false);
    }
    let tested = look(registry, &candidate::by_digest(build, digest))?;
    let Some(revision) = tested.revision.filter(|revision| revision != commit) else { return Ok(false) };
    for tag in &build.push.moving {
        let theirs = look(registry, tag)?;
        let another_version = theirs.version.zip(tested.version.as_ref()).is_some_and(|(a, b)| a.precedence(b).is_ne());
        let Some(now) = theirs.revision.filter(|_| theirs.is_ours && !another_version) else { continue };
        // A tag that is further than this very run is skipped, whatever is built.
        if ancestry(&revision, &now)? == Ancestry::After && ancestry(commit, &now)? != Ancestry::After {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::labels::KEY;
    use crate::plan::testing::build;
    use crate::registry::memory::{Memory, d};

    #[test]
    fn an_older_commit_does_not_come_back_under_a_tag_that_is_further() {
        const REVISION: &str = "org.opencontainers.image.revision";
        const VERSION: &str = "org.opencontainers.image.version";
        // (revision and version of the tested image, of what the tag points at; is it outdated): commits are numbers
        let table = [
            ("1", "", "1", "", false),
            ("1", "", "2", "", true),
            ("2", "", "1", "", false),
            ("3", "", "2", "", false),
            ("1", "v1.0.0", "2", "v2.0.0", false),
            ("1", "v1.0.0", "2", "v1.0.0", true),
        ];
        for (revision, version, now, now_version, outdated) in table {
            let memory = Memory::default();
            memory.add(&d(1), &[(KEY, "k"), (REVISION, revision), (VERSION, version)], &["acme/a:tested"]);
            memory.add(&d(2), &[(KEY, "k"), (REVISION, now), (VERSION, now_version)], &["acme/a:latest"]);
            let mut build = build("a");
            build.push.moving = vec!["acme/a:latest".into()];
            let ancestry = |ours: &str, theirs: &str| Ok(if theirs > ours { Ancestry::After } else { Ancestry::Before });
            let found = is_outdated(&memory.view(), &build, &d(1), "3", &ancestry).unwrap();
            assert_eq!(found, outdated, "{revision} {version} {now} {now_version}");
        }
    }
}
