//! A plan that comes from a file is checked like a configuration: nothing in it may leave the repository.

use camino::{Utf8Component, Utf8Path};

use super::Plan;
use crate::config::TestKind;

/// # Errors
/// Names the first field that a plan made by this program cannot have.
pub fn check(plan: &Plan) -> Result<(), String> {
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
        for path in [build.dockerfile.as_str(), &build.context].into_iter().chain(logs).chain(mounts) {
            if !is_inside(path) {
                return fault("a path", path);
            }
        }
        if build.tests.iter().any(|test| matches!(&test.kind, TestKind::Run(argv) if argv.is_empty())) {
            return fault("the command of a test", "");
        }
        let unknown = |is: &&String| is.strip_prefix("build:").is_some_and(|id| !plan.builds.iter().any(|other| other.id == id));
        if let Some(is) = build.parents.iter().map(|(_, is)| is).find(unknown) {
            return fault("a parent", is);
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
    Ok(())
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
        assert_eq!(with(|build| build.id = "../x".into()), "the id of ../x is \"../x\"");
        assert_eq!(with(|build| build.key = "x".into()), "the key of a is \"x\"");
        let other = with(|build| build.inputs = vec![("target".into(), "x".into())]);
        assert!(other.starts_with("the key, which is not that of the inputs, of a is"), "{other}");
        assert_eq!(with(|build| build.parents = vec![("b".into(), "build:b".into())]), "a parent of a is \"build:b\"");
    }
}
