//! Moving tags, forward only, `latest` last, all or none.
//!
//! Registries have no compare-and-swap. A tag is read before and after its write and once more at the end; who
//! finds a newer version yields, who finds an older one writes again. What is left is a write that was decided
//! before a newer release began and made after that one had its last look. Therefore a release that is through
//! leaves a mark, looks once more, and then looks for marks of newer versions that were not there when it began.

pub mod stage;
mod targets;
#[cfg(test)]
mod tests;
pub mod undo;

pub use targets::{targets, version_targets};

use std::cmp::Ordering;
use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::forward::{Branch, History, Order, Ours, compare, look};
use crate::journal::{Entry, Journal, Start};
use crate::marks;
use crate::registry::{Digest, Registry, Wrote, each, put, split};
use crate::version::Version;

/// How often a tag is written again before we give up: two releases that both think they are newer.
const ROUNDS: usize = 5;

/// One tag to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Full reference.
    pub tag: String,
    /// The tested digest that the written-once tags of the build have.
    pub digest: Digest,
}

/// The mark that a version's own run leaves for each build, where its candidates are, see [`crate::marks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Full reference.
    pub tag: String,
    /// Repository of the image that is published, and its digest.
    pub repository: String,
    pub digest: Digest,
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Moved {
        old: Option<Digest>,
        warning: Option<String>,
    },
    /// The write was only printed.
    WouldMove {
        old: Option<Digest>,
        warning: Option<String>,
    },
    /// It was there already.
    Already,
    /// Left where it is, and why.
    Skipped(String),
    /// Another release was newer, and took it while we ran.
    Yielded(String),
}

impl Outcome {
    /// A newer release has the tag.
    fn is_left(&self) -> bool {
        matches!(self, Outcome::Skipped(_) | Outcome::Yielded(_))
    }
}

/// One release.
pub struct Release<'a> {
    pub registry: &'a dyn Registry,
    pub ours: Ours,
    pub history: History<'a>,
    pub branch: Branch<'a>,
    pub journal: &'a Journal,
    /// A deliberate step back: nothing is skipped for being newer.
    pub step_back: bool,
}

/// Whether a release of a version moves a tag (full reference) too.
pub type Follows<'a> = &'a (dyn Fn(&Version, &str) -> bool + Sync);

impl Release<'_> {
    /// Moves every tag that may move. Outcomes are in the order of `moves`.
    ///
    /// # Errors
    /// Refused when somebody else writes the same tags; the registry's. The journal then says what to undo.
    pub fn run(&self, moves: &[Move], marks: &[Mark], follows: Follows<'_>) -> Result<Vec<Outcome>> {
        let ours: BTreeSet<&String> = marks.iter().map(|mark| &mark.tag).collect();
        let mut released = released(self.registry, marks)?;
        released.retain(|mark| !ours.contains(mark));
        self.journal.begin(Start { marks: marks.to_vec(), released: released.clone() });
        let mut outcomes = each(moves, |one| self.decide(one))?;
        self.write_due(moves, &mut outcomes)?;
        self.settle(moves, &mut outcomes)?;
        if !marks.is_empty() {
            each(marks, |mark| self.leave(mark))?;
            for (one, _) in moves.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_left()) {
                self.journal.leave(&one.tag)?;
            }
            self.look_again(moves, &mut outcomes)?;
            self.settle(moves, &mut outcomes)?;
            self.yield_to_marks(moves, marks, follows, released, &mut outcomes)?;
        }
        Ok(outcomes)
    }

    /// Writes what is to be moved, `latest` last.
    fn write_due(&self, moves: &[Move], outcomes: &mut [Outcome]) -> Result<()> {
        for latest in [false, true] {
            let is_due =
                |at: &usize| matches!(outcomes[*at], Outcome::Moved { .. }) && (split(&moves[*at].tag).1 == "latest") == latest;
            let due: Vec<usize> = (0..moves.len()).filter(is_due).collect();
            self.write_all(moves, &due, outcomes)?;
        }
        Ok(())
    }

    /// A newer release that had a tag may have failed since. If it was undone before our mark was there, its tags
    /// went back to what was before both of us.
    fn look_again(&self, moves: &[Move], outcomes: &mut [Outcome]) -> Result<()> {
        let left: Vec<usize> = (0..moves.len()).filter(|at| outcomes[*at].is_left()).collect();
        let decided = each(&left, |&at| self.decide(&moves[at]))?;
        let mut due = Vec::new();
        for (at, outcome) in left.into_iter().zip(decided) {
            if matches!(outcome, Outcome::Moved { .. }) {
                outcomes[at] = outcome;
                due.push(at);
            }
        }
        self.write_all(moves, &due, outcomes)
    }

    fn leave(&self, mark: &Mark) -> Result<()> {
        let old = self.registry.digest(&mark.tag)?;
        if old.as_ref() == Some(&mark.digest) {
            return Ok(());
        }
        self.journal.record(Entry { tag: mark.tag.clone(), old, new: mark.digest.clone() })?;
        put(self.registry, &mark.repository, &mark.digest, &mark.tag).map(drop)
    }

    /// What would become of a tag, from what it points at now.
    pub fn decide(&self, one: &Move) -> Result<Outcome> {
        let old = self.registry.digest(&one.tag)?;
        let warning = match &old {
            Some(now) if *now == one.digest => return Ok(Outcome::Already),
            None => None,
            Some(now) => match self.order(&one.tag, now)? {
                Order::Older | Order::Same => None,
                Order::Newer(why) if self.step_back => Some(format!("a step back: {why}")),
                Order::Newer(why) => return Ok(Outcome::Skipped(why)),
                Order::Unknown(why) => Some(why),
            },
        };
        Ok(Outcome::Moved { old, warning })
    }

    fn order(&self, tag: &str, digest: &Digest) -> Result<Order> {
        let theirs = look(self.registry, &format!("{}@{digest}", split(tag).0))?;
        compare(tag, &self.ours, &theirs, self.history, &self.branch)
    }

    fn write_all(&self, moves: &[Move], due: &[usize], outcomes: &mut [Outcome]) -> Result<()> {
        let written = each(due, |&at| self.write(&moves[at], &outcomes[at]))?;
        for (at, outcome) in due.iter().zip(written) {
            outcomes[*at] = outcome;
        }
        Ok(())
    }

    /// Reads, records, writes, reads.
    fn write(&self, one: &Move, decided: &Outcome) -> Result<Outcome> {
        let (old, warning) = match decided {
            Outcome::Moved { old, warning } | Outcome::WouldMove { old, warning } => (old.clone(), warning.clone()),
            Outcome::Already | Outcome::Skipped(_) | Outcome::Yielded(_) => (Some(one.digest.clone()), None),
        };
        let mut expected = old.clone();
        for _ in 0..ROUNDS {
            let now = self.registry.digest(&one.tag)?;
            if now != expected
                && let Some(yielded) = self.contested(one, now.as_ref())?
            {
                return Ok(yielded);
            }
            if now.as_ref() != Some(&one.digest) {
                self.journal.record(Entry { tag: one.tag.clone(), old: now, new: one.digest.clone() })?;
                if self.registry.tag(split(&one.tag).0, &one.digest, &one.tag)? == Wrote::Printed {
                    return Ok(Outcome::WouldMove { old, warning });
                }
            }
            let now = self.registry.digest(&one.tag)?;
            if now.as_ref() == Some(&one.digest) {
                return Ok(Outcome::Moved { old, warning });
            }
            if let Some(yielded) = self.contested(one, now.as_ref())? {
                return Ok(yielded);
            }
            expected = now;
        }
        bail!(Fault::refused(format!("cannot move {}: another process keeps moving it back", one.tag)))
    }

    /// Somebody wrote this tag since we looked. `None`: ours is newer, write it (again).
    fn contested(&self, one: &Move, now: Option<&Digest>) -> Result<Option<Outcome>> {
        let Some(now) = now else { return Ok(None) };
        if *now == one.digest {
            return Ok(None);
        }
        let why = match self.order(&one.tag, now)? {
            Order::Older => return Ok(None),
            Order::Newer(why) if !self.step_back => return Ok(Some(Outcome::Yielded(why))),
            Order::Same => match self.of_the_same_commit(one, now)? {
                Ordering::Less => return Ok(None),
                Ordering::Equal => "another image of the same version".to_owned(),
                Ordering::Greater => return Ok(Some(Outcome::Yielded("another run of the same commit moved it".into()))),
            },
            Order::Newer(why) | Order::Unknown(why) => why,
        };
        let message = format!("somebody else moved {} to {} while we ran ({why})", one.tag, now.short());
        bail!(Fault::refused(message).hint("look who else publishes this tag, then run this again"))
    }

    /// Which of two images of one version or commit stays where both of their runs move a tag: of one key either, else
    /// that of a version before that of a branch.
    fn of_the_same_commit(&self, one: &Move, now: &Digest) -> Result<Ordering> {
        let look = |digest: &Digest| look(self.registry, &format!("{}@{digest}", split(&one.tag).0));
        let (ours, theirs) = (look(&one.digest)?, look(now)?);
        let is_same = theirs.key.is_some() && theirs.key == ours.key;
        Ok(if is_same { Ordering::Greater } else { theirs.version.is_some().cmp(&ours.version.is_some()) })
    }

    /// Reads everything that should be ours again, the manifests themselves, until nothing has to be written any more.
    fn settle(&self, moves: &[Move], outcomes: &mut [Outcome]) -> Result<()> {
        for _ in 0..ROUNDS {
            let is_held = |at: &usize| matches!(outcomes[*at], Outcome::Moved { .. } | Outcome::Already);
            let held: Vec<usize> = (0..moves.len()).filter(is_held).collect();
            let now = each(&held, |&at| self.registry.content(&moves[at].tag))?;
            let lost = held.into_iter().zip(now).filter(|(at, now)| now.as_ref() != Some(&moves[*at].digest));
            let lost: Vec<usize> = lost.map(|(at, _)| at).collect();
            if lost.is_empty() {
                return Ok(());
            }
            self.write_all(moves, &lost, outcomes)?;
        }
        bail!(Fault::refused(
            "another process keeps moving the same tags, or the registry hands out other manifests than it says"
        ))
    }

    /// Hands over what a newer release, that was through before our write arrived, had already moved.
    fn yield_to_marks(
        &self,
        moves: &[Move],
        marks: &[Mark],
        follows: Follows<'_>,
        mut known: BTreeSet<String>,
        outcomes: &mut [Outcome],
    ) -> Result<()> {
        loop {
            let now = released(self.registry, marks)?;
            let is_newer = |mark: &&String| {
                let version = version_of(split(mark).1).map(|(_, version)| version);
                self.ours.version.as_ref().is_some_and(|our| version.is_some_and(|version| version.precedence(our).is_gt()))
            };
            let fresh: Vec<String> = now.difference(&known).filter(is_newer).cloned().collect();
            if fresh.is_empty() {
                return Ok(());
            }
            known.extend(now);
            for (at, one) in moves.iter().enumerate() {
                let home = home(marks, &one.tag, |digest| *digest == one.digest);
                let Some((version, mark)) = home.and_then(|home| newest(&fresh, home, &one.tag, follows)) else { continue };
                if let Some(theirs) = self.registry.digest(mark)? {
                    put(self.registry, split(mark).0, &theirs, &one.tag)?;
                    if let Some(outcome) = outcomes.get_mut(at) {
                        *outcome = Outcome::Yielded(format!("{} was released while we ran", version.text));
                    }
                }
            }
        }
    }
}

/// The marks of released versions, where these marks lie.
///
/// # Errors
/// The registry's.
fn released(registry: &dyn Registry, marks: &[Mark]) -> Result<BTreeSet<String>> {
    let repositories: Vec<&str> = marks.iter().map(|mark| split(&mark.tag).0).collect::<BTreeSet<_>>().into_iter().collect();
    let lists = each(&repositories, |repository| {
        let tags = registry.tags(repository)?.into_iter().filter(|tag| version_of(tag).is_some());
        Ok(tags.map(|tag| format!("{repository}:{tag}")).collect::<Vec<_>>())
    })?;
    Ok(lists.into_iter().flatten().collect())
}

/// Our mark of the build that has a tag: the marks of its other versions are beside it.
fn home<'a>(marks: &'a [Mark], tag: &str, is_ours: impl Fn(&Digest) -> bool) -> Option<&'a str> {
    let of_it = |mark: &&Mark| mark.repository == split(tag).0 && is_ours(&mark.digest);
    marks.iter().find(of_it).map(|mark| mark.tag.as_str())
}

/// The newest version among these marks whose release moves the tag, for the build of `home`.
fn newest<'a>(
    marks: impl IntoIterator<Item = &'a String>,
    home: &str,
    tag: &str,
    follows: Follows<'_>,
) -> Option<(Version, &'a String)> {
    let (repository, own) = split(home);
    // Several builds may have their marks in one repository.
    let (build, _) = version_of(own)?;
    let beside = marks.into_iter().filter(|mark| split(mark).0 == repository);
    let versions = beside.filter_map(|mark| Some((version_of(split(mark).1)?, mark)));
    let versions = versions.filter(|((of, _), _)| *of == build).map(|((_, version), mark)| (version, mark));
    versions.filter(|(version, _)| follows(version, tag)).max_by(|(one, _), (other, _)| one.precedence(other))
}

/// The build and the version of a mark.
fn version_of(tag: &str) -> Option<(String, Version)> {
    match marks::read(tag)? {
        marks::Mark::Released { build, version } => Some((build, version)),
        _ => None,
    }
}
