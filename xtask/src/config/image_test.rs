//! `[image.X.test]`: from what is written to what runs.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::paths::Root;
use super::types::{self, OneOrMany};
use super::{Test, TestKind};

/// Default of `timeout`.
const TIMEOUT: &str = "10m";

/// A test, one of perhaps several of a build, with its placeholders filled. Errors: every fault, with its key ("" for the test itself).
pub fn resolve(
    written: &types::Test,
    id: &str,
    index: usize,
    root: &Root,
    fill: &dyn Fn(&str) -> String,
) -> Result<Test, Vec<(&'static str, String)>> {
    let mut faults = Vec::new();
    let mut try_key = |key: &'static str, said: String| faults.push((key, said));
    let kind = kind(written, fill).map_err(|(key, said)| try_key(key, said)).ok();
    if !written.deps.is_empty() && matches!(kind, Some(TestKind::Http { .. } | TestKind::Healthy)) {
        try_key("deps", "deps are installed for `run`; with http or healthy the image starts as it is (remove deps)".into());
    }
    let mut mounts = Vec::new();
    for mount in &written.mounts {
        match split_mount(&fill(mount), root) {
            Ok(mount) => mounts.push(mount),
            Err(said) => try_key("mounts", said),
        }
    }
    let mut deps = BTreeMap::new();
    for (name, command) in &written.deps {
        match split(&fill(command)) {
            Ok(words) => _ = deps.insert(name.clone(), words),
            Err(said) => try_key("deps", said),
        }
    }
    // The number stands where no id has one: test2-app.log is of no image.
    let number = if index == 0 { String::new() } else { (index + 1).to_string() };
    let log = written.log.as_ref().map_or_else(|| format!("target/slipway/logs/test{number}-{id}.log"), |log| fill(log));
    let log = root.inside(&log).map_err(|said| try_key("log", said)).unwrap_or_default();
    if log.extension() == Some("xml") {
        try_key("log", format!("`{log}` is where the JUnit file goes (write {})", log.with_extension("log")));
    }
    let workdir = written.workdir.as_ref().map(|path| fill(path));
    if let Some(path) = workdir.as_ref().filter(|path| !path.starts_with('/')) {
        try_key("workdir", format!("`{path}` is not an absolute path in the container (write /{path})"));
    }
    let timeout =
        duration(written.timeout.as_deref().unwrap_or(TIMEOUT)).map_err(|said| try_key("timeout", said)).unwrap_or_default();
    let env = written.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
    match kind {
        Some(kind) if faults.is_empty() => Ok(Test { kind, mounts, deps, env, workdir, log, timeout }),
        _ => Err(faults),
    }
}

fn kind(written: &types::Test, fill: &dyn Fn(&str) -> String) -> Result<TestKind, (&'static str, String)> {
    let healthy = written.healthy.filter(|&healthy| healthy);
    match (&written.run, &written.http, healthy) {
        (Some(OneOrMany::One(command)), None, None) => split(&fill(command)).map(TestKind::Run).map_err(|said| ("run", said)),
        (Some(OneOrMany::Many(words)), None, None) if words.is_empty() => Err(("run", "`run` is empty (write a command)".into())),
        (Some(OneOrMany::Many(words)), None, None) => Ok(TestKind::Run(words.iter().map(|word| fill(word)).collect())),
        (None, Some(address), None) => http(&fill(address)).map_err(|said| ("http", said)),
        (None, None, Some(_)) => Ok(TestKind::Healthy),
        (None, None, None) => Err(("", "the test does nothing (write one of run, http, healthy = true)".into())),
        _ => Err(("", "the test has more than one of run, http, healthy (write several [[image.NAME.test]])".into())),
    }
}

fn http(text: &str) -> Result<TestKind, String> {
    let parts = text.strip_prefix(':').and_then(|rest| rest.find('/').map(|slash| rest.split_at(slash)));
    let parsed = parts.and_then(|(port, path)| Some((port.parse::<u16>().ok().filter(|&port| port > 0)?, path)));
    match parsed {
        Some((port, path)) if !path.contains(char::is_whitespace) => Ok(TestKind::Http { port, path: path.into() }),
        _ => Err(format!("`{text}` is not a port and path (write \":8000/health\")")),
    }
}

/// What only a shell would understand, where it stands alone.
const SHELL: [&str; 6] = ["&&", "||", "|", ">", ">>", "<"];

/// Splits a command like a shell would. Errors: an open quote, nothing to run, what only a shell would understand.
pub fn split(command: &str) -> Result<Vec<String>, String> {
    match shell_words::split(command) {
        Err(_) => Err(format!("`{command}` has a quote that is not closed")),
        Ok(words) if words.is_empty() => Err("the command is empty".into()),
        Ok(words) if words.iter().any(|word| SHELL.contains(&word.as_str())) => {
            Err(format!("`{command}` needs a shell, and none runs it (write sh -c '{}')", command.replace('\'', "'\\''")))
        }
        Ok(words) => Ok(words),
    }
}

/// Parses a span of time. Errors: not one, or none at all.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(format!("`{text}` is no time at all (write such as \"10m\")")),
        Ok(time) => Ok(time),
        Err(_) => Err(format!("`{text}` is not a time (write such as \"90s\", \"10m\" or \"1h 30m\")")),
    }
}

fn split_mount(text: &str, root: &Root) -> Result<(Utf8PathBuf, String), String> {
    let text = text.strip_suffix(":ro").unwrap_or(text);
    match text.rsplit_once(':') {
        Some((_, "rw")) => Err(format!("`{text}`: mounts are always read-only (leave :rw out)")),
        Some((host, inside)) if inside.starts_with('/') => Ok((root.inside(host)?, inside.into())),
        _ => Err(format!("`{text}` is not a mount (write \"folder:/path/in/the/container\")")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Test, String> {
        let written: types::Test = toml::from_str(text).unwrap();
        let root = Root::new(camino::Utf8Path::new("."));
        resolve(&written, "app", 0, &root, &|text| text.replace("{python}", "3.9"))
            .map_err(|faults| faults.iter().map(|(key, said)| format!("{key}: {said}")).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn kinds() {
        let words = |text: &str| TestKind::Run(text.split(' ').map(String::from).collect());
        for (text, expected) in [
            ("run = 'pytest -q /tests/{python}'", words("pytest -q /tests/3.9")),
            ("run = ['pytest', '-q']", words("pytest -q")),
            ("http = ':8000/health'", TestKind::Http { port: 8000, path: "/health".into() }),
            ("healthy = true", TestKind::Healthy),
        ] {
            assert_eq!(load(text).unwrap().kind, expected, "{text}");
        }
    }

    #[test]
    fn defaults_and_filling() {
        let test = load("run = 'x'\nmounts = ['docker/tests:/tests:ro']\ndeps.ci = 'pip install \"a b\"'").unwrap();
        assert_eq!(test.log, "target/slipway/logs/test-app.log");
        assert_eq!(test.timeout.as_secs(), 600);
        assert_eq!(test.mounts, [("docker/tests".into(), "/tests".to_owned())]);
        assert_eq!(test.deps["ci"], ["pip", "install", "a b"]);
    }

    #[test]
    fn faults() {
        for (text, expected) in [
            ("", ": the test does nothing (write one of run, http, healthy = true)"),
            ("healthy = false", ": the test does nothing (write one of run, http, healthy = true)"),
            ("run = 'x'\nhttp = ':1/'", ": the test has more than one of run, http, healthy (write several [[image.NAME.test]])"),
            ("run = ' '", "run: the command is empty"),
            ("run = []", "run: `run` is empty (write a command)"),
            ("run = \"it's\"", "run: `it's` has a quote that is not closed"),
            ("http = '8000'", "http: `8000` is not a port and path (write \":8000/health\")"),
            ("http = ':80000/'", "http: `:80000/` is not a port and path (write \":8000/health\")"),
            ("http = 'http://x:80/'", "http: `http://x:80/` is not a port and path (write \":8000/health\")"),
            ("run = 'x'\nmounts = ['tests']", "mounts: `tests` is not a mount (write \"folder:/path/in/the/container\")"),
            ("run = 'x'\nmounts = ['a:/b:rw']", "mounts: `a:/b:rw`: mounts are always read-only (leave :rw out)"),
            ("run = 'x'\nmounts = ['/a:/b']", "mounts: `/a` is outside the repository (write a path relative to it)"),
            ("run = 'x'\nworkdir = 'a'", "workdir: `a` is not an absolute path in the container (write /a)"),
            ("run = 'x'\nlog = 'a.xml'", "log: `a.xml` is where the JUnit file goes (write a.log)"),
            ("run = 'x'\nlog = '../a'", "log: `../a` is outside the repository (write a path relative to it)"),
            ("run = 'x'\ntimeout = '10'", "timeout: `10` is not a time (write such as \"90s\", \"10m\" or \"1h 30m\")"),
            ("run = 'x'\ntimeout = '0s'", "timeout: `0s` is no time at all (write such as \"10m\")"),
        ] {
            assert_eq!(load(text).unwrap_err(), expected, "{text}");
        }
    }
}
