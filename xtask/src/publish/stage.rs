//! The push stage: the gate, then every written-once tag of the plan, undone as a whole when anything fails.

use anyhow::Result;
use camino::Utf8Path;
use serde::Serialize;

use super::{Once, Step, already, once, steps, write};
use crate::error::Fault;
use crate::exec::Runner;
use crate::gate::{self, Receipts};
use crate::journal::{self, Journal};
use crate::plan::{How, Plan};
use crate::registry::{Digest, Live};
use crate::{candidate, marks, receipt, report};

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub id: String,
    pub tag: String,
    pub outcome: &'static str,
    /// What the tag had before, and what it has now.
    pub old: Option<Digest>,
    pub digest: Digest,
}

/// Publishes every build of the plan. It never writes a cache and moves no layer.
///
/// # Errors
/// Refused by the gate or by a tag that is written once; the registry's. What was written is taken back then.
pub fn push(runner: &Runner, repo: &Utf8Path, plan: &Plan, is_handed: bool) -> Result<Vec<Report>> {
    let registry = Live::new(runner);
    let receipts = Receipts { found: receipt::read(repo, plan), demanded: is_handed };
    let mut verified = gate::verify(plan, &registry, &receipts)?;
    already::adopt(plan, &registry, &mut verified)?;
    let images = verified.iter().map(|one| (one.build.id.clone(), one.digest.clone())).collect();
    for (id, platforms) in candidate::untested(plan, &registry, &images)? {
        report::note(&format!("warning: {id}: nobody has tested it on {}", platforms.join(", ")));
    }
    let tags = once(plan, &verified);
    let steps = steps(&registry, &tags)?;
    let journal = Journal::new(runner, journal::path(repo, &run_of(plan)));
    let written = write(&registry, &journal, &tags, &steps);
    let now = journal::or_undo(written, &journal, &registry.for_cleanup())?;
    Ok(tags.into_iter().zip(steps).zip(now).map(|((one, step), now)| line(one, step, now)).collect())
}

/// `digest`: what the tag has in the end.
fn line(one: Once<'_>, step: Step, digest: Digest) -> Report {
    let (outcome, old) = match step {
        Step::Write { old } => ("published", old),
        Step::Done => ("unchanged", Some(one.digest)),
        Step::Left { now, why } => {
            report::note(&format!("note: {why}, it stays"));
            ("left", Some(now))
        }
    };
    Report { id: one.build.id.clone(), tag: one.tag, outcome, old, digest }
}

/// What identifies the run of a plan: the end of its candidates' names.
pub fn run_of(plan: &Plan) -> String {
    let candidate = plan.builds.iter().find_map(|build| build.test.candidate.as_deref());
    candidate.and_then(marks::run_of).unwrap_or("local").to_owned()
}

/// Whether the plan publishes.
///
/// # Errors
/// Refused: an event that publishes is held back. A run that was asked to publish and did not is no success.
pub fn is_due(plan: &Plan) -> Result<bool> {
    if let Some(why) = &plan.held_back {
        let fault = Fault::refused(format!("cannot publish: {why}"));
        return Err(fault.hint("commit them, or put them away with `git stash --include-untracked`").into());
    }
    let publishes = plan.builds.iter().any(|build| build.push.how != How::None);
    if !publishes {
        report::note(&format!("nothing to publish: {} publishes nothing here", plan.event.flag()));
    }
    Ok(publishes)
}

/// The report as a table.
pub fn table(lines: &[Report]) -> String {
    let row = |line: &Report| vec![line.tag.clone(), line.outcome.to_owned(), line.digest.short().to_owned()];
    let head = vec!["tag".to_owned(), "result".to_owned(), "digest".to_owned()];
    report::table(&std::iter::once(head).chain(lines.iter().map(row)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Rule;
    use crate::registry::memory::d;

    #[test]
    fn a_tag_that_is_left_is_reported_with_what_it_has() {
        let (build, rule) = (crate::plan::testing::build("a"), Rule::Leave { commit: "c".into() });
        let one = Once { build: &build, tag: "r/a:c".into(), source: "r/a".into(), digest: d(1), rule, names: true };
        let report = line(one, Step::Left { now: d(2), why: "r/a:c is an earlier build of the same commit".into() }, d(2));
        assert_eq!((report.outcome, report.old, report.digest), ("left", Some(d(2)), d(2)));
    }
}
