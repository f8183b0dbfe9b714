//! Whether a build is fresh, `--pull --no-cache`, and why.

use std::borrow::Cow;

use super::planner::Input;
use super::{key, published};
use crate::config::{Build, Config, FreshWhen, Policy, WriteWhen};
use crate::deps;
use crate::event::Event;
use crate::facts::{self, Changed};

/// `sha256:` and the first 12 digits, for people.
const DIGITS: usize = 19;

/// What was decided.
pub struct Fresh {
    pub is_fresh: bool,
    /// Caches ask that too; the text says why.
    pub dependencies_changed: (bool, String),
    pub reason: Option<String>,
}

/// `bases`: the images that it starts from, as written in its Dockerfile.
pub fn fresh(input: &Input<'_>, build: &Build, policy: &Policy, bases: &[&str]) -> Fresh {
    // Thousands of files may have changed, so they are looked through only where the answer counts.
    let dependencies_changed = if compares_dependencies(input.config, policy) {
        dependencies_changed(input, build, policy)
    } else {
        (true, "nothing compares dependencies".to_owned())
    };
    let (is_fresh, why) = match policy.fresh {
        _ if is_asked_for(input) => (true, "a rebuild was asked for".to_owned()),
        FreshWhen::Always => (true, "the event says so".into()),
        FreshWhen::DependenciesChanged => dependencies_changed.clone(),
        FreshWhen::BasesChanged => bases_changed(input, build, policy, bases),
        FreshWhen::Never => return Fresh { is_fresh: false, dependencies_changed, reason: None },
    };
    Fresh { is_fresh, dependencies_changed, reason: Some(format!("{}fresh: {why}", if is_fresh { "" } else { "not " })) }
}

fn is_asked_for(input: &Input<'_>) -> bool {
    matches!(input.event, Event::Manual { rebuild: true, .. })
}

/// Whether changed dependencies decide about a fresh build or about its cache.
pub fn compares_dependencies(config: &Config, policy: &Policy) -> bool {
    let by_cache = || config.cache.as_ref().is_some_and(|cache| cache.write_when == WriteWhen::DependenciesChanged);
    policy.fresh == FreshWhen::DependenciesChanged || by_cache()
}

/// Whether the bases of what is published count.
pub fn asks_bases(input: &Input<'_>, policy: &Policy) -> bool {
    policy.fresh == FreshWhen::BasesChanged && !is_asked_for(input)
}

/// Whether the commit of what is published counts: nothing else says what a manual or a scheduled run changes.
pub fn asks_commit(input: &Input<'_>, policy: &Policy) -> bool {
    // A fresh build writes its cache anyway.
    let is_asked = policy.fresh != FreshWhen::Always && compares_dependencies(input.config, policy);
    matches!(input.event, Event::Manual { .. } | Event::Schedule { .. }) && !is_asked_for(input) && is_asked
}

fn dependencies_changed(input: &Input<'_>, build: &Build, policy: &Policy) -> (bool, String) {
    let (since, when) = since(input, build, policy);
    let facts = input.facts;
    let (changed, why) = deps::changed_for(build, facts.dockerfile(build), facts.content(build), &since);
    (changed, why + &when)
}

/// The files that changed since what dependencies are compared with, and when that was, where the event does not say so.
fn since<'a>(input: &Input<'a>, build: &Build, policy: &Policy) -> (Cow<'a, Changed>, String) {
    let facts = input.facts;
    let unknown = |why: String| (Cow::Owned(Changed::Unknown(why)), String::new());
    let release = |why: String| match &facts.since_release {
        Changed::Unknown(unclear) => unknown(format!("{why}, and {unclear}")),
        files @ Changed::Files(_) => (Cow::Borrowed(files), format!(" since the last version tag ({why})")),
    };
    if !asks_commit(input, policy) {
        return (Cow::Borrowed(&facts.since_release), String::new());
    }
    let Some(tag) = published::tag(input, build, policy) else {
        return release("this event publishes nothing to compare with".into());
    };
    match (facts.bases.get(&tag), facts.made_of.get(&tag).map(|made_of| made_of.revision.as_str())) {
        (None, _) if !facts.is_asked => release("no registry was asked".into()),
        (None, _) => unknown(format!("no registry said what {tag} is")),
        (Some(None), _) => release(format!("{tag} was never published")),
        (Some(_), None) => unknown(format!("what {tag} is made of cannot be read")),
        (Some(_), Some("")) => release(format!("{tag} does not say of which commit it is")),
        (Some(_), Some(revision)) => match facts.since.get(revision) {
            Some(Changed::Unknown(why)) => unknown(format!("{tag}: {why}")),
            Some(files) => (Cow::Borrowed(files), format!(" since {tag}, of commit {}", facts::short(revision, 7))),
            None => unknown(format!("nothing was compared with {tag}")),
        },
    }
}

/// Whether a base is another image than the one that the published image was built from. Unknown counts as changed.
fn bases_changed(input: &Input<'_>, build: &Build, policy: &Policy, bases: &[&str]) -> (bool, String) {
    if bases.is_empty() {
        return (false, "it starts from no image of others".into());
    }
    match change_of_bases(input, build, policy, bases) {
        Ok(verdict) => verdict,
        Err(why) => (true, format!("whether bases changed is not known ({why})")),
    }
}

fn change_of_bases(input: &Input<'_>, build: &Build, policy: &Policy, bases: &[&str]) -> Result<(bool, String), String> {
    let tag = published::tag(input, build, policy).ok_or("this event publishes nothing to compare with")?;
    match input.facts.bases.get(&tag) {
        None => return Err(format!("no registry said what {tag} is")),
        Some(None) => return Err(format!("{tag} was never published")),
        Some(Some(_)) => {}
    }
    let theirs = input.facts.made_of.get(&tag).map(|made_of| made_of.bases.as_str()).filter(|bases| !bases.is_empty());
    let theirs: Vec<&str> = theirs.ok_or_else(|| format!("{tag} does not say what it was built from"))?.split(' ').collect();
    let mut unknown = None;
    for base in bases {
        let now = named(input, base);
        if theirs.contains(&now.as_str()) && now.contains('@') {
            continue;
        }
        let was = theirs.iter().find_map(|theirs| theirs.strip_prefix(base)?.strip_prefix('@'));
        match (was, now.strip_prefix(base).and_then(|now| now.strip_prefix('@'))) {
            (Some(was), Some(now)) => {
                let (was, now) = (facts::short(was, DIGITS), facts::short(now, DIGITS));
                return Ok((true, format!("{base} changed from {was}, which {tag} was built from, to {now}")));
            }
            (_, None) if !now.contains('@') => unknown = Some(format!("the digest of {base} is not known")),
            (None, _) if theirs.contains(base) => unknown = Some(format!("{tag} does not say which {base} it was built from")),
            (..) => return Ok((true, format!("{tag} was not built from {base}"))),
        }
    }
    unknown.map_or_else(|| Ok((false, format!("no base changed since {tag} was built"))), Err)
}

/// A base as the label has it: `NAME@DIGEST`, or `NAME` where the digest is not known.
pub fn named(input: &Input<'_>, base: &str) -> String {
    match key::pinned(input, base).filter(|_| !base.contains('@')) {
        Some(digest) => format!("{base}@{digest}"),
        None => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EventKey;
    use crate::event::parse;
    use crate::facts::Facts;
    use crate::plan::golden::{facts, load};
    use crate::plan::labels::MadeOf;
    use crate::plan::{Plan, looks, plan};

    /// The first build of the example, whose every event is fresh when `when` says so.
    fn planned(when: FreshWhen, event: &str, change: impl FnOnce(&mut Facts)) -> (Plan, bool, String) {
        let (root, mut config) = load("examples/services");
        config.builds.truncate(1);
        config.builds[0].dependencies = Some(vec!["**/uv.lock".into()]);
        let mut nightly = config.builds[0].on[0].clone();
        (nightly.event, nightly.tags) = (EventKey::Schedule, vec!["nightly".into()]);
        config.builds[0].on.push(nightly);
        config.builds[0].on.iter_mut().for_each(|policy| policy.fresh = when);
        let mut facts = facts(&root, &config, None);
        facts.bases.clear();
        change(&mut facts);
        let event = parse::event(event).unwrap();
        let plan = plan(&config, &event, &facts, &[]).unwrap();
        let said = plan.builds[0].reasons.iter().find_map(|reason| Some(reason.split_once("fresh: ")?.1.to_owned()));
        let is_fresh = plan.builds[0].test.fresh;
        (plan, is_fresh, said.unwrap_or_default())
    }

    #[test]
    fn bases_are_compared_with_those_of_the_published_image() {
        const TAG: &str = "ghcr.io/slipway/shop/api:dev";
        let digest = |n: u8| format!("sha256:{}", char::from(b'0' + n).to_string().repeat(64));
        let of = |event: &str, base: Option<u8>, tag: Option<Option<&str>>| {
            let (_, is_fresh, why) = planned(FreshWhen::BasesChanged, event, |facts| {
                let base = base.map(|n| ("python:3.12-slim".to_owned(), Some(digest(n))));
                facts.bases.extend(base);
                facts.bases.extend(tag.map(|tag| (TAG.to_owned(), tag.map(|_| digest(9)))));
                let bases = tag.flatten().map(|bases| bases.replace("(1)", &digest(1)));
                facts.made_of.extend(bases.map(|bases| (TAG.to_owned(), MadeOf { bases, ..MadeOf::default() })));
            });
            (is_fresh, why.replace(TAG, "TAG"))
        };
        let table = [
            ("branch:dev", Some(1), Some(Some("python:3.12-slim@(1)")), false, "no base changed since TAG was built"),
            (
                "branch:dev",
                Some(2),
                Some(Some("a:1 python:3.12-slim@(1)")),
                true,
                "python:3.12-slim changed from sha256:111111111111, which TAG was built from, to sha256:222222222222",
            ),
            ("branch:dev", Some(1), Some(Some("python:3.12@(1)")), true, "TAG was not built from python:3.12-slim"),
            ("branch:dev", None, Some(Some("python:3.12-slim@(1)")), true, "?the digest of python:3.12-slim is not known"),
            (
                "branch:dev",
                Some(1),
                Some(Some("python:3.12-slim")),
                true,
                "?TAG does not say which python:3.12-slim it was built from",
            ),
            ("branch:dev", Some(1), Some(Some("")), true, "?TAG does not say what it was built from"),
            ("branch:dev", Some(1), Some(None), true, "?TAG was never published"),
            ("branch:dev", Some(1), None, true, "?no registry said what TAG is"),
            ("pr:12", Some(1), None, true, "?this event publishes nothing to compare with"),
            ("local", Some(1), None, true, "?this event publishes nothing to compare with"),
        ];
        for (event, base, tag, is_fresh, why) in table {
            let why = match why.strip_prefix('?') {
                Some(why) => format!("whether bases changed is not known ({why})"),
                None => why.to_owned(),
            };
            assert_eq!(of(event, base, tag), (is_fresh, why), "{event} {base:?} {tag:?}");
        }
    }

    #[test]
    fn what_was_built_is_compared_by_the_next_run() {
        let digest = |n: &str| Some(format!("sha256:{}", n.repeat(64)));
        let base = |n: &'static str| move |facts: &mut Facts| _ = facts.bases.insert("python:3.12-slim".into(), digest(n));
        let (first, ..) = planned(FreshWhen::BasesChanged, "branch:dev", base("1"));
        let labels = &first.builds[0].labels;
        let made_of = MadeOf::read(|name| labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str()));
        for (now, is_fresh) in [("1", false), ("2", true)] {
            let (next, fresh, why) = planned(FreshWhen::BasesChanged, "branch:dev", |facts| {
                base(now)(facts);
                let tag = first.builds[0].push.moving.last().unwrap();
                facts.bases.insert(tag.clone(), digest("9"));
                facts.made_of.insert(tag.clone(), made_of.clone());
            });
            assert_eq!(fresh, is_fresh, "{why}");
            assert_eq!(next.builds[0].key == first.builds[0].key, !is_fresh);
        }
    }

    #[test]
    fn a_scheduled_run_compares_dependencies_with_what_is_published() {
        const TAG: &str = "ghcr.io/slipway/shop/api:nightly";
        let commit = "abcdef0".repeat(5);
        let files = |names: &[&str]| Changed::Files(names.iter().map(|&name| name.into()).collect());
        let of = |asked: bool, published: Option<Option<Option<&str>>>, since: Option<Changed>, release: Option<Changed>| {
            let (plan, is_fresh, why) = planned(FreshWhen::DependenciesChanged, "schedule", |facts| {
                facts.is_asked = asked;
                facts.since_release = release.unwrap_or_default();
                facts.bases.extend(published.map(|at| (TAG.to_owned(), at.map(|_| "sha256:1".to_owned()))));
                let revision = published.flatten().flatten().map(str::to_owned);
                let made_of = revision.map(|revision| (TAG.to_owned(), MadeOf { revision, ..MadeOf::default() }));
                facts.made_of.extend(made_of);
                facts.since.extend(since.map(|since| (commit.clone(), since)));
            });
            assert!(plan.builds[0].push.moving.contains(&TAG.to_owned()));
            (is_fresh, why.replace(TAG, "TAG"))
        };
        let lock = || Some(files(&["services/api/uv.lock"]));
        let none = || Some(files(&[]));
        let ours = Some(Some(Some(commit.as_str())));
        let table = [
            (true, ours, lock(), none(), true, "the dependency file services/api/uv.lock changed since TAG, of commit abcdef0"),
            (true, ours, none(), lock(), false, "no dependency file changed since TAG, of commit abcdef0"),
            (true, ours, Some(Changed::Unknown("it is gone".into())), none(), true, "?TAG: it is gone"),
            (true, Some(Some(None)), None, none(), true, "?what TAG is made of cannot be read"),
            (true, None, None, none(), true, "?no registry said what TAG is"),
            (
                true,
                Some(Some(Some(""))),
                None,
                none(),
                false,
                "no dependency file changed since the last version tag (TAG does not say of which commit it is)",
            ),
            (
                true,
                Some(None),
                None,
                lock(),
                true,
                "the dependency file services/api/uv.lock changed since the last version tag (TAG was never published)",
            ),
            (true, Some(None), None, None, true, "?TAG was never published, and nothing was compared"),
            (false, None, None, none(), false, "no dependency file changed since the last version tag (no registry was asked)"),
        ];
        for (asked, published, since, release, is_fresh, why) in table {
            let why = match why.strip_prefix('?') {
                Some(why) => format!("whether dependencies changed is not known ({why})"),
                None => why.to_owned(),
            };
            assert_eq!(of(asked, published, since.clone(), release), (is_fresh, why), "{asked} {published:?} {since:?}");
        }
    }

    #[test]
    fn changed_files_are_looked_through_only_where_the_answer_counts() {
        let many = |of: usize| Changed::Files((0..of).map(|at| format!("docs/{at}/package.json").into()).collect());
        let compared = |when: FreshWhen, files: usize| {
            let before = crate::glob::COMPARED.get();
            planned(when, "tag:v1.0.0", |facts| facts.since_release = many(files));
            crate::glob::COMPARED.get() - before
        };
        for when in [FreshWhen::Never, FreshWhen::Always, FreshWhen::BasesChanged] {
            assert_eq!(compared(when, 5_000), compared(when, 0), "{when:?}");
        }
        let once = compared(FreshWhen::DependenciesChanged, 5_000) - compared(FreshWhen::DependenciesChanged, 0);
        assert_eq!(once, 5_000, "one pattern of one build");
    }

    #[test]
    fn the_registry_is_asked_where_the_answer_counts() {
        let (root, mut config) = load("examples/services");
        let facts = facts(&root, &config, None);
        let asked = |config: &crate::config::Config, event: &str| looks(config, &parse::event(event).unwrap(), &facts, false);
        assert!(asked(&config, "branch:dev").is_empty());
        config.builds[0].on.iter_mut().for_each(|policy| policy.fresh = FreshWhen::BasesChanged);
        let tag = |tag: &str| [format!("ghcr.io/slipway/shop/api:{tag}")].into();
        assert_eq!(asked(&config, "branch:dev"), tag("dev"));
        assert!(asked(&config, "pr:12").is_empty());
    }
}
