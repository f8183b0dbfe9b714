//! The private engine: its configuration, start, health and end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::mounts::{remove_tree, unmount_below};
use super::packages::{ENGINE, REGISTRY};
use super::paths::{Paths, make_dir, remove_file, var, write};
use super::process::{self, Process};
use super::{http, network};
use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;

const LIMIT: Duration = Duration::from_secs(60);

/// Starts the engine with the registry on `port` as its mirror, unless it runs well with just that: whether it did.
pub fn ensure(runner: &Runner, paths: &Paths, port: u16) -> Result<bool> {
    let config = paths.run.join("dockerd.json");
    let text = configuration(paths, port).to_string();
    let same = std::fs::read_to_string(&config).is_ok_and(|old| old == text);
    if same && answers(paths) {
        return Ok(false);
    }
    stop(runner, paths)?;
    if let Some(pid) = process::foreign_engine(&paths.run) {
        let fault = Fault::not_ready(format!("another dockerd runs here (process {pid}), and two break each other's network"));
        return Err(fault.hint("stop it, or point DOCKER_HOST at it and use `--engine host`").into());
    }
    network::remember(runner, paths)?;
    write(&config, &text)?;
    write_client_config(paths)?;
    make_dir(&paths.data())?;
    let root = paths.tools(ENGINE.name);
    let path = format!("{root}/sbin:{root}/usr/sbin:{root}/usr/bin:{}", var("PATH").unwrap_or_default());
    let dockerd =
        Cmd::change(root.join("usr/sbin/dockerd").as_str(), "start the engine").args(["--config-file", config.as_str()]);
    let dockerd = network::with_libraries(dockerd, &root).env("PATH", path).env(process::MARK, paths.run.as_str());
    runner.daemon(&dockerd, &paths.log("dockerd"))?;
    wait(runner, paths)?;
    Ok(true)
}

/// Both daemons run and the engine answers. It does so without its containerd too, and then fails every build.
pub fn answers(paths: &Paths) -> bool {
    let ours = process::ours(&paths.run);
    let runs = |name: &str| ours.iter().any(|process| !process.container && process.name == name);
    runs("dockerd") && runs("containerd") && http::get_socket(&paths.socket(), "/_ping").is_ok_and(|status| status == 200)
}

fn wait(runner: &Runner, paths: &Paths) -> Result<()> {
    let started = Instant::now();
    while !answers(paths) {
        if runner.is_interrupted() {
            return Err(Fault::interrupted().into());
        }
        let dead = started.elapsed() > Duration::from_secs(2) && process::named(&paths.run, "dockerd").is_none();
        if dead || started.elapsed() > LIMIT {
            let log = paths.log("dockerd");
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            return Err(Fault::not_ready(format!("the engine does not start: {last}")).hint(format!("read {log}")).into());
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Ends the engine with all its containers, takes off its mounts, and puts the network back.
pub fn stop(runner: &Runner, paths: &Paths) -> Result<()> {
    // It stops its containers itself; the rest is for what a killed engine left behind.
    let engine = |process: &Process| process.name == "dockerd" && !process.container;
    let select = |wanted: &dyn Fn(&Process) -> bool| process::ours(&paths.run).into_iter().filter(wanted).collect::<Vec<_>>();
    process::signal(&paths.run, &select(&engine), Signal::TERM);
    process::wait_gone(&paths.run, Duration::from_secs(20), engine);
    let rest = |process: &Process| process.name != "docker-registry" || process.container;
    for signal in [Signal::TERM, Signal::KILL, Signal::KILL] {
        let found = select(&rest);
        let gentle = signal == Signal::TERM;
        let found = found.into_iter().filter(|process| !gentle || process.name == "containerd").collect::<Vec<_>>();
        process::signal(&paths.run, &found, signal);
        let limit = Duration::from_secs(if gentle { 3 } else { 10 });
        if process::wait_gone(&paths.run, limit, |process| rest(process) && (!gentle || process.name == "containerd")) && !gentle
        {
            break;
        }
    }
    if let Some(left) = process::ours(&paths.run).into_iter().find(rest) {
        return Err(Fault::failed(format!("cannot end {} (process {})", left.name, left.pid)).into());
    }
    unmount_below(runner, &paths.data())?;
    remove_tree(runner, &paths.run.join("exec"))?;
    for file in ["docker.sock", "docker.pid", "dockerd.json"] {
        remove_file(&paths.run.join(file))?;
    }
    network::restore(runner, paths)?;
    remove_cgroups();
    Ok(())
}

/// Empty groups of ours below each controller; a group that is in use refuses.
fn remove_cgroups() {
    let top = Utf8Path::new("/sys/fs/cgroup");
    let controllers = top.read_dir_utf8().into_iter().flatten().flatten().map(|entry| entry.path().to_owned());
    for controller in controllers.chain([top.to_owned()]) {
        network::remove_empty(&controller.join(process::CGROUP.trim_start_matches('/')));
    }
}

/// <https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file>
fn configuration(paths: &Paths, port: u16) -> Value {
    let root = paths.tools(ENGINE.name);
    json!({
        "hosts": [format!("unix://{}", paths.socket())],
        "group": "root",
        "data-root": paths.data(),
        "exec-root": paths.run.join("exec"),
        "pidfile": paths.run.join("docker.pid"),
        "features": { "containerd-snapshotter": true },
        "registry-mirrors": [format!("http://127.0.0.1:{port}")],
        "insecure-registries": ["127.0.0.0/8"],
        "cgroup-parent": process::CGROUP,
        "init-path": root.join("usr/bin/tini-static"),
        "userland-proxy-path": root.join("usr/sbin/docker-proxy"),
        // Fewer traces to put back: no IPv6 rules, and the policy of FORWARD stays what it was.
        "ip6tables": false,
        "ip-forward-no-drop": true,
        "shutdown-timeout": 5,
        // By default a disk that is four fifths full, whosever files those are, empties the cache after every build.
        "builder": { "gc": {
            "enabled": true,
            "defaultReservedSpace": "20GB",
            "defaultMaxUsedSpace": "40GB",
            "defaultMinFreeSpace": "1GB",
        } },
    })
}

/// The client's: plugins from the packages, and the proxy that this machine needs. A login made in the sandbox stays.
fn write_client_config(paths: &Paths) -> Result<()> {
    let dir = paths.docker_config();
    make_dir(&dir)?;
    let file = dir.join("config.json");
    let old = std::fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let mut config = old.filter(Value::is_object).unwrap_or_else(|| json!({}));
    let plugins = paths.tools(ENGINE.name).join("usr/libexec/docker/cli-plugins");
    config["cliPluginsExtraDirs"] = json!([plugins]);
    let proxies = proxies(|name| var(name).or_else(|| var(&name.to_lowercase())));
    config["proxies"] = json!({ "default": proxies });
    write(&file, &config.to_string()).context("cannot configure the docker client")
}

fn proxies(get: impl Fn(&str) -> Option<String>) -> Value {
    let names = [("httpProxy", "HTTP_PROXY"), ("httpsProxy", "HTTPS_PROXY"), ("ftpProxy", "FTP_PROXY"), ("noProxy", "NO_PROXY")];
    names
        .into_iter()
        .filter_map(|(key, name)| Some((key.to_owned(), Value::String(get(name)?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Where the client's programs are, for PATH.
pub fn client_path(paths: &Paths) -> String {
    let own = [ENGINE.name, REGISTRY.name].map(|set| format!("{}/bin:", paths.tools(set))).concat();
    let path = var("PATH").unwrap_or_default();
    // `sandbox env` may have put it there already.
    if path.starts_with(&own) { path } else { own + &path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_passed_on_under_the_names_of_the_client() {
        let get = |name: &str| (name == "HTTPS_PROXY").then(|| "http://proxy.example:3128".to_owned());
        assert_eq!(proxies(get), json!({ "httpsProxy": "http://proxy.example:3128" }));
        assert_eq!(proxies(|_| None), json!({}));
    }
}
