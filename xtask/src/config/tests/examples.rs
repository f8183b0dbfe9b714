//! The fixtures load to the builds and policies that they describe.

use super::*;
use crate::config::{EventKey, TestKind};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config");

/// What the fixtures name.
const FILES: &[(&str, &str)] = &[
    ("PYTHON_VERSIONS", "3.7\n3.8\n3.9\n3.10\n3.11\n3.12\n3.13\n"),
    ("VERSION", "v1.0.0\n"),
    ("Dockerfile", ""),
    ("services/web/Dockerfile", ""),
    ("services/api/Dockerfile", ""),
    ("docker/base.Dockerfile", ""),
    ("docker/Dockerfile", ""),
    ("docker/Dockerfile.j2", ""),
    ("docker/Dockerfile.base", ""),
    ("docker/Dockerfile.ci", ""),
    ("docker/tests/test.py", ""),
    (".devcontainer/Dockerfile", ""),
    ("build/Dockerfile.runtime", ""),
    ("build/Dockerfile.app", ""),
    ("docker-compose.yml", ""),
    (".trivyignore", ""),
];

fn fixture(name: &str) -> Config {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{name}.toml")).unwrap();
    let mut files = FILES.to_vec();
    files.push(("docker/images.toml", &text));
    Repo::new(&files).load().unwrap()
}

/// Each event with its tags: `pull-request: pr-{number}`.
fn events(config: &Config, id: &str) -> Vec<String> {
    build(config, id).on.iter().map(|policy| format!("{}: {}", policy.event, policy.tags.join(" "))).collect()
}

fn ids(config: &Config) -> Vec<&str> {
    config.builds.iter().map(|build| build.id.as_str()).collect()
}

#[test]
fn two_dockerfiles() {
    let config = fixture("two-dockerfiles");
    assert_eq!(ids(&config), ["app", "base"]);
    let app = build(&config, "app");
    assert_eq!((app.repository.as_str(), app.dockerfile.as_str(), app.context.as_str()), ("acme/shop/app", "Dockerfile", "."));
    assert_eq!((app.parents[0].image.as_str(), app.parents[0].tag.as_deref()), ("base", None));
    assert_eq!((app.timeout.as_secs(), &app.cache_ref, app.candidates.as_str()), (3600, &None, "acme/shop/app"));
    let expected = ["on.pull-request: pr-{number}", "on.tag: {semver} {major}.{minor} latest", "on.local: local"];
    assert_eq!(events(&config, "app"), expected);
    assert_eq!(config.login, ("DOCKER_USERNAME".to_owned(), "DOCKER_PASSWORD".to_owned()));
}

#[test]
fn matrix() {
    let config = fixture("matrix");
    assert_eq!(config.builds.len(), 14);
    assert_eq!((ids(&config)[0], ids(&config)[13]), ("python-cpu-py3.7", "python-cuda-py3.13"));
    let build = build(&config, "python-cuda-py3.10");
    assert_eq!(build.axes, [("runtime".to_owned(), "cuda".to_owned()), ("python".into(), "3.10".into())]);
    assert_eq!(build.cache_ref.as_deref(), Some("slipway/python-build-cache:cuda-py3.10"));
    assert_eq!(build.dockerfile, "docker/dockerfiles/Dockerfile.cuda-py3.10");
    assert_eq!(build.tests[0].log, "tests/logs/test-py3.10-cuda.log");
    assert_eq!(build.tests[0].deps["ci"].join(" "), "pip install -q -r /tests/requirements.txt");
    assert_eq!(config.version_file.as_ref().map(|file| file.version.text.as_str()), Some("v1.0.0"));
    let manual = build.on.iter().find(|policy| policy.event == EventKey::Manual).unwrap();
    assert_eq!((manual.rebuild_input.as_str(), manual.replace), ("REBUILD_BASE", true));
}

#[test]
fn release() {
    let config = fixture("release");
    let tap = build(&config, "tap");
    assert_eq!(tap.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(tap.tests[1].kind, TestKind::Http { port: 8888, path: "/".into() });
    assert_eq!(
        config.retention.map(|retention| (retention.keep, retention.grace)),
        Some((crate::config::types::Keep::Newest(5), "24h".to_owned()))
    );
}

#[test]
fn services() {
    let config = fixture("services");
    assert_eq!(ids(&config), ["service-api", "service-web"]);
    let api = build(&config, "service-api");
    assert_eq!((api.repository.as_str(), api.dockerfile.as_str()), ("slipway/shop/api", "services/api/Dockerfile"));
    assert_eq!(api.cache_ref.as_deref(), Some("slipway/shop/api:cache"));
    assert_eq!(api.on[1].event, EventKey::Branch("dev".into()));
    assert_eq!(api.on[2].cache_from_tags, ["dev", "latest"]);
}

#[test]
fn hierarchy() {
    let config = fixture("hierarchy");
    assert_eq!(ids(&config), ["base", "ci", "devcontainer", "prod"]);
    assert_eq!(build(&config, "prod").repository, "slipway/bot");
    assert_eq!(build(&config, "prod").on[1].paths.as_deref(), Some(&["**".to_owned()][..]));
    assert_eq!(build(&config, "prod").on[1].tags, ["latest", "main-{sha7}"]);
    assert_eq!(build(&config, "ci").platforms, ["linux/amd64"]);
    let own = build(&config, "devcontainer");
    assert!(own.local_only && !own.publish);
    assert_eq!(events(&config, "devcontainer"), ["on.local: local"]);
}

#[test]
fn runtime_app() {
    let config = fixture("runtime-app");
    assert_eq!((config.registry.as_str(), config.registry_unset.as_deref()), ("", Some("DOCKER_REGISTRY_URL")));
    assert_eq!(build(&config, "app").repository, "app");
    assert_eq!(events(&config, "runtime"), ["on.manual: v{timestamp} latest", "on.local: local"]);
    assert_eq!(events(&config, "app"), ["on.pull-request: pr-{number}", "on.branch.main: {sha7} latest", "on.local: local"]);
}

#[test]
fn grammar() {
    let config = fixture("grammar");
    assert_eq!(config.builds.len(), 1 + 14 - 2 + 1);
    assert_eq!(ids(&config)[13], "python-rocm-py3.12");
    let cuda = build(&config, "python-cuda-py3.9");
    assert_eq!(cuda.vars["cuda"], "12.4.1");
    assert_eq!(cuda.args["PYTHON"], "3.9");
    assert_eq!(cuda.tests.len(), 3);
    let keys: Vec<_> = cuda.on.iter().map(|policy| policy.event.to_string()).collect();
    assert_eq!(keys, ["on.pull-request", "on.branch.main", "on.tag", "on.schedule", "on.local"]);
    assert_eq!(cuda.on[1].tags, ["latest"]);
    // What `only` says of axes is not about an image without them.
    assert_eq!((cuda.on[0].only.len(), build(&config, "base").on[0].only.len()), (3, 0));
}

#[test]
fn the_grammar_fixture_holds_every_key() {
    let text = std::fs::read_to_string(format!("{FIXTURES}/grammar.toml")).unwrap();
    // What a comment names is not written.
    let text = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let schema = crate::config::schema::schema();
    let tables = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys = tables.filter_map(|table| table["properties"].as_object()).flat_map(|keys| keys.keys());
    let holds = |key: &str| {
        let ends = |rest: &str| rest.starts_with([' ', '.', ']', '=']);
        text.match_indices(key).any(|(at, _)| text[..at].ends_with(['\n', '.', '[', ' ']) && ends(&text[at + key.len()..]))
    };
    let missing: Vec<_> = keys.filter(|key| !holds(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn conditions_of_the_command_line_name_what_exists() {
    let config = fixture("grammar");
    for (text, expected) in [
        ("runtime=rocm", None),
        ("image=base", None),
        ("id=python-cpu-py3.9", None),
        ("image=bas", Some("`image=bas`: no image `bas` (did you mean `base`?)")),
        ("id=zzz,python=3.9", Some("`id=zzz,python=3.9`: no id `zzz` (known: base, ")),
        ("python=x", Some("`python=x`: axis `python` has no value `x` (known: 3.7, ")),
    ] {
        let said = config.condition(text).err();
        match (said, expected) {
            (None, None) => {}
            (Some(said), Some(expected)) => assert!(said.starts_with(&expected[..expected.len() - 6]), "{said}"),
            (said, _) => panic!("{text}: {said:?}"),
        }
    }
}
