//! What a repository holds: manifests, their tags, and what they need.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

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
}

impl Manifest {
    /// It has our labels, and comes from this repository's sources.
    pub fn is_ours(&self, source: &str) -> bool {
        labels::is_ours(&self.labels, source)
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

/// Reads what a repository lists, and what that leads to.
///
/// # Errors
/// The registry's.
pub fn read(registry: &dyn Registry, repository: &str) -> Result<Stock> {
    let manifests = each(&registry.list(repository)?, |listed| {
        let node = registry.node(&format!("{repository}@{}", listed.digest))?;
        Ok(node.map(|node| manifest(listed, node)))
    })?;
    Ok(Stock { repository: repository.to_owned(), manifests: manifests.into_iter().flatten().collect() })
}

fn manifest(listed: &Listed, node: Node) -> Manifest {
    let Image { labels, created, .. } = node.image.unwrap_or_default();
    let at = [Some(created.as_str()), labels.get(labels::CREATED).map(String::as_str), listed.at.as_deref()];
    let at = at.into_iter().flatten().filter_map(seconds).max();
    let Listed { digest, tags, .. } = listed.clone();
    Manifest { digest, tags, children: node.children, subject: node.subject, labels, at }
}

/// RFC 3339 in UTC.
pub fn seconds(text: &str) -> Option<Seconds> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}
