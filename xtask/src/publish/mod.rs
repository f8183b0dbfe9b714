//! Written-once tags for every build of a plan, or for none.

pub mod rebuild;
pub mod stage;

use anyhow::{Context as _, Result};

use crate::error::Fault;
use crate::event::Event;
use crate::gate::Verified;
use crate::journal::{Entry, Journal};
use crate::marks;
use crate::plan::{Build, Plan, labels};
use crate::registry::{Digest, Registry, Wrote, digests, each, put, split};

/// One written-once tag, with what it is to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    pub id: String,
    /// Full reference.
    pub tag: String,
    /// Repository in which the tested image lies.
    pub source: String,
    pub digest: Digest,
    pub rule: Rule,
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
pub fn once(plan: &Plan, verified: &[Verified<'_>]) -> Vec<Once> {
    let tags = |one: &Verified<'_>| {
        let source = one.build.test.candidate.as_deref().map_or(one.build.repository.clone(), |name| split(name).0.to_owned());
        let build = one.build.clone();
        let digest = one.digest.clone();
        let once = move |tag: &String| Once {
            id: build.id.clone(),
            tag: tag.clone(),
            source: source.clone(),
            digest: digest.clone(),
            rule: rule(plan, &build, tag, &source),
        };
        one.build.push.tags.iter().map(once).collect::<Vec<_>>()
    };
    verified.iter().flat_map(tags).collect()
}

fn rule(plan: &Plan, build: &Build, tag: &str, source: &str) -> Rule {
    match (&plan.event, &plan.version) {
        _ if build.push.replace => Rule::Replace,
        _ if is_of_the_commit(plan, tag) => Rule::Leave { commit: plan.commit.clone().unwrap_or_default() },
        (Event::Tag { .. }, Some(version)) => Rule::TakeOver { unless: marks::released(source, &build.id, version) },
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
pub fn steps(registry: &dyn Registry, tags: &[Once]) -> Result<Vec<Step>> {
    let names: Vec<String> = tags.iter().map(|one| one.tag.clone()).collect();
    let now = digests(registry, &names)?;
    let pairs: Vec<(&Once, Option<Digest>)> = tags.iter().zip(now).collect();
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
fn step(registry: &dyn Registry, one: &Once, now: Option<Digest>) -> Result<Result<Step, String>> {
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
    match &one.rule {
        Rule::Replace => write,
        Rule::Leave { commit } => Ok(match label("org.opencontainers.image.revision")? {
            Some(revision) if revision == *commit => {
                Ok(Step::Left { now, why: format!("{} is an earlier build of the same commit", one.tag) })
            }
            _ => Err(differs),
        }),
        Rule::TakeOver { unless } => Ok(if registry.digest(unless)?.is_some() {
            Err(format!("{differs}, and the version is released"))
        } else if label("org.opencontainers.image.version")?.is_none() {
            Err(format!("{differs}, and was not made by this pipeline"))
        } else {
            return write;
        }),
        Rule::Refuse => Ok(Err(differs)),
    }
}

/// Writes what there is to write, and reads all of it again. Returns how many tags were written.
///
/// # Errors
/// The registry's; refused when a tag changed since it was read. The journal then says what to undo.
pub fn write(registry: &dyn Registry, journal: &Journal, tags: &[Once], steps: &[Step]) -> Result<usize> {
    let due: Vec<(&Once, &Option<Digest>)> = tags
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
            let message = format!("{} changed while we ran", one.tag);
            return Err(Fault::refused(message).hint("look who else publishes this tag, then run this again").into());
        }
        journal.record(Entry { tag: one.tag.clone(), old: now, new: one.digest.clone() })?;
        put(registry, &one.source, &one.digest, &one.tag).with_context(|| format!("cannot publish {}", one.id))
    })?;
    let names: Vec<String> = due.iter().map(|(one, _)| one.tag.clone()).collect();
    if !printed.iter().all(|wrote| *wrote == Wrote::Done) {
        return Ok(due.len());
    }
    let again = digests(registry, &names)?;
    match due.iter().zip(again).find(|((one, _), now)| now.as_ref() != Some(&one.digest)) {
        Some(((one, _), _)) => Err(Fault::refused(format!("{} was changed by somebody else while we ran", one.tag)).into()),
        None => Ok(due.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};
    use crate::registry::memory::{Memory, Op, d};

    const REVISION: &str = "org.opencontainers.image.revision";
    const VERSION: &str = "org.opencontainers.image.version";

    fn tag(rule: Rule) -> Once {
        Once { id: "a".into(), tag: "r/a:v1".into(), source: "r/a".into(), digest: d(1), rule }
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
            let found = steps(&memory.view(), &[tag(rule.clone())]).ok().map(|steps| match &steps[0] {
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
        let tags = [tag(Rule::Refuse)];
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
            if matches!(op, Op::Read(_)) && reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
                other.set("r/a:v1", &d(3));
            }
            Ok(())
        };
        assert!(write(&memory.hooked(hook), &journal, &tags, &steps).is_err());
    }
}
