//! Written-once tags for every build of a plan, or for none.

pub mod already;
pub mod rebuild;
pub mod stage;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::error::Fault;
use crate::event::Event;
use crate::gate::Verified;
use crate::journal::{Entry, Journal};
use crate::plan::{Build, Plan, labels};
use crate::registry::{Digest, Registry, Wrote, digests, each, split};
use crate::{candidate, marks};

/// How often two runs that write the same tags at once look again.
const ROUNDS: usize = 5;

/// One written-once tag, with what it is to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once<'a> {
    pub build: &'a Build,
    /// Full reference.
    pub tag: String,
    /// Repository in which the tested image lies.
    pub source: String,
    pub digest: Digest,
    pub rule: Rule,
    /// Whether it says what is published of the build, see [`already::naming`].
    pub names: bool,
}

/// What may happen to a written-once tag that has another digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Refuse,
    /// The event replaces what it published of the same version.
    Replace,
    /// The tag's own run takes over what was published before the version was released; not once this mark exists.
    TakeOver { unless: String },
    /// The tag names nothing but this commit, whose image is there already: it is left.
    Leave { commit: String },
}

/// What will be done with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Write {
        old: Option<Digest>,
    },
    /// It has the digest already.
    Done,
    /// It has another one, and that is right.
    Left {
        now: Digest,
        why: String,
    },
}

/// The written-once tags of verified builds.
pub fn once<'a>(plan: &Plan, verified: &[Verified<'a>]) -> Vec<Once<'a>> {
    let mut tags = Vec::new();
    for Verified { build, digest, source } in verified {
        let naming = already::naming(plan, build);
        tags.extend(build.push.tags.iter().map(|tag| Once {
            build,
            tag: tag.clone(),
            source: source.clone(),
            digest: digest.clone(),
            rule: rule(plan, build, tag),
            names: naming.contains(tag),
        }));
    }
    tags
}

fn rule(plan: &Plan, build: &Build, tag: &str) -> Rule {
    match (&plan.event, &plan.version) {
        _ if build.push.replace => Rule::Replace,
        _ if is_of_the_commit(plan, tag) => Rule::Leave { commit: plan.commit.clone().unwrap_or_default() },
        (Event::Tag { .. }, Some(version)) => {
            Rule::TakeOver { unless: marks::released(&candidate::repository(build), &build.id, version) }
        }
        _ => Rule::Refuse,
    }
}

/// Whether a tag is made of the commit alone: another build of the same commit has the same tag.
pub fn is_of_the_commit(plan: &Plan, tag: &str) -> bool {
    let Some(sha) = plan.commit.as_deref().and_then(|sha| sha.get(..7)) else { return false };
    let name = split(tag).1;
    let has = |text: &Option<String>| text.as_deref().is_some_and(|text| name.contains(text.trim_start_matches('v')));
    name.contains(sha) && !has(&plan.version) && !has(&plan.timestamp)
}

/// Reads every tag and says what is to be done.
///
/// # Errors
/// Refused, with every tag that would have to change and must not.
pub fn steps(registry: &dyn Registry, tags: &[Once<'_>]) -> Result<Vec<Step>> {
    let names: Vec<String> = tags.iter().map(|one| one.tag.clone()).collect();
    let now = digests(registry, &names)?;
    let pairs: Vec<(&Once<'_>, Option<Digest>)> = tags.iter().zip(now).collect();
    let steps = each(&pairs, |(one, now)| step(registry, one, now.clone()))?;
    let refused: Vec<&String> = steps.iter().filter_map(|step| step.as_ref().err()).collect();
    if refused.is_empty() {
        return Ok(steps.into_iter().flatten().collect());
    }
    let lines = refused.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n  ");
    let fault = Fault::refused(format!("nothing is published, these tags are written once and have another image:\n  {lines}"));
    Err(fault.hint("publish a new version; or `replace = true` for events that may rebuild a published one").into())
}

/// `Err` inside: why the tag must not change.
fn step(registry: &dyn Registry, one: &Once<'_>, now: Option<Digest>) -> Result<Result<Step, String>> {
    let Some(now) = now else { return Ok(Ok(Step::Write { old: None })) };
    if now == one.digest {
        return Ok(Ok(Step::Done));
    }
    let write = Ok(Ok(Step::Write { old: Some(now.clone()) }));
    let differs = format!("{} is {}, not {}", one.tag, now.short(), one.digest.short());
    let label = |name: &str| -> Result<Option<String>> {
        let images = registry.images(&format!("{}@{now}", split(&one.tag).0))?.unwrap_or_default();
        let labels = images.into_iter().next().map(|image| image.labels).unwrap_or_default();
        Ok(labels.get(labels::KEY).and_then(|_| labels.get(name).cloned()))
    };
    let is_released = match &one.rule {
        Rule::Replace => return write,
        Rule::TakeOver { unless } => registry.digest(unless)?.is_some(),
        Rule::Leave { .. } | Rule::Refuse => true,
    };
    if (is_released || !one.build.test.fresh) && already::is_of(registry, one.build, &now, &one.digest)? {
        return Ok(Ok(Step::Left { now, why: format!("{} is already published, by another build of the same key", one.tag) }));
    }
    match &one.rule {
        Rule::Leave { commit } if label(labels::REVISION)?.as_ref() == Some(commit) => {
            Ok(Ok(Step::Left { now, why: format!("{} is an earlier build of the same commit", one.tag) }))
        }
        Rule::TakeOver { .. } if is_released => Ok(Err(format!("{differs}, and the version is released"))),
        Rule::TakeOver { .. } if label("org.opencontainers.image.version")?.is_none() => {
            Ok(Err(format!("{differs}, and was not made by this pipeline")))
        }
        Rule::Replace | Rule::TakeOver { .. } => write,
        Rule::Leave { .. } | Rule::Refuse => Ok(Err(differs)),
    }
}

/// Writes what there is to write, then looks at all of it. Returns what each tag has in the end.
///
/// # Errors
/// The registry's; refused when a tag has another image than it may. The journal then says what to undo.
pub fn write(registry: &dyn Registry, journal: &Journal, tags: &[Once<'_>], steps: &[Step]) -> Result<Vec<Digest>> {
    let due: Vec<(&Once<'_>, &Option<Digest>)> = tags
        .iter()
        .zip(steps)
        .filter_map(|(one, step)| match step {
            Step::Write { old } => Some((one, old)),
            Step::Done | Step::Left { .. } => None,
        })
        .collect();
    let printed = each(&due, |(one, old)| {
        let now = registry.digest(&one.tag)?;
        if now != **old && now.as_ref() != Some(&one.digest) {
            // Another run of the same commit may have been faster.
            return settled(registry, one, now).map(|_| Wrote::Done);
        }
        put_once(registry, journal, one, now, &one.digest)
    })?;
    if printed.contains(&Wrote::Printed) {
        return Ok(tags.iter().map(|one| one.digest.clone()).collect());
    }
    settle(registry, journal, tags, steps)
}

fn put_once(registry: &dyn Registry, journal: &Journal, one: &Once<'_>, old: Option<Digest>, new: &Digest) -> Result<Wrote> {
    journal.record(Entry { tag: one.tag.clone(), old, new: new.clone() })?;
    let source = if *new == one.digest { &one.source } else { split(&one.tag).0 };
    registry.tag(source, new, &one.tag).with_context(|| format!("cannot publish {}", one.build.id))
}

/// What a tag has now, where that is right.
///
/// # Errors
/// Refused: somebody else wrote it; the registry's.
fn settled(registry: &dyn Registry, one: &Once<'_>, now: Option<Digest>) -> Result<Digest> {
    let (text, is_there) = (now.as_ref().map_or("nothing".to_owned(), |now| now.short().to_owned()), now.is_some());
    match step(registry, one, now)? {
        Ok(Step::Done) => Ok(one.digest.clone()),
        Ok(Step::Left { now, .. }) => Ok(now),
        Ok(Step::Write { .. }) | Err(_) => {
            let wrote = if is_there { "changed" } else { "removed" };
            let message = format!("{} was {wrote} by somebody else while we ran, it is {text} now", one.tag);
            Err(Fault::refused(message).hint("look who else publishes this tag, then run this again").into())
        }
    }
}

/// The last look, at the manifests themselves. Two runs of one commit may have written at once: then all tags that name a
/// build get the same of both images, the one that was there first, else the one with the smaller digest.
fn settle(registry: &dyn Registry, journal: &Journal, tags: &[Once<'_>], steps: &[Step]) -> Result<Vec<Digest>> {
    let all: Vec<(&Once<'_>, &Step)> = tags.iter().zip(steps).collect();
    let counts = |one: &Once<'_>, step: &Step| one.names && !matches!(step, Step::Left { .. });
    for _ in 0..ROUNDS {
        let now = each(&all, |(one, step)| {
            let now = registry.content(&one.tag)?;
            match (step, now) {
                (Step::Left { now: left, .. }, Some(now)) if *left == now => Ok(now),
                (_, now) => settled(registry, one, now),
            }
        })?;
        let mut wanted: BTreeMap<&str, &Digest> = BTreeMap::new();
        for ((one, step), now) in all.iter().zip(&now).filter(|((one, step), _)| counts(one, step)) {
            let now = if **step == Step::Done { &one.digest } else { now };
            let known = wanted.entry(&one.build.id).or_insert(now);
            if **step == Step::Done || now < *known {
                *known = now;
            }
        }
        let lost = all.iter().zip(&now).filter(|((one, step), _)| counts(one, step));
        let lost = lost.filter_map(|((one, _), now)| Some((*one, now, *wanted.get(one.build.id.as_str())?)));
        let lost: Vec<_> = lost.filter(|(_, now, want)| now != want).collect();
        if lost.is_empty() {
            return Ok(now);
        }
        each(&lost, |(one, now, want)| put_once(registry, journal, one, Some((*now).clone()), want))?;
    }
    Err(Fault::refused("another process keeps writing the same tags").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::{Memory, Op, d};

    const REVISION: &str = "org.opencontainers.image.revision";
    const VERSION: &str = "org.opencontainers.image.version";

    fn one() -> Build {
        let mut build = build("a");
        build.repository = "r/a".into();
        build.test.candidate = Some("r/a:candidate".into());
        build.test.mark = Some("r/a:tested".into());
        build
    }

    fn tag(build: &Build, rule: Rule) -> Once<'_> {
        Once { build, tag: "r/a:v1".into(), source: "r/a".into(), digest: d(1), rule, names: true }
    }

    #[test]
    fn written_once_as_a_table() {
        let take_over = || Rule::TakeOver { unless: "r/a:released-v1".into() };
        let leave = || Rule::Leave { commit: "c1".into() };
        let write = |old: Option<u32>| Some(Step::Write { old: old.map(d) });
        // (rule, digest of the tag now, its labels, is the version released, what is done; None: refused)
        type Row = (Rule, Option<u32>, &'static [(&'static str, &'static str)], bool, Option<Step>);
        let table: [Row; 11] = [
            (Rule::Refuse, None, &[], false, write(None)),
            (Rule::Refuse, Some(1), &[], false, Some(Step::Done)),
            (Rule::Refuse, Some(2), &[], false, None),
            (Rule::Replace, Some(2), &[], true, write(Some(2))),
            (take_over(), Some(1), &[], true, Some(Step::Done)),
            (take_over(), Some(2), &[(labels::KEY, "k"), (VERSION, "v1")], false, write(Some(2))),
            (take_over(), Some(2), &[(labels::KEY, "k"), (VERSION, "v1")], true, None),
            (take_over(), Some(2), &[(VERSION, "v1")], false, None),
            (
                leave(),
                Some(2),
                &[(labels::KEY, "k"), (REVISION, "c1")],
                false,
                Some(Step::Left { now: d(2), why: String::new() }),
            ),
            (leave(), Some(2), &[(labels::KEY, "k"), (REVISION, "c2")], false, None),
            (leave(), None, &[], false, write(None)),
        ];
        for (rule, now, labels, released, expected) in table {
            let memory = Memory::default();
            now.iter().for_each(|now| memory.add(&d(*now), labels, &["r/a:v1"]));
            if released {
                memory.set("r/a:released-v1", &d(9));
            }
            let found = steps(&memory.view(), &[tag(&one(), rule.clone())]).ok().map(|steps| match &steps[0] {
                Step::Left { now, .. } => Step::Left { now: now.clone(), why: String::new() },
                step => step.clone(),
            });
            assert_eq!(found, expected, "{rule:?} {now:?} {labels:?} {released}");
        }
    }

    #[test]
    fn tags_of_a_commit() {
        let mut plan = plan(vec![build("a")]);
        plan.commit = Some("0123456789abcdef".into());
        plan.version = Some("v1.2.3".into());
        for (tag, expected) in
            [("r/a:0123456", true), ("r/a:dev-0123456789abcdef", true), ("r/a:1.2.3-0123456", false), ("r/a:v1.2.3", false)]
        {
            assert_eq!(is_of_the_commit(&plan, tag), expected, "{tag}");
        }
    }

    #[test]
    fn a_tag_that_changed_since_it_was_read_is_not_written() {
        let memory = std::sync::Arc::new(Memory::default());
        let folder = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::try_from(folder.path().join("journal")).unwrap();
        let journal = Journal::new(&crate::exec::Runner::default(), path);
        let build = one();
        let tags = [tag(&build, Rule::Refuse)];
        let steps = steps(&memory.view(), &tags).unwrap();
        memory.set("r/a:v1", &d(2));
        let error = write(&memory.view(), &journal, &tags, &steps).unwrap_err();
        assert_eq!(crate::error::exit_code(&error), crate::error::Code::Refused);
        assert_eq!((memory.get("r/a:v1"), journal.so_far().entries.len()), (Some(d(2)), 0));
        // … and one that changes right after it was written is noticed.
        memory.tags.lock().unwrap().clear();
        let other = std::sync::Arc::clone(&memory);
        let reads = std::sync::atomic::AtomicUsize::new(0);
        let hook = move |op: &Op| {
            if matches!(op, Op::Read(_)) && reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
                other.set("r/a:v1", &d(3));
            }
            Ok(())
        };
        assert!(write(&memory.hooked(hook), &journal, &tags, &steps).is_err());
    }

    #[test]
    fn two_runs_that_publish_at_once_end_with_one_image_under_all_tags() {
        // The other run writes its own image of the same key right after this write of ours.
        for at in 0..2 {
            let memory = std::sync::Arc::new(Memory::default());
            let build = one();
            for n in [1, 2] {
                memory.add(&d(n), &[(labels::KEY, &build.key)], &[&crate::marks::of_image("r/a:tested", &d(n))]);
            }
            let tags: Vec<Once<'_>> =
                ["r/a:v1", "r/a:1"].map(|name| Once { tag: name.into(), digest: d(2), ..tag(&build, Rule::Refuse) }).into();
            let found = steps(&memory.view(), &tags).unwrap();
            let (other, writes) = (std::sync::Arc::clone(&memory), std::sync::atomic::AtomicUsize::new(0));
            let hook = move |op: &Op| {
                if op.changes() && writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == at {
                    other.set(["r/a:v1", "r/a:1"][at], &d(1));
                }
                Ok(())
            };
            let folder = tempfile::tempdir().unwrap();
            let path = camino::Utf8PathBuf::try_from(folder.path().join("journal")).unwrap();
            let journal = Journal::new(&crate::exec::Runner::default(), path);
            let now = write(&memory.hooked(hook), &journal, &tags, &found).unwrap();
            assert_eq!(memory.get("r/a:v1"), memory.get("r/a:1"), "{at}");
            assert!(now.iter().all(|now| Some(now) == memory.get("r/a:v1").as_ref()), "{at}: {now:?}");
        }
    }
}
