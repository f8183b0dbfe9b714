//! What a repository holds: manifests, their tags, and what they need.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::kind::{Kind, Kinds};
use super::undecided::undecided;
use crate::plan::labels;
use crate::registry::{Digest, Image, Listed, Node, Registry, each};

/// Since 1970.
pub type Seconds = u64;

/// What a repository holds, as far as its list and tags lead.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// With its registry.
    pub repository: String,
    pub manifests: Vec<Manifest>,
    /// Tags that point at the same manifest as long as they are there.
    pub steady: BTreeSet<String>,
}

/// An index, or an image for one platform.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub digest: Digest,
    pub tags: Vec<String>,
    /// What an index names: images and their attestations.
    pub children: Vec<Digest>,
    /// What it is a signature or an attestation of.
    pub subject: Option<Digest>,
    /// Of the image, or of the first platform.
    pub labels: BTreeMap<String, String>,
    /// When it was built at the latest, as far as it tells.
    pub at: Option<Seconds>,
    /// Its labels were read. Where they were not, nothing of it goes.
    pub is_read: bool,
}

impl Manifest {
    /// It has our labels, and comes from this repository's sources, as far as that was asked.
    pub fn is_ours(&self, source: &str) -> bool {
        !self.is_read || labels::is_ours(&self.labels, source)
    }
}

impl Stock {
    /// These manifests, and everything that they need or that is about them.
    pub fn needs<'a>(&'a self, roots: impl Iterator<Item = &'a Digest>) -> BTreeSet<&'a Digest> {
        let mut next: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for manifest in &self.manifests {
            next.entry(&manifest.digest).or_default().extend(&manifest.children);
            if let Some(subject) = &manifest.subject {
                next.entry(subject).or_default().push(&manifest.digest);
            }
        }
        let (mut needs, mut open) = (BTreeSet::new(), roots.collect::<Vec<_>>());
        while let Some(digest) = open.pop() {
            if needs.insert(digest) {
                open.extend(next.get(digest).into_iter().flatten());
            }
        }
        needs
    }

    /// It is here, or something here names it.
    pub fn knows(&self, digest: &Digest) -> bool {
        self.manifests.iter().any(|manifest| manifest.digest == *digest || manifest.children.contains(digest))
    }
}

/// Reads what these repositories list, and what that leads to: one read for each tag or listed manifest, and one more for
/// each image whose labels decide something.
///
/// # Errors
/// The registry's.
pub fn read(registry: &dyn Registry, kinds: &Kinds, keep: Option<usize>) -> Result<Vec<Stock>> {
    let repositories: Vec<&String> = kinds.repositories().collect();
    let mut lists = Vec::new();
    for repository in &repositories {
        lists.push(((*repository).clone(), registry.list(repository, &|_| true)?));
    }
    let open = undecided(kinds, keep, &lists);
    let mut stocks = Vec::new();
    for (repository, listed) in &lists {
        let manifests = each(listed, |listed| {
            let name = format!("{repository}@{}", listed.digest);
            let Some(node) = registry.node(&name)? else { return Ok(None) };
            let is_read = open.contains(&(repository.as_str(), &listed.digest));
            let image = if is_read { registry.first_image(&name)? } else { None };
            Ok(Some(Manifest { is_read, ..manifest(listed, node, image.unwrap_or_default()) }))
        })?;
        let is_steady = |tag: &&String| kinds.kind(repository, tag) != Kind::Other;
        let steady = listed.iter().flat_map(|listed| &listed.tags).filter(is_steady).cloned().collect();
        stocks.push(Stock { manifests: manifests.into_iter().flatten().collect(), steady, repository: repository.clone() });
    }
    Ok(stocks)
}

fn manifest(listed: &Listed, node: Node, image: Image) -> Manifest {
    let Image { labels, created, .. } = image;
    let at = [Some(created.as_str()), labels.get(labels::CREATED).map(String::as_str), listed.at.as_deref()];
    let at = at.into_iter().flatten().filter_map(seconds).max();
    let Listed { digest, tags, .. } = listed.clone();
    Manifest { digest, tags, children: node.children, subject: node.subject, labels, at, is_read: false }
}

/// RFC 3339 in UTC.
pub fn seconds(text: &str) -> Option<Seconds> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}
