//! The sandbox: a registry on loopback, base images and, where the machine has no Docker, an engine. One for the machine.

mod bases;
mod builders;
mod buildkit;
mod dockerd;
mod emulation;
mod http;
mod machine;
mod mounts;
mod network;
mod packages;
mod paths;
mod process;
mod registry;
mod state;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use camino::Utf8PathBuf;
use serde::Serialize;

use self::packages::{ENGINE, REGISTRY};
use self::paths::{Paths, make_dir, remove_file};
pub use self::process::CGROUP;
pub use self::state::State;
use self::steps::Steps;
use crate::cmd::Cmd;
use crate::container::run;
use crate::engine;
use crate::error::Fault;
use crate::exec::Runner;
use crate::{facts, report};

/// What `sandbox status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    pub running: bool,
    /// False where the host's own Docker is used.
    pub engine: bool,
    /// RFC 3339.
    pub since: Option<String>,
    pub registry: Option<String>,
    pub cache: String,
    pub disk_bytes: u64,
    pub versions: BTreeMap<String, String>,
    pub bases: Vec<String>,
}

/// Can the sandbox run here at all? Exit code 3 with what to do if not.
pub fn suitable(runner: &Runner) -> Result<()> {
    machine::suitable(runner)
}

/// What runs now, and runs well; none if anything of it does not answer.
pub fn running() -> Result<Option<State>> {
    Ok(well(&Paths::find()?))
}

fn well(paths: &Paths) -> Option<State> {
    let state = State::read(paths)?;
    for daemon in ["registry", "dockerd"] {
        // One that is too long for a moment more is no reason to end.
        let _stays = registry::rotate(&paths.log(daemon));
    }
    let engine = !state.engine || dockerd::answers(paths);
    (engine && registry::answers(paths, state.port)).then_some(state)
}

/// Brings everything up that is not up; everything that is stays as it is.
///
/// # Errors
/// Exit code 3 where the machine cannot have a sandbox, or where packages are needed and out of reach.
pub fn up(runner: &Runner) -> Result<State> {
    let paths = Paths::find()?;
    if let Some(state) = well(&paths) {
        return Ok(state);
    }
    machine::suitable(runner)?;
    if runner.is_dry_run() {
        return Ok(rehearse(runner, &paths));
    }
    paths.create()?;
    let lock = state::lock(runner, &paths)?;
    // Whoever held the lock may have brought it up.
    if let Some(state) = well(&paths) {
        return Ok(state);
    }
    let steps = Steps::start();
    let state = bring_up(runner, &paths, &steps)?;
    state.write(&paths)?;
    steps.say(&format!("ready: registry {}, {} base images", state.registry(), state.bases.len()));
    drop(lock);
    Ok(state)
}

fn bring_up(runner: &Runner, paths: &Paths, steps: &Steps) -> Result<State> {
    State::remove(paths)?;
    process::end_strays(&paths.run);
    mounts::remove_tree(runner, &paths.tmp())?;
    make_dir(&paths.tmp())?;
    let mut step = runner.clone();
    step.set_env(process::STEP, paths.run.as_str());

    let engine = engine::host(runner).is_none();
    let apt = machine::Apt::ask(&step)?;
    let sets = if engine { &[REGISTRY, ENGINE][..] } else { &[REGISTRY][..] };
    packages::ensure(&step, paths, &apt, sets, steps)?;
    steps.say("starting the registry");
    let port = registry::ensure(runner, paths)?;
    let mut bases = Vec::new();
    if engine {
        steps.say("starting the engine");
        let started = dockerd::ensure(runner, paths, port)?;
        for (name, value) in client_env(paths, true) {
            step.set_env(&name, &value);
        }
        if started {
            // It comes back with what it held. Whoever started these is gone since it ended.
            run::sweep(&step, None)?;
        }
        let foreign = foreign(paths).exists();
        if foreign {
            emulation::ensure(&step, paths, &apt, steps)?;
        }
        bases = bases::ensure(&step, paths, &apt, port, foreign, steps)?;
    }
    mounts::remove_tree(runner, &paths.tmp())?;
    Ok(State {
        since: crate::facts::now(),
        cache: paths.cache.clone(),
        port,
        engine,
        versions: sets.iter().flat_map(|set| packages::versions(paths, set)).collect(),
        bases,
    })
}

/// Exists once base images of another platform were asked for: they stay, so that their digests do.
fn foreign(paths: &Paths) -> Utf8PathBuf {
    paths.cache.join("foreign")
}

/// Makes sure that there are base images for these platforms, and that their programs run here. It takes minutes the
/// first time that a platform is not the machine's own.
///
/// # Errors
/// Exit code 3: there are no stand-ins for one of them, or what they are made of is out of reach.
pub fn provide(runner: &Runner, platforms: &BTreeSet<&str>) -> Result<()> {
    if !emulation::is_needed(platforms)? || runner.is_dry_run() {
        return Ok(());
    }
    let mut paths = Paths::find()?;
    let is_there = |paths: &Paths| foreign(paths).exists() && facts::emulates(emulation::FOREIGN);
    let Some(state) = State::read(&paths).filter(|state| state.engine) else { return Ok(()) };
    paths.cache.clone_from(&state.cache);
    if is_there(&paths) {
        return Ok(());
    }
    let lock = state::lock(runner, &paths)?;
    if is_there(&paths) {
        return Ok(());
    }
    let steps = Steps::start();
    steps.say(&format!("{} was asked for: its base images and emulator are added, once", emulation::FOREIGN));
    mounts::remove_tree(runner, &paths.tmp())?;
    make_dir(&paths.tmp())?;
    let mut step = runner.clone();
    step.set_env(process::STEP, paths.run.as_str());
    for (name, value) in client_env(&paths, true) {
        step.set_env(&name, &value);
    }
    let apt = machine::Apt::ask(&step)?;
    emulation::ensure(&step, &paths, &apt, &steps)?;
    bases::ensure(&step, &paths, &apt, state.port, true, &steps)?;
    paths::write(&foreign(&paths), "")?;
    mounts::remove_tree(runner, &paths.tmp())?;
    drop(lock);
    Ok(())
}

/// Serves an image of BuildKit as docker.io's mirror would.
///
/// # Errors
/// Exit code 3: the sandbox does not run, there is no Go, or its module proxy can't be reached.
pub fn buildkit(runner: &Runner) -> Result<()> {
    let mut paths = Paths::find()?;
    let gone = || Fault::not_ready("the sandbox is not running").hint("run `cargo xtask sandbox up`");
    let state = well(&paths).ok_or_else(gone)?;
    // This machine's own Docker has the network's.
    if !state.engine || buildkit::is_served(state.port) {
        return Ok(());
    }
    if runner.is_dry_run() {
        report::note("would make an image of BuildKit from the Go module proxy");
        return Ok(());
    }
    paths.cache.clone_from(&state.cache);
    let lock = state::lock(runner, &paths)?;
    if !buildkit::is_served(state.port) {
        make_dir(&paths.tmp())?;
        let mut step = runner.clone();
        step.set_env(process::STEP, paths.run.as_str());
        for (name, value) in client_env(&paths, true) {
            step.set_env(&name, &value);
        }
        buildkit::make(&step, &paths, state.port, &Steps::start())?;
    }
    drop(lock);
    Ok(())
}

/// What `up` would do, told; the state is the one it would most likely have.
fn rehearse(runner: &Runner, paths: &Paths) -> State {
    let engine = engine::host(runner).is_none();
    let port = registry::remembered(paths).unwrap_or(5000);
    let what = if engine { "an engine, a registry and base images" } else { "a registry beside this machine's Docker" };
    report::note(&format!("would start {what}, from Debian packages below {}", paths.cache));
    let since = String::new();
    State { since, cache: paths.cache.clone(), port, engine, versions: BTreeMap::new(), bases: Vec::new() }
}

/// Ends everything and puts the machine back as it was; downloads, images and caches are kept unless `purge`.
pub fn down(runner: &Runner, purge: bool) -> Result<()> {
    let mut paths = Paths::find()?;
    paths.cache = State::read(&paths).map_or(paths.cache, |state| state.cache);
    if runner.is_dry_run() {
        let purged = if purge { format!(", and delete {}", paths.cache) } else { String::new() };
        report::note(&format!("would end {} processes of the sandbox{purged}", process::ours(&paths.run).len()));
        return Ok(());
    }
    if !paths.run.exists() && (!purge || !paths.cache.exists()) {
        return Ok(());
    }
    paths.create()?;
    let lock = state::lock(runner, &paths)?;
    State::remove(&paths)?;
    process::end_strays(&paths.run);
    builders::remove(runner, &paths)?;
    dockerd::stop(runner, &paths)?;
    registry::stop(&paths);
    emulation::remove(runner, &paths)?;
    remove_file(&paths.run.join("registry.json"))?;
    mounts::remove_tree(runner, &paths.tmp())?;
    if purge {
        delete(runner, &paths)?;
    }
    drop(lock);
    Ok(())
}

/// Everything the sandbox ever wrote to its cache folder, by name: other things may lie there too.
fn delete(runner: &Runner, paths: &Paths) -> Result<()> {
    let apt = ["apt", "apt-arm64"].map(|dir| paths.cache.join(dir));
    for dir in [apt[0].clone(), apt[1].clone(), paths.cache.join("tools"), paths.data(), paths.registry(), paths.docker_config()]
    {
        mounts::remove_tree(runner, &dir)?;
    }
    let entries = paths.cache.read_dir_utf8()?.flatten().map(|entry| entry.path().to_owned());
    let ours = |name: &str| {
        matches!(name, "bases.json" | "foreign" | "port" | "dockerd.log" | "registry.log") || name.starts_with("rootfs-")
    };
    for file in entries.filter(|path| path.file_name().is_some_and(ours)) {
        remove_file(&file)?;
    }
    // Not empty: something else lies there.
    let _kept = std::fs::remove_dir(&paths.cache);
    Ok(())
}

pub fn status(runner: &Runner) -> Result<Status> {
    let mut paths = Paths::find()?;
    let state = well(&paths);
    paths.cache = state.as_ref().map_or(paths.cache, |state| state.cache.clone());
    let du = Cmd::probe("du", "measure the cache").args(["-skx", paths.cache.as_str()]).timeout(Duration::from_secs(60));
    let disk = if paths.cache.exists() { runner.output(&du)?.stdout } else { String::new() };
    Ok(Status {
        running: state.is_some(),
        engine: state.as_ref().is_some_and(|state| state.engine),
        since: state.as_ref().map(|state| state.since.clone()),
        registry: state.as_ref().map(State::registry),
        cache: paths.cache.to_string(),
        disk_bytes: disk.split('\t').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024,
        versions: state.as_ref().map(|state| state.versions.clone()).unwrap_or_default(),
        bases: state.map(|state| state.bases).unwrap_or_default(),
    })
}

/// The environment of a client of the sandbox.
pub fn env(state: &State) -> Result<Vec<(String, String)>> {
    let paths = Paths { cache: state.cache.clone(), ..Paths::find()? };
    let mut env = client_env(&paths, state.engine);
    env.push(("SLIPWAY_REGISTRY".into(), state.registry()));
    Ok(env)
}

fn client_env(paths: &Paths, engine: bool) -> Vec<(String, String)> {
    let mut env = vec![("PATH".into(), dockerd::client_path(paths))];
    if engine {
        env.push(("DOCKER_HOST".into(), format!("unix://{}", paths.socket())));
        env.push(("DOCKER_CONFIG".into(), paths.docker_config().into()));
    }
    env
}

/// Is this address of a Docker the sandbox's own?
pub fn is_own_address(docker_host: &str) -> bool {
    Paths::find().is_ok_and(|paths| docker_host == format!("unix://{}", paths.socket()))
}

/// The fault of a machine that has neither.
pub fn no_engine(reason: &anyhow::Error) -> Fault {
    Fault::not_ready(format!("no Docker answers, and {reason}")).hint("start Docker, or set DOCKER_HOST")
}
