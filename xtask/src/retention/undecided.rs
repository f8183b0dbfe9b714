//! Which images have to be read: most tags stay by their names alone, however old their images are and whosever they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::kind::{Kind, Kinds};
use super::{RUNS, series};
use crate::registry::{Digest, Listed};

/// A manifest of a repository.
pub type Name<'a> = (&'a str, &'a Digest);

/// Repository, and what it lists.
pub type List = (String, Vec<Listed>);

/// The manifests whose labels decide something.
pub fn undecided<'a>(kinds: &Kinds, keep: Option<usize>, lists: &'a [List]) -> BTreeSet<Name<'a>> {
    let mut tags: Vec<(Name<'a>, Kind)> = Vec::new();
    let mut open = BTreeSet::new();
    for (repository, listed) in lists {
        for manifest in listed {
            let name = (repository.as_str(), &manifest.digest);
            tags.extend(manifest.tags.iter().map(|tag| (name, kinds.kind(repository, tag))));
            // Without a tag only its age is asked.
            if manifest.tags.is_empty() && manifest.at.is_none() {
                open.insert(name);
            }
        }
    }
    let crowded = crowded(&tags, keep);
    let beyond = old_runs(&tags, keep.unwrap_or(RUNS));
    let mut sure = BTreeSet::new();
    for (name, kind) in &tags {
        let is_open = match kind {
            Kind::Other => false,
            Kind::Once { template, named } => crowded.contains(&(name.0, template.as_str(), named.is_prerelease())),
            Kind::Candidate { run } => beyond.contains(run.as_str()),
            Kind::Released if keep.is_none() => false,
            Kind::Tested | Kind::Released | Kind::Removed | Kind::Of(_) => continue,
        };
        if is_open {
            open.insert(*name)
        } else {
            sure.insert(*name)
        };
    }
    // A mark stands and falls with its image.
    let marks = tags.iter().filter(|(name, kind)| matches!(kind, Kind::Tested | Kind::Released) && !sure.contains(name));
    open.extend(marks.map(|(name, _)| *name));
    open
}

/// The series of written-once tags that have more than what stays of them.
fn crowded<'t>(tags: &'t [(Name<'_>, Kind)], keep: Option<usize>) -> BTreeSet<(&'t str, &'t str, bool)> {
    let mut sizes: BTreeMap<(&str, &str, bool), usize> = BTreeMap::new();
    for ((repository, _), kind) in tags {
        if let Kind::Once { template, named } = kind {
            *sizes.entry((repository, template, named.is_prerelease())).or_default() += 1;
        }
    }
    sizes.into_iter().filter(|(_, size)| keep.is_some_and(|keep| *size > keep)).map(|(series, _)| series).collect()
}

/// Runs that are not the newest. Those that have a number are ordered by it, the others by what their images say.
fn old_runs<'t>(tags: &'t [(Name<'_>, Kind)], keep: usize) -> BTreeSet<&'t str> {
    let runs: BTreeSet<&str> =
        tags.iter().filter_map(|(_, kind)| if let Kind::Candidate { run } = kind { Some(run.as_str()) } else { None }).collect();
    let (mut numbered, named): (Vec<&str>, Vec<&str>) = runs.into_iter().partition(|run| series::number(run).is_some());
    numbered.sort_by_key(|run| Reverse(series::number(run)));
    let named = if named.len() > keep { named } else { Vec::new() };
    numbered.into_iter().skip(keep).chain(named).collect()
}
