//! What the file names must be there: Dockerfiles, templates, contexts, mounts, compose files.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::Config;
use super::faults::Faults;
use super::paths::Root;
use super::tree::Document;

/// Reports files and folders that do not exist. A Dockerfile with a template may not have been generated yet.
pub fn check(config: &Config, root: &Root, document: &Document, faults: &mut Faults) {
    let mut known: HashMap<Utf8PathBuf, (bool, bool)> = HashMap::new();
    let mut look = |path: &Utf8Path| {
        *known
            .entry(path.to_owned())
            .or_insert_with(|| root.join(path).metadata().map_or((false, false), |meta| (meta.is_file(), meta.is_dir())))
    };
    for build in &config.builds {
        let line = |key: &str| {
            let own = ["image", &build.image, key];
            document.exact_line(&own).or_else(|| document.exact_line(&["defaults", key])).unwrap_or_else(|| document.line(&own))
        };
        let id = &build.id;
        if !look(&build.context).1 {
            faults.once(line("context"), "context", format!("context `{}` of `{id}` is not a folder", build.context));
        }
        match &build.template {
            Some(template) if !look(template).0 => {
                faults.once(
                    line("template"),
                    "template",
                    format!("template `{template}` of `{id}` {}", is_no_file(&root.join(template))),
                );
            }
            None if !look(&build.dockerfile).0 => {
                let why = is_no_file(&root.join(&build.dockerfile));
                let said = format!("`{}` of `{id}` {why} (write it, or set dockerfile or context)", build.dockerfile);
                faults.once(line("dockerfile"), "dockerfile", said);
            }
            _ => {}
        }
        for (mount, _) in build.tests.iter().flat_map(|test| &test.mounts) {
            if look(mount) == (false, false) {
                faults.once(line("test"), "mount", format!("mount `{mount}` of the test of `{id}` does not exist"));
            }
        }
    }
    for (name, check) in &config.checks {
        if let Some(path) = check.compose.as_ref().filter(|path| root.inside(path).is_ok_and(|path| !look(&path).0)) {
            faults.at(
                document.line(&["check", name, "compose"]),
                format!("compose file `{path}` of check `{name}` {}", is_no_file(&root.join(path))),
            );
        }
    }
    if let Some(path) = config
        .scan
        .as_ref()
        .and_then(|scan| scan.ignore.as_ref())
        .filter(|path| root.inside(path).is_ok_and(|path| !look(&path).0))
    {
        faults.at(document.line(&["scan", "ignore"]), format!("`{path}` {}", is_no_file(&root.join(path))));
    }
}

/// "does not exist", "is a folder", "is not a file".
fn is_no_file(path: &Utf8Path) -> &'static str {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => "is a folder",
        Ok(_) => "is not a file",
        Err(_) => "does not exist",
    }
}
