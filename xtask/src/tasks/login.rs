//! `login`: from the environment, by stdin, into a private Docker configuration that `logout` removes.

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::error::{self, Fault};
use crate::event::Event;
use crate::generated::Mode;
use crate::{credentials, docker, plan, report};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(context: &Context, _args: &Args) -> Result<()> {
    let config = context.config()?;
    if let Some(why) = needless(context, &config.registry)? {
        report::note(&format!("not logged in: {why}"));
        return Ok(());
    }
    if let Some(name) = &config.registry_unset {
        return Err(Fault::not_ready(format!("cannot log in: ${{{name}}} is not set")).hint(format!("export {name}=…")).into());
    }
    if config.registry.is_empty() {
        return Err(Fault::usage(format!("cannot log in: {} names no registry", config.file)).into());
    }
    let registry = &config.registry;
    let credentials = credentials::read(config, &context.env)?;
    // Made beside and moved into place when it works: an earlier login stays until then.
    let login = credentials::folder(&context.env, &context.repo)?;
    let made = login.with_file_name("docker-new");
    let cmd = docker::login(registry, &credentials.username, &credentials.password).env("DOCKER_CONFIG", made.as_str());
    if Mode::of(false, &context.runner) == Mode::DryRun {
        return context.runner.output(&cmd).map(drop);
    }
    credentials::create(&made, context.docker_config().as_deref(), registry)?;
    let result = context.runner.output(&cmd).and_then(|exit| context.runner.check(&cmd, &exit));
    if result.is_ok() {
        credentials::remove(&login)?;
        std::fs::rename(&made, &login).with_context(|| format!("cannot create {login}"))?;
        report::note(&format!("logged in to {registry} as {} until `cargo xtask logout`", credentials.username));
        return Ok(());
    }
    credentials::remove(&made)?;
    let Err(error) = result else { return Ok(()) };
    if error::exit_code(&error) == error::Code::Interrupted {
        return Err(error);
    }
    let said = format!("{error:#}").replace(&credentials.password, "***");
    Err(Fault::not_ready(said).hint(format!("check {} and {}", config.login.0, config.login.1)).into())
}

/// Why this run needs no login: a password is not sent where a checkout wants it, but where it is needed. `None`: it is.
///
/// Somebody who logs in by hand, with no event, is asked no questions.
fn needless(context: &Context, registry: &str) -> Result<Option<String>> {
    if !context.is_given_an_event() && context.recorded()?.event == Event::Local {
        return Ok(None);
    }
    let plan = context.draft()?;
    if plan.publishes {
        return Ok(None);
    }
    if let Some(reference) = plan.reads(registry) {
        report::note(&format!("nothing is published; {reference} is read"));
        return Ok(None);
    }
    // A push makes up for one that failed before, and only the registry knows of that one.
    let recorded = context.recorded()?;
    if matches!(recorded.event, Event::Branch { .. }) && !context.is_handed_a_plan() {
        let looks = plan::looks(context.config()?, &recorded.event, &context.facts(&recorded)?, !plan.skipped.is_empty());
        if let Some(reference) = looks.first() {
            report::note(&format!("what {reference} holds decides what is published"));
            return Ok(None);
        }
    }
    let registry = if registry.is_empty() { "any registry" } else { registry };
    Ok(Some(format!("{} publishes nothing, and reads nothing from {registry}", plan.event.flag())))
}
