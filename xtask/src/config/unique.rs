//! Names that two builds may not share, and whether what was filled in is a name at all.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::faults::Faults;
use super::tree::Document;
use super::{Build, EventKey, Policy, names, placeholder};
use crate::marks;

/// Reports invalid repositories, tags and cache refs, and ids, tags, cache refs, generated files and logs of two builds.
///
/// Builds of `doubtful` images have placeholders that could not be filled: they are not compared.
pub fn check(builds: &[Build], doubtful: &BTreeSet<&str>, document: &Document, faults: &mut Faults) {
    let mut ids = HashMap::new();
    let mut files = HashMap::new();
    let mut caches = HashMap::new();
    let mut good = HashSet::new();
    let mut logs = HashMap::new();
    let mut repositories: HashMap<&str, Vec<&Build>> = HashMap::new();
    let certain = || builds.iter().filter(|build| !doubtful.contains(build.image.as_str()));
    for build in certain() {
        let header = || document.line(&["image", &build.image]);
        valid(build, &mut good, document, faults);
        if let Some(other) = ids.insert(build.id.as_str(), build) {
            faults.once(
                header(),
                "id",
                format!(
                    "two builds are called `{}`: of image `{}` and of image `{}`{}",
                    build.id,
                    other.image,
                    build.image,
                    example(other, build)
                ),
            );
        }
        if build.template.is_some()
            && let Some(other) = files.insert(&build.dockerfile, build)
        {
            let said = format!(
                "`{}` and `{}` both generate {} (put {{variant}} or {{id}} into dockerfile)",
                other.id, build.id, build.dockerfile
            );
            faults.once(key_line(document, build, "dockerfile"), "generated", said);
        }
        if let Some(cache) = &build.cache_ref
            && let Some(other) = caches.insert(cache, build)
        {
            let said =
                format!("`{}` and `{}` share the cache ref {cache} (put {{variant}} or {{id}} into it)", other.id, build.id);
            faults.once(document.line(&["cache", "registry"]), "cache", said);
        }
        for log in build.tests.iter().map(|test| &test.log) {
            // The JUnit file beside it is called the same but for its end.
            let junit = log.with_extension("xml");
            let Some((other, same)) = logs.insert(junit.clone(), (build, log)) else { continue };
            let said = match (other.id == build.id, same == log) {
                (true, _) => format!("two tests of `{}` write {log} (give each a log of its own, or leave it out)", build.id),
                (_, true) => {
                    format!("tests of `{}` and `{}` write {log} (put {{variant}} or {{id}} into log)", other.id, build.id)
                }
                (_, false) => format!("tests of `{}` and `{}` write {junit} (let log end in .log)", other.id, build.id),
            };
            faults.once(key_line(document, build, "test"), "log", said);
        }
        repositories.entry(&build.repository).or_default().push(build);
    }
    for build in certain() {
        let shared = build.cache_ref.as_deref().and_then(|cache| cache.rsplit_once(':'));
        let owners = shared.and_then(|(repository, tag)| Some((repositories.get(repository)?, tag)));
        if let Some((owners, tag)) = owners
            && let Some(owner) =
                owners.iter().find(|owner| owner.on.iter().any(|policy| policy.tags.iter().any(|other| other == tag)))
        {
            let said = format!(
                "the cache ref {} is also a tag of `{}`, and each would overwrite the other",
                build.cache_ref.as_deref().unwrap_or_default(),
                owner.id
            );
            faults.once(document.line(&["cache", "registry"]), "tag", format!("{said} (choose another)"));
        }
    }
    for builds in repositories.values().filter(|builds| builds.len() > 1) {
        shared_tags(builds, document, faults);
    }
}

/// Two builds of one repository and one tag, in an event that both have.
fn shared_tags(builds: &[&Build], document: &Document, faults: &mut Faults) {
    let mut owners: HashMap<(&EventKey, &str), &Build> = HashMap::new();
    for build in builds {
        for policy in &build.on {
            for tag in &policy.tags {
                match owners.insert((&policy.event, tag), build) {
                    Some(other) if other.id != build.id => {
                        let line = tags_line(document, build, &policy.event);
                        let said = format!(
                            "`{}` and `{}` share the tag {}:{tag} in {} ({})",
                            other.id,
                            build.id,
                            build.repository,
                            policy.event,
                            tag_hint(other, build, policy)
                        );
                        faults.once(line, "tag", said);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// How to keep the tags of two builds of one repository apart.
fn tag_hint(other: &Build, build: &Build, policy: &Policy) -> String {
    // The variants of two images may be the same.
    let name = if other.image == build.image { "{variant}" } else { "{id}" };
    if policy.has_default_tags {
        return format!("nobody wrote {}.tags: write them, with {name} in each, or another repository", policy.event);
    }
    format!("put {name} into the tag or the repository")
}

fn example(one: &Build, two: &Build) -> String {
    let point = |build: &Build| build.axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect::<Vec<_>>().join(",");
    if one.image == two.image {
        format!(" ({} and {}: put something between the axes in variant)", point(one), point(two))
    } else {
        " (rename one)".into()
    }
}

/// `good`: tags that were looked at and are.
fn valid<'a>(build: &'a Build, good: &mut HashSet<&'a str>, document: &Document, faults: &mut Faults) {
    let Build { id, repository, .. } = build;
    if !names::is_component(&build.image) {
        return;
    }
    if names::has_registry(repository) {
        let said =
            format!("repository `{repository}` of `{id}` begins with a registry (leave it out: `registry` is put in front)");
        faults.once(key_line(document, build, "repository"), "repository", said);
        return;
    }
    if !names::is_repository(repository) {
        let hint =
            if repository.to_lowercase() == *repository { "letters and digits, . _ - / between them" } else { "lower case only" };
        let said = format!("`{repository}` can't be the repository of `{id}` ({hint})");
        faults.once(key_line(document, build, "repository"), "repository", said);
        return;
    }
    if let Some(cache) = build.cache_ref.as_ref().filter(|cache| !is_reference(cache, repository)) {
        faults.once(
            document.line(&["cache", "registry"]),
            "ref",
            format!("`{cache}` can't be the cache ref of `{id}` (write \"repository:tag\")"),
        );
    }
    if build.candidates != *repository && !names::is_repository(&build.candidates) {
        let said = format!("`{}` can't be the repository of candidates (lower case, no tag)", build.candidates);
        faults.once(document.line(&["release", "candidates"]), "candidates", said);
    }
    for policy in &build.on {
        for tag in policy.tags.iter().chain(&policy.cache_from_tags) {
            let said = match sample(tag) {
                _ if good.contains(tag.as_str()) => continue,
                text if !names::is_tag(&text) => {
                    format!("`{tag}` can't be a tag of `{id}` (at most 128 letters, digits, `_`, `.` and `-`)")
                }
                text if marks::read(&text).is_some() => {
                    format!("`{tag}` can't be a tag of `{id}` (runs call their own tags so: choose another beginning)")
                }
                _ => {
                    good.insert(tag);
                    continue;
                }
            };
            faults.once(tags_line(document, build, &policy.event), "valid", said);
        }
    }
}

/// The tag with something of the right length for what only the event knows.
fn sample(tag: &str) -> String {
    placeholder::fill(tag, |name| {
        Some(match name {
            "sha" => "0123456789012345678901234567890123456789",
            "sha7" => "0123456",
            "timestamp" => "20260101-000000",
            "date" => "20260101",
            _ => "1",
        })
    })
    .unwrap_or_default()
}

/// `known`: a repository that is one.
fn is_reference(text: &str, known: &str) -> bool {
    let is_one = |repository: &str| repository == known || names::is_repository(repository);
    text.rsplit_once(':').is_some_and(|(repository, tag)| is_one(repository) && names::is_tag(tag))
}

fn key_line(document: &Document, build: &Build, key: &str) -> usize {
    let own = ["image", &build.image, key];
    document.exact_line(&own).or_else(|| document.exact_line(&["defaults", key])).unwrap_or_else(|| document.line(&own))
}

fn tags_line(document: &Document, build: &Build, event: &EventKey) -> usize {
    let own = ["image", &build.image, "on"];
    let tables: [&[&str]; 3] = [&own, &["defaults", "on"], &["on"]];
    let written = tables.iter().find_map(|table| document.exact_line(&[table, &event.path()[..], &["tags"]].concat()));
    written.unwrap_or_else(|| document.line(&["image", &build.image]))
}
