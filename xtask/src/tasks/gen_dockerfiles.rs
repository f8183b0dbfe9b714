//! `gen-dockerfiles`: render the templates, or check that what is committed is what they render.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::config::Config;
use crate::context::Context;
use crate::generated::{Generated, Mode};
use crate::{report, template};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Change nothing; show a diff and fail if a file is out of date or an orphan.
    #[arg(long)]
    pub check: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    apply(context, &context.repo, args.check)
}

/// For the source of a plan, which may be that of a released version.
pub fn apply(context: &Context, root: &Utf8Path, check: bool) -> Result<()> {
    let generated = generated(root, &context.config_of(root)?)?;
    let mode = Mode::of(check, &context.runner);
    let changed = generated.apply(root, mode)?;
    let verb = if mode == Mode::DryRun { "would change" } else { "changed" };
    report::note(&format!("{} generated Dockerfiles, {changed} {verb}", generated.files.len()));
    Ok(())
}

/// Every Dockerfile that has a template, and the generated ones beside them that no build wants any more.
pub fn generated(repo: &Utf8Path, config: &Config) -> Result<Generated> {
    let files = template::render_all(repo, config)?;
    let mut folders: Vec<&Utf8Path> = files.keys().filter_map(|path| path.parent()).collect();
    // Where the default puts them, so that a template that was dropped altogether leaves no orphans either.
    folders.push(Utf8Path::new("docker/dockerfiles"));
    folders.sort();
    folders.dedup();
    let mut orphans: Vec<Utf8PathBuf> = Vec::new();
    for folder in folders {
        let Ok(entries) = repo.join(folder).read_dir_utf8() else { continue };
        for entry in entries {
            let path = folder.join(entry.with_context(|| format!("cannot read {folder}"))?.file_name());
            let is_ours = || std::fs::read_to_string(repo.join(&path)).is_ok_and(|text| template::is_generated(&text));
            if !files.contains_key(&path) && is_ours() {
                orphans.push(path);
            }
        }
    }
    orphans.sort();
    Ok(Generated { files, orphans, command: "cargo xtask gen-dockerfiles" })
}
