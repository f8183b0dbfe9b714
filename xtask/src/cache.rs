//! What caches hold: the builder's, the registry's, and the images of this project that the engine keeps.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::docker::{Image, familiar};
use crate::plan::Plan;
use crate::plan::labels::KEY;

/// Of the records of a builder, as `docker buildx du` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes of all records.
    pub bytes: u64,
    /// Of those, what no build and no image needs.
    pub reclaimable: u64,
    /// Type of record (`regular`, `exec.cachemount`, `source.local`, …) → bytes.
    pub types: BTreeMap<String, u64>,
}

/// What `docker buildx du --format json` printed: an object a line.
pub fn usage(stdout: &str) -> Usage {
    let mut usage = Usage::default();
    for record in stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let bytes = record["Size"].as_str().and_then(bytes).unwrap_or(0);
        usage.bytes += bytes;
        usage.reclaimable += if record["Reclaimable"] == true { bytes } else { 0 };
        *usage.types.entry(record["Type"].as_str().unwrap_or("other").to_owned()).or_default() += bytes;
    }
    usage
}

/// `4.4GB`, in steps of a thousand, as the Docker CLI writes sizes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = ["B", "kB", "MB", "GB", "TB"].iter().position(|known| *known == unit)?;
    Some((number.parse::<f64>().ok()? * 1000_f64.powi(i32::try_from(power).ok()?)).round() as u64)
}

/// Images of this project in the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The newest of each build.
    pub newest: Vec<Kept>,
    /// All that came before.
    pub older: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its names in the repositories of this project; an image may have others.
    pub names: Vec<String>,
    pub bytes: u64,
}

/// Picks from images of the engine those that are of this project: built by a run of ours (they carry a key), called
/// like a repository of the configuration, and, as far as both are known, from the same source. `ids`: of the builds that are meant.
pub fn images(images: &[Image], config: &Config, source: Option<&str>, ids: &BTreeSet<&str>) -> Images {
    let repositories = repositories(config);
    let mut builds: BTreeMap<&str, Vec<(String, Kept)>> = BTreeMap::new();
    for image in images {
        let labels = &image.facts["Config"]["Labels"];
        let label = |name: &str| labels[name].as_str().unwrap_or_default();
        let (title, theirs) = (label("org.opencontainers.image.title"), label("org.opencontainers.image.source"));
        let elsewhere = source.is_some_and(|source| !theirs.is_empty() && theirs != source);
        let tags = image.facts["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_of = |tag: &&str| repositories.contains(familiar(crate::registry::split(tag).0));
        let names: Vec<String> = tags.filter(is_of).map(str::to_owned).collect();
        if label(KEY).is_empty() || elsewhere || names.is_empty() || !ids.contains(title) {
            continue;
        }
        // One that is built from cache is as old as its layers: what counts is when it got its last name.
        let times = [&image.facts["Metadata"]["LastTagTime"], &image.facts["Created"]];
        let time = times.map(|time| time.as_str().unwrap_or_default()).join(" ");
        builds.entry(title).or_default().push((time, Kept { names, bytes: image.size() }));
    }
    let mut found = Images::default();
    for (_, mut all) in builds {
        // RFC 3339 in UTC: the order of the texts is that of the times, to the second.
        all.sort_by(|one, two| two.0.cmp(&one.0));
        let mut all = all.into_iter().map(|(_, kept)| kept);
        found.newest.extend(all.next());
        found.older.extend(all);
    }
    found
}

/// The repositories of a configuration as the engine calls them, with the registry of this run and that of the file.
pub fn repositories(config: &Config) -> BTreeSet<String> {
    let registries = [config.registry.as_str(), config.written_registry.as_str()];
    let own = config.builds.iter().flat_map(|build| [&build.repository, &build.candidates]);
    let name = |registry: &str, own: &str| match registry {
        "" => familiar(own).to_owned(),
        registry => familiar(&format!("{registry}/{own}")).to_owned(),
    };
    own.flat_map(|own| registries.map(|registry| name(registry, own))).collect()
}

/// A cache in a registry, or an image that is read as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cache {
    pub reference: String,
    /// Ids of the builds that read it in this event.
    pub read_by: Vec<String>,
    /// Ids of the builds that write it in this event.
    pub written_by: Vec<String>,
}

/// Every cache of a registry that a plan reads or writes, each once.
pub fn caches(plan: &Plan) -> Vec<Cache> {
    let mut all: BTreeMap<String, Cache> = BTreeMap::new();
    for build in &plan.builds {
        let reads = build.test.cache_from.iter().chain(&build.push.cache_from).map(|entry| (entry, false));
        for (entry, writes) in reads.chain(build.test.cache_to.iter().map(|entry| (entry, true))) {
            let Some(reference) = reference(entry) else { continue };
            let cache = all.entry(reference.to_owned()).or_default();
            let ids = if writes { &mut cache.written_by } else { &mut cache.read_by };
            if !ids.contains(&build.id) {
                ids.push(build.id.clone());
            }
        }
    }
    all.into_iter().map(|(reference, cache)| Cache { reference, ..cache }).collect()
}

/// What a cache entry of the registry points at.
fn reference(entry: &str) -> Option<&str> {
    let mut fields = entry.strip_prefix("type=registry,")?.split(',');
    fields.find_map(|field| field.strip_prefix("ref="))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
