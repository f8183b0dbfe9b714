//! A plan that comes from a file is checked like a configuration: nothing in it may leave the repository.

use std::collections::BTreeSet;

use camino::{Utf8Component, Utf8Path};

use super::Plan;
use crate::config::{Secret, TestKind};

/// # Errors
/// Names the first field that a plan made by this program cannot have.
pub fn check(plan: &Plan) -> Result<(), String> {
    // It is named to git, and in words.
    let is_commit = |text: &&String| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(commit) = plan.commit.as_ref().filter(|commit| !is_commit(commit)) {
        return Err(format!("the commit is \"{}\"", commit.escape_debug()));
    }
    // Whoever walks a plan goes from parents to children: in a circle it would never end.
    let mut before = BTreeSet::new();
    let mut loaded = BTreeSet::new();
    for build in &plan.builds {
        let fault = |what: &str, text: &str| Err(format!("{what} of {} is \"{}\"", build.id.escape_debug(), text.escape_debug()));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if build.id.is_empty() || !build.id.chars().all(plain) || build.id.starts_with('.') {
            return fault("the id", &build.id);
        }
        if build.key.len() != 64 || !build.key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return fault("the key", &build.key);
        }
        if !build.inputs.is_empty() && build.key != super::key::key(&build.inputs) {
            return fault("the key, which is not that of the inputs,", &build.key);
        }
        let logs = build.tests.iter().map(|test| test.log.as_str());
        let mounts = build.tests.iter().flat_map(|test| &test.mounts).map(|(path, _)| path.as_str());
        let secrets = build.secrets.iter().filter_map(|(_, secret)| match secret {
            Secret::File(source) => Some(source.file.as_str()),
            Secret::Env(_) => None,
        });
        for path in [build.dockerfile.as_str(), &build.context].into_iter().chain(logs).chain(mounts).chain(secrets) {
            if !is_inside(path) {
                return fault("a path", path);
            }
        }
        if build.tests.iter().any(|test| matches!(&test.kind, TestKind::Run(argv) if argv.is_empty())) {
            return fault("the command of a test", "");
        }
        let unknown = |is: &&String| is.strip_prefix("build:").is_some_and(|id| !before.contains(id));
        if let Some(is) = build.parents.iter().map(|(_, is)| is).find(unknown) {
            return fault("a parent", is);
        }
        if !before.insert(build.id.as_str()) {
            return fault("the id, which another build has,", &build.id);
        }
        // Tests would run on the image of whichever was built last.
        if let Some(name) = build.test.load.iter().find(|name| !loaded.insert(name.as_str())) {
            return fault("a local name, which another build has,", name);
        }
    }
    for check in &plan.checks {
        let fault =
            |what: &str, text: &str| Err(format!("{what} of check {} is \"{}\"", check.name.escape_debug(), text.escape_debug()));
        if let Some(path) = check.compose.as_ref().filter(|path| !is_inside(path)) {
            return fault("the path", path);
        }
        if let Some(id) = check.build().filter(|id| !plan.builds.iter().any(|build| build.id == *id)) {
            return fault("the build", id);
        }
    }
    match plan.scan.as_ref().and_then(|scan| scan.ignore.as_ref()).filter(|path| !is_inside(path)) {
        Some(path) => Err(format!("the path of the scan's ignore file is \"{}\"", path.escape_debug())),
        None => Ok(()),
    }
}

fn is_inside(path: &str) -> bool {
    let inside = |part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir);
    !path.is_empty() && Utf8Path::new(path).components().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{build, plan};

    #[test]
    fn what_this_program_plans_is_trusted() {
        assert_eq!(check(&plan(vec![build("a"), build("python-cpu-py3.11")])), Ok(()));
    }

    #[test]
    fn nothing_leaves_the_repository() {
        let with = |change: fn(&mut crate::plan::Build)| {
            let mut build = build("a");
            change(&mut build);
            check(&plan(vec![build])).unwrap_err()
        };
        assert_eq!(with(|build| build.dockerfile = "../x".into()), "a path of a is \"../x\"");
        assert_eq!(with(|build| build.context = "/etc".into()), "a path of a is \"/etc\"");
        let secret = |build: &mut crate::plan::Build| {
            build.secrets = vec![("s".into(), serde_json::from_str(r#"{"file": "../x"}"#).unwrap())];
        };
        assert_eq!(with(secret), "a path of a is \"../x\"");
        assert_eq!(with(|build| build.id = "../x".into()), "the id of ../x is \"../x\"");
        assert_eq!(with(|build| build.key = "x".into()), "the key of a is \"x\"");
        let other = with(|build| build.inputs = vec![("target".into(), "x".into())]);
        assert!(other.starts_with("the key, which is not that of the inputs, of a is"), "{other}");
        assert_eq!(with(|build| build.parents = vec![("b".into(), "build:b".into())]), "a parent of a is \"build:b\"");
        let mut scanned = plan(Vec::new());
        scanned.scan = Some(crate::plan::Scan { ignore: Some("../x".into()), ..crate::plan::Scan::default() });
        assert_eq!(check(&scanned).unwrap_err(), "the path of the scan's ignore file is \"../x\"");
    }

    #[test]
    fn a_local_name_is_of_one_image() {
        let mut builds = vec![build("a"), build("b")];
        builds[1].test.load.push("acme/a:local".into());
        let error = check(&plan(builds)).unwrap_err();
        assert_eq!(error, "a local name, which another build has, of b is \"acme/a:local\"");
    }

    #[test]
    fn a_commit_is_one_and_no_option_of_git() {
        let of = |commit: &str| check(&crate::plan::Plan { commit: Some(commit.into()), ..plan(Vec::new()) });
        assert_eq!(of(&"0a".repeat(20)), Ok(()));
        for bad in ["", "main", "--force", "ääääääääääääääääääää"] {
            assert_eq!(of(bad).unwrap_err(), format!("the commit is \"{bad}\""));
        }
    }

    #[test]
    fn parents_stand_before_their_children_and_nobody_twice() {
        let child = |id: &str, parent: &str| {
            let mut child = build(id);
            child.parents = vec![(parent.into(), format!("build:{parent}"))];
            child
        };
        assert_eq!(check(&plan(vec![build("a"), child("b", "a")])), Ok(()));
        let circle = plan(vec![child("a", "b"), child("b", "a")]);
        assert_eq!(check(&circle).unwrap_err(), "a parent of a is \"build:b\"");
        assert_eq!(check(&plan(vec![child("a", "a")])).unwrap_err(), "a parent of a is \"build:a\"");
        assert_eq!(check(&plan(vec![build("a"), build("a")])).unwrap_err(), "the id, which another build has, of a is \"a\"");
    }
}
