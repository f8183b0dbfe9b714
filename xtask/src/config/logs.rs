//! What a run writes where somebody says: never over a file that somebody made.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::faults::Faults;
use super::paths::{Root, normal};
use super::tree::Document;
use super::{Build, Config};

/// Reports logs, and the JUnit files beside them, in the place of a file that the configuration knows.
pub fn check(config: &Config, root: &Root, document: &Document, faults: &mut Faults) {
    let known = known(config, root);
    for build in &config.builds {
        for log in build.tests.iter().map(|test| &test.log) {
            for path in [log.clone(), log.with_extension("xml")] {
                let is = match known.get(&path) {
                    Some(is) => (*is).to_owned(),
                    None if root.join(&path).is_dir() => "a folder".to_owned(),
                    None => continue,
                };
                let said =
                    format!("the log of a test of `{}` would replace `{path}`, which is {is} (choose another place)", build.id);
                faults.once(line(document, build), "replaced", said);
            }
        }
    }
}

/// Files with what each is.
fn known(config: &Config, root: &Root) -> BTreeMap<Utf8PathBuf, &'static str> {
    let mut known = BTreeMap::from([(config.file.clone(), "this configuration")]);
    let mut add = |path: &Utf8Path, is| _ = known.insert(normal(path).unwrap_or_else(|| path.to_owned()), is);
    config.version_file.iter().for_each(|file| add(&file.path, "the version file"));
    config.axis_files.values().for_each(|file| add(file, "the file of an axis"));
    for build in &config.builds {
        add(&build.dockerfile, "a Dockerfile");
        add(&Utf8PathBuf::from(format!("{}.dockerignore", build.dockerfile)), "an ignore file");
        add(&build.context.join(".dockerignore"), "an ignore file");
        build.template.iter().for_each(|template| add(template, "a template"));
        for (mount, _) in build.tests.iter().flat_map(|test| &test.mounts) {
            add(mount, "what a test mounts");
        }
    }
    let written = config.checks.values().filter_map(|check| check.compose.as_ref());
    for path in written.chain(config.scan.iter().filter_map(|scan| scan.ignore.as_ref())) {
        if let Ok(path) = root.inside(path) {
            add(&path, "read by a check or scan");
        }
    }
    known
}

fn line(document: &Document, build: &Build) -> usize {
    let own = ["image", &build.image, "test"];
    document.exact_line(&own).unwrap_or_else(|| document.line(&own))
}
