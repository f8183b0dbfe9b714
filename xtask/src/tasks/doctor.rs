//! `doctor`: every tool, the engine, the registry, the login and the disk, all at once, with a fix for each fault.

use anyhow::Result;
use serde::Serialize;

use crate::builder::kubernetes::{self, Kube};
use crate::config::Config;
use crate::context::Context;
use crate::error::Fault;
use crate::scan::database::{self, Ready};
use crate::{credentials, docker, facts, report, sandbox};

/// Builds of a matrix need room for their layers and for what the engine unpacks.
const DISK_GIB: u64 = 10;

#[derive(clap::Args, Debug)]
pub struct Args {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    /// Something that the main job does without.
    Optional,
    /// The main job cannot run.
    Missing,
}

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    state: State,
    found: String,
    /// "" where there is nothing to do.
    fix: String,
}

impl Row {
    fn ok(what: &'static str, found: impl Into<String>) -> Row {
        Row { what, state: State::Ok, found: found.into(), fix: String::new() }
    }

    fn optional(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Row {
        Row { what, state: State::Optional, found: found.into(), fix: fix.into() }
    }

    fn missing(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Row {
        Row { what, state: State::Missing, found: found.into(), fix: fix.into() }
    }
}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let mut rows = vec![git(context), config(context)];
    rows.extend(engine(context));
    if let Ok(config) = context.config() {
        rows.extend([registry(config), login(context, config), emulation(context, config)]);
        rows.extend(compose(context, config));
    }
    rows.extend(trivy(context));
    rows.extend(builders(context));
    rows.extend(extras(context));
    rows.push(disk(context));
    if context.json {
        report::data(&rows)?;
    } else {
        report::result(&table(&rows));
    }
    let missing: Vec<&str> = rows.iter().filter(|row| row.state == State::Missing).map(|row| row.what).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault::not_ready(format!("`ci-build --mode test` cannot run on this machine: {}", missing.join(", "))).into())
}

fn table(rows: &[Row]) -> String {
    let mut cells = Vec::new();
    for row in rows {
        let mark = match row.state {
            State::Ok => "ok",
            State::Optional => "-",
            State::Missing => "MISSING",
        };
        let fix = if row.fix.is_empty() { String::new() } else { format!("fix: {}", row.fix) };
        cells.push(vec![mark.to_owned(), row.what.to_owned(), row.found.clone(), fix]);
    }
    report::table(&cells)
}

fn git(context: &Context) -> Row {
    match context.runner.read(&crate::git::version()) {
        Ok(version) => Row::ok("git", version),
        Err(_) => Row::missing("git", "not found", "install git"),
    }
}

fn config(context: &Context) -> Row {
    match context.config() {
        Ok(config) => Row::ok("configuration", format!("{}, {} builds", config.file, config.builds.len())),
        Err(error) => {
            let first = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
            Row::missing("configuration", first, "run `cargo xtask plan` for all faults")
        }
    }
}

/// The Docker that answers with its buildx, else the sandbox or what it lacks.
fn engine(context: &Context) -> Vec<Row> {
    let answer = context.runner.output(&docker::info());
    let info = answer.ok().filter(|exit| exit.ok()).and_then(|exit| serde_json::from_str::<serde_json::Value>(&exit.stdout).ok());
    let info = info.filter(|info| info["ServerVersion"].is_string());
    let Some(info) = info else { return vec![private_engine(context)] };
    let text = |key: &str| info[key].as_str().unwrap_or("?").to_owned();
    let mut rows = vec![Row::ok("engine", format!("Docker {}, storage {}", text("ServerVersion"), text("Driver")))];
    rows.push(if info["DriverStatus"].to_string().contains("io.containerd.snapshotter") {
        Row::ok("image store", "containerd")
    } else {
        let fix = "set `\"features\": {\"containerd-snapshotter\": true}` in the engine's daemon.json";
        Row::optional("image store", "not containerd's: builds go through a container that is made for them", fix)
    });
    let buildx = context.runner.output(&docker::buildx_version()).ok().filter(|exit| exit.ok());
    rows.push(match buildx {
        Some(exit) => Row::ok("buildx", exit.stdout.trim()),
        None => Row::missing("buildx", "docker has no buildx", "install docker-buildx-plugin (package docker-buildx on Debian)"),
    });
    rows
}

fn private_engine(context: &Context) -> Row {
    if !context.may_use_sandbox() {
        return Row::missing("engine", "no Docker answers", "start Docker, or leave `--engine host` out");
    }
    match sandbox::suitable(&context.runner) {
        Ok(()) => Row::ok("engine", "no Docker answers: the sandbox will be started"),
        Err(error) => Row::missing("engine", format!("no Docker answers, and no sandbox: {error:#}"), "start Docker"),
    }
}

/// Compose, where a check needs it.
fn compose(context: &Context, config: &Config) -> Option<Row> {
    let (name, _) = config.checks.iter().find(|(_, check)| check.compose.is_some())?;
    let found = context.runner.output(&docker::compose::version()).ok().filter(|exit| exit.ok());
    Some(match found {
        Some(exit) => Row::ok("compose", exit.stdout.trim()),
        None => Row::optional(
            "compose",
            format!("docker has no compose, which check {name} needs"),
            "install docker-compose-plugin (package docker-compose on Debian)",
        ),
    })
}

fn registry(config: &Config) -> Row {
    match (&config.registry_unset, config.registry.as_str()) {
        (Some(name), _) => Row::optional("registry", format!("${{{name}}} is not set"), format!("export {name}=…, to publish")),
        (None, "") => Row::optional("registry", "none: images stay local", "add `registry` to publish"),
        (None, registry) => Row::ok("registry", format!("{registry}/{}", config.namespace)),
    }
}

/// Whether the variables are set; never what they hold.
fn login(context: &Context, config: &Config) -> Row {
    match credentials::variables(config, &context.env) {
        Ok((user, password)) => Row::ok("login", format!("{user} and {password} are set")),
        Err(names) => Row::optional("login", format!("{} not set", names.join(", ")), "only needed to publish"),
    }
}

/// The builders that runs have made, and the nodes of `[builders]` that none has used yet.
fn builders(context: &Context) -> Vec<Row> {
    let listed = context.runner.output(&docker::builders()).ok().filter(|exit| exit.ok());
    let ours = listed.map(|exit| docker::ours(&exit.stdout)).unwrap_or_default();
    let mut rows = Vec::new();
    for builder in &ours {
        let node = |(endpoint, status, image): &(String, String, Option<String>)| {
            format!("{} {status}", image.as_ref().unwrap_or(endpoint))
        };
        let nodes: Vec<String> = builder.nodes.iter().map(node).collect();
        let found = format!("{} ({}): {}", builder.name, builder.driver, nodes.join(", "));
        let runs = builder.nodes.iter().all(|(_, status, _)| status == "running");
        rows.push(match (runs, builder.driver.as_str()) {
            (false, "remote") => Row::optional("builder", found, "start its nodes; see [builders] in images.toml"),
            // A container, and pods, are started by the run that needs them.
            _ => Row::ok("builder", found),
        });
    }
    let known = |address: &str| ours.iter().flat_map(|ours| &ours.nodes).any(|(endpoint, ..)| endpoint == address);
    let Ok(config) = context.config() else { return rows };
    let nodes = config.builders.iter().filter_map(|(platform, builder)| Some((platform, builder.address.as_deref()?)));
    let unused = nodes.filter(|(_, address)| !known(address));
    rows.extend(unused.map(|(platform, address)| Row::ok("builder", format!("{platform} at {address}: not used yet"))));
    let platforms: Vec<String> = config.builders.keys().cloned().collect();
    rows.extend(kubernetes::nodes(&config.builders, &platforms).iter().map(|kube| pods(context, kube)));
    rows
}

/// Whether a context is there; the cluster itself is asked by the run that needs it.
fn pods(context: &Context, kube: &Kube) -> Row {
    match kube.access(&context.env, &context.repo) {
        Ok(Some(picked)) => Row::ok("builder", format!("{}: {} by {}", kube.title(), picked.server, picked.context)),
        Ok(None) => Row::ok("builder", format!("{}: the one that we run in", kube.title())),
        Err(error) => {
            let hint = error.downcast_ref::<Fault>().and_then(|fault| fault.hint.clone()).unwrap_or_default();
            Row::optional("builder", format!("{error:#}"), hint)
        }
    }
}

fn emulation(context: &Context, config: &Config) -> Row {
    let own = facts::host_platform();
    let mut foreign: Vec<&str> = config.builds.iter().flat_map(|build| &build.platforms).map(String::as_str).collect();
    foreign.retain(|platform| !facts::is_native(platform) && !config.builders.contains_key(*platform));
    foreign.sort_unstable();
    foreign.dedup();
    let registered = |platform: &&str| facts::emulates(platform);
    let lacking: Vec<&str> = foreign.iter().copied().filter(|platform| !registered(platform)).collect();
    match (foreign.as_slice(), lacking.as_slice()) {
        ([], _) => Row::ok("platforms", own),
        (_, []) => Row::ok("platforms", format!("{own}, emulated: {}", foreign.join(", "))),
        (_, lacking) if context.is_sandboxed() => {
            Row::ok("platforms", format!("{own}; the sandbox will bring {} when it is built for", lacking.join(", ")))
        }
        (_, lacking) => Row::optional(
            "platforms",
            format!("no emulation of {}", lacking.join(", ")),
            "install qemu-user-static and binfmt-support, or run `docker run --privileged --rm tonistiigi/binfmt --install all`",
        ),
    }
}

/// Listed where `[scan]` makes it a step of the pipeline.
fn trivy(context: &Context) -> Option<Row> {
    context.config().ok().filter(|config| config.scan.is_some())?;
    Some(match database::look(&context.runner) {
        Ok(Ready { database: Some(database), .. }) => {
            Row::ok("trivy", format!("its database was made {}", database::age(&database.updated, &facts::now())))
        }
        Ok(_) => Row::ok("trivy", "no vulnerability database yet: `scan` brings it"),
        Err(error) => {
            let hint = error.downcast_ref::<Fault>().and_then(|fault| fault.hint.clone()).unwrap_or_default();
            Row::optional("trivy", format!("{error:#}, and `ci` stops there"), hint)
        }
    })
}

fn extras(context: &Context) -> Vec<Row> {
    let extra = |what, fix| match context.runner.which(what) {
        Some(path) => Row::ok(what, path),
        None => Row::optional(what, "not found", fix),
    };
    let mut rows = vec![extra("crane", "only to release a version, to rehearse that, or to clean up; reads registries faster")];
    if context.config().is_ok_and(|config| config.retention.is_some() && config.registry == "ghcr.io") {
        rows.push(extra("gh", "for [retention]: https://cli.github.com"));
    }
    rows
}

fn disk(context: &Context) -> Row {
    match rustix::fs::statvfs(context.repo.as_std_path()) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize / (1 << 30);
            let found = format!("{free} GiB free at {}", context.repo);
            if free < DISK_GIB { Row::missing("disk", found, format!("free {DISK_GIB} GiB")) } else { Row::ok("disk", found) }
        }
        Err(error) => Row::optional("disk", format!("cannot tell: {error}"), ""),
    }
}
