//! What a file is for: which images take it, which tests mount it, and who is built on those images.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::planner::Input;
use super::select::{axis_in, made_of, mounted, selects_all};
use crate::config::{Build, Config};
use crate::event::Event;
use crate::facts::Facts;

/// How a change of a file reaches a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The file selects every build; what makes the same image again is reused.
    All,
    /// The file selects every build of that axis, likewise.
    Axis(String),
    /// Its image is another one.
    Image,
    /// The image stays, its tests run again.
    Test,
    /// The parent of that id is another one.
    Parent(String),
}

/// The builds that a change of `file` (relative to the repository) reaches, by id.
pub fn touched(config: &Config, facts: &Facts, file: &Utf8Path) -> BTreeMap<String, Touch> {
    let repositories = std::collections::HashMap::new();
    let input = Input { config, event: &Event::Local, facts, version: None, repositories: &repositories };
    let mut found = BTreeMap::new();
    for build in &config.builds {
        if selects_all(config, file) {
            found.insert(build.id.clone(), Touch::All);
        }
        if let Some(axis) = axis_in(config, build, file) {
            found.insert(build.id.clone(), Touch::Axis(axis.to_owned()));
        }
        if mounted(build, file) {
            found.insert(build.id.clone(), Touch::Test);
        }
        if made_of(&input, build, file) {
            found.insert(build.id.clone(), Touch::Image);
        }
    }
    // Each round goes one generation further.
    loop {
        let is_new = |found: &BTreeMap<String, Touch>, build: &Build| {
            matches!(found.get(&build.id), None | Some(Touch::All | Touch::Axis(_) | Touch::Test))
        };
        let changed = |parent: &&Build| matches!(found.get(&parent.id), Some(Touch::Image | Touch::Parent(_)));
        let child =
            |build: &&Build| Some((build.id.clone(), config.parents(build).map(|(_, parent)| parent).find(changed)?.id.clone()));
        let children: Vec<_> =
            config.builds.iter().filter(|build| is_new(&found, build)).filter_map(|build| child(&build)).collect();
        if children.is_empty() {
            return found;
        }
        found.extend(children.into_iter().map(|(id, parent)| (id, Touch::Parent(parent))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::golden::{facts, load};

    #[test]
    fn in_the_hierarchy() {
        let (root, config) = load("examples/hierarchy");
        let facts = facts(&root, &config, None);
        let reached = |file: &str| {
            let touched = touched(&config, &facts, Utf8Path::new(file));
            touched.into_iter().map(|(id, touch)| format!("{id}: {touch:?}")).collect::<Vec<_>>().join(", ")
        };
        let children = "base: Image, ci: Parent(\"base\"), devcontainer: Parent(\"base\"), prod: Parent(\"base\")";
        assert_eq!(reached("requirements/requirements-torch.txt"), children);
        assert_eq!(reached("src/bot/__main__.py"), "prod: Image");
        assert_eq!(reached("README.md"), "");
        for file in ["Cargo.toml", "xtask/src/main.rs", ".github/workflows/images.yml", "docker/images.toml"] {
            assert_eq!(reached(file), "base: All, ci: All, devcontainer: All, prod: All", "{file}");
        }
    }

    #[test]
    fn the_file_of_an_axis_selects_the_builds_of_that_axis() {
        let (root, config) = load(".");
        let touched = touched(&config, &facts(&root, &config, None), Utf8Path::new("PYTHON_VERSIONS"));
        let axis = Touch::Axis("python".into());
        assert!(touched.len() == 14 && touched.values().all(|touch| *touch == axis), "{touched:?}");
    }

    #[test]
    fn a_test_is_not_its_image() {
        let (root, config) = load(".");
        let touched = touched(&config, &facts(&root, &config, None), Utf8Path::new("docker/tests/test_image.py"));
        assert!(touched.len() == 14 && touched.values().all(|touch| *touch == Touch::Test), "{touched:?}");
    }
}
