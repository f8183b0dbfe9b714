//! The way back of a release: to what a tag had, or to a newer version that was released since. What somebody else's
//! journal says is held against the configuration.

use anyhow::Result;

use super::{Follows, home, newest, released};
use crate::config::{Build, Config};
use crate::error::Fault;
use crate::forward::{Ancestry, Order, Ours, look, order};
use crate::journal::{Record, Source, Start, Undo, as_it_was};
use crate::plan::{labels, may_move};
use crate::registry::{Digest, Registry, split};
use crate::retention::kind::{Kind, Kinds, fits};
use crate::version::Version;

/// How many faults of a journal are named.
const SHOWN: usize = 10;

/// How one commit stands to another one: the second to the first.
pub type Commits<'a> = &'a (dyn Fn(&str, &str) -> Result<Ancestry> + Sync);

/// The way back of the tags of one release.
pub struct Back<'a> {
    pub registry: &'a dyn Registry,
    pub start: &'a Start,
    pub follows: Follows<'a>,
    pub commits: Commits<'a>,
}

impl Back<'_> {
    /// The newest version that was released since this release began, where its own run would have moved the tag from
    /// what it had; else what it had. Versions from before do not count: whoever went back to an older one meant it.
    ///
    /// # Errors
    /// The registry's.
    pub fn way(&self, undo: &Undo) -> Result<Option<Source>> {
        let before = as_it_was(undo)?;
        let is_own = |name: &String| self.start.marks.iter().any(|mark| mark.tag == *name);
        if is_own(&undo.tag) {
            return Ok(before);
        }
        let Some(home) = home(&self.start.marks, &undo.tag, |digest| undo.ours.contains(digest)) else { return Ok(before) };
        // What was left to a newer release was given to this one since; then any version that is released counts.
        let is_known = |name: &String| !undo.is_left && self.start.released.contains(name);
        let mut since = released(self.registry, &self.start.marks)?;
        since.retain(|mark| !is_known(mark) && !is_own(mark));
        let Some((version, mark)) = newest(&since, home, &undo.tag, self.follows) else { return Ok(before) };
        let Some(digest) = self.registry.digest(mark)? else { return Ok(before) };
        let rival = Source { repository: split(mark).0.to_owned(), digest };
        match &before {
            Some(before) if !self.moves(version, &rival, before)? => Ok(Some(before.clone())),
            _ => Ok(Some(rival)),
        }
    }

    /// Whether the release of a version moves a tag that has this image.
    fn moves(&self, version: Version, rival: &Source, before: &Source) -> Result<bool> {
        let name = |source: &Source| format!("{}@{}", source.repository, source.digest);
        let revision = look(self.registry, &name(rival))?.revision;
        let theirs = look(self.registry, &name(before))?;
        let ours = Ours { version: Some(version), revision: revision.clone() };
        // After Ctrl-C git is not asked any more. Versions alone decide nearly everything.
        let commits =
            |other: &str| Ok((self.commits)(revision.as_deref().unwrap_or_default(), other).unwrap_or(Ancestry::Diverged));
        Ok(matches!(order(&ours, &theirs, &commits)?, Order::Older | Order::Unknown(_)))
    }
}

/// A journal comes from a file that may be anybody's: it names tags of our repositories that some event writes, or
/// nothing of it is undone.
///
/// # Errors
/// Refused, with what it names.
pub fn refuse_foreign(config: &Config, record: &Record) -> Result<()> {
    let kinds = Kinds::of(config);
    let was_there = |tag: &str| record.entries.iter().any(|entry| entry.tag == tag && entry.old.is_some());
    let fault = |tag: &str| Some(format!("{}: {}", tag.escape_debug(), why_foreign(config, &kinds, tag, was_there(tag))?));
    let mut faults: Vec<String> = record.tags().filter_map(fault).take(SHOWN + 1).collect();
    if faults.is_empty() {
        return Ok(());
    }
    if faults.len() > SHOWN {
        faults[SHOWN] = "…".into();
    }
    let fault =
        Fault::refused(format!("nothing is undone, the journal is not of this configuration:\n  {}", faults.join("\n  ")));
    Err(fault.hint("undo a journal in a checkout of the repository whose run wrote it").into())
}

fn why_foreign(config: &Config, kinds: &Kinds, name: &str, was_there: bool) -> Option<&'static str> {
    let (repository, tag) = split(name);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-')) || !tag.bytes().next().is_some_and(is_word) {
        return Some("no name of a tag");
    }
    let published = || config.builds.iter().filter(|build| build.publish && !build.local_only);
    let of = |name: fn(&Build) -> &String| {
        published().filter(|build| config.with_target(name(build)) == repository).collect::<Vec<&Build>>()
    };
    let (targets, candidates) = (of(|build| &build.repository), of(|build| &build.candidates));
    if targets.is_empty() && candidates.is_empty() {
        return Some("in no repository that this configuration publishes into");
    }
    let is_cache = |build: &Build| build.cache_ref.as_ref().is_some_and(|cache| config.with_target(cache) == name);
    if config.builds.iter().any(is_cache) {
        return Some("a cache, which no release writes");
    }
    let replaces = || targets.iter().any(|build| build.on.iter().any(|policy| policy.replace));
    match kinds.kind(repository, tag) {
        Kind::Candidate { .. } | Kind::Tested | Kind::Removed | Kind::Of(_) => Some("no tag that a release writes"),
        Kind::Released => None,
        Kind::Once { .. } if was_there && !replaces() => Some("written once, so that it had no other image before"),
        Kind::Once { .. } => None,
        Kind::Other if targets.iter().any(|build| may_move(build, |template| fits(template, tag))) => None,
        Kind::Other => Some("a tag that no event writes"),
    }
}

/// Refuses a way back that touches an image of somebody else.
///
/// # Errors
/// Refused; the registry's.
pub fn refuse_foreign_images(registry: &dyn Registry, undo: &Undo, source: &str) -> Result<()> {
    let repository = split(&undo.tag).0;
    for digest in undo.ours.iter().chain(&undo.old) {
        if !is_ours(registry, repository, digest, source)? {
            return Err(Fault::refused(format!("{} was not built by this repository", digest.short())).into());
        }
    }
    Ok(())
}

/// What is not there any more is nobody's.
fn is_ours(registry: &dyn Registry, repository: &str, digest: &Digest, source: &str) -> Result<bool> {
    let Some(images) = registry.images(&format!("{repository}@{digest}"))? else { return Ok(true) };
    Ok(images.first().is_some_and(|image| labels::is_ours(&image.labels, source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Entry;
    use crate::plan::testing::config;
    use crate::registry::Wrote;
    use crate::registry::memory::{Memory, d};

    #[test]
    fn a_journal_of_anybody_names_nothing_of_ours() {
        let text = "[image.i]\nrepository = 'acme/i'\non.tag.tags = ['{version}', '{major}', 'latest']\non.branch.main.tags = ['{branch}']\n\
                    [cache]\nregistry = 'acme/i:cache'\n[release]\ncandidates = 'acme/wait'\n";
        let config = config(text);
        let mut replacing = config.clone();
        replacing.builds[0].on[0].replace = true;
        let record = |tag: &str, old: Option<u32>| Record {
            entries: vec![Entry { tag: tag.into(), old: old.map(d), new: d(2) }],
            ..Record::default()
        };
        let digits = "0".repeat(64);
        for (tag, old, expected) in [
            ("ghcr.io/acme/i:latest", Some(1), ""),
            ("ghcr.io/acme/i:1", None, ""),
            ("ghcr.io/acme/i:main", Some(1), ""),
            ("ghcr.io/acme/i:v1.0.0", None, ""),
            ("ghcr.io/acme/wait:released-0123456789ab-v1.0.0", None, ""),
            ("ghcr.io/acme/i:v1.0.0", Some(1), "written once"),
            ("ghcr.io/acme/other:latest", Some(1), "in no repository"),
            ("ghcr.io/acme/i/more:latest", Some(1), "in no repository"),
            ("evil.example/acme/i:latest", Some(1), "in no repository"),
            ("acme/i:latest", Some(1), "in no repository"),
            ("ghcr.io/acme/wait:latest", Some(1), "a tag that no event writes"),
            ("ghcr.io/acme/i:cache", Some(1), "a cache"),
            ("ghcr.io/acme/wait:candidate-0123456789ab-1", None, "no tag that a release writes"),
            ("ghcr.io/acme/wait:tested-0123456789ab-0123456789ab", None, "no tag that a release writes"),
            (&format!("ghcr.io/acme/i:sha256-{digits}.sig"), Some(1), "no tag that a release writes"),
            (&format!("ghcr.io/acme/i@sha256:{digits}"), Some(1), "in no repository"),
            ("ghcr.io/acme/i:la\u{1b}[2Jtest", Some(1), "no name of a tag"),
            ("ghcr.io/acme/i:", Some(1), "no name of a tag"),
            ("ghcr.io/acme/i:--help", Some(1), "no name of a tag"),
        ] {
            let found = refuse_foreign(&config, &record(tag, old)).map_err(|error| error.to_string());
            match expected {
                "" => assert_eq!(found, Ok(()), "{tag}"),
                _ => assert!(found.as_ref().is_err_and(|error| error.contains(expected)), "{tag}: {found:?}"),
            }
            assert!(found.is_ok() || !found.unwrap_err().contains('\u{1b}'));
            // What is only left to others, and marks that are only read, count too.
            let left = Record { left: [tag.to_owned()].into(), ..Record::default() };
            assert_eq!(refuse_foreign(&config, &left).is_ok(), expected.is_empty() || expected == "written once", "{tag}");
        }
        // No branch publishes: what is no version and no template has somebody else's name.
        let releases = crate::plan::testing::config(&text.replace("on.branch.main.tags = ['{branch}']\n", ""));
        for (tag, is_ours) in [("latest", true), ("1", true), ("x", false), ("by-hand", false), ("main", false)] {
            assert_eq!(refuse_foreign(&releases, &record(&format!("ghcr.io/acme/i:{tag}"), Some(1))).is_ok(), is_ours, "{tag}");
        }
        assert!(refuse_foreign(&replacing, &record("ghcr.io/acme/i:v1.0.0", Some(1))).is_ok());
        let many = Record { left: (0..99).map(|n| format!("r/{n}:latest")).collect(), ..Record::default() };
        assert_eq!(refuse_foreign(&config, &many).unwrap_err().to_string().lines().count(), 1 + SHOWN + 1);
    }

    #[test]
    fn an_image_of_somebody_else_is_left_alone() {
        let memory = Memory::default();
        let ours = [(labels::KEY, "k"), (labels::SOURCE, "https://example.com/us")];
        memory.add(&d(1), &ours, &[]);
        memory.add(&d(2), &ours, &["r/a:latest"]);
        memory.add(&d(3), &[(labels::KEY, "k"), (labels::SOURCE, "https://example.com/them")], &[]);
        memory.add(&d(4), &[], &[]);
        let view = memory.view();
        let undo = |old: u32, new: u32| {
            let undo = Undo { tag: "r/a:latest".into(), old: Some(d(old)), ours: [d(new)].into(), is_left: false };
            refuse_foreign_images(&view, &undo, "https://example.com/us").is_ok()
        };
        assert!(undo(1, 2));
        assert!(!undo(3, 2) && !undo(4, 2) && !undo(1, 4) && !undo(2, 3));
        assert_eq!(view.delete("r/a", &d(1)).unwrap(), Wrote::Done);
        assert!(undo(1, 2), "the registry says then that it is gone");
    }
}
