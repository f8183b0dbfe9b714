//! `explain`: why a build is in, what changed since it was last built here, what a file is for, why a tag moves or not.

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::json;

use crate::config::condition::{Condition, Subject, selects};
use crate::config::{Config, suggest};
use crate::context::Context;
use crate::error::Fault;
use crate::exec::Runner;
use crate::forward::{Branch, Order, Ours, compare, look};
use crate::history::{self, Tip};
use crate::plan::{self, BY_NAME, Build, Plan, Skipped, Touch};
use crate::receipt::{self, Receipt};
use crate::registry::{Live, Registry as _, each};
use crate::version::Version;
use crate::{facts, report, visible};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// A build, by its id, or all builds of an image; default: all.
    what: Option<String>,
    /// What would be built and tested again if this file changed.
    #[arg(long = "if", value_name = "FILE")]
    file: Option<Utf8PathBuf>,
}

/// What there is to say of one build.
#[derive(Serialize)]
struct Told {
    id: String,
    reasons: Vec<String>,
    /// Since the last build here; null where none is known.
    changed: Option<Vec<String>>,
    /// The commit of that build.
    since: Option<String>,
    /// (tag, what would become of it)
    tags: Vec<(String, String)>,
}

/// # Errors
/// Usage: no build or image of images.toml has the name.
pub fn check(context: &Context, args: &Args) -> Result<()> {
    let (builds, Some(what)) = (&context.config()?.builds, &args.what) else { return Ok(()) };
    if builds.iter().any(|build| is_wanted(args, &build.id, &build.image)) {
        return Ok(());
    }
    let mut names: Vec<&str> = builds.iter().flat_map(|build| [build.image.as_str(), &build.id]).collect();
    names.dedup();
    Err(Fault::usage(format!("no build or image is called {what} ({})", suggest(what, names))).into())
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    match &args.file {
        Some(file) => what_if(context, args, file),
        None => builds(context, args),
    }
}

fn builds(context: &Context, args: &Args) -> Result<()> {
    let (plan, config, only) = (context.plan()?, context.config()?, context.only()?);
    let wanted: Vec<&Build> = plan.builds.iter().filter(|build| is_wanted(args, &build.id, &build.image)).collect();
    let left_out = plan.skipped.iter().filter(|skipped| is_asked(args, &only, config, &skipped.id));
    let left_out: Vec<&Skipped> = left_out.collect();
    if wanted.is_empty() && left_out.is_empty() {
        return Err(nothing(args, plan.builds.iter().map(|build| build.id.as_str())));
    }
    let told = told(context, &plan, &wanted)?;
    if context.json {
        // What is left out moves no tag.
        let left_out = left_out.iter().map(|skipped| json!({ "id": skipped.id, "skipped": skipped.reasons }));
        return report::data(&told.iter().map(|told| json!(told)).chain(left_out).collect::<Vec<_>>());
    }
    told.iter().for_each(|told| report::result(&text(told)));
    for skipped in left_out {
        let reasons = skipped.reasons.join("; ");
        report::result(&visible::line(&format!("{}: left out by {}: {reasons}", skipped.id, plan.event.flag())));
    }
    Ok(())
}

fn told(context: &Context, plan: &Plan, wanted: &[&Build]) -> Result<Vec<Told>> {
    let receipts = receipt::latest(&context.repo, plan);
    let (runner, repo, registry) = (&context.runner, context.repo.as_path(), Live::new(&context.runner));
    each(wanted, |build| {
        let last = receipts.get(&build.id);
        Ok(Told {
            id: build.id.clone(),
            reasons: build.reasons.clone(),
            changed: last.map(|last| changes(last, build)),
            since: last.and_then(|last| last.commit.clone()),
            tags: tags(runner, repo, plan, build, &registry)?,
        })
    })
}

fn is_wanted(args: &Args, id: &str, image: &str) -> bool {
    args.what.as_ref().is_none_or(|what| what == id || what == image)
}

/// The same by id, and not left out by `--only`.
fn is_asked(args: &Args, only: &[Condition], config: &Config, id: &str) -> bool {
    let Some(build) = config.builds.iter().find(|build| build.id == id) else { return is_wanted(args, id, "") };
    let subject = Subject { image: &build.image, id, point: &build.axes, axes: &config.axes };
    is_wanted(args, id, &build.image) && selects(only, &subject)
}

fn nothing<'a>(args: &Args, known: impl Iterator<Item = &'a str>) -> anyhow::Error {
    let what = args.what.as_deref().unwrap_or("anything");
    let known: Vec<&str> = known.collect();
    let hint = if known.is_empty() { "the event takes no build".into() } else { format!("there are {}", plan::shorten(&known)) };
    Fault::usage(format!("cannot explain {what}: there is no such build or image in the plan")).hint(hint).into()
}

/// The inputs of the key that are not what they were.
fn changes(last: &Receipt, build: &Build) -> Vec<String> {
    let old = |name: &String| last.inputs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let changed = build.inputs.iter().filter_map(|(name, now)| match old(name) {
        Some(was) if was == now || was == BY_NAME || now == BY_NAME => None,
        Some(was) => Some(format!("{name}: {} → {}", short(was), short(now))),
        None => Some(format!("{name}: new")),
    });
    let gone = last.inputs.iter().filter(|(name, _)| !build.inputs.iter().any(|(other, _)| other == name));
    changed.chain(gone.map(|(name, _)| format!("{name}: gone"))).collect()
}

/// Hashes are told apart by their beginning.
fn short(value: &str) -> &str {
    let hex = value.trim_start_matches("sha256:");
    let is_hash = hex.len() >= 40 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { &value[..value.len() - hex.len() + 12] } else { value }
}

/// What the registry says now of the tags that the build would move.
fn tags(runner: &Runner, repo: &Utf8Path, plan: &Plan, build: &Build, registry: &Live) -> Result<Vec<(String, String)>> {
    let version = plan.version.as_deref().and_then(|text| Version::parse(text).ok());
    let ours = Ours { version, revision: plan.commit.clone() };
    let ancestry = |theirs: &str| history::ancestry(runner, repo, ours.revision.as_deref().unwrap_or_default(), theirs);
    let tip = Tip::of(runner, repo, plan);
    let branch = Branch { tags: build.push.follow.clone(), forced: tip.forced, has: &|commit| tip.has(commit) };
    each(&build.push.moving, |tag| {
        let becomes = match registry.digest(tag)? {
            None => "new".to_owned(),
            Some(_) => match compare(tag, &ours, &look(registry, tag)?, &ancestry, &branch)? {
                Order::Older => "moves: what it has now is older".into(),
                Order::Same => "moves if the image is another one: it has the same version or commit".into(),
                Order::Newer(why) => format!("stays: {why}"),
                Order::Unknown(why) => format!("moves, with a warning: {why}"),
            },
        };
        Ok((tag.clone(), becomes))
    })
}

fn text(told: &Told) -> String {
    let mut lines = vec![told.id.clone()];
    lines.extend(told.reasons.iter().map(|reason| format!("  because  {reason}")));
    let since = told.since.as_deref().map_or("an earlier source", |commit| facts::short(commit, 12));
    match &told.changed {
        None => lines.push("  changed  not known: there is no receipt of an earlier build in target/slipway/receipts".into()),
        Some(changed) if changed.is_empty() => lines.push(format!("  changed  nothing since it was built here from {since}")),
        Some(changed) => {
            lines.push(format!("  changed  since it was built here from {since}:"));
            lines.extend(changed.iter().map(|line| format!("             {line}")));
        }
    }
    lines.extend(told.tags.iter().map(|(tag, becomes)| format!("  tag      {tag} {becomes}")));
    lines.iter().map(|line| visible::line(line)).collect::<Vec<_>>().join("\n")
}

fn what_if(context: &Context, args: &Args, file: &Utf8PathBuf) -> Result<()> {
    let (config, only) = (context.config()?, context.only()?);
    let outside =
        || Fault::usage(format!("cannot explain {file}: it is outside the repository")).hint("write a path relative to it");
    let file = &context.in_repo(file).ok_or_else(outside)?;
    let facts = context.facts(&context.recorded()?)?;
    let mut touched = plan::touched(config, &facts, file);
    let wanted = |id: &String| is_asked(args, &only, config, id);
    if !config.builds.iter().any(|build| wanted(&build.id)) {
        return Err(nothing(args, config.builds.iter().map(|build| build.id.as_str())));
    }
    touched.retain(|id, _| wanted(id));
    let word = |touch: &Touch| match touch {
        Touch::All => "selected, as every build is; built again if that makes another image".into(),
        Touch::Axis(axis) => {
            format!("selected, as every build of the axis {axis} is; built again if that makes another image")
        }
        Touch::Image => "built and tested again".to_owned(),
        Touch::Test => "tested again, not built".into(),
        Touch::Parent(parent) => format!("built and tested again, because {parent} is"),
    };
    if context.json {
        let told: std::collections::BTreeMap<&String, String> = touched.iter().map(|(id, touch)| (id, word(touch))).collect();
        report::data(&told)?;
    } else if touched.is_empty() {
        report::result(&visible::line(&format!("{file}: no image takes it, no test mounts it")));
    } else {
        let rows: Vec<Vec<String>> = touched.iter().map(|(id, touch)| vec![id.clone(), word(touch)]).collect();
        report::result(&report::table(&rows));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    #[test]
    fn what_changed_is_named() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        let mut now = build("a");
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        now.inputs = pairs(&[("copy:src", &two), ("arg:A", "y"), ("base:x", BY_NAME), ("target", "final"), ("same", "1")]);
        let mut last = Receipt::new(&plan(vec![now.clone()]), &now);
        last.inputs = pairs(&[("copy:src", &one), ("arg:A", "x"), ("base:x", "sha256:3"), ("secret:s", ""), ("same", "1")]);
        let expected = ["copy:src: 111111111111 → 222222222222", "arg:A: x → y", "target: new", "secret:s: gone"];
        assert_eq!(changes(&last, &now), expected);
    }
}
