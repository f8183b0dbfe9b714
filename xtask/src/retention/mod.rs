//! What of the repositories may go: old written-once tags, what runs left, and what nothing needs after that.
//!
//! Decided on the graph of manifests, never by date alone: what a tag that stays points at stays, with the images of its
//! platforms, its attestations and its signatures.

pub mod apply;
pub mod kind;
mod series;
pub mod stock;
#[cfg(test)]
mod tests;
mod undecided;

use std::collections::BTreeSet;
use std::time::Duration;

use kind::{Kind, Kinds, Named};
use serde::Serialize;
use series::Series;
use stock::{Manifest, Seconds, Stock};

use crate::registry::{Digest, split};

/// What stays.
pub struct Rules<'a> {
    pub kinds: &'a Kinds,
    /// Written-once tags of each template; `None`: every tag stays.
    pub keep: Option<usize>,
    pub grace: Duration,
    pub now: Seconds,
    /// Where the images come from, as their labels say it; "": not known.
    pub source: &'a str,
    /// References that this run writes.
    pub own: &'a BTreeSet<String>,
    /// When a commit was made, by its sha or the first digits of it; `None`: it is not known here.
    pub commits: &'a dyn Fn(&str) -> Option<Seconds>,
}

/// The newest runs may be at work: where every tag stays, so many of them are left alone.
const RUNS: usize = 5;

impl Rules<'_> {
    fn runs(&self) -> usize {
        self.keep.unwrap_or(RUNS)
    }
}

/// What becomes of a tag, or of a manifest without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub reference: String,
    pub digest: Digest,
    pub stays: bool,
    pub because: String,
}

impl Verdict {
    /// With its registry.
    pub fn repository(&self) -> &str {
        self.reference.split_once('@').map_or_else(|| split(&self.reference).0, |(repository, _)| repository)
    }
}

/// What is to be done in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    pub repository: String,
    /// Tags that go, of manifests that stay.
    pub untag: Vec<String>,
    /// With all of their tags; an index before the images that it names.
    pub delete: Vec<Doomed>,
}

/// A manifest that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub digest: Digest,
    /// Of an index: what it alone leads to, and what goes with it.
    pub images: Vec<Digest>,
    /// A removal that was cut short has left it, to lead to these images.
    pub is_twin: bool,
}

/// Why it stays, or why it goes.
type Why = Result<String, String>;

/// A tag, with what is known of it.
struct Tag<'a> {
    stock: &'a Stock,
    manifest: &'a Manifest,
    text: &'a str,
    kind: Kind,
    /// The youngest that anything tells: an image that is built from cache, or used again, is older than its tag.
    at: Option<Seconds>,
    why: Option<Why>,
}

/// Decides for all repositories at once: an image may have the mark of its tests in another one.
pub fn decide(stocks: &[Stock], rules: &Rules<'_>) -> (Vec<Verdict>, Vec<Removal>) {
    let mut tags: Vec<Tag<'_>> = stocks.iter().flat_map(|stock| tags(stock, rules)).collect();
    // First what stands for itself, then what stands and falls with the image that it is of.
    let series = Series::of(&tags, rules);
    let moving: BTreeSet<&Digest> = tags.iter().filter(|tag| tag.kind == Kind::Other).map(|tag| &tag.manifest.digest).collect();
    let whys: Vec<Option<Why>> = tags.iter().map(|tag| by_itself(tag, rules, &series, &moving)).collect();
    tags.iter_mut().zip(whys).for_each(|(tag, why)| tag.why = why);
    let published = needed(&tags);
    for tag in tags.iter_mut().filter(|tag| tag.why.is_none()) {
        tag.why = match tag.kind {
            Kind::Tested | Kind::Released if published.contains(&tag.manifest.digest) => Some(Ok("its image stays".into())),
            // `{major}` and `latest` alone may be its tags: then the mark is all that leads to a version.
            Kind::Released if rules.keep.is_none() => Some(Ok("of a version, and `keep` is \"all\"".into())),
            Kind::Tested | Kind::Released if !tag.manifest.is_read => Some(Ok("its image was not read".into())),
            Kind::Tested => Some(by_age(tag.at, rules, "no tag that stays has its image")),
            Kind::Released => Some(Err("its version goes".into())),
            _ => None,
        };
    }
    // Signatures come last: they are of images, and nothing is of them.
    let live = needed(&tags);
    for tag in tags.iter_mut().filter(|tag| tag.why.is_none()) {
        let Kind::Of(subject) = &tag.kind else { continue };
        let goes = tag.stock.knows(subject) && !live.contains(subject);
        tag.why = Some(if goes { Err("its image goes".into()) } else { Ok("its image stays".into()) });
    }
    conclude(stocks, &tags, rules)
}

fn tags<'a>(stock: &'a Stock, rules: &Rules<'_>) -> Vec<Tag<'a>> {
    let of = |manifest: &'a Manifest| manifest.tags.iter().map(move |text| (manifest, text.as_str()));
    let tag = |(manifest, text): (&'a Manifest, &'a str)| {
        let kind = rules.kinds.kind(&stock.repository, text);
        let (commit, time) = match &kind {
            Kind::Once { named, .. } => (named.commit.as_deref(), named.time.as_deref()),
            // The digits of a commit, then those of an event.
            Kind::Candidate { run } => (run.split('_').next(), None),
            _ => (None, None),
        };
        let at = [manifest.at, commit.and_then(rules.commits), time.and_then(stock::seconds)].into_iter().flatten().max();
        Tag { stock, manifest, text, kind, at, why: None }
    };
    stock.manifests.iter().flat_map(of).map(tag).collect()
}

impl Tag<'_> {
    fn name(&self) -> String {
        format!("{}:{}", self.stock.repository, self.text)
    }

    fn stays(&self) -> bool {
        // What nothing was said of stays.
        !matches!(self.why, Some(Err(_)))
    }
}

/// `None`: that depends on others. `moving`: what tags of no template point at.
fn by_itself(tag: &Tag<'_>, rules: &Rules<'_>, series: &Series, moving: &BTreeSet<&Digest>) -> Option<Why> {
    match &tag.kind {
        Kind::Other => Some(Ok("no template of a written-once tag".into())),
        Kind::Of(_) => None,
        Kind::Removed => Some(Err("a clean-up was cut short".into())),
        _ if rules.own.contains(&tag.name()) => Some(Ok("of this run".into())),
        Kind::Once { .. } if rules.keep.is_none() => Some(Ok("written once, and `keep` is \"all\"".into())),
        Kind::Once { template, named } if series.is_newest(&tag.stock.repository, template, tag.text) => {
            Some(Ok(newest(rules.keep.unwrap_or_default(), &of(template, named))))
        }
        Kind::Candidate { run } if series.has_run(run) => Some(Ok(newest(rules.runs(), "runs"))),
        _ if !tag.manifest.is_ours(rules.source) => Some(Ok("not built by these pipelines".into())),
        Kind::Once { .. } if moving.contains(&tag.manifest.digest) => Some(Ok("a moving tag has the same image".into())),
        Kind::Once { template, named } => {
            let keep = rules.keep.unwrap_or_default();
            Some(by_age(tag.at, rules, &format!("older than the {keep} newest {}", of(template, named))))
        }
        Kind::Candidate { .. } => Some(by_age(tag.at, rules, "its run is over")),
        Kind::Tested | Kind::Released => None,
    }
}

fn newest(keep: usize, of: &str) -> String {
    format!("one of the {keep} newest {of}")
}

/// `{version}`, `pre-releases of {version}`
fn of(template: &str, named: &Named) -> String {
    if named.is_prerelease() { format!("pre-releases of {template}") } else { template.to_owned() }
}

/// It goes for `why`, unless it is young or may be.
fn by_age(at: Option<Seconds>, rules: &Rules<'_>, why: &str) -> Why {
    match at {
        None => Ok("its age is not known".into()),
        Some(at) if at.saturating_add(rules.grace.as_secs()) > rules.now => {
            Ok(format!("younger than {}", humantime::format_duration(rules.grace)))
        }
        Some(_) => Err(why.to_owned()),
    }
}

/// Everything that tags that are known to stay need.
fn needed<'a>(tags: &[Tag<'a>]) -> BTreeSet<&'a Digest> {
    let mut of: Vec<(&Stock, Vec<&Digest>)> = Vec::new();
    for tag in tags.iter().filter(|tag| matches!(tag.why, Some(Ok(_)))) {
        match of.last_mut().filter(|(stock, _)| std::ptr::eq(*stock, tag.stock)) {
            Some((_, roots)) => roots.push(&tag.manifest.digest),
            None => of.push((tag.stock, vec![&tag.manifest.digest])),
        }
    }
    of.into_iter().flat_map(|(stock, roots)| stock.needs(roots.into_iter())).collect()
}

/// The verdicts, and what follows from them in each repository.
fn conclude(stocks: &[Stock], tags: &[Tag<'_>], rules: &Rules<'_>) -> (Vec<Verdict>, Vec<Removal>) {
    let (mut verdicts, mut removals) = (Vec::new(), Vec::new());
    for stock in stocks {
        let tags = || tags.iter().filter(|tag| std::ptr::eq(tag.stock, stock));
        let roots = |stays: bool| tags().filter(move |tag| tag.stays() == stays).map(|tag| &tag.manifest.digest);
        let (mut live, doomed) = (stock.needs(roots(true)), stock.needs(roots(false)));
        for tag in tags() {
            let because = tag.why.clone().map_or_else(|| "not known".into(), |why| why.unwrap_or_else(|why| why));
            verdicts.push(Verdict { reference: tag.name(), digest: tag.manifest.digest.clone(), stays: tag.stays(), because });
        }
        for manifest in stock.manifests.iter().filter(|manifest| manifest.tags.is_empty()) {
            let why = match &manifest.digest {
                digest if live.contains(digest) => Ok("an image that stays needs it".to_owned()),
                digest if doomed.contains(digest) => Err("what needed it goes".to_owned()),
                _ => by_age(manifest.at, rules, "it has no tag, and nothing needs it"),
            };
            if why.is_ok() {
                live.extend(stock.needs([&manifest.digest].into_iter()));
            }
            let (stays, because) = (why.is_ok(), why.unwrap_or_else(|why| why));
            let reference = format!("{}@{}", stock.repository, manifest.digest);
            verdicts.push(Verdict { reference, digest: manifest.digest.clone(), stays, because });
        }
        let untag = tags().filter(|tag| !tag.stays() && live.contains(&tag.manifest.digest)).map(Tag::name).collect();
        let (indexes, images): (Vec<_>, Vec<_>) = stock.manifests.iter().partition(|manifest| !manifest.children.is_empty());
        let is_listed = |digest: &Digest| stock.manifests.iter().any(|manifest| manifest.digest == *digest);
        let is_twin = |digest: &Digest| tags().any(|tag| tag.kind == Kind::Removed && tag.manifest.digest == *digest);
        // Last what leads to images, where the index that they are of is still there.
        let (twins, indexes): (Vec<&Manifest>, Vec<&Manifest>) = indexes.into_iter().partition(|index| is_twin(&index.digest));
        let ordered = indexes.into_iter().chain(images).chain(twins);
        let ordered: Vec<&Manifest> = ordered.filter(|manifest| !live.contains(&manifest.digest)).collect();
        // An image goes with the last of the indexes that name it.
        let mut claimed = BTreeSet::new();
        let mut doomed = |manifest: &&Manifest| {
            let goes = |child: &&Digest| !live.contains(child) && !is_listed(child) && claimed.insert((*child).clone());
            let images = manifest.children.iter().filter(goes).cloned().collect();
            Doomed { digest: manifest.digest.clone(), images, is_twin: is_twin(&manifest.digest) }
        };
        let mut delete: Vec<Doomed> = ordered.iter().rev().map(&mut doomed).collect();
        delete.reverse();
        removals.push(Removal { repository: stock.repository.clone(), untag, delete });
    }
    (verdicts, removals)
}
