//! The release stage: from a plan to moved tags and a report, undone as a whole when anything fails.

use anyhow::Result;
use camino::Utf8Path;
use serde::Serialize;

use super::undo::Back;
use super::{Follows, Mark, Move, Outcome, Release, targets};
use crate::exec::Runner;
use crate::forward::{Branch, Ours};
use crate::history::{self, Tip};
use crate::journal::{self, Journal};
use crate::plan::Plan;
use crate::publish::is_of_the_commit;
use crate::registry::{Digest, Live, Registry as _, digests, each};
use crate::report;
use crate::version::Version;

/// What a release is made of.
pub struct Work<'a> {
    pub runner: &'a Runner,
    pub repo: &'a Utf8Path,
    pub ours: Ours,
    pub moves: Vec<Move>,
    pub marks: Vec<Mark>,
    /// The branch of the run.
    pub tip: Tip<'a>,
    /// Tags that follow it.
    pub follow: Vec<String>,
    /// Names the journal.
    pub run: &'a str,
    /// `--to`
    pub step_back: bool,
}

impl<'a> Work<'a> {
    pub fn new(runner: &'a Runner, repo: &'a Utf8Path, plan: &Plan, run: &'a str) -> Work<'a> {
        let version = plan.version.as_deref().and_then(|text| Version::parse(text).ok());
        let ours = Ours { version, revision: plan.commit.clone() };
        let tip = Tip::of(runner, repo, plan);
        let follow = plan.builds.iter().flat_map(|build| &build.push.follow).cloned().collect();
        Work { runner, repo, ours, moves: Vec::new(), marks: Vec::new(), tip, follow, run, step_back: false }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub tag: String,
    pub outcome: &'static str,
    pub old: Option<Digest>,
    pub new: Digest,
    pub note: Option<String>,
}

/// Moves the tags; on failure puts back what was moved.
///
/// # Errors
/// See [`Release::run`]; the tags are as they were before, or the notes say which are not.
pub fn release(work: &Work<'_>, follows: Follows<'_>) -> Result<Vec<Report>> {
    let registry = Live::new(work.runner);
    let journal = Journal::new(work.runner, journal::path(work.repo, work.run));
    let result = with(work, &registry, &journal, |release| release.run(&work.moves, &work.marks, follows));
    let (registry, start) = (registry.for_cleanup(), journal.so_far().start);
    let commits = |ours: &str, theirs: &str| history::ancestry(work.runner, work.repo, ours, theirs);
    let back = Back { registry: &registry, start: &start, follows, commits: &commits };
    let outcomes = journal::or_go_back(result, &journal, &registry, &|undo| back.way(undo))?;
    let report: Vec<Report> = work.moves.iter().zip(outcomes).map(|(one, outcome)| line(one, outcome)).collect();
    for line in &report {
        if let Some(note) = line.note.as_ref().filter(|_| line.outcome == "moved") {
            report::note(&format!("warning: {} was moved: {note}", line.tag));
        }
    }
    Ok(report)
}

/// Whether the images of a plan are published, its tags where they belong and its marks left.
///
/// # Errors
/// Refused when something is missing; the registry's.
pub fn is_released(runner: &Runner, repo: &Utf8Path, plan: &Plan) -> Result<bool> {
    let registry = Live::new(runner);
    let (moves, marks) = targets(plan, &registry)?;
    // A tag made of the commit is left as it is where it exists; an image that was built before may not have it yet.
    let of_the_commit = plan.builds.iter().flat_map(|build| &build.push.tags).filter(|tag| is_of_the_commit(plan, tag));
    if digests(&registry, &of_the_commit.cloned().collect::<Vec<_>>())?.contains(&None) {
        return Ok(false);
    }
    let work = Work { moves, marks, ..Work::new(runner, repo, plan, "") };
    is_done(&work, &registry)
}

fn is_done(work: &Work<'_>, registry: &Live) -> Result<bool> {
    let journal = Journal::new(work.runner, journal::path(work.repo, work.run));
    let settled = |outcome: Outcome| matches!(outcome, Outcome::Already | Outcome::Skipped(_));
    let moves = with(work, registry, &journal, |release| each(&work.moves, |one| Ok(settled(release.decide(one)?))))?;
    let marks = each(&work.marks, |mark| Ok(registry.digest(&mark.tag)?.as_ref() == Some(&mark.digest)))?;
    Ok(moves.into_iter().chain(marks).all(|done| done))
}

fn with<T>(work: &Work<'_>, registry: &Live, journal: &Journal, run: impl FnOnce(&Release<'_>) -> T) -> T {
    let revision = work.ours.revision.clone().unwrap_or_default();
    let history = |theirs: &str| history::ancestry(work.runner, work.repo, &revision, theirs);
    let ours = work.ours.clone();
    let has = |commit: &str| work.tip.has(commit);
    let branch = Branch { tags: work.follow.clone(), forced: work.tip.forced, has: &has };
    run(&Release { registry, ours, history: &history, branch, journal, step_back: work.step_back })
}

fn line(one: &Move, outcome: Outcome) -> Report {
    let (outcome, old, note) = match outcome {
        Outcome::Moved { old, warning } => ("moved", old, warning),
        Outcome::WouldMove { old, warning } => ("would move", old, warning),
        Outcome::Already => ("unchanged", Some(one.digest.clone()), None),
        Outcome::Skipped(why) => ("skipped", None, Some(why)),
        Outcome::Yielded(why) => ("yielded", None, Some(why)),
    };
    Report { tag: one.tag.clone(), outcome, old, new: one.digest.clone(), note }
}

/// The report as a table.
pub fn table(lines: &[Report]) -> String {
    let short = |digest: &Option<Digest>| digest.as_ref().map_or("-".to_owned(), |digest| digest.short().to_owned());
    let row = |line: &Report| {
        let change = match line.outcome {
            "moved" | "would move" => format!("{} → {}", short(&line.old), line.new.short()),
            "unchanged" => line.new.short().to_owned(),
            _ => line.note.clone().unwrap_or_default(),
        };
        vec![line.tag.clone(), line.outcome.to_owned(), change]
    };
    let head = vec!["tag".to_owned(), "result".to_owned(), "digest".to_owned()];
    report::table(&std::iter::once(head).chain(lines.iter().map(row)).collect::<Vec<_>>())
}
