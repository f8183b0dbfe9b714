//! Files that name dependencies: whether an image's changed.

use camino::Utf8Path;

use crate::config::Build;
use crate::facts::content::Content;
use crate::facts::{Changed, Dockerfile, dockerfile};
use crate::glob;

/// Lock, requirements and project files, by name, in any folder.
const NAMES: [&str; 30] = [
    "*requirements*.txt",
    "*requirements*.in",
    "constraints*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "Pipfile",
    "environment*.yml",
    "environment*.yaml",
    // Cargo, uv, poetry, pdm, pixi, yarn, Gemfile, composer, flake, Pipfile
    "*.lock",
    "pylock*.toml",
    "bun.lockb",
    "Cargo.toml",
    "Gemfile",
    "*.gemspec",
    "composer.json",
    "go.mod",
    "go.sum",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "packages.lock.json",
    "*.csproj",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "gradle.lockfile",
    "libs.versions.toml",
    "mix.exs",
];

/// Whether a dependency file of this build changed, and why we say so. Unknown counts as changed.
///
/// The files are those of `dependencies`, else the lock, requirements and project files among what the image takes.
pub fn changed_for(build: &Build, dockerfile: Option<&Dockerfile>, content: Option<&Content>, since: &Changed) -> (bool, String) {
    let files = match since {
        Changed::Unknown(why) => return (true, format!("whether dependencies changed is not known ({why})")),
        Changed::Files(files) => files,
    };
    let mut dependencies = files.iter().filter(|file| is_dependency(build, dockerfile, content, file));
    match (dependencies.next(), dependencies.count()) {
        (None, _) => (false, "no dependency file changed".into()),
        (Some(file), 0) => (true, format!("the dependency file {file} changed")),
        (Some(file), more) => (true, format!("the dependency file {file} and {more} more changed")),
    }
}

fn is_dependency(build: &Build, dockerfile: Option<&Dockerfile>, content: Option<&Content>, file: &Utf8Path) -> bool {
    match &build.dependencies {
        Some(patterns) => glob::matches_any(patterns, file.as_str()),
        None => is_dependency_name(file) && dockerfile::takes(&build.context, dockerfile, content, file),
    }
}

fn is_dependency_name(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let in_folder = file.parent().is_some_and(|folder| folder.components().any(|part| part.as_str() == "requirements"));
    (in_folder && name.ends_with(".txt")) || glob::matches_any(&NAMES, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dependency_files() {
        let yes = "requirements.txt a/requirements-dev.txt dev-requirements.txt requirements/base.txt a/requirements/x/y.txt uv.lock \
            go.sum app/package.json poetry.lock Pipfile.lock setup.cfg environment-gpu.yml Cargo.lock yarn.lock Gemfile a/b.csproj";
        let no = "README.md src/main.py notes.txt Dockerfile requirements.md requirements/README.md setup.pyc lock xpackage.json";
        for (names, expected) in [(yes, true), (no, false)] {
            for name in names.split_whitespace() {
                assert_eq!(is_dependency_name(name.into()), expected, "{name}");
            }
        }
    }

    fn build(dependencies: Option<&[&str]>) -> Build {
        let example = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release");
        let config = crate::config::load(&example, Utf8Path::new("docker/images.toml"), &crate::config::Env::new()).unwrap();
        let mut build = config.builds[0].clone();
        build.context = "app".into();
        build.dependencies = dependencies.map(|patterns| patterns.iter().map(|&pattern| pattern.into()).collect());
        build
    }

    #[test]
    fn which_changes_count() {
        let sources = |sources: Option<&[&str]>| Dockerfile {
            sources: sources.map(|all| all.iter().map(|&source| source.into()).collect()),
            ..Dockerfile::default()
        };
        let (some, all) = (sources(Some(&["src", "requirements*.txt"])), sources(None));
        let files = |names: &[&str]| Changed::Files(names.iter().map(|&name| name.into()).collect());
        let table = [
            (None, Some(&some), files(&["app/requirements.txt"]), Some("the dependency file app/requirements.txt changed")),
            (
                None,
                Some(&some),
                files(&["app/src/a.py", "app/src/uv.lock", "app/requirements.txt"]),
                Some("the dependency file app/src/uv.lock and 1 more changed"),
            ),
            (None, Some(&some), files(&["requirements.txt", "app/uv.lock", "app/src/a.py"]), None),
            (None, Some(&all), files(&["app/uv.lock"]), Some("the dependency file app/uv.lock changed")),
            (None, None, files(&["app/uv.lock"]), Some("the dependency file app/uv.lock changed")),
            (None, None, files(&["uv.lock"]), None),
            (
                Some(&["deps/**", "!deps/*.md"][..]),
                Some(&some),
                files(&["deps/a", "app/requirements.txt"]),
                Some("the dependency file deps/a changed"),
            ),
            (Some(&["deps/**", "!deps/*.md"]), Some(&some), files(&["deps/a.md"]), None),
            (Some(&[]), Some(&some), files(&["app/requirements.txt"]), None),
            (None, Some(&some), files(&[]), None),
            (None, Some(&some), Changed::Unknown("no git".into()), Some("whether dependencies changed is not known (no git)")),
        ];
        for (dependencies, dockerfile, since, reason) in table {
            let verdict = changed_for(&build(dependencies), dockerfile, None, &since);
            assert_eq!(verdict, (reason.is_some(), reason.unwrap_or("no dependency file changed").to_owned()), "{since:?}");
        }
    }
}
