//! The command line: every task, and the flags that all of them take.

use camino::Utf8PathBuf;
use clap::{Parser, Subcommand};

use crate::engine::Choice;
use crate::{builder, tasks};

/// Where the configuration is, relative to the repository.
pub const CONFIG: &str = "docker/images.toml";

/// Typed container-image pipelines: the same commands on a laptop and in GitHub Actions.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Only these builds: `python=3.10`, `image=base`, `id=…`, `python<3.9,runtime=cpu`. Several on one axis: or; on two: and.
    #[arg(long, global = true, value_name = "CONDITION")]
    pub only: Vec<String>,
    /// Why we run: local, pr:12, pr:12:fork, branch:dev, branch:dev:forced, tag:v1.2.3, schedule, manual, manual:rebuild, merge-queue. Default: what GitHub says, else local.
    #[arg(long, global = true)]
    pub event: Option<String>,
    /// Replay a recorded event.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "event")]
    pub event_file: Option<Utf8PathBuf>,
    /// Use this plan (`plan --json`) instead of planning.
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["event", "event_file"])]
    pub plan: Option<Utf8PathBuf>,
    /// Another registry than the file says, such as localhost:5000.
    #[arg(long, global = true)]
    pub registry: Option<String>,
    /// auto: [builders], else the engine's own if it has the containerd image store, else container. container: one that we make. Else the name of one of buildx's (default is the engine's own).
    #[arg(long, global = true, value_name = "auto|container|NAME", default_value = "auto", hide_default_value = true)]
    pub builder: builder::Choice,
    /// Several of buildx's builders, which share the builds; the longest of last time first, each to who has least to do.
    #[arg(long, global = true, value_name = "NAME,NAME", value_delimiter = ',', conflicts_with = "builder", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub builders: Vec<String>,
    /// auto: the Docker that answers, else the private sandbox.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub engine: Choice,
    /// How many builds or tests run at once; default: the processors.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Print the commands that change something instead of running them.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Results as JSON on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Every command, with its reason.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// The configuration, relative to the repository.
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG)]
    pub config: Utf8PathBuf,
    /// The repository; default: the one around the current folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub repo: Option<Utf8PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Task {
    /// Render the Dockerfile templates, or check that they are rendered
    GenDockerfiles(tasks::gen_dockerfiles::Args),
    /// Run the checks of images.toml that need no image
    StaticChecks(tasks::static_checks::Args),
    /// Print what would happen and why
    Plan(tasks::plan::Args),
    /// Build what the plan says
    CiBuild(tasks::ci_build::Args),
    /// Run each image's tests inside it
    DockerTest(tasks::docker_test::Args),
    /// Look for known vulnerabilities in what was built
    Scan(tasks::scan::Args),
    /// The whole pipeline for an event, in one go
    Ci(tasks::ci::Args),
    /// Move the moving tags to what was published
    Release(tasks::release::Args),
    /// Say what of the registry may go; --apply removes it
    Retention(tasks::retention::Args),
    /// Log in to the registry, with what the environment holds
    Login(tasks::login::Args),
    /// Forget what `login` keeps
    Logout(tasks::logout::Args),
    /// Print true if files that name dependencies changed, else false
    CheckDeps(tasks::check_deps::Args),
    /// Say why: a build is in, it changed, a tag moves or not
    Explain(tasks::explain::Args),
    /// What caches hold, here and in the registry; make room
    Cache(tasks::cache::Args),
    /// Check this machine, with a fix for each fault
    Doctor(tasks::doctor::Args),
    /// The private engine, registry and base images
    Sandbox(tasks::sandbox::Args),
    /// Print the JSON Schema of images.toml
    Schema(tasks::schema::Args),
    /// Print completions for a shell
    Completions(tasks::completions::Args),
    /// Run this repository's own tests, unit to end-to-end
    Test(tasks::test::Args),
}
