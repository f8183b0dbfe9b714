//! Stand-ins for base images: Debian from its packages, Python from this machine's interpreters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use std::time::Duration;

use super::emulation::FOREIGN;
use super::machine::{self, Apt, Interpreter};
use super::packages::{self, ENGINE};
use super::paths::{Paths, make_dir, write};
use super::registry;
use super::steps::Steps;
use crate::cmd::Cmd;
use crate::docker;
use crate::error::{Code, Fault, exit_code};
use crate::exec::Runner;
use crate::facts::{self, digest};

const LIMIT: Duration = Duration::from_secs(900);
/// What the interpreters and the official slim images have in common.
const INCLUDE: &str = "ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,libreadline8,zlib1g,libbz2-1.0,\
                       liblzma5,libncursesw6,libexpat1,libuuid1,libtirpc3,libcrypt1";
const DEBIAN: &str = include_str!("debian.Dockerfile");
const PYTHON: &str = include_str!("python.Dockerfile");
const PYTHON_FOREIGN: &str = include_str!("python-foreign.Dockerfile");
/// Of [`FOREIGN`], as Debian and Docker alike call it.
const ARM: &str = "arm64";

/// A base image to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    /// Its bake target.
    target: String,
    /// `library/python`.
    repository: &'static str,
    tags: Vec<String>,
    python: Option<Interpreter>,
    /// Everything it is made of, as a digest: another one, and it is made anew.
    key: String,
}

/// What all bases have in common.
#[derive(Debug)]
struct Inputs {
    apt: Apt,
    certificates: String,
    pip: String,
    /// Whether they are for [`FOREIGN`] too.
    foreign: bool,
}

/// Makes the bases that the registry does not have yet. Returns the names of all, like `python:3.11-slim`.
pub fn ensure(runner: &Runner, paths: &Paths, apt: &Apt, port: u16, foreign: bool, steps: &Steps) -> Result<Vec<String>> {
    let (certificates, pip) = (machine::certificates()?, machine::pip_config(runner));
    let inputs = Inputs { apt: apt.clone(), certificates, pip, foreign };
    let interpreters = machine::interpreters(runner);
    if interpreters.is_empty() {
        steps.say("no interpreters below pyenv's root: only debian is served as a base");
    }
    let bases = bases(&inputs, &interpreters);
    let stamp = paths.cache.join("bases.json");
    let mut made = read_stamp(&stamp);
    let there = |base: &Base| {
        made.get(&base.target) == Some(&base.key) && base.tags.iter().all(|tag| registry::has(port, base.repository, tag))
    };
    let missing: Vec<&Base> = bases.iter().filter(|base| !there(base)).collect();
    if !missing.is_empty() {
        make(runner, paths, &inputs, port, &missing, steps)?;
        made.extend(missing.iter().map(|base| (base.target.clone(), base.key.clone())));
        write(&stamp, &serde_json::to_string(&made)?)?;
    }
    let name = |base: &Base| Some(format!("{}:{}", base.repository.strip_prefix("library/")?, base.tags.first()?));
    Ok(bases.iter().filter_map(name).collect())
}

fn read_stamp(stamp: &Utf8Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(stamp).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn bases(inputs: &Inputs, interpreters: &[Interpreter]) -> Vec<Base> {
    let codename = &inputs.apt.codename;
    let (options, foreign) = (inputs.apt.options.join("\n"), if inputs.foreign { FOREIGN } else { "" });
    let common = [DEBIAN, INCLUDE, &inputs.apt.sources, &options, &inputs.certificates, &inputs.pip, foreign];
    let debian = Base {
        target: "debian".into(),
        repository: "library/debian",
        tags: vec![format!("{codename}-slim"), codename.clone()],
        python: None,
        key: digest(&common),
    };
    let python = |python: &Interpreter| Base {
        target: format!("python{}", python.minor.replace('.', "")),
        repository: "library/python",
        tags: [&python.minor, &python.full].iter().flat_map(|v| [format!("{v}-slim"), format!("{v}-slim-{codename}")]).collect(),
        key: digest(&[&debian.key, PYTHON, if inputs.foreign { PYTHON_FOREIGN } else { "" }, python.prefix.as_str()]),
        python: Some(python.clone()),
    };
    std::iter::once(debian.clone()).chain(interpreters.iter().map(python)).collect()
}

fn make(runner: &Runner, paths: &Paths, inputs: &Inputs, port: u16, bases: &[&Base], steps: &Steps) -> Result<()> {
    let contexts = paths.tmp().join("bases");
    let debian = contexts.join("debian");
    make_dir(&debian)?;
    std::thread::scope(|scope| {
        // The network and one processor for Debian, the disk and the other one for the interpreters.
        let rootfs = scope.spawn(|| -> Result<_> {
            let own = rootfs(runner, paths, &inputs.apt, None, steps)?;
            Ok((own, inputs.foreign.then(|| rootfs(runner, paths, &inputs.apt, Some(ARM), steps)).transpose()?))
        });
        for base in bases {
            if let Some(python) = &base.python {
                pack(runner, python, &contexts.join(&base.target))?;
            }
        }
        // The newest has the newest pip.
        if let Some(python) = bases.iter().filter_map(|base| base.python.as_ref()).next_back().filter(|_| inputs.foreign) {
            pack_foreign(runner, paths, inputs, python, &contexts)?;
        }
        let (own, foreign) = rootfs.join().map_err(|_| Fault::failed("cannot assemble Debian"))??;
        // Links, because copies would only cost time; BuildKit wants the files inside its context.
        let link = |from: &Utf8Path, architecture: &str| {
            let name = format!("rootfs-{architecture}.tar");
            std::fs::hard_link(from, debian.join(name)).with_context(|| format!("cannot link {from}"))
        };
        foreign.iter().try_for_each(|foreign| link(foreign, ARM))?;
        link(&own, &machine_architecture())
    })?;
    write(&debian.join("certificates.crt"), &inputs.certificates)?;
    write(&debian.join("pip.conf"), &inputs.pip)?;
    steps.say(&format!("building {} base images", bases.len()));
    let file = bake_file(port, inputs, bases).to_string();
    let targets = bases.iter().map(|base| base.target.clone());
    let bake = docker::bake_bases(&file, targets, "build the base images").dir(contexts).timeout(LIMIT);
    runner.read(&bake).map(drop)
}

/// What Debian and Docker alike call the architecture of this machine: `amd64`.
fn machine_architecture() -> String {
    facts::host_platform().trim_start_matches("linux/").to_owned()
}

/// Debian's smallest variant with the machine's sources and apt settings, as a tar file; kept between runs.
/// For another architecture than the machine's it runs emulated, which takes a few times as long.
fn rootfs(runner: &Runner, paths: &Paths, apt: &Apt, other: Option<&str>, steps: &Steps) -> Result<Utf8PathBuf> {
    let key = digest(&[INCLUDE, &apt.sources, &apt.options.join("\n"), other.unwrap_or_default()]);
    let place = paths.cache.join(format!("rootfs-{}.tar", &key[..12]));
    if place.exists() {
        return Ok(place);
    }
    let what = other.map_or("packages".to_owned(), |other| format!("packages for {other}, emulated"));
    steps.say(&format!("assembling {} from {what}", apt.codename));
    let bin = paths.tools(ENGINE.name).join("usr/bin");
    let new = paths.tmp().join(format!("rootfs-{}.tar", other.unwrap_or("own")));
    let mut cmd =
        Cmd::change(bin.join("mmdebstrap").as_str(), "assemble Debian").args(["--quiet", "--mode=root", "--variant=minbase"]);
    cmd = cmd.arg(format!("--include={INCLUDE}"));
    // It would look for an emulator by another name than ours, which is registered.
    cmd = cmd.args(other.iter().flat_map(|other| [format!("--architectures={other}"), "--skip=check/qemu".into()]));
    for path in ["doc/*", "man/*", "locale/*", "info/*"] {
        cmd = cmd.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}"));
    }
    cmd = cmd.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright").arg("--aptopt=Acquire::Languages \"none\";");
    cmd = cmd.args(apt.options.iter().map(|option| format!("--aptopt={option}")));
    cmd = cmd.args([apt.codename.as_str(), new.as_str(), "-"]).stdin(apt.sources.clone());
    // It looks for its own `mmtarfilter`, and unpacks below TMPDIR.
    let path = format!("{bin}:{}", super::paths::var("PATH").unwrap_or_default());
    cmd = cmd.env("PATH", path).env("TMPDIR", paths.tmp().as_str()).timeout(LIMIT);
    let hint = format!("check that {} can be reached", apt.mirror);
    runner.read(&cmd).map_err(|error| match exit_code(&error) {
        Code::Failed => error.context(Fault::not_ready("cannot assemble the Debian base").hint(hint)),
        _ => error,
    })?;
    std::fs::rename(&new, &place).with_context(|| format!("cannot move {new} to {place}"))?;
    Ok(place)
}

/// The interpreter alone: without what was installed into it here, its tests and its static library.
fn pack(runner: &Runner, python: &Interpreter, context: &Utf8Path) -> Result<()> {
    make_dir(context)?;
    let bin = python.prefix.join("bin").read_dir_utf8().into_iter().flatten().flatten();
    let own = bin.map(|entry| entry.file_name().to_owned()).filter(|name| is_own_program(name, &python.minor));
    let programs = own.map(|name| format!("bin/{name}"));
    let excludes = ["*/site-packages/*", "*/test", "*/tests", "*/__pycache__", "*.a", "*/idle_test"];
    let tar = Cmd::change("tar", format!("pack the interpreter {}", python.full));
    let tar = tar.args(["--create", "--file"]).arg(context.join("python.tar")).args(["--directory", python.prefix.as_str()]);
    let tar = tar.args(["--owner=0", "--group=0"]).args(excludes.map(|path| format!("--exclude={path}")));
    runner.read(&tar.args(programs).args(["include", "lib"]).timeout(LIMIT)).map(drop)
}

/// Debian's own Python in the place of all that this machine does not have for [`FOREIGN`], and a pip.
fn pack_foreign(runner: &Runner, paths: &Paths, inputs: &Inputs, python: &Interpreter, contexts: &Utf8Path) -> Result<()> {
    let context = contexts.join("foreign");
    make_dir(&context)?;
    let tree = paths.tmp().join("foreign-python");
    packages::foreign_python(runner, paths, &inputs.apt, ARM, &tree)?;
    let tar = Cmd::change("tar", "pack Debian's Python").args(["--create", "--file"]).arg(context.join("python.tar"));
    runner.read(&tar.args(["--owner=0", "--group=0", "--directory", tree.as_str(), "usr", "etc"]).timeout(LIMIT))?;
    let bundled = python.prefix.join("lib").join(format!("python{}", python.minor)).join("ensurepip/_bundled");
    let mut wheels = bundled.read_dir_utf8().with_context(|| format!("cannot read {bundled}"))?.flatten();
    let pip = wheels.find(|entry| entry.file_name().starts_with("pip-")).with_context(|| format!("no pip in {bundled}"))?;
    std::fs::copy(pip.path(), context.join(pip.file_name())).with_context(|| format!("cannot copy {}", pip.path())).map(drop)
}

/// `python3.11`, `pydoc3` and so on; not what packages put beside them.
fn is_own_program(name: &str, minor: &str) -> bool {
    let stem = name.trim_end_matches("-config").trim_end_matches(minor).trim_end_matches('m').trim_end_matches(minor);
    matches!(stem.trim_end_matches('3'), "python" | "pydoc" | "idle" | "2to" | "2to3-" | "2to3")
}

/// With the other architecture, a stage for each, of which BuildKit takes the one that it builds for.
fn python_dockerfile(foreign: bool) -> String {
    if !foreign {
        return PYTHON.to_owned();
    }
    let own = machine_architecture();
    format!("{PYTHON}\n{PYTHON_FOREIGN}\nFROM own AS on-{own}\nFROM foreign AS on-{ARM}\nFROM on-$TARGETARCH\n")
}

fn bake_file(port: u16, inputs: &Inputs, bases: &[&Base]) -> Value {
    let codename = &inputs.apt.codename;
    let own = facts::host_platform();
    let platforms = if inputs.foreign { vec![own.as_str(), FOREIGN] } else { vec![own.as_str()] };
    let debian = match bases.iter().any(|base| base.python.is_none()) {
        true => "target:debian".to_owned(),
        false => format!("docker-image://localhost:{port}/library/debian:{codename}-slim"),
    };
    let target = |base: &&Base| {
        let what = base.python.as_ref().map_or("packages".to_owned(), |python| format!("interpreter {}", python.full));
        let dockerfile = if base.python.is_some() { python_dockerfile(inputs.foreign) } else { DEBIAN.to_owned() };
        let prefix = base.python.as_ref().map_or("", |python| python.prefix.as_str());
        let minor = base.python.as_ref().map_or("", |python| python.minor.as_str());
        let version = base.python.as_ref().map_or("", |python| python.full.as_str());
        let mut target = json!({
            "context": base.target,
            "dockerfile-inline": dockerfile,
            "tags": base.tags.iter().map(|tag| format!("localhost:{port}/{}:{tag}", base.repository)).collect::<Vec<_>>(),
            "platforms": platforms,
            "args": { "STAND_IN": format!("made by the sandbox from this machine's {what}, not by the publisher"),
                      "PREFIX": prefix, "PYTHON_VERSION": version, "PYTHON_MINOR": minor },
            // To the registry alone: what nobody builds on is neither unpacked nor listed among the engine's images.
            "output": ["type=image,push=true,store=false,unpack=false"],
            "attest": ["type=provenance,disabled=true"],
        });
        if base.python.is_some() {
            target["contexts"] = json!({ "debian": debian });
            if inputs.foreign {
                target["contexts"]["foreign-files"] = "foreign".into();
            }
        }
        (base.target.clone(), target)
    };
    json!({ "target": bases.iter().map(target).collect::<serde_json::Map<_, _>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        let apt = Apt { codename: "bookworm".into(), mirror: String::new(), sources: String::new(), options: Vec::new() };
        Inputs { apt, certificates: String::new(), pip: String::new(), foreign: false }
    }

    fn python() -> Interpreter {
        Interpreter { minor: "3.11".into(), full: "3.11.7".into(), prefix: "/opt/3.11.7".into() }
    }

    #[test]
    fn a_base_has_the_names_of_the_official_image() {
        let bases = bases(&inputs(), &[python()]);
        assert_eq!(bases[0].tags, ["bookworm-slim", "bookworm"]);
        assert_eq!(bases[1].tags, ["3.11-slim", "3.11-slim-bookworm", "3.11.7-slim", "3.11.7-slim-bookworm"]);
    }

    #[test]
    fn other_certificates_are_another_base() {
        let changed = Inputs { certificates: "other".into(), ..inputs() };
        assert!(bases(&inputs(), &[python()]).iter().zip(bases(&changed, &[python()])).all(|(old, new)| old.key != new.key));
    }

    #[test]
    fn only_the_interpreters_own_programs_are_taken() {
        for name in
            ["python", "python3", "python3.11", "python3.11-config", "python3.7m", "pydoc3.11", "2to3-3.11", "idle3", "2to3"]
        {
            let minor = if name.contains("3.7") { "3.7" } else { "3.11" };
            assert!(is_own_program(name, minor), "{name}");
        }
        for name in ["pip3.11", "aws", "ipython3", "pythonx", "flask"] {
            assert!(!is_own_program(name, "3.11"), "{name}");
        }
    }

    #[test]
    fn a_python_alone_is_built_on_the_debian_that_is_served() {
        let bases = bases(&inputs(), &[python()]);
        let one = bake_file(5000, &inputs(), &[&bases[1]]);
        assert_eq!(
            one["target"]["python311"]["contexts"]["debian"],
            "docker-image://localhost:5000/library/debian:bookworm-slim"
        );
        let both = bake_file(5000, &inputs(), &[&bases[0], &bases[1]]);
        assert_eq!(both["target"]["python311"]["contexts"]["debian"], "target:debian");
    }
}
