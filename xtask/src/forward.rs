//! Moving tags move forward only, or with their branch: how what a tag points at now compares with what it would point at.

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

/// The branch of a run.
pub struct Branch<'a> {
    /// Tags that are made of its name, full references.
    pub tags: Vec<String>,
    /// The event says that commits of the branch were replaced.
    pub forced: bool,
    /// Whether the branch has a commit now; `None`: not known.
    pub has: &'a (dyn Fn(&str) -> Result<Option<bool>> + Sync),
}

/// Compares what a tag has with ours: by its branch where the tag is made of the branch's name, else see [`order`].
///
/// # Errors
/// Those of `history` and of the branch.
pub fn compare(tag: &str, ours: &Ours, theirs: &Theirs, history: History<'_>, branch: &Branch<'_>) -> Result<Order> {
    if branch.tags.iter().any(|follows| follows == tag) {
        return follow(ours, theirs, history, branch);
    }
    order(ours, theirs, history)
}

/// A tag of a branch goes where the branch goes, also back and to another history. A run of a commit that the branch has
/// left by now, or of an older one, moves nothing. Versions do not count.
fn follow(ours: &Ours, theirs: &Theirs, history: History<'_>, branch: &Branch<'_>) -> Result<Order> {
    let revision = theirs.revision.as_deref().filter(|revision| theirs.is_ours && !revision.is_empty());
    let (Some(revision), Some(our)) = (revision, &ours.revision) else {
        return Ok(Order::Unknown("it was not made by this pipeline".into()));
    };
    let ancestry = history(revision)?;
    if ancestry == Ancestry::Same {
        return Ok(Order::Same);
    }
    match (branch.has)(our)? {
        Some(false) => {
            let short = short(revision, 7);
            return Ok(Order::Newer(format!("it is at commit {short}, and the branch does not have this commit now")));
        }
        Some(true) if (branch.has)(revision)? == Some(false) => return Ok(Order::Older),
        None if branch.forced => return Ok(Order::Older),
        _ => {}
    }
    Ok(by_commit(revision, ancestry))
}

fn by_commit(revision: &str, ancestry: Ancestry) -> Order {
    let short = short(revision, 7);
    match ancestry {
        Ancestry::Before => Order::Older,
        Ancestry::Same => Order::Same,
        Ancestry::After => Order::Newer(format!("it is at commit {short}, which came later")),
        Ancestry::Diverged => Order::Newer(format!("it is at commit {short}, which is not an ancestor of this one")),
        Ancestry::Unknown => Order::Unknown(format!("it is at commit {short}, which is not in this repository")),
    }
}

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
    Ok(match history(revision)? {
        Ancestry::Diverged | Ancestry::Unknown if same_version => Order::Same,
        ancestry => by_commit(revision, ancestry),
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
    fn a_tag_of_a_branch_goes_with_it() {
        use Ancestry::{After, Before, Diverged, Same, Unknown};
        const NEITHER: (Option<bool>, Option<bool>) = (None, None);
        let (left, gone, both) = ((Some(true), Some(false)), (Some(false), Some(true)), (Some(true), Some(true)));
        // (how their commit stands to ours, whether the branch has ours and theirs, forced, first word of the answer)
        let table = [
            (Before, both, false, "Older"),
            (Same, gone, false, "Same"),
            // Somebody went back with `git reset`: their commit came after ours, and was taken off the branch.
            (After, left, false, "Older"),
            (After, left, true, "Older"),
            // A queued run of an older commit.
            (After, both, false, "Newer"),
            (After, both, true, "Newer"),
            (Diverged, left, false, "Older"),
            (Diverged, both, false, "Newer"),
            (Unknown, left, false, "Older"),
            // A run of commits that were replaced meanwhile.
            (Before, gone, false, "Newer"),
            (Diverged, gone, true, "Newer"),
            (Unknown, gone, false, "Newer"),
            // Nobody can be asked: what the event says.
            (After, NEITHER, false, "Newer"),
            (After, NEITHER, true, "Older"),
            (Diverged, NEITHER, false, "Newer"),
            (Diverged, NEITHER, true, "Older"),
            (Unknown, NEITHER, false, "Unknown"),
            (Before, NEITHER, false, "Older"),
        ];
        for (ancestry, (has_ours, has_theirs), forced, expected) in table {
            // The version went back with the branch.
            let ours = Ours { version: version("v1.0.0"), revision: Some("ours".into()) };
            let theirs =
                Theirs { is_ours: true, version: version("v2.0.0"), revision: Some("theirs".into()), ..Theirs::default() };
            let has = |commit: &str| Ok(if commit == "ours" { has_ours } else { has_theirs });
            let branch = Branch { tags: vec!["r/a:dev".into()], forced, has: &has };
            let of = |tag: &str| format!("{:?}", compare(tag, &ours, &theirs, &|_| Ok(ancestry), &branch).unwrap());
            assert!(of("r/a:dev").starts_with(expected), "{ancestry:?} {has_ours:?} {has_theirs:?} {forced}: {}", of("r/a:dev"));
            assert!(of("r/a:latest").starts_with("Newer"), "every other tag goes forward only");
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
