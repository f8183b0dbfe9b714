//! The plan of a run: made here, or handed over, and the source that it is of.

use std::collections::BTreeSet;

use anyhow::Result;
use camino::Utf8Path;

use super::Context;
use crate::config::condition::Condition;
use crate::config::{self, Config, EventKey};
use crate::error::Fault;
use crate::event::{self, Event};
use crate::plan::{self, Plan};
use crate::worktree::{self, WorkTree};
use crate::{bases, build, facts, report, resolve, sandbox, template};

impl Context {
    /// What a plan needs to know of the world.
    pub fn facts(&self, recorded: &event::Recorded) -> Result<facts::Facts> {
        self.facts_of(&self.repo, self.config()?, recorded)
    }

    /// The same of another source.
    pub(super) fn facts_of(&self, root: &Utf8Path, config: &Config, recorded: &event::Recorded) -> Result<facts::Facts> {
        self.runner.while_planning(|| {
            let rendered = template::render_all(root, config)?;
            facts::gather(&self.runner, root, config, recorded, &self.env, &rendered)
        })
    }

    /// The plan of this run: the one of `--plan`, else made here, with the digests of the bases as they are now; the
    /// same one however often it is asked for.
    ///
    /// # Errors
    /// Usage faults of configuration, event and selection; refused: a plan that leaves the sandbox.
    pub fn plan(&self) -> Result<Plan> {
        if let Some(plan) = self.plan.get() {
            return Ok(plan.clone());
        }
        let plan = self.planned(true)?;
        Ok(self.plan.get_or_init(|| plan).clone())
    }

    /// A plan for which no registry is asked: bases go by their names, so that its keys are not those of a run. The
    /// run's own, where there is one by now.
    ///
    /// # Errors
    /// Those of [`Context::plan`].
    pub fn draft(&self) -> Result<Plan> {
        self.plan.get().map_or_else(|| self.planned(false), |plan| Ok(plan.clone()))
    }

    /// Whether the event is a pushed tag that no image takes: a note says so, and nothing has to be ready for it.
    ///
    /// # Errors
    /// Usage faults of configuration and event.
    pub fn skips_tag(&self) -> Result<bool> {
        if self.is_handed_a_plan() {
            return Ok(false);
        }
        let reason = plan::why_left_out(self.config()?, &self.recorded()?.event);
        if let Some(reason) = &reason {
            self.check_usage()?;
            report::note(&format!("nothing to do: {reason}"));
        }
        Ok(reason.is_some())
    }

    fn planned(&self, pin: bool) -> Result<Plan> {
        let only = self.only()?;
        let plan = match self.handed()? {
            Some(plan) => plan::narrow(plan.clone(), &only, &*self.config_of_plan()?)?,
            None => {
                let recorded = self.recorded()?;
                match self.released_source(&recorded)? {
                    Some(root) => self.plan_with(&self.config_of(root)?, root, &recorded, &only, pin)?,
                    None => self.plan_with(self.config()?, &self.repo, &recorded, &only, pin)?,
                }
            }
        };
        for warning in &plan.warnings {
            report::note(&format!("warning: {warning}"));
        }
        self.refuse_foreign_writes(plan.builds.iter().map(|build| build.repository.as_str()))?;
        // Who only prints a plan may have one of anywhere.
        if let Some(handed) = self.handed()?.filter(|_| !self.looks.get() && self.trusted.get().is_none()) {
            self.refuse_another_plan(handed)?;
            self.trusted.get_or_init(|| ());
        }
        Ok(plan)
    }

    /// The plan, with what the registry has already.
    ///
    /// # Errors
    /// Those of [`Context::plan`], and the registry's.
    pub fn resolved(&self) -> Result<Plan> {
        if let Some(plan) = self.resolved.get() {
            return Ok(plan.clone());
        }
        let mut plan = self.plan()?;
        resolve::resolve(&self.runner, &self.repo, &mut plan)?;
        Ok(self.resolved.get_or_init(|| plan).clone())
    }

    fn plan_with(
        &self,
        config: &Config,
        root: &Utf8Path,
        recorded: &event::Recorded,
        only: &[Condition],
        pin: bool,
    ) -> Result<Plan> {
        let mut facts = self.facts_of(root, config, recorded)?;
        let draft = self.runner.while_planning(|| plan::plan(config, &recorded.event, &facts, only))?;
        let mut open = draft.by_name();
        let sandbox = self.engine.as_ref().filter(|engine| engine.sandbox);
        if pin && sandbox.is_some() && !self.looks.get() {
            // Before their digests are asked for, which change with it.
            sandbox::provide(
                &self.runner,
                &draft.builds.iter().flat_map(|build| &build.platforms).map(String::as_str).collect(),
            )?;
        }
        open.extend(plan::looks(config, &recorded.event, &facts, !draft.skipped.is_empty()));
        if !pin || open.is_empty() {
            return Ok(draft);
        }
        let memory = self.repo.join(build::FOLDER).join("bases.json");
        let mirror = sandbox.and_then(|engine| engine.registry.as_deref());
        let look = |open| bases::look(&self.runner, open, mirror, &memory);
        let mut bases = look(&open);
        facts::add_bases(&self.runner, root, config, &mut facts, bases.clone())?;
        let commits = plan::commits(config, &recorded.event, &facts);
        facts::add_since(&self.runner, root, &mut facts, &commits);
        let plan = self.runner.while_planning(|| plan::plan(config, &recorded.event, &facts, only))?;
        // What has to be made up for was not in the draft: nobody has asked for what it starts from.
        let more: BTreeSet<String> = plan.by_name().difference(&open).cloned().collect();
        if more.is_empty() {
            return Ok(plan);
        }
        bases.extend(look(&more));
        facts::add_bases(&self.runner, root, config, &mut facts, bases)?;
        plan::plan(config, &recorded.event, &facts, only)
    }

    /// A run that replaces a released version builds the source of its git tag, never whatever the branch is now.
    pub(super) fn released_source(&self, recorded: &event::Recorded) -> Result<Option<&Utf8Path>> {
        let config = self.config()?;
        let (key, branch) = match &recorded.event {
            Event::Schedule { branch } => (EventKey::Schedule, branch),
            Event::Manual { branch, .. } => (EventKey::Manual, branch),
            _ => return Ok(None),
        };
        if branch.is_some() && *branch != recorded.default_branch {
            return Ok(None);
        }
        let replaces = |build: &config::Build| build.on.iter().any(|policy| policy.event == key && policy.replace);
        let Some(file) = config.version_file.as_ref().filter(|_| config.builds.iter().any(replaces)) else { return Ok(None) };
        match worktree::commit(&self.runner, &self.repo, &format!("refs/tags/{}", file.version.text))? {
            Some(commit) => {
                let (version, root) = (&file.version.text, self.root_of(&commit)?);
                let commit = facts::short(&commit, 7);
                report::note(&match self.has_config(root) {
                    true => format!("{version} is released: its own source is built, commit {commit}"),
                    false => format!(
                        "{version} is released: its own source is built, commit {commit}, with today's {}, for it has none",
                        self.global.config
                    ),
                });
                Ok(Some(root))
            }
            None => Ok(None),
        }
    }

    /// Where the source of a plan is: the checkout, or a work tree of the plan's commit.
    ///
    /// # Errors
    /// Refused: a plan of `--plan` that is not of this source.
    pub fn root(&self, plan: &Plan) -> Result<&Utf8Path> {
        let root = match (&plan.event, &plan.commit) {
            (Event::Schedule { .. } | Event::Manual { .. }, Some(commit)) => self.root_of(commit)?,
            _ => &self.repo,
        };
        if self.global.plan.is_some() && root == self.repo && self.checked.get().is_none() {
            self.refuse_another_source(plan)?;
            self.checked.get_or_init(|| ());
        }
        Ok(root)
    }

    pub(super) fn root_of(&self, commit: &str) -> Result<&Utf8Path> {
        if let Some((_, tree)) = self.source.get().filter(|(have, _)| have == commit) {
            return Ok(tree.path());
        }
        if worktree::commit(&self.runner, &self.repo, "HEAD")?.is_none_or(|head| head == commit) {
            return Ok(&self.repo);
        }
        if let Some((other, _)) = self.source.get() {
            let (other, commit) = (facts::short(other, 12), facts::short(commit, 12));
            let fault = Fault::refused(format!("the plan is of {other}, and the run builds {commit}"));
            return Err(fault.hint("plan again").into());
        }
        let tree = WorkTree::new(&self.runner, &self.repo, commit)?;
        Ok(self.source.get_or_init(|| (commit.to_owned(), tree)).1.path())
    }

    /// With the sandbox nothing of another registry may be written, but for one on this machine that was asked for.
    ///
    /// # Errors
    /// Refused, naming the repository or tag and the registry that may be written to.
    pub fn refuse_foreign_writes<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
        let Some(registry) = self.engine.as_ref().and_then(|engine| engine.registry.as_deref()) else { return Ok(()) };
        let is_here = |registry: &&str| ["localhost:", "127.0.0.1:", "[::1]:"].iter().any(|host| registry.starts_with(host));
        let asked = self.rehearsal.as_deref().or(self.global.registry.as_deref());
        let registry = asked.filter(is_here).unwrap_or(registry);
        let Some(name) = names.find(|name| !name.starts_with(&format!("{registry}/"))) else { return Ok(()) };
        let message = format!("the run writes to {name}, and the sandbox may only write to {registry}");
        Err(Fault::refused(message).hint(format!("use `--registry {registry}`, or `--engine host`")).into())
    }
}
