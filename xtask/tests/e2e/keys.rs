//! Keys against the builder's own cache: a key that stays the same promises that a build would run no step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::clone::Ran;

const SEED: u64 = 20_260_102;
const ROUNDS: usize = 12;

/// Dockerfile, `.dockerignore` of the context, `.dockerignore` of the Dockerfile.
const CORPUS: [(&str, &str, &str); 12] = [
    ("FROM scratch\nCOPY a.txt /\n", "", ""),
    ("FROM scratch\nCOPY src /src\n", "**/*.pyc\n!src/keep.pyc\n", ""),
    ("FROM debian:bookworm-slim\nCOPY *.txt /x/\nRUN ls /x\n", "b.txt\n", ""),
    ("FROM debian:bookworm-slim\nRUN --mount=type=bind,source=src,target=/s ls -lR /s\n", "src/deep\n", ""),
    ("FROM scratch AS one\nCOPY src/deep /\nFROM scratch\nCOPY --from=one / /\nCOPY a.txt b.txt /\n", "", ""),
    ("FROM scratch\nCOPY . /\n", "*\n!src\nsrc/deep\n!src/deep/t*\n", ""),
    ("FROM scratch\nCOPY link/one /one\n", "", ""),
    ("FROM debian:bookworm-slim\nCOPY --chmod=644 src/one docs /y/\nRUN ls -l /y\n", "", ""),
    ("FROM scratch\nADD docs /d\n", "docs\n", "docs/*.md\n"),
    ("FROM scratch\nCOPY src/*.py docs/** /w/\n", "", ""),
    ("FROM debian:bookworm-slim\nRUN --mount=type=bind,target=/s find /s -type f\n", "**/*.md\n", ""),
    ("FROM scratch AS unused\nCOPY docs /\nFROM scratch\nARG D=src\nCOPY --link $D/[a-z]*.py /\n", "", ""),
];

const FILES: [&str; 10] = [
    "a.txt",
    "b.txt",
    "README.md",
    "src/one",
    "src/x.py",
    "src/x.pyc",
    "src/keep.pyc",
    "src/deep/two",
    "docs/d.md",
    "docs/e.txt",
];

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

struct Corpus {
    folder: tempfile::TempDir,
    namespace: String,
}

impl Drop for Corpus {
    fn drop(&mut self) {
        let remove = format!(
            "eval \"$({} sandbox env)\"; docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep /{}/ | xargs -r docker image rm",
            env!("CARGO_BIN_EXE_xtask"),
            self.namespace
        );
        let _best_effort = Command::new("sh").args(["-c", &remove]).output();
    }
}

impl Corpus {
    fn new() -> Corpus {
        let folder = tempfile::tempdir().unwrap();
        let unique = folder.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let namespace = format!("keys-{}", unique.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()));
        let corpus = Corpus { folder, namespace };
        let mut images = format!("schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"{}\"\n", corpus.namespace);
        for (at, (dockerfile, ignore, own)) in CORPUS.iter().enumerate() {
            images += &format!("[image.c{at}]\ncontext = \"c{at}\"\ndockerfile = \"c{at}/Dockerfile\"\n");
            for file in FILES {
                // The seed, so that another run's cache does not help.
                corpus.write(&format!("c{at}/{file}"), &format!("{file} {}\n", corpus.namespace));
            }
            corpus.write(&format!("c{at}/Dockerfile"), dockerfile);
            corpus.write(&format!("c{at}/.dockerignore"), ignore);
            if !own.is_empty() {
                corpus.write(&format!("c{at}/Dockerfile.dockerignore"), own);
            }
            symlink("src", corpus.path(&format!("c{at}/link"))).unwrap();
            symlink("one", corpus.path(&format!("c{at}/src/l"))).unwrap();
        }
        corpus.write("docker/images.toml", &images);
        corpus
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
    }

    fn xtask(&self, args: &[&str]) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.folder.path()).env_remove("GITHUB_ACTIONS").env_remove("GITHUB_EVENT_NAME");
        Ran::from(command.output().unwrap()).expect(0).json()
    }

    fn keys(&self) -> BTreeMap<String, String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let plan = self.xtask(&["plan", "--json"]);
        plan["builds"].as_array().unwrap().iter().map(|build| (text(&build["id"]), text(&build["key"]))).collect()
    }

    /// Builds everything; the builds that ran a step.
    fn run(&self) -> BTreeSet<String> {
        let ran = self.xtask(&["ci-build", "--mode", "test", "--json"]);
        let builds = ran["builds"].as_array().unwrap().iter();
        let worked = builds.filter(|build| build["steps"]["cached"] != build["steps"]["total"]);
        worked.map(|build| build["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes one thing in a context, without taking away what a build needs; says what.
    fn edit(&self, context: &str, round: usize, random: &mut Random) -> String {
        let in_context = |path: &str| self.path(&format!("{context}/{path}"));
        let mode = |path: &Path, a: u32, b: u32| {
            let old = path.metadata().unwrap().permissions().mode() & 0o7777;
            std::fs::set_permissions(path, Permissions::from_mode(if old == a { b } else { a })).unwrap();
        };
        let (file, folder) = (random.pick(&FILES), random.pick(&[".", "src", "src/deep", "docs"]));
        match random.below(9) {
            0 | 1 => {
                self.write(&format!("{context}/{file}"), &format!("{round}\n"));
                format!("text of {file}")
            }
            2 => {
                let same = std::fs::File::options().append(true).open(in_context(file)).unwrap();
                same.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000 + round as u64)).unwrap();
                format!("time of {file}")
            }
            3 => {
                mode(&in_context(file), 0o755, 0o644);
                format!("mode of {file}")
            }
            4 => {
                let name = random.pick(&["new.md", "new.txt", "new.py", "tnew", "new.pyc"]);
                self.write(&format!("{context}/{folder}/{name}"), &format!("{round}\n"));
                format!("new {folder}/{name}")
            }
            5 => {
                let link = in_context("src/l");
                let old = std::fs::read_link(&link).unwrap();
                std::fs::remove_file(&link).unwrap();
                symlink(if old == Path::new("one") { "x.py" } else { "one" }, &link).unwrap();
                "target of src/l".into()
            }
            6 => {
                std::fs::create_dir_all(in_context(folder).join(format!("empty{round}"))).unwrap();
                format!("new folder {folder}/empty{round}")
            }
            7 => {
                let name = random.pick(&["src", "src/deep", "docs"]);
                mode(&in_context(name), 0o755, 0o700);
                format!("mode of {name}")
            }
            _ => {
                let text = std::fs::read(in_context(file)).unwrap();
                std::fs::remove_file(in_context(file)).unwrap();
                std::fs::write(in_context(file), text).unwrap();
                format!("{file} written anew")
            }
        }
    }
}

#[test]
fn an_unchanged_key_runs_no_step() {
    let up: Ran = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["sandbox", "up"]).output().unwrap().into();
    up.expect(0);
    eprintln!("seed {SEED}");
    let (corpus, mut random) = (Corpus::new(), Random(SEED));
    let mut keys = corpus.keys();
    corpus.run();
    assert_eq!(corpus.keys(), keys, "building changes no key");
    assert_eq!(corpus.run(), BTreeSet::new(), "the second time nothing runs");
    let (mut same, mut careful, mut faults) = (0, Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let edits: BTreeMap<String, String> = keys.keys().map(|id| (id.clone(), corpus.edit(id, round, &mut random))).collect();
        let after = corpus.keys();
        let worked = corpus.run();
        for (id, edit) in edits {
            let what = format!("round {round}, {id}: {edit}");
            match (keys[&id] == after[&id], worked.contains(&id)) {
                (true, true) => faults.push(what),
                (true, false) => same += 1,
                (false, false) => careful.push(what),
                (false, true) => {}
            }
        }
        keys = after;
    }
    eprintln!("{same} of {} keys stayed; {} changed for nothing: {careful:#?}", ROUNDS * CORPUS.len(), careful.len());
    assert!(faults.is_empty(), "the key stayed and a step ran (seed {SEED}):\n{}", faults.join("\n"));
    assert!(same > ROUNDS, "the edits test nothing");
}
