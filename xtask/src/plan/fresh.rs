//! Whether a build is fresh, `--pull --no-cache`, and why.

use super::planner::Input;
use super::{key, published};
use crate::config::{Build, FreshWhen, Policy};
use crate::deps;
use crate::event::Event;

/// What was decided.
pub struct Fresh {
    pub is_fresh: bool,
    /// Caches ask that too.
    pub dependencies_changed: bool,
    pub reason: Option<String>,
}

/// `bases`: the images that it starts from, as written in its Dockerfile.
pub fn fresh(input: &Input<'_>, build: &Build, policy: &Policy, bases: &[&str]) -> Fresh {
    let facts = input.facts;
    let (dependencies_changed, why) =
        deps::changed_for(build, facts.dockerfile(build), facts.content(build), &facts.since_release);
    let (is_fresh, why) = match policy.fresh {
        _ if matches!(input.event, Event::Manual { rebuild: true, .. }) => (true, "a rebuild was asked for".to_owned()),
        FreshWhen::Always => (true, "the event says so".into()),
        FreshWhen::DependenciesChanged => (dependencies_changed, why),
        FreshWhen::BasesChanged => bases_changed(input, build, policy, bases),
        FreshWhen::Never => return Fresh { is_fresh: false, dependencies_changed, reason: None },
    };
    Fresh { is_fresh, dependencies_changed, reason: Some(format!("{}fresh: {why}", if is_fresh { "" } else { "not " })) }
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
                let (was, now) = (short(was), short(now));
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

/// `sha256:` and the first 12 digits.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::parse;
    use crate::facts::Facts;
    use crate::plan::golden::{facts, load};
    use crate::plan::labels::MadeOf;
    use crate::plan::{Plan, looks, plan};

    /// The first build of the example, whose every event is fresh when `when` says so.
    fn planned(when: FreshWhen, event: &str, change: impl FnOnce(&mut Facts)) -> (Plan, bool, String) {
        let (root, mut config) = load("examples/services");
        config.builds.truncate(1);
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
