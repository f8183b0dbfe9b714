//! The parts of a build put together: one index with exactly the platforms that were asked for, one outcome.

use std::collections::BTreeSet;

use anyhow::Result;

use super::spread::whole;
use crate::build::caches::Caches;
use crate::build::outcome::{Ending, Outcome, Steps};
use crate::docker;
use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::{Build, Plan};
use crate::registry::{Digest, Live, Registry, each, normal, split};

/// One outcome for each build, from those of its parts; what was pushed becomes the candidate of the build.
///
/// # Errors
/// The registry's; failed when the index has other platforms than were asked for.
pub fn join(runner: &Runner, plan: &Plan, outcomes: Vec<Outcome>) -> Result<Vec<Outcome>> {
    let (parts, mut joined): (Vec<Outcome>, Vec<Outcome>) =
        outcomes.into_iter().partition(|outcome| whole(&outcome.id) != outcome.id);
    let of = |build: &Build| parts.iter().filter(|part| whole(&part.id) == build.id).cloned().collect::<Vec<_>>();
    let builds: Vec<(&Build, Vec<Outcome>)> = plan.builds.iter().map(|build| (build, of(build))).collect();
    let builds: Vec<_> = builds.into_iter().filter(|(_, parts)| !parts.is_empty()).collect();
    joined.extend(each(&builds, |(build, parts)| {
        let mut outcome = merged(build, parts);
        if build.pushes_candidate() && outcome.result.is_good() && parts.iter().all(|part| part.digest.is_some()) {
            outcome.digest = Some(index(runner, build, parts)?.to_string());
        }
        Ok(outcome)
    })?);
    joined.sort_by_key(|outcome| plan.builds.iter().position(|build| build.id == outcome.id));
    Ok(joined)
}

/// Looked at before it is written: what the candidate names is tested next.
fn index(runner: &Runner, build: &Build, parts: &[Outcome]) -> Result<Digest> {
    let candidate = build.test.candidate.as_deref().unwrap_or_default();
    let repository = split(candidate).0;
    let sources: Vec<String> =
        parts.iter().filter_map(|part| Some(format!("{repository}@{}", part.digest.as_deref()?))).collect();
    let registry = Live::new(runner);
    let gone = |what: &str| Fault::failed(format!("{}: {what} was written and is not in the registry", build.id));
    let images = each(&sources, |source| registry.images(source)?.ok_or_else(|| gone(source).into()))?.concat();
    let has: BTreeSet<&str> = images.iter().map(|image| normal(&image.platform)).collect();
    let wanted: BTreeSet<&str> = build.platforms.iter().map(|platform| normal(platform)).collect();
    if has != wanted {
        let list = |platforms: &BTreeSet<&str>| platforms.iter().copied().collect::<Vec<_>>().join(", ");
        let message = format!("{}: its parts are for {}, wanted was {}", build.id, list(&has), list(&wanted));
        return Err(Fault::failed(message).into());
    }
    runner.read(&docker::imagetools_join(&sources, candidate))?;
    Ok(registry.digest(candidate)?.ok_or_else(|| gone(candidate))?)
}

fn merged(build: &Build, parts: &[Outcome]) -> Outcome {
    let worst = [Ending::Failed, Ending::Blocked, Ending::Stopped, Ending::Built, Ending::Cached];
    let result = worst.into_iter().find(|ending| parts.iter().any(|part| part.result == *ending)).unwrap_or_default();
    let sum = |count: fn(&Steps) -> usize| parts.iter().map(|part| count(&part.steps)).sum();
    let loaded = parts.iter().find(|part| !build.pushes_candidate() && !part.names.is_empty());
    let failed = parts.iter().find(|part| part.failure.is_some());
    let failure = failed.and_then(|part| Some((part, part.failure.clone()?))).map(|(part, mut failure)| {
        let platforms = part.id.trim_start_matches(build.id.as_str()).trim_start_matches('@');
        failure.error = format!("{platforms}: {}", failure.error);
        failure
    });
    Outcome {
        id: build.id.clone(),
        key: build.key.clone(),
        result,
        seconds: parts.iter().map(|part| part.seconds).fold(0.0, f64::max),
        steps: Steps { total: sum(|steps| steps.total), cached: sum(|steps| steps.cached) },
        pulled_bytes: parts.iter().map(|part| part.pulled_bytes).sum(),
        size: None,
        digest: loaded.and_then(|part| part.digest.clone()),
        config_digest: loaded.and_then(|part| part.config_digest.clone()),
        names: if result.is_good() { build.names() } else { Vec::new() },
        retried: parts.iter().find_map(|part| part.retried.clone()),
        caches: Caches {
            absent: parts.iter().flat_map(|part| part.caches.absent.clone()).collect(),
            refused: parts.iter().flat_map(|part| part.caches.refused.clone()).collect(),
            unwritten: parts.iter().find_map(|part| part.caches.unwritten.clone()),
        },
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::outcome::Failure;
    use crate::plan::testing::build;

    fn part(platform: &str, result: Ending) -> Outcome {
        let failure = (result == Ending::Failed).then(|| Failure { error: "exit code: 1".into(), ..Failure::default() });
        let steps = Steps { total: 2, cached: 1 };
        Outcome { id: format!("a@{platform}"), result, steps, seconds: 1.0, failure, ..Outcome::default() }
    }

    #[test]
    fn the_worst_part_counts_and_says_where() {
        let parts = [part("linux-amd64", Ending::Cached), part("linux-arm64", Ending::Built)];
        let good = merged(&build("a"), &parts);
        assert_eq!((good.result, good.steps), (Ending::Built, Steps { total: 4, cached: 2 }));
        assert_eq!((good.id.as_str(), good.names.len()), ("a", 1));
        let bad = merged(&build("a"), &[part("linux-amd64", Ending::Built), part("linux-arm64", Ending::Failed)]);
        assert_eq!(bad.failure.map(|failure| failure.error).as_deref(), Some("linux-arm64: exit code: 1"));
        assert!(bad.names.is_empty());
    }
}
