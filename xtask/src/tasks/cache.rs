//! `cache`: what caches hold, here and in the registry, and room made of what is this project's alone.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;

use crate::build::lock;
use crate::builder::InUse;
use crate::cache::{self, Images, Kept, Usage};
use crate::cmd::{Cmd, Effect};
use crate::config::Build;
use crate::config::condition::{Subject, selects};
use crate::context::Context;
use crate::docker;
use crate::error::Fault;
use crate::exec::Exit;
use crate::facts;
use crate::registry::{self, Live};
use crate::report::{self, bytes, table};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum What {
    /// The caches in the registry that an event reads and writes, and what they hold
    Report,
    /// What this machine holds: the cache of each builder, and this project's images
    Du,
    /// Remove what is this project's alone: the cache of its own builder, and images of earlier builds
    Prune,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    match args.what {
        What::Report => of_registry(context),
        What::Du => of_machine(context),
        What::Prune => prune(context),
    }
}

fn of_registry(context: &Context) -> Result<()> {
    let plan = context.draft()?;
    let caches = cache::caches(&plan);
    let live = Live::new(&context.runner);
    let held = registry::each(&caches, |cache| live.held(&cache.reference))?;
    if context.json {
        let row = |(cache, bytes)| json!({ "cache": cache, "bytes": bytes });
        return report::data(&json!({ "schema": 1, "caches": caches.iter().zip(&held).map(row).collect::<Vec<_>>() }));
    }
    if caches.is_empty() {
        report::note("no build of this event reads or writes a cache of the registry");
        return Ok(());
    }
    let ids = |verb: &str, ids: &[String]| match ids {
        [] => String::new(),
        [id] => format!("{verb} {id}"),
        ids => format!("{verb} {} builds", ids.len()),
    };
    let mut rows = vec![["cache", "holds", "", ""].map(str::to_owned).to_vec()];
    for (cache, held) in caches.iter().zip(&held) {
        let holds = held.map_or_else(|| "nothing yet".to_owned(), bytes);
        rows.push(vec![cache.reference.clone(), holds, ids("read by", &cache.read_by), ids("written by", &cache.written_by)]);
    }
    report::result(&table(&rows));
    if held.contains(&None) {
        report::note("what holds nothing yet is written by runs that publish; `cargo xtask plan --event …` says which");
    }
    Ok(())
}

fn of_machine(context: &Context) -> Result<()> {
    let builders = builders(context)?;
    let images = images(context)?;
    if context.json {
        let builder = |Held { builder, usage }: &Held| {
            let (usage, reason) = (usage.as_ref().ok(), usage.as_ref().err());
            json!({ "name": builder.name, "own": builder.own, "usage": usage, "reason": reason })
        };
        let size = |all: &[Kept]| json!({ "count": all.len(), "bytes": all.iter().map(|kept| kept.bytes).sum::<u64>() });
        return report::data(&json!({
            "schema": 1,
            "builders": builders.iter().map(builder).collect::<Vec<_>>(),
            "images": { "newest": size(&images.newest), "older": size(&images.older) },
        }));
    }
    let mut rows = vec![["", "holds", "reclaimable", ""].map(str::to_owned).to_vec()];
    rows.extend(builders.iter().map(row));
    for (title, kept) in [("newest image of each build", &images.newest), ("images of earlier builds", &images.older)] {
        let size = bytes(kept.iter().map(|kept| kept.bytes).sum());
        rows.push(vec![format!("{title}: {}", kept.len()), size, String::new(), String::new()]);
    }
    report::result(&table(&rows));
    report::note("layers that images share count for each; `cargo xtask cache prune` removes what is this project's alone");
    Ok(())
}

fn row(Held { builder, usage }: &Held) -> Vec<String> {
    let whose = if builder.own { "this checkout's own" } else { "shared" };
    let types = |usage: &Usage| usage.types.iter().map(|(kind, size)| format!("{kind} {}", bytes(*size))).collect::<Vec<_>>();
    let [holds, reclaimable, more] = match usage {
        Ok(usage) => [bytes(usage.bytes), bytes(usage.reclaimable), types(usage).join(", ")],
        Err(reason) => ["not known".into(), String::new(), reason.clone()],
    };
    vec![format!("builder {}, {whose}", builder.name), holds, reclaimable, more]
}

fn prune(context: &Context) -> Result<()> {
    let _lock = lock::take(&context.runner, &context.repo)?;
    let mut shared = Vec::new();
    for builder in context.builders_in_use()? {
        if !builder.own {
            shared.push(builder.name);
            continue;
        }
        match empty(context, &builder)? {
            Ok(true) => report::note(&format!("emptied the cache of the builder {}", builder.name)),
            Ok(false) => {}
            Err(reason) => report::note(&format!("kept the cache of the builder {}: {reason}", builder.name)),
        }
    }
    let (mut removed, mut printed, mut used) = (0, 0, Vec::new());
    for image in images(context)?.older {
        let remove = docker::remove_images(&image.names);
        let exit = context.runner.output(&remove)?;
        if exit.skipped {
            printed += 1;
        } else if exit.ok() {
            removed += 1;
        } else {
            // A container that runs it holds it.
            used.extend(
                image.names.first().map(|name| format!("{name}: {}", exit.stderr.trim().lines().last().unwrap_or_default())),
            );
        }
    }
    report::result(&match printed {
        0 => format!("removed {removed} images of earlier builds"),
        printed => format!("would remove {printed} images of earlier builds"),
    });
    for name in used {
        report::note(&format!("kept {name}"));
    }
    if !shared.is_empty() {
        report::note(&format!(
            "left alone: the cache of {}, where BuildKit does not tell whose a record is (`--builder container` gives this checkout a builder of its own; `docker buildx prune` would remove everybody's)",
            shared.join(", ")
        ));
    }
    Ok(())
}

/// Empties the cache of a builder, or says why that can't be; false: it was only printed.
fn empty(context: &Context, builder: &InUse) -> Result<Result<bool, String>> {
    // Nothing starts it with the machine.
    let boot = builder.gone.as_ref().map(|_| docker::boot_builder(Effect::Change, &builder.name));
    let mut done = true;
    for cmd in boot.into_iter().chain([docker::prune_builder(&builder.name)]) {
        let exit = context.runner.output(&cmd)?;
        if !exit.ok() {
            return Ok(Err(said(&cmd, &exit)));
        }
        done &= !exit.skipped;
    }
    Ok(Ok(done))
}

/// The last words of buildx.
fn said(cmd: &Cmd, exit: &Exit) -> String {
    let last = exit.stderr.trim().lines().last().unwrap_or_default().trim_start_matches("ERROR: ");
    if last.is_empty() { exit.reason(cmd) } else { last.to_owned() }
}

/// A builder with what it holds, or why it does not tell.
struct Held {
    builder: InUse,
    usage: Result<Usage, String>,
}

/// Each builder that a run may use. One that does not answer hides nothing of the others.
///
/// # Errors
/// Not ready: buildx does not know the builder, or how to ask it.
fn builders(context: &Context) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for builder in context.builders_in_use()? {
        let usage = builder.gone.clone().map_or_else(|| usage(context, &builder.name), |reason| Ok(Err(reason)))?;
        held.push(Held { builder, usage });
    }
    Ok(held)
}

fn usage(context: &Context, name: &str) -> Result<Result<Usage, String>> {
    let ask = docker::disk_usage(name);
    let exit = context.runner.output(&ask)?;
    if exit.ok() {
        return Ok(Ok(cache::usage(&exit.stdout)));
    }
    let said = said(&ask, &exit);
    let hint = match &said {
        said if said.contains("unknown flag") => "this needs buildx 0.22 or newer",
        said if said.contains("no builder ") => "`docker buildx ls` lists the builders that there are",
        _ => return Ok(Err(said)),
    };
    Err(Fault::not_ready(format!("cannot read the cache of the builder {name}: {said}")).hint(hint).into())
}

fn images(context: &Context) -> Result<Images> {
    let (config, only) = (context.config()?, context.only()?);
    let list = context.runner.read(&docker::keyed_images(cache::repositories(config).iter()))?;
    let ids: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let mut all = Vec::new();
    // Some at a time: a command line has an end.
    for ids in ids.into_iter().collect::<Vec<_>>().chunks(256) {
        all.extend(docker::images(&context.runner.output(&docker::inspect_images(ids))?.stdout));
    }
    let taken = |build: &&Build| {
        let subject = Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes };
        only.is_empty() || selects(&only, &subject)
    };
    let taken: BTreeSet<&str> = config.builds.iter().filter(taken).map(|build| build.id.as_str()).collect();
    Ok(cache::images(&all, config, facts::source(&context.runner, &context.repo, &context.env).as_deref(), &taken))
}
