//! Whether the engine and buildx are there: asked before a first run and when a bake ends without a reason.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::docker;
use crate::error::Fault;
use crate::exec::Runner;

/// Asks the engine for its facts (`docker info`).
///
/// # Errors
/// "Not ready": no docker, or none that answers.
pub fn engine(runner: &Runner) -> Result<Value> {
    let cmd = docker::info();
    let exit = runner.output(&cmd)?;
    let info: Value = serde_json::from_str(&exit.stdout).unwrap_or_default();
    if info["ServerVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Ok(info);
    }
    let said = info["ServerErrors"][0].as_str().unwrap_or_else(|| exit.stderr.lines().next_back().unwrap_or_default());
    let why = if said.is_empty() { exit.reason(&cmd) } else { said.trim().to_owned() };
    Err(Fault::not_ready(format!("the Docker engine does not answer: {why}")).hint("run `cargo xtask doctor`").into())
}

/// Whether the engine's image store keeps several platforms of an image, and exports caches: containerd's does, while the
/// classic one keeps one image by a name or a digest. Of an engine that does not tell we expect the best.
pub fn keeps_platforms(info: &Value) -> bool {
    // vfs, a driver of the classic store, has nothing to tell.
    let is_unknown = info["DriverStatus"].is_null() && info["Driver"] != "vfs";
    is_unknown || info["DriverStatus"].to_string().contains("io.containerd.snapshotter")
}

/// # Errors
/// "Not ready": the engine does not answer, or docker has no buildx.
pub fn buildx(runner: &Runner) -> Result<()> {
    engine(runner)?;
    let cmd = docker::buildx_version();
    let exit = runner.output(&cmd)?;
    runner.check(&cmd, &exit).context(
        Fault::not_ready("docker has no buildx").hint("install docker-buildx-plugin (the package docker-buildx on Debian)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_stores_keep_platforms() {
        for (info, keeps) in [
            (json!({ "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "Driver": "overlayfs" }), true),
            (json!({ "DriverStatus": [["Backing Filesystem", "extfs"]], "Driver": "overlay2" }), false),
            (json!({ "DriverStatus": null, "Driver": "vfs" }), false),
            (json!({}), true),
        ] {
            assert_eq!(keeps_platforms(&info), keeps, "{info}");
        }
    }
}
