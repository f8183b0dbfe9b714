//! A small repository of its own, published into a namespace of its own, behind a proxy that can break anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::clone::Ran;
use crate::proxy::Proxy;

pub const IDS: [&str; 3] = ["tiny-a", "tiny-b", "tiny-c"];

pub const IMAGES: &str = r#"
schema = 1
registry = "ghcr.io"
namespace = "NAMESPACE"
version-file = "VERSION"
[axes]
n = ["a", "b", "c"]
[image.tiny]
variant = "{n}"
args = { N = "{n}" }
[on.tag]
tags = ["{version}", "latest"]
[on.manual]
tags = ["{version}"]
"#;

/// A repository of three small images, in a namespace of its own behind a proxy of its own.
pub struct Tiny {
    /// Its builds.
    pub ids: Vec<String>,
    pub folder: tempfile::TempDir,
    pub namespace: String,
    pub proxy: Proxy,
    pub upstream: String,
    /// The engine's environment, as lines for a shell.
    pub exports: String,
    /// For every run.
    pub env: Vec<(String, String)>,
}

impl Tiny {
    /// Three images from one Dockerfile, nothing committed yet.
    pub fn new() -> Tiny {
        let tiny = Tiny::empty();
        tiny.write("docker/images.toml", &IMAGES.replace("NAMESPACE", &tiny.namespace));
        tiny.write("Dockerfile", "FROM debian:bookworm-slim\nARG N\nENV SETTING=1\nRUN echo $N > /n\n");
        tiny
    }

    /// The same with `n` images.
    pub fn of(n: u8) -> Tiny {
        let mut tiny = Tiny::new();
        let letters: Vec<String> = (b'a'..b'a' + n).map(|letter| char::from(letter).to_string()).collect();
        tiny.edit("docker/images.toml", "[\"a\", \"b\", \"c\"]", &format!("{letters:?}"));
        tiny.ids = letters.iter().map(|letter| format!("tiny-{letter}")).collect();
        tiny
    }

    /// One of `examples/`, not committed yet; its images go into the namespace of this test.
    pub fn example(name: &str) -> Tiny {
        let tiny = Tiny::empty();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples").join(name);
        let copied = Command::new("cp").arg("-r").arg(example.join(".")).arg(tiny.path()).status().unwrap();
        assert!(copied.success());
        let images = std::fs::read_to_string(tiny.path().join("docker/images.toml")).unwrap();
        let (old, new) = ("namespace = \"slipway", format!("namespace = \"{}", tiny.namespace));
        let images = match images.contains(old) {
            true => images.replace(old, &new),
            false => format!("{new}\"\n{images}"),
        };
        tiny.write("docker/images.toml", &images);
        tiny
    }

    fn empty() -> Tiny {
        let sandbox =
            |task: &str| -> Ran { Command::new(env!("CARGO_BIN_EXE_xtask")).args(["sandbox", task]).output().unwrap().into() };
        sandbox("up").expect(0);
        let exports = sandbox("env").expect(0).stdout;
        let upstream = exports
            .lines()
            .find_map(|line| line.split_once("SLIPWAY_REGISTRY="))
            .map(|(_, value)| value.trim_matches(['\'', '"']));
        let upstream = upstream.expect("SLIPWAY_REGISTRY").to_owned();
        let folder = tempfile::tempdir().unwrap();
        let unique = folder.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let namespace = format!("e2e/{}", unique.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()));
        let tiny = Tiny {
            ids: IDS.map(str::to_owned).to_vec(),
            folder,
            namespace,
            proxy: Proxy::new(&upstream),
            upstream,
            exports,
            env: Vec::new(),
        };
        tiny.write(".gitignore", "/target\n");
        tiny.git(&["init", "--quiet", "--initial-branch=main"]);
        tiny
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Eight digits that stand for it where the machine has something for each checkout.
    pub fn short(&self) -> String {
        let path = self.path().canonicalize().unwrap();
        let path = path.to_str().unwrap();
        let hash = Sha256::new().chain_update(path.len().to_le_bytes()).chain_update(path).finalize();
        hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where its secrets are.
    pub fn secrets(&self) -> PathBuf {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
        cache.join("slipway-secrets").join(self.short())
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, path: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.path().join(path)).unwrap();
        assert!(text.contains(old), "{path} has no {old:?}");
        self.write(path, &text.replace(old, new));
    }

    pub fn git(&self, args: &[&str]) {
        let name = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let done = Command::new("git").args(name).args(args).current_dir(self.path()).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Commits everything as this version, builds and tests it.
    pub fn tested(&self, version: &str) {
        self.version(version);
        self.run(&["ci-build", "--mode", "test"], version).expect(0);
        self.run(&["docker-test"], version).expect(0);
    }

    pub fn version(&self, version: &str) {
        self.write("VERSION", version);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", version]);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).args(["--registry", &self.proxy.registry()]).current_dir(self.path()).stdin(Stdio::null());
        for name in ["GITHUB_ACTIONS", "GITHUB_EVENT_NAME", "GITHUB_STEP_SUMMARY", "GITHUB_RUN_ID"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, args: &[&str], version: &str) -> Ran {
        self.command(args).args(["--event", &format!("tag:{version}")]).output().unwrap().into()
    }

    pub fn push(&self, version: &str) -> Ran {
        self.run(&["ci-build", "--mode", "push"], version)
    }

    pub fn release(&self, version: &str) -> Ran {
        self.run(&["release"], version)
    }

    /// Starts a run that the proxy may kill, and waits for its end.
    pub fn killed(&self, args: &[&str], version: &str) {
        let mut command = self.command(args);
        command.args(["--event", &format!("tag:{version}")]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        self.proxy.victim(child.id());
        child.wait().unwrap();
        // What the registry was given before may still be on its way.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    pub fn undo(&self) -> Ran {
        let journals = std::fs::read_dir(self.path().join("target/slipway")).unwrap().flatten().map(|entry| entry.path());
        let journal = journals.filter(|path| path.to_string_lossy().contains("/journal-")).max().expect("a journal");
        let ran = self.command(&["release", "--undo", journal.to_str().unwrap()]).output().unwrap().into();
        std::fs::remove_file(journal).unwrap();
        ran
    }

    pub fn crane(&self, args: &[&str]) -> Option<String> {
        let script = format!("{}crane \"$@\"", self.exports);
        let ran: Ran =
            Command::new("sh").args(["-c", &script, "sh"]).args(args).current_dir(self.path()).output().unwrap().into();
        (ran.code == Some(0)).then(|| ran.stdout.trim().to_owned())
    }

    /// A shell line with the engine's environment.
    pub fn engine(&self, line: &str) -> Ran {
        Command::new("sh").args(["-c", &format!("{}{line}", self.exports)]).current_dir(self.path()).output().unwrap().into()
    }

    /// The name that an image has in the engine.
    pub fn local(&self, id: &str, tag: &str) -> String {
        format!("{}/{}/{id}:{tag}", self.proxy.registry(), self.namespace)
    }

    pub fn name(&self, id: &str, tag: &str) -> String {
        format!("{}/{}/{id}:{tag}", self.upstream, self.namespace)
    }

    pub fn digest(&self, id: &str, tag: &str) -> Option<String> {
        self.crane(&["digest", &self.name(id, tag)])
    }

    /// Every published tag (not candidates, marks of tests) of every image.
    pub fn state(&self) -> BTreeMap<String, String> {
        let of = |id: &String| -> Vec<(String, String)> {
            let tags = self.crane(&["ls", &format!("{}/{}/{id}", self.upstream, self.namespace)]).unwrap_or_default();
            let published = tags.lines().filter(|tag| !tag.starts_with("candidate-") && !tag.starts_with("tested-"));
            published.map(|tag| (format!("{id}:{tag}"), self.digest(id, tag).unwrap_or_default())).collect()
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = self.ids.iter().map(|id| scope.spawn(move || of(id))).collect();
            asked.into_iter().flat_map(|asked| asked.join().unwrap()).collect()
        })
    }
}

/// The platforms of what is published: those that an index names, else that of the one image.
pub fn platforms(tiny: &Tiny, name: &str) -> Vec<String> {
    let read = |what: &str| -> serde_json::Value { serde_json::from_str(&tiny.crane(&[what, name]).unwrap()).unwrap() };
    let platform = |of: &serde_json::Value| format!("{}/{}", of["os"].as_str().unwrap(), of["architecture"].as_str().unwrap());
    match read("manifest")["manifests"].as_array() {
        Some(images) => images.iter().map(|image| platform(&image["platform"])).collect(),
        None => vec![platform(&read("config"))],
    }
}
