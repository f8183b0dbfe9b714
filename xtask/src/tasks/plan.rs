//! `plan`: print what would happen and why.

use anyhow::Result;

use crate::context::Context;
use crate::plan::render;
use crate::{bake, report, visible};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Ask the registry what need not be built or published again.
    #[arg(long)]
    resolve: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// The plan itself; the same as --json.
    Json,
    /// Outputs for a workflow: append to $GITHUB_OUTPUT.
    Github,
    /// The bake file that is given to `docker buildx bake`.
    Bake,
    /// A flowchart.
    Mermaid,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    if args.resolve {
        context.for_a_run();
    }
    let plan = if args.resolve { context.resolved()? } else { context.draft()? };
    let format = if context.json { Format::Json } else { args.format };
    report::result(&match format {
        Format::Text => render::text(&plan),
        Format::Json => report::json(&plan)?,
        Format::Github => render::github(&plan),
        Format::Bake => {
            let spread = context.spread(&plan)?;
            visible::json(bake::file(&spread, &spread.ids()).text.trim_end())
        }
        Format::Mermaid => render::mermaid(&plan),
    });
    Ok(())
}
