//! What is newest: of each template, and of runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::kind::Kind;
use super::stock::Seconds;
use super::{Rules, Tag};

/// A run's name may be a time, of 14 digits; GitHub's numbers are shorter.
const TIME: usize = 14;

/// The newest of everything that has an order of its own.
#[derive(Debug, Default)]
pub struct Series {
    /// (repository, template, tag)
    tags: BTreeSet<(String, String, String)>,
    runs: BTreeSet<String>,
}

impl Series {
    pub fn of(tags: &[Tag<'_>], rules: &Rules<'_>) -> Series {
        let mut templates: BTreeMap<(&str, &str, bool), Vec<_>> = BTreeMap::new();
        let mut runs: BTreeMap<&str, Seconds> = BTreeMap::new();
        for tag in tags.iter().filter(|tag| tag.manifest.is_ours(rules.source)) {
            // What has no age is as good as new.
            let at = tag.at.unwrap_or(Seconds::MAX);
            match &tag.kind {
                Kind::Once { template, named } => {
                    // A final release is worth more than its candidates: they take no place of one.
                    let series = (tag.stock.repository.as_str(), template.as_str(), named.is_prerelease());
                    templates.entry(series).or_default().push((&named.version, at, tag.text));
                }
                Kind::Candidate { run } => {
                    let known = runs.entry(run).or_default();
                    *known = at.max(*known);
                }
                _ => {}
            }
        }
        let mut series = Series { tags: BTreeSet::new(), runs: newest_runs(runs, rules.runs()) };
        for ((repository, template, _), mut tags) in templates {
            // Versions by their order, and whatever has none by age.
            tags.sort_by(|one, other| other.cmp(one));
            let newest = tags.into_iter().take(rules.keep.unwrap_or(usize::MAX));
            series.tags.extend(newest.map(|(_, _, tag)| (repository.to_owned(), template.to_owned(), tag.to_owned())));
        }
        series
    }

    pub fn is_newest(&self, repository: &str, template: &str, tag: &str) -> bool {
        self.tags.contains(&(repository.to_owned(), template.to_owned(), tag.to_owned()))
    }

    /// It may still be at work.
    pub fn has_run(&self, run: &str) -> bool {
        self.runs.contains(run)
    }
}

/// The number that GitHub gave a run.
pub fn number(run: &str) -> Option<u64> {
    run.parse().ok().filter(|_| run.len() < TIME)
}

/// GitHub numbers runs upwards, others are named after a time or a commit. Some of each.
fn newest_runs(runs: BTreeMap<&str, Seconds>, keep: usize) -> BTreeSet<String> {
    let (mut numbered, mut named): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(run, _)| number(run).is_some());
    numbered.sort_by_key(|(run, _)| Reverse(number(run)));
    named.sort_by_key(|(_, at)| Reverse(*at));
    [numbered, named].into_iter().flat_map(|runs| runs.into_iter().take(keep)).map(|(run, _)| run.to_owned()).collect()
}
