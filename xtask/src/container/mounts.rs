//! What the containers of a composed system may read of this machine and not write: git's folders and `target/`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

/// A folder of this machine in a container.
struct Bind {
    source: Utf8PathBuf,
    target: Utf8PathBuf,
}

/// Service → volumes that take the place of its own or lie in them, all to be read only. `closed`: the paths that nobody
/// may write to; what is in one of them and of `root` all the same is left as it is.
pub fn closed(resolved: &Value, closed: &[Utf8PathBuf], root: &Utf8Path) -> BTreeMap<String, Vec<Value>> {
    let real = |path: &Utf8Path| path.canonicalize_utf8().unwrap_or_else(|_| path.to_owned());
    let closed: Vec<Utf8PathBuf> = closed.iter().map(|path| real(path)).collect();
    let root = real(root);
    let mut found = BTreeMap::new();
    for (service, value) in resolved["services"].as_object().into_iter().flatten() {
        let taken = targets(value);
        let mut volumes: BTreeMap<Utf8PathBuf, Value> = BTreeMap::new();
        for volume in value["volumes"].as_array().into_iter().flatten() {
            let Some(bind) = bind(resolved, volume).filter(|_| volume["read_only"] != true) else { continue };
            let source = real(&bind.source);
            for path in &closed {
                let is_inside = source.starts_with(path) && !(root.starts_with(path) && source.starts_with(&root));
                let (from, to) = match path.strip_prefix(&source) {
                    _ if is_inside => (&source, bind.target.clone()),
                    Ok(rest) => (path, bind.target.join(rest)),
                    Err(_) => continue,
                };
                // A volume of the service's own is there already.
                let covers =
                    |other: &Utf8PathBuf| to.starts_with(other) && *other != bind.target && other.starts_with(&bind.target);
                if !taken.iter().any(covers) {
                    let volume = json!({ "type": "bind", "source": from, "target": to, "read_only": true });
                    volumes.insert(to, volume);
                }
            }
        }
        if !volumes.is_empty() {
            found.insert(service.clone(), volumes.into_values().collect());
        }
    }
    found
}

/// A volume that is a folder of this machine, also by the options of docker's own driver.
fn bind(resolved: &Value, volume: &Value) -> Option<Bind> {
    let source = volume["source"].as_str()?;
    let options = &resolved["volumes"][source]["driver_opts"];
    let source = match volume["type"].as_str()? {
        "bind" => source,
        "volume" if options["o"].as_str()?.contains("bind") => options["device"].as_str()?,
        _ => return None,
    };
    Some(Bind { source: source.into(), target: volume["target"].as_str()?.trim_end_matches('/').into() })
}

/// The folders in which a service's containers have something mounted.
fn targets(service: &Value) -> Vec<Utf8PathBuf> {
    let volumes = service["volumes"].as_array().into_iter().flatten().filter_map(|volume| volume["target"].as_str());
    let tmpfs = service["tmpfs"].as_array().into_iter().flatten().filter_map(|path| path.as_str()?.split(':').next());
    volumes.chain(tmpfs).map(|path| Utf8PathBuf::from(path.trim_end_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The volumes of a service as `SOURCE:TARGET`, with these of its own.
    fn of(volumes: &Value, others: &Value) -> Vec<String> {
        let resolved = json!({
            "services": { "web": { "volumes": volumes, "tmpfs": others } },
            "volumes": { "tree": { "driver_opts": { "type": "none", "o": "bind", "device": "/r" } }, "plain": {} },
        });
        let closed = closed(&resolved, &["/r/.git".into(), "/r/target".into()], "/r".into());
        let volumes = closed.into_values().flatten();
        let text = |volume: &Value, key: &str| volume[key].as_str().unwrap().to_owned();
        volumes.map(|volume| format!("{}:{}", text(&volume, "source"), text(&volume, "target"))).collect()
    }

    #[test]
    fn what_is_closed_in_mounted_folders() {
        let bind = |source: &str, target: &str| json!({ "type": "bind", "source": source, "target": target });
        let both: &[&str] = &["/r/.git:/app/.git", "/r/target:/app/target"];
        let table: [(Value, &[&str]); 9] = [
            (json!([bind("/r", "/app/")]), both),
            (json!([bind("/r/src", "/app")]), &[]),
            (json!([bind("/", "/host")]), &["/r/.git:/host/r/.git", "/r/target:/host/r/target"]),
            (json!([bind("/r/.git/hooks", "/h")]), &["/r/.git/hooks:/h"]),
            (json!([bind("/r/target", "/t")]), &["/r/target:/t"]),
            (json!([{ "type": "volume", "source": "tree", "target": "/app" }]), both),
            (json!([{ "type": "volume", "source": "plain", "target": "/app" }, { "type": "tmpfs", "target": "/x" }]), &[]),
            (json!([{ "type": "bind", "source": "/r", "target": "/app", "read_only": true }]), &[]),
            (json!([bind("/r", "/app"), { "type": "volume", "target": "/app/target" }]), &both[..1]),
        ];
        for (volumes, expected) in table {
            assert_eq!(of(&volumes, &json!([])), expected, "{volumes}");
        }
        assert_eq!(of(&json!([bind("/r", "/app")]), &json!(["/app/target:mode=700"])), both[..1]);
    }

    #[test]
    fn the_source_of_a_released_version_is_in_the_target_folder() {
        let volume = |source: &str| json!([{ "type": "bind", "source": source, "target": "/c" }]);
        let root: &Utf8Path = "/r/target/slipway/source-1".into();
        let of = |source: &str| {
            let resolved = json!({ "services": { "web": { "volumes": volume(source) } } });
            closed(&resolved, &["/r/target".into(), root.join(".git")], root).len()
        };
        assert_eq!((of("/r/target/slipway/source-1/conf"), of("/r/target/slipway/source-1"), of("/r/target/slipway")), (0, 1, 1));
    }
}
