//! What counts as this project's among builders, images and caches.

use serde_json::json;

use super::*;
use crate::config;
use crate::plan::testing::{build, plan};

#[test]
fn the_cache_of_a_builder_by_kinds() {
    let lines = r#"{"Type":"regular","Size":"1.5GB","Reclaimable":true}
{"Type":"exec.cachemount","Size":"20MB","Reclaimable":false}
{"Type":"regular","Size":"999B","Reclaimable":true}
not json
{"Type":"regular","Size":"?"}"#;
    let types = BTreeMap::from([("regular".to_owned(), 1_500_000_999), ("exec.cachemount".to_owned(), 20_000_000)]);
    assert_eq!(usage(lines), Usage { bytes: 1_520_000_999, reclaimable: 1_500_000_999, types });
    assert_eq!(usage(""), Usage::default());
}

#[test]
fn sizes_as_docker_writes_them() {
    for (text, expected) in
        [("0B", Some(0)), ("12.35kB", Some(12_350)), ("1TB", Some(1_000_000_000_000)), ("12", None), ("x", None)]
    {
        assert_eq!(bytes(text), expected, "{text}");
    }
}

/// An image of the engine.
fn image(names: &[&str], title: &str, created: &str, more: &[(&str, &str)]) -> Image {
    let mut labels = serde_json::Map::new();
    labels.insert(KEY.into(), json!("k"));
    labels.insert("org.opencontainers.image.title".into(), json!(title));
    labels.extend(more.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    Image { facts: json!({ "RepoTags": names, "Created": created, "Size": 7, "Config": { "Labels": labels } }) }
}

#[test]
fn only_this_projects_images_count_and_the_newest_of_each_build_stays() {
    let root = camino::Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/runtime-app").canonicalize_utf8().unwrap();
    let env = BTreeMap::from([("DOCKER_REGISTRY_URL".to_owned(), "registry.example".to_owned())]);
    let config = config::load(&root, "docker/images.toml".into(), &env).unwrap();
    let named = repositories(&config);
    let repository = |image: &str| named.iter().find(|name| name.ends_with(image)).unwrap().clone();
    let (app, runtime) = (repository("app"), repository("runtime"));
    let name = |repository: &str, tag: &str| format!("{repository}:{tag}");
    let source = "org.opencontainers.image.source";
    let all = [
        image(&[&name(&app, "old")], "app", "2026-01-01T00:00:00Z", &[]),
        image(&[&name(&app, "local"), "mine:keep"], "app", "2026-01-02T00:00:00.5Z", &[(source, "https://here")]),
        image(&[&name(&app, "older"), "mine:older"], "app", "2025-01-02T00:00:00Z", &[]),
        image(&[&name(&runtime, "local")], "runtime", "2024-01-01T00:00:00Z", &[]),
        image(&["elsewhere/app:local"], "app", "2020-01-01T00:00:00Z", &[]),
        image(&[&name(&app, "fork")], "app", "2020-01-01T00:00:00Z", &[(source, "https://there")]),
        image(&[&name(&app, "by-hand")], "app", "2020-01-01T00:00:00Z", &[(KEY, "")]),
        Image { facts: json!({ "RepoTags": null, "Config": { "Labels": null } }) },
    ];
    let found = images(&all, &config, Some("https://here"), &["app", "runtime"].into());
    let names = |kept: &[Kept]| kept.iter().flat_map(|kept| kept.names.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found.newest), [name(&app, "local"), name(&runtime, "local")]);
    assert_eq!(names(&found.older), [name(&app, "old"), name(&app, "older")], "and never names of somebody else");
    assert_eq!(images(&all, &config, None, &["runtime"].into()).older, Vec::new());
}

#[test]
fn caches_of_a_plan_with_who_reads_and_writes() {
    let (mut one, mut two) = (build("a"), build("b"));
    one.test.cache_from = vec!["type=registry,ref=r/c:x".into(), "type=gha,scope=a".into()];
    one.test.cache_to = vec!["type=registry,ref=r/c:x,mode=max,ignore-error=true".into(), "type=inline".into()];
    one.push.cache_from = vec!["type=registry,ref=r/c:x".into()];
    two.test.cache_from = vec!["type=registry,ref=r/c:x".into()];
    let cache = Cache { reference: "r/c:x".into(), read_by: vec!["a".into(), "b".into()], written_by: vec!["a".into()] };
    assert_eq!(caches(&plan(vec![one, two])), [cache]);
}
