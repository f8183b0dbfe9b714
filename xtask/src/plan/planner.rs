//! From configuration, event and facts to the plan: who is in, and everything that will be done for each build.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result};

use super::{
    Action, Build, How, Plan, PushStage, Scan, Skipped, TestStage, cache, checks, fresh, key, labels, parents, platforms,
    published, select, tags, versions,
};
use crate::config::{self, Config, Gate, condition::Condition};
use crate::error::Fault;
use crate::event::Event;
use crate::facts::Facts;
use crate::marks;
use crate::version::Version;

/// Everything the parts of the planner share.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub config: &'a Config,
    pub event: &'a Event,
    pub facts: &'a Facts,
    pub version: Option<&'a Version>,
    /// Repository, with and without the registry → a build of it.
    pub repositories: &'a HashMap<String, &'a config::Build>,
}

/// Decides the whole run.
///
/// # Errors
/// Usage faults: a version that is needed and that the tag is not, a tag that cannot be filled, a parent without its
/// FROM, `only` that selects nothing (the error lists what there is), a registry that is needed and not set.
pub fn plan(config: &Config, event: &Event, facts: &Facts, only: &[Condition]) -> Result<Plan> {
    let (version, no_version) = match versions::version(config, event) {
        Ok(version) => (version, None),
        Err(fault) => (None, Some(fault)),
    };
    let named = |build| parents::repositories(config, build).into_iter().map(move |name| (name, build));
    let repositories = config.builds.iter().flat_map(named).collect();
    let input = Input { config, event, facts, version: version.as_ref(), repositories: &repositories };
    let selection = select::select(&input, only)?;
    if let Some(fault) = no_version {
        for taken in &selection.taken {
            if let Some(text) = versions::need(taken.build, taken.policy) {
                return Err(fault).context(versions::needed_by(taken.build, text));
            }
        }
    }

    // The clock is in the plan only where it decides something: else the same commit gives the same bytes.
    let needs_time = selection.taken.iter().any(is_timed);
    let ordered = parents::order(&input, &selection.taken)?;
    let run = platforms::of_run(&input, &ordered);
    let mut builds = Vec::with_capacity(ordered.len());
    let mut keys = BTreeMap::new();
    let mut made_of = BTreeMap::new();
    let mut warnings = Vec::new();
    for taken in ordered {
        builds.push(build(&input, taken, &run, &mut keys, &mut made_of, &mut warnings)?);
    }
    let publishes = builds.iter().any(|build| build.push.how != How::None);
    let meant = |taken: &select::Taken<'_>| taken.build.publish && !taken.is_lent && !taken.policy.tags.is_empty();
    let held_back = (facts.dirty.is_some() && publishing_event(&input) && selection.taken.iter().any(meant))
        .then(|| "the working tree has changes that are not committed".to_owned());
    warnings.extend(held_back.iter().map(|why| format!("{why}: nothing is published")));
    if config.cache.is_none() && !matches!(event, Event::Local) && !builds.is_empty() {
        warnings.push("no [cache]: builds on a new machine start cold".into());
    }
    warnings.extend(not_yet(config, publishes));
    warnings.sort();
    warnings.dedup();
    let narrowed = selection.skipped.iter().filter(|(_, why)| why == select::NARROWED).map(|(id, _)| id.as_str());
    let narrowed: BTreeSet<&str> = narrowed.collect();
    let is_left = |build: &&config::Build| narrowed.contains(build.id.as_str());
    let left: Vec<&str> = config.builds.iter().filter(is_left).map(|build| build.repository.as_str()).collect();
    Ok(Plan {
        schema: 1,
        commit: facts.commit.clone(),
        created: facts.commit_time.clone(),
        source: facts.source.clone(),
        event: event.clone(),
        version: version.as_ref().map(|version| version.text.clone()),
        timestamp: needs_time.then(|| tags::timestamp(&facts.now)),
        publishes,
        held_back,
        has_work: !builds.is_empty(),
        checks: if versions::why_left_out(config, event).is_some() {
            Vec::new()
        } else {
            checks::checks(&input, &builds, (!only.is_empty()).then_some(&left))?
        },
        scan: config.scan.as_ref().map(|scan| Scan { fail_on: scan.fail_on, ignore: scan.ignore.clone() }),
        builds,
        skipped: selection.skipped.into_iter().map(|(id, reason)| Skipped { id, reasons: vec![reason] }).collect(),
        warnings,
    })
}

/// Whether the clock is in a text of a build.
fn is_timed(taken: &select::Taken<'_>) -> bool {
    let texts = taken.policy.tags.iter().chain(taken.build.args.values()).chain(taken.build.labels.values());
    texts.into_iter().any(|text| text.contains("{timestamp}") || text.contains("{date}"))
}

/// What the file asks for and this program cannot do yet, said whenever it would have to.
fn not_yet(config: &Config, publishes: bool) -> Vec<String> {
    let asked = [
        (publishes && config.release.sign, "release.sign", "nothing is signed"),
        (publishes && config.release.sbom, "release.sbom", "no SBOM is attached"),
    ];
    let asked = asked.into_iter().filter(|(is_asked, ..)| *is_asked);
    asked.map(|(_, key, what)| format!("{key} is not supported by this version: {what}")).collect()
}

/// Whether this event may publish at all, for images that may be published.
pub(super) fn publishing_event(input: &Input<'_>) -> bool {
    match input.event {
        Event::Local | Event::PullRequest { .. } => false,
        Event::Branch { .. } | Event::Tag { .. } => true,
        // "Try the pipeline without a pull request": on another branch such a run only tests.
        Event::Manual { branch, .. } | Event::Schedule { branch } => {
            branch.as_ref().is_none_or(|branch| *branch == input.facts.default_branch)
        }
    }
}

fn build(
    input: &Input<'_>,
    taken: &select::Taken<'_>,
    run: &platforms::Platforms<'_>,
    keys: &mut BTreeMap<String, String>,
    made_of: &mut BTreeMap<String, labels::MadeOf>,
    warnings: &mut Vec<String>,
) -> Result<Build> {
    let select::Taken { build, policy, is_lent, .. } = taken;
    let mut reasons = taken.reasons.clone();
    let repository = input.config.with_target(&build.repository);
    let platforms = run.get(build.id.as_str()).cloned().unwrap_or_default();
    let parents = parents::resolve(input, build, run)?;
    reasons.extend(parents::tag_reasons(input, build, run));
    let bases = parents::bases(input, build, &parents);
    let fresh = fresh::fresh(input, build, policy, &bases);
    reasons.extend(fresh.reason);
    if build.tests.is_empty() {
        reasons.push("no tests".into());
    }

    if let Some(content) = input.facts.content(build) {
        reasons.extend(content.whole.iter().map(|why| format!("the whole context counts: {why}")));
        reasons.extend(content.always.iter().map(|why| format!("nothing built before is sure to be the same: {why}")));
        // Of a context and not of a build: said once of all that take it.
        warnings.extend(content.volatile.iter().map(|what| format!("never reused: {what}")));
    }

    if let Some(unread) = input.facts.dockerfile(build).and_then(|dockerfile| dockerfile.unread.as_ref()) {
        let (path, line, why) = (&build.dockerfile, unread.line, &unread.why);
        warnings.push(format!("{path}:{line}: {why}: the whole context counts, and nothing built before is reused"));
    }

    let tags = tags::tags(input, build, policy, &repository)?;
    reasons.extend(tags.held_back.iter().cloned());
    let may_publish = publishing_event(input) && build.publish && !is_lent;
    let publishes = may_publish && input.facts.dirty.is_none() && !tags.is_empty();
    if publishes && input.config.target().is_empty() {
        return Err(no_registry(input.config, &build.id));
    }
    let stage = cache::Stage { publishes, fresh: fresh.is_fresh, dependencies_changed: &fresh.dependencies_changed };
    let cache = cache::entries(input, build, policy, &stage);
    reasons.extend(cache.reason);
    let pins = parents::pins(input, &bases);
    let args = tags::fill_all(input, build, &build.args)?;
    let inputs = key::Inputs { input, build, args: &args, platforms: &platforms, parents: &parents, keys }.named();
    let key = key::key(&inputs);
    warnings.extend(input.facts.content(build).and_then(|content| content.missing.first()).map(|source| {
        format!(
            "{}: {} takes {source}, which is not in the context {}: its build will fail",
            build.id, build.dockerfile, build.context
        )
    }));
    keys.insert(build.id.clone(), key.clone());
    let is_made_of = published::made_of(input, build, &platforms, &bases, made_of);
    made_of.insert(build.id.clone(), is_made_of.clone());
    let candidates = input.config.with_target(&build.candidates);
    let candidate = publishes.then(|| marks::candidate(&candidates, &key, &input.facts.run));
    let mark = publishes.then(|| marks::tested(&candidates, &key, &key::test_key(input, build)));
    if tags.is_empty() && may_publish {
        warnings.push(format!("{}: `tags = []`: built and tested, not published", build.id));
    }
    let how = match input.config.release.gate {
        _ if !publishes => How::None,
        Gate::Promote => How::Promote,
        Gate::Rebuild => How::Rebuild,
    };
    let load = tags.load(input, build, &repository);
    let tags = if publishes { tags } else { tags::Tags::default() };
    Ok(Build {
        id: build.id.clone(),
        image: build.image.clone(),
        variant: build.variant.clone(),
        axes: build.axes.clone(),
        dockerfile: build.dockerfile.to_string(),
        context: build.context.to_string(),
        target: build.target.clone(),
        args,
        labels: labels::labels(input, build, &key, is_made_of)?,
        secrets: build.secrets.iter().map(|(id, secret)| (id.clone(), secret.clone())).collect(),
        timeout: build.timeout.as_secs(),
        action: Action::Build,
        reused: None,
        parents: parents.iter().map(|parent| (parent.name.clone(), parent.is.clone())).chain(pins).collect(),
        test: TestStage { fresh: fresh.is_fresh, load, candidate, mark, cache_from: cache.from, cache_to: cache.to },
        push: PushStage {
            how,
            cache_from: cache.push_from,
            tags: tags.once,
            moving: tags.moving,
            follow: tags.follow,
            replace: publishes && policy.replace,
        },
        tests: build.tests.clone(),
        platforms,
        repository,
        key,
        inputs,
        reasons,
    })
}

fn no_registry(config: &Config, id: &str) -> anyhow::Error {
    let fault = match &config.registry_unset {
        Some(name) => Fault::not_ready(format!("cannot publish {id}: ${{{name}}} is not set")).hint(format!("export {name}=…")),
        None => {
            Fault::usage(format!("cannot publish {id}: {} names no registry", config.file)).hint("add `registry = \"ghcr.io\"`")
        }
    };
    fault.into()
}

#[cfg(test)]
mod tests {
    use super::super::golden::{facts, load};
    use super::*;

    #[test]
    fn a_rehearsal_reads_what_is_published_and_writes_elsewhere() {
        let (root, mut config) = load("examples/hierarchy");
        config.rehearsal = Some("localhost:9".into());
        let event = crate::event::parse::event("branch:main").unwrap();
        let plan = plan(&config, &event, &facts(&root, &config, Some(&["README.md"])), &[]).unwrap();
        let [prod] = plan.builds.as_slice() else { panic!("{:?}", plan.ids()) };
        assert_eq!(prod.parents.iter().map(|(_, is)| is.as_str()).collect::<Vec<_>>(), ["ghcr.io/slipway/bot-base:latest"]);
        let checked = plan.checks.iter().filter_map(|check| check.r#in.as_deref());
        assert!(checked.clone().count() > 0 && checked.clone().all(|image| image == "ghcr.io/slipway/bot-ci:latest"));
        let written = prod.push.tags.iter().chain(&prod.push.moving).chain(&prod.test.candidate).chain(&prod.test.mark);
        assert!(written.clone().count() > 2, "{written:?}");
        assert!(written.clone().all(|name| name.starts_with("localhost:9/slipway/bot:")));
        assert!(prod.test.cache_to.iter().all(|cache| !cache.contains("ghcr.io")), "{:?}", prod.test.cache_to);
    }
}
