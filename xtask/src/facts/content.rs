//! What a build really takes from its context: one hash for each source of COPY, ADD and bind mounts.
//!
//! As BuildKit sees it: names, contents, permissions, extended attributes and the texts of links; neither times nor
//! owners. Where that cannot be known it takes more, or says why such a build is never the same as another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::ignore::{self, Ignore};
use super::parser;
use super::reading;
use super::sources::ALL;
use super::tree::{Digests, Tree};
use super::{Dockerfile, Facts};
use crate::config::{Build, Config};
use crate::error::Fault;
use crate::registry::split;

/// The files that a build takes, as hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// (pattern as in [`Dockerfile::sources`] or `.`, SHA-256 in hex), sorted.
    pub sources: Vec<(String, String)>,
    /// Why the whole context counts, though the Dockerfile does not ask for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<String>,
    /// Why the hashes do not say what the build takes: it may be another image each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always: Option<String>,
    /// What it takes that no two runs or clones find the same, as a sentence each: in no hash, and in `always`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volatile: Vec<String>,
    /// Sources that are not in the context; a build would fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    #[serde(skip_serializing_if = "Ignore::is_empty")]
    pub ignore: Ignore,
}

/// What decides the content of a build; builds that agree in it share one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked<'a> {
    context: &'a Utf8Path,
    /// Which `.dockerignore`: that of the Dockerfile, where it has one of its own, else that of the context.
    ignore: Option<&'a Utf8Path>,
    /// Each with what is excluded from it.
    patterns: Vec<(&'a str, Option<&'a Ignore>)>,
    whole: Option<String>,
    always: Option<&'a str>,
    parents: bool,
}

/// Adds the contents of all builds to the facts. `stop` ends it early; the facts are of no use then.
///
/// # Errors
/// Usage: a `.dockerignore` that is too long.
pub fn add(repo: &Utf8Path, config: &Config, facts: &mut Facts, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
    let mut asked: BTreeMap<Asked<'_>, Vec<&Build>> = BTreeMap::new();
    let own: BTreeSet<&Utf8Path> = config.builds.iter().map(|build| build.dockerfile.as_path()).collect();
    let own: BTreeSet<&Utf8Path> = own.into_iter().filter(|path| repo.join(ignore_of(path)).exists()).collect();
    for build in &config.builds {
        let Some(dockerfile) = facts.dockerfile(build) else { continue };
        asked.entry(ask(config, facts, build, dockerfile, &own)).or_default().push(build);
    }
    // One tree for all that see the same files, so that these are walked once.
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (asked, builds) in asked {
        groups.entry((asked.context, asked.ignore)).or_default().push((asked, builds));
    }
    let (mut digests, mut contents, mut same) = (Digests::default(), BTreeMap::new(), BTreeMap::new());
    for ((context, dockerfile), members) in groups {
        let file = dockerfile.map_or_else(|| context.join(".dockerignore"), ignore_of);
        let mut tree = Tree::new(repo, context, ignored_by(repo, &file)?);
        let patterns = || members.iter().flat_map(|(asked, _)| asked.patterns.iter().map(|(pattern, _)| *pattern));
        tree.read(&patterns().collect(), &mut digests, stop);
        if patterns().any(|pattern| tree.link(pattern).is_some()) {
            tree.read(&BTreeSet::from([ALL]), &mut digests, stop);
        }
        let mut known = BTreeMap::new();
        for (asked, builds) in members {
            let content = content(&asked, &tree, &mut known);
            let [first, others @ ..] = builds.as_slice() else { continue };
            same.extend(others.iter().map(|other| (other.id.clone(), first.id.clone())));
            contents.insert(first.id.clone(), content);
        }
    }
    (facts.contents, facts.same_content) = (contents, same);
    Ok(())
}

/// What a `.dockerignore` leaves out. One that cannot be read leaves nothing out here; the build itself will say what is
/// wrong with it.
fn ignored_by(repo: &Utf8Path, file: &Utf8Path) -> Result<Ignore> {
    let path = repo.join(file);
    if !path.is_file() {
        return Ok(Ignore::default());
    }
    let excess = match reading::read_at_most(&path, ignore::LONGEST) {
        Err(_) => return Ok(Ignore::default()),
        Ok(None) => format!("has more than {} KiB", ignore::LONGEST >> 10),
        Ok(Some(bytes)) => {
            let ignore = Ignore::parse(&parser::text(&bytes));
            match ignore.excess() {
                Some(excess) => excess,
                None => return Ok(ignore),
            }
        }
    };
    let hint = "leave out whole folders, and patterns that others contain";
    Err(Fault::usage(format!("{file} {excess}")).hint(hint).into())
}

/// `Dockerfile.dockerignore`
pub fn ignore_of(dockerfile: &Utf8Path) -> camino::Utf8PathBuf {
    format!("{dockerfile}.dockerignore").into()
}

fn ask<'a>(
    config: &Config,
    facts: &'a Facts,
    build: &'a Build,
    dockerfile: &'a Dockerfile,
    own: &BTreeSet<&'a Utf8Path>,
) -> Asked<'a> {
    let triggers = || {
        let here = |parent: &Build| facts.dockerfile(parent).is_some_and(|dockerfile| dockerfile.onbuild);
        let here = config.parents(build).find(|(_, parent)| here(parent)).map(|(_, parent)| parent.image.clone());
        // What is published may be of another Dockerfile. Whether this run builds the parent is not known here.
        // Nor is its tag, so any image of the parent's repository counts.
        let is_of = |reference: &str, of: &Build| split(reference).0 == config.with_registry(&of.repository);
        let published = || facts.triggers.iter().find(|image| config.parents(build).any(|(_, of)| is_of(image, of))).cloned();
        let foreign = || dockerfile.images.iter().find(|image| image.contains("onbuild") || facts.triggers.contains(*image));
        here.or_else(published).or_else(|| foreign().cloned()).map(|name| format!("{name} has ONBUILD steps"))
    };
    let whole = dockerfile.whole.clone().or_else(triggers);
    let patterns = match &dockerfile.sources {
        Some(sources) if whole.is_none() => {
            sources.iter().map(|source| (source.as_str(), dockerfile.excludes.get(source))).collect()
        }
        _ => vec![(ALL, None)],
    };
    Asked {
        context: &build.context,
        ignore: own.get(build.dockerfile.as_path()).copied(),
        patterns,
        whole,
        always: dockerfile.always.as_deref(),
        parents: dockerfile.parents,
    }
}

/// Pattern, what is excluded, whether the folders around count → hash.
type Known<'a> = BTreeMap<(&'a str, Option<&'a Ignore>, bool), String>;

fn content<'a>(asked: &Asked<'a>, tree: &Tree, known: &mut Known<'a>) -> Content {
    let link = |(pattern, _): &(&str, _)| tree.link(pattern).map(|link| format!("{pattern} goes through {link}"));
    let link = asked.patterns.iter().find_map(link);
    let patterns = if link.is_some() { &[(ALL, None)][..] } else { &asked.patterns };
    let mut hash = |&(pattern, excludes): &(&'a str, Option<&'a Ignore>)| {
        let read = || tree.hash(pattern, excludes, asked.parents);
        (pattern.to_owned(), known.entry((pattern, excludes, asked.parents)).or_insert_with(read).clone())
    };
    let missing = patterns.iter().map(|(pattern, _)| *pattern).filter(|pattern| tree.lacks(pattern));
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    // What is made between plan and build is not known here.
    let made_later = missing.first().map(|pattern| format!("{pattern} is not in the context {}", asked.context));
    let volatile: BTreeSet<String> = patterns.iter().flat_map(|(pattern, excludes)| tree.volatile(pattern, *excludes)).collect();
    let volatile = Vec::from_iter(volatile);
    let differs = (!volatile.is_empty()).then(|| volatile.join("; "));
    let fault = patterns.iter().find_map(|(pattern, _)| tree.fault(pattern));
    Content {
        sources: patterns.iter().map(&mut hash).collect(),
        whole: asked.whole.clone().or(link),
        always: asked.always.map(str::to_owned).or(differs).or(fault).or(made_later),
        volatile,
        missing,
        ignore: tree.ignore.clone(),
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
