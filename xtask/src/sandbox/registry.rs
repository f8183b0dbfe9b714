//! The registry on loopback: its port, its configuration, and whether it answers.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::Utf8Path;
use rustix::process::Signal;

use super::packages::REGISTRY;
use super::paths::{Paths, make_dir, write};
use super::{http, process};
use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;

const PROGRAM: &str = "docker-registry";
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of a log when a command that uses the registry begins.
const LONGEST_LOG: u64 = 16_000_000;
/// Tried in this order: below the range from which the kernel takes ports for outgoing connections.
const PORTS: Range<u16> = 5000..5100;

/// The registry's port; it is started if it is not running well.
pub fn ensure(runner: &Runner, paths: &Paths) -> Result<u16> {
    let remembered = remembered(paths);
    let old = std::fs::read_to_string(config(paths)).ok();
    let old = old.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let same = |port: u16| old == Some(configuration(paths, port));
    if let Some(port) = remembered.filter(|&port| same(port) && answers(paths, port)) {
        return Ok(port);
    }
    stop(paths);
    let mut last = None;
    for port in candidates(remembered).filter(|&port| is_free(port)) {
        write(&paths.cache.join("port"), &port.to_string())?;
        match start(runner, paths, port) {
            Ok(()) => return Ok(port),
            // Somebody took the port after we looked: the next one.
            Err(error) if is_free(port) || last.is_some() => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Fault::not_ready("every loopback port is taken").into()))
}

/// The port that image names have had so far.
pub fn remembered(paths: &Paths) -> Option<u16> {
    std::fs::read_to_string(paths.cache.join("port")).ok()?.trim().parse().ok()
}

pub fn answers(paths: &Paths, port: u16) -> bool {
    process::named(&paths.run, PROGRAM).is_some() && http::get_port(port, "/v2/").is_ok_and(|status| status == 200)
}

pub fn has(port: u16, repository: &str, tag: &str) -> bool {
    http::get_port(port, &format!("/v2/{repository}/manifests/{tag}")).is_ok_and(|status| status == 200)
}

pub fn stop(paths: &Paths) {
    let ours = |process: &process::Process| process.name == PROGRAM && !process.container;
    for signal in [Signal::TERM, Signal::KILL] {
        let found: Vec<_> = process::ours(&paths.run).into_iter().filter(ours).collect();
        process::signal(&paths.run, &found, signal);
        if process::wait_gone(&paths.run, Duration::from_secs(3), ours) {
            return;
        }
    }
}

fn config(paths: &Paths) -> camino::Utf8PathBuf {
    paths.run.join("registry.json")
}

fn start(runner: &Runner, paths: &Paths, port: u16) -> Result<()> {
    make_dir(&paths.registry())?;
    let config = config(paths);
    write(&config, &configuration(paths, port).to_string())?;
    let program = paths.tools(REGISTRY.name).join("usr/bin").join(PROGRAM);
    let serve = Cmd::change(program.as_str(), "start the registry").args(["serve", config.as_str()]);
    let serve = serve.env("OTEL_TRACES_EXPORTER", "none").env(process::MARK, paths.run.as_str());
    runner.daemon(&serve, &paths.log("registry"))?;
    let started = Instant::now();
    while !answers(paths, port) {
        // A moment to become itself: until then it is `setsid`.
        let dead = started.elapsed() > Duration::from_secs(1) && process::named(&paths.run, PROGRAM).is_none();
        if dead || started.elapsed() > LIMIT {
            let hint = format!("read {}", paths.log("registry"));
            return Err(Fault::not_ready(format!("the registry does not start on port {port}")).hint(hint).into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Keeps the log of a daemon short: what is in it goes to `….1`, and the daemon, which appends, begins at its start.
pub fn rotate(log: &Utf8Path) -> Result<()> {
    if log.metadata().is_ok_and(|log| log.len() > LONGEST_LOG) {
        let cut = || -> std::io::Result<()> {
            std::fs::copy(log, format!("{log}.1"))?;
            File::options().write(true).open(log)?.set_len(0)
        };
        cut().with_context(|| format!("cannot shorten the log {log}"))?;
    }
    Ok(())
}

/// <https://distribution.github.io/distribution/about/configuration/>; YAML takes JSON.
fn configuration(paths: &Paths, port: u16) -> serde_json::Value {
    serde_json::json!({
        "version": "0.1",
        "log": { "level": "info", "formatter": "text" },
        "storage": { "filesystem": { "rootdirectory": paths.registry() }, "delete": { "enabled": true } },
        "http": { "addr": format!("127.0.0.1:{port}") },
    })
}

/// The remembered port first, so that image names stay what they were; port 0 in the end: any.
fn candidates(remembered: Option<u16>) -> impl Iterator<Item = u16> {
    remembered.into_iter().chain(PORTS.filter(move |&port| Some(port) != remembered)).chain((0..3).filter_map(|_| any_port()))
}

fn any_port() -> Option<u16> {
    Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port())
}

/// `localhost` is both addresses, so both must be free (where there is an IPv6 at all).
fn is_free(port: u16) -> bool {
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
    let taken = six.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse);
    !taken && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_shortened_while_its_daemon_writes() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let log = Utf8Path::from_path(folder.path()).unwrap().join("registry.log");
        let mut daemon = File::options().create(true).append(true).open(&log).unwrap();
        daemon.write_all(b"a\n").unwrap();
        rotate(&log).unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\n", "short as it is");
        for _ in 0..2 {
            daemon.write_all(&vec![b'x'; LONGEST_LOG as usize]).unwrap();
            rotate(&log).unwrap();
            daemon.write_all(b"b\n").unwrap();
            assert_eq!(std::fs::read_to_string(&log).unwrap(), "b\n");
        }
        assert!(std::fs::metadata(format!("{log}.1")).unwrap().len() <= LONGEST_LOG + 2);
    }

    #[test]
    fn the_remembered_port_comes_first_and_once() {
        let ports: Vec<u16> = candidates(Some(5003)).take(5).collect();
        assert_eq!(ports, [5003, 5000, 5001, 5002, 5004]);
        assert_eq!(candidates(None).next(), Some(5000));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
