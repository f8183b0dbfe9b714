//! The private Docker configuration that `login` makes and `logout` removes: the user's own is never written.

use std::os::unix::fs::{DirBuilderExt as _, symlink};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use crate::config::{Config, Env};
use crate::error::Fault;
use crate::generated;

/// What of the user's own configuration must go on working: plugins, contexts, builders.
const SHARED: [&str; 3] = ["cli-plugins", "contexts", "buildx"];

/// Where secrets lie: not in `target/slipway`, which workflows keep as an artifact that others can download.
pub const SECRETS: &str = "target/slipway-secrets";

/// Where it lies; nobody is logged in where it does not exist.
pub fn folder(repo: &Utf8Path) -> Utf8PathBuf {
    repo.join(SECRETS).join("docker")
}

/// User and password, and where they come from. Neither is ever printed.
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// Reads the variables that `[login]` names; for ghcr.io in Actions the job's own token will do.
///
/// # Errors
/// Not ready, naming the variables that are missing.
pub fn read(config: &Config, env: &Env) -> Result<Credentials> {
    let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let (username, password) = &config.login;
    if let (Some(username), Some(password)) = (get(username), get(password)) {
        return Ok(Credentials { username, password });
    }
    if config.registry == "ghcr.io"
        && let (Some(username), Some(password)) = (get("GITHUB_ACTOR"), get("GITHUB_TOKEN"))
    {
        return Ok(Credentials { username, password });
    }
    let missing: Vec<&str> = [username, password].into_iter().filter(|name| get(name).is_none()).map(String::as_str).collect();
    let fault = Fault::not_ready(format!(
        "cannot log in to {}: {} {} not set",
        config.registry,
        missing.join(" and "),
        if missing.len() == 1 { "is" } else { "are" }
    ));
    Err(fault.hint("export what is missing; in GitHub Actions hand it to the step with `env:`").into())
}

/// Makes the folder from the user's own configuration, without what that has of credentials.
pub fn create(folder: &Utf8Path, own: Option<&Utf8Path>, registry: &str) -> Result<()> {
    remove(folder)?;
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {parent}"))?;
    std::fs::DirBuilder::new().mode(0o700).create(folder).with_context(|| format!("cannot create {folder}"))?;
    let mut config = Map::new();
    if let Some(own) = own {
        let text = std::fs::read_to_string(own.join("config.json")).unwrap_or_default();
        config = serde_json::from_str(&text).unwrap_or_default();
        for name in SHARED.iter().filter(|name| own.join(name).exists()) {
            let target = own.join(name).canonicalize_utf8().with_context(|| format!("cannot use {own}/{name}"))?;
            symlink(target, folder.join(name)).with_context(|| format!("cannot create {folder}/{name}"))?;
        }
    }
    // With a helper or a store the password would end up in the user's key ring.
    config.shift_remove("auths");
    config.shift_remove("credsStore");
    if let Some(Value::Object(helpers)) = config.get_mut("credHelpers") {
        helpers.shift_remove(registry);
    }
    generated::write(&folder.join("config.json"), &format!("{:#}\n", Value::Object(config)))
}

/// Removes the folder; the links in it are not followed. True if there was one.
pub fn remove(folder: &Utf8Path) -> Result<bool> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {folder}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_plugins_and_settings_are_taken_over() {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap();
        let (own, folder) = (root.join("own"), root.join("target/slipway-secrets/docker"));
        std::fs::create_dir_all(own.join("cli-plugins")).unwrap();
        std::fs::write(own.join("cli-plugins/docker-buildx"), "x").unwrap();
        let text = r#"{"auths":{"r":{"auth":"c2VjcmV0"}},"credsStore":"desktop","credHelpers":{"r":"x","s":"y"},"currentContext":"farm"}"#;
        std::fs::write(own.join("config.json"), text).unwrap();
        create(&folder, Some(&own), "r").unwrap();
        let config: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
        assert_eq!(config, serde_json::json!({ "credHelpers": { "s": "y" }, "currentContext": "farm" }));
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(folder.join("cli-plugins/docker-buildx").exists());
        assert!(remove(&folder).unwrap() && !remove(&folder).unwrap());
        assert!(own.join("cli-plugins/docker-buildx").exists(), "the user's own is still there");
    }
}
