//! Files that name dependencies: whether an image's changed.

use camino::Utf8Path;

use crate::config::Build;
use crate::facts::{Changed, Dockerfile, dockerfile};
use crate::glob;

/// Lock, requirements and project files, by name, in any folder.
const NAMES: [&str; 24] = [
    "requirements*.txt",
    "requirements*.in",
    "constraints*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "Pipfile",
    "Pipfile.lock",
    "*.lock",
    "environment.yml",
    "environment.yaml",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "go.mod",
    "go.sum",
    "Cargo.toml",
    "Gemfile",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "gradle.lockfile",
    "composer.json",
];

/// Whether a dependency file of this build changed, and why we say so. Unknown counts as changed.
///
/// The files are those of `dependencies`, else the lock, requirements and project files among what the image takes.
pub fn changed_for(build: &Build, dockerfile: Option<&Dockerfile>, since: &Changed) -> (bool, String) {
    let files = match since {
        Changed::Unknown(why) => return (true, format!("whether dependencies changed is not known ({why})")),
        Changed::Files(files) => files,
    };
    match files.iter().find(|file| is_dependency(build, dockerfile, file)) {
        Some(file) => (true, format!("the dependency file {file} changed")),
        None => (false, "no dependency file changed".into()),
    }
}

fn is_dependency(build: &Build, dockerfile: Option<&Dockerfile>, file: &Utf8Path) -> bool {
    match &build.dependencies {
        Some(patterns) => glob::matches_any(patterns, file.as_str()),
        None => is_dependency_name(file) && dockerfile::takes(&build.context, dockerfile, file),
    }
}

fn is_dependency_name(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let in_folder = file.components().any(|part| part.as_str() == "requirements") && name.ends_with(".txt");
    in_folder || glob::matches_any(&NAMES, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dependency_files() {
        for yes in
            ["requirements.txt", "a/requirements-dev.txt", "requirements/base.txt", "uv.lock", "go.sum", "app/package.json"]
        {
            assert!(is_dependency_name(yes.into()), "{yes}");
        }
        for no in ["README.md", "src/main.py", "notes.txt", "Dockerfile"] {
            assert!(!is_dependency_name(no.into()), "{no}");
        }
    }
}
