//! Registry, namespace and login: the keys that take environment variables.

use std::collections::BTreeMap;

use super::faults::Faults;
use super::names;
use super::placeholder::{Piece, pieces};
use super::tree::Document;
use super::types;
use super::{Env, Secret};

/// Where images go.
#[derive(Debug, Default)]
pub struct Hosts {
    /// "" when images stay local.
    pub registry: String,
    /// The variable that is missing to know the registry.
    pub unset: Option<String>,
    pub namespace: String,
}

/// Fills `registry` and `namespace` from the environment. An unset variable leaves the images local.
///
/// A fault names the variables of a text and never their values. What is wrong is left empty, so that nothing that follows
/// from it is a fault, too.
pub fn resolve(document: &Document, file: &types::File, env: &Env, faults: &mut Faults) -> Hosts {
    let secret = secret_variables(file);
    let mut is_refused = false;
    for (key, text) in [("registry", &file.registry), ("namespace", &file.namespace)] {
        for piece in pieces(text) {
            if let Piece::Variable(name) = piece
                && let Some(user) = secret.get(name)
            {
                let said = format!("{key} takes ${{{name}}}, which {user} uses: its value would be in plans and names of images");
                faults.at(document.line(&[key]), format!("{said} (export another variable for it)"));
                is_refused = true;
            }
        }
    }
    if is_refused {
        return Hosts::default();
    }
    let mut unset = None;
    let mut value = |key: &str, text: &str, faults: &mut Faults| match fill(text, env) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(name)) => {
            unset.get_or_insert(name);
            None
        }
        Err(said) => {
            faults.at(document.line(&[key]), said);
            None
        }
    };
    let registry = value("registry", &file.registry, faults);
    let namespace = value("namespace", &file.namespace, faults).unwrap_or_default();
    let registry = registry.filter(|_| unset.is_none()).unwrap_or_default();
    let written = !file.registry.contains("${");
    // A variable often holds a whole address; what is written here is the host alone.
    let host = if written {
        registry.as_str()
    } else {
        registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/')
    };
    let mut hosts = Hosts { registry: host.to_owned(), unset, namespace: namespace.trim_matches('/').to_owned() };
    if !host.is_empty() && !names::is_host(host) {
        let fix = host.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or_default();
        let fix = if written { format!("write \"{fix}\"; ") } else { String::new() };
        let said = format!("registry `{}` is not a host ({fix}a path belongs into namespace)", file.registry);
        faults.at(document.line(&["registry"]), said);
        hosts.registry = String::new();
    }
    let faulty = match hosts.namespace.as_str() {
        "" => None,
        name if names::has_registry(name) => Some("begins with a registry (write it in registry)"),
        name if names::is_repository(name) => None,
        _ => Some("can't stand in a repository (lower case letters, digits, and . _ - / between)"),
    };
    if let Some(said) = faulty {
        faults.at(document.line(&["namespace"]), format!("namespace `{}` {said}", file.namespace));
        hosts.namespace = String::new();
    }
    hosts
}

/// Variables whose values are for nobody else, with the key that uses each.
fn secret_variables(file: &types::File) -> BTreeMap<String, String> {
    let (username, password) = login(&file.login);
    let mut names = BTreeMap::from([("GITHUB_TOKEN".to_owned(), "login".to_owned())]);
    names.extend([(username, "login.username".to_owned()), (password, "login.password".to_owned())]);
    let images = file.image.iter().map(|(name, image)| (format!("image.{name}"), image));
    for (table, image) in images.chain([("defaults".to_owned(), &file.defaults)]) {
        let whens = image.when.iter().map(|(condition, when)| (format!("{table}.when.\"{condition}\""), &when.secrets));
        for (table, secrets) in [(table.clone(), &image.secrets)].into_iter().chain(whens) {
            for (secret, source) in secrets {
                if let Secret::Env(text) = source {
                    names.insert(variable(text), format!("{table}.secrets.{secret}"));
                }
            }
        }
    }
    names
}

/// `${NAME}` → `NAME`
fn variable(text: &str) -> String {
    text.trim_start_matches("${").trim_end_matches('}').to_owned()
}

/// The names of the variables that hold user and password.
pub fn login(login: &types::Login) -> (String, String) {
    (variable(&login.username), variable(&login.password))
}

/// The text with its variables filled, or the name of the first one that is not set.
fn fill(text: &str, env: &Env) -> Result<Result<String, String>, String> {
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) | Piece::Escaped(part) => filled.push_str(part),
            Piece::Name(name) => {
                return Err(format!("`{{{name}}}` is not filled in here (an environment variable is ${{{name}}})"));
            }
            Piece::Variable(name) => match env.get(name).filter(|value| !value.is_empty()) {
                Some(value) => filled.push_str(value),
                None => return Ok(Err(name.to_owned())),
            },
        }
    }
    Ok(Ok(filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    fn load(text: &str) -> Result<Hosts, String> {
        let env = [
            ("HOST", "ghcr.io"),
            ("URL", "https://r.example:5000/"),
            ("PATH_URL", "r.example/team"),
            ("TEAM", "acme"),
            ("UPPER", "Acme Corp"),
            ("EMPTY", ""),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut faults = Faults::new("f");
        let (document, _) = tree::parse(text, &mut faults);
        let hosts = resolve(&document, &toml::from_str(text).unwrap(), &env, &mut faults);
        if faults.is_empty() {
            Ok(hosts)
        } else {
            Err(faults.into_error().to_string().lines().skip(1).collect::<Vec<_>>().join("\n"))
        }
    }

    #[test]
    fn variables_are_filled_or_leave_images_local() {
        for (text, registry, namespace, unset) in [
            ("", "", "", None),
            ("registry = 'ghcr.io'\nnamespace = 'a/b/'", "ghcr.io", "a/b", None),
            ("registry = '${HOST}'\nnamespace = '${TEAM}/x'", "ghcr.io", "acme/x", None),
            ("registry = '${URL}'", "r.example:5000", "", None),
            ("registry = '${HOST}:5000'", "ghcr.io:5000", "", None),
            ("registry = '${NONE}'\nnamespace = 'a'", "", "a", Some("NONE")),
            ("registry = '${EMPTY}'", "", "", Some("EMPTY")),
            ("registry = 'ghcr.io'\nnamespace = '${NONE}'", "", "", Some("NONE")),
        ] {
            let hosts = load(text).unwrap();
            assert_eq!(
                (hosts.registry.as_str(), hosts.namespace.as_str(), hosts.unset.as_deref()),
                (registry, namespace, unset),
                "{text}"
            );
        }
    }

    #[test]
    fn faults() {
        for (text, expected) in [
            (
                "registry = 'https://ghcr.io'",
                "f:1: registry `https://ghcr.io` is not a host (write \"ghcr.io\"; a path belongs into namespace)",
            ),
            (
                "registry = 'ghcr.io/acme'",
                "f:1: registry `ghcr.io/acme` is not a host (write \"ghcr.io\"; a path belongs into namespace)",
            ),
            ("registry = '${PATH_URL}'", "f:1: registry `${PATH_URL}` is not a host (a path belongs into namespace)"),
            (
                "\nnamespace = 'Acme'",
                "f:2: namespace `Acme` can't stand in a repository (lower case letters, digits, and . _ - / between)",
            ),
            ("namespace = 'ghcr.io/a'", "f:1: namespace `ghcr.io/a` begins with a registry (write it in registry)"),
            ("registry = 'r.example:${TEAM}'", "f:1: registry `r.example:${TEAM}` is not a host (a path belongs into namespace)"),
            (
                "namespace = 'x/${UPPER}'",
                "f:1: namespace `x/${UPPER}` can't stand in a repository (lower case letters, digits, and . _ - / between)",
            ),
            ("namespace = '${PATH_URL}'", "f:1: namespace `${PATH_URL}` begins with a registry (write it in registry)"),
            ("registry = '{HOST}'", "f:1: `{HOST}` is not filled in here (an environment variable is ${HOST})"),
        ] {
            assert_eq!(load(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_of_login_or_a_secret_is_no_name_of_an_image() {
        let refused = |key: &str, name: &str, user: &str| {
            let said = format!("{key} takes ${{{name}}}, which {user} uses: its value would be in plans and names of images");
            format!("{said} (export another variable for it)")
        };
        for (text, key, name, user) in [
            ("namespace = '${DOCKER_PASSWORD}'", "namespace", "DOCKER_PASSWORD", "login.password"),
            ("registry = '${DOCKER_USERNAME}.example'", "registry", "DOCKER_USERNAME", "login.username"),
            ("namespace = 'x/${TOKEN}'\n[login]\npassword = '${TOKEN}'", "namespace", "TOKEN", "login.password"),
            ("namespace = '${GITHUB_TOKEN}'", "namespace", "GITHUB_TOKEN", "login"),
            ("namespace = '${PIP}'\n[image.a]\nsecrets = { pip = '${PIP}' }", "namespace", "PIP", "image.a.secrets.pip"),
            ("registry = '${PIP}'\n[defaults]\nsecrets.pip = '${PIP}'", "registry", "PIP", "defaults.secrets.pip"),
            (
                "registry = '${NPM}'\n[image.a.when.'x=1']\nsecrets.npm = '${NPM}'",
                "registry",
                "NPM",
                "image.a.when.\"x=1\".secrets.npm",
            ),
        ] {
            assert_eq!(load(text).unwrap_err(), format!("f:1: {}", refused(key, name, user)), "{text}");
        }
    }
}
