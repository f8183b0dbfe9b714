//! Our reading of Dockerfiles against BuildKit's: where a changed file of the context changes what is built, the key
//! changes, or the build is never reused.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clone::Ran;
use crate::dockerfiles::{Case, corpus};
use crate::frontend;

/// What a changed file has at its end.
const CHANGED: &str = "changed";
const NEW: [&str; 5] = ["new.txt", "new.py", "src/new.md", "src/deep/new.txt", "docs/new.txt"];

/// How many are built at once.
const AT_ONCE: usize = 40;

/// A repository in which each case is an image.
struct Repository {
    folder: tempfile::TempDir,
    cases: Vec<Case>,
    /// Of this run alone, so that no cache of another one helps.
    mark: String,
    /// The engine's environment, as lines for a shell.
    exports: String,
}

/// What a plan says of a build.
struct Planned {
    key: String,
    /// Why it is never reused, whatever its key is; a base image without a known digest is no reason here: no registry is
    /// asked.
    always: Option<String>,
}

impl Repository {
    fn new() -> Repository {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase();
        let sandbox =
            |task: &str| -> Ran { Command::new(env!("CARGO_BIN_EXE_xtask")).args(["sandbox", task]).output().unwrap().into() };
        sandbox("up").expect(0);
        let repository = Repository { folder, cases: corpus(), mark, exports: sandbox("env").expect(0).stdout };
        let mut images = "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"differential\"\n".to_owned();
        for Case { name, settings, .. } in &repository.cases {
            images += &format!("[image.{name}]\ncontext = \"{name}\"\ndockerfile = \"{name}/Dockerfile\"\n{settings}");
        }
        std::fs::create_dir(repository.path("docker")).unwrap();
        std::fs::write(repository.path("docker/images.toml"), images).unwrap();
        repository.cases.iter().for_each(|case| case.write(&repository.path(&case.name), &repository.mark));
        repository
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn plan(&self) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["plan", "--json"]).current_dir(self.folder.path());
        command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_EVENT_NAME");
        Ran::from(command.output().unwrap()).expect(0).json()
    }

    /// By case.
    fn planned(&self) -> BTreeMap<String, Planned> {
        let mut planned = BTreeMap::new();
        for build in self.plan()["builds"].as_array().unwrap() {
            let inputs = build["inputs"].as_array().unwrap();
            let always = inputs.iter().find(|input| input[0] == "always").map(|input| input[1].as_str().unwrap().to_owned());
            let always = always.filter(|why| !why.starts_with("the digest of "));
            let key = build["key"].as_str().unwrap().to_owned();
            planned.insert(build["id"].as_str().unwrap().to_owned(), Planned { key, always });
        }
        planned
    }

    /// The file of bake that builds every case into a folder of its own.
    fn write_bake_file(&self) {
        let mut targets = serde_json::Map::new();
        for build in self.plan()["builds"].as_array().unwrap() {
            let id = build["id"].as_str().unwrap();
            let args: BTreeMap<&str, &str> = build["args"].as_array().unwrap().iter().map(pair).collect();
            let mut target = serde_json::json!({
                "context": build["context"],
                "dockerfile": "Dockerfile",
                "args": args,
                "platforms": build["platforms"],
                "output": [format!("type=local,dest=out/{id}")],
                "attest": ["type=provenance,disabled=true"],
            });
            if build["target"].is_string() {
                target["target"] = build["target"].clone();
            }
            targets.insert(id.to_owned(), target);
        }
        let names: Vec<&String> = targets.keys().collect();
        let file = serde_json::json!({ "group": { "default": { "targets": names } }, "target": targets });
        std::fs::write(self.path("bake.json"), file.to_string()).unwrap();
    }

    /// Builds every case: the files that each one makes, as a text.
    fn build(&self) -> BTreeMap<String, String> {
        if self.path("out").exists() {
            std::fs::remove_dir_all(self.path("out")).unwrap();
        }
        // All at once is too much for the engine: it forgets a build before buildx asks how that goes.
        for cases in self.cases.chunks(AT_ONCE) {
            let line = format!("{}docker buildx bake --file bake.json --progress quiet --allow fs=out \"$@\"", self.exports);
            let mut bake = Command::new("sh");
            bake.args(["-c", &line, "sh"]).args(cases.iter().map(|case| &case.name)).current_dir(self.folder.path());
            Ran::from(bake.output().unwrap()).expect(0);
        }
        self.cases.iter().map(|case| (case.name.clone(), list(&self.path("out").join(&case.name)))).collect()
    }
}

fn pair(pair: &serde_json::Value) -> (&str, &str) {
    (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())
}

/// The names, permissions and texts below a folder.
fn list(path: &Path) -> String {
    let kind = path.symlink_metadata().unwrap();
    let mut text = format!("{} {:o} ", path.display(), kind.permissions().mode());
    if kind.is_symlink() {
        text += std::fs::read_link(path).unwrap().to_str().unwrap();
    } else if kind.is_file() {
        text += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
    } else {
        let mut below: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        below.sort();
        below.iter().for_each(|path| text += &list(path));
    }
    text + "\n"
}

/// What happens to a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Another text in the file with this number.
    Text(usize),
    /// Further files, which patterns may take.
    New,
    /// Every file may be executed.
    Modes,
}

impl Change {
    fn make(self, case: &Case, folder: &Path) {
        match self {
            Change::Text(at) => case.change(folder, case.changeable()[at], CHANGED),
            Change::New => NEW.iter().for_each(|path| std::fs::write(folder.join(path), "new\n").unwrap()),
            Change::Modes => modes(case, folder, 0o755),
        }
    }

    /// Makes it as if it had not been.
    fn undo(self, case: &Case, folder: &Path, mark: &str) {
        match self {
            Change::Text(at) => case.change(folder, case.changeable()[at], mark),
            Change::New => NEW.iter().for_each(|path| std::fs::remove_file(folder.join(path)).unwrap()),
            Change::Modes => modes(case, folder, 0o644),
        }
    }

    /// Whether it changes what was built, as far as the text of that says.
    fn is_seen(self, case: &Case, built: &str, mark: &str) -> bool {
        let Change::Text(at) = self else { return true };
        built.contains(&format!("{} {mark}", case.changeable()[at]))
    }

    fn name(self, case: &Case) -> String {
        match self {
            Change::Text(at) => format!("the text of {}", case.changeable()[at]),
            Change::New => "new files".into(),
            Change::Modes => "permissions".into(),
        }
    }
}

fn modes(case: &Case, folder: &Path, mode: u32) {
    for path in case.changeable() {
        std::fs::set_permissions(folder.join(path), Permissions::from_mode(mode)).unwrap();
    }
}

/// The changes that each case can have, one at a time over all of them.
fn rounds(cases: &[Case]) -> Vec<(Change, Vec<&Case>)> {
    let most = cases.iter().map(|case| case.changeable().len()).max().unwrap();
    let texts = (0..most).map(|at| (Change::Text(at), cases.iter().filter(|case| at < case.changeable().len()).collect()));
    texts.chain([Change::New, Change::Modes].map(|change| (change, cases.iter().collect()))).collect()
}

/// One change at a time says which of them the key follows, and plans cost little. The others are then made all at once:
/// where that changes what is built, one of them is missing in the key.
#[test]
fn what_buildkit_takes_from_a_context_is_in_the_key() {
    let repository = Repository::new();
    frontend::serve(&repository.exports);
    repository.write_bake_file();
    let (keys, before) = (repository.planned(), repository.build());
    let (mut pairs, mut needless) = (0, 0);
    let (mut silent, mut followed): (BTreeMap<&str, Vec<Change>>, BTreeMap<&str, usize>) = Default::default();
    for (change, cases) in rounds(&repository.cases) {
        cases.iter().for_each(|case| change.make(case, &repository.path(&case.name)));
        let now = repository.planned();
        for case in cases {
            pairs += 1;
            match keys[&case.name].key == now[&case.name].key {
                true => silent.entry(&case.name).or_default().push(change),
                false => {
                    *followed.entry(&case.name).or_default() += 1;
                    needless += usize::from(!change.is_seen(case, &before[&case.name], &repository.mark));
                }
            }
            change.undo(case, &repository.path(&case.name), &repository.mark);
        }
    }
    for case in &repository.cases {
        let made = silent.get(&*case.name).into_iter().flatten();
        made.for_each(|change| change.make(case, &repository.path(&case.name)));
    }
    let (keys_now, after) = (repository.planned(), repository.build());
    let (mut faults, mut always) = (Vec::new(), BTreeMap::new());
    for case in &repository.cases {
        let (name, now) = (&case.name, &keys_now[&case.name]);
        always.extend(now.always.clone().map(|why| (name, why)));
        if before[name] != after[name] && now.always.is_none() {
            let made: Vec<String> = silent[&**name].iter().map(|change| change.name(case)).collect();
            faults.push(format!("{name}: one of {}", made.join(", ")));
        }
    }
    let count = repository.cases.len();
    eprintln!("{count} Dockerfiles, {pairs} pairs, {needless} keys changed needlessly; never reused: {always:#?}");
    assert!(faults.is_empty(), "what was built changed, and its key did not:\n{}", faults.join("\n"));
    let dead: Vec<_> = repository.cases.iter().map(|case| &case.name).filter(|name| !followed.contains_key(&***name)).collect();
    assert!(dead.is_empty(), "the keys of these follow no change: {dead:?}");
    assert!(count >= 150);
}
