//! `check-deps`: whether files that name dependencies changed: `true` or `false` on stdout, reasons on stderr.

use anyhow::Result;

use crate::config::condition::{Subject, selects};
use crate::context::Context;
use crate::event::Event;
use crate::{deps, facts, report};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let config = context.config()?;
    let only = context.only()?;
    let recorded = context.recorded()?;
    let mut facts = context.facts(&recorded)?;
    facts::add_since_release(&context.runner, &context.repo, config, &recorded, &mut facts);
    let subject = |build| -> Subject<'_> {
        let build: &crate::config::Build = build;
        Subject { image: &build.image, id: &build.id, point: &build.axes, axes: &config.axes }
    };
    let builds: Vec<_> = config.builds.iter().filter(|build| selects(&only, &subject(build))).collect();
    let verdicts =
        builds.iter().map(|build| deps::changed_for(build, facts.dockerfile(build), facts.content(build), &facts.since_release));
    let (mut changed, mut reasons) = (false, Vec::new());
    for (build_changed, reason) in verdicts {
        changed |= build_changed;
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons.iter().for_each(|reason| report::note(reason));
    if matches!(recorded.event, Event::Manual { .. } | Event::Schedule { .. }) {
        report::note("compared with the last version tag: no registry is asked what is published");
    }
    report::result(if changed { "true" } else { "false" });
    Ok(())
}
