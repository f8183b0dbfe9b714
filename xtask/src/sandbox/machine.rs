//! What this machine says of itself when asked: its Debian, its mirror, its certificates, pip's index, its interpreters.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use super::paths::var;
use crate::cmd::Cmd;
use crate::error::Fault;
use crate::exec::Runner;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Asking takes a second where pip is a shim; it must not hang.
const LIMIT: Duration = Duration::from_secs(30);

/// Is this the sort of machine the sandbox can run on?
///
/// # Errors
/// Exit code 3 with what to do, for another system, another distribution, or without root.
pub fn suitable(runner: &Runner) -> Result<()> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let fault = if let Some(found) = other_system(&release) {
        Fault::not_ready(format!("the sandbox needs Debian 12 (bookworm), and this is {found}"))
    } else if !Utf8Path::new(KEYRING).exists() {
        Fault::not_ready(format!("the sandbox needs {KEYRING}"))
    } else if !rustix::process::geteuid().is_root() {
        Fault::not_ready("the sandbox needs root")
    } else if let Some(tool) = ["ip", "setsid", "perl", "tar"].into_iter().find(|tool| runner.which(tool).is_none()) {
        let hint = "run `apt-get install iproute2 util-linux perl tar`";
        return Err(Fault::not_ready(format!("the sandbox needs `{tool}`")).hint(hint).into());
    } else {
        return Ok(());
    };
    Err(fault.hint("start Docker and use `--engine host`").into())
}

/// What this system is, unless it is the one whose packages, libc and Python the sandbox is made of.
fn other_system(release: &str) -> Option<&str> {
    let is = |name| os_release(release, name);
    let suits = (is("ID"), is("VERSION_CODENAME")) == (Some("debian"), Some("bookworm"));
    (!suits).then(|| is("PRETTY_NAME").unwrap_or("another system"))
}

/// The value of `NAME=value` or `NAME="value"`.
fn os_release<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"')))
}

/// The machine's own Debian sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apt {
    /// `bookworm`.
    pub codename: String,
    /// Where that suite comes from.
    pub mirror: String,
    /// The suite, its updates and its security updates, as a deb822 `.sources` text.
    pub sources: String,
    /// `Acquire::…` settings that a machine needs to reach its mirror, as lines of apt.conf.
    pub options: Vec<String>,
}

impl Apt {
    pub fn ask(runner: &Runner) -> Result<Apt> {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let Some(codename) = os_release(&release, "VERSION_CODENAME").map(str::to_owned) else {
            return Err(Fault::not_ready("this Debian has no codename").hint("use a released Debian, or `--engine host`").into());
        };
        let format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CREATED_BY)";
        let targets = Cmd::probe("apt-get", "find the machine's mirror").args(["indextargets", "--format", format]);
        let targets = targets_of(&runner.read(&targets.timeout(LIMIT))?, &codename);
        let Some((mirror, _)) = targets.iter().find(|(_, suite)| *suite == codename) else {
            let fault = Fault::not_ready(format!("apt has no source for {codename} main"));
            return Err(fault.hint("add Debian's own suite to /etc/apt, or use `--engine host`").into());
        };
        let dump = Cmd::probe("apt-config", "read the machine's apt settings").args(["dump", "--format", "%f \"%v\";%n"]);
        let options = options_of(&runner.read(&dump.timeout(LIMIT))?);
        Ok(Apt { mirror: mirror.clone(), sources: sources(&targets), codename, options })
    }
}

/// (address, suite) of the codename's suites, once each.
fn targets_of(text: &str, codename: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let [uri, suite, "main", "Packages"] = line.split('|').collect::<Vec<_>>()[..] else { continue };
        let own = suite.strip_prefix(codename).is_some_and(|rest| matches!(rest, "" | "-updates" | "-security"));
        let target = (uri.trim_end_matches('/').to_owned(), suite.to_owned());
        if own && !uri.contains('@') && !found.contains(&target) {
            found.push(target);
        }
    }
    found.sort_by_key(|(_, suite)| suite.len());
    found
}

/// One deb822 stanza a suite.
pub fn sources<S: AsRef<str>>(targets: &[(S, S)]) -> String {
    let stanza = |(uri, suite): &(S, S)| {
        let (uri, suite) = (uri.as_ref(), suite.as_ref());
        format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n")
    };
    targets.iter().map(stanza).collect::<Vec<_>>().join("\n")
}

/// What makes a mirror reachable, without what names a file here or holds a password.
fn options_of(dump: &str) -> Vec<String> {
    let wanted = |name: &str| {
        let kinds = ["http::", "https::", "Check-", "Retries", "ForceIPv"];
        let local = ["CAInfo", "CAPath", "SslCert", "SslKey", "AutoDetect"];
        let rest = name.strip_prefix("Acquire::");
        rest.is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind))) && !local.iter().any(|part| name.contains(part))
    };
    let lines = dump.lines().filter(|line| line.split(' ').next().is_some_and(wanted));
    lines.filter(|line| !line.contains('@') && !line.ends_with("\"\";")).map(str::to_owned).collect()
}

/// The certificates this machine trusts.
pub fn certificates() -> Result<String> {
    std::fs::read_to_string(CERTIFICATES).map_err(|error| {
        let fault = Fault::not_ready(format!("cannot read {CERTIFICATES}: {error}"));
        fault.hint("run `apt-get install ca-certificates`").into()
    })
}

/// pip's index, as a pip.conf for an image: without local folders, and without passwords.
pub fn pip_config(runner: &Runner) -> String {
    let ask = |pip: &str| {
        let list = Cmd::probe(pip, "read pip's index").args(["config", "list"]).timeout(LIMIT);
        runner.which(pip).and_then(|_| runner.read(&list).ok())
    };
    pip_conf(&ask("pip").or_else(|| ask("pip3")).unwrap_or_default())
}

/// Lines are `section.key='value'`, a Python literal; the environment's section is `:env:` and wins.
fn pip_conf(list: &str) -> String {
    let mut settings = BTreeMap::new();
    let (env, files): (Vec<_>, Vec<_>) = list.lines().partition(|line| line.starts_with(":env:"));
    for line in files.into_iter().chain(env) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let Some((_, key)) = name.rsplit_once('.') else { continue };
        let value = value.trim_matches(['\'', '"']).replace("\\n", " ");
        if matches!(key, "index-url" | "extra-index-url" | "trusted-host" | "timeout" | "default-timeout") && !value.contains('@')
        {
            settings.insert(key.to_owned(), value.trim().to_owned());
        }
    }
    let lines: String = settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("[global]\ncert = {CERTIFICATES}\ndisable-pip-version-check = true\n{lines}")
}

/// An interpreter of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// `3.11`.
    pub minor: String,
    /// `3.11.7`.
    pub full: String,
    pub prefix: Utf8PathBuf,
}

/// The newest CPython of each 3.x from 3.7 on below pyenv's root; none where there is no pyenv.
pub fn interpreters(runner: &Runner) -> Vec<Interpreter> {
    let root = Cmd::probe("pyenv", "find the machine's interpreters").arg("root").timeout(LIMIT);
    let asked = runner.which("pyenv").and_then(|_| runner.read(&root).ok());
    let root = asked.or_else(|| var("PYENV_ROOT")).or_else(|| Some(format!("{}/.pyenv", var("HOME")?)));
    let versions = Utf8PathBuf::from(root.unwrap_or_default()).join("versions");
    let entries = versions.read_dir_utf8().into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_owned()).collect();
    let found = newest(&names).into_iter().map(|(minor, patch)| Interpreter {
        minor: format!("3.{minor}"),
        full: format!("3.{minor}.{patch}"),
        prefix: versions.join(format!("3.{minor}.{patch}")),
    });
    found.filter(|python| python.prefix.join("bin").join(format!("python{}", python.minor)).exists()).collect()
}

fn newest(names: &[String]) -> BTreeMap<u32, u32> {
    let mut found = BTreeMap::new();
    for name in names {
        let parts: Vec<Option<u32>> = name.split('.').map(|part| part.parse().ok()).collect();
        if let [Some(3), Some(minor @ 7..), Some(patch)] = parts[..] {
            found.entry(minor).and_modify(|old: &mut u32| *old = patch.max(*old)).or_insert(patch);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machines_own_suites_are_sources() {
        let text = "https://mirror.example/debian/|bookworm|main|Packages\n\
                    https://mirror.example/debian/|bookworm|main|DEP-11\n\
                    https://security.example/|bookworm-security|main|Packages\n\
                    https://apt.example/|bookworm-pgdg|main|Packages\n\
                    https://vendor.example/|bookworm|stable|Packages\n";
        let found = targets_of(text, "bookworm");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("https://mirror.example/debian".to_owned(), "bookworm".to_owned()));
        assert!(sources(&found).contains("URIs: https://security.example\nSuites: bookworm-security\n"));
    }

    #[test]
    fn settings_travel_without_passwords_and_local_files() {
        let dump = "Acquire::Check-Date \"false\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::https::Proxy \"http://me:secret@proxy.example\";\nAcquire::https::CAInfo \"/etc/x\";\n\
                    Acquire::http \"\";\nAPT::Architecture \"amd64\";\n";
        assert_eq!(options_of(dump), ["Acquire::Check-Date \"false\";", "Acquire::http::Proxy \"http://proxy.example:3128\";"]);
    }

    #[test]
    fn pip_keeps_the_index_alone() {
        let list = ":env:.find-links='/opt/wheels'\n:env:.index-url='https://b.example/simple'\n\
                    global.index-url='https://a.example/simple'\nglobal.extra-index-url='https://me:pw@c.example'\n\
                    install.trusted-host='a.example\\nb.example'\n";
        let conf = pip_conf(list);
        assert!(conf.ends_with("index-url = https://b.example/simple\ntrusted-host = a.example b.example\n"), "{conf}");
    }

    #[test]
    fn the_newest_of_each_minor_version() {
        let names = ["3.6.15", "3.11.7", "3.11.10", "3.13.0t", "2.7.18", "3.14.0a1", "3.9.18"].map(str::to_owned);
        assert_eq!(newest(&names).into_iter().collect::<Vec<_>>(), [(9, 18), (11, 10)]);
    }

    /// A runner whose PATH has one program: `name`, a shell script.
    fn with_fake(name: &str, script: &str) -> (tempfile::TempDir, Runner) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut runner = Runner::default();
        runner.set_env("PATH", &dir.path().to_string_lossy());
        (dir, runner)
    }

    #[test]
    fn a_pip_that_fails_leaves_the_certificates_alone() {
        let (_dir, runner) = with_fake("pip", "echo broken >&2; exit 1");
        assert!(pip_config(&runner).ends_with("disable-pip-version-check = true\n"));
    }

    #[test]
    fn interpreters_are_where_pyenv_says_and_complete() {
        let root = tempfile::tempdir().unwrap();
        for (version, program) in [("3.9.1", Some("python3.9")), ("3.10.2", None), ("3.6.1", Some("python3.6"))] {
            let bin = root.path().join("versions").join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            if let Some(program) = program {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        let (_dir, runner) = with_fake("pyenv", &format!("echo '{}'", root.path().display()));
        let found: Vec<String> = interpreters(&runner).into_iter().map(|python| python.full).collect();
        assert_eq!(found, ["3.9.1"], "one without its program is half installed");
    }

    #[test]
    fn another_system_is_named() {
        let debian = |codename: &str| format!("PRETTY_NAME=\"Debian ({codename})\"\nID=debian\nVERSION_CODENAME={codename}\n");
        assert_eq!(other_system(&debian("bookworm")), None);
        assert_eq!(other_system(&debian("trixie")), Some("Debian (trixie)"));
        assert_eq!(other_system("ID=mint\nVERSION_CODENAME=bookworm\n"), Some("another system"));
    }

    #[test]
    fn os_release_values_may_be_quoted() {
        let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!((os_release(text, "ID"), os_release(text, "VERSION_ID")), (Some("debian"), Some("12")));
    }
}
