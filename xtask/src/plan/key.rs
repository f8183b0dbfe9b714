//! The key of a build: SHA-256 over its named inputs.
//!
//! Until files are hashed one by one, the whole source (the commit and what differs from it) is one input:
//! too careful, never stale.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::parents::Resolved;
use super::planner::Input;
use crate::config::{Build, Test};

pub struct Inputs<'a> {
    pub input: &'a Input<'a>,
    pub build: &'a Build,
    pub args: &'a [(String, String)],
    pub platforms: &'a [String],
    pub parents: &'a [Resolved],
    /// Id → key of the builds before this one.
    pub keys: &'a BTreeMap<String, String>,
}

/// Lower-case hex, 64 characters.
pub fn key(inputs: &Inputs<'_>) -> String {
    let Inputs { input, build, .. } = inputs;
    let dockerfile = input.facts.dockerfile(build);
    let parent = |parent: &Resolved| {
        let key = parent.is.strip_prefix("build:").and_then(|id| inputs.keys.get(id));
        (parent.name.clone(), key.unwrap_or(&parent.is).clone())
    };
    let named = json!({
        "args": inputs.args,
        "bases": dockerfile.map(|dockerfile| &dockerfile.images),
        "context": build.context,
        "dirty": input.facts.dirty,
        "dockerfile": dockerfile.map(|dockerfile| &dockerfile.sha256),
        "id": build.id,
        "labels": build.labels,
        "parents": inputs.parents.iter().map(parent).collect::<Vec<_>>(),
        "platforms": inputs.platforms,
        "secrets": build.secrets.keys().collect::<Vec<_>>(),
        "source": input.facts.commit,
        "target": build.target,
        "version": input.version.map(|version| &version.text),
    });
    crate::facts::hex(&Sha256::digest(serde_json::to_vec(&named).unwrap_or_default()))
}

/// The key of a build together with everything its tests consist of. Lower-case hex, 64 characters.
pub fn test_key(input: &Input<'_>, build: &Build, key: &str) -> String {
    let test = |test: &Test| {
        let mounts = test.mounts.iter().map(|(path, inside)| (inside, input.facts.mounted.get(path))).collect::<Vec<_>>();
        json!({ "kind": test.kind, "mounts": mounts, "deps": test.deps, "env": test.env, "workdir": test.workdir })
    };
    let named = json!({ "key": key, "tests": build.tests.iter().map(test).collect::<Vec<_>>() });
    crate::facts::hex(&Sha256::digest(named.to_string()))
}
