//! The clean-up itself: what was decided is held against what the registry has by now, then done.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::stock::Stock;
use super::{Doomed, Removal};
use crate::error::Fault;
use crate::marks;
use crate::registry::{Digest, Registry, Wrote, split};

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// References that are gone.
    pub gone: Vec<String>,
    /// References that stay although they were to go, with why.
    pub kept: Vec<(String, String)>,
    /// Only printed.
    pub printed: bool,
}

/// Removes from one repository what was decided. Killed anywhere, it leaves no tag that can't be pulled, and nothing
/// that the next one does not find.
///
/// # Errors
/// The registry's. There is no compare-and-swap: what is published within the moment between the
/// last look and a removal is not seen.
pub fn apply(registry: &dyn Registry, stock: &Stock, removal: &Removal) -> Result<Applied> {
    let mut applied = Applied::default();
    if removal.untag.is_empty() && removal.delete.is_empty() {
        return Ok(applied);
    }
    refuse_unless_it_deletes(registry, &removal.repository)?;
    let (moved, needed) = since(registry, stock, removal)?;
    for reference in &removal.untag {
        if moved.contains(reference) {
            applied.kept.push((reference.clone(), "it was written meanwhile".into()));
        } else if !applied.did(reference, registry.untag(reference)?) {
            applied.kept.push((reference.clone(), "the registry takes no tag away from an image that stays".into()));
        }
    }
    for doomed in &removal.delete {
        let name = format!("{}@{}", removal.repository, doomed.digest);
        if [&doomed.digest].into_iter().chain(&doomed.images).any(|digest| needed.contains(digest)) {
            applied.kept.push((name, "a tag was pointed at it meanwhile".into()));
        } else if !applied.did(&name, remove(registry, &removal.repository, doomed)?) {
            applied.kept.push((name, "the registry does not delete it".into()));
        }
    }
    Ok(applied)
}

/// Asked of what nobody has, before anything is written.
fn refuse_unless_it_deletes(registry: &dyn Registry, repository: &str) -> Result<()> {
    if registry.delete(repository, &Digest::nobodys())? != Wrote::Unsupported {
        return Ok(());
    }
    let fault = Fault::failed(format!("cannot clean up {repository}: its registry does not let clients delete"));
    let hint = "allow it there (REGISTRY_STORAGE_DELETE_ENABLED=true of the distribution registry), \
                or take [retention] out of images.toml and use the registry's own rules";
    Err(fault.hint(hint).into())
}

/// The tags of an index go all at once. Its images have no tags and are in no list: until they are gone, a twin of it
/// leads to them.
fn remove(registry: &dyn Registry, repository: &str, doomed: &Doomed) -> Result<Wrote> {
    if doomed.images.is_empty() {
        return registry.delete(repository, &doomed.digest);
    }
    let twin = match doomed.is_twin {
        true => None,
        false => registry.twin(repository, &doomed.digest, &marks::removed(repository, &doomed.digest))?,
    };
    let first = twin.is_some().then_some(&doomed.digest);
    let last = twin.as_ref().unwrap_or(&doomed.digest);
    let mut wrote = Wrote::Done;
    for digest in first.into_iter().chain(&doomed.images).chain([last]) {
        wrote = registry.delete(repository, digest)?;
    }
    Ok(wrote)
}

impl Applied {
    /// Whether it was done, or printed.
    fn did(&mut self, reference: &str, wrote: Wrote) -> bool {
        self.printed |= wrote == Wrote::Printed;
        if wrote != Wrote::Unsupported {
            self.gone.push(reference.to_owned());
        }
        wrote != Wrote::Unsupported
    }
}

/// Tags that were written since the stock was read, and the manifests that they need.
fn since(registry: &dyn Registry, stock: &Stock, removal: &Removal) -> Result<(BTreeSet<String>, BTreeSet<Digest>)> {
    let known: BTreeMap<&str, &Digest> =
        stock.manifests.iter().flat_map(|old| old.tags.iter().map(|tag| (tag.as_str(), &old.digest))).collect();
    let (mut moved, mut needed) = (BTreeSet::new(), BTreeSet::new());
    // What is written once, or by its run alone, is where it was; what goes without its image is looked at again.
    let goes = |tag: &str| removal.untag.iter().any(|name| split(name).1 == tag);
    for listed in registry.list(&stock.repository, &|tag| !stock.steady.contains(tag) || goes(tag))? {
        let new: Vec<&String> = listed.tags.iter().filter(|tag| known.get(tag.as_str()) != Some(&&listed.digest)).collect();
        if new.is_empty() {
            continue;
        }
        moved.extend(new.into_iter().map(|tag| format!("{}:{tag}", stock.repository)));
        if let Some(node) = registry.node(&format!("{}@{}", stock.repository, listed.digest))? {
            needed.extend(node.children);
        }
        needed.insert(listed.digest);
    }
    Ok((moved, needed))
}
