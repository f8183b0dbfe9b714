//! Registry, namespace and login: the keys that take environment variables.

use super::Env;
use super::faults::Faults;
use super::names;
use super::placeholder::{Piece, pieces};
use super::tree::Document;
use super::types;

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
pub fn resolve(document: &Document, file: &types::File, env: &Env, faults: &mut Faults) -> Hosts {
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
    if !host.is_empty() && !names::is_host(host) {
        let fix = host.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or_default();
        faults.at(
            document.line(&["registry"]),
            format!("registry `{host}` is not a host (write \"{fix}\"; a path belongs into namespace)"),
        );
    }
    let namespace = namespace.trim_matches('/');
    if !namespace.is_empty() && !names::is_repository(namespace) {
        let said =
            format!("namespace `{namespace}` can't stand in a repository (lower case letters, digits, and . _ - / between)");
        faults.at(document.line(&["namespace"]), said);
    }
    if names::has_registry(namespace) {
        let said = format!("namespace `{namespace}` begins with a registry (write it in registry)");
        faults.at(document.line(&["namespace"]), said);
    }
    Hosts { registry: host.to_owned(), unset, namespace: namespace.to_owned() }
}

/// The names of the variables that hold user and password.
pub fn login(login: &types::Login) -> (String, String) {
    let name = |text: &str| text.trim_start_matches("${").trim_end_matches('}').to_owned();
    (name(&login.username), name(&login.password))
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
            (
                "registry = '${PATH_URL}'",
                "f:1: registry `r.example/team` is not a host (write \"r.example\"; a path belongs into namespace)",
            ),
            (
                "\nnamespace = 'Acme'",
                "f:2: namespace `Acme` can't stand in a repository (lower case letters, digits, and . _ - / between)",
            ),
            ("namespace = 'ghcr.io/a'", "f:1: namespace `ghcr.io/a` begins with a registry (write it in registry)"),
            ("registry = '{HOST}'", "f:1: `{HOST}` is not filled in here (an environment variable is ${HOST})"),
        ] {
            assert_eq!(load(text).unwrap_err(), expected, "{text}");
        }
    }
}
