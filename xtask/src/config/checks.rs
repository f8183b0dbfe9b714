//! `[check.*]`, `[scan]`, `[retention]`: the tables that no build owns.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Faults, suggest};
use super::paths::Root;
use super::tree::Document;
use super::types::File;
use super::{Build, builders, image_test, places};
use crate::container::compose;

/// Reports what is wrong with them. `images`: also those that have no builds because they are wrong.
pub fn check(file: &File, builds: &[Build], images: &BTreeSet<String>, root: &Root, document: &Document, faults: &mut Faults) {
    let mut plain = BTreeMap::new();
    for (name, check) in &file.check {
        if let Some(other) = plain.insert(compose::plain(name), name) {
            let said = format!("checks `{other}` and `{name}` have one log: they differ in signs or capitals only (rename one)");
            faults.at(document.line(&["check", name]), said);
        }
        let mut fault = |key: &str, said: String| faults.at(document.line(&["check", name, key]), said);
        for command in check.run.to_vec() {
            if let Some(said) = places::none(&command).or_else(|| image_test::split(&command).err()) {
                fault("run", format!("check `{name}`: {said}"));
            }
        }
        match (&check.r#in, &check.compose) {
            (Some(_), Some(_)) => {
                fault("in", format!("check `{name}` has both `in` and `compose` (an image, or a composed system)"))
            }
            (Some(image), None) => _ = in_image(image, builds, images).map(|said| fault("in", format!("check `{name}`: {said}"))),
            (None, Some(path)) => _ = root.inside(path).map_err(|said| fault("compose", format!("check `{name}`: {said}"))),
            (None, None) => {}
        }
        let bad = document.is_bad(&["check", name, "run"]);
        if check.run.to_vec().is_empty() && check.compose.is_none() && !bad {
            fault("run", format!("check `{name}` runs nothing (write run = \"…\")"));
        }
        if !check.services.is_empty() && check.compose.is_none() {
            fault("services", format!("check `{name}` has services without compose (write compose = \"docker-compose.yml\")"));
        }
        if let Some(said) = check.timeout.as_ref().and_then(|text| image_test::duration(text).err()) {
            fault("timeout", format!("check `{name}`: {said}"));
        }
    }
    builders::check(file, root, document, faults);
    let mut at = |path: &[&str], said: String| faults.at(document.line(path), said);
    if let Some(said) = file.scan.as_ref().and_then(|scan| root.inside(scan.ignore.as_ref()?).err()) {
        at(&["scan", "ignore"], said);
    }
    if let Some(retention) = &file.retention
        && humantime::parse_duration(&retention.grace).is_err()
    {
        at(&["retention", "grace"], format!("`{}` is not a time (write such as \"24h\" or \"7days\")", retention.grace));
    }
}

/// `in` names an image with one build, or a build.
fn in_image(name: &str, builds: &[Build], images: &BTreeSet<String>) -> Option<String> {
    if builds.iter().any(|build| build.id == name) {
        return None;
    }
    let of_image: Vec<&str> = builds.iter().filter(|build| build.image == name).map(|build| build.id.as_str()).collect();
    if let Some(first) = of_image.first() {
        return Some(format!("image `{name}` has {} builds (name one, such as `{first}`)", of_image.len()));
    }
    // An image that is wrong has no builds: what is said of it can't be judged.
    let broken = images.iter().filter(|image| !builds.iter().any(|build| build.image == **image));
    if broken.into_iter().any(|image| name.starts_with(image.as_str())) {
        return None;
    }
    let known = images.iter().map(String::as_str).chain(builds.iter().map(|build| build.id.as_str()));
    Some(format!("`{name}` is neither an image nor a build ({})", suggest(name, known)))
}
