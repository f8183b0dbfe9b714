//! `retention`: what of the registry may go, and with `--apply` goes.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::build::lock;
use crate::config::Config;
use crate::config::condition::{Condition, Subject, selects};
use crate::context::Context;
use crate::error::Fault;
use crate::event::Event;
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

/// The branches that say whose `[retention]` counts.
struct Branches {
    /// `None`: a detached HEAD, as workflows have it.
    checked_out: Option<String>,
    default: String,
}

/// Why this run deletes nothing, whatever is asked of it; `None`: it may.
///
/// A run that publishes nothing deletes nothing. What stays is said by the configuration of the default branch, or of the
/// git tag that is released: another branch may have other rules, and an old idea of what is published.
///
/// # Errors
/// Those of the event.
pub fn held_back(context: &Context, plan: &Plan) -> Result<Option<String>> {
    let (checked_out, default) = facts::branches(&context.runner, &context.repo);
    let named = if context.is_handed_a_plan() { context.recorded().ok() } else { Some(context.recorded()?) };
    let default = named.and_then(|recorded| recorded.default_branch).or(default).unwrap_or_else(|| facts::MAIN.into());
    Ok(why_not(plan, &Branches { checked_out, default }))
}

fn why_not(plan: &Plan, branches: &Branches) -> Option<String> {
    if let Some(why) = &plan.held_back {
        return Some(why.clone());
    }
    let flag = plan.event.flag();
    let (of, default) =
        (|name: &str| format!("branch {name}, and only the [retention] of {} counts", branches.default), &branches.default);
    match &plan.event {
        _ if !plan.publishes => Some(format!("{flag} publishes nothing here")),
        Event::Local | Event::PullRequest { .. } => Some(format!("{flag} publishes nothing")),
        Event::Tag { name } if plan.version.is_none() => Some(format!("{name} is no version, and only that of a release counts")),
        Event::Tag { .. } => None,
        Event::Branch { name, .. } | Event::Schedule { branch: Some(name) } | Event::Manual { branch: Some(name), .. }
            if name != default =>
        {
            Some(format!("this run is of {}", of(name)))
        }
        Event::Branch { .. } | Event::Schedule { .. } | Event::Manual { .. } => {
            let other = branches.checked_out.as_ref().filter(|name| *name != default)?;
            Some(format!("the checkout is of {}", of(other)))
        }
    }
}

/// # Errors
/// Usage: no `[retention]`, no registry.
pub fn check(context: &Context) -> Result<()> {
    let config = context.config()?;
    if config.retention.is_none() {
        let fault = Fault::usage(format!("cannot clean up: {} has no [retention]", config.file));
        return Err(fault.hint("add `[retention]`; its defaults are `keep = \"all\"` and `grace = \"24h\"`").into());
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
    let is_due = config.retention.is_some() && held_back(context, plan)?.is_none();
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
    let why_not = match held_back(context, &context.draft()?)? {
        // A push that made up for a failed one publishes too, and only registries know.
        Some(_) if args.apply => held_back(context, &context.plan()?)?,
        other => other,
    };
    if let Some(why) = why_not.as_ref().filter(|_| args.apply) {
        report::note(&format!("nothing is removed: {why}"));
        if context.json {
            return data(false, &[], &Applied::default());
        }
        return Ok(());
    }
    let _lock = lock::take(&context.runner, &context.repo)?;
    let config = context.config()?;
    let registry = Live::new(&context.runner);
    let kinds = Kinds::of(config);
    let keep = config.retention.clone().unwrap_or_default().keep.newest();
    let stocks = stock::read(&registry, &kinds, keep)?;
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
        return data(args.apply && !applied.printed, &verdicts, &applied);
    }
    say(&verdicts, &applied, args.apply, why_not.as_deref());
    Ok(())
}

fn data(is_applied: bool, verdicts: &[Verdict], applied: &Applied) -> Result<()> {
    report::data(&json!({ "schema": 1, "applied": is_applied, "verdicts": verdicts, "gone": applied.gone, "kept": applied.kept }))
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
        keep: retention.keep.newest(),
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

fn say(verdicts: &[Verdict], applied: &Applied, apply: bool, why_not: Option<&str>) {
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
    let stay = format!("{} tags stay", verdicts.len() - goes.len());
    report::note(&match (word, why_not) {
        ("removed", _) => stay,
        (_, None) => format!("{stay}; `cargo xtask retention --apply` removes these {}", goes.len()),
        (_, Some(why)) => format!("{stay}; a run that publishes removes these {}, not this one: {why}", goes.len()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::plan;

    #[test]
    fn a_run_deletes_only_by_the_configuration_that_counts() {
        let manual = |branch: Option<&str>| Event::Manual { rebuild: false, branch: branch.map(str::to_owned) };
        let schedule = |branch: Option<&str>| Event::Schedule { branch: branch.map(str::to_owned) };
        let branch = |name: &str| Event::Branch { name: name.into(), forced: false };
        let pull_request = Event::PullRequest { number: Some(12), fork: false, base: None };
        // (event, whether it publishes, the branch of the checkout, why it deletes nothing)
        for (event, publishes, checked_out, expected) in [
            (Event::Tag { name: "v1.0.0".into() }, true, None, ""),
            (Event::Tag { name: "v1.0.0".into() }, true, Some("release-1"), ""),
            (
                Event::Tag { name: "deploy-1".into() },
                true,
                Some("feature"),
                "deploy-1 is no version, and only that of a release counts",
            ),
            (Event::Tag { name: "nightly".into() }, false, None, "tag:nightly publishes nothing here"),
            (branch("trunk"), true, None, ""),
            (branch("trunk"), true, Some("trunk"), ""),
            (branch("trunk"), false, Some("trunk"), "branch:trunk publishes nothing here"),
            (
                branch("trunk"),
                true,
                Some("feature"),
                "the checkout is of branch feature, and only the [retention] of trunk counts",
            ),
            (branch("main"), true, None, "this run is of branch main, and only the [retention] of trunk counts"),
            (manual(Some("trunk")), true, Some("trunk"), ""),
            (manual(None), true, None, ""),
            (manual(Some("trunk")), false, Some("trunk"), "manual publishes nothing here"),
            (manual(Some("feature")), true, None, "this run is of branch feature, and only the [retention] of trunk counts"),
            (manual(Some("feature")), false, Some("feature"), "manual publishes nothing here"),
            (schedule(Some("trunk")), true, None, ""),
            (schedule(Some("next")), true, None, "this run is of branch next, and only the [retention] of trunk counts"),
            (Event::Local, false, Some("trunk"), "local publishes nothing here"),
            (pull_request.clone(), false, None, "pr:12 publishes nothing here"),
            // Whoever made this plan by hand.
            (Event::Local, true, Some("trunk"), "local publishes nothing"),
            (pull_request, true, None, "pr:12 publishes nothing"),
        ] {
            let mut plan = plan(Vec::new());
            plan.version = matches!(&event, Event::Tag { name } if name.starts_with('v')).then(|| "v1.0.0".to_owned());
            (plan.event, plan.publishes) = (event, publishes);
            let branches = Branches { checked_out: checked_out.map(str::to_owned), default: "trunk".into() };
            assert_eq!(why_not(&plan, &branches).unwrap_or_default(), expected, "{:?}", plan.event);
            plan.held_back = Some("the working tree has changes".into());
            assert_eq!(why_not(&plan, &branches).unwrap_or_default(), "the working tree has changes");
        }
    }
}
