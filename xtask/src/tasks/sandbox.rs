//! `sandbox up|down|status|env`: the private registry, base images and, where there is no Docker, an engine.

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::error::Fault;
use crate::sandbox::{self, Status};
use crate::{report, visible};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Start what is not running
    Up {
        /// Serve an image of BuildKit too, made with Go; a builder that needs one asks for it by itself
        #[arg(long)]
        buildkit: bool,
    },
    /// End it and put the machine back as it was
    Down {
        /// Delete its downloads, images and caches too
        #[arg(long)]
        purge: bool,
    },
    /// Say what runs
    Status,
    /// Print exports for a shell: eval "$(cargo xtask sandbox env)"
    Env,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let (runner, json) = (&context.runner, context.json);
    match args.action {
        Action::Up { buildkit } => {
            let state = sandbox::up(runner)?;
            if buildkit {
                sandbox::buildkit(runner)?;
            }
            if !runner.is_dry_run() {
                report::result(&if json { line(&state)? } else { format!("registry {}", state.registry()) });
            }
        }
        Action::Down { purge } => sandbox::down(runner, purge)?,
        Action::Status => {
            let status = sandbox::status(runner)?;
            report::result(&if json { line(&status)? } else { describe(&status) });
        }
        Action::Env => {
            let Some(state) = sandbox::running()? else {
                return Err(Fault::not_ready("the sandbox is not running").hint("run `cargo xtask sandbox up`").into());
            };
            let env = sandbox::env(&state)?;
            let map: serde_json::Map<_, _> = env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            let lines = env.iter().map(|(name, value)| format!("export {name}={}", shell_words::quote(value)));
            report::result(&if json { line(&map)? } else { lines.collect::<Vec<_>>().join("\n") });
        }
    }
    Ok(())
}

/// JSON on one line.
fn line(value: &impl serde::Serialize) -> Result<String> {
    Ok(visible::json(&serde_json::to_string(value)?))
}

fn describe(status: &Status) -> String {
    let mut text = match (&status.since, &status.registry) {
        (Some(since), Some(registry)) => format!("running since {since}, registry {registry}"),
        _ => "not running".to_owned(),
    };
    let mut row = |name: &str, value: String| text.push_str(&format!("\n{name:<9} {value}"));
    row("cache", format!("{}, {} MiB", status.cache, status.disk_bytes >> 20));
    if status.running {
        row("engine", if status.engine { "its own".into() } else { "this machine's Docker".into() });
        row("versions", status.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", "));
        row("bases", status.bases.join(", "));
    }
    text
}
