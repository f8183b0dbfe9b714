//! Golden plans: every event × every system as text; `BLESS=1 cargo test golden` rewrites them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

use super::{plan, render};
use crate::config::{self, Config, Env};
use crate::event::{Event, parse};
use crate::facts::{Changed, Facts, dockerfile, reading};
use crate::{bake, template};

/// The five systems: this repository, and those under examples/.
const SYSTEMS: [(&str, &str); 5] = [
    ("matrix", "."),
    ("release", "examples/release"),
    ("services", "examples/services"),
    ("hierarchy", "examples/hierarchy"),
    ("runtime-app", "examples/runtime-app"),
];

/// (name of the golden file, `--event`, files that changed; `None`: unknown)
type Case = (&'static str, &'static str, Option<&'static [&'static str]>);

const EVERYWHERE: [Case; 7] = [
    ("local", "local", None),
    ("pr", "pr:12", None),
    ("pr-fork", "pr:12:fork", None),
    ("merge-queue", "merge-queue", None),
    ("schedule", "schedule", None),
    ("manual", "manual", None),
    ("manual-rebuild", "manual:rebuild", None),
];

fn cases(system: &str) -> Vec<Case> {
    let mut cases = EVERYWHERE.to_vec();
    cases.extend_from_slice(match system {
        "matrix" => &[
            ("tag", "tag:v0.1.0", None),
            ("tag-dependencies", "tag:v0.1.0", Some(&["requirements/base.txt"])),
            ("tag-code", "tag:v0.1.0", Some(&["README.md"])),
            ("pr-readme", "pr:12", Some(&["README.md"])),
            ("pr-requirements", "pr:12", Some(&["requirements/base.txt"])),
        ],
        "release" => {
            &[("tag", "tag:v0.1.1", None), ("tag-prerelease", "tag:v0.2.0-rc.1", None), ("push-main", "branch:main", None)]
        }
        "services" => &[
            ("tag", "tag:v0.1.0", None),
            ("push-dev", "branch:dev", None),
            ("push-dev-one-service", "branch:dev", Some(&["services/web/app.py"])),
            ("push-main", "branch:main", None),
        ],
        "hierarchy" => &[
            ("push-main", "branch:main", None),
            ("push-main-base", "branch:main", Some(&["requirements/requirements-torch.txt"])),
            ("push-main-requirements", "branch:main", Some(&["requirements/requirements.txt"])),
            ("push-main-readme", "branch:main", Some(&["README.md"])),
        ],
        _ => &[
            ("push-main", "branch:main", Some(&["app/main.py"])),
            ("push-master", "branch:master", Some(&["app/main.py"])),
            ("push-main-docs", "branch:main", Some(&["docs/guide.md", "README.md"])),
            ("push-other", "branch:feature/x", Some(&["app/main.py"])),
        ],
    });
    cases
}

fn repo() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The same facts on every machine: a made-up commit, and the Dockerfiles as they are in the tree.
pub(crate) fn facts(root: &Utf8Path, config: &Config, changed: Option<&[&str]>) -> Facts {
    let rendered = template::render_all(root, config).unwrap();
    let mut dockerfiles = BTreeMap::new();
    for build in &config.builds {
        let read = || std::fs::read_to_string(root.join(&build.dockerfile)).unwrap();
        let text = rendered.get(&build.dockerfile).cloned().unwrap_or_else(read);
        let args = reading::args(build, &Event::Local, None);
        let read = dockerfile::read(text.as_bytes(), &args, build.target.as_deref(), &build.platforms).unwrap();
        dockerfiles.insert(build.dockerfile.clone(), read);
    }
    let pin = |image: &String| (image.clone(), Some(format!("sha256:{}", crate::facts::hex(&Sha256::digest(image)))));
    let bases = dockerfiles.values().flat_map(|dockerfile: &crate::facts::Dockerfile| &dockerfile.images).map(pin).collect();
    let changed = changed
        .map_or(Changed::Unknown("nothing was compared".into()), |files| Changed::Files(files.iter().map(Into::into).collect()));
    Facts {
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        commit_time: Some("2026-01-02T03:04:05Z".into()),
        branch: Some("main".into()),
        default_branch: "main".into(),
        source: Some("https://github.com/slipway/slipway".into()),
        now: "2026-01-02T03:04:05Z".into(),
        run: "42".into(),
        host_platform: "linux/amd64".into(),
        since_release: changed.clone(),
        changed,
        dockerfiles,
        bases,
        ..Facts::default()
    }
}

pub(crate) fn load(at: &str) -> (Utf8PathBuf, Config) {
    let root = repo().join(at);
    let env = Env::from([("DOCKER_REGISTRY_URL".into(), "registry.example.com".into())]);
    let config = config::load(&root, Utf8Path::new("docker/images.toml"), &env).unwrap();
    (root, config)
}

/// Compares with a golden file, or rewrites it.
fn compare(path: &Utf8Path, text: &str, faults: &mut Vec<String>) {
    let text = format!("{text}\n");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    } else if std::fs::read_to_string(path).unwrap_or_default() != text {
        faults.push(format!("{path} differs (BLESS=1 cargo test golden, then read the diff)"));
    }
}

#[test]
fn on_another_branch_manual_and_scheduled_runs_only_test() {
    let (root, config) = load(".");
    for event in ["manual", "schedule"] {
        for (branch, publishes) in [("main", true), ("feature", false)] {
            let branch = Some(branch.to_owned());
            let event = match event {
                "manual" => Event::Manual { rebuild: false, branch },
                _ => Event::Schedule { branch },
            };
            let plan = plan(&config, &event, &facts(&root, &config, None), &[]).unwrap();
            assert_eq!((plan.publishes, plan.builds.len()), (publishes, 14), "{event:?}");
        }
    }
}

#[test]
fn golden_plans() {
    let mut faults = Vec::new();
    for (system, at) in SYSTEMS {
        let (root, config) = load(at);
        let folder = repo().join("xtask/tests/golden").join(system);
        for (name, event, changed) in cases(system) {
            let event: Event = parse::event(event).unwrap();
            let text = match plan(&config, &event, &facts(&root, &config, changed), &[]) {
                Ok(plan) => {
                    let warnings = plan.warnings.iter().map(|warning| format!("\nwarning: {warning}"));
                    render::text(&plan) + &warnings.collect::<String>()
                }
                Err(error) => crate::error::render(&error),
            };
            compare(&folder.join(format!("{name}.txt")), &text, &mut faults);
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn golden_json_and_bake_file() {
    let mut faults = Vec::new();
    let (root, config) = load("examples/hierarchy");
    let event = parse::event("branch:main").unwrap();
    let plan = plan(&config, &event, &facts(&root, &config, None), &[]).unwrap();
    let json = serde_json::to_string_pretty(&plan).unwrap();
    assert_eq!(serde_json::from_str::<super::Plan>(&json).unwrap(), plan, "a plan survives its own JSON");
    let folder = repo().join("xtask/tests/golden/hierarchy");
    compare(&folder.join("push-main.json"), &json, &mut faults);
    compare(&folder.join("push-main.bake.json"), bake::file(&plan, &plan.ids()).text.trim_end(), &mut faults);
    compare(&folder.join("push-main.github.txt"), &render::github(&plan), &mut faults);
    compare(&folder.join("push-main.mermaid.txt"), &render::mermaid(&plan), &mut faults);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
