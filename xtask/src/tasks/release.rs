//! `release`: move the moving tags to what was published, forward only, all or none.

use anyhow::Result;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::config::suggest;
use crate::context::Context;
use crate::error::Fault;
use crate::event::Event;
use crate::journal::{self, Undo, Undone};
use crate::plan::{self, Plan};
use crate::publish::stage::{is_due, run_of};
use crate::registry::Live;
use crate::release::stage::{self, Work};
use crate::release::undo::{self, Back};
use crate::release::{targets, version_targets};
use crate::version::Version;
use crate::{facts, history, report};

#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Step back on purpose: move the tags to a version that was released before.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["undo", "plan", "event", "event_file"])]
    to: Option<String>,
    /// Put back what a run moved, from its journal in target/slipway.
    #[arg(long, value_name = "JOURNAL", conflicts_with_all = ["plan", "event", "event_file"])]
    undo: Option<Utf8PathBuf>,
}

impl Args {
    /// Whether the event says what is released, not a flag.
    pub fn is_of_an_event(&self) -> bool {
        self.to.is_none() && self.undo.is_none()
    }
}

/// # Errors
/// Usage: no journal, no version.
pub fn check(context: &Context, args: &Args) -> Result<()> {
    if let Some(file) = &args.undo {
        if !file.exists() {
            let known = journal::all(&context.repo);
            let known = suggest(file.as_str(), known.iter().map(|path| path.as_str()));
            return Err(Fault::usage(format!("there is no journal {file} ({known})")).into());
        }
        journal::read(file)?;
    }
    args.to.as_deref().map_or(Ok(()), |version| parse(version).map(drop))
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    if let Some(file) = &args.undo {
        return go_back(context, file);
    }
    let registry = Live::new(&context.runner);
    let plan = match &args.to {
        Some(version) => plan_for(context, version)?,
        None => context.plan()?,
    };
    refuse_a_part(context, &plan)?;
    if !is_due(&plan)? {
        return Ok(());
    }
    let (moves, marks) = match args.to {
        Some(_) => (version_targets(&plan, &registry)?, Vec::new()),
        None => targets(&plan, &registry)?,
    };
    let run = run_of(&plan);
    let work = Work { moves, marks, step_back: args.to.is_some(), ..Work::new(&context.runner, &context.repo, &plan, &run) };
    let config = context.config()?;
    let follows = |version: &Version, tag: &str| plan::moves(config, version, tag);
    let lines = stage::release(&work, &follows)?;
    if context.json {
        report::data(&lines)?;
    } else if !lines.is_empty() {
        report::result(&stage::table(&lines));
    }
    if lines.iter().all(|line| line.outcome == "unchanged") {
        report::note(&match lines.len() {
            0 => "nothing to do: this event moves no tag".to_owned(),
            1 => "nothing to do: the moving tag is where it belongs".to_owned(),
            tags => format!("nothing to do: {tags} moving tags are where they belong"),
        });
    }
    Ok(())
}

/// All builds of a plan are released together: half a release is what this is there to prevent.
pub fn refuse_a_part(context: &Context, plan: &Plan) -> Result<()> {
    if plan.publishes && !context.only()?.is_empty() {
        let fault = Fault::refused("cannot publish a part of the plan: all builds are published together, or none");
        return Err(fault.hint("leave --only out").into());
    }
    if context.is_handed_a_plan() { context.refuse_another_registry(plan) } else { Ok(()) }
}

/// Asked by `ci` before anything is built or published, for what comes last must not be what is lacking.
///
/// # Errors
/// Not ready: a version is released, and nothing here can list tags.
pub fn has_tools(context: &Context, plan: &Plan) -> Result<()> {
    let is_release = matches!(plan.event, Event::Tag { .. }) && plan.publishes;
    if is_release && context.runner.which("crane").is_none() {
        let fault = Fault::not_ready("cannot release a version without crane, which tells whether a newer one was released");
        return Err(fault.hint("install crane (go install github.com/google/go-containerregistry/cmd/crane@latest)").into());
    }
    Ok(())
}

fn parse(version: &str) -> Result<Version> {
    Version::parse(version).map_err(|error| Fault::usage(format!("cannot release {version}: {error}")).into())
}

/// The plan as if this version's tag had been pushed.
fn plan_for(context: &Context, version: &str) -> Result<Plan> {
    let mut config = context.config()?.clone();
    if let Some(file) = &mut config.version_file {
        file.version = parse(version)?;
    }
    let recorded = crate::event::Recorded { event: Event::Tag { name: version.to_owned() }, ..context.recorded()? };
    let mut facts = context.facts(&recorded)?;
    // Nothing is built from this tree.
    facts.dirty = None;
    plan::plan(&config, &recorded.event, &facts, &[])
}

fn go_back(context: &Context, file: &Utf8PathBuf) -> Result<()> {
    let record = journal::read(file)?;
    context.refuse_foreign_writes(record.tags())?;
    let (config, registry) = (context.config()?, Live::new(&context.runner));
    undo::refuse_foreign(config, &record)?;
    let source = facts::source(&context.runner, &context.repo, &context.env).unwrap_or_default();
    let follows = |version: &Version, tag: &str| plan::moves(config, version, tag);
    let (runner, repo) = (&context.runner, &context.repo);
    let commits = |ours: &str, theirs: &str| history::ancestry(runner, repo, ours, theirs);
    let back = Back { registry: &registry, start: &record.start, follows: &follows, commits: &commits };
    let way = |undo: &Undo| {
        undo::refuse_foreign_images(&registry, undo, &source)?;
        back.way(undo)
    };
    let undone = journal::undo(&registry, &journal::undo_plan(&record), &way);
    let is_back = |undone: &Result<Undone>| matches!(undone, Ok(Undone::Back(_) | Undone::Untouched));
    let left = undone.iter().filter(|(_, undone)| !is_back(undone)).count();
    if context.json {
        let line = |(tag, undone): &(String, Result<Undone>)| json!({ "tag": tag, "back": is_back(undone), "said": journal::describe(tag, undone) });
        report::data(&undone.iter().map(line).collect::<Vec<_>>())?;
    } else {
        undone.iter().for_each(|(tag, undone)| report::result(&journal::describe(tag, undone)));
    }
    if left == 0 {
        return Ok(());
    }
    let message = format!("{left} of {} tags are not back where they were", undone.len());
    let error = undone.into_iter().find_map(|(_, undone)| undone.err());
    Err(error.map_or_else(|| Fault::failed(message.clone()).into(), |error| error.context(message.clone())))
}
