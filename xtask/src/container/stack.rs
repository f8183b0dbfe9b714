//! A check of images together: composed, waited for, used, and taken down however it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::check::{self, Ended, Outcome};
use super::checks::Place;
use super::compose::{self, Look, State};
use super::log::Log;
use super::mounts;
use super::services::{self, Service};
use crate::cmd::Cmd;
use crate::config::{self, Config};
use crate::docker::compose::Project;
use crate::error::Fault;
use crate::exec::Runner;
use crate::facts::working::Seen;
use crate::generated::Mode;
use crate::plan::{Build, Check, Plan};
use crate::{build, docker, facts, files, report};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// What cannot work has ended by then.
const SETTLED: Duration = Duration::from_secs(1);
/// Last lines of a service that went wrong.
const TAIL: usize = 20;

/// A check with what its compose file says.
pub struct Stack<'a> {
    check: &'a Check,
    project: Project,
    /// The file as compose resolves it.
    resolved: Value,
    services: BTreeMap<String, Service>,
    /// Service → the build of this run whose image it runs.
    runs: BTreeMap<String, &'a Build>,
    /// Service and folder in its container → the build of this run whose files are there.
    mounts: BTreeMap<(String, String), &'a Build>,
}

/// # Errors
/// Not ready: there is no docker compose.
pub fn is_ready(runner: &Runner) -> Result<()> {
    let cmd = docker::compose::version();
    let exit = runner.output(&cmd)?;
    let fault =
        Fault::not_ready("docker has no compose").hint("install docker-compose-plugin (the package docker-compose on Debian)");
    runner.check(&cmd, &exit).context(fault)
}

/// Reads the compose file of a check; `None` when nothing of it is an image of this run.
///
/// # Errors
/// Usage: a file that compose does not understand, a service that it has not, no service that runs an image of ours.
pub fn read<'a>(
    runner: &Runner,
    config: &Config,
    plan: &'a Plan,
    check: &'a Check,
    place: &Place<'_>,
) -> Result<Option<Stack<'a>>> {
    let file = check.compose.clone().unwrap_or_default();
    let fault = |said: String| Fault::usage(format!("check {}: {said}", check.name));
    let overlay = docker::compose::overlay(&place.checkout.join(build::FOLDER), &compose::plain(&check.name));
    let name = compose::project(place.checkout, &check.name);
    let project = Project { name, root: place.root.to_owned(), file, overlay };
    let cmd = project.config();
    let exit = runner.output(&cmd)?;
    runner.check(&cmd, &exit).with_context(|| fault(format!("compose does not understand {}", project.file)))?;
    let resolved: Value = serde_json::from_str(&exit.stdout).unwrap_or_default();
    let services = services::services(&resolved).ok_or_else(|| fault(format!("{} composes nothing", project.file)))?;
    let list = || services.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = check.services.iter().find(|service| !services.contains_key(*service)) {
        return Err(fault(format!("{} has no service {unknown} (there are {})", project.file, list())).into());
    }
    let uses = services::uses(config, plan, &project.name, &services);
    let uses = uses.map_err(|said| fault(format!("{}: {said}", project.file)))?;
    if uses.runs.is_empty() && uses.mounts.is_empty() {
        let images: BTreeSet<&str> = config.builds.iter().map(|build| services::last(&build.repository)).collect();
        let images: Vec<&str> = images.into_iter().collect();
        let said =
            format!("no service of {} is called like the last part of a repository, or runs an image of one", project.file);
        let hint = format!("the services are {}, the repositories end in {}", list(), crate::plan::shorten(&images));
        return Err(fault(said).hint(hint).into());
    }
    let here = |build: &config::Build| plan.builds.iter().find(|planned| planned.id == build.id);
    let runs: BTreeMap<_, _> = uses.runs.into_iter().filter_map(|(service, build)| Some((service, here(build)?))).collect();
    let mounts: BTreeMap<_, _> = uses.mounts.into_iter().filter_map(|(at, build)| Some((at, here(build)?))).collect();
    if runs.is_empty() && mounts.is_empty() {
        report::note(&format!("{}: none of its images is in this run", check.name));
        return Ok(None);
    }
    Ok(Some(Stack { check, project, resolved, services, runs, mounts }))
}

impl<'a> Stack<'a> {
    /// The builds whose images it runs or mounts.
    pub fn builds(&self) -> impl Iterator<Item = &'a str> {
        self.runs.values().chain(self.mounts.values()).map(|build| build.id.as_str())
    }

    /// `images`: build id → image; `seen`: the tree before it.
    ///
    /// # Errors
    /// The engine does not answer, a file cannot be written, or we were interrupted.
    pub fn run(
        &self,
        runner: &Runner,
        images: &BTreeMap<String, String>,
        seen: &Seen,
        place: &Place<'_>,
        log: &mut Log,
    ) -> Result<Vec<Outcome>> {
        let ours = self.runs.iter().filter_map(|(service, build)| Some((service.clone(), images.get(&build.id)?.clone())));
        let ours: BTreeMap<String, String> = ours.collect();
        let mut closed = facts::git_folders(runner, place.root);
        closed.extend(seen.repositories.iter().cloned().chain([place.checkout.join("target")]));
        let mut volumes = mounts::closed(&self.resolved, &closed, place.root);
        for ((service, folder), build) in &self.mounts {
            let volume = images.get(&build.id).map(|image| json!({ "type": "image", "source": image, "target": folder }));
            volumes.entry(service.clone()).or_default().extend(volume);
        }
        if Mode::of(false, runner) == Mode::Write {
            files::write(&self.project.overlay, &compose::overlay(&self.services, &ours, &volumes, place.checkout))?;
        }
        let builds = self.services.iter().any(|(name, service)| service.is_built && !ours.contains_key(name));
        // A run that was killed may have left the project.
        runner.output(&self.project.down(builds))?;
        let down = Down { runner, project: &self.project, images: builds };
        let outcomes = self.used(runner, seen, log);
        let read = runner.stream(&self.project.logs(None, &[]), |line| log.line(line));
        drop(down);
        let outcomes = outcomes?;
        read?;
        log.done()?;
        Ok(outcomes)
    }

    /// Up, then the check's commands, unless they are not what they were any more: they run on this machine.
    fn used(&self, runner: &Runner, seen: &Seen, log: &mut Log) -> Result<Vec<Outcome>> {
        let started = Instant::now();
        let mut up = Outcome::new(self.check, &format!("{} is up", self.project.file));
        report::note(&format!("== {}: {}", self.check.name, self.project.file));
        let (ended, bad) = self.up(runner, log)?;
        up.end(started, ended);
        let runs = !up.failed() && (self.check.run.is_empty() || seen.differing().is_empty());
        if up.failed() {
            up.tail = if bad.is_empty() { log.tail() } else { self.words(runner, &bad)? };
        }
        if !runs {
            let rest = self.check.run.iter().map(|command| Outcome::new(self.check, command));
            return Ok(std::iter::once(up).chain(rest).collect());
        }
        let env = compose::env(&self.project.name, &self.states(runner)?);
        let one = |words: &[String], left: Duration, outcome: &mut Outcome| -> Result<Ended> {
            log.forget();
            let mut cmd = Cmd::change(&words[0], format!("check {}", self.check.name)).args(words[1..].to_vec());
            cmd.env.clone_from(&env);
            let ended = check::here(runner, self.check, &cmd.dir(&self.project.root).timeout(left), |line| log.line(line))?;
            outcome.tail = log.tail();
            let Some(Err(reason)) = ended else { return Ok(ended) };
            // It may have failed because a service did.
            let Look::Bad(bad) = compose::look(&self.states(runner)?) else { return Ok(Some(Err(reason))) };
            outcome.tail.extend(self.words(runner, &bad)?);
            Ok(Some(Err(format!("{reason}; {}", reasons(&bad)))))
        };
        let mut outcomes = vec![up];
        outcomes.extend(check::commands(self.check, started, one)?);
        if let Some(last) = outcomes.last_mut().filter(|last| last.passed == Some(true)) {
            self.look_again(runner, last)?;
        }
        Ok(outcomes)
    }

    /// What passed while a service went wrong did not. Where nothing was run, what has no HEALTHCHECK is given a moment.
    fn look_again(&self, runner: &Runner, last: &mut Outcome) -> Result<()> {
        let is_unsure = |one: &State| one.state == "running" && one.health.is_empty();
        if self.check.run.is_empty() && self.states(runner)?.iter().any(is_unsure) {
            thread::sleep(SETTLED);
        }
        if let Look::Bad(bad) = compose::look(&self.states(runner)?) {
            (last.passed, last.reason) = (Some(false), Some(reasons(&bad)));
            last.tail.extend(self.words(runner, &bad)?);
        }
        Ok(())
    }

    /// Starts everything and waits until it is good, or known never to be: then with the containers to blame.
    fn up(&self, runner: &Runner, log: &mut Log) -> Result<(Ended, Vec<(State, String)>)> {
        let started = Instant::now();
        let limit = Duration::from_secs(self.check.timeout);
        let cmd = self.project.up(&self.check.services).timeout(limit);
        let exit = runner.stream(&cmd, |line| log.line(line))?;
        if exit.skipped {
            return Ok((None, Vec::new()));
        }
        loop {
            let said = match compose::look(&self.states(runner)?) {
                Look::Bad(bad) => return Ok((Some(Err(reasons(&bad))), bad)),
                // Compose gives up at what it cannot build, fetch or bind.
                _ if !exit.ok() && !exit.timed_out => {
                    return Ok((Some(Err(format!("compose failed: {}", exit.reason(&cmd)))), Vec::new()));
                }
                Look::Good if exit.ok() => return Ok((Some(Ok(())), Vec::new())),
                Look::Good => "compose did not end".to_owned(),
                Look::Wait(why) => why,
            };
            if exit.timed_out || started.elapsed() >= limit {
                let waiting = self.states(runner)?.into_iter().filter(|one| one.state != "exited" && one.health != "healthy");
                let waiting = waiting.map(|one| (one, String::new())).collect();
                return Ok((Some(Err(format!("{}: {said}", check::late(self.check)))), waiting));
            }
            thread::sleep(PAUSE);
            if runner.is_interrupted() {
                return Err(Fault::interrupted().into());
            }
        }
    }

    fn states(&self, runner: &Runner) -> Result<Vec<State>> {
        Ok(compose::states(&runner.read(&self.project.ps())?))
    }

    /// The last words of these containers, and of their health checks.
    fn words(&self, runner: &Runner, bad: &[(State, String)]) -> Result<Vec<String>> {
        let mut words = Vec::new();
        for (state, _) in bad {
            let facts: Value =
                serde_json::from_str(&runner.output(&docker::inspect_container(&state.container))?.stdout).unwrap_or_default();
            let probes = facts["state"]["Health"]["Log"].as_array().and_then(|log| log.last()?["Output"].as_str());
            let probe = probes.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty());
            words.extend(probe.map(|line| format!("{}'s HEALTHCHECK: {line}", state.service)));
            let logs = runner.output(&self.project.logs(Some(TAIL), &[&state.service]))?;
            words.extend(logs.stdout.lines().chain(logs.stderr.lines()).map(|line| format!("{}: {line}", state.service)));
        }
        Ok(words)
    }
}

/// "web is unhealthy, db ended with exit code 1"
fn reasons(bad: &[(State, String)]) -> String {
    bad.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join(", ")
}

/// Takes the project down when it goes out of scope: after success, failure, time-out and Ctrl-C alike.
struct Down<'a> {
    runner: &'a Runner,
    project: &'a Project,
    /// Also what compose has built.
    images: bool,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let cmd = self.project.down(self.images);
        if let Err(error) = self.runner.output(&cmd).and_then(|exit| self.runner.check(&cmd, &exit)) {
            report::note(&format!("warning: {error:#}; the next run of this check tries again"));
        }
    }
}
