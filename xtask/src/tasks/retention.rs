//! `retention`: what of the registry may go, and with `--apply` goes.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::build::{self, lock};
use crate::config::Config;
use crate::config::condition::{Condition, Subject, selects};
use crate::context::Context;
use crate::error::Fault;
use crate::facts;
use crate::plan::Plan;
use crate::registry::Live;
use crate::report;
use crate::retention::apply::{Applied, apply};
use crate::retention::kind::Kinds;
use crate::retention::stock::{self, Seconds, Stock};
use crate::retention::{Rules, Verdict, decide};

#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Remove it; without this it is only said
    #[arg(long)]
    pub apply: bool,
}

/// # Errors
/// Usage: no `[retention]`, no registry.
pub fn check(context: &Context) -> Result<()> {
    let config = context.config()?;
    if config.retention.is_none() {
        let fault = Fault::usage(format!("cannot clean up: {} has no [retention]", config.file));
        return Err(fault.hint("add `[retention]`; its defaults are `keep = 5` and `grace = \"24h\"`").into());
    }
    if config.target().is_empty() {
        return Err(Fault::usage("cannot clean up: images stay local")
            .hint("set `registry` in images.toml, or --registry")
            .into());
    }
    Ok(())
}

/// Asked by `ci` before anything is published, for what comes last must not be what is lacking.
///
/// # Errors
/// Not ready: nothing here can list what the registry holds.
pub fn has_tools(context: &Context, plan: &Plan) -> Result<()> {
    let config = context.config()?;
    let is_due = config.retention.is_some() && plan.publishes;
    let tools = [("crane", true), ("gh", config.target() == "ghcr.io")];
    match tools.into_iter().find(|(tool, needs)| is_due && *needs && context.runner.which(tool).is_none()) {
        Some((tool, _)) => Err(Fault::not_ready(format!("cannot clean up without {tool}, as [retention] asks for"))
            .hint(format!("install {tool}, or run `cargo xtask doctor`"))
            .into()),
        None => Ok(()),
    }
}

/// # Errors
/// Those of [`check`]; the registry's. What a failure leaves undone is done by the next run.
pub fn run(context: &Context, args: &Args) -> Result<()> {
    check(context)?;
    if context.is_handed_a_plan() {
        context.refuse_another_registry(&context.plan()?)?;
    }
    let _lock = lock::take(&context.repo.join(build::FOLDER))?;
    let config = context.config()?;
    let registry = Live::new(&context.runner);
    let kinds = Kinds::of(config);
    let stocks: Vec<Stock> = kinds.repositories().map(|repository| stock::read(&registry, repository)).collect::<Result<_>>()?;
    let (verdicts, removals) = decided(context, &kinds, &stocks)?;
    let chosen = chosen(config, &context.only()?);
    context.refuse_foreign_writes(chosen.iter().map(String::as_str))?;
    let mut applied = Applied::default();
    for (stock, removal) in stocks.iter().zip(&removals).filter(|(stock, _)| args.apply && chosen.contains(&stock.repository)) {
        let done = apply(&registry, stock, removal)?;
        applied.gone.extend(done.gone);
        applied.kept.extend(done.kept);
        applied.printed |= done.printed;
    }
    let verdicts = verdicts.into_iter().filter(|verdict| chosen.contains(verdict.repository())).collect::<Vec<_>>();
    if context.json {
        return report::data(&json!({ "schema": 1, "applied": args.apply && !applied.printed, "verdicts": verdicts,
            "gone": applied.gone, "kept": applied.kept }));
    }
    say(&verdicts, &applied, args.apply);
    Ok(())
}

fn decided(context: &Context, kinds: &Kinds, stocks: &[Stock]) -> Result<(Vec<Verdict>, Vec<crate::retention::Removal>)> {
    let config = context.config()?;
    let retention = config.retention.clone().unwrap_or_default();
    let times = facts::commit_times(&context.runner, &context.repo);
    if let Err(why) = &times {
        report::note(&format!("warning: {why}; tags named after commits stay"));
    }
    let commits = |commit: &str| -> Option<Seconds> {
        let known = times.as_ref().map(|times| times.range(commit.to_owned()..).next());
        match known {
            // As good as new.
            Err(_) => Some(Seconds::MAX),
            Ok(found) => found.filter(|(sha, _)| commit.len() >= 7 && sha.starts_with(commit)).map(|(_, time)| *time),
        }
    };
    let rules = Rules {
        kinds,
        keep: retention.keep as usize,
        grace: humantime::parse_duration(&retention.grace).context("cannot read retention.grace")?,
        now: stock::seconds(&facts::now()).context("cannot clean up: the clock of this machine is before 1970")?,
        source: &facts::source(&context.runner, &context.repo, &context.env).unwrap_or_default(),
        own: &written(&context.draft()?),
        commits: &commits,
    };
    Ok(decide(stocks, &rules))
}

/// What this run writes.
fn written(plan: &Plan) -> BTreeSet<String> {
    let of = |build: &crate::plan::Build| {
        let names = [&build.test.candidate, &build.test.mark].into_iter().flatten().cloned().collect::<Vec<_>>();
        names.into_iter().chain(build.push.tags.clone()).chain(build.push.moving.clone())
    };
    plan.builds.iter().flat_map(of).collect()
}

/// The repositories into which nobody but the selected builds publishes.
fn chosen(config: &Config, only: &[Condition]) -> BTreeSet<String> {
    let is_selected = |build: &&crate::config::Build| {
        let subject = Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes };
        only.is_empty() || selects(only, &subject)
    };
    let (selected, others): (Vec<_>, Vec<_>) = config.builds.iter().partition(is_selected);
    let of = |builds: Vec<&crate::config::Build>| -> BTreeSet<String> {
        let names = builds.into_iter().flat_map(|build| [&build.repository, &build.candidates]);
        names.map(|name| config.with_target(name)).collect()
    };
    let (selected, others) = (of(selected), of(others));
    selected.difference(&others).cloned().collect()
}

fn say(verdicts: &[Verdict], applied: &Applied, apply: bool) {
    let goes: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.stays).collect();
    if goes.is_empty() {
        report::note(&format!("nothing to do: {} tags stay", verdicts.len()));
        return;
    }
    let row = |verdict: &&Verdict| vec![verdict.reference.clone(), verdict.digest.short().to_owned(), verdict.because.clone()];
    let word = if apply && !applied.printed { "removed" } else { "would go" };
    let head = [word, "digest", "because"].map(str::to_owned).to_vec();
    // A manifest that is kept keeps its tags.
    let manifest = |verdict: &Verdict| format!("{}@{}", verdict.repository(), verdict.digest);
    let is_kept =
        |verdict: &&&Verdict| applied.kept.iter().any(|(name, _)| [&verdict.reference, &manifest(verdict)].contains(&name));
    report::result(&report::table(
        &std::iter::once(head).chain(goes.iter().filter(|verdict| !is_kept(verdict)).map(row)).collect::<Vec<_>>(),
    ));
    for (reference, why) in &applied.kept {
        report::note(&format!("kept {reference}: {why}"));
    }
    report::note(&match word {
        "removed" => format!("{} tags stay", verdicts.len() - goes.len()),
        _ => format!("{} tags stay; `cargo xtask retention --apply` removes these {}", verdicts.len() - goes.len(), goes.len()),
    });
}
