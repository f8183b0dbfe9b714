//! From the plan to the text of a bake file. Pure and the same bytes each time; printed by `plan --format bake`.
//!
//! The format is <https://docs.docker.com/build/bake/reference/>. Two things are easy to get wrong: `dockerfile`
//! is relative to `context`, and strings in a JSON bake file are HCL templates.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::Secret;
use crate::docker::{csv, familiar};
use crate::plan::{Build, Plan};

/// A bake file, and what its targets are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bake {
    pub text: String,
    /// (target, build id), for every target in the file.
    pub targets: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Target {
    context: String,
    dockerfile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    contexts: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secret: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    output: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_from: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_to: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_cache: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pull: bool,
    /// Written out because defaults differ between versions of buildx and change the digest.
    attest: [&'static str; 2],
}

/// The bake file that builds `ids`.
///
/// Parents that are not among them are in the file too, because the children are linked to them: they come
/// from the builder's cache and are not exported again.
pub fn file(plan: &Plan, ids: &BTreeSet<String>) -> Bake {
    let names = target_names(plan);
    let with_parents = with_parents(plan, ids);
    let builds = || plan.builds.iter().filter(|build| with_parents.contains(build.id.as_str()));
    let targets: Map<String, Value> = builds()
        .map(|build| {
            let target = target(build, &names, ids.contains(&build.id));
            (names[build.id.as_str()].clone(), serde_json::to_value(target).unwrap_or_default())
        })
        .collect();
    let wanted: Vec<&String> = builds().filter(|build| ids.contains(&build.id)).map(|build| &names[build.id.as_str()]).collect();
    let file = serde_json::json!({ "group": { "default": { "targets": wanted } }, "target": targets });
    Bake {
        text: format!("{file:#}"),
        targets: builds().map(|build| (names[build.id.as_str()].clone(), build.id.clone())).collect(),
    }
}

fn target(build: &Build, names: &BTreeMap<&str, String>, export: bool) -> Target {
    let fresh = build.test.fresh && export;
    let contexts = build.parents.iter().filter_map(|(name, from)| context(name, from, names));
    Target {
        context: literal(&build.context),
        dockerfile: literal(&relative(&build.context, &build.dockerfile)),
        target: build.target.as_deref().map(literal),
        platforms: literals(&build.platforms),
        contexts: contexts.map(|(name, from)| (literal(&name), literal(&from).into())).collect(),
        args: table(&build.args),
        labels: table(&build.labels),
        secret: build.secrets.iter().map(|(id, secret)| literal(&mount(id, secret))).collect(),
        tags: build.names().iter().take(1).filter(|_| export).map(|name| literal(name)).collect(),
        // One output: two of one build race on one image record. With the containerd store a pushed image is here too.
        output: vec![match export {
            // A platform that is only built to see that it can be.
            true if build.names().is_empty() => "type=cacheonly".into(),
            true if build.pushes_candidate() => "type=registry,oci-mediatypes=true".into(),
            true => "type=docker,oci-mediatypes=true".into(),
            false => "type=cacheonly".into(),
        }],
        cache_from: if fresh { Vec::new() } else { literals(&build.test.cache_from) },
        cache_to: if export { literals(&build.test.cache_to) } else { Vec::new() },
        no_cache: fresh,
        pull: fresh,
        attest: ["type=provenance,disabled=true", "type=sbom,disabled=true"],
    }
}

/// `ids` and everything they are built on in this plan.
fn with_parents<'a>(plan: &'a Plan, ids: &'a BTreeSet<String>) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    // Parents stand before their children, so one walk from the end sees every child first.
    for build in plan.builds.iter().rev() {
        if found.contains(build.id.as_str()) {
            found.extend(build.parents.iter().filter_map(|(_, from)| from.strip_prefix("build:")));
        }
    }
    found
}

/// Build id → bake target: dots and the like are not allowed there. The same in every file of a plan.
pub fn target_names(plan: &Plan) -> BTreeMap<&str, String> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for build in &plan.builds {
        let plain: String = build.id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let numbered = (2..).map(|n| format!("{plain}_{n}"));
        if let Some(free) = std::iter::once(plain.clone()).chain(numbered).find(|name| !taken.contains(name)) {
            taken.insert(free.clone());
            names.insert(build.id.as_str(), free);
        }
    }
    names
}

/// A named context, `None` where the name in FROM already says it all.
///
/// BuildKit looks the name up as its frontend normalises it: familiar, without `:latest`
/// (moby/buildkit, frontend/dockerui/namedcontext.go).
fn context(name: &str, from: &str, names: &BTreeMap<&str, String>) -> Option<(String, String)> {
    let normal = |name: &str| familiar(name).trim_end_matches(":latest").to_owned();
    if let Some(id) = from.strip_prefix("build:") {
        return names.get(id).map(|target| (normal(name), format!("target:{target}")));
    }
    let from = from.trim_start_matches("docker-image://");
    (normal(name) != normal(from)).then(|| (normal(name), format!("docker-image://{from}")))
}

fn mount(id: &str, secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => {
            let name = name.trim_start_matches("${").trim_end_matches('}');
            format!("{},{}", csv(&format!("id={id}")), csv(&format!("env={name}")))
        }
        Secret::File(file) => format!("{},{}", csv(&format!("id={id}")), csv(&format!("src={}", file.file))),
    }
}

/// `path` as seen from the folder `base`; both relative to the repository.
fn relative(base: &str, path: &str) -> String {
    let parts = |path: &'_ str| path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect::<Vec<_>>();
    let (base, path) = (parts(base), parts(path));
    let shared = base.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.len() - shared);
    up.chain(path[shared..].iter().map(String::as_str)).collect::<Vec<_>>().join("/")
}

/// Text that bake takes as it stands: `${` and `%{` begin a template in HCL, doubled they do not.
fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn literals(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| literal(text)).collect()
}

fn table(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (literal(name), literal(value).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    fn ids(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn a_build_as_text() {
        let mut one = build("python-cpu-py3.11");
        one.context = "docker/app".into();
        one.dockerfile = "docker/dockerfiles/Dockerfile.cpu".into();
        one.target = Some("final".into());
        one.args = vec![("A".into(), "${B} %{c}".into())];
        one.labels = vec![("l".into(), "x".into())];
        one.secrets = vec![
            ("pip".into(), Secret::Env("${PIP_TOKEN}".into())),
            ("npmrc".into(), Secret::File(crate::config::types::AxisFile { file: "a,b/.npmrc".into() })),
        ];
        one.parents = vec![("python:3.11-slim".into(), "python:3.11-slim@sha256:aa".into())];
        one.test.load = vec!["acme/a:local".into(), "acme/a:other".into()];
        one.test.fresh = true;
        one.test.cache_to = vec!["type=registry,ref=r/c:a,mode=max,ignore-error=true".into()];
        let golden = r#"{
  "group": {
    "default": {
      "targets": [
        "python-cpu-py3_11"
      ]
    }
  },
  "target": {
    "python-cpu-py3_11": {
      "context": "docker/app",
      "dockerfile": "../dockerfiles/Dockerfile.cpu",
      "target": "final",
      "platforms": [
        "linux/amd64"
      ],
      "contexts": {
        "python:3.11-slim": "docker-image://python:3.11-slim@sha256:aa"
      },
      "args": {
        "A": "$${B} %%{c}"
      },
      "labels": {
        "l": "x"
      },
      "secret": [
        "id=pip,env=PIP_TOKEN",
        "id=npmrc,\"src=a,b/.npmrc\""
      ],
      "tags": [
        "acme/a:local"
      ],
      "output": [
        "type=docker,oci-mediatypes=true"
      ],
      "cache-to": [
        "type=registry,ref=r/c:a,mode=max,ignore-error=true"
      ],
      "no-cache": true,
      "pull": true,
      "attest": [
        "type=provenance,disabled=true",
        "type=sbom,disabled=true"
      ]
    }
  }
}"#;
        assert_eq!(file(&plan(vec![one]), &ids(&["python-cpu-py3.11"])).text, golden);
    }

    #[test]
    fn a_parent_that_is_done_is_linked_but_not_exported() {
        let mut base = build("base");
        base.test.fresh = true;
        let mut child = build("app");
        child.parents = vec![("ghcr.io/acme/base:latest".into(), "build:base".into())];
        let bake = file(&plan(vec![base, child, build("other")]), &ids(&["app"]));
        let text: Value = serde_json::from_str(&bake.text).unwrap();
        assert_eq!(text["group"]["default"]["targets"], serde_json::json!(["app"]));
        assert_eq!(text["target"]["base"]["output"], serde_json::json!(["type=cacheonly"]));
        assert_eq!(text["target"]["base"]["no-cache"], Value::Null);
        assert_eq!(text["target"]["app"]["contexts"], serde_json::json!({ "ghcr.io/acme/base": "target:base" }));
        assert_eq!(bake.targets.len(), 2, "the third build has no part in it");
    }

    #[test]
    fn target_names_are_allowed_and_unique() {
        let plan = plan(vec![build("a.b"), build("a_b"), build("c")]);
        let names: Vec<String> = target_names(&plan).into_values().collect();
        assert_eq!(names, ["a_b", "a_b_2", "c"]);
    }

    #[test]
    fn a_name_that_says_it_all_needs_no_context() {
        let names = BTreeMap::new();
        assert_eq!(context("python:3.11", "docker.io/library/python:3.11", &names), None);
        let named = context("base", "ghcr.io/acme/base:latest", &names);
        assert_eq!(named, Some(("base".into(), "docker-image://ghcr.io/acme/base:latest".into())));
    }

    #[test]
    fn paths_as_seen_from_the_context() {
        for (base, path, seen) in [
            (".", "docker/Dockerfile", "docker/Dockerfile"),
            ("services/web", "services/web/Dockerfile", "Dockerfile"),
            ("./a/b/", "a/Dockerfile", "../Dockerfile"),
        ] {
            assert_eq!(relative(base, path), seen, "{base} {path}");
        }
    }
}
