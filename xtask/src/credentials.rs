//! The private Docker configuration that `login` makes and `logout` removes: the user's own is never written.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use crate::config::{Config, Env};
use crate::error::Fault;
use crate::facts::digest;

/// What of the user's own configuration must go on working: plugins, contexts, builders.
const SHARED: [&str; 3] = ["cli-plugins", "contexts", "buildx"];

/// What docker calls Docker Hub in its configuration.
const HUB: &str = "https://index.docker.io/v1/";

/// Where the secrets of a checkout lie: in the user's cache folder, because builds take files of the checkout, checks
/// mount it, and workflows keep parts of it.
///
/// # Errors
/// Not ready: there is no such folder.
pub fn secrets(env: &Env, repo: &Utf8Path) -> Result<Utf8PathBuf> {
    let set = |name: &str| env.get(name).filter(|path| path.starts_with('/')).map(Utf8PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let absent = || Fault::not_ready("there is no place for secrets: HOME is not set").hint("set HOME to a folder of yours");
    Ok(cache.ok_or_else(absent)?.join("slipway-secrets").join(&digest(&[repo.as_str()])[..8]))
}

/// The Docker configuration among them; nobody is logged in where it does not exist.
///
/// # Errors
/// Those of [`secrets`].
pub fn folder(env: &Env, repo: &Utf8Path) -> Result<Utf8PathBuf> {
    Ok(secrets(env, repo)?.join("docker"))
}

/// User and password; the latter is never printed.
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// Which variables have user and password; else those of `[login]` that are not set. An empty one has nothing.
pub fn variables<'a>(config: &'a Config, env: &Env) -> Result<(&'a str, &'a str), Vec<&'a str>> {
    let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    let configured = (config.login.0.as_str(), config.login.1.as_str());
    let job = (config.registry == "ghcr.io").then_some(("GITHUB_ACTOR", "GITHUB_TOKEN"));
    let found = [Some(configured), job].into_iter().flatten().find(|(user, password)| is_set(user) && is_set(password));
    found.ok_or_else(|| [configured.0, configured.1].into_iter().filter(|name| !is_set(name)).collect())
}

/// Reads the variables that `[login]` names; for ghcr.io in Actions the job's own token will do.
///
/// # Errors
/// Not ready, naming the variables that are missing.
pub fn read(config: &Config, env: &Env) -> Result<Credentials> {
    let missing = match variables(config, env) {
        Ok((username, password)) => {
            return Ok(Credentials { username: env[username].clone(), password: env[password].clone() });
        }
        Err(missing) => missing,
    };
    let fault = Fault::not_ready(format!(
        "cannot log in to {}: {} {} not set",
        config.registry,
        missing.join(" and "),
        if missing.len() == 1 { "is" } else { "are" }
    ));
    Err(fault.hint("export what is missing; in GitHub Actions hand it to the step with `env:`").into())
}

/// Makes the folder from the user's own configuration, without what that has for `registry`.
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
    leave_to_file(&mut config, registry);
    let (path, text) = (folder.join("config.json"), format!("{:#}\n", Value::Object(config)));
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("cannot write {path}"))
}

/// Takes a registry's credentials out of a configuration, and has its new ones written into that file: with a helper or
/// a store the password would end up in the user's key ring. Those of other registries stay as they are.
///
/// The helper "" is the file itself, also where docker would look for a store of its own
/// (<https://github.com/docker/cli/blob/master/cli/config/configfile/file.go>).
fn leave_to_file(config: &mut Map<String, Value>, registry: &str) {
    for holder in ["auths", "credHelpers"] {
        if let Some(Value::Object(held)) = config.get_mut(holder) {
            held.retain(|name, _| host(name) != host(registry));
        }
    }
    let name = if host(registry) == host(HUB) { HUB } else { registry };
    let helpers = config.entry("credHelpers").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(helpers) = helpers {
        helpers.insert(name.to_owned(), "".into());
    }
}

/// The host in a name of a registry, as old and new configurations have it; Docker Hub's has several.
fn host(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    match name.split('/').next().unwrap_or(name) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
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
    fn secrets_are_outside_of_the_checkout_and_each_has_its_own() {
        let env = |name: &str, value: &str| Env::from([(name.to_owned(), value.to_owned())]);
        let (home, cache) = (env("HOME", "/home/me"), env("XDG_CACHE_HOME", "/cache"));
        let one = folder(&home, "/repo".into()).unwrap();
        assert!(one.starts_with("/home/me/.cache/slipway-secrets") && one.ends_with("docker"), "{one}");
        assert_ne!(one, folder(&home, "/other".into()).unwrap());
        assert!(secrets(&cache, "/repo".into()).unwrap().starts_with("/cache/slipway-secrets"));
        assert!(secrets(&env("HOME", "relative"), "/repo".into()).unwrap_err().to_string().contains("HOME is not set"));
    }

    #[test]
    fn everything_but_the_credentials_of_the_registry_is_taken_over() {
        let temp = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(temp.path()).unwrap();
        let (own, folder) = (root.join("own"), root.join("secrets/docker"));
        std::fs::create_dir_all(own.join("cli-plugins")).unwrap();
        std::fs::write(own.join("cli-plugins/docker-buildx"), "x").unwrap();
        let text = r#"{"auths":{"r":{"auth":"b2xk"},"s":{"auth":"a2VlcA=="},"https://index.docker.io/v1/":{}},
            "credsStore":"desktop","credHelpers":{"https://r/v2/":"x","t":"y"},"currentContext":"farm"}"#;
        std::fs::write(own.join("config.json"), text).unwrap();
        let created = |registry: &str| -> Value {
            create(&folder, Some(&own), registry).unwrap();
            serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
        };
        let expected = serde_json::json!({
            "auths": { "s": { "auth": "a2VlcA==" }, HUB: {} },
            "credsStore": "desktop",
            "credHelpers": { "t": "y", "r": "" },
            "currentContext": "farm",
        });
        assert_eq!(created("r"), expected);
        let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("config.json"))), (0o700, 0o600));
        assert!(folder.join("cli-plugins/docker-buildx").exists());
        let hub = created("docker.io");
        assert_eq!(hub["auths"], serde_json::json!({ "r": { "auth": "b2xk" }, "s": { "auth": "a2VlcA==" } }));
        assert_eq!(hub["credHelpers"], serde_json::json!({ "https://r/v2/": "x", "t": "y", HUB: "" }));
        assert!(remove(&folder).unwrap() && !remove(&folder).unwrap());
        assert!(own.join("cli-plugins/docker-buildx").exists(), "the user's own is still there");
        create(&folder, None, "r").unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.join("config.json")).unwrap(),
            "{\n  \"credHelpers\": {\n    \"r\": \"\"\n  }\n}\n"
        );
    }
}
