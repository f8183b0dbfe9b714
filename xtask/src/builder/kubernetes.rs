//! Nodes of `[builders]` in Kubernetes: BuildKit that buildx starts in clusters, put together as one builder.
//!
//! buildx has a driver for this, and a builder has one driver: what is built elsewhere has a builder of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::container::short;
use super::kubeconfig::{self, Picked};
use super::spread::suffix;
use super::{Place, boot, buildkitd, container, remove_lost, write};
use crate::config::{Env, types};
use crate::docker::{self, BUILDKIT};
use crate::error::Fault;
use crate::exec::Runner;
use crate::registry::{Live, Peek};
use crate::{build, credentials, report};

const DRIVER: &str = "kubernetes";
/// How long buildx waits for pods, unless the option says another.
const READY: Duration = Duration::from_secs(120);

/// What is started in a cluster, and the platforms that are built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kube {
    pub platforms: Vec<String>,
    /// "": the current one.
    pub context: String,
    pub kubeconfig: Option<String>,
    pub options: BTreeMap<String, String>,
}

/// The nodes that build some of `platforms`; two platforms with the same definition are one node, also where one of them
/// is not built: it keeps its name, its pods and their cache.
pub fn nodes(builders: &BTreeMap<String, types::Builder>, platforms: &[String]) -> Vec<Kube> {
    let mut nodes: Vec<Kube> = Vec::new();
    for (platform, builder) in builders {
        let types::Builder { kubernetes: Some(context), kubeconfig, options, .. } = builder.clone() else { continue };
        let same = |old: &&mut Kube| (&old.context, &old.kubeconfig, &old.options) == (&context, &kubeconfig, &options);
        match nodes.iter_mut().find(same) {
            Some(old) => old.platforms.push(platform.clone()),
            None => nodes.push(Kube { platforms: vec![platform.clone()], context, kubeconfig, options }),
        }
    }
    nodes.retain(|node| node.platforms.iter().any(|platform| platforms.contains(platform)));
    nodes
}

/// The builder of a run, and its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub nodes: Vec<Pods>,
}

/// A node: a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub name: String,
    pub platforms: Vec<String>,
    /// `linux/arm64 in the cluster of farm`
    pub title: String,
    /// How long they may take until they are ready.
    pub patience: Duration,
    /// The command that tells why they are not.
    pub describe: String,
}

impl Kube {
    pub fn title(&self) -> String {
        let context = if self.context.is_empty() { "the current context" } else { &self.context };
        format!("{} in the cluster of {context}", self.platforms.join(", "))
    }

    /// Its context, alone in a file; `None`: we run in a pod of the cluster, which needs none.
    ///
    /// # Errors
    /// Not ready: there is no kubeconfig, or no such context in it.
    pub fn access(&self, env: &Env, repo: &Utf8Path) -> Result<Option<Picked>> {
        let fault = |why: String| Fault::not_ready(format!("cannot use the builder of {}: {why}", self.title()));
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let files = |value: &str| value.split(':').filter(|path| !path.is_empty()).map(|path| repo.join(path)).collect();
        let paths: Vec<Utf8PathBuf> = match self.kubeconfig.as_deref().map(|text| (text, super::remote::variable(text))) {
            Some((text, None)) => vec![repo.join(text)],
            Some((text, Some(name))) => {
                let unset =
                    || fault(format!("{text} is not set")).hint(format!("export {name}=…, the kubeconfig's path or its text"));
                let value = set(name).ok_or_else(unset)?;
                if value.contains(['\n', '{']) {
                    return Ok(Some(kubeconfig::pick(&[(text.into(), value.clone())], &self.context).map_err(fault)?));
                }
                files(value)
            }
            None => match (set("KUBECONFIG"), set("HOME")) {
                (Some(value), _) => files(value),
                (None, home) => home.map(|home| Utf8PathBuf::from(home).join(".kube/config")).into_iter().collect(),
            },
        };
        let mut read = Vec::new();
        for path in paths.iter().filter(|path| path.exists()) {
            let text = std::fs::read_to_string(path).map_err(|error| fault(format!("cannot read {path}: {error}")))?;
            read.push((path.clone(), text));
        }
        if read.is_empty() {
            if self.context.is_empty() && self.kubeconfig.is_none() && set("KUBERNETES_SERVICE_HOST").is_some() {
                return Ok(None);
            }
            let paths = paths.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(" and ");
            let fault = fault(format!("there is no kubeconfig at {paths}"));
            return Err(fault.hint("export KUBECONFIG=…, or `--builder container` builds everything on this machine").into());
        }
        let hint = "`kubectl config get-contexts` lists the contexts; `--builder container` builds everything on this machine";
        Ok(Some(kubeconfig::pick(&read, &self.context).map_err(|why| fault(why).hint(hint))?))
    }

    fn is_rootless(&self) -> bool {
        self.options.get("rootless").is_some_and(|value| value == "true")
    }

    fn patience(&self) -> Duration {
        self.options.get("timeout").and_then(|text| humantime::parse_duration(text).ok()).unwrap_or(READY)
    }

    /// What buildx is told, but for the image.
    fn driver_options(&self) -> Vec<String> {
        let option = |(name, value): (&String, &String)| match name.as_str() {
            // Go has no "1h 30m".
            "timeout" => format!("timeout={}s", self.patience().as_secs().max(1)),
            _ => format!("{name}={value}"),
        };
        self.options.iter().map(option).collect()
    }
}

/// A node before it is made.
struct Prepared {
    pods: Pods,
    node: docker::Node,
    rootless: bool,
    picked: Option<Picked>,
}

/// Where the contexts of a checkout lie, each alone: buildx reads them whenever it uses the builder.
fn folder(place: &Place<'_>) -> Result<Utf8PathBuf> {
    Ok(credentials::secrets(place.env, place.repo)?.join("builders"))
}

/// `made_of`: what all nodes are made of.
fn prepare(place: &Place<'_>, kube: &Kube, made_of: &[&str]) -> Result<Prepared> {
    let picked = kube.access(place.env, place.repo)?;
    let options = kube.driver_options();
    let written = options.join("\n");
    let (context, server, own) = picked.as_ref().map_or(("", "", ""), |found| (&found.context, &found.server, &found.namespace));
    let platforms = kube.platforms.join(",");
    // Its credentials may change every hour: what they are for does not.
    let parts = [&[platforms.as_str(), context, server, own, &written, BUILDKIT.0, BUILDKIT.1], made_of].concat();
    // The name is one of Kubernetes too: short, and without `_`.
    let name = format!("{}-{}-{}", place.name(), suffix(&kube.platforms[..1]), short(&parts));
    let file = picked.is_some().then(|| folder(place)).transpose()?.map(|folder| folder.join(file_name(&name)));
    let namespace = kube.options.get("namespace").map_or(own, String::as_str);
    let flags = [("--context", context), ("--namespace", namespace)];
    let flags: String =
        flags.iter().filter(|(_, value)| !value.is_empty()).map(|(flag, value)| format!("{flag} {value} ")).collect();
    let pods = Pods {
        name: name.clone(),
        platforms: kube.platforms.clone(),
        title: kube.title(),
        patience: kube.patience(),
        describe: format!("kubectl {flags}describe pods -l app={name}"),
    };
    let kubeconfig = Some(file.map(Utf8PathBuf::into_string).unwrap_or_default());
    let node = docker::Node { name, platforms: kube.platforms.clone(), options, endpoint: None, kubeconfig };
    Ok(Prepared { pods, node, rootless: kube.is_rootless(), picked })
}

fn file_name(node: &str) -> String {
    format!("{node}.kubeconfig")
}

/// The builder of these nodes, which run when this returns.
///
/// # Errors
/// Not ready: a cluster that can't be reached, or refuses us, or whose pods are not ready in time.
pub fn ensure(place: &Place<'_>, kubes: &[Kube], info: &serde_json::Value) -> Result<Cluster> {
    let (registries, mut made_of) = container::registries(info);
    let text = buildkitd::text(&buildkitd::elsewhere(registries));
    made_of.push(text.clone());
    let made_of: Vec<&str> = made_of.iter().map(String::as_str).collect();
    let mut nodes = kubes.iter().map(|kube| prepare(place, kube, &made_of)).collect::<Result<Vec<_>>>()?;
    for node in &nodes {
        if let Some(picked) = &node.picked {
            write(place, &folder(place)?, &file_name(&node.node.name), &picked.text)?;
        }
    }
    let name = format!("{}{}", place.name(), docker::IN_CLUSTERS);
    let cluster = Cluster { name: name.clone(), nodes: nodes.iter().map(|node| node.pods.clone()).collect() };
    let found = place.found(&name)?;
    // Of a node that runs buildx lists its pods, each by the name of the node.
    let mut names: Vec<&str> = found.iter().flat_map(|found| &found.nodes).map(|node| node.name.as_str()).collect();
    names.dedup();
    let mut pending = cluster.nodes.clone();
    let mut is_printed = false;
    // It may have nodes that this run needs not: their caches are for the next.
    if found.is_some() && nodes.iter().all(|node| names.contains(&node.node.name.as_str())) {
        let runs = |pods: &Pods| {
            found.iter().flat_map(|found| &found.nodes).any(|node| node.name == pods.name && node.status == "running")
        };
        pending.retain(|pods| !runs(pods));
        if pending.is_empty() {
            return Ok(cluster);
        }
    } else {
        remove_lost(place, &name, found.is_some())?;
        forget(place, &cluster)?;
        let config = place.repo.join(build::FOLDER).join("buildkitd-kube.toml");
        write(place, &place.repo.join(build::FOLDER), "buildkitd-kube.toml", &text)?;
        report::note(&format!("making the builder {name} ({DRIVER}, BuildKit {})", BUILDKIT.1));
        for (at, prepared) in nodes.iter_mut().enumerate() {
            if !prepared.node.options.iter().any(|option| option.starts_with("image=")) {
                prepared.node.options.insert(0, format!("image={}", image(place, prepared.rootless)?));
            }
            let create = docker::create_builder(&name, DRIVER, &prepared.node, Some(&config), at > 0);
            let exit = place.runner.output(&create)?;
            is_printed |= exit.skipped;
            if !exit.ok() {
                let why = exit.stderr.lines().rev().find_map(|line| Some(line.split_once("ERROR: ")?.1.to_owned()));
                let why = why.unwrap_or_else(|| exit.reason(&create));
                let fault = Fault::not_ready(format!("cannot make the builder of {}: {why}", prepared.pods.title));
                return Err(fault.hint("see [builders] in images.toml").into());
            }
        }
    }
    is_printed |= boot::run(place.runner, &cluster, &pending)?;
    if !is_printed {
        cluster.check(place.runner, "cannot use")?;
    }
    Ok(cluster)
}

/// The contexts of nodes that are no more.
fn forget(place: &Place<'_>, cluster: &Cluster) -> Result<()> {
    let folder = folder(place)?;
    for file in folder.read_dir_utf8().into_iter().flatten().flatten() {
        let is_ours = |pods: &Pods| file_name(&pods.name) == file.file_name();
        if file.file_name().ends_with(&file_name("")) && !cluster.nodes.iter().any(is_ours) {
            super::delete(place, file.path())?;
        }
    }
    Ok(())
}

/// BuildKit by the digest that its tag has now, as a cluster elsewhere can have it.
fn image(place: &Place<'_>, rootless: bool) -> Result<String> {
    let (name, version) = (BUILDKIT.0, format!("{}{}", BUILDKIT.1, if rootless { "-rootless" } else { "" }));
    let reference = format!("docker.io/{name}:{version}");
    match Live::new(place.runner).peek(&reference) {
        Peek::Is(digest) => Ok(format!("docker.io/{name}@{digest}")),
        // The sandbox makes an image of its own, which no cluster has.
        _ if place.private => {
            let fault = Fault::not_ready(format!("cannot make a builder: cannot ask for the digest of {reference}"));
            Err(fault.hint("name one that the cluster can fetch: options = { image = \"NAME@sha256:…\" }").into())
        }
        _ => container::image(place, &version),
    }
}

impl Cluster {
    pub fn builds(&self, platform: &str) -> bool {
        self.nodes.iter().any(|pods| pods.platforms.iter().any(|own| own == platform))
    }

    /// Whether all of its nodes run.
    ///
    /// # Errors
    /// Not ready, naming the node that is gone and those that are there. `cannot`: "cannot use", "lost".
    pub fn check(&self, runner: &Runner, cannot: &str) -> Result<()> {
        let ask = docker::inspect_builder(Some(&self.name));
        let exit = runner.output(&ask)?;
        let found = docker::found(&exit.stdout).nodes;
        let why = |pods: &Pods| match found.iter().find(|node| node.name == pods.name) {
            Some(node) if node.status == "running" => None,
            Some(node) if !node.error.is_empty() => Some(boot::plain(&node.error)),
            Some(node) if node.status == "stopped" => Some("none of its pods is ready".into()),
            Some(_) => Some("its pods are gone, or the cluster is out of reach".into()),
            None if exit.ok() => Some("buildx does not know it".into()),
            None => Some(exit.stderr.trim().lines().last().unwrap_or("no answer").trim_start_matches("ERROR: ").to_owned()),
        };
        let gone: Vec<(&Pods, String)> = self.nodes.iter().filter_map(|pods| Some((pods, why(pods)?))).collect();
        if gone.is_empty() { Ok(()) } else { Err(self.fault(cannot, &gone, false).into()) }
    }

    /// Which nodes are gone and why, and which are there.
    pub fn fault(&self, cannot: &str, gone: &[(&Pods, String)], late: bool) -> Fault {
        let lines: Vec<String> = gone.iter().map(|(pods, why)| format!("of {}: {why}", pods.title)).collect();
        let titles: Vec<String> = self.nodes.iter().map(|pods| pods.title.clone()).collect();
        let lost: Vec<&str> = gone.iter().map(|(pods, _)| pods.title.as_str()).collect();
        let others = super::others(&titles, &lost);
        let fault = Fault::not_ready(format!("{cannot} the builder {}{others}", lines.join("; ")));
        match gone.first().filter(|_| late) {
            Some((pods, _)) => fault.hint(format!(
                "`{}` says why; options = {{ timeout = \"10m\" }} waits longer; `--builder container` builds everything on this machine",
                pods.describe
            )),
            None => fault.hint("see [builders] in images.toml; `--builder container` builds everything on this machine"),
        }
    }
}
