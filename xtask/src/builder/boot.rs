//! Starting the pods of a builder in Kubernetes: what buildx says of each node while it waits, and when that is too long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::kubernetes::{Cluster, Pods};
use crate::cmd::Effect;
use crate::docker;
use crate::exec::Runner;
use crate::report;

/// How long a cluster may take to answer; buildx itself would wait for one that never does.
pub const ANSWER: Duration = Duration::from_secs(20);

/// Starts those of its nodes that do not run; true if that was only printed.
///
/// # Errors
/// Not ready, naming the nodes that did not start and those that run.
pub fn run(runner: &Runner, cluster: &Cluster, pending: &[Pods]) -> Result<bool> {
    let patience = pending.iter().map(|pods| pods.patience).max().unwrap_or_default();
    let limit = ANSWER + patience + ANSWER;
    let titles: Vec<&str> = pending.iter().map(|pods| pods.title.as_str()).collect();
    report::note(&format!("starting BuildKit for {}, within {}", titles.join(" and "), humantime::format_duration(patience)));
    let (said, ended) = (Mutex::new(Vec::<String>::new()), AtomicBool::new(false));
    let started = Instant::now();
    let keep = |line: &str| {
        // What it says of being ended is no reason.
        if let (Ok(mut said), false) = (said.lock(), ended.load(Ordering::SeqCst)) {
            said.push(line.to_owned());
        }
    };
    let late = || {
        let silent = || said.lock().is_ok_and(|said| read(&said, pending).iter().any(State::is_silent));
        let late = started.elapsed() > limit || (started.elapsed() > ANSWER && silent());
        if late {
            ended.store(true, Ordering::SeqCst);
        }
        late
    };
    let boot = docker::boot_builder(Effect::Change, &cluster.name).timeout(limit + ANSWER);
    let exit = runner.stream_until(&boot, keep, late)?;
    if exit.ok() {
        return Ok(exit.skipped);
    }
    let said = said.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let states = read(&said, pending);
    let is_late = |state: &State| state.waits && state.error.as_ref().is_none_or(|error| error.contains("replicas to be ready"));
    let why = |(pods, state): (&'_ Pods, &State)| match &state.error {
        _ if is_late(state) => {
            let limit = humantime::format_duration(pods.patience);
            let count = state.error.as_deref().map(|error| format!(" ({error})")).unwrap_or_default();
            Some(format!("its pods were not ready within {limit}{count}"))
        }
        Some(error) => Some(plain(error)),
        None if exit.timed_out => Some(format!("no answer within {}", humantime::format_duration(ANSWER))),
        None => None,
    };
    let mut gone: Vec<(&Pods, String)> = pending
        .iter()
        .zip(&states)
        .filter(|(_, state)| !state.done)
        .filter_map(|(pods, state)| Some((pods, why((pods, state))?)))
        .collect();
    if gone.is_empty() {
        let last = said.iter().rev().find_map(|line| Some(plain(line.split_once("ERROR: ")?.1)));
        gone.extend(pending.first().map(|pods| (pods, last.unwrap_or_else(|| exit.reason(&boot)))));
    }
    let all_late = pending.iter().zip(&states).filter(|(_, state)| !state.done).all(|(_, state)| is_late(state));
    let cannot = if all_late { "cannot start" } else { "cannot use" };
    Err(cluster.fault(cannot, &gone, all_late).into())
}

/// How far a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The cluster has taken its deployment.
    waits: bool,
    done: bool,
    error: Option<String>,
}

impl State {
    fn is_silent(&self) -> bool {
        !self.waits && !self.done && self.error.is_none()
    }
}

/// What plain progress says of each node: `#2 [NODE internal] booting buildkit`, the name only where there are several.
fn read(said: &[String], pending: &[Pods]) -> Vec<State> {
    let mut states = vec![State::default(); pending.len()];
    let mut numbers: Vec<(&str, usize)> = Vec::new();
    for line in said {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else { continue };
        if rest.ends_with("internal] booting buildkit") {
            let node = rest.trim_start_matches('[').split(' ').next().unwrap_or_default();
            let at = pending.iter().position(|pods| pods.name == node).unwrap_or_default();
            numbers.push((number, at));
        }
        let at = numbers.iter().find(|(other, _)| *other == number).map(|(_, at)| *at);
        let Some(state) = at.and_then(|at| states.get_mut(at)) else { continue };
        state.waits |= rest.starts_with("waiting for ");
        state.done |= rest.starts_with("DONE");
        if let Some(error) = rest.strip_prefix("ERROR: ") {
            state.error = Some(error.to_owned());
        }
    }
    states
}

/// An error of buildx's driver without what only it knows: `error for bootstrap "NODE": Get "https://…": x` is x.
pub fn plain(error: &str) -> String {
    let mut plain = error;
    for begin in ["error for bootstrap \"", "error while calling ", "Get \"", "Post \"", "Put \"", "listing workers: "] {
        if plain.starts_with(begin) {
            plain = plain.split_once("\": ").map_or(plain, |(_, rest)| rest);
            plain = plain.trim_start_matches("listing workers: ");
        }
    }
    match plain {
        "Unauthorized" => "it does not accept our credentials (Unauthorized)".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(names: &[&str]) -> Vec<Pods> {
        names.iter().map(|name| Pods { name: (*name).into(), ..Pods::default() }).collect()
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_said_of_each_node() {
        let two = lines(
            "#1 [a internal] booting buildkit\n#2 [b internal] booting buildkit\n#2 ERROR: no\n\
             #1 waiting for 1 pods to be ready, timeout: 2 minutes\n#1 DONE 3.2s",
        );
        let states = read(&two, &pods(&["a", "b"]));
        assert!(states[0].done && states[0].waits && !states[0].is_silent());
        assert_eq!(states[1], State { error: Some("no".into()), ..State::default() });
        let one = lines("#1 [internal] booting buildkit");
        assert!(read(&one, &pods(&["a"]))[0].is_silent());
        assert!(read(&[], &pods(&["a"]))[0].is_silent(), "buildx itself waits");
    }

    #[test]
    fn errors_in_plain_words() {
        for (error, expected) in [
            (
                "error for bootstrap \"n\": Get \"https://127.0.0.1:1/apis/apps/v1\": dial tcp 127.0.0.1:1: connect: connection refused",
                "dial tcp 127.0.0.1:1: connect: connection refused",
            ),
            ("error for bootstrap \"n\": Unauthorized", "it does not accept our credentials (Unauthorized)"),
            (
                "error while calling deploymentClient.Create for \"n\": namespaces \"builds\" not found",
                "namespaces \"builds\" not found",
            ),
            ("error for bootstrap \"n\": deployments.apps \"n\" is forbidden: no", "deployments.apps \"n\" is forbidden: no"),
        ] {
            assert_eq!(plain(error), expected);
        }
    }
}
