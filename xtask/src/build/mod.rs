//! Running the builds of a plan: bakes in rounds, until every build is in the engine or known to fail.
//!
//! Bake cancels all siblings of a target that fails. So the first round bakes everything together, which shares
//! the most; what was exported by then is kept, and each unit that remains is a bake of its own in the next
//! round. Of every bake of one unit at least one build ends or gets its only second attempt, so there is a last round.

mod attempt;
pub mod caches;
mod deal;
pub mod health;
pub mod images;
pub mod kept;
pub mod lock;
pub mod outcome;
mod silence;
pub mod store;
mod transient;
pub mod units;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use camino::Utf8Path;

use crate::builder::Builder;
use crate::exec::Runner;
use crate::parallel;
use crate::plan::{Action, Plan};
use crate::progress::display::Display;
use attempt::{Attempt, End, Seen, Shared};
use outcome::{Ending, Failure, Outcome};
use units::Group;

/// Where results, logs and the lock of a checkout are, relative to it.
pub use crate::files::FOLDER;

/// What a run is given.
pub struct Job<'a> {
    pub runner: &'a Runner,
    pub repo: &'a Utf8Path,
    pub builder: &'a Builder,
    pub plan: &'a Plan,
    pub display: &'a Display,
    /// How many bakes run at once; at least one on each builder.
    pub jobs: usize,
    /// What each build took when it was last built, for several builders.
    pub seconds: BTreeMap<String, f64>,
    /// The first failure ends everything.
    pub fail_fast: bool,
}

/// Builds what the plan says; one outcome for each build that is not reused, in the order of the plan.
///
/// # Errors
/// The engine or buildx is not there, or we were interrupted. That a build fails is an outcome.
pub fn run(job: &Job<'_>) -> Result<Vec<Outcome>> {
    let todo: Group =
        job.plan.builds.iter().filter(|build| build.action == Action::Build).map(|build| build.id.clone()).collect();
    let dealt = match &job.builder.cluster {
        Some(cluster) => deal::apart(job.plan, &todo, |platform| cluster.builds(platform)),
        None => deal::deal(job.plan, &todo, &job.seconds, job.builder.share.len()),
    };
    let shared = Shared {
        runner: job.runner,
        repo: job.repo,
        builder: job.builder,
        dealt: &dealt,
        plan: job.plan,
        display: job.display,
        fail_fast: job.fail_fast,
        stop: AtomicBool::new(false),
        spent: Mutex::default(),
    };
    let mut run = Run { plan: job.plan, display: job.display, todo, outcomes: BTreeMap::new(), retried: BTreeMap::new() };
    let mut groups: Vec<Group> = dealt.iter().flat_map(|ids| units::first(job.plan, ids)).collect();
    let jobs = job.jobs.max(dealt.len());
    while !groups.is_empty() {
        let attempts = parallel::map(jobs, groups.clone(), |group| attempt(&shared, &group));
        for (group, attempt) in groups.iter().zip(attempts) {
            run.absorb(&shared, group, &attempt?)?;
        }
        if shared.stop.load(Ordering::SeqCst) {
            run.stop();
        }
        groups = units::units(job.plan, &run.todo);
    }
    let Run { mut outcomes, .. } = run;
    Ok(job.plan.builds.iter().filter_map(|build| outcomes.remove(&build.id)).collect())
}

/// One bake; under `--fail-fast` its failure ends the others while they run.
fn attempt<'a>(shared: &Shared<'a>, group: &Group) -> Result<Attempt<'a>> {
    let attempt = attempt::run(shared, group);
    let failed = attempt.as_ref().map_or(true, |attempt| match attempt.end {
        End::Failed => known_transient(&attempt.state).is_none(),
        End::Late => true,
        End::Done | End::Skipped | End::Stopped => false,
    });
    if failed && shared.fail_fast {
        shared.stop.store(true, Ordering::SeqCst);
    }
    attempt
}

/// The state of a run between two rounds.
struct Run<'a> {
    plan: &'a Plan,
    display: &'a Display,
    /// Neither built nor given up.
    todo: Group,
    outcomes: BTreeMap<String, Outcome>,
    /// Build → the known error of the engine for which it gets its second attempt.
    retried: BTreeMap<String, String>,
}

impl Run<'_> {
    /// Takes over what an attempt has settled.
    fn absorb(&mut self, shared: &Shared<'_>, group: &Group, attempt: &Attempt<'_>) -> Result<()> {
        let before = self.todo.len();
        for seen in attempt.builds.iter().filter(|seen| seen.exported || attempt.end == End::Skipped) {
            let result = if attempt.end == End::Skipped { Ending::Skipped } else { seen.ending(&attempt.state) };
            self.settle(seen, attempt, result, None);
        }
        match attempt.end {
            End::Done | End::Skipped | End::Stopped => return Ok(()),
            // No step is to blame: this tells what is missing; should all be there, it is a failure like any other.
            End::Failed if attempt.has_no_fault() || attempt.is_cut_off() => {
                health::buildx(shared.runner)?;
                shared.builder.check(shared.runner, "lost", &last_words(&attempt.state))?;
            }
            End::Failed => {}
            End::Late => {
                for seen in attempt.builds.iter().filter(|seen| seen.late) {
                    let limit = humantime::format_duration(Duration::from_secs(seen.build.timeout));
                    self.fail(seen, attempt, &format!("not done within {limit}"));
                }
            }
        }
        let goes_on = attempt.end == End::Failed && self.judge(attempt);
        let alone = units::units(self.plan, group).len() == 1;
        if self.todo.len() == before && alone && !goes_on {
            // Nobody is named and there is nothing left to take apart: all of them share the reason.
            let reason = last_words(&attempt.state);
            for seen in attempt.builds.iter().filter(|seen| self.todo.contains(&seen.build.id)).collect::<Vec<_>>() {
                self.fail(seen, attempt, &reason);
            }
        }
        if let Ok(mut spent) = shared.spent.lock() {
            let open = attempt.builds.iter().filter(|seen| self.todo.contains(&seen.build.id));
            spent.extend(open.map(|seen| (seen.build.id.clone(), seen.spent)));
        }
        Ok(())
    }

    /// Finds the build that made a bake fail; it fails, or gets its second attempt. Returns whether one gets it now.
    fn judge(&mut self, attempt: &Attempt<'_>) -> bool {
        let verdict = attempt.state.verdict();
        let named = verdict.and_then(|(at, why)| Some((attempt.culprit(at)?, why)));
        let transient = known_transient(&attempt.state);
        let suspects: Vec<&Seen<'_>> = match named {
            Some((seen, _)) => vec![seen],
            None => attempt.builds.iter().filter(|seen| self.todo.contains(&seen.build.id)).collect(),
        };
        if let Some(error) = transient
            && suspects.iter().all(|seen| !self.retried.contains_key(&seen.build.id))
        {
            for seen in suspects {
                self.display.note(&format!("{}: once more after a known error of the engine: {error}", seen.build.id));
                self.retried.insert(seen.build.id.clone(), error.to_owned());
            }
            return true;
        }
        if let Some((seen, why)) = named {
            self.fail(seen, attempt, why);
        }
        false
    }

    /// A build fails, and everything built on it is not built.
    fn fail(&mut self, seen: &Seen<'_>, attempt: &Attempt<'_>, error: &str) {
        let step = if seen.late { attempt.state.interrupted_step(seen.at) } else { attempt.state.failing_step(seen.at) };
        let (step, log) = step.map_or((None, Vec::new()), |(step, log)| (Some(step), log));
        let error = error.trim_start_matches("failed to solve: ").to_owned();
        self.settle(seen, attempt, Ending::Failed, Some(Failure { step, error, log }));
        for id in units::descendants(self.plan, &seen.build.id) {
            if self.todo.remove(&id) {
                let failure = Failure { error: format!("{} failed", seen.build.id), ..Failure::default() };
                self.give_up(&id, Ending::Blocked, Some(failure));
            }
        }
    }

    /// What is left when another failed under `--fail-fast`.
    fn stop(&mut self) {
        for id in std::mem::take(&mut self.todo) {
            self.give_up(&id, Ending::Stopped, None);
        }
    }

    fn give_up(&mut self, id: &str, result: Ending, failure: Option<Failure>) {
        let key = self.plan.builds.iter().find(|build| build.id == id).map(|build| build.key.clone()).unwrap_or_default();
        let outcome = Outcome { id: id.to_owned(), key, result, failure, ..Outcome::default() };
        self.outcomes.insert(id.to_owned(), outcome);
    }

    fn settle(&mut self, seen: &Seen<'_>, attempt: &Attempt<'_>, result: Ending, failure: Option<Failure>) {
        let id = &seen.build.id;
        if !self.todo.remove(id) {
            return;
        }
        let outcome = Outcome {
            id: id.clone(),
            key: seen.build.key.clone(),
            result,
            seconds: (seen.spent.seconds * 1000.0).round() / 1000.0,
            steps: seen.steps(&attempt.state),
            pulled_bytes: seen.spent.pulled,
            size: None,
            digest: seen.digest.clone().filter(|_| result.is_good()),
            config_digest: seen.config_digest.clone().filter(|_| result.is_good()),
            names: if result.is_good() { seen.build.names() } else { Vec::new() },
            retried: self.retried.get(id).cloned(),
            caches: if result.is_good() { caches::of(&attempt.state, seen.at) } else { caches::Caches::default() },
            failure,
        };
        if !result.is_good() {
            self.display.finished(id, &outcome.line(), &attempt.state.log(seen.at));
        }
        self.outcomes.insert(id.clone(), outcome);
    }
}

fn known_transient(state: &crate::progress::state::State) -> Option<&'static str> {
    state.messages.iter().find_map(|line| transient::find(line))
}

/// The end of what buildx printed.
fn last_words(state: &crate::progress::state::State) -> String {
    let said: Vec<&str> = state.messages.iter().rev().take(3).map(String::as_str).collect();
    if said.is_empty() { "bake ended without a word".into() } else { said.into_iter().rev().collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests;
