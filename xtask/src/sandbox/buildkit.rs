//! A stand-in for the image of BuildKit, from the Go module proxy: made when a builder asks for it, never before.

use std::time::Duration;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use super::packages::ENGINE;
use super::paths::{Paths, make_dir};
use super::steps::Steps;
use super::{mounts, registry};
use crate::cmd::Cmd;
use crate::docker::{self, BUILDKIT};
use crate::error::{Code, Fault, exit_code};
use crate::exec::Runner;

const MODULE: &str = "github.com/moby/buildkit";
const PROGRAMS: [&str; 2] = ["buildkitd", "buildctl"];
/// Downloads and compiles; both are kept by Go, so that a second time is short.
const LIMIT: Duration = Duration::from_secs(1200);
const DOCKERFILE: &str = "FROM debian
# Where Debian has its runc linked against, the image has it too: its library comes with apt.
COPY --chmod=0755 buildkitd buildctl runc /usr/bin/
ENTRYPOINT [\"buildkitd\"]
";

/// The name under which docker.io's mirror has it.
pub fn is_served(port: u16) -> bool {
    registry::has(port, BUILDKIT.0, BUILDKIT.1)
}

/// Makes the image; to be called under the lock of the sandbox; `runner` has its environment.
///
/// # Errors
/// Not ready: there is no Go, or its module proxy can't be reached.
pub fn make(runner: &Runner, paths: &Paths, port: u16, steps: &Steps) -> Result<()> {
    let programs = paths.tools("buildkit").join(BUILDKIT.1);
    if !PROGRAMS.iter().all(|program| programs.join(program).exists()) {
        steps.say(&format!("building BuildKit {} from the Go module proxy, about a minute", BUILDKIT.1));
        compile(runner, paths, &programs)?;
    }
    steps.say("packing BuildKit as an image");
    let context = paths.tmp().join("buildkit-image");
    make_dir(&context)?;
    let runc = paths.tools(ENGINE.name).join("usr/sbin/runc");
    for (from, name) in [(programs.join("buildkitd"), "buildkitd"), (programs.join("buildctl"), "buildctl"), (runc, "runc")] {
        std::fs::copy(&from, context.join(name)).with_context(|| format!("cannot copy {from}"))?;
    }
    let bake = docker::bake_bases(&bake_file(port), ["buildkit".to_owned()].into_iter(), "pack BuildKit as an image");
    runner.read(&bake.dir(context.clone()).timeout(LIMIT))?;
    mounts::remove_tree(runner, &context)
}

fn compile(runner: &Runner, paths: &Paths, programs: &Utf8Path) -> Result<()> {
    if runner.which("go").is_none() {
        let fault = Fault::not_ready("cannot make an image of BuildKit: there is no Go");
        return Err(fault.hint("install Go 1.24 or newer (https://go.dev/dl), or build with `--builder default`").into());
    }
    let module = paths.tmp().join("buildkit");
    mounts::remove_tree(runner, &module)?;
    make_dir(&module.join("bin"))?;
    // A module of its own: `go install` refuses those that exclude versions of others.
    let go = |args: &[&str], why: &str| {
        let cmd = Cmd::change("go", why).args(args.iter().copied()).dir(module.clone()).timeout(LIMIT);
        let cmd = cmd.env("CGO_ENABLED", "0").env("GOWORK", "off");
        runner.read(&cmd).map_err(|error| match exit_code(&error) {
            Code::Failed => {
                let fault = Fault::not_ready(format!("cannot make an image of BuildKit {}", BUILDKIT.1));
                error.context(fault.hint("check that the Go module proxy can be reached (`go env GOPROXY`)"))
            }
            _ => error,
        })
    };
    let packages = PROGRAMS.map(|program| format!("{MODULE}/cmd/{program}"));
    let pinned = packages.clone().map(|package| format!("{package}@{}", BUILDKIT.1));
    go(&["mod", "init", "scratch"], "make a module for BuildKit")?;
    go(&["get", &pinned[0], &pinned[1]], "download BuildKit")?;
    let build = ["build", "-trimpath", "-ldflags", "-s -w", "-o", "bin/", &packages[0], &packages[1]];
    go(&build, "compile BuildKit")?;
    make_dir(programs.parent().unwrap_or(programs))?;
    mounts::remove_tree(runner, programs)?;
    std::fs::rename(module.join("bin"), programs).with_context(|| format!("cannot move BuildKit to {programs}"))?;
    mounts::remove_tree(runner, &module)
}

fn bake_file(port: u16) -> String {
    let target = serde_json::json!({
        "context": ".",
        "dockerfile-inline": DOCKERFILE,
        "contexts": { "debian": format!("docker-image://localhost:{port}/library/debian:bookworm-slim") },
        "tags": [format!("localhost:{port}/{}:{}", BUILDKIT.0, BUILDKIT.1)],
        "labels": { "dev.slipway.stand-in": format!("made by the sandbox from {MODULE} {}, not by the publisher", BUILDKIT.1) },
        "output": ["type=image,push=true,store=false,unpack=false"],
        "attest": ["type=provenance,disabled=true"],
    });
    serde_json::json!({ "target": { "buildkit": target } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_go_it_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let mut runner = Runner::default();
        runner.set_env("PATH", folder.as_str());
        let paths = Paths { cache: folder.to_owned(), run: folder.to_owned() };
        let error = compile(&runner, &paths, &folder.join("programs")).unwrap_err();
        assert_eq!(exit_code(&error), Code::NotReady);
        assert!(crate::error::render(&error).contains("hint: install Go"), "{error:?}");
    }
}
