//! Which builder a run uses: the engine's own, a container that we make, remote nodes, pods, or one of buildx's.

mod boot;
mod buildkitd;
mod certificate;
mod container;
mod fit;
mod in_use;
pub mod join;
mod kubeconfig;
pub mod kubernetes;
mod remote;
pub mod spread;

use std::str::FromStr;

use anyhow::Result;
use camino::Utf8Path;

use crate::build::health;
use crate::cmd::{Cmd, Effect};
use crate::config::{Config, Env};
use crate::docker::{self, Found};
use crate::error::Fault;
use crate::exec::Runner;
use crate::generated::Mode;
use crate::plan::{Action, Plan};
use crate::{facts, files, report};
pub use in_use::{InUse, in_use};
use kubernetes::{Cluster, Kube};
use remote::Remote;
use shell_words::quote;
use spread::Spread;

/// `--builder`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// `[builders]`, else the engine's own where it can do everything, else a container
    #[default]
    Auto,
    /// A container that we make
    Container,
    /// One of buildx's
    Named(String),
    /// Several of buildx's, which share the builds (`--builders`)
    Shared(Vec<String>),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text {
            "" => Err("a builder has a name (`docker buildx ls` lists them)".into()),
            "auto" => Ok(Choice::Auto),
            "container" => Ok(Choice::Container),
            name => Ok(Choice::Named(name.to_owned())),
        }
    }
}

/// What a run builds with.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// For buildx; none: the one that it takes by itself, which is the engine's own unless another was chosen there.
    pub name: Option<String>,
    /// Several that share the builds; then `name` is none.
    pub share: Vec<String>,
    pub spread: Spread,
    /// What a command must say for the same builder and names, where that is not the default.
    pub flag: String,
    /// The daemons of `[builders]` among its own nodes.
    remotes: Vec<Remote>,
    /// Pods of `[builders]`, which are a builder beside `name`; that has the other platforms.
    pub cluster: Option<Cluster>,
}

/// What a builder is made for.
pub struct Place<'a> {
    pub runner: &'a Runner,
    /// The checkout: it has builders of its own, because only one run at a time is in it.
    pub repo: &'a Utf8Path,
    pub env: &'a Env,
    pub config: &'a Config,
    /// The engine is the sandbox's own.
    pub private: bool,
    /// The sandbox's registry.
    pub registry: Option<&'a str>,
}

impl Place<'_> {
    fn name(&self) -> String {
        format!("{}{}", docker::PREFIX, container::short(&[self.repo.as_str()]))
    }

    /// Those that images are pushed to and pulled from.
    fn registries(&self) -> Vec<String> {
        let own = [Some(self.config.registry.as_str()), self.config.rehearsal.as_deref(), self.registry].into_iter().flatten();
        own.map(|registry| registry.split('/').next().unwrap_or(registry).to_owned()).collect()
    }

    fn found(&self, builder: &str) -> Result<Option<Found>> {
        let exit = self.runner.output(&docker::inspect_builder(Some(builder)))?;
        Ok(exit.ok().then(|| docker::found(&exit.stdout)))
    }
}

/// Writes a file that buildx reads when it makes a builder; nobody but its owner may read it.
fn write(place: &Place<'_>, folder: &Utf8Path, name: &str, text: &str) -> Result<()> {
    match Mode::of(false, place.runner) {
        Mode::Write => files::write_private(&folder.join(name), text),
        Mode::Check | Mode::DryRun => Ok(()),
    }
}

/// Deletes a file of ours, which may be gone.
fn delete(place: &Place<'_>, file: &Utf8Path) -> Result<()> {
    place.runner.read(&Cmd::cleanup("rm", format!("remove {file}")).args(["-f", file.as_str()])).map(drop)
}

/// Forgets a builder of ours, with its container.
fn remove(place: &Place<'_>, builder: &str, exists: bool) -> Result<()> {
    if exists { place.runner.read(&docker::remove_builder(builder)).map(drop) } else { Ok(()) }
}

/// The same for one whose cluster may be out of reach: buildx forgets it then too, and what it started stays there.
fn remove_lost(place: &Place<'_>, builder: &str, exists: bool) -> Result<()> {
    let cmd = docker::remove_builder(builder).timeout(boot::ANSWER);
    let exit = if exists { place.runner.output(&cmd)? } else { return Ok(()) };
    if exit.ok() {
        return Ok(());
    }
    if place.found(builder)?.is_some() {
        return place.runner.check(&cmd, &exit);
    }
    let said = exit.stderr.lines().next().unwrap_or_default();
    report::note(&format!("warning: the pods of the last {builder} may still be in their cluster: {said}"));
    Ok(())
}

/// The nodes of `[builders]` that a run uses: daemons, and pods.
fn nodes(choice: &Choice, config: &Config, platforms: &[String]) -> (Vec<Remote>, Vec<Kube>) {
    let builders = match choice {
        Choice::Auto => &config.builders,
        _ => return Default::default(),
    };
    (remote::nodes(builders, platforms), kubernetes::nodes(builders, platforms))
}

/// Which platforms of a plan are built apart.
pub fn spread(place: &Place<'_>, choice: &Choice, plan: &Plan) -> Spread {
    let (remotes, kubes) = nodes(choice, place.config, &platforms(plan));
    let of = kubes.into_iter().map(|kube| kube.platforms).chain(remotes.into_iter().map(|remote| remote.platforms));
    let nodes: Vec<Vec<String>> = of.collect();
    let loads = fit::loads_one(place, choice, !nodes.is_empty(), plan).then(facts::host_platform);
    Spread { nodes, loads }
}

/// The builder of a plan, made where it is one of ours and not there.
///
/// # Errors
/// Not ready: it can't be made, or a node of it can't be reached.
pub fn ready(place: &Place<'_>, choice: &Choice, plan: &Plan) -> Result<Builder> {
    let platforms = platforms(plan);
    let spread = spread(place, choice, plan);
    if let Choice::Named(name) = choice {
        let flag = format!(" --builder {}", quote(name));
        return Ok(Builder { name: Some(name.clone()), spread, flag, ..Builder::default() });
    }
    if let Choice::Shared(names) = choice {
        all_exist(place, names)?;
        let flag = format!(" --builders {}", quote(&names.join(",")));
        return Ok(Builder { share: names.clone(), spread, flag, ..Builder::default() });
    }
    let (remotes, kubes) = nodes(choice, place.config, &platforms);
    if platforms.is_empty() || (spread.nodes.is_empty() && *choice == Choice::Auto && fit::suits(place)?) {
        return Ok(Builder::default());
    }
    reachable(&kubes, plan)?;
    let here: Vec<String> =
        platforms.into_iter().filter(|platform| !spread.nodes.iter().any(|node| node.contains(platform))).collect();
    let own = if here.is_empty() { None } else { Some(container::ensure(place, &health::engine(place.runner)?)?) };
    let flag = if spread.nodes.is_empty() { " --builder container" } else { "" }.to_owned();
    let name = own.is_some().then(|| place.name());
    let mut builder = Builder { name, spread, flag, remotes, ..Builder::default() };
    if !builder.remotes.is_empty() {
        let (name, is_printed) = remote::ensure(place, &builder.remotes, own.as_deref().map(|own| (own, here.as_slice())))?;
        builder.name = Some(name);
        if !is_printed {
            builder.check(place.runner, "cannot reach", "")?;
        }
    }
    if !kubes.is_empty() {
        builder.cluster = Some(kubernetes::ensure(place, &kubes, &health::engine(place.runner)?)?);
    }
    Ok(builder)
}

/// Pods have a loopback of their own: they can't push to a registry on ours.
fn reachable(kubes: &[Kube], plan: &Plan) -> Result<()> {
    let pushed = plan.builds.iter().filter(|build| build.action == Action::Build && build.pushes_candidate());
    for build in pushed {
        let host = build.test.candidate.as_deref().and_then(|name| name.split('/').next()).unwrap_or_default();
        let kube = kubes.iter().find(|kube| kube.platforms.iter().any(|platform| build.platforms.contains(platform)));
        if let Some(kube) = kube.filter(|_| buildkitd::is_loopback(host)) {
            let said =
                format!("cannot use the builder of {}: {host} is this machine's own, and no pod can push to it", kube.title());
            return Err(Fault::not_ready(said).hint("`--builder container` builds everything on this machine").into());
        }
    }
    Ok(())
}

/// All of them are named that are not there, with what is.
fn all_exist(place: &Place<'_>, names: &[String]) -> Result<()> {
    let mut absent = Vec::new();
    for name in names {
        if place.found(name)?.is_none() {
            absent.push(name.as_str());
        }
    }
    if absent.is_empty() {
        return Ok(());
    }
    let others = others(names, &absent);
    let fault = Fault::not_ready(format!("cannot use the builders {}: there are none of these names{others}", absent.join(", ")));
    Err(fault.hint("`docker buildx ls` lists the builders that there are").into())
}

/// What still works, beside those that are gone.
fn others(all: &[String], gone: &[&str]) -> String {
    let there: Vec<&str> = all.iter().map(String::as_str).filter(|name| !gone.contains(name)).collect();
    if there.is_empty() { String::new() } else { format!(" ({} can be reached)", there.join(" and ")) }
}

/// The platforms that are built, each once.
fn platforms(plan: &Plan) -> Vec<String> {
    let built = plan.builds.iter().filter(|build| build.action == Action::Build);
    let mut platforms: Vec<String> = built.flat_map(|build| build.platforms.iter().cloned()).collect();
    platforms.sort();
    platforms.dedup();
    platforms
}

impl Builder {
    /// What buildx calls them; with several each builds a part. None: the one that it takes by itself.
    pub fn names(&self) -> Vec<&str> {
        let cluster = self.cluster.iter().map(|cluster| cluster.name.as_str());
        self.share.iter().map(String::as_str).chain(cluster).chain(self.name.as_deref()).collect()
    }

    /// Whether all of its nodes run; asked before a run of remote nodes, and when a bake ends without a reason.
    ///
    /// # Errors
    /// Not ready, naming the node that is gone and those that are there. `cannot`: "cannot reach", "lost"; `said`: the
    /// last words of the bake.
    pub fn check(&self, runner: &Runner, cannot: &str, said: &str) -> Result<()> {
        if !self.share.is_empty() {
            return self.check_all(runner, cannot, said);
        }
        if let Some(cluster) = &self.cluster {
            cluster.check(runner, cannot)?;
        }
        let Some(name) = &self.name else { return Ok(()) };
        let ask = docker::inspect_builder(Some(name));
        let exit = runner.output(&ask)?;
        if exit.ok() && docker::found(&exit.stdout).nodes.iter().all(|node| node.status == "running") {
            return Ok(());
        }
        if !exit.ok() {
            let said = exit.stderr.trim().lines().last().unwrap_or_default().trim_start_matches("ERROR: ");
            let fault = Fault::not_ready(format!("cannot use the builder {name}: {said}"));
            return Err(fault.hint("`docker buildx ls` lists the builders that there are").into());
        }
        let found = docker::found(&exit.stdout).nodes;
        if self.remotes.is_empty() {
            if found.iter().any(|node| node.status == "running") {
                // Somebody else's, of several nodes: which of them was needed is not known here.
                return Ok(());
            }
            let fault = Fault::not_ready(format!("{cannot} the builder {name}, which does not run: {said}"));
            return Err(fault.hint("run the same command again: it is started, and what it has cached is kept").into());
        }
        // Ours come in the order in which they were made; a container of ours is the last.
        let remote = |at: usize| self.remotes.get(at);
        let title = |at: usize| remote(at).map_or_else(|| "this machine".to_owned(), Remote::title);
        let (gone, there): (Vec<usize>, Vec<usize>) = (0..found.len()).partition(|at| found[*at].status != "running");
        let mut refused = None;
        let mut lines = Vec::new();
        for at in gone {
            let why = match (remote(at).and_then(Remote::dial), &refused) {
                (Some(why), _) => why,
                (None, Some(why)) => String::clone(why),
                (None, None) => refused.insert(self.why(runner, name)?).clone(),
            };
            lines.push(format!("of {}: {why}", title(at)));
        }
        let others = others(&there.into_iter().map(title).collect::<Vec<_>>(), &[]);
        let fault = Fault::not_ready(format!("{cannot} the builder {}{others}", lines.join("; ")));
        Err(fault.hint("see [builders] in images.toml; `--builder container` builds everything on this machine").into())
    }

    /// The same for several builders: which of them has no node that runs.
    fn check_all(&self, runner: &Runner, cannot: &str, said: &str) -> Result<()> {
        let mut gone = Vec::new();
        for name in &self.share {
            let exit = runner.output(&docker::inspect_builder(Some(name)))?;
            if !exit.ok() || !docker::found(&exit.stdout).nodes.iter().any(|node| node.status == "running") {
                gone.push(name.as_str());
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let others = others(&self.share, &gone);
        let fault = Fault::not_ready(format!("{cannot} the builder {}{others}: {said}", gone.join(" and ")));
        Err(fault.hint("start it and run the same command again, or leave it out of --builders").into())
    }

    /// What keeps away a node that listens: asked until the first attempt has failed, for buildx only says that it waited.
    fn why(&self, runner: &Runner, name: &str) -> Result<String> {
        let said = std::sync::Mutex::new(String::new());
        let cause = || said.lock().ok().and_then(|said| remote::cause(&said));
        let ask = docker::boot_builder(Effect::Probe, name).timeout(std::time::Duration::from_secs(25));
        let keep = |line: &str| {
            // The others can't be told apart, and were asked by us.
            if let (Ok(mut said), false) = (said.lock(), line.contains("dial tcp")) {
                said.push_str(line);
                said.push('\n');
            }
        };
        runner.stream_until(&ask, keep, || cause().is_some())?;
        Ok(cause().unwrap_or_else(|| "no answer".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_builders() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("container".parse(), Ok(Choice::Container));
        assert_eq!("farm".parse(), Ok(Choice::Named("farm".into())));
        assert!("".parse::<Choice>().is_err());
    }
}
