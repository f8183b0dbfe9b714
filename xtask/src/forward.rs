//! Moving tags move forward only: how what a tag points at now compares with what it would point at.

use std::cmp::Ordering;

use anyhow::Result;

use crate::facts::short;
use crate::plan::labels;
use crate::registry::{Image, Registry, digests, split};
use crate::version::Version;

/// What a run would put on its moving tags.
#[derive(Clone, Debug)]
pub struct Ours {
    pub version: Option<Version>,
    /// The commit.
    pub revision: Option<String>,
}

/// What a tag points at now, as far as it can be known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Theirs {
    /// Carries our key label; labels of other images say nothing, they are inherited from bases.
    pub is_ours: bool,
    pub version: Option<Version>,
    pub revision: Option<String>,
    pub key: Option<String>,
}

/// How another commit stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancestry {
    /// An ancestor of ours.
    Before,
    Same,
    /// A descendant of ours.
    After,
    /// On another line.
    Diverged,
    /// Not in this repository.
    Unknown,
}

/// What a tag points at now, compared with ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Older,
    /// The same version or commit; another build of it.
    Same,
    /// Why.
    Newer(String),
    /// Why it is not known.
    Unknown(String),
}

/// `git merge-base` and the like: how a commit stands to ours.
pub type History<'a> = &'a (dyn Fn(&str) -> Result<Ancestry> + Sync);

/// Compares by version where both have one, else by commit.
///
/// # Errors
/// Those of `history`.
pub fn order(ours: &Ours, theirs: &Theirs, history: History<'_>) -> Result<Order> {
    if let (Some(our), Some(their)) = (&ours.version, &theirs.version) {
        match their.precedence(our) {
            Ordering::Less => return Ok(Order::Older),
            Ordering::Greater => return Ok(Order::Newer(format!("it is at {}, which is newer than {}", their.text, our.text))),
            Ordering::Equal => {}
        }
    }
    let same_version = ours.version.is_some() && theirs.version.is_some();
    let revision = theirs.revision.as_deref().filter(|revision| theirs.is_ours && !revision.is_empty());
    let (Some(revision), Some(_)) = (revision, &ours.revision) else {
        let why = "it was not made by this pipeline and has no version tag";
        return Ok(if same_version { Order::Same } else { Order::Unknown(why.into()) });
    };
    let short = short(revision, 7);
    Ok(match history(revision)? {
        Ancestry::Before => Order::Older,
        Ancestry::Same => Order::Same,
        Ancestry::After => Order::Newer(format!("it is at commit {short}, which came later")),
        Ancestry::Diverged | Ancestry::Unknown if same_version => Order::Same,
        Ancestry::Diverged => Order::Newer(format!("it is at commit {short}, which is not an ancestor of this one")),
        Ancestry::Unknown => Order::Unknown(format!("it is at commit {short}, which is not in this repository")),
    })
}

/// Reads what a reference points at.
///
/// The version label counted only beside our key label; other images are known by the version tags they share a digest with.
pub fn look(registry: &dyn Registry, reference: &str) -> Result<Theirs> {
    let Some(images) = registry.images(reference)? else { return Ok(Theirs::default()) };
    let theirs = images.first().map(known).unwrap_or_default();
    if theirs.is_ours {
        return Ok(theirs);
    }
    let (repository, _) = split(reference.split('@').next().unwrap_or(reference));
    let versions: Vec<Version> = registry.tags(repository)?.iter().filter_map(|tag| Version::parse(tag).ok()).collect();
    let references: Vec<String> = versions.iter().map(|version| format!("{repository}:{}", version.text)).collect();
    let digest = match reference.split_once('@') {
        Some((_, digest)) => Some(crate::registry::Digest::parse(digest)?),
        None => registry.digest(reference)?,
    };
    let same = digests(registry, &references)?;
    let version = versions.into_iter().zip(same).filter(|(_, other)| *other == digest).map(|(version, _)| version).max();
    Ok(Theirs { version, ..theirs })
}

fn known(image: &Image) -> Theirs {
    let label = |name: &str| image.labels.get(name).filter(|value| !value.is_empty());
    let Some(key) = label(labels::KEY).cloned() else { return Theirs::default() };
    let version = label("org.opencontainers.image.version").and_then(|text| Version::parse(text).ok());
    Theirs { is_ours: true, version, revision: label(labels::REVISION).cloned(), key: Some(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::{Memory, d};

    fn version(text: &str) -> Option<Version> {
        (!text.is_empty()).then(|| Version::parse(text).unwrap())
    }

    #[test]
    fn forward_only_as_a_table() {
        use Ancestry::{After, Before, Diverged, Same, Unknown};
        // (our version, their version, is ours, how their commit stands to ours, first word of the answer)
        let table = [
            ("v1.2.0", "v1.1.0", true, Diverged, "Older"),
            ("v1.1.0", "v1.2.0", true, Before, "Newer"),
            ("v1.10.0", "v1.9.0", true, Before, "Older"),
            ("v1.0.0", "v1.0.0-rc.1", true, Before, "Older"),
            ("v1.0.0", "v1.0.0", true, Same, "Same"),
            ("v1.0.0", "v1.0.0", true, Before, "Older"),
            ("v1.0.0", "v1.0.0", true, After, "Newer"),
            ("v1.0.0", "v1.0.0", true, Unknown, "Same"),
            ("v1.0.0", "v0.9.0", false, Unknown, "Older"),
            ("v1.0.0", "v2.0.0", false, Unknown, "Newer"),
            ("v1.0.0", "", true, Before, "Older"),
            ("v1.0.0", "", true, After, "Newer"),
            ("v1.0.0", "", false, Before, "Unknown"),
            ("", "v9.0.0", true, Before, "Older"),
            ("", "", true, Same, "Same"),
            ("", "", true, Diverged, "Newer"),
            ("", "", true, Unknown, "Unknown"),
            ("", "", false, Before, "Unknown"),
        ];
        for (our, their, is_ours, ancestry, expected) in table {
            let ours = Ours { version: version(our), revision: Some("c0ffee00".into()) };
            let revision = is_ours.then(|| "0123456789".to_owned());
            let theirs = Theirs { is_ours, version: version(their), revision, key: None };
            let order = order(&ours, &theirs, &|_| Ok(ancestry)).unwrap();
            assert!(format!("{order:?}").starts_with(expected), "{our} {their} {is_ours} {ancestry:?}: {order:?}");
        }
    }

    #[test]
    fn a_label_that_is_no_commit_is_no_panic() {
        let ours = Ours { version: None, revision: Some("c0ffee00".into()) };
        let theirs = Theirs { is_ours: true, revision: Some("abcdefß".into()), ..Theirs::default() };
        let order = order(&ours, &theirs, &|_| Ok(Ancestry::Unknown)).unwrap();
        assert_eq!(order, Order::Unknown("it is at commit abcdefß, which is not in this repository".into()));
    }

    #[test]
    fn an_inherited_version_label_counts_for_nothing() {
        let memory = Memory::default();
        memory.add(&d(1), &[("org.opencontainers.image.version", "24.04")], &["r/a:latest", "r/a:v0.3.0", "r/a:v0.2.0", "r/a:x"]);
        memory.add(&d(2), &[], &["r/a:v9.0.0"]);
        let theirs = look(&memory.view(), "r/a:latest").unwrap();
        assert_eq!((theirs.is_ours, theirs.version.map(|version| version.text)), (false, Some("v0.3.0".into())));
        memory.add(&d(3), &[(labels::KEY, "k"), ("org.opencontainers.image.version", "v1.0.0")], &["r/a:latest"]);
        let theirs = look(&memory.view(), "r/a:latest").unwrap();
        assert_eq!((theirs.is_ours, theirs.version.map(|version| version.text)), (true, Some("v1.0.0".into())));
    }
}
