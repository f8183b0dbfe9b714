//! One context of a kubeconfig, alone: buildx's driver takes a file and its current context, and no other. Pure.
//!
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use crate::config::suggest;

/// A context that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    pub context: String,
    pub server: String,
    /// The namespace of the context.
    pub namespace: String,
    /// A kubeconfig that has only this context; secret, for it has the credentials.
    pub text: String,
}

/// Finds a context in files that are laid over each other, the first that has something wins; "": the current one.
///
/// # Errors
/// Why it can't be used. It shows nothing of the files but names.
pub fn pick(files: &[(Utf8PathBuf, String)], context: &str) -> Result<Picked, String> {
    let mut read = Vec::new();
    for (path, text) in files {
        let value = serde_saphyr::from_str::<Value>(text).map_err(|error| {
            let line = error.location().map(|at| format!(", line {}", at.line())).unwrap_or_default();
            format!("{path} is no kubeconfig: it is not YAML{line}")
        })?;
        if !value.is_object() {
            return Err(format!("{path} is no kubeconfig: it has no contexts"));
        }
        read.push((path.parent().unwrap_or(Utf8Path::new("/")), value));
    }
    let places = files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>().join(" and ");
    let current = || read.iter().find_map(|(_, value)| value["current-context"].as_str().filter(|name| !name.is_empty()));
    let context = match context {
        "" => current().ok_or_else(|| format!("no context is the current one of {places}"))?,
        named => named,
    };
    let Some((_, entry)) = find(&read, "contexts", context) else {
        let names = read.iter().flat_map(|(_, value)| value["contexts"].as_array().into_iter().flatten());
        let known: Vec<&str> = names.filter_map(|entry| entry["name"].as_str()).collect();
        return Err(format!("{places} has no context `{context}` ({})", suggest(context, known)));
    };
    let named = |key: &str| entry["context"][key].as_str().unwrap_or_default().to_owned();
    let (cluster, user) = (named("cluster"), named("user"));
    let lacks =
        |what: &str, name: &str| format!("the context `{context}` of {places} names the {what} `{name}`, which is not there");
    let (folder, of_cluster) = find(&read, "clusters", &cluster).ok_or_else(|| lacks("cluster", &cluster))?;
    let of_cluster = located(&of_cluster["cluster"], folder);
    let of_user = match find(&read, "users", &user) {
        Some((folder, of_user)) => located(&of_user["user"], folder),
        None if user.is_empty() => json!({}),
        None => return Err(lacks("user", &user)),
    };
    let alone = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{ "name": context, "context": entry["context"] }],
        "clusters": [{ "name": cluster, "cluster": of_cluster }],
        "users": [{ "name": user, "user": of_user }],
    });
    Ok(Picked {
        context: context.to_owned(),
        server: of_cluster["server"].as_str().unwrap_or_default().to_owned(),
        namespace: named("namespace"),
        text: format!("{alone:#}\n"),
    })
}

/// An item of a list by its name, and the folder of the file that has it.
fn find<'a>(files: &'a [(&Utf8Path, Value)], list: &str, name: &str) -> Option<(&'a Utf8Path, &'a Value)> {
    let of = |(folder, value): &'a (&Utf8Path, Value)| {
        let found = value[list].as_array()?.iter().find(|item| item["name"] == name)?;
        Some((*folder, found))
    };
    files.iter().find_map(of)
}

/// The same with absolute paths: what is relative is so to the file that it stands in.
fn located(item: &Value, folder: &Utf8Path) -> Value {
    let mut item = item.clone();
    for key in ["certificate-authority", "client-certificate", "client-key", "tokenFile"] {
        if let Some(Value::String(path)) = item.get_mut(key).filter(|path| path.as_str() != Some("")) {
            *path = folder.join(path.as_str()).into_string();
        }
    }
    if let Some(Value::String(command)) = item.get_mut("exec").and_then(|exec| exec.get_mut("command"))
        && command.contains('/')
    {
        *command = folder.join(command.as_str()).into_string();
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    const FARM: &str = "
apiVersion: v1
current-context: home
contexts:
- name: home
  context: { cluster: home, user: '' }
- context:
    cluster: farm
    namespace: builds
    user: me
  name: farm
- name: torn
  context: {cluster: gone, user: me}
clusters:
- name: farm
  cluster: &c
    server: https://farm.example:6443
    certificate-authority: ca.crt
- {name: home, cluster: *c}
";
    const USERS: &str = r#"{"users": [{"name": "me", "user": {"tokenFile": "/t", "client-key-data": "a2V5", "exec": {"command": "bin/login"}}}],
        "current-context": "farm"}"#;

    fn both() -> Vec<(Utf8PathBuf, String)> {
        vec![("/a/config".into(), FARM.into()), ("/b/users".into(), USERS.into())]
    }

    #[test]
    fn a_context_alone_with_its_paths_made_absolute() {
        let farm = pick(&both(), "farm").unwrap();
        assert_eq!((farm.server.as_str(), farm.namespace.as_str()), ("https://farm.example:6443", "builds"));
        let alone: Value = serde_json::from_str(&farm.text).unwrap();
        assert_eq!(alone["current-context"], "farm");
        assert_eq!(alone["clusters"].as_array().unwrap().len(), 1);
        assert_eq!(alone["clusters"][0]["cluster"]["certificate-authority"], "/a/ca.crt");
        let user = json!({ "tokenFile": "/t", "client-key-data": "a2V5", "exec": { "command": "/b/bin/login" } });
        assert_eq!(alone["users"][0]["user"], user);
        assert_eq!(pick(&both(), "").unwrap().context, "home", "the first file's");
        assert_eq!(pick(&[("/c".into(), farm.text.clone())], "").unwrap().text, farm.text);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_no_secret_is() {
        let said = |files: &[(Utf8PathBuf, String)], context: &str| pick(files, context).unwrap_err();
        assert_eq!(said(&both(), "fram"), "/a/config and /b/users has no context `fram` (did you mean `farm`?)");
        assert_eq!(
            said(&both(), "torn"),
            "the context `torn` of /a/config and /b/users names the cluster `gone`, which is not there"
        );
        assert_eq!(said(&both()[..1], "farm"), "the context `farm` of /a/config names the user `me`, which is not there");
        assert_eq!(said(&[("/x".into(), "{}".into())], ""), "no context is the current one of /x");
        assert_eq!(said(&[("/x".into(), "hunter2".into())], ""), "/x is no kubeconfig: it has no contexts");
        let broken = said(&[("/x".into(), "users:\n- name: me\n  user: {token: hunter2\n".into())], "");
        assert!(broken.starts_with("/x is no kubeconfig: it is not YAML") && !broken.contains("hunter2"), "{broken}");
    }
}
