//! A plan that was handed over, held against what this checkout and this run would plan: a file decides nothing that is
//! published. What only a registry knows, digests of bases and what is reused, is verified there by the gate.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::handed::another;
use super::{Context, redirect};
use crate::config::{Config, FreshWhen, WriteWhen};
use crate::error::Fault;
use crate::event::{self, Event};
use crate::facts::{self, Changed, Facts};
use crate::plan::labels::{KEY, SOURCE};
use crate::plan::{self, Action, Build, How, Plan};
use crate::registry::split;
use crate::{visible, worktree};

/// Labels that say what registries said.
const OPEN_LABELS: [&str; 4] = [KEY, "dev.slipway.files", "dev.slipway.bases", "dev.slipway.parents"];

impl Context {
    /// # Errors
    /// Refused: a field that is not what would be planned here and now, by its name.
    pub(super) fn refuse_another_plan(&self, plan: &Plan) -> Result<()> {
        let recorded = self.event_of(plan)?;
        let root = self.released_source(&recorded)?.unwrap_or(&self.repo);
        let (commit, _) = facts::checkout(&self.runner, root);
        self.refuse_commit(plan, &commit)?;
        let mut config = self.config_of_plan()?.into_owned();
        if let Some(registry) = plan.builds.first().and_then(|build| loopback(&build.repository)) {
            redirect(&mut config, registry);
        }
        let config = &config;
        let mut facts = self.facts_of(root, config, &recorded)?;
        // Tests write files; the stages that build look whether any of those counts.
        facts.dirty = None;
        if let Some(timestamp) = &plan.timestamp {
            let is_time = timestamp.len() == 15 && timestamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            refuse_unless(is_time, || format!("the timestamp is \"{}\"", visible::line(timestamp)))?;
            facts.now.clone_from(timestamp);
        }
        let expected = Expected::new(config, plan, facts)?;
        refuse_fields(plan, &expected.all)?;
        let takes_everything = !matches!(plan.event, Event::Branch { .. });
        if plan.publishes && (takes_everything || self.is_told_the_event()) {
            let left = expected
                .own
                .builds
                .iter()
                .find(|own| own.push.how != How::None && !plan.builds.iter().any(|one| one.id == own.id));
            refuse_unless(left.is_none(), || format!("it leaves out {}", left.map_or("", |own| &own.id)))?;
        }
        let run = (expected.run.as_str(), self.env.get("GITHUB_RUN_ID").is_some_and(|id| !id.is_empty()));
        for build in &plan.builds {
            let all =
                [&expected.all, &expected.own].into_iter().filter_map(|plan| plan.builds.iter().find(|now| now.id == build.id));
            let mut reason = Some("builds: nothing here builds it".to_owned());
            for now in all {
                if let Some(name) = self.another_setting(build, now, plan.event == Event::Local) {
                    return Err(another("settings", &name, &build.id));
                }
                reason = differs(plan, build, now, run);
                if reason.is_none() {
                    break;
                }
            }
            refuse_unless(reason.is_none(), || format!("{} of {}", reason.unwrap_or_default(), build.id))?;
            let policy =
                config.builds.iter().find(|one| one.id == build.id).and_then(|one| plan::policy_of(&plan.event, one).ok());
            let must = match policy.map(|policy| policy.fresh) {
                _ if matches!(plan.event, Event::Manual { rebuild: true, .. }) => Some(true),
                Some(FreshWhen::Always) => Some(true),
                Some(FreshWhen::Never) | None => Some(false),
                Some(FreshWhen::DependenciesChanged | FreshWhen::BasesChanged) => None,
            };
            refuse_unless(must.is_none_or(|must| must == build.test.fresh), || format!("fresh of {}", build.id))?;
        }
        let checks = |plan: &Plan| -> Value { plan.checks.iter().map(settings_of_check).collect() };
        let is_part = plan.skipped.iter().any(|skipped| skipped.reasons.iter().any(|reason| reason == plan::NARROWED));
        let is_known =
            |check: &plan::Check| expected.all.checks.iter().any(|one| settings_of_check(one) == settings_of_check(check));
        let same = if is_part { plan.checks.iter().all(is_known) } else { checks(plan) == checks(&expected.all) };
        refuse_unless(same, || "checks".to_owned())?;
        refuse_unless(!(is_part && plan.publishes), || "it is a part: --only was given when it was made".to_owned())
    }

    /// What is built and tested may be meant for a registry on this machine's loopback, such as the sandbox's, whatever
    /// images.toml says. What is published is not.
    ///
    /// # Errors
    /// Refused: a plan of another registry.
    pub fn refuse_another_registry(&self, plan: &Plan) -> Result<()> {
        let config = self.config_of_plan()?;
        let own =
            |build: &Build| config.builds.iter().find(|one| one.id == build.id).map(|one| config.with_target(&one.repository));
        let other = plan.builds.iter().find(|build| own(build).is_some_and(|own| own != build.repository));
        refuse_unless(other.is_none(), || format!("repository of {}", other.map_or("", |build| &build.id)))
    }

    /// GitHub's environment says it; `--event` and `--plan` exclude each other.
    fn is_told_the_event(&self) -> bool {
        self.env.get("GITHUB_ACTIONS").is_some_and(|value| value == "true")
    }

    /// The event of the plan, which is that of this run where it is known. Nobody else vouches for a tag but the version
    /// file, which is looked at when the version is told, or git.
    fn event_of(&self, plan: &Plan) -> Result<event::Recorded> {
        if self.is_told_the_event() {
            let recorded = self.recorded()?;
            if !is_same(&recorded.event, &plan.event) {
                let (then, now) = (plan.event.flag(), recorded.event.flag());
                let fault = Fault::refused(format!("the plan is of the event {then}, and this run is of {now}"));
                return Err(fault.hint("plan again").into());
            }
            return Ok(event::Recorded { event: plan.event.clone(), ..recorded });
        }
        let flag = plan.event.flag();
        let bad = || Fault::refused(format!("the plan is of the event {flag}, which is none"));
        let recorded = event::read(Some(&flag), None, &self.env, &[]).with_context(bad)?;
        let in_file = self.config()?.version_file.as_ref().map(|file| file.version.text.as_str());
        if let Event::Tag { name } = &plan.event
            && in_file != Some(name)
        {
            let at = worktree::commit(&self.runner, &self.repo, &format!("refs/tags/{name}"))?;
            if at.is_none() || at != plan.commit {
                let fault = Fault::refused(format!("the plan is of the event {flag}, and no tag {name} is on its commit"));
                return Err(fault.hint(format!("tag that commit, or run without --plan, with `--event {flag}`")).into());
            }
        }
        let (_, default_branch) = facts::branches(&self.runner, &self.repo);
        Ok(event::Recorded { event: plan.event.clone(), default_branch, ..recorded })
    }
}

/// What would be planned: for what changed, and with every build that the event can take and every cache that it may use.
struct Expected {
    own: Plan,
    all: Plan,
    /// What identifies this run.
    run: String,
}

impl Expected {
    fn new(config: &Config, plan: &Plan, mut facts: Facts) -> Result<Expected> {
        let planned = |config: &Config, facts: &Facts| {
            plan::plan(config, &plan.event, facts, &[])
                .map_err(|error| Fault::refused(format!("the plan is not of this checkout: {error:#}")).hint("plan again"))
        };
        let mut most = config.clone();
        for policy in most.builds.iter_mut().flat_map(|build| &mut build.on) {
            policy.fresh = FreshWhen::Never;
        }
        most.cache.iter_mut().for_each(|cache| cache.write_when = WriteWhen::Always);
        let own = planned(&most, &facts)?;
        facts.changed = Changed::default();
        Ok(Expected { own, all: planned(&most, &facts)?, run: facts.run })
    }
}

fn refuse_unless(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    let fault = Fault::refused(format!("the plan is not what would be planned here: {}", what()));
    Err(fault.hint("plan again").into())
}

/// The same event, where both say as much: a flag names no branch and no base.
fn is_same(a: &Event, b: &Event) -> bool {
    let branch = |event: &Event| match event {
        Event::Schedule { branch } | Event::Manual { branch, .. } | Event::PullRequest { base: branch, .. } => branch.clone(),
        _ => None,
    };
    a.flag() == b.flag() && branch(a).zip(branch(b)).is_none_or(|(a, b)| a == b)
}

/// What is the same of all builds.
fn refuse_fields(then: &Plan, now: &Plan) -> Result<()> {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "none".into(), visible::line);
    let fields = [("version", &then.version, &now.version), ("created", &then.created, &now.created)];
    // Another clone may know the source by another name; what is published says it in a label.
    let source = ("source", &then.source, &now.source);
    for (name, then, now) in fields.into_iter().chain(Some(source).filter(|_| now.publishes)) {
        refuse_unless(then == now, || format!("the {name} is {} in the plan, and {} here", text(then), text(now)))?;
    }
    refuse_unless(then.scan == now.scan, || "scan".to_owned())?;
    let publishes = then.builds.iter().any(|build| build.push.how != How::None);
    refuse_unless(then.publishes == publishes, || format!("publishes is {}", then.publishes))
}

/// The first field of a build that has an effect and is not what would be planned.
fn differs(plan: &Plan, then: &Build, now: &Build, run: (&str, bool)) -> Option<String> {
    let pushed = |build: &Build| json!([build.push.how, build.push.cache_from, build.push.replace]);
    let fields = [
        ("image", json!([then.image, then.variant, then.axes]), json!([now.image, now.variant, now.axes])),
        ("repository", json!(then.repository), json!(now.repository)),
        ("timeout", json!(then.timeout), json!(now.timeout)),
        ("local names", json!(then.test.load), json!(now.test.load)),
        ("tags", json!(then.push.tags), json!(now.push.tags)),
        ("moving tags", json!(then.push.moving), json!(now.push.moving)),
        ("tags that follow the branch", json!(then.push.follow), json!(now.push.follow)),
        ("push", pushed(then), pushed(now)),
        ("labels", labels(then, now, plan.publishes), labels(now, now, plan.publishes)),
        ("key label", json!(label(then, KEY)), json!(then.key)),
        ("mark", json!(then.test.mark), json!(now.test.mark.as_ref().map(|mark| of_key(mark, then, now)))),
    ];
    let field = fields.into_iter().find(|(_, then, now)| then != now).map(|(name, ..)| name.to_owned());
    field.or_else(|| candidate(then, now, run.0, run.1)).or_else(|| caches(then, now)).or_else(|| origins(plan, then, now))
}

fn label<'a>(build: &'a Build, name: &str) -> Option<&'a str> {
    build.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
}

/// The names of all labels, and the values of those that nobody wrote and no registry decided.
fn labels(build: &Build, now: &Build, publishes: bool) -> Value {
    let is_ours = |name: &str| name.starts_with("org.opencontainers.image.") && (publishes || name != SOURCE);
    let is_timed = |name: &str| label(now, name).is_none() || OPEN_LABELS.contains(&name) || !is_ours(name);
    build.labels.iter().map(|(name, value)| json!([name, Some(value).filter(|_| !is_timed(name))])).collect()
}

/// A tag that carries the key, which is of what registries said, too.
fn of_key(name: &str, then: &Build, now: &Build) -> String {
    let (repository, tag) = split(name);
    format!("{repository}:{}", tag.replace(&now.key[..12], &then.key[..12]))
}

/// The candidate ends with what identifies the run: GitHub's run, elsewhere that of whoever planned.
fn candidate(then: &Build, now: &Build, run: &str, is_github: bool) -> Option<String> {
    let (candidate, expected) = match (&then.test.candidate, &now.test.candidate) {
        (Some(candidate), Some(expected)) => (candidate, of_key(expected, then, now)),
        (None, None) => return None,
        _ => return Some("candidate".into()),
    };
    let is_name = |text: &str| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let of_run = expected.strip_suffix(run).and_then(|begin| candidate.strip_prefix(begin));
    let is_same = of_run.is_some_and(|of_run| of_run == run || (!is_github && is_name(of_run)));
    (!is_same).then(|| "candidate".into())
}

/// A build may use fewer caches than it could: that depends on what changed.
fn caches(then: &Build, now: &Build) -> Option<String> {
    let within = |some: &[String], all: &[String]| some.iter().all(|one| all.contains(one));
    let is_ours = within(&then.test.cache_from, &now.test.cache_from) && within(&then.test.cache_to, &now.test.cache_to);
    (!is_ours).then(|| "caches".into())
}

/// Where parents, bases and a reused image come from: digests are free, repositories are not.
fn origins(plan: &Plan, then: &Build, now: &Build) -> Option<String> {
    let mut ours = [Some(&then.repository), then.test.candidate.as_ref()].into_iter().flatten();
    let mut is_ours = |image: &String| image.contains('@') && ours.any(|name| repository(name) == repository(image));
    match (then.action, &then.reused) {
        (Action::Build, None) => {}
        (Action::Reuse, Some(image)) if is_ours(image) && then.test.candidate.is_some() => {}
        _ => return Some("reused".into()),
    }
    let base =
        |name: &str| then.inputs.iter().find(|(input, _)| input.strip_prefix("base:") == Some(name)).map(|(_, value)| value);
    let is_same = |name: &str, is: &String| match now.parents.iter().find(|(other, _)| other == name) {
        Some((_, now)) if now == is => true,
        Some((_, now)) => match now.strip_prefix("build:") {
            Some(id) => plan.builds.iter().find(|build| build.id == id).is_none_or(|build| build.reused.as_ref() == Some(is)),
            None => repository(now) == repository(is),
        },
        None => base(name).is_some_and(|digest| *is == format!("{}@{digest}", repository(name))),
    };
    let other = then.parents.iter().find(|(name, is)| !is_same(name, is)).map(|(name, _)| name);
    let lost = now.parents.iter().map(|(name, _)| name).find(|name| !then.parents.iter().any(|(other, _)| other == *name));
    other.or(lost).map(|name| format!("parent {name}"))
}

/// The registry of a repository, where it is on this machine's loopback.
fn loopback(repository: &str) -> Option<&str> {
    let host = repository.split('/').next()?;
    ["localhost:", "127.0.0.1:", "[::1]:"].iter().any(|begin| host.starts_with(begin)).then_some(host)
}

/// A reference without tag and digest.
fn repository(image: &str) -> &str {
    split(image.split('@').next().unwrap_or(image)).0
}

/// What a check does; the image that it runs in by its repository.
fn settings_of_check(check: &plan::Check) -> Value {
    let place = check.r#in.as_deref().map(|image| if image.starts_with("build:") { image } else { repository(image) });
    json!([check.name, place.is_some(), check.run, check.compose, check.services, check.may_fail, check.timeout])
}
