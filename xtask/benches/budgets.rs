//! The budgets, as ratios against the bare tools in the same run: `cargo bench` (an engine is needed for all but the first).
//!
//! Prints numbers, asserts nothing: a time is never a test.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 9;

fn main() {
    // `cargo test --all-targets` runs benches too, with --test; there is nothing to test here.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    plan();
    no_op_build();
    cold_compile();
}

/// `plan` for 14 and 1,024 builds beside `docker buildx bake --print` of the same targets.
fn plan() {
    for (name, repo) in [("14 builds", root()), ("1,024 builds", large())] {
        let bake = xtask(&repo, &["plan", "--format", "bake"]);
        let file = repo.join("target").join("bench-bake.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &bake).unwrap();
        let ours = median(|| drop(xtask(&repo, &["plan", "--json"])));
        let memory = peak_kib(&repo, &["plan", "--json"]);
        print!("plan, {name}: {:.1} ms, {:.1} MiB", ours * 1e3, memory as f64 / 1024.0);
        let print = || run(Command::new("docker").args(["buildx", "bake", "--print", "-f"]).arg(&file).current_dir(&repo));
        if print().is_some() {
            let theirs = median(|| drop(print()));
            print!("; bake --print {:.0} ms, {:.0} x", theirs * 1e3, theirs / ours);
        }
        println!();
    }
}

/// `ci-build --mode test` with nothing to do beside the bare bake of the same file.
fn no_op_build() {
    let repo = root();
    let file = repo.join("target").join("bench-bake.json");
    // With the digests of the bases: the very file of a run, and so the same images.
    std::fs::write(&file, xtask(&repo, &["plan", "--resolve", "--format", "bake"])).unwrap();
    let ours = || run(Command::new(env!("CARGO_BIN_EXE_xtask")).args(["ci-build", "--mode", "test"]).current_dir(&repo));
    let theirs = || run(Command::new("docker").args(["buildx", "bake", "-f"]).arg(&file).current_dir(&repo));
    if ours().is_none() || theirs().is_none() {
        return println!("no-op ci-build: no engine (eval \"$(cargo xtask sandbox env)\" first)");
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        a.push(seconds(|| drop(ours())));
        b.push(seconds(|| drop(theirs())));
    }
    let (ours, theirs) = (middle(&mut a), middle(&mut b));
    println!("no-op ci-build: {ours:.2} s; bare bake {theirs:.2} s; ratio {:.2}", ours / theirs);
}

/// A cold build of xtask beside one of an empty crate with the nine packages it must have.
fn cold_compile() {
    let folder = std::env::temp_dir().join(format!("slipway-bench-{}", std::process::id()));
    let nine = folder.join("nine");
    std::fs::create_dir_all(nine.join("src")).unwrap();
    std::fs::write(nine.join("src/main.rs"), "fn main() {}\n").unwrap();
    let manifest = std::fs::read_to_string(root().join("xtask/Cargo.toml")).unwrap();
    let wanted = ["anyhow", "camino", "clap ", "duct", "semver", "serde ", "toml", "which", "xshell"];
    let lines: Vec<&str> =
        manifest.lines().filter(|line| line.contains(" = ") && wanted.iter().any(|name| line.starts_with(name))).collect();
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let profile = workspace.split_once("[profile.dev]").map(|(_, rest)| format!("[profile.dev]{rest}")).unwrap_or_default();
    let package = "[package]\nname = \"nine\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n";
    std::fs::write(nine.join("Cargo.toml"), format!("{package}{}\n{profile}", lines.join("\n"))).unwrap();
    std::fs::copy(root().join("Cargo.lock"), nine.join("Cargo.lock")).unwrap();
    let build = |dir: &Path, target: &str| {
        let target = folder.join(target);
        let seconds = seconds(|| {
            drop(run(Command::new("cargo").args(["build", "--quiet"]).env("CARGO_TARGET_DIR", &target).current_dir(dir)))
        });
        std::fs::remove_dir_all(&target).unwrap();
        seconds
    };
    build(&nine, "warm-up");
    let pairs: Vec<(f64, f64)> = (0..3).map(|at| (build(&root(), &format!("a{at}")), build(&nine, &format!("b{at}")))).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    let mut ratios: Vec<f64> = pairs.iter().map(|(ours, nine)| ours / nine).collect();
    let (ours, theirs) = pairs[pairs.len() / 2];
    println!("cold compile: {ours:.1} s; the nine crates {theirs:.1} s; ratio {:.2}", middle(&mut ratios));
}

/// A repository of 32 × 32 builds.
fn large() -> PathBuf {
    let repo = std::env::temp_dir().join("slipway-bench-1024");
    let list = |prefix: &str| (0..32).map(|at| format!("\"{prefix}{at}\"")).collect::<Vec<_>>().join(", ");
    let images = format!(
        "schema = 1\nregistry = \"ghcr.io\"\nnamespace = \"acme\"\n[axes]\na = [{}]\nb = [{}]\n[image.many]\nvariant = \"{{a}}-{{b}}\"\n[cache]\n",
        list("x"),
        list("y")
    );
    std::fs::create_dir_all(repo.join("docker")).unwrap();
    std::fs::write(repo.join("docker/images.toml"), images).unwrap();
    std::fs::write(repo.join("Dockerfile"), "FROM python:3.11-slim\nCOPY . /app\n").unwrap();
    repo
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn xtask(repo: &Path, args: &[&str]) -> Vec<u8> {
    run(Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).current_dir(repo).arg("--repo").arg(repo)).expect("xtask failed")
}

/// Stdout, `None` unless the command succeeds.
fn run(command: &mut Command) -> Option<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// The largest resident set of one run, as GNU time tells it; 0 without it.
fn peak_kib(repo: &Path, args: &[&str]) -> u64 {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M", env!("CARGO_BIN_EXE_xtask")]).args(args).current_dir(repo).arg("--repo").arg(repo);
    let Ok(output) = command.output() else { return 0 };
    String::from_utf8_lossy(&output.stderr).lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn median(mut work: impl FnMut()) -> f64 {
    middle(&mut (0..RUNS).map(|_| seconds(&mut work)).collect::<Vec<_>>())
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
