//! One run of bake over a group of builds: started, watched, ended when it is late, and read.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::health;
use super::outcome::{self, Ending, Steps};
use super::silence::{Pushing, Silence};
use super::units::Group;
use crate::builder::Builder;
use crate::builder::spread::whole;
use crate::error::Fault;
use crate::exec::Runner;
use crate::plan::{Build, Plan};
use crate::progress::display::Display;
use crate::progress::state::State;
use crate::{bake, docker, files};

/// A bake that says nothing for so long makes us ask whether the engine is there at all.
const SILENCE: Duration = Duration::from_secs(10);

impl<'a> Attempt<'a> {
    /// Whether nothing that the builds did explains the end: the engine may be gone, or buildx missing.
    pub fn has_no_fault(&self) -> bool {
        !self.state.answered || self.state.verdict().is_none_or(|(at, _)| self.state.failing_step(at).is_none())
    }

    /// The connection to the builder ended, or it ended its own work: a step that was cut off by that is not to blame.
    pub fn is_cut_off(&self) -> bool {
        let words = ["code = Unavailable", "code = Canceled", "context canceled"];
        self.state.messages.iter().any(|line| words.iter().any(|word| line.contains(word)))
    }

    /// The build whose step broke a target: bake may name a child for what its parent did.
    pub fn culprit(&self, at: usize) -> Option<&Seen<'a>> {
        let seen = self.builds.iter().find(|seen| seen.at == at)?;
        let parent = seen.parents.iter().find(|&&parent| self.state.is_fault_of(at, parent));
        parent.and_then(|&parent| self.culprit(parent)).or(Some(seen))
    }
}

/// What all attempts of a run share.
pub struct Shared<'a> {
    pub runner: &'a Runner,
    pub repo: &'a Utf8Path,
    pub builder: &'a Builder,
    /// The builds of each of its builders.
    pub dealt: &'a [Group],
    pub plan: &'a Plan,
    pub display: &'a Display,
    pub fail_fast: bool,
    /// A build failed under `--fail-fast`: everything else ends.
    pub stop: AtomicBool,
    /// Build → what earlier bakes of this run did for it and did not finish.
    pub spent: Mutex<BTreeMap<String, Spent>>,
}

/// What this run did for a build so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub seconds: f64,
    /// Steps that ran; the next bake has them from cache.
    pub ran: usize,
    pub pulled: u64,
}

impl Shared<'_> {
    /// The name of the builder that a group was dealt to.
    pub fn builder_of(&self, group: &Group) -> Option<&str> {
        let mine = self.dealt.iter().position(|dealt| group.iter().any(|id| dealt.contains(id)));
        self.builder.names().get(mine.unwrap_or(0)).copied()
    }
}

/// How a bake ended, and everything that it told.
pub struct Attempt<'a> {
    pub end: End,
    /// The builds of the group, in the order of the plan.
    pub builds: Vec<Seen<'a>>,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// `--dry-run`
    Skipped,
    Failed,
    /// A build took longer than it may.
    Late,
    /// Ended because of `--fail-fast`.
    Stopped,
}

/// A build of the group as the bake left it.
pub struct Seen<'a> {
    pub build: &'a Build,
    /// Number of its target in the state.
    pub at: usize,
    /// Numbers of the targets that it is built on.
    pub parents: Vec<usize>,
    /// What this run did: from the start of the bake until the image was in the engine, or until the end, and before.
    pub spent: Spent,
    pub exported: bool,
    pub digest: Option<String>,
    pub config_digest: Option<String>,
    /// It was not done within its time.
    pub late: bool,
}

/// What the watcher and the reader of the lines share.
struct Watched {
    state: State,
    /// By target: when it was exported.
    done: Vec<Option<Duration>>,
    /// By build: what was done before this bake.
    spent: BTreeMap<String, Spent>,
    end: Option<End>,
    asked: bool,
    quiet: Silence,
    /// Why the engine is not there: neither bake nor the engine itself said anything.
    silence: Option<anyhow::Error>,
}

/// Runs bake over `group`.
///
/// # Errors
/// bake cannot be started, the engine does not answer, or we were interrupted. That a build fails is no error here.
pub fn run<'a>(shared: &Shared<'a>, group: &Group) -> Result<Attempt<'a>> {
    let bake = bake::file(shared.plan, group);
    let targets: Vec<Target<'a>> = targets(shared.plan, &bake, group);
    let metadata = Metadata::new(shared.repo, group)?;
    let what = match group.first() {
        Some(only) if group.len() == 1 => only.clone(),
        _ => format!("{} images", group.len()),
    };
    let cmd = docker::bake(&bake.text, shared.repo, shared.builder_of(group), &metadata.0, &format!("build {what}"));
    let cmd = cmd.stdin_from(source(shared, group));

    let state = State::new(bake.targets.iter().map(|(name, _)| name.as_str()));
    let spent = shared.spent.lock().map(|spent| spent.clone()).unwrap_or_default();
    let done = vec![None; targets.len()];
    let watched = Mutex::new(Watched { state, done, spent, end: None, asked: false, quiet: Silence::default(), silence: None });
    let started = Instant::now();
    let exit = shared.runner.statuses(
        &cmd,
        |line| {
            if let Ok(mut watched) = watched.lock() {
                watched.take(line, started.elapsed(), &targets, shared);
            }
        },
        || watch(shared, &watched, &targets, started.elapsed()),
    )?;
    let watched = watched.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = watched.silence {
        return Err(error);
    }
    let end = match watched.end {
        _ if exit.skipped => End::Skipped,
        _ if exit.ok() => End::Done,
        Some(end) => end,
        None => End::Failed,
    };
    let digests = if end == End::Done { digests(&metadata.0)? } else { Value::Null };
    let elapsed = started.elapsed();
    let seen = targets.iter().enumerate().filter(|(_, target)| target.wanted).map(|(at, target)| Seen {
        build: target.build,
        at,
        parents: target.parents.clone(),
        spent: watched.spent(at, target, watched.done[at].unwrap_or(elapsed)),
        exported: end == End::Done || watched.state.is_exported(at),
        config_digest: digest(&digests[target.name.as_str()], "containerimage.config.digest"),
        digest: digest(&digests[target.name.as_str()], "containerimage.digest")
            .or_else(|| watched.state.digest(at).map(str::to_owned)),
        late: end == End::Late && watched.done[at].is_none() && elapsed > target.limit(),
    });
    Ok(Attempt { end, builds: seen.collect(), state: watched.state })
}

/// A target of the bake file.
struct Target<'a> {
    name: String,
    build: &'a Build,
    /// False for a parent that is there for its children only.
    wanted: bool,
    parents: Vec<usize>,
}

impl Target<'_> {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.build.timeout)
    }
}

fn targets<'a>(plan: &'a Plan, bake: &bake::Bake, group: &Group) -> Vec<Target<'a>> {
    let number = |id: &str| bake.targets.iter().position(|(_, other)| other == id);
    let build = |id: &str| plan.builds.iter().find(|build| build.id == id);
    let target = |(name, id): &(String, String)| {
        let build = build(id)?;
        let parents = build.parents.iter().filter_map(|(_, from)| number(from.strip_prefix("build:")?));
        Some(Target { name: name.clone(), build, wanted: group.contains(id), parents: parents.collect() })
    };
    bake.targets.iter().filter_map(target).collect()
}

impl Watched {
    fn take(&mut self, line: &str, elapsed: Duration, targets: &[Target<'_>], shared: &Shared<'_>) {
        self.quiet.heard(elapsed);
        for at in self.state.feed(line) {
            let target = &targets[at];
            if self.state.is_exported(at) && self.done[at].is_none() && target.wanted {
                self.done[at] = Some(elapsed);
                shared.display.finished(&target.build.id, &self.line(at, target, elapsed), &self.state.log(at));
            } else if let Some(step) = self.state.current(at, &target.parents).filter(|_| target.wanted) {
                let steps = self.state.steps(at, &target.parents);
                shared.display.running(&target.build.id, step, steps, self.state.pulled(at));
            }
        }
    }

    /// The builds that wait for their registry alone.
    fn pushing<'a>(&self, targets: &'a [Target<'_>]) -> Vec<Pushing<'a>> {
        let mut pushing = Vec::new();
        for (at, target) in targets.iter().enumerate().filter(|(at, target)| target.wanted && self.done[*at].is_none()) {
            let steps = self.state.steps(at, &target.parents);
            if let Some(candidate) =
                target.build.test.candidate.as_deref().filter(|_| steps.total > 0 && steps.done == steps.total)
            {
                pushing.push(Pushing { id: &target.build.id, candidate, limit: target.limit() });
            }
        }
        pushing
    }

    fn line(&self, at: usize, target: &Target<'_>, elapsed: Duration) -> String {
        let spent = self.spent(at, target, elapsed);
        let steps = steps(&self.state, at, &target.parents, spent);
        outcome::line(ending(steps, spent), spent.seconds, steps)
    }

    /// What this run has done for a build, this bake included.
    fn spent(&self, at: usize, target: &Target<'_>, elapsed: Duration) -> Spent {
        let before = self.spent.get(&target.build.id).copied().unwrap_or_default();
        let steps = self.state.steps(at, &target.parents);
        Spent {
            seconds: before.seconds + elapsed.as_secs_f64(),
            ran: before.ran + steps.done - steps.cached,
            pulled: before.pulled + self.state.pulled(at),
        }
    }
}

/// Steps of a build over all bakes of this run: one that ran in an earlier bake is not from cache.
fn steps(state: &State, at: usize, parents: &[usize], spent: Spent) -> Steps {
    let steps = state.steps(at, parents);
    Steps { total: steps.total, cached: steps.cached.min(steps.total.saturating_sub(spent.ran)) }
}

/// How a build ended whose image is in the engine.
fn ending(steps: Steps, spent: Spent) -> Ending {
    if steps.cached == steps.total && spent.pulled == 0 { Ending::Cached } else { Ending::Built }
}

impl Seen<'_> {
    /// How it ended, once its image is in the engine.
    pub fn ending(&self, state: &State) -> Ending {
        ending(self.steps(state), self.spent)
    }

    pub fn steps(&self, state: &State) -> Steps {
        steps(state, self.at, &self.parents, self.spent)
    }
}

/// Asked all the time from beside the bake: must it end?
fn watch(shared: &Shared<'_>, watched: &Mutex<Watched>, targets: &[Target<'_>], elapsed: Duration) -> bool {
    shared.display.tick();
    let Ok(mut state) = watched.lock() else { return true };
    if shared.stop.load(Ordering::SeqCst) {
        state.end = Some(End::Stopped);
        return true;
    }
    let late = |(at, target): (usize, &Target<'_>)| target.wanted && state.done[at].is_none() && elapsed > target.limit();
    if targets.iter().enumerate().any(late) {
        state.end = Some(End::Late);
        return true;
    }
    if state.quiet.is_due(elapsed) {
        let pushing = state.pushing(targets);
        if let Some(note) = state.quiet.note(elapsed, &pushing) {
            shared.display.note(&note);
        }
    }
    if state.asked || state.state.answered || elapsed < SILENCE {
        return false;
    }
    state.asked = true;
    // The question may take a while; lines that come meanwhile must not wait for it.
    drop(state);
    let Err(error) = health::engine(shared.runner) else { return false };
    if let Ok(mut state) = watched.lock() {
        state.silence = Some(error);
    }
    true
}

/// Where buildx writes what it built; removed when dropped. Builds are in one group at a time, so the first names it.
struct Metadata(Utf8PathBuf);

impl Metadata {
    fn new(repo: &Utf8Path, group: &Group) -> Result<Metadata> {
        let folder = repo.join(super::FOLDER);
        files::make_folder(repo, &folder)?;
        let name = group.first().map_or("none", String::as_str);
        Ok(Metadata(folder.join(format!("metadata-{name}.json"))))
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        // A bake that failed wrote none.
        let _absent = std::fs::remove_file(&self.0);
    }
}

/// The command that prints the bake file of a group, with the bases pinned as they are in this run.
fn source(shared: &Shared<'_>, group: &Group) -> String {
    let (plan, flags) = (shared.plan, &shared.builder.flag);
    let all = plan.builds.len() == group.len();
    let only = group.iter().filter(|_| !all).map(|id| whole(id)).collect::<std::collections::BTreeSet<_>>();
    let only: String = only.iter().map(|id| format!(" --only id={id}")).collect();
    format!("cargo xtask plan --resolve --event {}{only}{flags} --format bake", plan.event.flag())
}

/// What buildx writes with `--metadata-file`: target → facts.
fn digests(path: &Utf8Path) -> Result<Value> {
    let odd = |why: &str| {
        let fault = Fault::not_ready(format!("`docker buildx bake` succeeded and did not say what it built: {why}"));
        fault.hint("is `docker` the real one, and its buildx 0.13 or newer? `cargo xtask doctor` tells")
    };
    let text = std::fs::read_to_string(path).map_err(|error| odd(&error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| odd(&error.to_string()).into())
}

fn digest(facts: &Value, name: &str) -> Option<String> {
    facts[name].as_str().map(str::to_owned)
}
