//! What every task works with: the repository, its configuration, the plan, the engine, the runner.

mod handed;
mod planning;
mod trusted;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::builder::{self, Builder, Place};
use crate::cli::{CONFIG, Global};
use crate::config::condition::{Condition, Subject, selects};
use crate::config::paths::relative;
use crate::config::{self, Config, Env};
use crate::engine::{self, Choice, Engine};
use crate::error::Fault;
use crate::event::Event;
use crate::exec::Runner;
use crate::plan::{self, Plan};
use crate::worktree::WorkTree;
use crate::{credentials, event, facts, sandbox};

/// Made once by `main`; configuration and engine are looked up when a task first asks.
pub struct Context {
    pub repo: Utf8PathBuf,
    pub runner: Runner,
    pub env: Env,
    pub json: bool,
    /// How many builds or tests run at once.
    pub jobs: usize,
    global: Global,
    engine: Option<Engine>,
    /// The task only says what would happen: nothing is made for it.
    looks: Cell<bool>,
    config: OnceCell<Config>,
    /// That of `--plan`, whole.
    handed: OnceCell<Plan>,
    plan: OnceCell<Plan>,
    resolved: OnceCell<Plan>,
    /// The plan of `--plan` is of the files that are here.
    checked: OnceCell<()>,
    /// It is the one that would be made here.
    trusted: OnceCell<()>,
    /// Commit → its work tree, where a run builds another source than that of the checkout.
    source: OnceCell<(String, WorkTree)>,
    /// The registry of [`Context::rehearse_into`].
    rehearsal: Option<String>,
}

impl Context {
    /// `anywhere`: the task needs no repository and takes the current folder for one.
    pub fn new(global: Global, anywhere: bool) -> Result<Context> {
        let runner = Runner::new(global.dry_run, global.verbose);
        runner.catch_signals()?;
        if let Some(registry) =
            global.registry.as_ref().filter(|name| name.is_empty() || name.contains("//") || !name.chars().all(is_host))
        {
            let fault = Fault::usage(format!("--registry is \"{}\", which is no host", registry.escape_debug()));
            return Err(fault.hint("write it like ghcr.io or localhost:5000").into());
        }
        let repo = match &global.repo {
            Some(repo) => repo.canonicalize_utf8().with_context(|| Fault::usage(format!("cannot find the repository {repo}")))?,
            None => find_repo(&global.config).or_else(|error| if anywhere { here() } else { Err(error) })?,
        };
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = global.jobs.map_or_else(processors, usize::from);
        Ok(Context {
            repo,
            runner,
            env: facts::env(),
            json: global.json,
            jobs,
            global,
            engine: None,
            looks: Cell::new(false),
            config: OnceCell::new(),
            handed: OnceCell::new(),
            plan: OnceCell::new(),
            resolved: OnceCell::new(),
            checked: OnceCell::new(),
            trusted: OnceCell::new(),
            source: OnceCell::new(),
            rehearsal: None,
        })
    }

    /// Settles which Docker is used, before a task that builds or runs images.
    ///
    /// # Errors
    /// Not ready: no Docker answers and there can be no sandbox.
    pub fn with_engine(&mut self) -> Result<&mut Context> {
        self.check_usage()?;
        let engine = engine::resolve(self.global.engine, &self.runner)?;
        for (name, value) in &engine.env {
            self.runner.set_env(name, value);
        }
        self.engine = Some(engine);
        self.use_login();
        let registry = self.registry().map(str::to_owned);
        if let (Some(registry), Some(config)) = (registry, self.config.get_mut()) {
            redirect(config, &registry);
        }
        Ok(self)
    }

    /// The same for a task that only says what would happen: the sandbox where that was asked for or is up already.
    pub fn with_engine_if_sandboxed(&mut self) -> Result<&mut Context> {
        let sandboxed = match self.global.engine {
            Choice::Sandbox => true,
            Choice::Auto => sandbox::running()?.is_some_and(|state| state.engine),
            Choice::Host => false,
        };
        self.looks.set(true);
        if sandboxed {
            return self.with_engine();
        }
        self.use_login();
        Ok(self)
    }

    /// The plan that is printed is handed to a run, so that its bases are made now where they are not there.
    pub fn for_a_run(&self) {
        self.looks.set(false);
    }

    /// The sandbox's tools where it is up and not ruled out; nothing is started, for a task that only looks.
    pub fn with_running_sandbox(&mut self) -> Result<&mut Context> {
        if self.global.engine != Choice::Host && sandbox::running()?.is_some_and(|state| state.engine) {
            let engine = engine::resolve(Choice::Auto, &self.runner)?;
            engine.env.iter().for_each(|(name, value)| self.runner.set_env(name, value));
            self.engine = Some(engine);
        }
        self.use_login();
        Ok(self)
    }

    /// Whether the sandbox is the engine: nothing then leaves this machine, and its base images are stand-ins.
    pub fn is_sandboxed(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.sandbox)
    }

    /// Whether the sandbox may be the engine.
    pub fn may_use_sandbox(&self) -> bool {
        self.global.engine != Choice::Host
    }

    /// What is wrong with the flags and the configuration is said before an engine is started.
    fn check_usage(&self) -> Result<()> {
        let (config, only) = (self.config()?, self.only()?);
        let mut builders: Vec<&String> = self.global.builders.iter().collect();
        builders.sort();
        if let Some(twice) = builders.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Fault::usage(format!("--builders names {} twice", twice[0])).into());
        }
        match self.handed()? {
            Some(plan) => plan::narrow(plan.clone(), &only, &*self.config_of_plan()?).map(drop),
            None => plan::check_version(config, &self.recorded()?.event, &only),
        }
    }

    /// The Docker configuration that is used while nobody has logged in here.
    pub fn docker_config(&self) -> Option<Utf8PathBuf> {
        let engine = self.engine.iter().flat_map(|engine| &engine.env).find(|(name, _)| name == "DOCKER_CONFIG");
        let home = || Some(Utf8PathBuf::from(self.env.get("HOME")?).join(".docker"));
        engine.map(|(_, value)| value).or_else(|| self.env.get("DOCKER_CONFIG")).map(Utf8PathBuf::from).or_else(home)
    }

    /// From now on every command is logged in as `login` says, if anybody is.
    fn use_login(&mut self) {
        if let Ok(folder) = credentials::folder(&self.env, &self.repo)
            && folder.exists()
        {
            self.runner.set_env("DOCKER_CONFIG", folder.as_str());
        }
    }

    /// The registry that takes the place of the configured one: `--registry`, else the sandbox's.
    fn registry(&self) -> Option<&str> {
        let sandbox = self.engine.as_ref().and_then(|engine| engine.registry.as_deref());
        self.global.registry.as_deref().or(sandbox)
    }

    /// From now on everything that is written goes to this registry on loopback; what was published is where it was.
    pub fn rehearse_into(&mut self, registry: &str) {
        self.rehearsal = Some(registry.to_owned());
        (self.config, self.plan, self.resolved) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
    }

    /// What a plan is built with, by `--builder`, `[builders]` and the engine.
    ///
    /// # Errors
    /// Not ready: it can't be made, or a node of it can't be reached.
    pub fn builder(&self, plan: &Plan) -> Result<Builder> {
        let mut builder = builder::ready(&self.place()?, &self.choice(), plan)?;
        let given = [("--registry", self.global.registry.as_deref()), ("--config", Some(self.global.config.as_str()))];
        for (flag, value) in given.into_iter().filter_map(|(flag, value)| Some((flag, value.filter(|value| *value != CONFIG)?))) {
            builder.flag += &format!(" {flag} {}", shell_words::quote(value));
        }
        Ok(builder)
    }

    fn place(&self) -> Result<Place<'_>> {
        Ok(Place {
            runner: &self.runner,
            repo: &self.repo,
            env: &self.env,
            config: self.config()?,
            private: self.engine.as_ref().is_some_and(|engine| engine.private),
            registry: self.engine.as_ref().and_then(|engine| engine.registry.as_deref()),
        })
    }

    /// The builders that runs of this checkout may use and that are there already.
    ///
    /// # Errors
    /// Those of asking buildx.
    pub fn builders_in_use(&self) -> Result<Vec<builder::InUse>> {
        builder::in_use(&self.place()?, &self.choice())
    }

    /// `--builder` or `--builders`
    fn choice(&self) -> builder::Choice {
        match self.global.builders.as_slice() {
            [] => self.global.builder.clone(),
            several => builder::Choice::Shared(several.to_vec()),
        }
    }

    /// The plan as it is given to bake: a build for each node that has a part in it.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn spread(&self, plan: &Plan) -> Result<Plan> {
        Ok(builder::spread::expand(plan, &builder::spread(&self.place()?, &self.choice(), plan)))
    }

    /// `docker/images.toml`, or what `--config` names.
    pub fn config(&self) -> Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = self.config_of(&self.repo)?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The same of another source. A release of before its repository had the file is built by the one that is here.
    pub fn config_of(&self, root: &Utf8Path) -> Result<Config> {
        let file = &self.global.config;
        let mut config = if root == self.repo {
            self.runner.while_planning(|| config::load(root, file, &self.env))?
        } else if self.has_config(root) {
            self.runner.while_planning(|| config::load(root, file, &self.env)).with_context(|| {
                let fault = Fault::usage(format!("cannot rebuild the released source by its own {file}"));
                fault.hint("release a new version: the file of the old one was written for another version of this program")
            })?
        } else {
            self.runner.while_planning(|| config::load_for(root, &self.repo, file, &self.env)).with_context(|| {
                let fault = Fault::usage(format!("cannot rebuild the released source by today's {file}, for it has none"));
                fault.hint("release a new version, which has what the file names")
            })?
        };
        if let Some(registry) = self.registry() {
            redirect(&mut config, registry);
        }
        config.rehearsal.clone_from(&self.rehearsal);
        Ok(config)
    }

    fn has_config(&self, root: &Utf8Path) -> bool {
        root.join(&self.global.config).symlink_metadata().is_ok()
    }

    /// The plan of `--plan`, before `--only` takes its part.
    fn handed(&self) -> Result<Option<&Plan>> {
        match (&self.global.plan, self.handed.get()) {
            (None, _) => Ok(None),
            (Some(_), Some(plan)) => Ok(Some(plan)),
            (Some(file), None) => {
                let plan = handed::load(file)?;
                Ok(Some(self.handed.get_or_init(|| plan)))
            }
        }
    }

    /// `--event`, `--event-file` or `--plan`
    pub fn is_given_an_event(&self) -> bool {
        self.global.event.is_some() || self.global.event_file.is_some() || self.global.plan.is_some()
    }

    /// `--plan`
    pub fn is_handed_a_plan(&self) -> bool {
        self.global.plan.is_some()
    }

    /// The configuration of what is built: that of a plan which was handed over may be of a released source.
    fn config_of_plan(&self) -> Result<Cow<'_, Config>> {
        match self.handed()?.map(|plan| (&plan.event, &plan.commit)) {
            Some((Event::Schedule { .. } | Event::Manual { .. }, Some(commit))) => {
                let root = self.root_of(commit)?;
                if root == self.repo { self.config().map(Cow::Borrowed) } else { self.config_of(root).map(Cow::Owned) }
            }
            _ => self.config().map(Cow::Borrowed),
        }
    }

    /// What `--only` says.
    ///
    /// # Errors
    /// Usage: not a condition, or one that no build of the configuration fulfils.
    pub fn only(&self) -> Result<Vec<Condition>> {
        if self.global.only.is_empty() {
            return Ok(Vec::new());
        }
        let config = self.config_of_plan()?;
        let parse = |text: String| config.condition(&text).map_err(|error| Fault::usage(format!("--only {error}")).into());
        let only: Vec<Condition> =
            self.global.only.iter().flat_map(|text| each_of_a_leg(text)).map(parse).collect::<Result<_>>()?;
        let subject = |build: &'_ config::Build| -> bool {
            selects(&only, &Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes })
        };
        if !config.builds.iter().any(subject) {
            let ids: Vec<&str> = config.builds.iter().map(|build| build.id.as_str()).collect();
            return Err(Fault::usage("--only selects nothing").hint(format!("there are {}", plan::shorten(&ids))).into());
        }
        Ok(only)
    }

    /// A file that somebody named, relative to the repository: as it is here, else as it is there. One that is nowhere
    /// is meant to be here, or there where `--repo` says which. `None`: it is outside.
    pub fn in_repo(&self, file: &Utf8Path) -> Option<Utf8PathBuf> {
        let here = here().ok().and_then(|here| relative(&self.repo, &here.join(file)));
        let there = relative(&self.repo, &self.repo.join(file));
        let (first, second) = if self.global.repo.is_some() { (&there, &here) } else { (&here, &there) };
        let exists = |path: &&Utf8PathBuf| self.repo.join(path).symlink_metadata().is_ok();
        let found = here.iter().chain(&there).find(exists);
        found.or(first.as_ref()).or(second.as_ref()).cloned()
    }

    /// The event, from flags, a recorded file or the environment.
    pub fn recorded(&self) -> Result<event::Recorded> {
        let mut inputs: Vec<String> = self.config()?.on.iter().map(|policy| policy.rebuild_input.clone()).collect();
        inputs.sort();
        inputs.dedup();
        let mut recorded = event::read(self.global.event.as_deref(), self.global.event_file.as_deref(), &self.env, &inputs)?;
        if let Event::Manual { branch: branch @ None, .. } | Event::Schedule { branch: branch @ None } = &mut recorded.event {
            // A flag names no branch: it is the one that is checked out.
            let (current, default) = facts::branches(&self.runner, &self.repo);
            *branch = current;
            recorded.default_branch = recorded.default_branch.or(default);
        }
        Ok(recorded)
    }
}

/// Puts every repository and cache of a configuration into another registry.
fn redirect(config: &mut Config, registry: &str) {
    config.registry = registry.to_owned();
    config.registry_unset = None;
}

/// A leg of a workflow's matrix may be several builds, whose ids it names as `base+prod`: any of them.
fn each_of_a_leg(text: &str) -> Vec<String> {
    match text.strip_prefix("id=") {
        Some(ids) => ids.split('+').map(|id| format!("id={id}")).collect(),
        None => vec![text.to_owned()],
    }
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '/' | '[' | ']' | '_')
}

fn here() -> Result<Utf8PathBuf> {
    let gone = || Fault::usage("cannot tell the current folder: it is gone").hint("change to a folder that exists");
    Utf8Path::new(".").canonicalize_utf8().with_context(gone)
}

/// The nearest folder upwards that has the configuration, else the one around `.git`.
fn find_repo(config: &Utf8Path) -> Result<Utf8PathBuf> {
    let here = here()?;
    let has = |name: &str| here.ancestors().find(|folder| folder.join(name).exists()).map(Utf8Path::to_owned);
    has(config.as_str()).or_else(|| has(".git")).ok_or_else(|| {
        let fault = Fault::usage(format!("there is no {config} in {here} or above"));
        fault.hint("run it inside the repository, or say which with --repo").into()
    })
}
