//! What the engine does to this machine's network, remembered before and put back after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::packages::ENGINE;
use super::paths::{Paths, remove_file, write};
use crate::cmd::Cmd;
use crate::exec::Runner;

/// Kernel settings that dockerd may change.
const SETTINGS: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
];

/// Folders that the engine makes whatever it is told, and leaves without anything of use.
const FOLDERS: &[&str] = &["/run/containerd", "/run/docker", "/run/runc"];

/// The network as it was before the engine's first start since it was last put back.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Before {
    /// Of this boot only: after another one nothing of ours is left.
    boot: String,
    settings: BTreeMap<String, String>,
    bridges: BTreeSet<String>,
    rules: String,
    /// Folders that were not there.
    absent: Vec<Utf8PathBuf>,
}

/// Notes how things are, unless an engine that was killed left its changes behind: then the older note counts.
pub fn remember(runner: &Runner, paths: &Paths) -> Result<()> {
    let boot = boot();
    if read(paths).is_some_and(|before| before.boot == boot) {
        return Ok(());
    }
    let value = |name: &&str| Some(((*name).to_owned(), fs::read_to_string(setting(name)).ok()?.trim().to_owned()));
    let settings = SETTINGS.iter().filter_map(value).collect();
    let absent = FOLDERS.iter().map(Utf8PathBuf::from).filter(|dir| !dir.exists()).collect();
    let before = Before { boot, settings, bridges: bridges(), rules: rules(runner, paths)?, absent };
    write(&paths.run.join("network.json"), &serde_json::to_string(&before)?)
}

/// Puts back what [`remember`] noted: settings, bridges, rules. Nothing noted, nothing done.
pub fn restore(runner: &Runner, paths: &Paths) -> Result<()> {
    let Some(before) = read(paths) else { return Ok(()) };
    if before.boot == boot() {
        for bridge in bridges().difference(&before.bridges).filter(|name| is_dockers(name)) {
            runner.read(&Cmd::cleanup("ip", "remove the engine's bridge").args(["link", "delete", bridge]))?;
        }
        let undo = undo(&before.rules, &rules(runner, paths)?);
        if !undo.is_empty() {
            runner.read(&firewall(paths, "iptables-restore", "remove the engine's rules").arg("--noflush").stdin(undo))?;
        }
        for table in new_and_empty(&before.rules, &rules(runner, paths)?) {
            let delete = firewall(paths, "nft", "remove an empty table").args(["delete", "table", "ip", &table]);
            if runner.which(&delete.program).is_some() {
                runner.read(&delete)?;
            }
        }
        before.absent.iter().for_each(|dir| remove_empty(dir));
        for (name, value) in &before.settings {
            let path = setting(name);
            if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
                fs::write(&path, value).with_context(|| format!("cannot put {path} back to {value}"))?;
            }
        }
    }
    remove_file(&paths.run.join("network.json"))
}

/// The unpacked iptables needs its libraries and extensions.
pub fn with_libraries(cmd: Cmd, root: &Utf8Path) -> Cmd {
    let triplet = root.join("usr/lib").read_dir_utf8().into_iter().flatten().flatten();
    let libraries = triplet.map(|entry| entry.path().to_owned()).find(|dir| dir.join("xtables").is_dir());
    match libraries {
        Some(dir) => cmd.env("LD_LIBRARY_PATH", dir.as_str()).env("XTABLES_LIBDIR", dir.join("xtables").as_str()),
        None => cmd,
    }
}

fn firewall(paths: &Paths, program: &str, why: &str) -> Cmd {
    let root = paths.tools(ENGINE.name);
    let own = root.join("sbin").join(program);
    // Somebody may have emptied the cache while the engine ran: then the machine's own, if it has one.
    with_libraries(Cmd::cleanup(if own.exists() { own.as_str() } else { program }, why), &root)
}

/// Removes a folder that holds nothing but folders and sockets that nobody listens on any more.
pub fn remove_empty(dir: &Utf8Path) {
    for entry in dir.read_dir_utf8().into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            remove_empty(entry.path());
        } else if kind.is_socket() && is_refused(entry.path()) {
            // Gone in between is what we want.
            let _gone = fs::remove_file(entry.path());
        }
    }
    // Not there, or in use: nothing to do about either.
    let _left = fs::remove_dir(dir);
}

fn is_refused(socket: &Utf8Path) -> bool {
    UnixStream::connect(socket).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn rules(runner: &Runner, paths: &Paths) -> Result<String> {
    runner.read(&firewall(paths, "iptables-save", "read the firewall's rules"))
}

fn read(paths: &Paths) -> Option<Before> {
    serde_json::from_str(&fs::read_to_string(paths.run.join("network.json")).ok()?).ok()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn setting(name: &str) -> Utf8PathBuf {
    Utf8Path::new("/proc/sys").join(name)
}

fn bridges() -> BTreeSet<String> {
    let entries = Utf8Path::new("/sys/class/net").read_dir_utf8().into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().join("bridge").is_dir()).map(|entry| entry.file_name().to_owned()).collect()
}

/// `docker0`, or `br-` and the first 12 digits of a network's id.
fn is_dockers(name: &str) -> bool {
    let id = name.strip_prefix("br-");
    name == "docker0" || id.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Input for `iptables-restore --noflush` that takes away Docker's rules and chains which were not there before.
///
/// A rule is Docker's if it names one of its chains or bridges; rules that others added meanwhile stay.
fn undo(before: &str, now: &str) -> String {
    let (before, now) = (tables(before), tables(now));
    let scripts = now.iter().map(|(table, now)| undo_table(table, before.get(table).map_or(&[][..], Vec::as_slice), now));
    scripts.collect()
}

fn undo_table(table: &str, before: &[&str], now: &[&str]) -> String {
    let dockers = |word: &str| word.starts_with("DOCKER") || is_dockers(word);
    let old: BTreeSet<&str> = before.iter().filter_map(|line| chain(line)).collect();
    let gone: Vec<&str> =
        now.iter().filter_map(|line| chain(line)).filter(|chain| dockers(chain) && !old.contains(chain)).collect();
    let rules = now.iter().filter_map(|line| line.strip_prefix("-A "));
    let theirs =
        rules.filter(|rule| rule.split(' ').any(dockers) && !before.iter().any(|line| line.strip_prefix("-A ") == Some(rule)));
    let inside = |rule: &str| rule.split(' ').next().is_some_and(|chain| gone.contains(&chain));
    let mut lines: Vec<String> = theirs.filter(|rule| !inside(rule)).map(|rule| format!("-D {rule}")).collect();
    lines.extend(gone.iter().map(|chain| format!("-F {chain}")));
    lines.extend(gone.iter().map(|chain| format!("-X {chain}")));
    if lines.is_empty() { String::new() } else { format!("*{table}\n{}\nCOMMIT\n", lines.join("\n")) }
}

/// Tables that iptables made for the engine: without a rule, a policy or a chain of anybody else.
fn new_and_empty(before: &str, now: &str) -> Vec<String> {
    let before = tables(before);
    let bare = |line: &&str| line.starts_with(':') && line.contains(" ACCEPT ");
    let empty = tables(now).into_iter().filter(|(table, lines)| !before.contains_key(table) && lines.iter().all(bare));
    empty.map(|(table, _)| table.to_owned()).collect()
}

/// The chain that a line like `:DOCKER - [0:0]` declares.
fn chain<'a>(line: &&'a str) -> Option<&'a str> {
    line.strip_prefix(':')?.split(' ').next()
}

/// The lines of each table: `*nat`, then `:CHAIN …` and `-A …`, then `COMMIT`.
fn tables(save: &str) -> BTreeMap<&str, Vec<&str>> {
    let (mut tables, mut table) = (BTreeMap::<&str, Vec<&str>>::new(), "");
    for line in save.lines() {
        match line.strip_prefix('*') {
            Some(name) => table = name,
            None if line.starts_with([':', '-']) => tables.entry(table).or_default().push(line),
            None => {}
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "# Generated\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A INPUT -p tcp -j DROP\n-A FORWARD -j DOCKER\n-A DOCKER ! -i docker0 -o docker0 -j DROP\nCOMMIT\n\
        *nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";

    #[test]
    fn dockers_rules_go_and_the_rules_of_others_stay() {
        let before = "*filter\n:INPUT ACCEPT [3:9]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";
        let want = "*filter\n-D FORWARD -j DOCKER\n-F DOCKER\n-X DOCKER\nCOMMIT\n\
            *nat\n-D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";
        assert_eq!(undo(before, NOW), want);
    }

    #[test]
    fn only_an_empty_table_that_is_new_is_removed() {
        let now = "*raw\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j X\nCOMMIT\n\
            *filter\n:INPUT DROP [0:0]\nCOMMIT\n";
        assert_eq!(new_and_empty("", now), ["raw"]);
        assert!(new_and_empty(now, now).is_empty());
    }

    #[test]
    fn what_was_there_before_stays() {
        assert_eq!(undo(NOW, NOW), "");
    }

    #[test]
    fn bridges_are_told_by_dockers_own_names() {
        for (name, want) in [("docker0", true), ("br-0123456789ab", true), ("br-lan", false), ("virbr0", false), ("br0", false)] {
            assert_eq!(is_dockers(name), want, "{name}");
        }
    }
}
